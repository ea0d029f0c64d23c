"""The spatial transformer: sampling of a feature map under an affine theta, exact in both gradients."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.bilinear import read_bilinear, with_halves


def warp(features: tf.Tensor, theta: tf.Tensor, size: tuple[int, int] | None = None, cubic: bool = False) -> tf.Tensor:
    """Read `features` at ``theta @ [p, 1]`` for every point p of the target: content moves by invert(theta).

    Convention: theta is backward (target to source), in normalized coordinates with the outer edges at -1 and +1
        (`align_corners=False`). Outside the map lies 0, towards which half a pixel fades on either side of its edge.
        warp(warp(z, a), b) = warp(z, a @ b), but for interpolation. Geometry runs in float32, and in float64 for
        features of float64.
    Shapes: features [b, h, w, c] and theta [b, 2, 3] to [b, *size, c], in the dtype of the features. The channels
        are known; every other size may be dynamic.

    Args:
        size: (height, width) of the target; by default that of `features`.
        cubic: first interpolate the points halfway between the map's pixels by a cubic. It blurs far less than bilinear
            reading alone, and overshoots an edge by up to a sixteenth.

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
        source, source_from_target = with_halves(source), 2 * source_from_target
    warped = read_bilinear(source, source_from_target, points)
    return tf.cast(tf.reshape(warped, [batch, *target, channels]), features.dtype)


def validity(theta: tf.Tensor, size: tuple[int, int], target: tuple[int, int] | None = None) -> tf.Tensor:
    """What `warp` would read from a map of ones: 1 within its frame, 0 outside, between them the pixel that fades.

    Shapes: theta [b, 2, 3] to [b, *target, 1].

    Args:
        size: (height, width) of the map.
        target: by default the same.
    """
    cells = size if target is None else target
    source_from_target, points = _in_pixels(theta, size, cells)
    source = tf.reshape(source_from_target @ points, [-1, 2, *cells])
    far = tf.cast(tf.stack([size[1], size[0]]), source.dtype)[:, None, None] + 1
    within = tf.clip_by_value(tf.minimum(source, far - source), 0.0, 1.0)
    return (within[:, 0] * within[:, 1])[..., None]


def _check_shapes(features: tf.TensorShape, theta: tf.TensorShape) -> None:
    if features.rank != 4 or features[-1] is None:
        raise ValueError(f"features must be [batch, height, width, channels]; received {features}. Name the channels.")
    if not theta.is_compatible_with([features[0], 2, 3]):
        raise ValueError(
            f"theta must be [batch, 2, 3] for features {features}; received {theta}. "
            "Use affine.identity(batch) for no motion."
        )


def _in_pixels(theta: tf.Tensor, size: tuple, target: tuple) -> tuple[tf.Tensor, tf.Tensor]:
    """Theta [b, 2, 3] from the target's pixels, counted from its centre, to indices of the source with a rim of one.

    Counted so, no motion is 1, 0 and whole pixels to the last bit. Beside it those pixels, [3 (x, y, 1), n].
    """
    (height, width), (rows, columns) = (tf.unstack(tf.cast(tf.stack(pair), theta.dtype)) for pair in (size, target))
    x, y = tf.meshgrid(tf.range(columns) - (columns - 1) / 2, tf.range(rows) - (rows - 1) / 2)
    extent = tf.stack([[width], [height]])
    scaled = theta * (extent / tf.stack([columns, rows, 2.0]))
    return scaled + tf.pad((extent + 1) / 2, [[0, 0], [2, 0]]), tf.reshape(tf.stack([x, y, tf.ones_like(x)]), [3, -1])


@keras.saving.register_keras_serializable(package="eqvid_tf")
class SpatialTransformer(keras.layers.Layer):
    """Warp a feature map by a backward affine transform: ``layer(features, theta)``. See `warp`.

    Shapes: features [b, h, w, c] and theta [b, 2, 3] to [b, *size, c], in the compute dtype. Theta stays float32 (or
        float64) under every precision policy: half of its digits would be pixels.

    Args:
        size: (height, width) of the target; by default that of the features.
        cubic: as in `warp`.

    Example:
    >>> SpatialTransformer(size=(8, 9))(tf.ones([1, 4, 6, 3]), tf.eye(2, 3, [1])).shape
    TensorShape([1, 8, 9, 3])
    """

    def __init__(self, size: tuple[int, int] | None = None, cubic: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.size, self.cubic = None if size is None else (size[0], size[1]), cubic
        self.autocast = False

    def call(self, features: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return warp(ops.cast(features, self.compute_dtype), theta, self.size, self.cubic)

    def compute_output_shape(self, features_shape: tuple, theta_shape: tuple | None = None) -> tuple:
        return (features_shape[0], *(self.size or features_shape[1:3]), features_shape[3])

    def get_config(self) -> dict:
        return {**super().get_config(), "size": self.size, "cubic": self.cubic}
