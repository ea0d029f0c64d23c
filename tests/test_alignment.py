"""Gauss-Newton on feature maps: a drawn blob whose motion is known exactly."""

import numpy as np
import pytest
import tensorflow as tf

from eqvid_tf.core import affine, alignment
from eqvid_tf.core.alignment import refine_motion, standard_error

SIZE = (48, 64)
RNG = np.random.default_rng(5)
BLOBS = [(*RNG.uniform(-0.25, 0.25, 2), *RNG.uniform(-1, 1, 4)) for _ in range(9)]
TRUE = affine.build(shift=(0.2, -0.1), turn=0.3, zoom=1.1, aspect=64 / 48).numpy()


def drawn(motion, centre=(0.0, 0.0)):
    """A smooth character at `centre`, moved: [1, 48, 64, 4], the last channel its coverage."""
    y, x = np.meshgrid(*((2 * np.arange(n) + 1) / n - 1 for n in SIZE), indexing="ij")
    linear = np.linalg.inv(motion[:, :2])
    x, y = np.tensordot(linear, np.stack([x - motion[0, 2], y - motion[1, 2]]), 1) - np.reshape(centre, (2, 1, 1))
    coverage = 1 / (1 + np.exp(20 * (np.hypot(x * 4 / 3, y) - 0.4)))
    parts = [[c * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 0.02) for c in rest[:3]] for u, v, *rest in BLOBS]
    return np.stack([*(np.sum(parts, 0) * coverage), coverage], -1)[None].astype("float32")


def distance_px(motion, true):
    """Pixels, at the most, between where two motions carry the corners of the middle of the frame."""
    corners = np.array([[-0.4, 0.4, -0.4, 0.4], [-0.4, -0.4, 0.4, 0.4], [1, 1, 1, 1]])
    return np.abs((np.asarray(motion)[0] - true) @ corners * 32).max()


@pytest.mark.parametrize("centre", [(0.0, 0.0), (-0.9, 0.1)], ids=["whole", "cut off by the border"])
def test_a_motion_that_is_nearly_right_becomes_right(centre):
    start = affine.compose(affine.build(shift=(0.06, 0.05), turn=-0.12, zoom=0.93), TRUE).numpy()
    found = refine_motion(drawn(np.eye(2, 3), centre), drawn(TRUE, centre), start[None].astype("float32"))
    at_centre = np.eye(3)
    at_centre[:2, 2] = centre
    start, found, true = ((np.vstack([m, [0, 0, 1]]) @ at_centre)[:2] for m in (start, found[0], TRUE))
    assert distance_px(start[None], true) > 3 and distance_px(found[None], true) < 0.25


def test_what_is_right_stays_and_what_is_empty_rests():
    still, moved = drawn(np.eye(2, 3)), affine.build(shift=(0.3, 0.0)).numpy()[None]
    assert distance_px(refine_motion(still, still, np.eye(2, 3, dtype="float32")[None]), np.eye(2, 3)) < 1e-3
    nothing = refine_motion(0 * still, 0 * still, moved)[0]
    np.testing.assert_allclose(nothing, np.eye(2, 3), atol=1e-6)


def test_it_is_the_same_compiled_and_beside_pairs_that_take_longer():
    still, moved, rest = drawn(np.eye(2, 3)), drawn(TRUE), np.eye(2, 3, dtype="float32")[None]
    near = affine.compose(affine.build(shift=(0.06, 0.05), turn=-0.12, zoom=0.93), TRUE).numpy()[None].astype("float32")
    quick, slow = refine_motion(still, still, rest), refine_motion(still, moved, near)
    batch = (np.concatenate(parts) for parts in ((still, still), (still, moved), (rest, near)))
    both = tf.function(refine_motion, autograph=False)(*batch)
    np.testing.assert_allclose(both, np.concatenate([quick, slow]), atol=1e-4)


def test_confidence_falls_with_the_error_and_with_doubt_and_is_nothing_without_a_character():
    still, moved, right = drawn(np.eye(2, 3)), drawn(TRUE), TRUE[None].astype("float32")
    confidence = lambda motion, back, a=still, b=moved: float(alignment.confidence(a, b, motion, back)[0])
    for wrong_way_back in (False, True):
        found = []
        for error in (0.0, 0.02, 0.05, 0.1, 0.3):
            off = affine.compose(affine.build(shift=[(error, 0.0)]), right)
            found.append(confidence(right if wrong_way_back else off, affine.invert(off if wrong_way_back else right)))
        assert found == sorted(found, reverse=True) and found[0] > 0.9 and found[-1] < 0.2, found
    assert confidence(right, affine.invert(right), 0 * still, 0 * moved) == 0
    assert confidence(right, affine.invert(right), still, 0 * moved) == 0


def test_a_motion_is_surer_where_the_maps_agree_and_have_slopes_both_ways():
    rest, still = np.eye(2, 3, dtype="float32")[None], drawn(np.eye(2, 3))
    bar = np.zeros_like(still)
    bar[:, :, 28:36] = 1  # from edge to edge: a motion along it changes nothing
    error = lambda maps, residual: float(standard_error(maps, maps + np.float32(residual), rest)[0])
    assert error(still, 0) == 0
    np.testing.assert_allclose(error(still, 0.04), 2 * error(still, 0.02), rtol=1e-3)
    assert error(bar, 0.02) > 3 * error(still, 0.02)
