"""A clip's own size and the networks' canvas: frames fitted with their aspect kept, and cut out again."""

from __future__ import annotations

import numpy as np

from eqvid_tf.pixels.resampling import resize, resize_rows

WIDEST = 2.5  # aspect up to which a canvas follows the clip: the time of training grows with its area


def canvas_for(size: tuple[int, int], image_size: int, multiple: int = 8) -> tuple[int, int]:
    """The canvas (height, width) on which the networks see a clip.

    Args:
        size: of the clip, (height, width).
        image_size: the shorter side; the longer one follows the clip's aspect up to 2.5.
        multiple: to which both sides are rounded.

    Example:
        >>> canvas_for((480, 854), 64), canvas_for((50, 50), 64)
        ((64, 112), (64, 64))
    """
    aspect = min(max(size) / min(size), WIDEST)
    short, long = (max(multiple, round(side / multiple) * multiple) for side in (image_size, image_size * aspect))
    return (short, long) if size[0] <= size[1] else (long, short)


def bounded_size(size: tuple[int, int], most: float) -> tuple[int, int]:
    """A size (height, width) with a shorter side of at most so many pixels, its aspect kept.

    Example:
        >>> bounded_size((720, 1280), 480), bounded_size((64, 96), 480)
        ((480, 853), (64, 96))
    """
    scale = min(1.0, most / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fit_box(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (top, left, height, width) that a clip of `size` fills on `canvas`: centred, its aspect kept.

    Example:
        >>> fit_box((480, 640), (64, 64))
        (8, 0, 48, 64)
    """
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    height, width = (min(max(1, round(size[k] * scale)), canvas[k]) for k in (0, 1))
    return (canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width


def canvas_from_clip(size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """The matrix from normalized coordinates of a clip of `size` to those of `canvas`; edges go to edges exactly.

    Convention: a motion goes to the canvas as `canvas_from_clip @ motion @ inverse(canvas_from_clip)`.

    Shapes: [3, 3] float64.

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


def fit(frame: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """Fit a frame of a clip on the canvas: resized into its box, black around it.

    Shapes: [h, w(, c)] -> [*canvas(, c)], uint8 as uint8 and float as float32.
    """
    top, left, height, width = fit_box(frame.shape[:2], canvas)
    resized = resize(frame, (height, width))
    if resized.shape[:2] == tuple(canvas):
        return resized
    fitted = np.zeros((*canvas, *frame.shape[2:]), resized.dtype)
    fitted[top : top + height, left : left + width] = resized
    return fitted


def unfit(array: np.ndarray, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Cut a clip's box out of a canvas and bring it to the clip's own size: the inverse of `fit`.

    Shapes: [*canvas(, c)] -> [*size(, c)].

    Raises:
        ValueError: `array` is not of the canvas's size.
    """
    if array.shape[:2] != tuple(canvas):
        raise ValueError(f"array must be {list(canvas)} high and wide; received {array.shape}. Give its own canvas.")
    top, left, height, width = fit_box(size, canvas)
    return resize(array[top : top + height, left : left + width], size, "bicubic")


def unfit_rows(plane: np.ndarray, size: tuple[int, int], rows: slice) -> np.ndarray:
    """Some rows of what `unfit` makes of a plane of the canvas.

    Shapes: [*canvas] float32 -> [rows, width] float32.
    """
    top, left, height, width = fit_box(size, (plane.shape[0], plane.shape[1]))
    return resize_rows(plane[top : top + height, left : left + width], size, rows, "bicubic")
