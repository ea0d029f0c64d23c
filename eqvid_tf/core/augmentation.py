"""Recomposed pairs: characters cut out of the clips' frames and composited anywhere, so that all of a pair is known.

Why: a clip shows few poses, and without these pairs f learns by heart where they are.
"""

from __future__ import annotations

import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.replicas import row_before, uniform
from eqvid_tf.blocks.stacking import by_character, fold, repeat
from eqvid_tf.core import affine
from eqvid_tf.core.estimators import Key, displace_twice

_GAIN = 0.2  # half range of the log of a pair's exposure gain, relative to its clip's
_LANDING = 1.0  # half range of where a character's centre lands; 1 is the frame's edge


def count_made(batch: tf.Tensor | int) -> tf.Tensor | int:
    """How many pairs of a batch, the first ones, are made anew."""
    return (batch + 1) // 2


def recompose(pair: dict, backgrounds: tf.Tensor, key: Key) -> dict:
    """The pairs, the first half made anew, with `motion` [B, K, 2, 3] and `made` [B], 1 for those.

    Characters are cut out of `frame` by its `hint`, each moved twice at random (see `random_motions`) and composited,
    the last in front, over their own background or that of another pair, in another exposure. Of a pair made so masks
    and motions are known; `motion` of the others is as it was, or the identity.

    Shapes: as in `EquivariantVideoModel`; backgrounds [B, H, W, 3], of each pair.
    """
    batch, characters = ops.shape(pair["frame"])[0], pair["hint"].shape[-1]
    half = count_made(batch)
    backgrounds = ops.cast(backgrounds, "float32")
    frame, alpha = repeat(pair["frame"][:half], characters), by_character(pair["hint"][:half])
    layer = _clip_layer(ops.concatenate([frame - (1 - alpha) * backgrounds[:half, None], alpha], -1))
    motion, *layers = displace_twice(key, fold(layer), cubic=True, landing=_LANDING)
    own = uniform(key, (half, 1, 1, 1)) < 0.5
    gain = ops.exp(uniform(key, (half, 1, 1, 1), -_GAIN, _GAIN))
    choose = lambda x: ops.where(own, x[:half], row_before(x)[:half])
    expose = lambda x: ops.clip(gain * x, 0, 1)
    behind = choose(backgrounds)
    (first, hint), (second, next_hint) = (
        _composite(ops.reshape(_clip_layer(layer), (half, characters, *ops.shape(layer)[1:])), behind)
        for layer in layers
    )
    new = {
        "frame": expose(first),
        "next_frame": expose(second),
        "hint": hint,
        "next_hint": next_hint,
        "background_frame": expose(choose(pair.get("background_frame", pair["frame"]))),
        "motion": ops.reshape(motion, (half, characters, 2, 3)),
    }
    still = ops.broadcast_to(affine.identity(), (batch, characters, 2, 3))
    old = {"background_frame": pair["frame"], **pair}
    old["motion"] = ops.reshape(pair["motion"], (batch, characters, 2, 3)) if "motion" in pair else still
    mixed = {name: ops.stop_gradient(ops.concatenate([x, old[name][half:]], 0)) for name, x in new.items()}
    return {**pair, "made": ops.cast(ops.arange(batch) < half, "float32"), **mixed}


def _composite(layers: tf.Tensor, background: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Composite premultiplied layers over a background, the last in front.

    Shapes: layers [B, K, H, W, 4], background [B, H, W, 3] -> the picture, and what it shows of each [B, H, W, K].
    """
    picture, seen = background, list[tf.Tensor]()
    for k in range(layers.shape[1]):
        colour, alpha = layers[:, k, ..., :3], layers[:, k, ..., 3:]
        picture = colour + (1 - alpha) * picture
        seen = [(1 - alpha) * shown for shown in seen] + [alpha]
    return picture, ops.concatenate(seen, -1)


def _clip_layer(layer: tf.Tensor) -> tf.Tensor:
    """A premultiplied layer [..., 4] with alpha in [0, 1] and colours in [0, alpha], which a cubic exceeds."""
    alpha = ops.clip(layer[..., 3:], 0, 1)
    return ops.concatenate([ops.clip(layer[..., :3], 0, alpha), alpha], -1)
