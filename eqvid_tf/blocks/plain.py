"""What every f, h and g share, and the three as bare networks: the hypothesis alone, no partition of the frame."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers, ops

from eqvid_tf.blocks.unet import NHWC, Trunk, pad_to_multiple, pool, register

PIXELS = 3  # channels of a frame
LAYER = 4  # channels of a layer: colour and coverage


class Network(layers.Layer):
    """What f, h and g share: their arguments, and the channels of the map between them."""

    def __init__(self, width: int = 16, channels: int = 4, stride: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.channels, self.stride = width, channels, stride
        self.map_channels = LAYER + channels + PIXELS

    def conv(self, filters: int, **kwargs: Any) -> layers.Layer:
        return layers.Conv2D(filters, 3, padding="same", dtype=self.dtype_policy, **NHWC, **kwargs)

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "channels": self.channels, "stride": self.stride}


class Encoder(Network):
    """A frame to a map: pads to the stride, encodes, pools.

    Shapes: frame [B, H, W, 3] -> [B, H / stride, W / stride, 4 + channels + 3].
    """

    motion_channels: int | None = LAYER  # in front, that an alignment compares; the others say nothing more of a motion
    remembers = False  # whether it has a memory of backgrounds

    def call(self, frame: tf.Tensor, training: bool = False) -> tf.Tensor:
        frame = ops.cast(frame, self.compute_dtype)
        return pool(self.encode(pad_to_multiple(frame, self.stride), training), self.stride)

    def coverage(self, features: tf.Tensor) -> tf.Tensor:
        """The coverage in a map [..., c'], [..., 1]; of bare networks 0, as none is known."""
        return ops.zeros_like(features[..., :1])

    @property
    def takes_layer(self) -> bool:
        """Whether a cut-out can replace colour and coverage in its map, see `CharacterEncoder.replace_layer`."""
        return False

    def compute_output_shape(self, shape: tuple) -> tuple:
        size = [None if n is None else -(-n // self.stride) for n in shape[1:3]]
        return (shape[0], *size, self.map_channels)


@register
class PlainEncoder(Encoder):
    """f or h as a bare U-Net: nothing but the losses says which of the two it is."""

    motion_channels = None  # all of them

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.trunk = Trunk(self.width, dtype=self.dtype_policy)
        self.head = self.conv(self.map_channels)

    def build(self, shape: tuple) -> None:
        self.trunk.build(shape)
        self.head.build((None, None, None, self.width))

    def encode(self, frame: tf.Tensor, training: bool) -> tf.Tensor:
        return self.head(self.trunk(frame - 0.5))


@register
class PlainRenderer(Network):
    """g as bare convolutions of the sum; a mask is what f adds to the frame.

    Shapes: features [B, h', w', 4 + channels + 3] -> frame [B, h' stride, w' stride, 3].
    """

    INITIAL = "glorot_uniform"  # of the last convolution

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden = self.conv(self.width, activation="relu", kernel_initializer="he_normal")
        self.residual = self.conv(PIXELS * self.stride**2, kernel_initializer=self.INITIAL)

    def build(self, shape: tuple) -> None:
        self.hidden.build((None, None, None, self.map_channels))
        self.residual.build((None, None, None, self.width))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return 0.5 + self.draw(features)

    def draw(self, features: tf.Tensor) -> tf.Tensor:
        """What the convolutions make of maps, each cell's channels as its pixels: [B, H, W, 3]."""
        cells = self.residual(self.hidden(ops.cast(features, self.compute_dtype)))
        return cells if self.stride == 1 else tf.nn.depth_to_space(cells, self.stride)

    def mask(self, character: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
        """Coverage [B, H, W, 1]: 1 where f changes the frame by 50 grey levels of 255 or more, 0.5 at 25."""
        added = ops.abs(self(character + background) - self(background))
        return ops.clip(ops.max(added, -1, keepdims=True) * (255 / 50), 0, 1)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (shape[0], *[None if n is None else n * self.stride for n in shape[1:3]], PIXELS)
