"""Recomposed pairs: characters cut out of the clips' frames and composited anywhere, so that all of a pair is known.

Why: a clip shows few poses, and without these pairs f learns by heart where they are.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from eqvid_tf.core import affine
from eqvid_tf.core.estimators import Key, displace_twice

_GAIN = 0.2  # half range of the log of a pair's exposure gain, relative to its clip's
_LANDING = 1.0  # half range of where a character's centre lands; 1 is the frame's edge


def recompose(pair: dict, backgrounds: tf.Tensor, key: Key) -> dict:
    """The pairs, the first of every two made anew, with `motion` [B, 2, 3] and `made` [B], 1 for those.

    A character is cut out of `frame` by its `hint`, moved twice at random (see `random_motions`) and composited over
    its own background or that of another pair, in another exposure. Of a pair made so masks and motion are known;
    `motion` of the others is as it was, or the identity.

    Shapes: as in `EquivariantVideoModel`; backgrounds [B, H, W, 3], of each pair.
    """
    batch = ops.shape(pair["frame"])[0]
    made = ops.cast(ops.arange(batch) % 2 == 0, "float32")
    backgrounds, alpha = ops.cast(backgrounds, "float32"), pair["hint"]
    layer = _clip_layer(ops.concatenate([pair["frame"] - (1 - alpha) * backgrounds, alpha], -1))
    motion, layer, next_layer = displace_twice(key, layer, cubic=True, landing=_LANDING)
    layer, next_layer = _clip_layer(layer), _clip_layer(next_layer)
    own = keras.random.uniform((batch, 1, 1, 1), seed=key) < 0.5
    gain = ops.exp(keras.random.uniform((batch, 1, 1, 1), -_GAIN, _GAIN, seed=key))
    choose = lambda x: ops.where(own, x, ops.roll(x, 1, axis=0))
    expose = lambda x: ops.clip(gain * x, 0, 1)
    composite = lambda layer: expose(layer[..., :3] + (1 - layer[..., 3:]) * choose(backgrounds))
    new = {
        "frame": composite(layer),
        "next_frame": composite(next_layer),
        "hint": layer[..., 3:],
        "next_hint": next_layer[..., 3:],
        "background_frame": expose(choose(pair.get("background_frame", pair["frame"]))),
        "motion": motion,
    }
    still = ops.broadcast_to(affine.identity(), (batch, 2, 3))
    old: dict[str, Any] = {"background_frame": pair["frame"], "motion": still, **pair}
    chosen = lambda x: ops.reshape(made, (batch,) + (1,) * (len(x.shape) - 1)) > 0
    mixed = {name: ops.stop_gradient(ops.where(chosen(x), x, old[name])) for name, x in new.items()}
    return {"made": made, **mixed}


def _clip_layer(layer: tf.Tensor) -> tf.Tensor:
    """A premultiplied layer [B, H, W, 4] with alpha in [0, 1] and colours in [0, alpha], which a cubic exceeds."""
    alpha = ops.clip(layer[..., 3:], 0, 1)
    return ops.concatenate([ops.clip(layer[..., :3], 0, alpha), alpha], -1)
