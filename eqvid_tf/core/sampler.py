"""The spatial transformer: sampling of a feature map under an affine theta, exact in both gradients."""

import keras
import tensorflow as tf
from keras import ops

_NARROW = 16  # columns per sparse product: below 32 its kernel runs a plain loop, about four times as fast


def warp(features: tf.Tensor, theta: tf.Tensor, size: tuple[int, int] | None = None, cubic: bool = False) -> tf.Tensor:
    """Reads `features` at ``theta @ [p, 1]`` for every point p of the target: content moves by invert(theta).

    Convention: theta is backward (target to source), in normalized coordinates with the outer edges at -1 and +1
        (`align_corners=False`). Outside the map lies 0, towards which half a pixel fades on either side of its edge.
        warp(warp(z, a), b) = warp(z, a @ b), but for interpolation. Geometry runs in float32, and in float64 for
        features of float64.
    Shapes: features [b, h, w, c] and theta [b, 2, 3] to [b, *size, c], in the dtype of the features. The channels
        are known; every other size may be dynamic.

    Args:
        size: (height, width) of the target; by default that of `features`.
        cubic: read, bilinearly still, from the map with the points halfway between its pixels put in by a cubic. It blurs far
            less, and swings up to a sixteenth beyond an edge.

    Raises:
        ValueError: where a shape is none of these.
    Source: Jaderberg et al., Spatial Transformer Networks (2015), equations 1 and 5 to 7.

    Example:
    >>> pixels = tf.reshape(tf.range(4.0), [1, 1, 4, 1])
    >>> theta = tf.constant([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])  # reads a quarter of the width further right
    >>> warp(pixels, theta)[0, 0, :, 0].numpy().round(6).tolist()
    [1.0, 2.0, 3.0, 0.0]
    """
    features, theta = tf.convert_to_tensor(features), tf.convert_to_tensor(theta)
    _check_shapes(features.shape, theta.shape)
    batch, height, width, channels = ops.shape(features)
    target = (height, width) if size is None else tuple(size)
    exact = tf.float64 if features.dtype == tf.float64 else tf.float32
    source_from_target, points = _in_pixels(tf.cast(theta, exact), (height, width), target)
    source = tf.cast(features, exact)
    if cubic:
        source, source_from_target = _with_halves(source), 2 * source_from_target
    warped = _sample(source, source_from_target, points)
    return tf.cast(tf.reshape(warped, [batch, *target, channels]), features.dtype)


def coverage(theta: tf.Tensor, size: tuple[int, int], target: tuple[int, int] | None = None) -> tf.Tensor:
    """What `warp` would read from a map of ones: 1 within its frame, 0 outside, between them the pixel that fades.

    Shapes: theta [b, 2, 3] to [b, *target, 1].

    Args:
        size: (height, width) of the map.
        target: by default the same.
    """
    target = tuple(size) if target is None else tuple(target)
    source_from_target, points = _in_pixels(theta, size, target)
    source = tf.reshape(source_from_target @ points, [-1, 2, *target])
    far = tf.cast(tf.stack([size[1], size[0]]), source.dtype)[:, None, None] + 1
    within = tf.clip_by_value(tf.minimum(source, far - source), 0.0, 1.0)
    return (within[:, 0] * within[:, 1])[..., None]


def _check_shapes(features, theta):
    if features.rank != 4 or features[-1] is None:
        raise ValueError(f"features must be [batch, height, width, channels]; received {features}. Name the channels.")
    if not theta.is_compatible_with([features[0], 2, 3]):
        raise ValueError(
            f"theta must be [batch, 2, 3] for features {features}; received {theta}. "
            "Use affine.identity(batch) for no motion."
        )


def _in_pixels(theta, size, target):
    """Theta [b, 2, 3] from the target's pixels, counted from its centre, to indices of the source with a rim of one.

    Counted so, no motion is 1, 0 and whole pixels to the last bit. Beside it those pixels, [3 (x, y, 1), n].
    """
    (height, width), (rows, columns) = (tf.unstack(tf.cast(tf.stack(pair), theta.dtype)) for pair in (size, target))
    x, y = tf.meshgrid(tf.range(columns) - (columns - 1) / 2, tf.range(rows) - (rows - 1) / 2)
    extent = tf.stack([[width], [height]])
    scaled = theta * (extent / tf.stack([columns, rows, 2.0]))
    return scaled + tf.pad((extent + 1) / 2, [[0, 0], [2, 0]]), tf.reshape(tf.stack([x, y, tf.ones_like(x)]), [3, -1])


def _with_halves(features):
    """The map [b, h, w, c], 0 outside, with the points between its pixels, from half a pixel before the first to half a pixel after the
    last: [b, 2 h + 1, 2 w + 1, c]. As products with a matrix, which take half as long as a resize.
    """
    batch, height, width, channels = ops.shape(features)
    rows, columns = _halfway(height, features.dtype), _halfway(width, features.dtype)
    tall = tf.matmul(rows, tf.reshape(features, [batch, height, width * channels]))
    both = tf.matmul(columns, tf.reshape(tall, [batch * (2 * height + 1), width, channels]))
    return tf.reshape(both, [batch, 2 * height + 1, 2 * width + 1, channels])


def _halfway(count, dtype):
    """The matrix [2 count + 1, count] from `count` pixels to points half a pixel apart.

    Source: Keys, Cubic convolution interpolation for digital image processing (1981), equation 15.
    """
    points, pixels = tf.range(2 * count + 1), tf.range(count)
    d = tf.abs((tf.cast(points, dtype)[:, None] - 1) / 2 - tf.cast(pixels, dtype))
    near, far = 1 + d * d * (1.5 * d - 2.5), 2 + d * (d * (2.5 - 0.5 * d) - 4)
    return tf.where(d < 1, near, tf.where(d < 2, far, 0))


@tf.custom_gradient
def _sample(features, matrix, points):
    """Bilinear values [b * n, c] of features [b, h, w, c], given a rim, at indices matrix [b, 2, 3] @ points [3, n].

    One fused kernel forward; backward by hand, exact in both gradients and three times as fast as derived ones
    (docs/experiments.md has the other formulations that were timed).
    """
    rim = tf.reduce_sum(0.0 * matrix)  # 0, or nan: where a theta has diverged all reads nan (the kernel would raise)
    matrix = tf.where(rim == 0.0, matrix, 0.0)
    padded = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=rim)
    fused = features.dtype == tf.float32 and features.shape.is_fully_defined()
    read = (
        _read if fused else _read_by_corners
    )  # fused: float32 alone, and of unknown sizes TensorFlow logs a complaint

    def gradient(upstream):
        index, weights, (left, top, right, bottom), inside = _corners(padded, matrix, points)
        a, b, c, d = (tf.reduce_sum(values * upstream, axis=-1) for values in _gather(padded, index))
        slope = tf.stack([top * (b - a) + bottom * (d - c), left * (c - a) + right * (d - b)])
        slope = tf.reshape(tf.where(inside, slope, 0.0), [-1, tf.shape(points)[1]])
        of_matrix = tf.reshape(tf.matmul(slope, points, transpose_b=True), [2, -1, 3])
        of_padded = _spread(upstream, index, weights, tf.shape(padded))
        return of_padded[:, 1:-1, 1:-1], tf.transpose(of_matrix, [1, 0, 2]), None

    return read(padded, matrix, points), gradient


def _read(padded, matrix, points):
    """The forward pass, as crops of one pixel each: 1.5 to 1.8 times as fast as four gathers."""
    batch, height, width, channels = ops.shape(padded)
    extent = tf.cast(tf.stack([height - 1, width - 1]), matrix.dtype)  # a crop is told in fractions of it, (y, x, y, x)
    fractions = tf.tile(tf.reverse(matrix, [1]) / extent[:, None], [1, 2, 1])
    boxes = tf.reshape(tf.matmul(points, fractions, transpose_a=True, transpose_b=True), [-1, 4])
    frame = tf.repeat(tf.range(batch), tf.shape(points)[1])
    return tf.reshape(tf.image.crop_and_resize(padded, boxes, frame, [1, 1]), [-1, channels])


def _read_by_corners(padded, matrix, points):
    index, weights, _, _ = _corners(padded, matrix, points)
    return tf.add_n([weight[:, None] * values for weight, values in zip(tf.unstack(weights), _gather(padded, index))])


def _gather(padded, index):
    rows = tf.reshape(padded, [-1, padded.shape[-1]])
    return [tf.gather(rows, corner) for corner in tf.unstack(index)]


def _corners(padded, matrix, points):
    """The four pixels around each point, left before right and top before bottom: row index and weight, [4, b * n].

    Beside them the parts of the weights, and [2 (x, y), b * n] whether the point lies on the padded map.
    """
    batch, height, width, _ = ops.shape(padded)
    source = tf.reshape(tf.reshape(tf.transpose(matrix, [1, 0, 2]), [-1, 3]) @ points, [2, -1])
    last = tf.stack([[width - 2], [height - 2]])
    held = tf.clip_by_value(source, 0.0, tf.cast(last + 1, source.dtype))  # all beyond the rim reads as the rim: 0
    cell = tf.minimum(tf.cast(held, tf.int32), last)
    right, bottom = tf.unstack(held - tf.cast(cell, held.dtype))
    left, top = 1.0 - right, 1.0 - bottom
    first = cell[0] + width * (cell[1] + tf.repeat(tf.range(batch) * height, tf.shape(points)[1]))
    index = first + tf.stack([0, 1, width, width + 1])[:, None]
    weights = tf.stack([left * top, right * top, left * bottom, right * bottom])
    return index, weights, (left, top, right, bottom), held == source


def _spread(upstream, index, weights, shape):
    """The adjoint of reading: zeros of `shape`, with weights * upstream [n, c] added to the rows index [4, n]."""
    reader = tf.range(tf.shape(upstream, out_type=tf.int64)[0])
    # Pairs (reader, index) as the two halves of an int64: stacking along the last axis takes four times as long.
    pairs = tf.reshape(tf.bitcast(tf.cast(index, tf.int64) * 2**32 + reader, tf.int32), [-1, 2])
    size = tf.cast(tf.stack([tf.size(reader), tf.reduce_prod(shape[:-1])]), tf.int64)
    product = tf.raw_ops.SparseTensorDenseMatMul
    values = tf.reshape(weights, [-1])
    strips = [upstream[:, start : start + _NARROW] for start in range(0, upstream.shape[-1], _NARROW)]
    spread = [product(a_indices=pairs, a_values=values, a_shape=size, b=strip, adjoint_a=True) for strip in strips]
    return tf.reshape(tf.concat(spread, axis=-1), shape)


@keras.saving.register_keras_serializable(package="eqvid_tf")
class SpatialTransformer(keras.layers.Layer):
    """Warps a feature map by a backward affine transform: ``layer(features, theta)``. See `warp`.

    Shapes: features [b, h, w, c] and theta [b, 2, 3] to [b, *size, c], in the compute dtype. Theta stays float32 (or
        float64) under every precision policy: half of its digits would be pixels.

    Args:
        size: (height, width) of the target; by default that of the features.
        cubic: as in `warp`.

    Example:
    >>> SpatialTransformer(size=(8, 9))(tf.ones([1, 4, 6, 3]), tf.eye(2, 3, [1])).shape
    TensorShape([1, 8, 9, 3])
    """

    def __init__(self, size: tuple[int, int] | None = None, cubic: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.size, self.cubic = None if size is None else tuple(size), cubic
        self.autocast = False
        self.supports_jit = False  # XLA has neither kernel, of the crops and of the sparse product

    def call(self, features: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return warp(ops.cast(features, self.compute_dtype), theta, self.size, self.cubic)

    def compute_output_shape(self, features_shape, theta_shape=None):
        return (features_shape[0], *(self.size or features_shape[1:3]), features_shape[3])

    def get_config(self):
        return {**super().get_config(), "size": self.size, "cubic": self.cubic}
