"""Recall of stored pictures by content: which of them a frame resembles."""

from __future__ import annotations

import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.exposure import exposure_gain
from eqvid_tf.blocks.unet import resize_map

_CLIP, _SHARPNESS = 0.2, 100.0  # of the distance per value, and of the softmax
_STRANGE, _VAGUE = 0.08, 0.01  # mean distance from which a background is none that is stored, and how gradually


def match_pictures(frame: tf.Tensor, pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Match each frame to K stored pictures: mixing weights [B, K, 3], and the probability [B] of any.

    Compared are every fourth pixel of every fourth row, with each picture in the frame's exposure. The exposure keeps
    its gradient: without it nothing fixes a learned picture's brightness, and it would drift.

    Shapes: frame [B, H, W, 3], pictures [K, h, w, 3], both in [0, 1].
    """
    few = ops.stop_gradient(ops.cast(frame, "float32")[:, ::4, ::4])
    stored = resize_map(pictures, ops.shape(frame)[1:3])[:, ::4, ::4]
    gains = exposure_gain(few[:, None], stored[None])  # [B, K, 1, 1, 3]
    distance = ops.mean(_distance(few[:, None], gains * stored), (2, 3, 4))
    likely = ops.stop_gradient(tf.nn.softmax(-_SHARPNESS * distance))
    weights = likely[..., None] * gains[:, :, 0, 0]
    left = ops.mean(_distance(few, mix(weights, stored)), (1, 2, 3))
    return weights, ops.sigmoid((_STRANGE - left) / _VAGUE)


def mix(weights: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Pictures [K, H, W, 3] mixed by weights [B, K, 3]: [B, H, W, 3]."""
    return ops.clip(ops.einsum("bkc,khwc->bhwc", weights, pictures), 0, 1)


def _distance(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The difference of each value, clipped: beyond, it is the character's."""
    return ops.minimum(ops.abs(one - other), _CLIP)
