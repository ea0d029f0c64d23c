"""A character's motion over time: what one step does and its neighbours do not is an error of its estimate.

Where a walker's drawing changes from one pose to the next, an alignment takes the change of the pose for a motion. Over
a few steps a motion changes evenly, but where it begins, ends or bounces.

Source: A. Savitzky and M. J. E. Golay, Smoothing and differentiation of data by simplified least squares procedures,
1964; for the windows beside, M. Kuwahara et al., Processing of RI-angiocardiographic images, 1976.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eqvid_tf.pixels.coordinates import homogeneous, square_from_frame

WINDOW = 7  # steps; in it the poses of a walk that changes every second frame cancel out
EVENLY = 2  # degree of the polynomial that a motion follows within a window
BESIDE = 0.5  # of the residual of the window around a step, below which one before or after it is taken
AT_REST = 0.02  # radii: a character that moves by less rests, and its motion begins or ends there
MOSTLY = 0.6  # share of a character below which a step is told from its neighbours: by its own pixels it errs more
LED_BY = 3  # steps on each side that tell it
MISFIT = 0.2  # of the change in a window: a smaller residual may be what the polynomial misses of a curve, or of a stop


class SmoothMotions(NamedTuple):
    """Motions [T - 1, 2, 3] of every step, and how rough they were: half heights of the frame, of a usual window."""

    motions: np.ndarray
    roughness: float


def smooth_motions(
    motions: np.ndarray, centres: np.ndarray, radius: float, shown: np.ndarray, size: tuple[int, int]
) -> SmoothMotions:
    """Motions of every step, smoothed over the steps in which the character is shown and moves.

    Shapes: motions [T - 1, 2, 3] forward, centres [T, 2] of the character, shown [T] bool.

    Args:
        motions: in normalized coordinates of a clip.
        centres: about which it turns and grows.
        radius: of the character, in half heights of the frame: what a turn moves.
        shown: the frames that show it.
        size: of the clip, (height, width).
    """
    steps = _steps(motions, centres[:-1], radius, size)
    moves = np.linalg.norm(steps - radius * np.array([0, 0, 1, 0, 0, 1]), axis=-1) > AT_REST * radius
    rough: list[float] = []
    for first, end in _runs(shown[:-1] & shown[1:] & moves):
        if end - first >= WINDOW:
            steps[first:end], residual = _smooth(steps[first:end])
            rough += residual.tolist()
    smooth = _motions(steps, centres[:-1], radius, size)
    return SmoothMotions(motions=smooth, roughness=float(np.median(rough or [0.0])))


def bridge_motions(motions: np.ndarray, centres: np.ndarray, visible: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Motions of every step; a step that mostly hides the character is what the steps before and after it lead to.

    Why: a part that is seen past another's edge, which moves as that does, misleads an alignment by many pixels.

    Shapes: motions [T - 1, 2, 3] forward, centres [T, 2], visible [T] -> [T - 1, 2, 3].

    Args:
        motions: in normalized coordinates of a clip.
        centres: of the character.
        visible: the share of it that each frame shows.
        size: of the clip, (height, width).
    """
    hidden = visible < MOSTLY
    if not hidden.any() or hidden.all():
        return motions
    frames, seen = np.arange(len(visible)), np.flatnonzero(~hidden)
    known = np.stack([np.interp(frames, seen, places[seen]) for places in centres.T], -1)[:-1]
    steps, unsure = _steps(motions, known, 1.0, size), hidden[:-1] | hidden[1:]
    bridged = steps.copy()
    for first, end in _runs(unsure):
        beside = [part for part in (slice(max(first - LED_BY, 0), first), slice(end, end + LED_BY)) if len(steps[part])]
        sides = [np.median(steps[part][~unsure[part]], 0) for part in beside if not unsure[part].all()]
        if sides:
            share = (np.arange(1, end - first + 1) / (end - first + 1))[:, None]
            bridged[first:end] = (1 - share) * sides[0] + share * sides[-1]
    return np.where(unsure[:, None, None], _motions(bridged, known, 1.0, size), motions)


def _steps(motions: np.ndarray, centres: np.ndarray, radius: float, size: tuple[int, int]) -> np.ndarray:
    """What motions do, [N, 6], in half heights of the frame: they shift the centres, turn and grow discs about them."""
    square, place = square_from_frame(size), _in_square(centres, size)
    whole = square @ homogeneous(motions) @ np.linalg.inv(square)
    return np.concatenate([(whole @ place - place)[:, :2, 0], radius * whole[:, :2, :2].reshape(-1, 4)], -1)


def _motions(steps: np.ndarray, centres: np.ndarray, radius: float, size: tuple[int, int]) -> np.ndarray:
    """The motions [N, 2, 3] that do so: the inverse of `_steps`."""
    square, place = square_from_frame(size), _in_square(centres, size)[:, :2]
    linear = steps[:, 2:].reshape(-1, 2, 2) / radius
    whole = homogeneous(np.concatenate([linear, place + steps[:, :2, None] - linear @ place], -1))
    return (np.linalg.inv(square) @ whole @ square)[:, :2]


def _in_square(centres: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Centres as homogeneous columns [N, 3, 1] in half heights of the frame."""
    return square_from_frame(size) @ np.concatenate([centres, np.ones((len(centres), 1))], -1)[:, :, None]


def _runs(shown: np.ndarray) -> list[tuple[int, int]]:
    """The runs of true values [N]: the first of each and the end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shown.astype(int), [0]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _smooth(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of successive steps [N, 6], each by the window that says most about it, and the windows' residuals."""
    basis = np.vander(np.arange(WINDOW), EVENLY + 1)
    windows = np.lib.stride_tricks.sliding_window_view(steps, WINDOW, 0).swapaxes(1, 2)  # [windows, WINDOW, 6]
    fits = basis @ np.linalg.pinv(basis) @ windows
    residual = np.sqrt(np.square(windows - fits).sum(-1).mean(-1))
    noisy = residual > MISFIT * np.linalg.norm(np.ptp(fits, axis=1), axis=-1)
    out, last = steps.copy(), len(fits) - 1
    for index in range(len(steps)):
        around = min(max(index - WINDOW // 2, 0), last)
        among = np.arange(max(index - WINDOW + 1, 0), min(index, last) + 1)
        best = int(among[residual[among].argmin()])
        best = best if residual[best] < BESIDE * residual[around] else around
        if noisy[best]:
            out[index] = fits[best][index - best]
    return out, residual
