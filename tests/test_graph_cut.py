"""Masks along the colours of a frame: a shadow on relief goes, a coat as dark stays."""

from types import SimpleNamespace

import cv2
import numpy as np

from eqvid_tf.separation.background import is_filmed
from eqvid_tf.separation.cutout import without_scraps
from eqvid_tf.separation.graph_cut import Seeds, cut_alpha, find_seeds, shows_character, working_size

SIZE, COUNT, GROUND = (120, 200), 12, 70  # pixels, frames, and the row at which the ground begins


def _walk() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames of a dark coat that passes stones, its shadow before it on the ground; background, bodies, shadows.

    In shadow the stones look otherwise than in the sun, as real relief does.
    """
    rng = np.random.default_rng(3)
    texture = lambda low, high: cv2.GaussianBlur(rng.uniform(low, high, SIZE).astype(np.float32), (7, 7), 0)
    lit = np.stack([texture(120, 200)] * 3, -1)
    dark = texture(40, 90)[..., None] * np.array([0.8, 0.9, 1.2])
    coat = texture(20, 80)[..., None] * np.array([1.3, 1.0, 0.6])
    frames, bodies, shadows = [], np.zeros((COUNT, *SIZE), bool), np.zeros((COUNT, *SIZE), bool)
    for index in range(COUNT):
        left = 20 + 8 * index
        bodies[index, 30:GROUND, left : left + 24] = True
        shadows[index, GROUND : GROUND + 16, left : left + 50] = True
        moved = np.roll(coat, left, axis=1)
        frame = np.where(shadows[index][..., None], dark, np.where(bodies[index][..., None], moved, lit))
        frames.append((frame + rng.normal(0, 2, frame.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(frames), lit, bodies, shadows


def test_a_shadow_on_stones_is_cut_off_and_the_coat_that_casts_it_is_not():
    frames, background, bodies, shadows = _walk()
    masks = (bodies | shadows).astype(np.float32)
    seeds = find_seeds(iter(frames), background, masks.__getitem__, COUNT, 5.0)
    for index in (2, 6, 9):
        kept = cut_alpha(frames[index], masks[index], seeds[index]) > 0.5
        assert kept[bodies[index]].mean() > 0.97
        assert kept[shadows[index]].mean() < 0.1
        assert not kept[~bodies[index] & ~shadows[index]].any()


def test_a_mask_stays_as_it_is_where_nothing_is_known_to_move():
    frames, _, bodies, _ = _walk()
    nothing = np.zeros(SIZE, bool)
    alpha = bodies[3].astype(np.float32) * 0.8
    np.testing.assert_array_equal(cut_alpha(frames[3], alpha, Seeds(moving=nothing, standing=nothing)), alpha)
    np.testing.assert_array_equal(cut_alpha(frames[3], 0 * alpha, Seeds(moving=nothing, standing=nothing)), 0 * alpha)


def test_drawn_clips_are_not_cut_and_textures_of_long_ones_are_compared_in_bounded_memory():
    still, travelling = SimpleNamespace(travels=False, noise=0.0), SimpleNamespace(travels=True, noise=0.0)
    assert not is_filmed(still, 0.0) and is_filmed(still, np.full((4, 4), 3.0))
    assert not is_filmed(travelling, 3.0)
    assert working_size((480, 854), 50) == (240, 427)
    height, width = working_size((480, 854), 20_000)
    assert 20_000 * height * width <= 1.1 * (64 << 20) and abs(width / height - 854 / 480) < 0.05


def test_a_background_that_shows_the_character_is_told_from_one_that_it_hides():
    """A body that sways on the spot: the networks miss its middle in one frame of five, so that it is background."""
    ground, body = np.full((40, 60, 3), (70, 110, 60), np.uint8), np.array((120, 125, 140))
    frames, masks = np.stack([ground] * 10), np.zeros((10, 40, 60), bool)
    for k, (frame, mask) in enumerate(zip(frames, masks)):
        mask[10:30, 20 + k % 3 : 40 + k % 3] = True
        frame[mask] = body
        mask[12:28, 24:36] &= k % 5 > 0
    background = ground.astype(np.float32)
    background[12:28, 24:36] = body
    found = shows_character(frames, masks, background)
    assert found[12:28, 24:36].all() and not found[:, :19].any() and not found[:, 43:].any()
    assert not shows_character(frames, masks, ground.astype(np.float32)).any()


def test_what_is_left_over_of_a_character_goes_with_it_and_a_crowd_stays():
    """A strap's end near where he was; not what goes on beyond, nor another character, nor what is far away."""
    background = np.full((100, 160, 3), 200, np.float32)
    picture, taken, kept = background.astype(np.uint8), np.zeros((100, 160), bool), np.zeros((100, 160), bool)
    taken[20:80, 60:90] = True
    strap, crowd, other, leaf = np.s_[40:44, 92:94], np.s_[30:60, 50:58], np.s_[60:64, 92:94], np.s_[10:13, 130:133]
    for place in (strap, crowd, other, leaf):
        picture[place] = 20
    kept[other] = True
    made = without_scraps(picture, background, taken, kept)
    assert np.all(made[strap] == 200)
    for place in (crowd, other, leaf):
        np.testing.assert_array_equal(made[place], picture[place])
    assert np.count_nonzero((made != picture).any(-1)) == 8
