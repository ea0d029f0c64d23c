"""A character in its own clip: where it is visible, its best pose, its own motion, and how its clip goes on.

Convention: frames by index; motions [N, 3, 3] forward, in the clip's normalized coordinates.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from eqvid_tf.motions.catalog import LEAST_AREA
from eqvid_tf.pixels.canvas import canvas_from_clip, fit_box
from eqvid_tf.pixels.coordinates import chained
from eqvid_tf.pixels.resampling import move
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.motions import anchored_path

AT_BORDER = 0.02  # share of a character's area at the frame's border from which it goes on outside
COMPARED_STEPS = 16  # steps of a clip, evenly spaced, that the jump from its end to its start is compared with


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Visibility:
    """Which frames show the character at all, and which show it whole: two bool [T]."""

    visible: np.ndarray
    whole: np.ndarray


def visibility(layers: ClipLayers) -> Visibility:
    """Decide from the coverage on the canvas which frames show the character, and which show it whole."""
    top, left, height, width = fit_box(layers.clip.size, layers.canvas)
    inside = layers.coverage[:, top : top + height, left : left + width] > 0.5
    area = inside.sum((1, 2))
    border = inside[:, [0, -1]].sum((1, 2)) + inside[:, 1:-1, [0, -1]].sum((1, 2))
    visible = area >= max(LEAST_AREA * height * width, 1)
    return Visibility(visible=visible, whole=visible & (border <= AT_BORDER * area))


def best_pose(layers: ClipLayers) -> int:
    """The index of the frame that shows the character best: whole where any does, then large and decided.

    Score: the area of the coverage, at most the clip's 90 % quantile (a mask that spills over is larger still), times
    how decided it is, sum of squares by sum.
    """
    found = visibility(layers)
    candidates = next((flags for flags in (found.whole, found.visible) if flags.any()), np.ones_like(found.visible))
    area = layers.coverage.sum((1, 2), dtype=np.float64)
    squares = np.square(layers.coverage, dtype=np.float64).sum((1, 2))
    score = np.minimum(area, np.quantile(area[candidates], 0.9)) * squares / np.maximum(area, 1e-6)
    return int(np.argmax(np.where(candidates, score, -1)))


def longest_run(flags: np.ndarray) -> tuple[int, int]:
    """The longest run of true flags, as a half-open range; (0, 0) where there is none.

    Example:
        >>> longest_run(np.array([1, 0, 1, 1, 0], bool))
        (2, 4)
    """
    edges = np.flatnonzero(np.diff(np.pad(flags.astype(np.int8), 1)))
    starts, ends = edges[::2], edges[1::2]
    longest = int((ends - starts).argmax()) if len(starts) else None
    return (0, 0) if longest is None else (int(starts[longest]), int(ends[longest]))


def own_motion(layers: ClipLayers, first: int, last: int) -> np.ndarray:
    """The motion of the character from frame `first` to each frame of first ... last - 1: [N, 3, 3].

    A model of the 'known' estimator takes the clip's own motion, which is exact.
    """
    if last - first < 2:
        return np.eye(3)[None]
    if not layers.model.T.learned:
        return chained(layers.motion[first : last - 1])
    steps, _ = layers.estimate_motions(list(itertools.pairwise(range(first, last))))
    return anchored_path(layers.estimate_motions, range(first, last), steps)


def loops(layers: ClipLayers, first: int, motions: np.ndarray) -> bool:
    """Whether the last frame goes on into the first: without its own motion, the jump is as small as the clip's steps.

    Shapes: motions [N, 3, 3], see `own_motion`.
    """
    to_canvas, count = canvas_from_clip(layers.clip.size, layers.canvas), len(motions)

    def pose(k: int) -> np.ndarray:
        coverage = layers.coverage[first + k][..., None]
        layer = np.concatenate([layers.canvas_frames[first + k] / np.float32(255) * coverage, coverage], -1)
        return move(layer, to_canvas @ np.linalg.inv(motions[k]) @ np.linalg.inv(to_canvas))

    if count < 3:
        return False
    compared = np.unique(np.linspace(0, count - 2, COMPARED_STEPS).astype(int))
    steps = [np.abs(pose(k) - pose(k + 1)).mean() for k in compared]
    return bool(np.abs(pose(count - 1) - pose(0)).mean() <= np.quantile(steps, 0.9))


def frame_order(count: int, length: int, rate: float, wraps: bool) -> np.ndarray:
    """Which of `length` frames each of `count` pictures shows, [count]; the clip goes on `rate` frames a picture.

    It starts over where its ends join, else it goes back and forth.

    Example:
        >>> frame_order(7, 3, 1.0, True).tolist(), frame_order(7, 3, 1.0, False).tolist()
        ([0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 1, 0, 1, 2])
        >>> frame_order(4, 9, 2.0, True).tolist()
        [0, 2, 4, 6]
    """
    index = np.floor(np.arange(count) * rate + 0.5).astype(int)
    if wraps or length == 1:
        return index % length
    index %= 2 * (length - 1)
    return np.minimum(index, 2 * (length - 1) - index)
