"""The last pixel: two feature maps laid over each other by Gauss-Newton, from an estimate that is nearly right, and how sure that is.

Source: Lucas and Kanade's scheme as in Baker and Matthews (2004), with the mean slopes of Benhimane and Malis (2004).
"""

from __future__ import annotations

import numpy as np
from keras import ops

from eqvid_tf.core import affine, losses
from eqvid_tf.core.estimators import bound_step, character_box, cut_square, moments, present

CELLS = 32  # of the side of the square that is compared
WIDER = 1.2  # than the estimator's square: the outline has to lie within
STEPS = 12
ROBUST = 0.1  # difference from which a cell counts half
DAMPING = 1e-3  # of the mean curvature
LONGEST = 0.5  # shift of a step, in half sides of the square
SETTLED = 2e-3  # half sides: a smaller step, and there is nothing left to gain
ALIKE = 10.0  # by which neighbouring cells, which err together, are surer of a motion than they should be
DOUBTFUL = 0.055  # half sides of the box, about a pixel at 64, where a confidence is 0.5

AT = (2 * np.arange(CELLS, dtype="float32") + 1) / CELLS - 1
PLACES = np.stack([*np.meshgrid(AT, AT), np.ones((CELLS, CELLS), "float32")], -1).reshape(
    -1, 3
)  # of the cells: x, y, 1


def align(features, next_features, motion):
    """The motion near a given one that lays the first map best over the second; the given one where none is better, and none where
    a map is empty.

    Cells count that lie within both frames: a character may be cut off by the border.

    Shapes: maps [B, h', w', c'], motion [B, 2, 3] forward -> [B, 2, 3].
    """
    centre, radius, mass = moments(features)
    here = present(mass, moments(next_features)[2])[:, None, None]
    frame_from_crop = character_box(centre, WIDER * radius, ops.shape(features)[1:3])
    first, shown = compared(features, frame_from_crop)
    slopes = slopes_of(first)

    def step(motion, best, least, moving):
        along = affine.compose(motion, frame_from_crop)
        second, next_shown = compared(next_features, along)
        both, apart = shown * next_shown, first - second
        size = ops.sum(both * (ops.abs(first) + ops.abs(second)), (1, 2, 3))
        cost = ops.sum(both * ops.abs(apart), (1, 2, 3)) / (size + 0.1)
        best = ops.where((cost < least)[:, None, None], motion, best)
        weight = both / (1 + ops.square(apart / ROBUST))
        left = bound_step(newton(*mean_of(slopes, slopes_of(second)), weight, apart))
        further = affine.compose(along, affine.compose(affine.identity() + left, affine.invert(frame_from_crop)))
        motion = ops.where(moving[:, None, None], further, motion)  # what rests, rests: whatever else is in the batch
        return motion, best, ops.minimum(cost, least), moving & (ops.max(ops.abs(left), (1, 2)) > SETTLED)

    # a loop of the graph: unrolled, it takes longer to trace and to load than all the rest of the model
    start = motion, motion, ops.full_like(radius, np.inf), ops.ones_like(radius, "bool")
    best = ops.while_loop(lambda *state: ops.any(state[3]), step, start, maximum_iterations=STEPS + 1)[1]
    return affine.identity() + here * (best - affine.identity())


def compared(features, frame_from_crop):
    """A map's square [B, CELLS, CELLS, c'], and which of its cells lie within the frame [B, CELLS, CELLS, 1], 0 or 1."""
    crop, inside = cut_square(ops.cast(features, "float32"), frame_from_crop, CELLS)
    return crop, ops.cast(inside > 0.999, "float32")


def slopes_of(crop):
    """Central differences along x and along y, in units of half the square: two [B, n, n, c]."""
    from_left, from_above = crop[:, :, 1:] - crop[:, :, :-1], crop[:, 1:] - crop[:, :-1]
    x = ops.pad(from_left, [[0, 0], [0, 0], [1, 0], [0, 0]]) + ops.pad(from_left, [[0, 0], [0, 0], [0, 1], [0, 0]])
    y = ops.pad(from_above, [[0, 0], [1, 0], [0, 0], [0, 0]]) + ops.pad(from_above, [[0, 0], [0, 1], [0, 0], [0, 0]])
    return x * (CELLS / 4), y * (CELLS / 4)


def mean_of(slopes, others) -> list:
    """The mean slopes of two maps, along x and along y."""
    return [(one + other) / 2 for one, other in zip(slopes, others)]


def newton(x, y, weight, apart):
    """The step [B, 2, 3] that takes away most of a difference.

    Shapes: slopes x and y, weight and apart [B, n, n, c] -> [B, 2, 3].
    """
    wanted = ops.concatenate([ops.matmul(over_channels(weight * slope * apart), PLACES) for slope in (x, y)], 1)
    step = ops.reshape(ops.solve(curvature(x, y, weight), wanted[..., None]), (-1, 2, 3))
    return ops.concatenate([step[..., :2], ops.clip(step[..., 2:], -LONGEST, LONGEST)], -1)


def curvature(x, y, weight):
    """Of the squared difference, in the six entries of a motion: [B, 6, 6], damped a little, so that it can be inverted."""
    squares = (PLACES[:, :, None] * PLACES[:, None]).reshape(-1, 9)
    wx, wy = weight * x, weight * y
    xx, xy, yy = (
        ops.reshape(ops.matmul(over_channels(product), squares), (-1, 3, 3)) for product in (wx * x, wx * y, wy * y)
    )
    whole = ops.concatenate([ops.concatenate([xx, xy], 2), ops.concatenate([xy, yy], 2)], 1)
    return whole + (DAMPING * ops.trace(whole, axis1=1, axis2=2)[:, None, None] / 6 + 1e-6) * ops.eye(6)


def over_channels(product):
    """Sums of [B, n, n, c] over the channels: [B, n * n]."""
    return ops.reshape(ops.sum(product, -1), (-1, CELLS**2))


def standard_error(features, next_features, motion):
    """How far a fitted motion may carry the corners of the character's box astray, in half sides: from what is left apart, and from
    how well the maps' slopes hold a motion fast.

    Shapes: maps [B, h', w', c'], motion [B, 2, 3] forward -> [B].
    """
    centre, radius, _ = moments(features)
    frame_from_crop = character_box(centre, WIDER * radius, ops.shape(features)[1:3])
    (first, shown), (second, next_shown) = (
        compared(features, frame_from_crop),
        compared(next_features, affine.compose(motion, frame_from_crop)),
    )
    both = shown * next_shown
    variance = ops.sum(both * ops.square(first - second), (1, 2, 3)) / (ops.sum(both, (1, 2, 3)) * first.shape[-1] + 1)
    held = curvature(*mean_of(slopes_of(first), slopes_of(second)), both)
    corner = np.array([[x, y, 1] for x in (-1 / WIDER, 1 / WIDER) for y in (-1 / WIDER, 1 / WIDER)], "float32")
    corners = np.kron(np.eye(2, dtype="float32"), corner.T @ corner / 4)
    spread = ops.trace(ops.solve(held, ops.broadcast_to(corners, (*ops.shape(radius), 6, 6))), axis1=1, axis2=2)
    return ALIKE * ops.sqrt(variance * spread)


def confidence(features, next_features, motion, back):
    """How far a motion between two maps, and the motion back, can be trusted, [B] in [0, 1]; see docs/motion.md.

    Shapes: maps [B, h', w', c'], motions [B, 2, 3] forward -> [B].
    """
    centre, radius, mass = moments(features)
    frame_from_crop = character_box(centre, radius, ops.shape(features)[1:3])
    round_trip = losses.motion_distance(affine.compose(back, motion), affine.identity(), frame_from_crop)
    doubt = ops.sqrt(ops.square(standard_error(features, next_features, motion)) + ops.square(round_trip))
    return present(mass, moments(next_features)[2]) / (1 + doubt / DOUBTFUL)
