"""The last pixel: two feature maps laid over each other by Gauss-Newton, from an estimate that is nearly right.

Source: Lucas and Kanade's scheme as in Baker and Matthews (2004), with the mean slopes of Benhimane and Malis (2004).
"""
from __future__ import annotations

from keras import ops

from eqvid_tf import affine
from eqvid_tf.layers import warp
from eqvid_tf.motion import box, moments

CELLS = 32          # of the side of the square that is compared
WIDER = 1.2         # than the estimator's square: the outline has to lie within
STEPS = 12
ROBUST = 0.1        # difference from which a cell counts half
DAMPING = 1e-3      # of the mean curvature
LINEAR, SHIFT = 0.45, 0.5       # what a step may change at most, in units of the square


def align(features, next_features, motion):
    """The motion near a given one that lays the first map best over the second; the given one where none is better.

    Cells count that lie within both frames: a character may be cut off by the border.

    Shapes: maps [B, h', w', c'], motion [B, 2, 3] forward -> [B, 2, 3].
    """
    centre, radius, _ = moments(features)
    frame_from_crop = box(centre, WIDER * radius, ops.shape(features)[1:3])
    first, shown = cut(features, frame_from_crop)
    slopes, found = slopes_of(first), []
    for step in range(STEPS + 1):
        along = affine.compose(motion, frame_from_crop)
        second, next_shown = cut(next_features, along)
        both, apart = shown * next_shown, first - second
        size = ops.sum(both * (ops.abs(first) + ops.abs(second)), (1, 2, 3))
        found.append((ops.sum(both * ops.abs(apart), (1, 2, 3)) / (size + 0.1), motion))
        if step < STEPS:
            weight = both / (1 + ops.square(apart / ROBUST))
            left = newton((slopes + slopes_of(second)) / 2, weight, apart)
            motion = affine.compose(along, affine.compose(left, affine.invert(frame_from_crop)))
    costs, motions = (ops.stack(part, 1) for part in zip(*found))
    return ops.take_along_axis(motions, ops.argmin(costs, 1)[:, None, None, None], 1)[:, 0]


def cut(features, frame_from_crop):
    """A map's square [B, CELLS, CELLS, c'], and which of its cells lie within the frame [B, CELLS, CELLS, 1], 0 or 1."""
    features = ops.cast(features, "float32")
    whole = warp(ops.concatenate([features, ops.ones_like(features[..., :1])], -1), frame_from_crop, (CELLS, CELLS))
    return whole[..., :-1], ops.cast(whole[..., -1:] > 0.999, "float32")


def slopes_of(crop):
    """Central differences along x and y, in units of half the square: [B, n, n, c] -> [B, n, n, c, 2]."""
    padded = ops.pad(crop, [[0, 0], [1, 1], [1, 1], [0, 0]], "symmetric")
    along_x, along_y = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return ops.stack([along_x, along_y], -1) * (CELLS / 4)


def newton(slopes, weight, apart):
    """The step [B, 2, 3] that takes away most of a difference.

    Shapes: slopes [B, n, n, c, 2], weight and apart [B, n, n, c] -> [B, 2, 3].
    """
    at = (2 * ops.arange(CELLS, dtype="float32") + 1) / CELLS - 1
    at = ops.stack([*ops.meshgrid(at, at), ops.ones((CELLS, CELLS))], -1)
    weighted = weight[..., None] * slopes
    curvature = ops.einsum("bijck,bijcl->bijkl", weighted, slopes)
    curvature = ops.reshape(ops.einsum("bijkl,ijp,ijq->bkplq", curvature, at, at), (-1, 6, 6))
    wanted = ops.reshape(ops.einsum("bijk,ijp->bkp", ops.einsum("bijck,bijc->bijk", weighted, apart), at), (-1, 6, 1))
    damping = DAMPING * ops.trace(curvature, axis1=1, axis2=2)[:, None, None] / 6 + 1e-6
    step = ops.reshape(ops.solve(curvature + damping * ops.eye(6), wanted), (-1, 2, 3))
    linear = LINEAR * ops.tanh(step[..., :2] / LINEAR)
    return affine.identity() + ops.concatenate([linear, ops.clip(step[..., 2:], -SHIFT, SHIFT)], -1)
