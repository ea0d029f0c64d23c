"""Which of a model's characters each cell of f(x) belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from eqvid_tf.blocks.unet import NHWC, Trunk, pad_to_multiple, pool, register, unpool

_COARSER = 2  # than the feature map; an outline is f's affair
_NEVER = -1e4  # logit of a character that is out of the question


@register
class Identity(layers.Layer):
    """Score each character of a model in each cell of f(x), from the frame's colours, f's coverage, and the place.

    Why the place: of twins nothing else differs. Recomposed pairs have every character everywhere, so that it counts
    where the looks do not tell.

    Shapes: frame [B, h', w', 3] and coverage [B, h', w', 1] on the feature map -> scores [B, h', w', count].

    Args:
        count: of characters.
        width: channels of the first level of its U-Net.
    """

    def __init__(self, count: int, width: int = 8, **kwargs: Any):
        super().__init__(**kwargs)
        self.count, self.width = count, width
        self.trunk = Trunk(width, dtype=self.dtype_policy)
        self.head = layers.Conv2D(count, 3, padding="same", dtype=self.dtype_policy, **NHWC)

    def build(self, shape: tuple) -> None:
        self.trunk.build((None, None, None, 6))
        self.head.build((None, None, None, self.width))

    def call(self, frame: tf.Tensor, coverage: tf.Tensor) -> tf.Tensor:
        height, width = ops.shape(coverage)[1:3]
        seen = ops.concatenate([coverage * (ops.cast(frame, coverage.dtype) - 0.5), coverage], -1)
        seen = pool(pad_to_multiple(ops.cast(seen, self.compute_dtype), _COARSER), _COARSER)
        out = self.head(self.trunk(ops.concatenate([seen, _place(seen)], -1)))
        return ops.cast(unpool(out, _COARSER), "float32")[:, :height, :width]

    def get_config(self) -> dict:
        return {**super().get_config(), "count": self.count, "width": self.width}


def _place(seen: tf.Tensor) -> tf.Tensor:
    """Normalized coordinates (x, y) of each cell of a map [B, h, w, c]: [B, h, w, 2]."""
    batch, height, width = ops.shape(seen)[:3]
    centres = lambda n: (2 * ops.arange(n, dtype="float32") + 1) / ops.cast(n, "float32") - 1
    y, x = ops.meshgrid(centres(height), centres(width), indexing="ij")
    return ops.cast(ops.broadcast_to(ops.stack([x, y], -1), (batch, height, width, 2)), seen.dtype)


def shares(scores: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
    """The share of each character in each cell, together 1.

    Shapes: scores [B, h', w', P], prior [B, P] in [0, 1], 0 for what is out of the question -> [B, h', w', P].
    """
    likely = ops.where(prior > 0, ops.log(ops.maximum(prior, 1e-6)), _NEVER)
    return keras.activations.softmax(scores + ops.cast(likely, scores.dtype)[:, None, None])


def clip_likelihood(weights: tf.Tensor, clip_of: Sequence[int]) -> tf.Tensor:
    """How likely the clip of each stored background is that of a frame.

    Shapes: mixing weights of the backgrounds [B, P, 3], whose sum holds the exposure, too -> [B, P] in [0, 1].
    """
    likely = ops.mean(weights, -1)
    likely /= ops.sum(likely, -1, keepdims=True) + 1e-6
    clips = np.array(clip_of)
    return ops.matmul(likely, ops.cast(clips[:, None] == clips[None], likely.dtype))
