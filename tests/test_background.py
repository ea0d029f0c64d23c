"""The background of a clip, and cutting out, on cases with a known answer."""

import numpy as np
import pytest

from eqvid_tf.core import affine
from eqvid_tf.pixels import medians
from eqvid_tf.pixels.canvas import unfit
from eqvid_tf.pixels.morphology import box_sum, close, dilate, fill_holes
from eqvid_tf.pixels.resampling import move, over
from eqvid_tf.separation import background as backgrounds
from eqvid_tf.separation.background import resting_coverage
from eqvid_tf.separation.cutout import edge_coverage, extract_layer, together
from eqvid_tf.separation.masks import difference_coverage
from eqvid_tf.synthetic.scenes import draw_scene

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (9, 5, 7, 3)).astype(np.uint8)
ROOM = np.tile(np.linspace(40, 120, 48), (32, 1))[..., None] + np.zeros(3)


def walker(places, size=(32, 48), side=8):
    """Frames and coverage of a bright square on a still background, its left edge at each of `places`."""
    frames, masks = np.tile(ROOM, (len(places), 1, 1, 1)).astype(np.uint8), np.zeros((len(places), *size), np.float32)
    for k, x in enumerate(places):
        frames[k, 12 : 12 + side, x : x + side] = (250, 30, 200)
        masks[k, 12 : 12 + side, x : x + side] = 1
    return frames, masks


def test_coverage_of_the_canvas_is_read_row_by_row():
    coverage = RNG.random((3, 8, 16)).astype(np.float32)
    read = backgrounds.ClipSizeCoverage(coverage=coverage, size=(30, 60))
    whole = np.stack([unfit(one, (30, 60), (8, 16)) for one in coverage])
    np.testing.assert_allclose(np.concatenate([read[:, :7], read[:, 7:30]], 1), whole, atol=1e-5)


def test_a_cut_out_is_the_same_wherever_the_frame_ends():
    """It is worked on around the character alone."""
    frames, masks = walker([20])
    noisy = np.clip(frames[0] + RNG.normal(0, 3, frames[0].shape), 0, 255).astype(np.uint8)
    around = [np.pad(a, [(9, 9)] * 2 + [(0, 0)] * (a.ndim - 2), mode="edge") for a in (noisy, ROOM, masks[0])]
    near, wide = (edge_coverage(*each, noise=1.0, cell=3.0, sways=True) for each in ((noisy, ROOM, masks[0]), around))
    assert near.any()
    np.testing.assert_array_equal(wide[9:-9, 9:-9], near)


# -- medians -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [8, 9])
def test_median_of_equal_weights_is_the_median(count, monkeypatch):
    monkeypatch.setattr(medians, "BLOCK", 100)  # several strips of rows
    for weights in (np.ones(count), np.full((count, 5, 7), 0.3)):
        np.testing.assert_array_equal(medians.weighted_median(FRAMES[:count], weights), np.median(FRAMES[:count], 0))


def test_weights_count_as_repetitions():
    weights = RNG.integers(0, 4, 9) + np.arange(9) % 2
    np.testing.assert_array_equal(medians.weighted_median(FRAMES, weights), np.median(np.repeat(FRAMES, weights, 0), 0))
    many = RNG.integers(0, 256, (300, 2, 3, 3)).astype(np.uint8)  # more than a byte counts
    np.testing.assert_array_equal(medians.weighted_median(many, np.ones(300)), np.median(many, 0))
    one = np.zeros((9, 5, 7))
    one[4] = 1
    np.testing.assert_array_equal(medians.weighted_median(FRAMES, one), FRAMES[4])


def test_a_resting_character_does_not_enter_the_background():
    frames, _ = walker([*range(0, 16, 4), *[16] * 14, *range(20, 40, 4)])
    assert np.abs(np.median(frames, 0) - ROOM).max() > 100
    assert np.abs(backgrounds.median_background(frames) - ROOM).max() <= 1
    many = np.repeat(frames, 12, 0)  # more than one median looks at
    assert len(many) > backgrounds.MOST_FRAMES
    assert np.abs(backgrounds.median_background(many) - ROOM).max() <= 1


def test_a_still_clip_is_its_own_background():
    np.testing.assert_array_equal(backgrounds.median_background(np.tile(FRAMES[:1], (4, 1, 1, 1))), FRAMES[0])


def test_with_masks_one_clear_frame_is_enough():
    frames, masks = walker([20] * 9 + [30])
    assert np.abs(backgrounds.median_background(frames, masks) - ROOM).max() <= 1
    hidden, masks = walker([20] * 3)
    made = backgrounds.median_background(hidden, masks)  # hidden throughout: filled from around, not with the character
    hole = masks[0] > 0.5
    np.testing.assert_array_equal(made[~hole], hidden[0][~hole])
    assert np.abs(made - ROOM).max() <= 30 < np.abs(hidden[0].astype(int) - ROOM).max()
    masks[1] /= 2.1  # half translucent in one frame
    hidden[1, 12:20, 20:28] = 99
    assert (backgrounds.median_background(hidden, masks)[12:20, 20:28] == 99).all()


def test_evenly_spaced_frames_take_both_ends():
    np.testing.assert_array_equal(backgrounds.evenly_spaced(5), np.arange(5))
    chosen = backgrounds.evenly_spaced(1000, 10)
    assert len(chosen) == 10 and chosen[0] == 0 and chosen[-1] == 999


def test_what_differs_is_the_character_where_the_background_is_known():
    frames, masks = walker([3, 20, 35])
    noisy = np.clip(frames + RNG.normal(0, 2, frames.shape), 0, 255).astype(np.uint8)
    for clip in (frames, noisy):
        found = difference_coverage(clip, ROOM.astype(np.float32), batch=2)
        assert found.dtype == np.float32 and np.mean((found > 0.5) != (masks > 0.5)) < 0.003


# -- cutting out ---------------------------------------------------------------------------------------------------


def test_masks_grow_close_and_fill():
    dot = np.zeros((7, 9), bool)
    dot[3, 4] = True
    np.testing.assert_array_equal(dilate(dot, 2).nonzero(), np.mgrid[1:6, 2:7].reshape(2, -1))
    assert dilate(dot, 20).all()
    np.testing.assert_array_equal(box_sum(dot.astype(np.float32)), dilate(dot, 1))
    ring = dilate(dot, 2) & ~dilate(dot, 1)
    np.testing.assert_array_equal(fill_holes(ring), dilate(dot, 2))
    np.testing.assert_array_equal(fill_holes(np.stack([ring, dot])), np.stack([dilate(dot, 2), dot]))
    gap = dilate(dot, 1)
    gap[:, 4] = False
    assert not fill_holes(gap)[:, 4].any() and close(gap)[3, 4]


def composite(alpha, colour, background=ROOM):
    """Pixels of one colour with that coverage: uint8."""
    return np.rint(alpha[..., None] * np.float32(colour) + (1 - alpha[..., None]) * background).astype(np.uint8)


def test_an_exact_composite_gives_its_alpha_back():
    rows, columns = np.mgrid[:32, :48]
    alpha = np.clip(9.5 - np.hypot(rows - 15.2, columns - 22.7), 0, 1)  # a disc with a soft edge of a pixel
    coverage = dilate(alpha > 0.5, 2).astype(np.float32)
    frame = composite(alpha, (250, 30, 200))
    layer = extract_layer(frame, ROOM, edge_coverage(frame, ROOM, coverage, noise=0.0))
    assert layer.dtype == np.float32 and (layer[..., :3] <= 255 * layer[..., 3:] + 1e-3).all() and layer.min() >= 0
    error = np.abs(layer[..., 3] - alpha)
    assert error.max() < 0.15 and error.mean() < 0.003, (error.max(), error.mean())
    elsewhere = composite(alpha, (250, 30, 200), 255 - ROOM)
    assert np.abs(over(layer, 255 - ROOM).astype(int) - elsewhere).mean() < 0.5


def test_where_a_camera_sways_an_edge_that_is_off_is_not_cut_out():
    """A ledge a pixel lower than it should be, and a disc before it: the disc alone, whole, is a character."""
    ledge = ROOM.copy()
    ledge[14:17, 4:] = 20.0
    rows, columns = np.mgrid[:32, :48]
    alpha = (np.hypot(rows - 15.2, columns - 22.7) < 7).astype(np.float32)
    frame = composite(alpha, (250, 30, 200), np.roll(ledge, 1, 0))
    found = {
        sways: edge_coverage(frame, ledge, np.ones((32, 48), np.float32), noise=0.0, cell=4.0, sways=sways) > 0.5
        for sways in (False, True)
    }
    assert found[False][:, 40:].any(), "it would be taken for a thing that moved"
    assert not found[True][:, 34:].any() and not found[True][:, :12].any()
    np.testing.assert_array_equal(found[True] & (alpha > 0), alpha > 0)


def test_drawn_characters_come_out_whole():
    figures = []
    for seed in range(4):
        scene = draw_scene(seed, frames=2)
        frame, mask = scene.picture(0)
        coverage = dilate(mask > 127, 1).astype(np.float32)  # a pixel too wide, without its soft edge
        background = scene.background.astype(np.float32)
        alpha, true = edge_coverage(frame, background, coverage, noise=0.0), mask / 255
        layer = extract_layer(frame, background, alpha)
        overlap = ((alpha > 0.5) & (true > 0.5)).sum() / ((alpha > 0.5) | (true > 0.5)).sum()
        figures.append([overlap, np.abs(alpha - true).sum() / true.sum()])
        assert np.abs(over(layer, scene.background).astype(int) - frame).mean() < 0.5  # put back, it is the frame
    overlap, error = np.mean(figures, 0)
    assert overlap > 0.85 and error < 0.16, (overlap, error)


def test_layers_together_are_their_sum_and_where_they_overlap_their_mean():
    first, second = np.zeros((2, 4, 6, 4), np.float32)
    first[1:3, :4], second[1:3, 3:5], second[1:3, 5] = (200, 0, 0, 1), (0, 100, 0, 1), (0, 50, 0, 0.5)
    row = together([first, second])[1]
    assert row[[0, 3, 4, 5]].tolist() == [[200, 0, 0, 255], [100, 50, 0, 255], [0, 100, 0, 255], [0, 100, 0, 128]]
    assert not together([first, second])[[0, 3]].any()


def test_nothing_there_cuts_nothing_out():
    frames, masks = walker([5, 30])
    for coverage in (masks[1], 0 * masks[0]):  # looks elsewhere, or nowhere
        assert not edge_coverage(frames[0], ROOM, coverage.astype(np.float32), noise=0.0).any()


def test_noise_is_that_of_the_background():
    frames, masks = walker(range(3, 36))
    assert backgrounds.background_noise(frames, backgrounds.median_background(frames)) == 0.0
    assert backgrounds.background_noise(frames, ROOM.astype(np.float32), masks) == 0.0
    uniform = np.clip(frames + RNG.uniform(-4, 4, frames.shape), 0, 255).astype(np.uint8)
    assert 5.0 < backgrounds.background_noise(uniform, ROOM.astype(np.float32), masks) < 9.0


def test_where_the_camera_drifts_each_place_has_its_own_noise():
    wall = RNG.integers(0, 256, (*ROOM.shape[:2], 3)).astype(np.uint8)
    wall[:8] = 90
    frames = np.stack([np.roll(wall, k % 3, 1) for k in range(9)])
    level = backgrounds.background_noise(frames, backgrounds.median_background(frames))
    assert level.shape == ROOM.shape[:2] and np.median(level[8:]) > 30 and not level[:8].any()


# -- setting down --------------------------------------------------------------------------------------------------

LAYER = RNG.uniform(size=(6, 8, 4)).astype(np.float32)


def test_no_motion_is_exact():
    np.testing.assert_allclose(move(LAYER, np.eye(2, 3)), LAYER, atol=1e-6)


@pytest.mark.parametrize(("right", "down"), [(2, 0), (0, 1), (-3, 2)])
def test_whole_pixels_forward_are_exact(right, down):
    moved = move(LAYER, np.array([[1, 0, right * 2 / 8], [0, 1, down * 2 / 6]]))
    expected = np.zeros_like(LAYER)
    rows, columns = (slice(max(0, d), n + min(0, d)) for d, n in ((down, 6), (right, 8)))
    before = (slice(max(0, -d), n + min(0, -d)) for d, n in ((down, 6), (right, 8)))
    expected[rows, columns] = LAYER[tuple(before)]
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_a_turn_is_that_of_affine_and_a_size_is_the_targets():
    square = LAYER[:, :6]
    quarter = np.asarray(affine.build(turn=np.pi / 2))
    np.testing.assert_allclose(move(square, quarter), np.rot90(square, -1), atol=1e-4)  # clockwise
    blob = np.zeros((32, 48, 4), np.float32)
    blob[8:16, 12:24] = 1
    grown = move(blob, np.eye(2, 3), (64, 96))
    assert grown.shape == (64, 96, 4) and np.abs(grown[20:28, 28:44] - 1).max() < 1e-3
    assert grown.sum() == pytest.approx(4 * blob.sum(), rel=0.01)


def test_over_is_the_compositing_equation():
    background = np.full((2, 2, 3), 100.0)
    layer = np.zeros((2, 2, 4), np.float32)
    layer[0] = (128, 0, 64, 0.5)
    np.testing.assert_array_equal(over(layer, background)[0, 0], [178, 50, 114])
    np.testing.assert_array_equal(over(layer, background)[1, 1], [100, 100, 100])


def test_a_character_that_rests_is_found_by_its_colours():
    """It stands for two thirds of the clip where it also lingers; the median of the moving frames is half character."""
    background = RNG.integers(60, 120, (40, 48, 3)).astype(np.uint8)
    columns = [*range(6, 20), *[20] * 44, *range(20, 6, -1)]
    frames = np.repeat(background[None], len(columns), 0)
    for frame, left in zip(frames, columns):
        frame[12:28, left : left + 12] = (220, 40, 40)
    found = resting_coverage(frames)
    truth = np.zeros(frames.shape[:3], bool)
    for mask, left in zip(truth, columns):
        mask[12:28, left : left + 12] = True
    place = found.any(0)
    assert place[12:28, 20:31].all() and ((found > 0.5) == truth)[:, place].mean() > 0.95
    seen = place & ~truth.all(0)
    without, with_colours = (
        np.abs(backgrounds.median_background(frames, masks) - background)[seen].mean() for masks in (None, found)
    )
    assert with_colours < 0.1 * without, (with_colours, without)
    assert resting_coverage(frames[:14]) is None
