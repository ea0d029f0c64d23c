"""Refinement of an estimated motion between two feature maps by Gauss-Newton, and how far it can be trusted.

Source: Lucas and Kanade's scheme as in Baker and Matthews (2004), with the mean slopes of Benhimane and Malis (2004).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.energy import energy_box, presence
from eqvid_tf.blocks.gauss_newton import CELLS, curvature, mean_slopes, newton_step, slopes
from eqvid_tf.core import affine, losses
from eqvid_tf.core.estimators import bound_step, cut_square

_WIDER = 1.2  # than the estimator's square: the outline has to lie within
_STEPS = 12  # of Gauss-Newton at the most
_ROBUST = 0.1  # residual at which a cell counts half
_SETTLED = 2e-3  # half sides: after a smaller step nothing is left to gain
_CORRELATION = 10.0  # factor on the standard error: residuals of neighbouring cells are not independent
_DOUBTFUL = 0.055  # half sides of the box, about a pixel at 64, where a confidence is 0.5


def refine_motion(features: tf.Tensor, next_features: tf.Tensor, motion: tf.Tensor) -> tf.Tensor:
    """Refine a motion so that it carries the first map onto the second as exactly as possible.

    The given motion is returned where no step improves it, and the identity where a map is empty. Cells count that lie
    within both frames: a character may be cut off by the border.

    Shapes: maps [B, h', w', c'], motion [B, 2, 3] forward -> [B, 2, 3].
    """
    box, next_box = energy_box(features, _WIDER), energy_box(next_features)
    frame_from_crop = box.frame_from_crop
    first, valid = _crop(features, frame_from_crop)
    first_slopes = slopes(first)

    def step(motion: tf.Tensor, best: tf.Tensor, least: tf.Tensor, moving: tf.Tensor) -> tuple:
        next_frame_from_crop = affine.compose(motion, frame_from_crop)
        second, next_valid = _crop(next_features, next_frame_from_crop)
        both, residual = valid * next_valid, first - second
        size = ops.sum(both * (ops.abs(first) + ops.abs(second)), (1, 2, 3))
        cost = ops.sum(both * ops.abs(residual), (1, 2, 3)) / (size + 0.1)
        best = ops.where((cost < least)[:, None, None], motion, best)
        weight = both / (1 + ops.square(residual / _ROBUST))
        change = bound_step(newton_step(mean_slopes(first_slopes, slopes(second)), weight, residual))
        change_in_crop = affine.compose(affine.identity() + change, affine.invert(frame_from_crop))
        further = affine.compose(next_frame_from_crop, change_in_crop)
        motion = ops.where(moving[:, None, None], further, motion)  # what has settled stays, whatever is in the batch
        return motion, best, ops.minimum(cost, least), moving & (ops.max(ops.abs(change), (1, 2)) > _SETTLED)

    # A loop of the graph: unrolled, it takes longer to trace and to load than all the rest of the model.
    start = motion, motion, ops.full_like(box.mass, np.inf), ops.ones_like(box.mass, "bool")
    best = ops.while_loop(lambda *state: ops.any(state[3]), step, start, maximum_iterations=_STEPS + 1)[1]
    return affine.identity() + presence(box.mass, next_box.mass)[:, None, None] * (best - affine.identity())


def standard_error(features: tf.Tensor, next_features: tf.Tensor, motion: tf.Tensor) -> tf.Tensor:
    """How far a fitted motion may be wrong at the corners of the character's box, in half sides.

    From the residual, and from how well the maps' slopes determine a motion.

    Shapes: maps [B, h', w', c'], motion [B, 2, 3] forward -> [B].
    """
    frame_from_crop = energy_box(features, _WIDER).frame_from_crop
    first, valid = _crop(features, frame_from_crop)
    second, next_valid = _crop(next_features, affine.compose(motion, frame_from_crop))
    both = valid * next_valid
    count = ops.sum(both, (1, 2, 3)) * first.shape[-1] + 1
    variance = ops.sum(both * ops.square(first - second), (1, 2, 3)) / count
    normal = curvature(mean_slopes(slopes(first), slopes(second)), both)
    corner = np.array([[x, y, 1] for x in (-1 / _WIDER, 1 / _WIDER) for y in (-1 / _WIDER, 1 / _WIDER)], "float32")
    corners = np.kron(np.eye(2, dtype="float32"), corner.T @ corner / 4)
    spread = ops.solve(normal, ops.broadcast_to(corners, (*ops.shape(variance), 6, 6)))
    return _CORRELATION * ops.sqrt(variance * ops.trace(spread, axis1=1, axis2=2))


def confidence(features: tf.Tensor, next_features: tf.Tensor, motion: tf.Tensor, back: tf.Tensor) -> tf.Tensor:
    """How far a motion between two maps, and the motion back, can be trusted, [B] in [0, 1]; see docs/motion.md.

    Shapes: maps [B, h', w', c'], motions [B, 2, 3] forward -> [B].
    """
    box = energy_box(features)
    round_trip = losses.motion_distance(affine.compose(back, motion), affine.identity(), box.frame_from_crop)
    doubt = ops.sqrt(ops.square(standard_error(features, next_features, motion)) + ops.square(round_trip))
    return presence(box.mass, energy_box(next_features).mass) / (1 + doubt / _DOUBTFUL)


def _crop(features: tf.Tensor, frame_from_crop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A map's square [B, n, n, c'], and which of its n = CELLS cells lie within the frame [B, n, n, 1], 0 or 1."""
    crop, inside = cut_square(ops.cast(features, "float32"), frame_from_crop, CELLS)
    return crop, ops.cast(inside > 0.999, "float32")
