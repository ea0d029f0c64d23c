"""The networks: character encoder f, background encoder h and renderer g.

Two structures share one contract, f and h: frame -> feature map, g: feature map -> frame.

partition   f and h cut the frame in two and write to separate channels of one map, so that T f + h is still a sum:
            f(x) = [c, p, p phi(x), 0] and h(x) = [0, 0, 0, (1 - m) x + m recall(x)], with the coverage p, the colour c
            that composited over the recalled background gives x, and m, where the character hides the background. g
            composites the character over the background, and adds a residual that starts at zero.
plain       bare networks (`eqvid_tf.blocks.plain`), the hypothesis alone: what the three losses do by themselves.

Convention: frames NHWC in [0, 1]. A cell of a map with stride s is the s x s pixels of the frame that it covers
(average pooling, never a strided convolution of odd kernel), so no stride shifts the lattice.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.memory import Match, match_pictures
from eqvid_tf.blocks.plain import LAYER, PIXELS, Encoder, PlainEncoder, PlainRenderer
from eqvid_tf.blocks.replicas import uniform
from eqvid_tf.blocks.unet import Trunk, bounded_sigmoid, register, resize_map, unpool
from eqvid_tf.config import ModelConfig


@register
class CharacterEncoder(Encoder):
    """f of the partition: the part of the frame that is the character, [c, p, p phi(x), 0 0 0].

    Its colour c = x - (1 - p) recall(x), within [0, p], is what gives x when it is composited over the background that
    h remembers: what shows through it, or beside its edge, is not its own. Where h remembers none, c = p x.

    Equivariant by construction but for its trunk; the losses teach the trunk. The trunk sees the frame, and where h
    remembers the background, the difference to it; in training now and then not, so that it can do without.

    Args:
        recall: `BackgroundEncoder.recall` of the h it works beside; None where nothing is remembered.
    """

    BLIND = 0.2  # of the frames in training: f does not get their difference to the background

    def __init__(self, recall: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.recall = recall
        self.random = keras.random.SeedGenerator(0)
        self.trunk = Trunk(self.width, dtype=self.dtype_policy)
        self.head = self.conv(1 + self.channels)

    def build(self, shape: tuple) -> None:
        self.trunk.build((None, None, None, 2 * PIXELS + 1))
        self.head.build((None, None, None, self.width))

    def encode(self, frame: tf.Tensor, training: bool) -> tf.Tensor:
        recalled, known = self.recall(frame) if self.recall else (frame, ops.zeros(ops.shape(frame)[:1]))
        known = ops.cast(known, self.compute_dtype)[:, None, None, None]
        background = ops.stop_gradient(known * recalled + (1 - known) * frame)  # unknown: p cuts the frame itself out
        if training:
            seeing = uniform(self.random, ops.shape(known)) > self.BLIND
            known *= ops.cast(seeing, self.compute_dtype)
        seen = [frame - 0.5, 3 * known * ops.abs(frame - recalled), known * ops.ones_like(frame[..., :1])]
        out = self.head(self.trunk(ops.concatenate(seen, -1)))
        coverage = bounded_sigmoid(out[..., :1] - 2)
        colour = ops.minimum(ops.maximum(frame - (1 - coverage) * background, 0), coverage)
        return ops.concatenate([colour, coverage, coverage * ops.tanh(out[..., 1:]), ops.zeros_like(colour)], -1)

    def coverage(self, features: tf.Tensor) -> tf.Tensor:
        return features[..., PIXELS:LAYER]

    @property
    def takes_layer(self) -> bool:
        return self.stride == 1  # a cell of the map is a pixel

    @staticmethod
    def replace_layer(features: tf.Tensor, layer: tf.Tensor) -> tf.Tensor:
        """f(x) with colour and coverage from a cut-out: premultiplied RGBA [B, h', w', 4] in [0, 1]."""
        return ops.concatenate([ops.cast(layer, features.dtype), features[..., LAYER:]], -1)


@register
class BackgroundEncoder(Encoder):
    """h of the partition: the frame, and where the character hides it (m) the background that h remembers.

    The memory has a picture of each background of the training. It is recalled by content: the stored pictures that
    the frame resembles, weighted by a softmax of their clipped distance to it. A frame that resembles none passes as it
    is (but in training, when the memory is still being filled).

    Args:
        memory: how many backgrounds can be stored.
        canvas: height and width of each of them.
        given: they are stored by `remember`, and not learned. Why: medians of the frames are right, and stay so.
    """

    remembers = True

    def __init__(self, memory: int = 1, canvas: tuple = (64, 64), given: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.memory, self.canvas, self.given = memory, tuple(canvas), given
        self.trunk = Trunk(max(self.width // 2, 4), dtype=self.dtype_policy)
        self.head = self.conv(1)

    def build(self, shape: tuple) -> None:
        self.trunk.build(shape)
        self.head.build((None, None, None, self.trunk.width))
        self.pictures = self.add_weight(
            name="pictures",
            shape=(self.memory, *self.canvas, PIXELS),
            dtype="float32",
            autocast=False,
            trainable=not self.given,
            initializer=keras.initializers.RandomUniform(0.4, 0.6),
        )

    def remember(self, pictures: np.ndarray | tf.Tensor, first: int = 0) -> None:
        """Store backgrounds from place `first` on: pictures [K, H, W, 3] in [0, 1], as many as there is room for."""
        pictures = resize_map(ops.convert_to_tensor(pictures, "float32"), self.canvas)
        before, after = self.pictures[:first], self.pictures[first + pictures.shape[0] :]
        self.pictures.assign(ops.concatenate([before, pictures, after], 0))

    def recall(self, frame: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The stored background of each frame [B, H, W, 3] in its exposure, and the probability [B] of any."""
        match = self.match(frame)
        recalled = match.recall(self.pictures, ops.shape(frame)[1:3])
        return ops.cast(recalled, self.compute_dtype), match.known

    def match(self, frame: tf.Tensor) -> Match:
        """Match each frame to the stored backgrounds."""
        return match_pictures(frame, self.pictures)

    def encode(self, frame: tf.Tensor, training: bool) -> tf.Tensor:
        hidden, (recalled, known) = bounded_sigmoid(self.head(self.trunk(frame - 0.5))), self.recall(frame)
        hidden = hidden if training else hidden * ops.cast(known, hidden.dtype)[:, None, None, None]
        background = (1 - hidden) * frame + hidden * recalled
        return ops.pad(background, [[0, 0], [0, 0], [0, 0], [LAYER + self.channels, 0]])

    def get_config(self) -> dict:
        return {**super().get_config(), "memory": self.memory, "canvas": self.canvas, "given": self.given}


@register
class Renderer(PlainRenderer):
    """g of the partition: character over background, plus a residual that starts at zero.

    Shapes: features [B, h', w', 4 + channels + 3] -> frame [B, h' stride, w' stride, 3].
    """

    INITIAL = "zeros"

    def call(self, features: tf.Tensor) -> tf.Tensor:
        full = unpool(ops.cast(features, self.compute_dtype), self.stride)
        over = full[..., :PIXELS] + (1 - full[..., PIXELS:LAYER]) * full[..., -PIXELS:]
        return over + self.draw(features)

    def mask(self, character: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
        """Coverage of the character [B, H, W, 1]: what f wrote."""
        del background
        return unpool(character[..., PIXELS:LAYER], self.stride)


def build_networks(config: ModelConfig, dtype: Any = None) -> tuple[Encoder, Encoder, Renderer]:
    """The networks (f, h, g) of a ModelConfig, under a precision policy."""
    shared = {"width": config.width, "channels": config.channels, "stride": config.stride, "dtype": dtype}
    if config.structure == "plain":
        return PlainEncoder(name="f", **shared), PlainEncoder(name="h", **shared), PlainRenderer(name="g", **shared)
    h = BackgroundEncoder(memory=config.memory, canvas=config.canvas, given=config.given, name="h", **shared)
    return CharacterEncoder(recall=h.recall, name="f", **shared), h, Renderer(name="g", **shared)
