"""Who moves with whom: characters that meet, that look alike, that are hidden, and that break into parts."""

import numpy as np
import pytest

from eqvid_tf.pixels.resampling import move, resize
from eqvid_tf.separation.motions import refine_motions
from eqvid_tf.tracking.bodies import with_limbs
from eqvid_tf.tracking.characters import find_characters
from eqvid_tf.tracking.parts import find_tracklets

SIZE, COUNT = (64, 80), 24


def texture(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Blurred noise, uint8."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (size[0] // 4 + 2, size[1] // 4 + 2, 3)).astype(np.float32)
    return resize(coarse, size).clip(0, 255).astype(np.uint8)


BACKGROUND = texture(9, SIZE)


def film(*characters, background=BACKGROUND):
    """Frames, what moves in them, and who is seen where (0 nobody).

    A character is (picture, path [T, 2] of its top left corner (x, y)); the last one is in front.
    """
    frames, owner = np.repeat(background[None], COUNT, 0).copy(), np.zeros((COUNT, *SIZE), int)
    for number, (picture, path) in enumerate(characters, 1):
        height, width = picture.shape[:2]
        for frame, seen, (x, y) in zip(frames, owner, path):
            frame[y : y + height, x : x + width] = picture
            seen[y : y + height, x : x + width] = number
    return frames, owner > 0, owner


def line(start, stop) -> np.ndarray:
    return np.linspace(start, stop, COUNT).round().astype(int)


def overlap(found, truth) -> list[float]:
    """Of each true character, the intersection over union with the one that it fits best; each is used once."""
    table = np.array(
        [
            [((truth == k) & found.mask(n)).sum() / ((truth == k) | found.mask(n)).sum() for n in range(found.count)]
            for k in range(1, truth.max() + 1)
        ]
    )
    assert len(set(table.argmax(1))) == len(table), "two characters are taken for one"
    return table.max(1).tolist()


RED, BLUE = texture(1, (16, 16)), texture(2, (14, 20))
CROSSING = line((4, 20), (60, 26)), line((56, 28), (4, 22))


def test_two_that_cross_stay_themselves():
    frames, moving, owner = film((RED, CROSSING[0]), (BLUE, CROSSING[1]))
    assert find_tracklets(frames, moving)[-1].characters == 1
    assert max(tracklet.characters for tracklet in find_tracklets(frames, moving)) == 2  # where they touch
    found = find_characters(frames, moving)
    assert found.count == 2 and min(overlap(found, owner)) > 0.9


def test_the_motion_of_a_half_hidden_one_is_its_own():
    frames, moving, _ = film((RED, CROSSING[0]), (BLUE, CROSSING[1]))
    found = find_characters(frames, moving)
    number = int(np.argmax([(found.mask(n)[0, 20:36, 4:20]).sum() for n in range(2)]))  # RED, which BLUE hides
    known = ~np.isnan(found.motions[number]).any((1, 2))
    assert 6 <= known.sum() < COUNT - 1  # in the meeting alone
    shift = np.diff(CROSSING[0], axis=0) * 2 / np.array(SIZE[::-1])
    centre = (CROSSING[0][:-1] + 8) * 2 / np.array(SIZE[::-1]) - 1
    moved = np.einsum("tij,tj->ti", found.motions[number][..., :2], centre) + found.motions[number][..., 2]
    error = np.abs(moved - centre - shift)[known] * np.array(SIZE[::-1]) / 2
    assert np.median(error) < 0.2 and error.max() < 2  # pixels


def test_twins_are_told_apart_by_their_motion():
    frames, moving, owner = film((RED, CROSSING[0]), (RED, CROSSING[1]))
    found = find_characters(frames, moving)
    assert found.count == 2 and min(overlap(found, owner)) > 0.85


def test_twins_side_by_side_keep_to_their_places():
    """Each alone fits the other as well; together they have to cover both."""
    plain = np.full((16, 16, 3), (90, 200, 60), np.uint8)
    beside = np.stack([np.linspace(40, -12, COUNT).clip(9), np.linspace(-6, 10, COUNT)], -1).round().astype(int)
    path = line((2, 30), (40, 20))
    frames, moving, owner = film((plain, path), (plain, path + beside))
    found = find_characters(frames, moving)
    assert found.count == 2 and min(overlap(found, owner)) > 0.95


def test_two_that_leave_a_meeting_together_stay_two():
    """What leaves it are two bodies, and one of them is two."""
    third = texture(9, (18, 12))
    bend = lambda *by: np.concatenate([np.linspace(by[0], by[1], 9), np.linspace(by[1], by[2], 16)[1:]])
    away = bend((62, 44), (34, 24), (64, 2)).round().astype(int)
    pair = bend((4, 4), (26, 20), (20, 36)).round().astype(int)
    other = bend((4, 46), (24, 21), (32, 46)).round().astype(int)  # it hides the other one when they leave
    frames, moving, owner = film((RED, pair), (BLUE, other), (third, away))
    assert len([t for t in find_tracklets(frames, moving) if t.last.frame == COUNT - 1]) == 2
    found = find_characters(frames, moving)
    assert found.count == 3 and min(overlap(found, owner)) > 0.85


def test_one_too_quick_for_optical_flow_comes_out_of_the_part_that_it_was_in():
    quick, small = np.array([[-9 + 9 * k, 30] for k in range(COUNT)]).clip(-9, 70), texture(6, (8, 8))
    frames, moving, owner = film((RED, line((20, 24), (24, 24))))
    for frame, seen, who, (x, y) in zip(frames, moving, owner, quick):
        shown = slice(max(x, 0), max(x + 8, 0))
        frame[y : y + 8, shown] = small[:, : shown.stop - shown.start]
        seen[y : y + 8, shown], who[y : y + 8, shown] = True, 2
    appearing = [t for t in find_tracklets(frames, moving) if not t.before and t.first.left > 2]
    assert [t.first.frame for t in appearing] == [0]  # RED
    assert min(overlap(find_characters(frames, moving), owner)) > 0.6


def test_one_behind_a_pillar_comes_out_as_the_same():
    frames, moving, owner = film((RED, line((2, 20), (60, 20))))
    frames[:, :, 30:48], moving[:, :, 30:48], owner[:, :, 30:48] = BACKGROUND[:, 30:48], False, 0
    assert len(find_tracklets(frames, moving)) == 2
    found = find_characters(frames, moving)
    assert found.count == 1 and overlap(found, owner)[0] > 0.99


def test_a_body_in_two_parts_that_travel_as_one_is_one():
    tall, path = texture(3, (30, 14)), line((2, 16), (60, 20))
    frames, moving, owner = film((tall, path))
    for k, (_, y) in enumerate(path[8:14], 8):  # for a while its waist looks like the background
        moving[k, y + 10 : y + 15], owner[k, y + 10 : y + 15] = False, 0
    found = find_characters(frames, moving)
    assert found.count == 1 and overlap(found, owner)[0] > 0.99


@pytest.mark.parametrize("most", [1, 2])
def test_the_largest_are_taken_where_fewer_are_asked_for(most):
    frames, moving, owner = film((RED, CROSSING[0]), (texture(5, (8, 8)), line((60, 50), (4, 52))))
    found = find_characters(frames, moving).largest(most)
    assert found.count == most
    assert (found.mask(0) & (owner == 1)).sum() > 0.95 * (owner == 1).sum()


def test_specks_are_nobody():
    frames, moving, _ = film((RED, CROSSING[0]))
    moving |= np.random.default_rng(3).uniform(size=moving.shape) < 0.003
    assert find_characters(frames, moving).count == 1


def test_nothing_that_moves_is_no_character():
    assert find_characters(np.repeat(BACKGROUND[None], 6, 0), np.zeros((6, *SIZE), bool)).count == 0


def waving(frames: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """Frames in which a region at the left, 12 pixels wide, shows other noise in each."""
    rng, out = np.random.default_rng(3), frames.copy()
    out[:, top:bottom, 2:14] = rng.integers(0, 255, (len(frames), bottom - top, 12, 3))
    return out


@pytest.mark.parametrize("bottom", [16, 60])  # smaller and larger than the character
def test_what_waves_at_its_place_is_no_character(bottom):
    frames, moving, owner = film((RED, line((20, 30), (60, 34))))
    frames = waving(frames, 4, bottom)
    moving = moving | (np.abs(frames.astype(int) - BACKGROUND).max(-1) > 60)
    found = find_characters(frames, moving)
    assert found.count == 1
    assert overlap(found, owner)[0] > 0.97


def test_limbs_that_move_by_themselves_are_of_the_body():
    trunk, start = line((20, 20), (44, 20)), np.arange(COUNT)
    swing = np.stack([8 * np.sin(start / 2), np.full(COUNT, 25)], -1).round().astype(int)  # below it, a pixel between
    frames, moving, owner = film((texture(1, (24, 16)), trunk), (texture(2, (10, 6)), trunk + swing + [5, 0]))
    found = find_characters(frames, moving)
    assert found.count == 1
    assert overlap(found, owner > 0)[0] > 0.97


def test_a_body_with_limbs_takes_no_other_body_for_one():
    owner = np.full((8, 30, 60), -1, np.int16)
    owner[:, 5:15, 5:15], owner[:, 15:21, 5:13], owner[:, 5:15, 15:21] = 0, 1, 2
    found = with_limbs(owner)
    assert np.unique(found[:, :, 5:15]).tolist() == [-1, 0] and (found[owner == 2] == 2).all()


def test_a_part_that_comes_off_for_two_frames_stays_with_its_body():
    frames, moving, owner = film((RED, line((4, 20), (60, 30))))
    gap = np.zeros_like(moving)
    for index in (10, 11):
        rows = np.flatnonzero(owner[index].any(1))
        gap[index, rows[5:8]] = True
    found = find_characters(frames, moving & ~gap)
    assert found.count == 1
    np.testing.assert_array_equal(found.mask(0), moving & ~gap)


def test_a_body_that_leaves_the_frame_in_pieces_is_one():
    """For a moment its middle looks like the background; then it is gone."""
    frames, moving, owner = film((RED, line((4, 20), (60, 20))))
    moving[20:, 26:30] = False
    frames[22:], moving[22:], owner[22:] = BACKGROUND, False, 0
    assert find_tracklets(frames, moving)[0].characters == 1
    found = find_characters(frames, moving)
    assert found.count == 1 and overlap(found, owner)[0] > 0.9


def test_a_body_that_breaks_for_moments_is_one_and_two_that_are_seen_apart_are_two():
    """The waist of a dancer is lost before a wall of its colour; in the other clip its halves go apart."""
    path = line((4, 20), (50, 20))
    upper, lower = texture(1, (14, 16)), texture(2, (14, 16))
    apart = np.where(np.arange(COUNT) == 12, 12, 0)[:, None] * [0, 1]
    for gap, count in ((0, 1), (apart, 2)):
        frames, moving, _ = film((upper, path), (lower, path + [0, 14] + gap))
        moving[[6, 7, 15], 33:35] = False
        tracklets = find_tracklets(frames, moving)
        assert max(one.characters for one in tracklets) == count
        assert all((tracklets[k].first.frame > one.first.frame) for one in tracklets for k in one.after)
        if count == 1:
            assert len(tracklets) == 1 and len(tracklets[0].parts) == COUNT
            np.testing.assert_array_equal([part.area for part in tracklets[0].parts], moving.sum((1, 2)))


def test_one_that_stays_and_another_that_travels_are_two():
    place = np.stack([30 + 2 * np.sin(np.arange(COUNT)), np.full(COUNT, 20)], -1).round().astype(int)
    frames, moving, owner = film((texture(4, (30, 16)), place), (BLUE[:8, :8], line((2, 50), (66, 52))))
    found = find_characters(frames, moving)
    assert found.count == 2
    assert min(overlap(found, owner)) > 0.97


def test_motions_are_aligned_at_the_clips_own_size():
    """From estimates that are pixels off, and although a limb goes its own way."""
    size, steps = (96, 128), 4
    truth = np.array([[[1.02, -0.03, 0.05], [0.03, 1.02, 0.02]]] * steps)
    layer = np.zeros((*size, 4), np.float32)
    layer[30:66, 30:66, :3] = resize(np.random.default_rng(1).uniform(60, 255, (9, 9, 3)).astype(np.float32), (36, 36))
    layer[30:66, 30:66, 3] = 1
    background = np.full((*size, 3), 40, np.float32)
    seen = []
    for index in range(steps + 1):
        moved = layer.copy()
        moved[60:64, 66 : 70 + 3 * (index % 2)] = (90, 90, 90, 1)  # a limb
        for _ in range(index):
            moved = move(moved, truth[0])
        alpha = np.clip(moved[..., 3:], 0, 1)
        frame = np.clip(moved[..., :3], 0, 255) + (1 - alpha) * background
        seen.append((frame.round().astype(np.uint8), alpha[..., 0]))
    estimates = truth + np.array([[0, 0, 0.04], [0, 0, -0.03]])  # 2.6 and 1.4 pixels
    found = refine_motions(seen, estimates)
    corners = np.array([[-0.5, -0.4, 1], [0.1, -0.4, 1], [-0.5, 0.4, 1], [0.1, 0.4, 1]]).T
    error = np.hypot(*np.moveaxis((found - truth) @ corners * np.array([[64], [48]]), 1, 0))
    assert error.mean() < 0.15, "pixels"
