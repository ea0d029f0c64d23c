"""TODO."""

from __future__ import annotations

import numpy as np


def nan_median(values: np.ndarray) -> np.ndarray:
    """The median over the first axis of what is not nan (the lower one of two); nan where all is."""
    middle = np.maximum((~np.isnan(values)).sum(0) - 1, 0) // 2
    return np.take_along_axis(np.sort(values, 0), middle[None], 0)[0]


def weighted_median(frames: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Per value, the weighted median over frames.

    Shapes: frames [T, H, W, c] uint8, weights [T] or [T, H, W] -> [H, W, c] float32 in [0, 255].
    """
    count, height, width, _ = frames.shape
    out = np.empty(frames.shape[1:], np.float32)
    rows = max(1, BLOCK // (count * width))
    for top in range(0, height, rows):
        cut = slice(top, top + rows)
        weight = (
            weights[:, cut] if weights.ndim == 3 else np.broadcast_to(weights[:, None, None], frames[:, cut].shape[:3])
        )
        for channel in range(frames.shape[3]):
            out[cut, :, channel] = _weighted_median(frames[:, cut, :, channel], weight.astype(np.float32))
    return out


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    order = np.argsort(values, 0, kind="stable")
    values = np.take_along_axis(values, order, 0).astype(np.float32)
    total = np.cumsum(np.take_along_axis(weight, order, 0), 0)
    half = total[-1] / 2
    low = np.argmax(total >= half * (1 - 1e-6), 0)[None]
    high = np.argmax(total > half * (1 + 1e-6), 0)[None]  # an even split is met halfway, as np.median does
    return (np.take_along_axis(values, low, 0) + np.take_along_axis(values, high, 0))[0] / 2


BLOCK = 1 << 22  # values of one channel sorted at a time
