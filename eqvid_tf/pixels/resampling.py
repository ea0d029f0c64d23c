"""Pictures resampled: moved by a motion, read at points, resized; and a layer composited over a background.

Why Pillow moves characters and not OpenCV: its cubic is another one, which would change every render, and before its
version 5 it rounds positions to 1/32 of a pixel (benchmarks/pixels.py). Frames of a camera are moved by OpenCV: there
and back they lose as little (37.3 dB are left, 37.0 by Pillow), in a quarter of the time.

Convention: a size is (height, width). Motions are forward, in normalized coordinates.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from eqvid_tf.pixels.coordinates import PIXEL_CENTRE, box_slices, source_from_target_pixels

EXACT = 1e-12  # the last row of a matrix that is off by less is an affine map's
CUBIC, LINEAR = cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC, cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR  # for `opencv_matrix`
REACH = 4  # pixels around a picture that are empty, so that it fades out over its border: a cubic reaches 2


def move(
    picture: np.ndarray, motion: np.ndarray, size: tuple[int, int] | None = None, resample: str = "bicubic"
) -> np.ndarray:
    """Move a picture by a motion, in one resampling; outside of it everything is 0.

    Shapes: picture [H, W(, c)], motion [2, 3] or [3, 3] -> [*size(, c)] float32.

    Args:
        picture: of any type; it fades out over its border.
        motion: forward.
        size: of the result; by default that of the picture.
        resample: "bicubic" or "bilinear".
    """
    size = size or picture.shape[:2]
    source = source_from_target_pixels(motion, picture.shape[:2], size)
    top, left, *_ = box = _box_read(source, picture.shape[:2], size)
    source[:2] += np.array([[REACH - left], [REACH - top]]) * source[2:]
    part = picture[box_slices(box)].astype(np.float32)
    padded = np.pad(part, [(REACH, REACH)] * 2 + [(0, 0)] * (picture.ndim - 2))
    return _transform(padded, source, size, resample)


def read_quickly(picture: np.ndarray, source: np.ndarray, size: tuple[int, int], cubic: bool = False) -> np.ndarray:
    """Read a picture at source @ [x, y, 1] for every pixel, by OpenCV; outside of it everything is 0.

    Why beside `move`: of small pictures with several channels it takes a tenth of the time. Why not instead: its cubic
    is another one, and before its version 5 it rounds positions to 1/32 of a pixel.

    Shapes: picture [H, W, c] float32, source [2, 3] or [3, 3], affine, see `source_from_target_pixels` -> [*size, c].

    Args:
        picture: it fades out over its border.
        source: from pixels of the result to pixels of the picture.
        size: of the result.
        cubic: bicubic, else bilinear.
    """
    matrix, flags = opencv_matrix(source), CUBIC if cubic else LINEAR
    parts = [np.ascontiguousarray(picture[..., k : k + 4]) for k in range(0, picture.shape[2], 4)]
    moved = [cv2.warpAffine(part, matrix, size[::-1], flags=flags).reshape(*size, -1) for part in parts]
    return moved[0] if len(moved) == 1 else np.concatenate(moved, -1)


def opencv_matrix(source: np.ndarray) -> np.ndarray:
    """What `cv2.warpAffine` takes, with `CUBIC` or `LINEAR`, for a source as in `read_quickly`: [2, 3]."""
    matrix = source[:2].copy()
    matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from the centre of the first pixel
    return matrix


def _box_read(source: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (top, left, height, width) of a picture of `size` that pixels of one of size `new` are read from.

    All of it where a homography carries the horizon into the picture.
    """
    corners = source @ [[0, new[1], 0, new[1]], [0, 0, new[0], new[0]], [1, 1, 1, 1]]
    if (corners[2] <= EXACT).any():
        return 0, 0, *size
    places = corners[1::-1] / corners[2]  # y, x
    last = np.array(size)
    first = np.clip(np.floor(places.min(1)) - REACH, 0, last - 1).astype(int)
    end = np.clip(np.ceil(places.max(1)) + REACH, first + 1, last).astype(int)
    return int(first[0]), int(first[1]), int(end[0] - first[0]), int(end[1] - first[1])


def move_with_validity(
    picture: np.ndarray, motion: np.ndarray, size: tuple[int, int], margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Move a picture by a motion, in one bicubic resampling, and say which pixels of the result it reaches.

    Why not `move`: a frame of a clip does not fade out over its border, as what it shows goes on there; and OpenCV
    moves large ones in a quarter of the time.

    Shapes: picture [H + 2 margin, W + 2 margin(, c)] uint8 or float32, motion [2, 3] or [3, 3]
        -> the same type [*size(, c)], and bool [*size]; beyond its reach the picture is 0.
    """
    height, width = picture.shape[:2]
    source = source_from_target_pixels(motion, (height - 2 * margin, width - 2 * margin), size)
    source[:2] += margin * source[2:]
    matrix = np.linalg.inv(PIXEL_CENTRE) @ source @ PIXEL_CENTRE  # OpenCV counts from the centre of the first pixel
    warp = lambda a, flag, border: cv2.warpPerspective(
        a, matrix, size[::-1], flags=cv2.WARP_INVERSE_MAP | flag, borderMode=border
    )
    valid = warp(np.ones((height, width), np.uint8), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT) > 0
    moved = warp(picture, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    if not valid.all():
        moved[~valid] = 0
    return moved, valid


def _transform(picture: np.ndarray, source: np.ndarray, size: tuple[int, int], resample: str) -> np.ndarray:
    """Read a picture at source @ [x, y, 1] for every pixel of the result, by Pillow, a plane at a time unless RGB.

    Convention: source [3, 3] acts on homogeneous pixel coordinates.
    """
    if picture.ndim == 3 and (picture.dtype != np.uint8 or picture.shape[2] != 3):
        planes = [_transform(picture[..., k], source, size, resample) for k in range(picture.shape[2])]
        return np.stack(planes, -1)
    image, method = Image.fromarray(np.ascontiguousarray(picture)), Image.Resampling[resample.upper()]
    if np.abs(source[2] - [0, 0, 1]).max() < EXACT:
        return np.asarray(image.transform(size[::-1], Image.Transform.AFFINE, source[:2].ravel().tolist(), method))
    way = (source / source[2, 2]).ravel()[:8].tolist()
    return np.asarray(image.transform(size[::-1], Image.Transform.PERSPECTIVE, way, method))


def sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Read a picture at points by bilinear interpolation; beyond the border it goes on as at the border.

    Convention: x and y are pixel indices, the centre of the first pixel at 0.

    Shapes: picture [H, W(, c)] float, at least 2 x 2; x, y float64 [...] -> [...(, c)] in the type of the picture.

    Example:
        >>> sample(np.array([[0.0, 1], [2, 3]]), np.array([0.5, 9]), np.array([0.0, 1]))
        array([0.5, 3. ])
    """
    height, width = picture.shape[:2]
    last = 1 + 1e-9  # a little less than the last pixel, so that each point has a pixel at its right and one below
    column, row = np.clip(x, 0, width - last), np.clip(y, 0, height - last)
    left, top = column.astype(np.int32), row.astype(np.int32)
    right, down = (column - left).astype(picture.dtype), (row - top).astype(picture.dtype)
    if picture.ndim == 3:
        right, down = right[..., None], down[..., None]
    corner, values = top * width + left, picture.reshape(height * width, *picture.shape[2:])
    value = lambda beyond: values.take(corner + beyond, 0)
    upper = value(0) * (1 - right) + value(1) * right
    return upper + down * (value(width) * (1 - right) + value(width + 1) * right - upper)


def over(layer: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Composite a premultiplied layer over a background.

    Shapes: layer [H, W, 4], colour in [0, 255], coverage in [0, 1]; background [H, W, 3] in [0, 255]
        -> uint8 [H, W, 3].
    """
    alpha = np.clip(layer[..., 3:], 0, 1)
    return np.clip(layer[..., :3] + (1 - alpha) * background, 0, 255).round().astype(np.uint8)


def resize_rows(plane: np.ndarray, size: tuple[int, int], rows: slice, resample: str = "lanczos") -> np.ndarray:
    """Some rows of what `resize` makes of a plane.

    Shapes: [h, w] float32 -> [rows, width] float32.
    """
    if plane.shape == tuple(size):
        return plane[rows]
    first, end, _ = rows.indices(size[0])
    height, width = plane.shape
    box = (0, first * height / size[0], width, end * height / size[0])
    return _resize_plane(np.ascontiguousarray(plane), (size[1], end - first), Image.Resampling[resample.upper()], box)


def resize(picture: np.ndarray, size: tuple[int, int], resample: str = "lanczos") -> np.ndarray:
    """Resize a picture without aliasing; no value leaves the range of the picture's own.

    At the same size it is the identity.

    Shapes: [h, w(, c)] uint8 or float -> [*size(, c)], uint8 as uint8, else float32.
    """
    if picture.shape[:2] == tuple(size):
        return picture
    if picture.dtype != np.uint8:
        picture = np.asarray(picture, np.float32)
    method, shape = Image.Resampling[resample.upper()], (size[1], size[0])
    if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3:
        return np.asarray(Image.fromarray(picture).resize(shape, method))
    planes = picture[..., None] if picture.ndim == 2 else picture
    resized = [_resize_plane(np.ascontiguousarray(planes[..., k]), shape, method) for k in range(planes.shape[2])]
    return resized[0] if picture.ndim == 2 else np.stack(resized, axis=-1)


def _resize_plane(
    plane: np.ndarray,
    shape: tuple[int, int],
    method: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    resized = np.asarray(Image.fromarray(plane).resize(shape, method, box))
    return resized if plane.dtype == np.uint8 else np.clip(resized, plane.min(), plane.max())
