"""The six trivial solutions: ways to make the losses small without a split of the frame. Symptoms, names and remedies.

Each was met in a real training; each is provoked in tests/test_diagnosis.py.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras import ops

from eqvid_tf.config import DiagnosisConfig, LossConfig
from eqvid_tf.core import affine
from eqvid_tf.core.estimators import displace
from eqvid_tf.core.model import EquivariantVideoModel

F_CARRIES_BACKGROUND = "f carries the background"
F_EMPTY = "f is empty"
H_CARRIES_CHARACTER = "h carries the character"
MOTION_IDENTITY = "the motion is stuck at the identity"
MOTION_UNRELATED = "the motion is not that of the character"
SCALE_DRIFT = "the feature scales drift"
# The networks that get new weights. An estimator that is stuck does not: the fault is with labels that have no weight,
# or with an empty f. One whose motions are unrelated does, or it would make f empty, for every motion fits an empty f.
RESTARTED = {
    F_CARRIES_BACKGROUND: "fh",
    F_EMPTY: "fh",
    H_CARRIES_CHARACTER: "fh",
    MOTION_IDENTITY: "",
    MOTION_UNRELATED: "T",
    SCALE_DRIFT: "fhg",
}

# A model that ends so is of no use. One whose h carries the character, as a bare one's may, still renders.
USELESS = (F_EMPTY, F_CARRIES_BACKGROUND, MOTION_IDENTITY, MOTION_UNRELATED)


def symptoms(model: EquivariantVideoModel, pair: dict) -> dict[str, float]:
    """Measure the symptoms of trivial solutions on one batch of pairs.

    Returns:
        `share` of the frame that the masks cover; `ghost`, the change of the background layer between the frames
        relative to that of the frames; `travel`, the size of the estimated motions relative to true ones, and
        `agreement`, the cosine of the two, on pairs that are made by moving f(x) far (1 is right); `f_scale` and
        `h_scale`, the root mean square of the feature maps.
    """
    x, x2 = pair["frame"], pair["next_frame"]
    fx, hx, hx2 = model.f(x), model.h(x), model.h(x2)
    mask = ops.convert_to_numpy(model.g.mask(fx, hx))
    change = lambda frame, next_frame: ops.mean(ops.abs(ops.cast(next_frame - frame, "float32")))
    scale = lambda features: float(ops.sqrt(ops.mean(ops.square(ops.cast(features, "float32")))))
    return {
        "share": float((mask > 0.5).mean()),
        "ghost": float(change(model.g(hx), model.g(hx2)) / (change(x, x2) + 1e-6)),
        **_motion_symptoms(model, fx, hx),
        "f_scale": scale(fx),
        "h_scale": scale(hx),
    }


def verdict(found: dict[str, float], start: dict[str, float], limits: DiagnosisConfig) -> list[str]:
    """Name the trivial solutions that the symptoms show; `start` has the symptoms before the training."""
    names = []
    if found["share"] > limits.most_coverage:
        names.append(F_CARRIES_BACKGROUND)
    if found["share"] < limits.least_coverage:
        names.append(F_EMPTY)
    if found["ghost"] > limits.most_residual:
        names.append(H_CARRIES_CHARACTER)
    if found["travel"] < limits.least_travel:
        names.append(MOTION_IDENTITY)
    elif found["agreement"] < limits.least_agreement:
        names.append(MOTION_UNRELATED)
    drift = [found[key] / max(start[key], 1e-6) for key in ("f_scale", "h_scale") if start[key] > 0]
    if drift and (min(drift) < 1 / limits.most_drift or max(drift) > limits.most_drift):
        names.append(SCALE_DRIFT)
    return names


def in_words(name: str, found: dict[str, float]) -> str:
    """What was measured of a trivial solution that makes a model useless."""
    if name in (F_EMPTY, F_CARRIES_BACKGROUND):
        return f"the masks cover {found['share']:.2%} of the frame"
    return (
        f"on pairs of known motion the estimator's is {found['travel']:.2f} of its size, "
        f"at a cosine of {found['agreement']:.2f}"
    )


def confusion(model: EquivariantVideoModel, frames: np.ndarray, hints: np.ndarray, places: list[int]) -> np.ndarray:
    """How the networks share the characters of a clip: of what is each one's, the part that they give to each.

    Shapes: frames [T, h, w, 3] uint8, hints [T, h, w, K], places in memory, K of them -> [K, K], each row at most 1.
    """
    x, asked = frames / np.float32(255), np.repeat([places], len(frames), 0)
    features = model.characters_in(x, model.f(x), asked)
    given = ops.convert_to_numpy(model.f.coverage(features))[..., 0]
    size = hints.sum((0, 1, 2))
    cells = tf.image.resize(hints, given.shape[2:]).numpy()  # of a feature map with a stride
    scale = hints[..., 0].size / cells[..., 0].size
    return scale * np.einsum("thwk,tjhw->kj", cells, given) / np.maximum(size, 1e-6)[:, None]


def set_verdict(shared: np.ndarray, names: list[str], limits: DiagnosisConfig) -> list[str]:
    """Name what is wrong with the characters of a clip, from their `confusion`: empty, one with another, or two."""
    found = []
    for k, row in enumerate(shared):
        other = int(np.argmax(np.where(np.arange(len(row)) == k, -1, row)))
        if row.sum() < limits.least_found:
            found.append(f"{names[k]} is empty")
        elif row[other] > limits.most_confused:
            found.append(f"{names[k]} is one with {names[other]}")
        elif row[other] > limits.least_found:
            found.append(f"{names[k]} is split between itself and {names[other]}")
    return found


def treat(model: EquivariantVideoModel, names: list[str]) -> str:
    """Apply the remedy: new weights for the networks that no longer learn, and the default weights of the losses.

    h keeps its stored backgrounds. The caller also restarts the schedule, for hints in full are part of the remedy
    (`eqvid_tf.training.callbacks.Schedule.restart`).

    Returns:
        What was done, in words.
    """
    restarted = sorted({network for name in names for network in RESTARTED[name]})
    if restarted:
        fresh = EquivariantVideoModel(model.config, seed=model.seed + 1, dtype=model.dtype_policy)
        for network in restarted:
            for weight, new in zip(getattr(model, network).weights, getattr(fresh, network).weights):
                if weight.name != "pictures":
                    weight.assign(new)
    model.weights_of = LossConfig()
    return "hints in full" + f", {', '.join(restarted)} anew" * bool(restarted) + ", the losses as by default"


def _motion_symptoms(model: EquivariantVideoModel, fx: tf.Tensor, hx: tf.Tensor) -> dict[str, float]:
    """Size and direction of the estimated motions relative to true ones; 1 where the motions are given."""
    if not model.T.learned:
        return {"travel": 1.0, "agreement": 1.0}
    label, moved = displace(model.random, fx)
    pair = {"features": fx, "next_features": moved, "frame": model.g(fx + hx), "next_frame": model.g(moved + hx)}
    found, wanted = (ops.convert_to_numpy(motion - affine.identity()).ravel() for motion in (model.T(pair), label))
    agreement = found @ wanted / (np.linalg.norm(found) * np.linalg.norm(wanted) + 1e-6)
    return {"travel": float(np.abs(found).mean() / np.abs(wanted).mean()), "agreement": float(agreement)}
