"""The kit: coordinates, resampling, morphology, medians and least squares, each against its definition."""

import numpy as np
import pytest

from eqvid_tf.pixels import medians, morphology
from eqvid_tf.pixels.coordinates import (
    bounding_box,
    box_from_frame,
    centroid,
    homogeneous,
    is_invertible,
    square_from_frame,
    target_from_source,
)
from eqvid_tf.pixels.resampling import move, move_with_validity, over, sample
from eqvid_tf.pixels.solver import least_squares

RNG = np.random.default_rng(0)
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0]])


def masks(count=60):
    for _ in range(count):
        yield RNG.random(RNG.integers(1, 16, 2)) < RNG.random()


def neighbours(mask, steps, outside):
    """All values within a square around each pixel, [squares, H, W]."""
    padded = np.pad(mask, steps, constant_values=outside)
    side = 2 * steps + 1
    return np.stack([padded[i : i + mask.shape[0], j : j + mask.shape[1]] for i, j in np.ndindex(side, side)])


def reached(seeds, mask):
    """The pixels of a mask that a walk along rows and columns reaches from the seeds."""
    found = seeds & mask
    while True:
        padded = np.pad(found, 1)
        around = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
        more = mask & (found | around)
        if np.array_equal(more, found):
            return found
        found = more


# -- coordinates -------------------------------------------------------------------------------------------------


def test_a_motion_has_an_inverse_or_not():
    motions = np.stack([np.eye(2, 3), 1e-2 * np.eye(2, 3), 1e-4 * np.eye(2, 3), np.full((2, 3), np.nan)])
    np.testing.assert_array_equal(is_invertible(motions), [True, True, False, False])
    assert is_invertible(np.diag([1.0, -1.0, 1.0])) and not is_invertible(np.array([[1, 0, np.inf], [0, 1, 0]]))


def test_a_turn_does_not_shear_between_aspects():
    wide, high = (30, 60), (60, 40)
    in_wide = np.linalg.inv(square_from_frame(wide)) @ homogeneous(TURN) @ square_from_frame(wide)
    in_high = np.linalg.inv(square_from_frame(high)) @ homogeneous(TURN) @ square_from_frame(high)
    high_from_wide = target_from_source(wide, high)
    np.testing.assert_allclose(high_from_wide @ in_wide, in_high @ high_from_wide, atol=1e-12)


def test_boxes_hold_the_mask_and_end_at_the_border():
    mask = np.zeros((10, 20), bool)
    mask[3:5, 6:9] = True
    assert bounding_box(mask) == (3, 6, 2, 3)
    assert bounding_box(mask, 4) == (0, 2, 9, 11)
    assert bounding_box(mask & False) is None
    corners = box_from_frame((10, 20), 3, 6, 2, 3) @ [[6 / 10 - 1, 9 / 10 - 1], [3 / 5 - 1, 5 / 5 - 1], [1, 1]]
    np.testing.assert_allclose(corners[:2], [[-1, 1], [-1, 1]], atol=1e-12)
    layer = np.repeat(mask[..., None], 4, -1).astype(np.float32)
    np.testing.assert_allclose(centroid(layer), [7.5 / 10 - 1, 4 / 5 - 1])
    np.testing.assert_array_equal(centroid(0 * layer), [0, 0])


# -- resampling --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_whole_pixels_and_half_turns_move_exactly(resample):
    picture = RNG.random((6, 8, 5)).astype(np.float32)
    right_down = np.array([[1, 0, 2 * 2 / 8], [0, 1, 1 * 2 / 6]])
    expected = np.zeros_like(picture)
    expected[1:, 2:] = picture[:-1, :-2]
    np.testing.assert_allclose(move(picture, right_down, resample=resample), expected, atol=1e-6)
    np.testing.assert_allclose(move(picture, -np.eye(2, 3), resample=resample), picture[::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(move(picture[..., 0], right_down, resample=resample), expected[..., 0], atol=1e-6)


def test_moved_pixels_are_weighed_by_the_formula():
    picture, shift = RNG.random((8, 9)), np.array([[1, 0, 0.3 * 2 / 9], [0, 1, 0]])
    left, right = np.pad(picture, [(0, 0), (1, 0)])[:, :-1], picture
    np.testing.assert_allclose(move(picture, shift, resample="bilinear"), 0.3 * left + 0.7 * right, atol=1e-6)
    padded, t = np.pad(picture, [(0, 0), (2, 2)]), np.abs(np.array([-1.7, -0.7, 0.3, 1.3]))
    cubic = np.where(t <= 1, (t - 2) * t**2 + 1, -(((t - 5) * t + 8) * t - 4))  # Keys' kernel with a = -1
    expected = sum(weight * padded[:, k : k + 9] for k, weight in enumerate(cubic))
    np.testing.assert_allclose(move(picture, shift), expected, atol=1e-6)


def test_validity_is_where_the_picture_reaches():
    picture = np.full((10, 20, 3), 200, np.uint8)
    moved, valid = move_with_validity(picture, np.array([[1, 0, 3 * 2 / 20], [0, 1, 0]]), (10, 20))
    assert moved.dtype == np.uint8 and not valid[:, :3].any() and valid[:, 3:].all()
    assert (moved[valid] == 200).all()
    wide = np.pad(picture, [(4, 4), (4, 4), (0, 0)], mode="edge")
    assert move_with_validity(wide, np.array([[1, 0, 3 * 2 / 20], [0, 1, 0]]), (10, 20), 4)[1].all()


def test_samples_are_bilinear_and_stay_at_the_border():
    plane = lambda x, y: 3 * x - 2 * y + 1
    y, x = np.mgrid[:7, :9].astype(np.float64)
    at = RNG.uniform(-3, 12, (2, 50))
    expected = plane(np.clip(at[0], 0, 8), np.clip(at[1], 0, 6))
    np.testing.assert_allclose(sample(plane(x, y), *at), expected, atol=1e-4)
    colours = sample(np.stack([plane(x, y), plane(y, x)], -1), *at)
    np.testing.assert_allclose(colours[:, 0], expected, atol=1e-4)


def test_over_composites_a_premultiplied_layer():
    layer = np.array([[[100.0, 0, 0, 0.5], [0, 0, 0, 0]]])
    np.testing.assert_array_equal(over(layer, np.full((1, 2, 3), 40)), [[[120, 20, 20], [40, 40, 40]]])


# -- morphology --------------------------------------------------------------------------------------------------


def test_dilation_is_the_largest_value_around():
    for mask in masks():
        steps = int(RNG.integers(0, 5))
        np.testing.assert_array_equal(morphology.dilate(mask, steps), neighbours(mask, steps, False).any(0))
        values = RNG.normal(size=mask.shape).astype(np.float32)
        expected = neighbours(values, steps, -np.inf).max(0)
        np.testing.assert_array_equal(morphology.dilate(values, steps), expected)


def test_a_closing_does_not_know_of_a_border():
    for mask in masks():
        wide = np.pad(mask, 3)
        expected = neighbours(neighbours(wide, 1, False).any(0), 1, True).all(0)[3:-3, 3:-3]
        np.testing.assert_array_equal(morphology.close(mask), expected)


def test_holes_and_regions_are_connected_along_rows_and_columns():
    for mask in masks():
        wide = np.pad(~mask, 1, constant_values=True)
        corner = np.zeros_like(wide)
        corner[0, 0] = True
        np.testing.assert_array_equal(morphology.fill_holes(mask), ~reached(corner, wide)[1:-1, 1:-1])
        seeds = RNG.random(mask.shape) < 0.1
        np.testing.assert_array_equal(morphology.reconstruct(seeds, mask), reached(seeds, mask))
        labels = morphology.label(mask)
        assert labels.max() == len(np.unique(labels[mask])) and not labels[~mask].any()
        for k in range(1, labels.max() + 1):
            first = np.zeros(mask.size, bool)
            first[np.argmax(labels.ravel() == k)] = True
            np.testing.assert_array_equal(labels == k, reached(first.reshape(mask.shape), mask))


def test_a_stack_is_treated_plane_by_plane():
    stack = RNG.random((2, 3, 9, 11)) < 0.5
    for function in (lambda m: morphology.dilate(m, 2), morphology.close, morphology.fill_holes, morphology.box_sum):
        expected = [[function(plane) for plane in planes] for planes in stack]
        np.testing.assert_array_equal(function(stack), expected)


def test_box_sums_have_nothing_outside():
    picture = RNG.integers(0, 9, (5, 6))
    np.testing.assert_array_equal(morphology.box_sum(picture), neighbours(picture, 1, 0).sum(0))


# -- medians and least squares -----------------------------------------------------------------------------------


def test_medians_follow_the_weights_block_by_block(monkeypatch):
    frames = RNG.integers(0, 256, (6, 7, 5, 3), dtype=np.uint8)
    whole = medians.weighted_median(frames, np.ones(6))
    np.testing.assert_array_equal(whole, np.median(frames, 0))
    monkeypatch.setattr(medians, "BLOCK", 6 * 5 * 2)
    np.testing.assert_array_equal(medians.weighted_median(frames, np.ones(6)), whole)
    twice = np.concatenate([frames, frames[:2]])
    np.testing.assert_array_equal(medians.weighted_median(frames, np.array([2, 2, 1, 1, 1, 1])), np.median(twice, 0))
    weights = np.ones((6, 7, 5))
    weights[:, 2, 3] = [0, 0, 0, 1, 0, 0]
    np.testing.assert_array_equal(medians.weighted_median(frames, weights)[2, 3], frames[3, 2, 3])


def test_a_median_leaves_out_what_is_not_known():
    values = np.array([[3.0, np.nan, np.nan], [1.0, 7.0, np.nan], [2.0, 5.0, np.nan]])
    np.testing.assert_array_equal(medians.nan_median(values), [2.0, 5.0, np.nan])


def test_least_squares_finds_the_step_and_damping_holds_it_down():
    slopes, step = RNG.normal(size=(40, 3)), np.array([1.0, -2.0, 0.5])
    values, weight = slopes @ step, RNG.random(40)
    values[:5], weight[:5] = 99, 0
    np.testing.assert_allclose(least_squares(slopes, values, weight), step, atol=1e-5)
    unknown = np.concatenate([slopes, np.zeros((40, 1))], 1)
    np.testing.assert_allclose(least_squares(unknown, values, weight), [*step, 0], atol=1e-5)
    assert np.linalg.norm(least_squares(slopes, values, weight, 1.0)) < 0.5 * np.linalg.norm(step)
