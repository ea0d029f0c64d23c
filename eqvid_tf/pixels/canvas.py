"""A clip's own size and the network's canvas: frames fitted with their aspect kept, and cut out again."""

import numpy as np

from eqvid_tf.pixels.resampling import resize

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
    return np.array(
        [
            [width / canvas[1], 0, (2 * left + width) / canvas[1] - 1],
            [0, height / canvas[0], (2 * top + height) / canvas[0] - 1],
            [0, 0, 1],
        ]
    )


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
    fitted[top : top + height, left : left + width] = content
    return fitted


def unfit(array: np.ndarray, size: tuple[int, int], canvas: tuple[int, int], resample: str = "bicubic") -> np.ndarray:
    """The inverse of `fit`: cuts the content box out of a canvas and brings it to the clip's own size.

    Shapes:
        [*canvas(, channels)] -> [*size(, channels)].

    Raises:
        ValueError: when `array` is not of the canvas's size.
    """
    if array.shape[:2] != tuple(canvas):
        raise ValueError(f"array must be {list(canvas)} high and wide; received {array.shape}. Give its own canvas.")
    top, left, height, width = fit_box(size, canvas)
    return resize(array[top : top + height, left : left + width], size, resample)
