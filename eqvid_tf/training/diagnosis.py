"""The trivial solutions, by name: what a model looks like when it has found a way around the task, and what helps.

Each was met in a real trial; each is provoked in tests/test_doctor.py, and some are recovered from.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from eqvid_tf.config import LossConfig
from eqvid_tf.core import affine
from eqvid_tf.core.estimators import displace
from eqvid_tf.core.model import EquivariantVideoModel

F_CARRIES_BACKGROUND = "f carries the background"
F_EMPTY = "f is empty"
H_CARRIES_CHARACTER = "h carries the character"
MOTION_IDENTITY = "the motion is stuck at the identity"
MOTION_UNRELATED = "the motion is not that of the character"
SCALE_DRIFT = "the feature scales drift"
# What begins anew. An estimator that stands still does not: it is at fault where its labels count for nothing, or where f is. One
# that moves astray would have f empty itself, for of nothing any motion is right.
SICK = {
    F_CARRIES_BACKGROUND: "fh",
    F_EMPTY: "fh",
    H_CARRIES_CHARACTER: "fh",
    MOTION_IDENTITY: "",
    MOTION_UNRELATED: "T",
    SCALE_DRIFT: "fhg",
}


def symptoms(model, pair: dict) -> dict[str, float]:
    """What the doctor measures, on one batch of pairs.

    Returns:
        share: of the frame that the mask covers; ghost: how much the background layer changes between the frames, relative
        to the frames' own change; travel: how far the estimator moves pairs labelled with large motions, relative to the
        labels (1 is right, 0 the identity); agreement: the cosine between the two (1 is right); f_scale, h_scale: root mean square of the maps.
    """
    x, x2 = pair["frame"], pair["next_frame"]
    fx, hx, hx2 = model.f(x), model.h(x), model.h(x2)
    mask = ops.convert_to_numpy(model.g.mask(fx, hx))
    background, next_background = model.g(hx), model.g(hx2)
    change = ops.mean(ops.abs(ops.cast(next_background - background, "float32"))) / (ops.mean(ops.abs(x2 - x)) + 1e-6)
    rms = lambda z: float(ops.sqrt(ops.mean(ops.square(ops.cast(z, "float32")))))
    return {
        "share": float((mask > 0.5).mean()),
        "ghost": float(change),
        **motions(model, fx, hx),
        "f_scale": rms(fx),
        "h_scale": rms(hx),
    }


def motions(model, fx, hx) -> dict[str, float]:
    """Size and direction of the estimated motions beside the labels', on pairs made by moving f(x); 1 for a given motion."""
    if not model.T.learned:
        return {"travel": 1.0, "agreement": 1.0}
    label, moved = displace(model.random, fx)
    pair = {"features": fx, "next_features": moved, "frame": model.g(fx + hx), "next_frame": model.g(moved + hx)}
    found, wanted = (ops.convert_to_numpy(motion - affine.identity()).ravel() for motion in (model.T(pair), label))
    agreement = found @ wanted / (np.linalg.norm(found) * np.linalg.norm(wanted) + 1e-6)
    return {"travel": float(np.abs(found).mean() / np.abs(wanted).mean()), "agreement": float(agreement)}


def verdict(found: dict[str, float], start: dict[str, float]) -> list[str]:
    """The names of the trivial solutions that the symptoms show; `start` holds those of before training."""
    names = []
    if found["share"] > 0.6:
        names.append(F_CARRIES_BACKGROUND)
    if found["share"] < 1e-3:
        names.append(F_EMPTY)
    if found["ghost"] > 0.5:
        names.append(H_CARRIES_CHARACTER)
    if found["travel"] < 0.2:
        names.append(MOTION_IDENTITY)
    elif found["agreement"] < 0.3:
        names.append(MOTION_UNRELATED)
    drift = [found[key] / max(start[key], 1e-6) for key in ("f_scale", "h_scale") if start[key] > 0]
    if drift and (min(drift) < 0.1 or max(drift) > 10):
        names.append(SCALE_DRIFT)
    return names


def treat(model, names: list[str]) -> str:
    """The remedy: networks that are past learning begin anew, but for what h remembers, and the losses get their default weights.

    The training step is made again; hints in full go with it (`eqvid_tf.training.callbacks.Schedule.put_right`).

    Returns: what was done, in words.
    """
    sick = sorted({network for name in names for network in SICK[name]})
    fresh = EquivariantVideoModel(model.config, seed=model.seed + 1, dtype=model.dtype_policy) if sick else None
    for network in sick:
        for weight, new in zip(getattr(model, network).weights, getattr(fresh, network).weights):
            if weight.name != "pictures":
                weight.assign(new)
    model.weights_of = LossConfig()
    model.make_train_function(force=True)
    return "hints in full" + f", {', '.join(sick)} anew" * bool(sick) + ", the losses as by default"
