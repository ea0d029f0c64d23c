"""Medians over frames: weighted, and of the values that are known."""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 22  # values of one channel that are sorted at a time: about 100 MB of memory, whatever the clip's length


def nan_median(values: np.ndarray) -> np.ndarray:
    """The median over the first axis of the values that are not nan; nan where all are.

    Of two middle values it is the lower one: one that a frame really shows.

    Shapes: [N, ...] float -> [...].
    """
    middle = np.maximum((~np.isnan(values)).sum(0) - 1, 0) // 2
    return np.take_along_axis(np.sort(values, 0), middle[None], 0)[0]


def weighted_median(frames: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted median of each value over the frames; where the weights are split evenly, midway, as in `np.median`.

    Shapes: frames [T, H, W, c] uint8, weights [T] or [T, H, W] -> [H, W, c] float32 in [0, 255].

    Args:
        frames: may be memory-mapped; a block of rows is read at a time.
        weights: of whole frames, or of each of their pixels.
    """
    count, height, width, channels = frames.shape
    rows = max(1, BLOCK // (count * width))
    weights = np.broadcast_to(weights.reshape(*weights.shape, *[1] * (3 - weights.ndim)), (count, height, width))
    blocks = []
    for top in range(0, height, rows):
        block, weight = frames[:, top : top + rows], weights[:, top : top + rows].astype(np.float32)
        blocks.append(np.stack([_median_of_channel(block[..., k], weight) for k in range(channels)], -1))
    return np.concatenate(blocks)


def _median_of_channel(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    order = np.argsort(values, 0, kind="stable")
    values = np.take_along_axis(values, order, 0).astype(np.float32)
    total = np.cumsum(np.take_along_axis(weight, order, 0), 0)
    half = total[-1] / 2
    low = np.argmax(total >= half * (1 - 1e-6), 0)[None]
    high = np.argmax(total > half * (1 + 1e-6), 0)[None]  # another than `low` where the weights are split evenly
    return (np.take_along_axis(values, low, 0) + np.take_along_axis(values, high, 0))[0] / 2
