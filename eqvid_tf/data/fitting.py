"""A clip's own size and the network's canvas: frames fitted with their aspect kept, and cut out again."""

import numpy as np
from PIL import Image

WIDEST = 2.5  # aspect past which a canvas grows no longer; the rest is letterbox


def canvas_for(size: tuple[int, int], image_size: int, multiple: int = 8) -> tuple[int, int]:
    """The canvas (height, width) on which a network sees a clip of `size` (height, width).

    The shorter side is `image_size`, the longer one follows the clip's aspect up to 2.5; both are
    rounded to `multiple`.

    Example:
        >>> canvas_for((480, 854), 64), canvas_for((50, 50), 64)
        ((64, 112), (64, 64))
    """
    aspect = min(max(size) / min(size), WIDEST)
    short, long = (max(multiple, round(side / multiple) * multiple) for side in (image_size, image_size * aspect))
    return (short, long) if size[0] <= size[1] else (long, short)


def fit_box(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a clip of `size` lies on `canvas`: (top, left, height, width), centred, aspect kept.

    Example:
        >>> fit_box((480, 640), (64, 64))
        (8, 0, 48, 64)
    """
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    height, width = (min(max(1, round(size[k] * scale)), canvas[k]) for k in (0, 1))
    return (canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width


def canvas_from_clip(size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Carries normalized clip coordinates to normalized canvas coordinates, edges of the content box exactly.

    Convention:
        x right, y down, outer edges at -1 and +1. A motion goes to the canvas as
        `canvas_from_clip @ motion @ inverse(canvas_from_clip)`.
    Shapes:
        [3, 3] float64.

    Example:
        >>> canvas_from_clip((32, 64), (64, 64)).diagonal()
        array([1. , 0.5, 1. ])
    """
    top, left, height, width = fit_box(size, canvas)
    return np.array([[width / canvas[1], 0, (2 * left + width) / canvas[1] - 1],
                     [0, height / canvas[0], (2 * top + height) / canvas[0] - 1], [0, 0, 1]])


def homogeneous(motion: np.ndarray) -> np.ndarray:
    """Motions as square matrices, which can be multiplied and inverted: [..., 2, 3] or [..., 3, 3] -> [..., 3, 3]."""
    motion = np.asarray(motion)
    last = np.broadcast_to([[0.0, 0, 1]], (*motion.shape[:-2], 1, 3))
    return np.concatenate([motion[..., :2, :], last], -2)


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


def fit(frame: np.ndarray, canvas: tuple[int, int], resample: str = "lanczos") -> np.ndarray:
    """A frame of a clip on the canvas: resized into its content box, black around it.

    Shapes:
        [h, w(, channels)] -> [*canvas(, channels)], uint8 as uint8 and float as float32.
    """
    top, left, height, width = fit_box(frame.shape[:2], canvas)
    content = resize(frame, (height, width), resample)
    if content.shape[:2] == tuple(canvas):
        return content
    fitted = np.zeros((*canvas, *frame.shape[2:]), content.dtype)
    fitted[top:top + height, left:left + width] = content
    return fitted


def unfit(
    array: np.ndarray, size: tuple[int, int], canvas: tuple[int, int], resample: str = "bicubic"
) -> np.ndarray:
    """The inverse of `fit`: cuts the content box out of a canvas and brings it to the clip's own size.

    Shapes:
        [*canvas(, channels)] -> [*size(, channels)].
    Raises:
        ValueError: when `array` is not of the canvas's size.
    """
    if array.shape[:2] != tuple(canvas):
        raise ValueError(f"array must be {list(canvas)} high and wide; received {array.shape}. Give its own canvas.")
    top, left, height, width = fit_box(size, canvas)
    return resize(array[top:top + height, left:left + width], size, resample)
