"""The three losses, and those of their two helpers, as pure functions of tensors: no weights, no state.

Source: the equations L_s, L_c and L_b of docs/math.md.
"""

from __future__ import annotations

import tensorflow as tf
from keras import ops


def scene_loss(rendered: tf.Tensor, next_frame: tf.Tensor) -> tf.Tensor:
    """L_s = | g(T^z f(x) + h(x)) - x' |: the render of x's layers, moved, is the next frame.

    Shapes: rendered, next_frame [B, H, W, 3] -> scalar.
    """
    return ops.mean(_distance(rendered, next_frame))


def character_loss(moved: tf.Tensor, next_character: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """L_c = | T^z f(x) - f(x') |, where the warp did not bring in the outside; the sum over the characters.

    It finds residuals of the character in the background, which do not move with T. It does not split a frame: an empty
    f has none of it, and bare networks tend to end there where it counts from the first step
    (docs/does_it_disentangle.md). In the recipe hints keep f.

    Shapes: moved, next_character [B, K, h', w', c'] (or of one character [B, h', w', c']); inside the same with one
    channel, 1 where the moved map is known -> scalar.
    """
    inside = ops.cast(inside, "float32")
    distance = ops.mean(_distance(moved, next_character) * inside, (-3, -2, -1))
    return _over_characters(distance / (ops.mean(inside, (-3, -2, -1)) + 1e-6))


def background_loss(background: tf.Tensor, next_background: tf.Tensor) -> tf.Tensor:
    """L_b = | h(x') - h(x) |: the background does not depend on where the character is.

    It takes what moves out of h, so that f has to take it. Where h recalls a stored picture, little is left to do.

    Shapes: both [B, h', w', c'] -> scalar.
    """
    return ops.mean(_distance(background, next_background))


def coverage_loss(coverage: tf.Tensor, hint: tf.Tensor, weight: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Helper: mean binary cross-entropy of a coverage against a hint of it; the sum over the characters.

    It is the teacher of the first minutes.

    Shapes: coverage, hint [B, K, H, W, 1] (or of one character [B, H, W, 1]) in [0, 1], weight broadcasts -> scalar.
    """
    coverage = ops.clip(ops.cast(coverage, "float32"), 1e-4, 1 - 1e-4)
    hint = ops.cast(hint, "float32")
    entropy = weight * (hint * ops.log(coverage) + (1 - hint) * ops.log(1 - coverage))
    return -_over_characters(ops.mean(entropy, (-3, -2, -1)))


def motion_loss(motion: tf.Tensor, label: tf.Tensor, frame_from_crop: tf.Tensor) -> tf.Tensor:
    """Helper: `motion_distance` between an estimate and its label, the mean over the batch: a scalar."""
    return ops.mean(motion_distance(motion, label, frame_from_crop))


def motion_distance(motion: tf.Tensor, other: tf.Tensor, frame_from_crop: tf.Tensor) -> tf.Tensor:
    """Mean distance between where two motions carry the corners of the character's box, in units of half the box.

    Shapes: motion, other, frame_from_crop [B, 2, 3] (frame_from_crop carries [-1, 1]^2 to the box) -> [B].
    """
    corners = ops.convert_to_tensor([[-1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    points = ops.matmul(frame_from_crop, corners)
    points = ops.concatenate([points, ops.ones_like(points[:, :1])], axis=1)
    half = ops.stack([frame_from_crop[:, 0, 0], frame_from_crop[:, 1, 1]], -1)
    difference = ops.matmul(motion - other, points) / half[..., None]
    return ops.mean(ops.sqrt(ops.sum(ops.square(difference), 1) + 1e-8), -1)


def _distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """|a - b| per element, in float32 whatever the precision policy."""
    return ops.abs(ops.cast(a, "float32") - ops.cast(b, "float32"))


def _over_characters(loss: tf.Tensor) -> tf.Tensor:
    """The sum over the characters of [B] or [B, K], and its mean over the batch, so that replicas add up."""
    return ops.mean(ops.sum(ops.reshape(loss, (ops.shape(loss)[0], -1)), 1))
