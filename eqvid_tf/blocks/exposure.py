"""The gain of a frame's exposure, as a robust least squares on tensors."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops

GAINS = 0.7, 1.4  # the range of an exposure gain
SATURATED = 0.995  # value from which a pixel may be brighter than it is shown
_OUTLIER = 0.05  # difference at which a pixel counts half in an exposure: it shows something else


def exposure_gain(frame: Any, picture: Any, passes: int = 4) -> tf.Tensor:
    """The gain of frames, by channel, relative to pictures of the same scene: [..., H, W, 3] twice -> [..., 1, 1, 3].

    Least squares, in which what differs, a character, counts little, and what is saturated nothing.
    """
    unsaturated = ops.cast(frame < SATURATED, "float32")
    weight, gain = unsaturated, 1.0
    for _ in range(1 + passes):
        total = lambda product, weight=weight: ops.sum(weight * product, (-3, -2), keepdims=True)
        gain = ops.clip(total(frame * picture) / (total(picture * picture) + 1e-3), *GAINS)
        weight = unsaturated / residual_penalty(frame, gain * picture)
    return gain


def residual_penalty(frame: Any, expected: Any) -> Any:
    """1 where a frame is as expected; grows with the square of the residual."""
    residual = (frame - expected) / _OUTLIER
    return 1 + residual * residual
