"""TODO."""

from __future__ import annotations

import numpy as np


def box_sum(image: np.ndarray) -> np.ndarray:
    """Sum over 3 x 3 pixels of [..., H, W], nothing outside."""
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(1, 1)] * 2)
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def dilate(mask: np.ndarray, steps: int) -> np.ndarray:
    """Dilation of [..., H, W], a mask or values, by a square of `steps` pixels each way."""
    for axis in (-2, -1):
        mask, near = np.moveaxis(mask, axis, 0), np.moveaxis(mask, axis, 0).copy()
        for k in range(1, min(steps, len(mask) - 1) + 1):
            np.maximum(near[k:], mask[:-k], out=near[k:])
            np.maximum(near[:-k], mask[k:], out=near[:-k])
        mask = np.moveaxis(near, 0, axis)
    return mask


def close(mask: np.ndarray) -> np.ndarray:
    """Closing by 3 x 3: gaps of a pixel are bridged."""
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(2, 2)] * 2)
    return ~dilate(~dilate(padded, 1), 1)[..., 2:-2, 2:-2]


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Holes of [..., H, W] that the frame's border does not reach are filled."""
    free = np.pad(~mask, [(0, 0)] * (mask.ndim - 2) + [(1, 1)] * 2, constant_values=True)
    border = np.zeros_like(free)
    border[..., [0, -1], :] = border[..., :, [0, -1]] = True
    return ~reconstruct(border, free)[..., 1:-1, 1:-1]


def reconstruct(seeds: np.ndarray, free: np.ndarray) -> np.ndarray:
    """What of `free` [..., H, W] the seeds in it reach, from pixel to pixel in rows and columns."""
    reached, count = seeds & free, 0
    while (grown := int(reached.sum())) != count:
        count = grown
        for axis in (-2, -1):
            for flip in (slice(None), slice(None, None, -1)):  # a sweep each way carries the front across the frame
                front, open_ = (np.moveaxis(array, axis, 0)[flip] for array in (reached, free))
                for k in range(1, len(front)):
                    front[k] |= front[k - 1] & open_[k]
    return reached
