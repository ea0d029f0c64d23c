"""The spatial transformer: bilinear sampling of a feature map under an affine theta, exact in both gradients."""

import keras
import tensorflow as tf
from keras import ops

_NARROW = 16  # columns per sparse product: below 32 its kernel runs a plain loop, four times as fast as its Eigen path


def warp(features, theta, size=None):
    """Reads `features` at ``theta @ [p, 1]`` for every point p of the target: content moves by invert(theta).

    Convention: theta is backward (target to source), in normalized coordinates with the outer edges at -1 and +1
        (`align_corners=False`). Outside the map lies 0, towards which the outermost half pixel fades.
        warp(warp(z, a), b) = warp(z, a @ b), up to interpolation. Geometry runs in float32, or in float64 for
        features of float64.
    Shapes: features [b, h, w, c] and theta [b, 2, 3] to [b, *size, c], in the dtype of the features. The channels
        are known; all other sizes may be dynamic.
    Args:
        size: (height, width) of the target; by default that of `features`.
    Raises:
        ValueError: where a shape is none of these.
    Source: Jaderberg et al., Spatial Transformer Networks (2015), equations 1, 3, 5 and 7.

    Example:

    >>> pixels = tf.reshape(tf.range(4.0), [1, 1, 4, 1])
    >>> theta = tf.constant([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])  # reads half a half-frame, one pixel, to the right
    >>> warp(pixels, theta)[0, 0, :, 0].numpy().tolist()
    [1.0, 2.0, 3.0, 0.0]
    """
    features, theta = tf.convert_to_tensor(features), tf.convert_to_tensor(theta)
    _check_shapes(features.shape, theta.shape)
    batch, height, width, channels = ops.shape(features)
    target = (height, width) if size is None else tuple(size)
    exact = tf.float64 if features.dtype == tf.float64 else tf.float32
    padded = tf.pad(tf.cast(features, exact), [[0, 0], [1, 1], [1, 1], [0, 0]])  # a rim of the outside
    source = _source(tf.cast(theta, exact), (height, width), target)
    warped = tf.reshape(_interpolate(padded, source), [batch, *target, channels])
    return tf.cast(warped, features.dtype)


def _check_shapes(features, theta):
    if features.rank != 4 or features[-1] is None:
        raise ValueError(f"features must be [batch, height, width, channels]; received {features}. Name the channels.")
    if not theta.is_compatible_with([features[0], 2, 3]):
        raise ValueError(
            f"theta must be [batch, 2, 3] for features {features}; received {theta}. "
            "Use affine.identity(batch) for no motion."
        )


def _source(theta, size, target):
    """Where the target's pixels lie in the padded source, as pixel indices [2 (x, y), b, n]."""

    def sides(*pair):
        return tf.stack([tf.cast(side, theta.dtype) for side in pair])

    extent, (columns, rows) = sides(size[1], size[0]), tf.unstack(sides(target[1], target[0]))
    x, y = tf.meshgrid(tf.range(columns) - (columns - 1) / 2, tf.range(rows) - (rows - 1) / 2)  # from the centre: exact
    points = tf.reshape(tf.stack([x, y, tf.ones_like(x)]), [3, -1])
    scale = extent[:, None] / tf.stack([columns, rows, 2.0])  # pixels of the source per pixel of the target
    offset = tf.pad((extent[:, None] + 1) / 2, [[0, 0], [2, 0]])  # the centre, in indices of the padded map
    pixels_from_target = tf.reshape(tf.transpose(theta * scale + offset, [1, 0, 2]), [-1, 3])
    return tf.reshape(pixels_from_target @ points, [2, -1, tf.shape(points)[1]])


@tf.custom_gradient
def _interpolate(padded, source):
    """Bilinear values [b * n, c] of `padded` [b, h, w, c] at pixel indices `source` [2 (x, y), b, n].

    The backward pass is by hand: both gradients are exact, and four times as fast as the derived ones on a CPU.
    """
    batch, height, width, channels = ops.shape(padded)
    last = tf.stack([width - 2, height - 2])[:, None, None]
    held = tf.clip_by_value(source, 0.0, tf.cast(last + 1, source.dtype))  # the rim is as far out as can be
    cell = tf.clip_by_value(tf.cast(held, tf.int32), 0, last)
    part = tf.reshape(held - tf.cast(cell, source.dtype), [2, -1])
    (left, top), (right, bottom) = tf.unstack(1.0 - part), tf.unstack(part)
    first = tf.reshape(cell[1] * width + (cell[0] + tf.range(batch)[:, None] * (height * width)), [-1])
    index = [first, first + 1, first + width, first + width + 1]
    weights = [left * top, right * top, left * bottom, right * bottom]
    rows = tf.reshape(padded, [-1, channels])
    corners = [tf.gather(rows, corner) for corner in index]
    a, b, c, d = (corner * weight[:, None] for corner, weight in zip(corners, weights))

    def gradient(upstream):
        a, b, c, d = (tf.reduce_sum(corner * upstream, axis=-1) for corner in corners)
        slope = tf.stack([top * (b - a) + bottom * (d - c), left * (c - a) + right * (d - b)])
        slope = tf.where(held == source, tf.reshape(slope, tf.shape(source)), 0.0)
        spread = _spread(upstream, tf.stack(index), tf.stack(weights), tf.size(rows) // channels)
        return tf.reshape(spread, tf.shape(padded)), slope

    return (a + b) + (c + d), gradient


def _spread(upstream, index, weights, count):
    """The adjoint of reading: adds ``weights * upstream`` [n, c] onto the `count` rows `index` [corners, n] names."""
    reader = tf.range(tf.shape(upstream, out_type=tf.int64)[0])
    # The pairs (reader, index), as the two halves of an int64: a stack along the last axis takes four times as long.
    pairs = tf.reshape(tf.bitcast(tf.cast(index, tf.int64) * 2**32 + reader, tf.int32), [-1, 2])
    shape = tf.stack([tf.shape(upstream, out_type=tf.int64)[0], tf.cast(count, tf.int64)])
    parts = [
        tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=pairs, a_values=tf.reshape(weights, [-1]), a_shape=shape, b=columns, adjoint_a=True
        )
        for columns in (upstream[:, start : start + _NARROW] for start in range(0, upstream.shape[-1], _NARROW))
    ]
    return tf.concat(parts, axis=-1)


@keras.saving.register_keras_serializable(package="eqvid_tf")
class SpatialTransformer(keras.layers.Layer):
    """Warps a feature map by a backward affine transform: ``layer(features, theta)``. See `warp`.

    Shapes: features [b, h, w, c] and theta [b, 2, 3] to [b, *size, c], in the compute dtype; theta stays float32
        under every precision policy.
    Args:
        size: (height, width) of the target; by default that of the features.
    """

    def __init__(self, size=None, **kwargs):
        super().__init__(**kwargs)
        self.size = None if size is None else tuple(size)
        self.autocast = False  # half a mantissa would move theta by pixels
        self.supports_jit = False  # XLA has no kernel for the sparse product of the backward pass

    def call(self, features, theta):
        return warp(ops.cast(features, self.compute_dtype), theta, self.size)

    def compute_output_shape(self, features_shape, theta_shape=None):
        return (features_shape[0], *(self.size or features_shape[1:3]), features_shape[3])

    def get_config(self):
        return {**super().get_config(), "size": self.size}
