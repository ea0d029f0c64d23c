"""TODO."""

from __future__ import annotations

import numpy as np


def source_from_target_pixels(motion: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """[3, 3]: from the pixels of a picture of size `new` to those that a forward motion brings there, of one of `size`.

    Convention: the motion is in normalized coordinates, [2, 3] or [3, 3]; pixels have their edges at whole numbers, as in Pillow.
    """
    normalized = lambda height, width: np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])  # from pixels
    return np.linalg.inv(normalized(*size)) @ np.linalg.inv(homogeneous(motion)) @ normalized(*new)


def box_from_frame(size: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    """[3, 3]: normalized coordinates of a frame of `size` to those of a box in it, which is given in pixels."""
    return np.array(
        [
            [size[1] / width, 0, (size[1] - 2 * left) / width - 1],
            [0, size[0] / height, (size[0] - 2 * top) / height - 1],
            [0, 0, 1],
        ]
    )


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[int, int, int, int] | None:
    """Top, left, height and width in pixels of what of a frame holds a mask [H, W] and `margin` pixels around it; None where it is empty."""
    edges = []
    for axis, length in ((1, mask.shape[0]), (0, mask.shape[1])):
        at = np.flatnonzero(mask.any(axis))
        if not len(at):
            return None
        edges.append((max(at[0] - margin, 0), min(at[-1] + 1 + margin, length)))
    (top, bottom), (left, right) = edges
    return int(top), int(left), int(bottom - top), int(right - left)


def homogeneous(motion: np.ndarray) -> np.ndarray:
    """Motions as square matrices, which can be multiplied and inverted: [..., 2, 3] or [..., 3, 3] -> [..., 3, 3]."""
    motion = np.asarray(motion)
    last = np.broadcast_to([[0.0, 0, 1]], (*motion.shape[:-2], 1, 3))
    return np.concatenate([motion[..., :2, :], last], -2)


def centroid(layer: np.ndarray) -> np.ndarray:
    """Centroid (x, y) of a layer's coverage in normalized coordinates; (0, 0) where it is empty."""
    alpha = layer[..., 3]
    height, width = alpha.shape
    x, y = (np.arange(width) + 0.5) * 2 / width - 1, (np.arange(height) + 0.5) * 2 / height - 1
    return np.array([(alpha.sum(0) * x).sum(), (alpha.sum(1) * y).sum()]) / max(alpha.sum(), 1e-6)


def target_from_source(size: tuple[int, int], other: tuple[int, int]) -> np.ndarray:
    """[3, 3]: normalized coordinates of frames of `size` to those of `other`, through units of half the height."""
    return np.diag([size[1] / size[0] / (other[1] / other[0]), 1.0, 1.0])
