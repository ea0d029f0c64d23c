"""The sampler's kernel: bilinear reading of a map at affine points, exact in both gradients; and of a finer map."""

from __future__ import annotations

import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.xla import compiled_by_xla

_NARROW = 16  # columns per sparse product: below 32 its kernel runs a plain loop, about four times as fast


@tf.custom_gradient
def read_bilinear(features: tf.Tensor, matrix: tf.Tensor, points: tf.Tensor) -> tuple:
    """Bilinear values [b * n, c] of features [b, h, w, c], given a rim, at indices matrix [b, 2, 3] @ points [3, n].

    One fused kernel forward; backward by hand, exact in both gradients and three times as fast as derived ones
    (the fastest of eight formulations that were timed; docs/experiments.md). XLA has neither that kernel nor the sparse
    product of the backward pass: in a function that it compiles, both are gathers and a segment sum.
    """
    compiled = compiled_by_xla()
    rim = tf.reduce_sum(0.0 * matrix)  # 0, or nan: where a theta has diverged all reads nan (the kernel would raise)
    matrix = tf.where(rim == 0.0, matrix, 0.0)
    padded = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=rim)
    fused = features.dtype == tf.float32 and features.shape.is_fully_defined() and not compiled
    # Fused: float32 alone, and of unknown sizes TensorFlow logs a complaint.
    read, scatter = _read if fused else _read_by_corners, _scatter_by_segments if compiled else _scatter

    def gradient(upstream: tf.Tensor) -> tuple:
        index, weights, (left, top, right, bottom), inside = _corners(padded, matrix, points)
        a, b, c, d = (tf.reduce_sum(values * upstream, axis=-1) for values in _gather(padded, index))
        slope = tf.stack([top * (b - a) + bottom * (d - c), left * (c - a) + right * (d - b)])
        slope = tf.reshape(tf.where(inside, slope, 0.0), [-1, tf.shape(points)[1]])
        of_matrix = tf.reshape(tf.matmul(slope, points, transpose_b=True), [2, -1, 3])
        of_padded = scatter(upstream, index, weights, tf.shape(padded))
        return of_padded[:, 1:-1, 1:-1], tf.transpose(of_matrix, [1, 0, 2]), None

    return read(padded, matrix, points), gradient


def _read(padded: tf.Tensor, matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """The forward pass, as crops of one pixel each: 1.5 to 1.8 times as fast as four gathers."""
    batch, height, width, channels = ops.shape(padded)
    extent = tf.cast(tf.stack([height - 1, width - 1]), matrix.dtype)  # boxes are in fractions of it, (y, x, y, x)
    fractions = tf.tile(tf.reverse(matrix, [1]) / extent[:, None], [1, 2, 1])
    boxes = tf.reshape(tf.matmul(points, fractions, transpose_a=True, transpose_b=True), [-1, 4])
    frame = tf.repeat(tf.range(batch), tf.shape(points)[1])
    return tf.reshape(tf.image.crop_and_resize(padded, boxes, frame, [1, 1]), [-1, channels])


def _read_by_corners(padded: tf.Tensor, matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    index, weights, _, _ = _corners(padded, matrix, points)
    return tf.add_n([weight[:, None] * values for weight, values in zip(tf.unstack(weights), _gather(padded, index))])


def _gather(padded: tf.Tensor, index: tf.Tensor) -> list[tf.Tensor]:
    rows = tf.reshape(padded, [-1, padded.shape[-1]])
    return [tf.gather(rows, corner) for corner in tf.unstack(index)]


def _corners(padded: tf.Tensor, matrix: tf.Tensor, points: tf.Tensor) -> tuple:
    """The four pixels around each point, left before right and top before bottom: row index and weight, [4, b * n].

    Beside them the parts of the weights, and [2 (x, y), b * n] whether the point lies on the padded map.
    """
    batch, height, width, _ = ops.shape(padded)
    source = tf.reshape(tf.reshape(tf.transpose(matrix, [1, 0, 2]), [-1, 3]) @ points, [2, -1])
    last = tf.stack([[width - 2], [height - 2]])
    clipped = tf.clip_by_value(source, 0.0, tf.cast(last + 1, source.dtype))  # all beyond the rim reads as the rim: 0
    cell = tf.minimum(tf.cast(clipped, tf.int32), last)
    right, bottom = tf.unstack(clipped - tf.cast(cell, clipped.dtype))
    left, top = 1.0 - right, 1.0 - bottom
    first = cell[0] + width * (cell[1] + tf.repeat(tf.range(batch) * height, tf.shape(points)[1]))
    index = first + tf.stack([0, 1, width, width + 1])[:, None]
    weights = tf.stack([left * top, right * top, left * bottom, right * bottom])
    return index, weights, (left, top, right, bottom), clipped == source


def _scatter(upstream: tf.Tensor, index: tf.Tensor, weights: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """The adjoint of reading: zeros of `shape`, with weights * upstream [n, c] added to the rows index [4, n]."""
    reader = tf.range(tf.shape(upstream, out_type=tf.int64)[0])
    # Pairs (reader, index) as the two halves of an int64: stacking along the last axis takes four times as long.
    pairs = tf.reshape(tf.bitcast(tf.cast(index, tf.int64) * 2**32 + reader, tf.int32), [-1, 2])
    size = tf.cast(tf.stack([tf.size(reader), tf.reduce_prod(shape[:-1])]), tf.int64)
    product = tf.raw_ops.SparseTensorDenseMatMul
    values = tf.reshape(weights, [-1])
    strips = [upstream[:, start : start + _NARROW] for start in range(0, upstream.shape[-1], _NARROW)]
    strips = [product(a_indices=pairs, a_values=values, a_shape=size, b=strip, adjoint_a=True) for strip in strips]
    return tf.reshape(tf.concat(strips, axis=-1), shape)


def _scatter_by_segments(upstream: tf.Tensor, index: tf.Tensor, weights: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """As `_scatter`, for XLA."""
    rows = tf.reshape(weights[..., None] * upstream, [-1, upstream.shape[-1]])
    return tf.reshape(tf.math.unsorted_segment_sum(rows, tf.reshape(index, [-1]), tf.reduce_prod(shape[:-1])), shape)


def with_halves(features: tf.Tensor) -> tf.Tensor:
    """The map [b, h, w, c] with the points between its pixels, half a pixel beyond the first and last ones too.

    Shapes: [b, 2 h + 1, 2 w + 1, c]. As products with a matrix, which take half as long as a resize.
    """
    batch, height, width, channels = ops.shape(features)
    rows, columns = _halfway(height, features.dtype), _halfway(width, features.dtype)
    tall = tf.matmul(rows, tf.reshape(features, [batch, height, width * channels]))
    both = tf.matmul(columns, tf.reshape(tall, [batch * (2 * height + 1), width, channels]))
    return tf.reshape(both, [batch, 2 * height + 1, 2 * width + 1, channels])


def _halfway(count: int | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The matrix [2 count + 1, count] from `count` pixels to points half a pixel apart.

    Source: Keys, Cubic convolution interpolation for digital image processing (1981), equation 15.
    """
    points, pixels = tf.range(2 * count + 1), tf.range(count)
    d = tf.abs((tf.cast(points, dtype)[:, None] - 1) / 2 - tf.cast(pixels, dtype))
    near, far = 1 + d * d * (1.5 * d - 2.5), 2 + d * (d * (2.5 - 0.5 * d) - 4)
    return tf.where(d < 1, near, tf.where(d < 2, far, 0))
