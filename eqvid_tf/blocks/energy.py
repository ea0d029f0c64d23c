"""Where a feature map's energy |f|^2 lies, and whether there is any."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
from keras import ops

_FAINT = 1e-3  # mean energy of a map that may as well be empty; a character on 1 % of the frame has some 0.02
_HALF_SIDE = 1.75  # of the character's square, in standard deviations of its energy


class EnergyBox(NamedTuple):
    """Where a map's energy |f|^2 lies; the square frame_from_crop [B, 2, 3] carries [-1, 1]^2 to around it."""

    centre: tf.Tensor  # [B, 2], normalized
    radius: tf.Tensor  # [B], standard deviation in units of half the height
    mass: tf.Tensor  # [B], mean energy
    frame_from_crop: tf.Tensor


def energy_box(features: tf.Tensor, scale: float = 1.0) -> EnergyBox:
    """Centroid, mass and square of a map's energy |f|^2.

    Shapes: [B, h, w, c] -> see `EnergyBox`; centre in normalized coordinates.

    Args:
        scale: of the square, whose half side is `_HALF_SIDE` standard deviations.
    """
    energy = ops.sum(ops.square(ops.cast(features, "float32")), -1)
    height, width = ops.shape(energy)[1:3]
    y = (2 * ops.arange(height, dtype="float32") + 1) / ops.cast(height, "float32") - 1
    x = (2 * ops.arange(width, dtype="float32") + 1) / ops.cast(width, "float32") - 1
    along_x, along_y = ops.mean(energy, 1), ops.mean(energy, 2)  # [B, w], [B, h]
    mass = ops.mean(along_x, 1)
    total = mass + 1e-6
    cx, cy = ops.mean(along_x * x, 1) / total, ops.mean(along_y * y, 1) / total
    aspect = ops.cast(width, "float32") / ops.cast(height, "float32")
    spread_x = ops.mean(along_x * ops.square(x - cx[:, None]), 1) / total * aspect**2
    spread_y = ops.mean(along_y * ops.square(y - cy[:, None]), 1) / total
    radius = ops.sqrt((spread_x + spread_y) / 2 + 1e-6)
    half, zero = _HALF_SIDE * ops.clip(scale * radius, 0.05, 0.6), ops.zeros_like(radius)
    rows = ops.stack([half / aspect, zero, cx], -1), ops.stack([zero, half, cy], -1)
    return EnergyBox(ops.stack([cx, cy], -1), radius, mass, ops.stack(rows, 1))


def presence(mass: tf.Tensor, next_mass: tf.Tensor) -> tf.Tensor:
    """Whether both maps hold a character, [B] in [0, 1], from their masses [B]: without one, nothing moves."""
    least = ops.square(ops.minimum(mass, next_mass))
    return least / (least + _FAINT**2)
