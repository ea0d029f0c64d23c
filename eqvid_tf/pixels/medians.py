"""Medians over frames: weighted, and of the values that are known."""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 17  # values of one channel that are sorted at a time: what the processor's own memory holds


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
    medians = np.empty((height, width, channels), np.float32)
    for top in range(0, height, rows):
        block = frames[:, top : top + rows].reshape(count, -1, channels)
        weight = weights[:, top : top + rows].reshape(count, -1).astype(np.float32)
        for k in range(channels):
            medians[top : top + rows, :, k] = _median_of_channel(block[..., k], weight).reshape(-1, width)
    return medians


def _median_of_channel(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted median [N] of values uint8 [T, N], with their weights float32 [T, N].

    Value and frame are sorted together, as one number: that is many times faster than to sort the indices.
    """
    count, pixels = values.shape
    kind, bits = (np.uint16, 8) if count <= 256 else (np.uint32, 24)
    numbers = np.left_shift(values.T, bits, dtype=kind, order="C") + np.arange(count, dtype=kind)
    numbers.sort(-1)
    frame = (numbers & ((1 << bits) - 1)).astype(np.intp)
    frame += np.arange(0, pixels * count, count)[:, None]
    total = np.ascontiguousarray(weight.T.reshape(-1).take(frame).T)
    for before, after in zip(total, total[1:]):
        after += before
    half, pixel = total[-1] / 2, np.arange(pixels)
    number = lambda passed: passed.sum(0, dtype=np.uint32)
    low = number(total < half * (1 - 1e-6))
    high = number(total <= half * (1 + 1e-6)) % count  # another than `low` where the weights are split evenly
    return ((numbers[pixel, low] >> bits).astype(np.float32) + (numbers[pixel, high] >> bits)) / 2
