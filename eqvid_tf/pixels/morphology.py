"""Morphology of masks and pictures, by OpenCV: numpy's results in a fraction of the time (benchmarks/pixels.py).

Convention: the last two axes of an array are its rows and columns; what lies outside of a picture is empty.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SQUARE = np.ones((3, 3), np.uint8)


def dilate(picture: np.ndarray, steps: int) -> np.ndarray:
    """Replace each pixel by the largest within a square of `steps` pixels each way.

    Shapes: [..., H, W] bool, uint8 or float -> the same.

    Example:
        >>> dilate(np.array([[False, False, False, True]]), 1)
        array([[False, False,  True,  True]])
    """
    kernel = np.ones((2 * steps + 1, 2 * steps + 1), np.uint8)
    return _by_plane(lambda plane: cv2.dilate(plane, kernel), picture)


def close(mask: np.ndarray) -> np.ndarray:
    """Close gaps of one pixel: a dilation by 3 x 3, then an erosion.

    Shapes: [..., H, W] bool -> the same.
    """
    return _by_plane(_close_plane, mask)


def _close_plane(plane: np.ndarray) -> np.ndarray:
    padded = np.pad(plane, 1)  # at a border, OpenCV's erosion leaves more: masks would grow towards it
    return cv2.morphologyEx(padded, cv2.MORPH_CLOSE, SQUARE)[1:-1, 1:-1]


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Fill the holes of a mask: the places that no path along rows and columns joins to the outside.

    Shapes: [..., H, W] bool -> the same.
    """
    return _by_plane(_fill_plane, mask)


def _fill_plane(plane: np.ndarray) -> np.ndarray:
    outside = np.pad(plane, 1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return outside[1:-1, 1:-1] != 2


def reconstruct(seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Keep the regions of a mask that hold a seed; a region is connected along rows and columns.

    Shapes: seeds and mask [H, W] bool -> the same.
    """
    labels = label(mask)
    holds_seed = np.zeros(labels.max(initial=0) + 1, bool)
    holds_seed[labels[seeds & mask]] = True
    return holds_seed[labels]


def label(mask: np.ndarray) -> np.ndarray:
    """Number the regions of a mask that are connected along rows and columns, from 1; 0 outside of them.

    Shapes: [H, W] bool -> [H, W] int32.
    """
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]


def count_around(mask: np.ndarray) -> np.ndarray:
    """Count the 3 x 3 pixels around each pixel that are in a mask.

    Shapes: [..., H, W] bool -> [..., H, W] uint8.
    """
    count = lambda plane: cv2.boxFilter(plane, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return _by_plane(count, mask.astype(np.uint8))


def box_sum(picture: np.ndarray) -> np.ndarray:
    """Sum the 3 x 3 pixels around each pixel.

    Why not OpenCV's filter: it rounds in another order, and the sums are of a few small pictures.

    Shapes: [..., H, W] -> the same.
    """
    padded = np.pad(picture, [(0, 0)] * (picture.ndim - 2) + [(1, 1)] * 2)
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def _by_plane(function: Callable[[np.ndarray], np.ndarray], picture: np.ndarray) -> np.ndarray:
    """Apply a function of one plane [H, W] to each of [..., H, W]; a mask goes through as uint8, which OpenCV takes."""
    numbers = picture.astype(np.uint8) if picture.dtype == bool else picture
    planes = [function(plane) for plane in numbers.reshape(-1, *picture.shape[-2:])]
    return np.reshape(planes, picture.shape).astype(picture.dtype)
