"""Plain ground: solids of one hue each that fall, touch, cast shadows and stay."""

import numpy as np

from eqvid_tf.separation.plain import body_hues
from eqvid_tf.separation.rest import first_background
from eqvid_tf.tracking.characters import find_characters

SIZE, COUNT = (48, 64), 16
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
GROUND = (110 + 0.5 * ROWS - 0.2 * COLUMNS)[..., None] * np.array([1.0, 0.99, 0.97])
RED, YELLOW, BLUE = (150, 60, 55), (150, 140, 30), (60, 90, 150)
FALLS = np.minimum(np.arange(COUNT), 4) / 4  # then it lies where it is


def film(*solids, ground=GROUND):
    """Frames, and who is seen where (0 nobody); a solid is (colour, first place (x, y), last), its shadow beside it."""
    frames, owner = [], np.zeros((COUNT, *SIZE), int)
    for time, seen in zip(FALLS, owner):
        places = [np.round((1 - time) * np.array(a) + time * np.array(b)) for _, a, b in solids]
        frame = ground.copy()
        for x, y in places:
            frame[np.hypot((COLUMNS - x - 5) / 1.5, ROWS - y - 5) < 5] *= 0.75
        for number, ((colour, _, _), (x, y)) in enumerate(zip(solids, places), 1):
            disc = np.hypot(COLUMNS - x, ROWS - y) < 6
            frame[disc], seen[disc] = colour, number
        frames.append(frame.round().astype(np.uint8))
    return np.stack(frames), owner


def test_solids_that_touch_and_stay_are_told_apart_without_their_shadows():
    frames, owner = film((RED, (20, 6), (24, 30)), (YELLOW, (40, 4), (35, 30)), (BLUE, (58, 8), (46, 32)))
    background = first_background(frames)
    assert np.abs(background - GROUND)[owner[-1] > 0].max() < 6  # what lies there for most of the clip has gone from it
    hues = body_hues(frames, background)
    found = find_characters(frames, hues > 0, hues)
    overlap = [[np.mean(found.mask(n)[owner == k]) for n in range(found.count)] for k in (1, 2, 3)]
    assert found.count == 3
    assert np.min(np.max(overlap, 1)) > 0.9
    assert np.count_nonzero((found.owner > 0) & (owner > 0)) > 0.85 * np.count_nonzero((found.owner > 0) | (owner > 0))


def test_a_body_of_two_hues_is_one():
    frames, owner = film((RED, (16, 8), (40, 26)), (YELLOW, (16, 18), (40, 36)))
    hues = body_hues(frames, first_background(frames))
    assert find_characters(frames, hues > 0, hues).count == 1


def test_ground_with_a_texture_is_not_plain():
    texture = GROUND + np.random.default_rng(0).uniform(-20, 20, (*SIZE, 1))
    frames, _ = film((RED, (20, 6), (24, 30)), ground=texture)
    assert body_hues(frames, texture) is None


def test_bodies_without_a_hue_are_left_to_what_differs():
    frames, _ = film(((30, 30, 30), (20, 6), (24, 30)))
    assert body_hues(frames, GROUND) is None
