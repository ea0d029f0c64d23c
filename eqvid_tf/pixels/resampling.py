"""TODO."""

from __future__ import annotations

import numpy as np
from PIL import Image

from eqvid_tf.pixels.coordinates import source_from_target_pixels


def move(layer: np.ndarray, motion: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """A layer moved by a forward motion in normalized coordinates, by one bicubic resampling; outside is empty.

    Shapes: layer [H, W, c], motion [2, 3] -> [*size, c] float32, `size` the layer's own where it is not given.
    """
    size = size or layer.shape[:2]
    source = source_from_target_pixels(motion, layer.shape[:2], size)
    pad = 4  # so that it fades out over the border
    source[:2, 2] += pad
    planes = [
        Image.fromarray(np.pad(layer[..., k].astype(np.float32), pad)).transform(
            size[::-1], Image.Transform.AFFINE, source[:2].ravel(), Image.Resampling.BICUBIC
        )
        for k in range(layer.shape[2])
    ]
    return np.stack([np.asarray(plane) for plane in planes], -1)


def over(layer: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A premultiplied layer over a background in [0, 255], as uint8."""
    alpha = np.clip(layer[..., 3:], 0, 1)
    return np.clip(layer[..., :3] + (1 - alpha) * background, 0, 255).round().astype(np.uint8)


def resize(array: np.ndarray, size: tuple[int, int], resample: str = "lanczos") -> np.ndarray:
    """An antialiased resize of an image of any channel count, uint8 or float; no value leaves the input's range.

    Shapes:
        [h, w] or [h, w, channels] -> the same with `size`. At the same size it is the identity.
    """
    if array.shape[:2] == tuple(size):
        return array
    if array.dtype != np.uint8:
        array = np.asarray(array, np.float32)
    method, shape = Image.Resampling[resample.upper()], (size[1], size[0])
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return np.asarray(Image.fromarray(array).resize(shape, method))
    planes = array[..., None] if array.ndim == 2 else array
    planes = [_resize_plane(np.ascontiguousarray(planes[..., k]), shape, method) for k in range(planes.shape[2])]
    return planes[0] if array.ndim == 2 else np.stack(planes, axis=-1)


def _resize_plane(plane: np.ndarray, shape: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    resized = np.asarray(Image.fromarray(plane).resize(shape, method))
    return resized if plane.dtype == np.uint8 else np.clip(resized, plane.min(), plane.max())
