"""Algebra of affine motions: 2x3 matrices that carry points (x, y) to ``linear @ p + shift``.

Convention: a motion is forward, it carries content at p to ``motion @ [p, 1]``, in normalized coordinates: x right,
y down, the outer edges of the frame at -1 and +1. All functions take numpy arrays, tensors or nested lists with any
leading batch dimensions that broadcast, and return tensors: float64 where an argument is, float32 otherwise. The
backward matrix of the sampler is ``theta = invert(motion)``.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike

_SINGULAR = 1e-6  # a smaller |det| is no motion: content shrinks to a millionth of its area
_HALF_TURN = 1e-10  # squared sine of the angle left to a half turn; below it the direction is rounding noise
_SERIES, _SQUARINGS = 10, 8  # of exp: exact to rounding in float64 up to |log_motion| ~ 32


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
    >>> there = build(shift=(0.5, 0.0), turn=0.3)
    >>> bool(ops.all(ops.isclose(compose(invert(there), there), identity(), atol=1e-6)))
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
    """Carries points [..., n, 2], each (x, y), by `motion` [..., 2, 3]."""
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


def to_pixels(motion: ArrayLike, size: tuple[int, int]) -> tf.Tensor:
    """A normalized motion as one of pixel indices (centres at integers), on frames of size (height, width)."""
    (motion,) = _floating(motion)
    lattice = _normalized_from_pixels(size, motion.dtype)
    return compose(compose(invert(lattice), motion), lattice)


def from_pixels(motion: ArrayLike, size: tuple[int, int]) -> tf.Tensor:
    """A motion of pixel indices (centres at integers) as a normalized one, on frames of size (height, width)."""
    (motion,) = _floating(motion)
    lattice = _normalized_from_pixels(size, motion.dtype)
    return compose(compose(lattice, motion), invert(lattice))


def exp(log_motion: ArrayLike) -> tf.Tensor:
    """The motion whose logarithm is `log_motion`: the inverse of `log`, with a gradient everywhere.

    A fixed Taylor series of a 256th of it, squared eight times; carried as exp - 1, so that a small motion keeps its
    digits. The quotients of a closed form (sin x / x and the like) would need branches where eigenvalues coincide.

    Shapes: log_motion [..., 2, 3]. Returns [..., 2, 3].
    """
    (log_motion,) = _floating(log_motion)
    part = log_motion / 2.0**_SQUARINGS
    moved = part / _SERIES
    for order in range(_SERIES - 1, 0, -1):  # Horner: x + x^2 / 2 + ... as x (1 + x / 2 (1 + ...))
        moved = (part + ops.matmul(part[..., :2], moved)) / order
    for _ in range(_SQUARINGS):  # (1 + m)^2 - 1
        moved = 2.0 * moved + ops.matmul(moved[..., :2], moved)
    return moved + ops.cast(identity(), moved.dtype)


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
    change = ops.convert_to_numpy(motion).astype("float64") - np.eye(2, 3)  # so that a small motion keeps its digits
    excess = (change[..., 0, 0] + change[..., 1, 1]) / 2
    rest = change[..., :2] - excess[..., None, None] * np.eye(2)
    square = rest[..., 0, 0] ** 2 + rest[..., 0, 1] * rest[..., 1, 0]  # rest has no trace: rest @ rest is this number
    _refuse_without_logarithm(1.0 + excess, square)
    linear = _angle_by_root(1.0 + excess, square)[..., None, None] * rest
    linear += np.log1p(excess * (2.0 + excess) - square)[..., None, None] / 2 * np.eye(2)
    # The shift of exp([linear | e]) is integral @ e, for the unit vectors e in turn.
    units = np.broadcast_to(np.eye(2)[..., None], (*linear.shape[:-2], 2, 2, 1))
    per_unit = np.broadcast_to(linear[..., None, :, :], (*linear.shape[:-2], 2, 2, 2))
    integral = np.swapaxes(exp(np.concatenate([per_unit, units], axis=-1))[..., 2], -1, -2)
    shift = np.linalg.solve(integral, change[..., 2:])
    return ops.convert_to_tensor(np.concatenate([linear, shift], axis=-1), motion.dtype)


def power(motion: ArrayLike, t: ArrayLike) -> tf.Tensor:
    """`motion` done `t` times over, exp(t * log(motion)): a half is half-way, -1 the inverse. On concrete values only.

    Shapes: motion [..., 2, 3], t [...]; they broadcast. Returns [..., 2, 3].

    Raises:
        ValueError: as `log`.
    """
    motion, t = _floating(motion, t)
    return exp(t[..., None, None] * log(motion))


def check_motion(motion: ArrayLike, name: str = "motion") -> tf.Tensor:
    """`motion` as a tensor, if it is one: [batch, 2, 3], and on concrete values finite and not singular.

    Raises:
        ValueError: where it is not, saying what came instead.
    """
    shape = tuple(motion.shape if hasattr(motion, "shape") else np.shape(motion))
    remedy = "Use affine.identity(batch) for no motion."
    if len(shape) != 3 or any(side not in (None, wanted) for side, wanted in zip(shape[1:], (2, 3))):
        raise ValueError(f"{name} must be [batch, 2, 3]; received {shape}. {remedy}")
    (motion,) = _floating(motion)
    if not hasattr(motion, "numpy"):  # symbolic
        return motion
    values = ops.convert_to_numpy(motion)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be finite; received nan or infinity. {remedy}")
    det = np.abs(np.linalg.det(values[..., :2]))
    if np.any(det < _SINGULAR):
        raise ValueError(f"{name} must be invertible; received a determinant of {det.min():.2g}. {remedy}")
    return motion


def _refuse_without_logarithm(mean, square):
    det = mean**2 - square
    if not np.all(det > _SINGULAR):
        raise ValueError(
            "motion must keep its orientation and some area to have a logarithm; "
            f"received a determinant of {np.min(det):.2g}. Mirror or flatten apart from it."
        )
    if np.any((mean <= 0) & (square > -_HALF_TURN * det)):
        raise ValueError(
            "motion must turn by less than half a turn to have a logarithm; received a half turn. "
            "Split it into two motions."
        )


def _angle_by_root(mean, square):
    """The factor of rest in log(mean + rest): arctan(r / mean) / r, or arctanh(r / mean) / r, or 1 / mean."""
    root = np.sqrt(np.abs(square))
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(square < 0, np.arctan2(root, mean), np.arctanh(root / mean))
        return np.where(root > 0, angle / root, 1.0 / mean)


def _normalized_from_pixels(size, dtype):
    height, width = (ops.cast(side, dtype) for side in size)
    zero = ops.zeros_like(width)
    return _rows(((2.0 / width, zero, 1.0 / width - 1.0), (zero, 2.0 / height, 1.0 / height - 1.0)))


def _rows(entries):
    """Stacks numbers [...], which broadcast, as a matrix [..., rows, columns]."""
    zero = sum(0.0 * entry for row in entries for entry in row)
    return ops.stack([ops.stack([entry + zero for entry in row], axis=-1) for row in entries], axis=-2)


def _floating(*values):
    """All as tensors of one dtype: geometry never runs below float32, whatever the precision policy."""
    dtypes = {keras.backend.standardize_dtype(value.dtype) for value in values if hasattr(value, "dtype")}
    dtype = "float64" if "float64" in dtypes else "float32"
    return [
        ops.cast(value, dtype) if hasattr(value, "dtype") else ops.convert_to_tensor(value, dtype) for value in values
    ]
