"""Bodies that move on the spot: made whole, where the background of the frames alone shows parts of them."""

import cv2
import numpy as np

from eqvid_tf.pixels.colours import largest_difference
from eqvid_tf.separation.on_the_spot import ALWAYS, find_on_the_spot

SIZE, FRAMES = (64, 96), 24
BLUE, SKIN = (40, 60, 150), (200, 150, 120)
GROUND = cv2.GaussianBlur(np.random.default_rng(0).uniform(-60, 60, (*SIZE, 3)), (0, 0), 2) * 2 + (100, 120, 60)


def drawn(at, sway=6):
    """A person who waves and sways a little, seen at columns `at`: frames, and the masks of him."""
    frames, masks, rng = [], [], np.random.default_rng(1)
    for k, left in enumerate(at):
        body, wave = np.zeros((*SIZE, 3), np.uint8), np.sin(2 * np.pi * k / 8)
        turn = round(sway * wave)
        cv2.fillPoly(body, [np.array([[turn - 5, 24], [turn + 5, 24], [5, 48], [-5, 48]]) + (left, 0)], BLUE)
        cv2.circle(body, (left + turn, 18), 6, SKIN, -1)
        for side in (-1, 1):
            cv2.line(body, (left + turn + 5 * side, 28), (left + 18 * side, round(34 - 2.3 * sway * wave)), BLUE, 5)
        masks.append(body.any(-1))
        frame = np.where(masks[-1][..., None], body, GROUND) + rng.normal(0, 3, (*SIZE, 3))
        frames.append(np.clip(frame, 0, 255).round().astype(np.uint8))
    return np.stack(frames), np.stack(masks)


def found(frames):
    """What is found, before the median of the frames, which is what moves there."""
    background = np.median(frames, 0)
    moving = np.stack([largest_difference(frame, background) > 25 for frame in frames])
    return find_on_the_spot(frames, background, moving), moving


def overlap(one, other):
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_who_waves_on_the_spot_is_whole():
    frames, masks = drawn([48] * FRAMES)
    whole, moving = found(frames)
    assert overlap(moving, masks) < 0.6, "the body is in the median"
    assert overlap(whole.moving, masks) > 0.97
    always = masks.all(0)
    assert (whole.shown[always] == ALWAYS).mean() > 0.95 and (whole.shown > 0).mean() < 0.2
    blue = np.abs(whole.background - BLUE).max(-1) < 40
    assert not blue.any(), "no part of him is left in the background"
    beside = whole.shown == 0
    np.testing.assert_array_equal(whole.background[beside], np.median(frames, 0)[beside].astype(np.float32))


def test_who_walks_on_leaves_the_background_as_it_is():
    frames, masks = drawn(np.linspace(14, 82, FRAMES).astype(int))
    whole, moving = found(frames)
    assert whole is None and overlap(moving, masks) > 0.8


def test_who_stands_and_sways_a_little_is_left_as_he_is():
    """As those are who stand behind a dancer: whole, they would be one crowd with him."""
    assert found(drawn([48] * FRAMES, sway=2)[0])[0] is None


def test_where_nothing_moves_there_is_no_body():
    still = np.repeat(GROUND[None].clip(0, 255).astype(np.uint8), FRAMES, 0)
    assert found(still)[0] is None
    still[::3, 30, 40] = 255  # a speck that comes and goes
    assert found(still)[0] is None
