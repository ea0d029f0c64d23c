"""The three losses, as pure functions of tensors: no weights, no state.

Source: the equations L_s, L_c and L_b of docs/math.md.
"""

from keras import ops


def _distance(a, b):
    """|a - b| per element, in float32 whatever the precision policy."""
    return ops.abs(ops.cast(a, "float32") - ops.cast(b, "float32"))


def scene_loss(rendered, next_frame):
    """L_s = | g(T^z f(x) + h(x)) - x' |: the render of x's layers, moved, is the next frame.

    Shapes: rendered, next_frame [B, H, W, 3] -> scalar.
    """
    return ops.mean(_distance(rendered, next_frame))


def character_loss(moved, next_character, inside):
    """L_c = | T^z f(x) - f(x') |, where the warp did not bring in the outside.

    Shapes: moved, next_character [B, h', w', c']; inside [B, h', w', 1], 1 where the moved map is known -> scalar.
    """
    inside = ops.cast(inside, "float32")
    apart = ops.mean(_distance(moved, next_character) * inside, (1, 2, 3))
    return ops.mean(apart / (ops.mean(inside, (1, 2, 3)) + 1e-6))  # a mean over the batch, so that replicas add up


def background_loss(background, next_background):
    """L_b = | h(x') - h(x) |: the background does not know where the character is.

    Shapes: both [B, h', w', c'] -> scalar.
    """
    return ops.mean(_distance(background, next_background))


def presence_loss(presence, hint, weight=1.0):
    """Mean binary cross-entropy of a soft mask against a soft hint of it (the teacher of the first minutes).

    Shapes: presence, hint [B, H, W, 1] in [0, 1], weight [B, 1, 1, 1] -> scalar.
    """
    presence = ops.clip(ops.cast(presence, "float32"), 1e-4, 1 - 1e-4)
    hint = ops.cast(hint, "float32")
    return -ops.mean(weight * (hint * ops.log(presence) + (1 - hint) * ops.log(1 - presence)))


def motion_distance(motion, other, frame_from_crop):
    """Mean distance between where two motions carry the corners of the character's box, in units of half the box.

    Shapes: motion, other, frame_from_crop [B, 2, 3] (frame_from_crop carries [-1, 1]^2 to the box) -> [B].
    """
    corners = ops.convert_to_tensor([[-1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    at = ops.matmul(frame_from_crop, corners)
    at = ops.concatenate([at, ops.ones_like(at[:, :1])], axis=1)
    apart = (
        ops.matmul(motion - other, at) / ops.stack([frame_from_crop[:, 0, 0], frame_from_crop[:, 1, 1]], -1)[..., None]
    )
    return ops.mean(ops.sqrt(ops.sum(ops.square(apart), 1) + 1e-8), -1)


def motion_loss(motion, label, frame_from_crop):
    """`motion_distance` between an estimate and its label, the mean over the batch: a scalar."""
    return ops.mean(motion_distance(motion, label, frame_from_crop))
