"""Motions over time: noise and a walker's poses go, a bounce and a bend stay; neighbours lead who is hidden."""

import numpy as np
import pytest

from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.separation.smoothing import bridge_motions, smooth_motions

SIZE, RADIUS, COUNT = (48, 96), 0.3, 30
TIME = np.arange(COUNT)


def _motions(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shifts of a character whose middle is at x [T], normalized, and its middles [T, 2]."""
    motions = np.tile(np.eye(2, 3), (COUNT - 1, 1, 1))
    motions[:, 0, 2] = np.diff(x)
    return motions, np.stack([x, np.zeros(COUNT)], -1)


def _error(found: np.ndarray, true: np.ndarray, centres: np.ndarray) -> float:
    """Mean distance, in pixels, by which the middle is carried wrongly."""
    ahead = np.concatenate([centres[:-1], np.ones((COUNT - 1, 1))], -1)[..., None]
    far = (homogeneous(found) - homogeneous(true)) @ ahead
    return float(np.hypot(far[:, 0, 0] * SIZE[1] / 2, far[:, 1, 0] * SIZE[0] / 2).mean())


def _smooth(motions: np.ndarray, centres: np.ndarray, shown: np.ndarray | None = None) -> np.ndarray:
    shown = np.ones(COUNT, bool) if shown is None else shown
    return smooth_motions(motions, centres, RADIUS, shown, SIZE).motions


def test_a_change_of_pose_every_second_frame_is_no_motion():
    motions, centres = _motions(0.02 * TIME - 0.3)
    walking = motions.copy()
    walking[1::4, 1, 2] += 0.04
    walking[3::4, 1, 2] -= 0.04
    assert _error(walking, motions, centres) > 0.45
    assert _error(_smooth(walking, centres), motions, centres) < 0.12


@pytest.mark.parametrize(
    "x",
    [
        0.02 * np.maximum(TIME - 12, 0),  # begins to move
        0.02 * np.minimum(TIME, 26),  # ends, shortly before the end
        0.02 * np.abs(TIME - 15),  # bounces
        0.5 * np.sin(TIME / 4),  # turns round, fast
    ],
)
def test_motions_without_errors_stay(x):
    motions, centres = _motions(x)
    assert _error(_smooth(motions, centres), motions, centres) < 0.02


def test_noise_is_averaged_where_the_character_is_shown_and_nowhere_else():
    motions, centres = _motions(0.02 * TIME - 0.3)
    noisy = motions + np.random.default_rng(0).normal(0, 0.004, motions.shape)
    smooth = _smooth(noisy, centres)
    assert _error(smooth, motions, centres) < 0.8 * _error(noisy, motions, centres)
    assert np.abs(smooth[:, :, :2] - np.eye(2)).mean() < 0.8 * np.abs(noisy[:, :, :2] - np.eye(2)).mean()
    shown = TIME < 4
    np.testing.assert_allclose(_smooth(noisy, centres, shown), noisy, atol=1e-9)


@pytest.mark.parametrize("hidden", [slice(12, 17), slice(0, 3), slice(26, COUNT)])
def test_a_step_of_who_is_mostly_hidden_is_what_its_neighbours_lead_to(hidden):
    motions, centres = _motions(0.001 * (TIME - 5) ** 2)
    visible, seen, misled = np.ones(COUNT), centres.copy(), motions.copy()
    visible[hidden] = 0.3
    seen[hidden] += 0.1  # the middle of the part that is seen
    unsure = visible.clip(max=1)[:-1] < 1
    unsure |= visible[1:] < 1
    misled[unsure, 0, 2] += 0.2
    found = bridge_motions(misled, seen, visible, SIZE)
    np.testing.assert_array_equal(found[~unsure], motions[~unsure])
    assert _error(found, motions, centres) < 0.1 < 0.5 < _error(misled, motions, centres)
    for all_or_none in (np.ones(COUNT), np.zeros(COUNT)):
        np.testing.assert_array_equal(bridge_motions(misled, seen, all_or_none, SIZE), misled)
