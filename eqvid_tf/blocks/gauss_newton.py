"""One step of Gauss and Newton between two square maps: the change of a motion that removes most of a residual."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras import ops

CELLS = 32  # of the side of the square that is compared
_DAMPING = 1e-3  # of the mean curvature
_LONGEST = 0.5  # shift of a step, in half sides of the square

_AT = (2 * np.arange(CELLS, dtype="float32") + 1) / CELLS - 1
_POINTS = np.stack([*np.meshgrid(_AT, _AT), np.ones((CELLS, CELLS), "float32")], -1).reshape(-1, 3)  # x, y, 1


def slopes(crop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Central differences along x and along y, per half side of the square: two [B, n, n, c]."""
    from_left, from_above = crop[:, :, 1:] - crop[:, :, :-1], crop[:, 1:] - crop[:, :-1]
    x = ops.pad(from_left, [[0, 0], [0, 0], [1, 0], [0, 0]]) + ops.pad(from_left, [[0, 0], [0, 0], [0, 1], [0, 0]])
    y = ops.pad(from_above, [[0, 0], [1, 0], [0, 0], [0, 0]]) + ops.pad(from_above, [[0, 0], [0, 1], [0, 0], [0, 0]])
    return x * (CELLS / 4), y * (CELLS / 4)


def mean_slopes(slopes: tuple, others: tuple) -> tuple:
    """The mean slopes of two maps, along x and along y."""
    return tuple((one + other) / 2 for one, other in zip(slopes, others))


def newton_step(slopes: tuple, weight: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
    """The step [B, 2, 3] that removes most of a residual, from slopes along x and y; all [B, n, n, c]."""
    gradient = [ops.matmul(_over_channels(weight * slope * residual), _POINTS) for slope in slopes]
    step = ops.solve(curvature(slopes, weight), ops.concatenate(gradient, 1)[..., None])
    step = ops.reshape(step, (-1, 2, 3))
    return ops.concatenate([step[..., :2], ops.clip(step[..., 2:], -_LONGEST, _LONGEST)], -1)


def curvature(slopes: tuple, weight: tf.Tensor) -> tf.Tensor:
    """The normal matrix [B, 6, 6] of the six entries of a motion, damped so that it can be inverted."""
    squares = (_POINTS[:, :, None] * _POINTS[:, None]).reshape(-1, 9)
    x, y = slopes
    wx, wy = weight * x, weight * y
    block = lambda product: ops.reshape(ops.matmul(_over_channels(product), squares), (-1, 3, 3))
    xx, xy, yy = block(wx * x), block(wx * y), block(wy * y)
    whole = ops.concatenate([ops.concatenate([xx, xy], 2), ops.concatenate([xy, yy], 2)], 1)
    return whole + (_DAMPING * ops.trace(whole, axis1=1, axis2=2)[:, None, None] / 6 + 1e-6) * ops.eye(6)


def _over_channels(product: tf.Tensor) -> tf.Tensor:
    """Sums of [B, n, n, c] over the channels: [B, n * n]."""
    return ops.reshape(ops.sum(product, -1), (-1, CELLS**2))
