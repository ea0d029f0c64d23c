"""Training pairs of which all is known: characters cut out of the clips' own frames, set down anywhere.

Why: a clip shows few poses, and without these f learns by heart where they are.
"""

from __future__ import annotations

import keras
from keras import ops

from eqvid_tf.core import affine
from eqvid_tf.core.estimators import displace_twice

LIGHT = 0.2  # half range of the log of a pair's light, relative to its clip's
LANDING = 1.0  # half range of where a character's centre lands; 1 is the frame's edge


def recompose(pair: dict, plates, key) -> dict:
    """The pairs, the first of every two made anew, with `motion` [B, 2, 3] and `made` [B], 1 for those.

    A character is cut out of `frame` by its `hint`, moved twice at random (see `eqvid_tf.core.estimators.random_motions`) and composed
    over its own background or that of another pair, in another light. Of a pair made so masks and motion are known; `motion` of the others is as
    it was, or the identity.

    Shapes: as in `eqvid_tf.EquivariantVideoModel`; plates [B, H, W, 3], the background of each pair.

    Args:
        key: a keras.random.SeedGenerator.
    """
    batch = ops.shape(pair["frame"])[0]
    made = ops.cast(ops.arange(batch) % 2 == 0, "float32")
    plates, alpha = ops.cast(plates, "float32"), pair["hint"]
    layer = clip_layer(ops.concatenate([pair["frame"] - (1 - alpha) * plates, alpha], -1))
    motion, layer, next_layer = displace_twice(key, layer, cubic=True, landing=LANDING)
    layer, next_layer = clip_layer(layer), clip_layer(next_layer)
    own = keras.random.uniform((batch, 1, 1, 1), seed=key) < 0.5
    light = ops.exp(keras.random.uniform((batch, 1, 1, 1), -LIGHT, LIGHT, seed=key))
    behind = lambda x: ops.where(own, x, ops.roll(x, 1, axis=0))
    lit = lambda x: ops.clip(light * x, 0, 1)
    over = lambda layer: lit(layer[..., :3] + (1 - layer[..., 3:]) * behind(plates))
    new = {
        "frame": over(layer),
        "next_frame": over(next_layer),
        "hint": layer[..., 3:],
        "next_hint": next_layer[..., 3:],
        "background_frame": lit(behind(pair.get("background_frame", pair["frame"]))),
        "motion": motion,
    }
    old = {"background_frame": pair["frame"], "motion": ops.broadcast_to(affine.identity(), (batch, 2, 3)), **pair}
    which = lambda x: ops.reshape(made, (batch,) + (1,) * (len(x.shape) - 1)) > 0
    return {"made": made, **{name: ops.stop_gradient(ops.where(which(x), x, old[name])) for name, x in new.items()}}


def clip_layer(layer):
    """A layer [B, H, W, 4], premultiplied, with alpha in [0, 1] and its colours in [0, alpha], as a cubic does not leave them."""
    alpha = ops.clip(layer[..., 3:], 0, 1)
    return ops.concatenate([ops.clip(layer[..., :3], 0, alpha), alpha], -1)
