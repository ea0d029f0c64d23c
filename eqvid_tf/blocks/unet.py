"""A small U-Net, the resampling of maps that it needs, and a sigmoid that keeps its gradient."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from eqvid_tf.blocks.xla import compiled_by_xla

NHWC = {"data_format": "channels_last"}  # whatever `keras.config` says
register = keras.saving.register_keras_serializable("eqvid_tf")


@register
class Trunk(layers.Layer):
    """A small U-Net that keeps the size: convolutions, average pooling down, bilinear up.

    Position enters only through the zero padding at the frame's borders.

    Shapes: [B, H, W, c] -> [B, H, W, width]; any H and W (padded inside to a multiple of 8, and cut off again).

    Args:
        width: channels of the first level; deeper levels have 2, 3 and 4 times as many.
        levels: how many times the map is halved.
    """

    def __init__(self, width: int, levels: int = 3, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.levels = width, levels
        sizes = [width * (i + 1) for i in range(levels + 1)]
        common = {"padding": "same", "kernel_initializer": "he_normal", "dtype": self.dtype_policy, **NHWC}
        conv = lambda n, kernel, activation=None: layers.Conv2D(n, kernel, activation=activation, **common)
        self.down = [conv(n, 3, "relu") for n in sizes]
        self.deep = conv(sizes[-1], 3, "relu")
        self.narrow = [conv(n, 1) for n in sizes[-2::-1]]
        self.up = [conv(n, 3, "relu") for n in sizes[-2::-1]]

    def build(self, shape: tuple) -> None:
        channels = shape[-1]
        for layer in [*self.down, self.deep]:
            layer.build((None, None, None, channels))
            channels = layer.filters
        for narrow, up in zip(self.narrow, self.up):
            narrow.build((None, None, None, channels))
            up.build((None, None, None, up.filters))
            channels = up.filters

    def call(self, x: tf.Tensor) -> tf.Tensor:
        height, width = ops.shape(x)[1:3]
        x = pad_to_multiple(x, 2**self.levels)
        skips = []
        for layer in self.down[:-1]:
            skips.append(layer(x))
            x = pool(skips[-1], 2)
        x = self.deep(self.down[-1](x))
        for narrow, up in zip(self.narrow, self.up):
            x = up(unpool(narrow(x), 2) + skips.pop())  # narrowed before it is enlarged: a third of the cost
        return x[:, :height, :width]

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape[:3], self.width)

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "levels": self.levels}


def resize_map(x: tf.Tensor, size: tuple) -> tf.Tensor:
    """Bilinear resize of [B, h, w, c] to size (H, W), which may be known only at run time; pixel edges aligned."""
    return x if x.shape[1:3] == tuple(size) else tf.cast(tf.image.resize(x, size), x.dtype)


def pool(x: tf.Tensor, factor: int) -> tf.Tensor:
    """Average over factor x factor cells."""
    return x if factor == 1 else ops.average_pool(x, factor, factor, padding="valid", **NHWC)


def unpool(x: tf.Tensor, factor: int) -> tf.Tensor:
    """Bilinear upsampling by an integer factor, pixel edges aligned."""
    height, width = ops.shape(x)[1:3]
    return x if factor == 1 else resize_map(x, (height * factor, width * factor))


def pad_to_multiple(x: tf.Tensor, multiple: int) -> tf.Tensor:
    """Pad [B, H, W, c] below and to the right by repeating its edge, up to a multiple in height and width."""
    height, width = ops.shape(x)[1:3]
    below, right = -height % multiple, -width % multiple
    known = isinstance(below, int) and isinstance(right, int)
    if multiple == 1 or (known and below == right == 0):
        return x

    def padded() -> tf.Tensor:
        rows = tf.minimum(tf.range(height + below), height - 1)
        return tf.gather(tf.gather(x, rows, axis=1), tf.minimum(tf.range(width + right), width - 1), axis=2)

    if known or compiled_by_xla():  # a branch would hide the size that comes out
        return padded()
    return tf.cond(tf.equal(below + right, 0), lambda: x, padded)  # mostly nothing is to be padded at run time


def bounded_sigmoid(logits: tf.Tensor) -> tf.Tensor:
    """A sigmoid within [0.0025, 0.9975] whose gradient leads back from both ends.

    Why: with a plain one a small character is lost within the first steps, and for good.
    """
    return ops.sigmoid(bounded_logits(logits))


@ops.custom_gradient
def bounded_logits(logits: tf.Tensor) -> tuple:
    """Clip logits to [-6, 6]; beyond, the gradient passes only where it leads back inside."""

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return ops.where(ops.sign(upstream) * logits < -6, ops.zeros_like(upstream), upstream)

    return ops.clip(logits, -6, 6), gradient
