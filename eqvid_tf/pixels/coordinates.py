"""Normalized coordinates in numpy: motions as matrices, boxes, pixels and frames of another aspect.

Convention: x right, y down, the outer edges of a picture at -1 and +1. A motion is forward: it carries content at p to
motion @ [p, 1]. A size is (height, width) in pixels. Pixel coordinates have the pixels' edges at whole numbers.
"""

from __future__ import annotations

import numpy as np

PIXEL_CENTRE = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # of a pixel, from its index
SINGULAR = 1e-6  # |det| of a motion; below it content shrinks to a millionth of its area, and the inverse means nothing


def is_invertible(motion: np.ndarray) -> np.ndarray:
    """Whether each motion is finite and has an inverse that can be computed.

    Shapes: [..., 2, 3] or [..., 3, 3] -> [...] bool.

    Example:
        >>> is_invertible(np.stack([np.eye(2, 3), np.zeros((2, 3)), np.full((2, 3), np.nan)]))
        array([ True, False, False])
    """
    motion = np.asarray(motion, np.float64)
    with np.errstate(all="ignore"):
        determinant = np.abs(np.linalg.det(motion[..., :2, :2]))
    return np.isfinite(motion).all((-2, -1)) & (determinant >= SINGULAR)


def homogeneous(motion: np.ndarray) -> np.ndarray:
    """Motions as square matrices, which can be multiplied and inverted; square ones are as they were.

    Shapes: [..., 2, 3] or [..., 3, 3] -> [..., 3, 3].
    """
    motion = np.asarray(motion)
    if motion.shape[-2] == 3:
        return motion
    last = np.broadcast_to([[0.0, 0, 1]], (*motion.shape[:-2], 1, 3))
    return np.concatenate([motion[..., :2, :], last], -2)


def chained(steps: np.ndarray) -> np.ndarray:
    """The motion from the first frame to every frame, by the motions of the steps, the first of which acts first.

    Shapes: [T - 1, 2, 3] or [T - 1, 3, 3] -> [T, 3, 3].

    Example:
        >>> chained(np.array([[[2.0, 0, 0], [0, 2, 0]], [[1, 0, 1], [0, 1, 0]]]))[-1]
        array([[2., 0., 1.],
               [0., 2., 0.],
               [0., 0., 1.]])
    """
    motions = [np.eye(3)]
    for step in homogeneous(steps):
        motions.append(step @ motions[-1])
    return np.stack(motions)


def carry(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Carry points by a motion or a homography.

    Shapes: matrix [..., 2, 3] or [..., 3, 3], points [..., N, 2] -> [..., N, 2].
    """
    moved = np.concatenate([points, np.ones((*points.shape[:-1], 1))], -1) @ np.swapaxes(homogeneous(matrix), -1, -2)
    return moved[..., :2] / moved[..., 2:]


def affine_near(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
    """The affine map that a homography is near a point, to the first order; an affine one itself.

    Shapes: [..., 3, 3], [..., 2] -> [..., 2, 3].
    """
    ahead = np.concatenate([point, np.ones((*np.shape(point)[:-1], 1))], -1)
    moved = np.einsum("...ij,...j->...i", matrix, ahead)
    at = moved[..., :2] / moved[..., 2:]
    linear = (matrix[..., :2, :2] - at[..., None] * matrix[..., 2:, :2]) / moved[..., 2:, None]
    return np.concatenate([linear, (at - np.einsum("...ij,...j->...i", linear, point))[..., None]], -1)


def square_from_frame(size: tuple[int, int]) -> np.ndarray:
    """The matrix from normalized to square coordinates, whose unit is half the height of the frame along both axes.

    Why: a turn is orthonormal in square coordinates, whatever the aspect of the frame.

    Shapes: [3, 3].
    """
    return np.diag([size[1] / size[0], 1.0, 1.0])


def target_from_source(size: tuple[int, int], other: tuple[int, int]) -> np.ndarray:
    """The matrix between normalized coordinates of frames of two sizes, through square coordinates: nothing shears.

    Shapes: [3, 3].

    Args:
        size: of the source.
        other: of the target.
    """
    return np.diag([size[1] / size[0] / (other[1] / other[0]), 1.0, 1.0])


def frame_from_pixels(size: tuple[int, int]) -> np.ndarray:
    """The matrix from pixel coordinates of a picture to normalized ones.

    Shapes: [3, 3].
    """
    height, width = size
    return np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])


def source_from_target_pixels(motion: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """The matrix from the pixels of a picture to those that a motion brings there from another picture.

    Shapes: motion [2, 3] or [3, 3] -> [3, 3].

    Args:
        motion: forward, in normalized coordinates.
        size: of the picture that is moved, the source.
        new: of the picture that it is moved into, the target.
    """
    height, width = size
    pixels_from_frame = np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
    return pixels_from_frame @ np.linalg.inv(homogeneous(motion)) @ frame_from_pixels(new)


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[int, int, int, int] | None:
    """The box (top, left, height, width) in pixels around a mask, with a margin; None where the mask is empty.

    Shapes: mask [..., H, W] bool, one or several; the box ends at the border of the picture.
    """
    edges, before = [], tuple(range(mask.ndim - 2))
    for other, length in zip((-1, -2), mask.shape[-2:]):
        lines = np.flatnonzero(mask.any((*before, other)))
        if not len(lines):
            return None
        edges.append((max(lines[0] - margin, 0), min(lines[-1] + 1 + margin, length)))
    (top, bottom), (left, right) = edges
    return int(top), int(left), int(bottom - top), int(right - left)


def box_slices(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """The rows and columns of a box (top, left, height, width).

    Example:
        >>> box_slices((1, 2, 3, 4))
        (slice(1, 4, None), slice(2, 6, None))
    """
    top, left, height, width = box
    return slice(top, top + height), slice(left, left + width)


def box_from_frame(size: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    """The matrix from normalized coordinates of a frame to those of a box in it.

    Shapes: [3, 3].

    Args:
        size: of the frame.
        top: first row of the box.
        left: first column of the box.
        height: of the box, in pixels of the frame.
        width: of the box, in pixels of the frame.
    """
    return np.array(
        [
            [size[1] / width, 0, (size[1] - 2 * left) / width - 1],
            [0, size[0] / height, (size[0] - 2 * top) / height - 1],
            [0, 0, 1],
        ]
    )


def centroid(layer: np.ndarray) -> np.ndarray:
    """The centroid (x, y) of a layer's coverage in normalized coordinates; (0, 0) where it is empty.

    Shapes: RGBA [H, W, 4] -> [2].
    """
    return mask_centroid(layer[..., 3])


def mask_centroid(mask: np.ndarray) -> np.ndarray:
    """The centroid (x, y) of masks in normalized coordinates; (0, 0) where one is empty.

    Shapes: [..., H, W] -> [..., 2].
    """
    x, y = _centres(mask.shape[-1]), _centres(mask.shape[-2])
    mass = np.maximum(mask.sum((-2, -1)), 1e-6)[..., None]
    return np.stack([(mask.sum(-2) * x).sum(-1), (mask.sum(-1) * y).sum(-1)], -1) / mass


def pixel_centres(size: tuple[int, int]) -> np.ndarray:
    """The centres (x, y) of the pixels of a frame (height, width) in normalized coordinates, [H, W, 2]."""
    return np.stack(np.meshgrid(_centres(size[1]), _centres(size[0])), -1)


def _centres(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * 2 / count - 1
