"""Algebra of affine motions: 2x3 matrices that carry points (x, y) to ``linear @ p + shift``.

Convention: a motion is forward, it carries content at p to ``motion @ [p, 1]``, in normalized coordinates: x right,
y down, the outer edges of the frame at -1 and +1. All functions take numpy arrays, tensors or nested lists with any
leading batch dimensions that broadcast, and return tensors: float64 where an argument is, float32 otherwise. The
backward matrix of the sampler is ``theta = invert(motion)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from eqvid_tf.pixels.coordinates import SINGULAR, homogeneous

ArrayLike: TypeAlias = Any  # a numpy array, a tensor, or nested lists of numbers
_HALF_TURN = np.pi - 1e-5  # radians: beyond it the direction of a turn is rounding noise


def identity(batch: int | None = None) -> tf.Tensor:
    """No motion: [2, 3], or [batch, 2, 3].

    Example:
    >>> identity(4).shape
    TensorShape([4, 2, 3])
    """
    eye = ops.eye(2, 3)
    return eye if batch is None else ops.broadcast_to(eye, (batch, 2, 3))


def compose(second: ArrayLike, first: ArrayLike) -> tf.Tensor:
    """The motion that does `first`, then `second`: second @ first.

    Example:
    >>> motion = build(shift=(0.5, 0.0), turn=0.3)
    >>> bool(ops.all(ops.isclose(compose(invert(motion), motion), identity(), atol=1e-6)))
    True
    """
    second, first = _floating(second, first)
    carried = ops.matmul(second[..., :2], first)
    return carried + second[..., 2:] * ops.convert_to_tensor([0.0, 0.0, 1.0], carried.dtype)


def invert(motion: ArrayLike) -> tf.Tensor:
    """The motion that takes `motion` back: theta of a forward motion, and the reverse.

    Example:
    >>> ops.convert_to_numpy(invert([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0]])).tolist()
    [[0.5, 0.0, -0.5], [0.0, 1.0, 0.0]]
    """
    (motion,) = _floating(motion)
    a, b, c, d = motion[..., 0, 0], motion[..., 0, 1], motion[..., 1, 0], motion[..., 1, 1]
    linear = _rows(((d, 0.0 - b), (0.0 - c, a))) / (a * d - b * c)[..., None, None]
    return ops.concatenate([linear, 0.0 - ops.matmul(linear, motion[..., 2:])], axis=-1)


def transform_points(motion: ArrayLike, points: ArrayLike) -> tf.Tensor:
    """Carry points [..., n, 2], each (x, y), by `motion` [..., 2, 3]."""
    motion, points = _floating(motion, points)
    return ops.matmul(points, ops.swapaxes(motion[..., :2], -1, -2)) + ops.expand_dims(motion[..., 2], -2)


def build(
    *,
    shift: ArrayLike = (0.0, 0.0),
    turn: ArrayLike = 0.0,
    zoom: ArrayLike = 1.0,
    shear: ArrayLike = 0.0,
    aspect: ArrayLike = 1.0,
    centre: ArrayLike = (0.0, 0.0),
) -> tf.Tensor:
    """A motion from its parts: zoom, shear (x by y), then turn, about `centre`; then shift.

    Convention: forward, normalized coordinates; `turn` in radians, positive is clockwise on the screen (y is down).
        Zoom, shear and turn are those of square coordinates, so on a frame of that aspect nothing is distorted.
    Shapes: shift and centre [..., 2], all others [...]; they broadcast. Returns [..., 2, 3].

    Args:
        aspect: width / height of the frame.

    Example:
    >>> [[round(value) for value in row] for row in ops.convert_to_numpy(build(turn=np.pi / 2, zoom=2.0)).tolist()]
    [[0, -2, 0], [2, 0, 0]]
    """
    shift, turn, zoom, shear, aspect, centre = _floating(shift, turn, zoom, shear, aspect, centre)
    cos, sin = zoom * ops.cos(turn), zoom * ops.sin(turn)
    linear = _rows(((cos, (shear * cos - sin) / aspect), (sin * aspect, shear * sin + cos)))
    moved = (centre + shift)[..., None] - ops.matmul(linear, centre[..., None])
    return ops.concatenate([linear + 0.0 * moved, moved], axis=-1)


def to_square(motion: ArrayLike, aspect: ArrayLike) -> tf.Tensor:
    """The same motion in square coordinates: units of half the height, x in [-aspect, aspect]."""
    motion, aspect = _floating(motion, aspect)
    one = ops.ones_like(aspect)
    return motion * _rows(((one, aspect, aspect), (1.0 / aspect, one, one)))


def from_square(motion: ArrayLike, aspect: ArrayLike) -> tf.Tensor:
    """The same motion in the normalized coordinates of a frame of that aspect, width / height."""
    motion, aspect = _floating(motion, aspect)
    return to_square(motion, 1.0 / aspect)


def exp(log_motion: ArrayLike) -> tf.Tensor:
    """The motion whose logarithm is `log_motion`: the inverse of `log`, with a gradient everywhere.

    Shapes: log_motion [..., 2, 3]. Returns [..., 2, 3].
    """
    (log_motion,) = _floating(log_motion)
    last = ops.zeros_like(log_motion[..., :1, :])
    return tf.linalg.expm(ops.concatenate([log_motion, last], axis=-2))[..., :2, :]


def log(motion: ArrayLike) -> tf.Tensor:
    """The principal logarithm of `motion`: the top two rows of that of its 3x3 matrix. On concrete values only.

    Shapes: motion [..., 2, 3]. Returns [..., 2, 3].

    Raises:
        ValueError: where there is no real principal logarithm: a reflection, a half turn, a singular matrix.

    Example:
    >>> half = exp(log(build(turn=1.0, shift=(0.4, 0.0))) / 2)
    >>> bool(ops.all(ops.isclose(compose(half, half), build(turn=1.0, shift=(0.4, 0.0)), atol=1e-6)))
    True
    """
    (motion,) = _floating(motion)
    square = homogeneous(ops.convert_to_numpy(motion).astype("float64"))
    with np.errstate(invalid="ignore"):
        det = np.linalg.det(square)
    if not np.all(det > SINGULAR):
        raise ValueError(
            "motion must keep its orientation and some area to have a logarithm; "
            f"received a determinant of {np.min(det):.2g}. Mirror or flatten in a step of its own."
        )
    if np.any(np.abs(np.angle(np.linalg.eigvals(square))) > _HALF_TURN):
        raise ValueError(
            "motion must turn by less than half a turn to have a logarithm; received a half turn. "
            "Split it into two motions."
        )
    root = ops.convert_to_numpy(tf.linalg.logm(tf.constant(square, tf.complex128)))
    return ops.convert_to_tensor(root.real[..., :2, :], motion.dtype)


def power(motion: ArrayLike, t: ArrayLike) -> tf.Tensor:
    """`motion` done `t` times over, exp(t * log(motion)): a half is half-way, -1 the inverse. On concrete values only.

    Shapes: motion [..., 2, 3], t [...]; they broadcast. Returns [..., 2, 3].

    Raises:
        ValueError: as `log`.
    """
    motion, t = _floating(motion, t)
    return exp(t[..., None, None] * log(motion))


def _rows(entries: Sequence[Sequence[Any]]) -> tf.Tensor:
    """Stack numbers [...], which broadcast, as a matrix [..., rows, columns]."""
    zero = sum(0.0 * entry for row in entries for entry in row)
    return ops.stack([ops.stack([entry + zero for entry in row], axis=-1) for row in entries], axis=-2)


def _floating(*values: ArrayLike) -> list:
    """All as tensors of one dtype: geometry never runs below float32, whatever the precision policy."""
    dtypes = {keras.backend.standardize_dtype(value.dtype) for value in values if hasattr(value, "dtype")}
    dtype = "float64" if "float64" in dtypes else "float32"
    return [
        ops.cast(value, dtype) if hasattr(value, "dtype") else ops.convert_to_tensor(value, dtype) for value in values
    ]
