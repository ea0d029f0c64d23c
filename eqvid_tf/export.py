"""Model folders and SavedModels: what training writes and everything else reads."""
from __future__ import annotations

import json
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from eqvid_tf.config import Config
from eqvid_tf.doctor import in_words
from eqvid_tf.model import EquivariantVideoModel
from eqvid_tf.models import model_folder, on_the_shelf
from eqvid_tf.output import OutputError, put, write_text
from eqvid_tf.wire import decoded, encoded, guarded, write_warm_up


def load(folder: str | Path) -> EquivariantVideoModel:
    """The model of a model folder: by path, or by name, in the folder that EQVID_MODELS names or a checkout's saved_models/.

    Raises: OutputError where it is none, is not finished, or is of a later format.
    """
    folder = model_folder(folder)
    read_config(folder)
    if not (folder / "model.keras").is_file():
        raise OutputError(f"{folder}: there is no model.keras. Give a folder that eqvid train wrote.")
    return read_model(folder / "model.keras")


def read_model(path: Path, compile: bool = False) -> EquivariantVideoModel:
    """The model of a .keras file, with its optimizer's state if it is to be compiled.

    Raises: OutputError.
    """
    try:
        return keras.saving.load_model(path, compile=compile)
    except Exception as error:          # zip, HDF5, JSON and Keras have each their own for a damaged file
        raise OutputError(f"{path}: the file is damaged, or no model of eqvid_tf. Train again, or restore it.") from error


def read_config(folder: str | Path, name: str = "config.json") -> Config:
    """config.json of a model folder, or checkpoint.json of one that is being trained.

    Raises: OutputError.
    """
    path = Path(folder) / name
    if not path.is_file() and (Path(folder) / "checkpoint.json").is_file():
        raise OutputError(f"{folder}: its training did not end. Go on with eqvid train --resume.")
    if not path.is_file():
        names = f", or name one of these: {', '.join(sorted(shelf))}" if (shelf := on_the_shelf()) else ""
        raise OutputError(f"{folder}: this is no model folder, there is no {name} in it. Train one with eqvid train{names}.")
    try:
        return Config.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise OutputError(f"{path}: {error}") from error


def read_metrics(folder: Path) -> dict:
    """metrics.json of a model folder."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def write_model(model: EquivariantVideoModel, config: Config, metrics: dict, folder: Path, version: int = 1) -> None:
    """Writes config.json, metrics.json, README.md, the SavedModel and, last, model.keras: with it the folder is whole."""
    write_text(folder / "config.json", config.to_json())
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1))
    write_text(folder / "README.md", card(config, metrics))
    export(model, folder, version)
    draft = folder / ".draft.keras"
    try:
        model.save(draft)
        draft.replace(folder / "model.keras")
    finally:
        draft.unlink(missing_ok=True)


def export(model: EquivariantVideoModel, folder: Path, version: int = 1) -> Path:
    """Writes the SavedModel folder/version, in place of what is there: stock TensorFlow ops alone.

    Frames are float32 [batch, height, width, 3] in [0, 1], motions forward [batch, 2, 3] in normalized coordinates.
    """
    offered = endpoints(model)
    traced = {name: tf.function(guarded(function, inputs), inputs, autograph=False).get_concrete_function()
              for name, (function, inputs) in offered.items()}
    bare = tf.Module()
    bare.weights = [weight.value for weight in model.weights]
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as place:
        draft = Path(place) / str(version)
        tf.saved_model.save(bare, str(draft), {**traced, "serving_default": next(iter(traced.values()))})
        write_warm_up(draft, offered, model.config.canvas, model.config.stride)
        put(draft, folder / str(version))
    return folder / str(version)


def endpoints(model: EquivariantVideoModel) -> dict:
    """Name -> (function, input specs) of every signature; the first becomes serving_default too."""
    frame = lambda name: tf.TensorSpec((None, None, None, 3), tf.float32, name=name)
    features = lambda name: tf.TensorSpec((None, None, None, model.g.map_channels), tf.float32, name=name)
    picture = lambda name: tf.TensorSpec((None,), tf.string, name=name)
    motion = tf.TensorSpec((None, 2, 3), tf.float32, name="motion")
    single = lambda value: tf.cast(value, tf.float32)
    once = lambda function: tf.function(function, autograph=False, reduce_retracing=True)
    draw, estimate = once(model.render), once(model.estimate_motion)        # traced once, for several signatures

    def render(character_frame, background_frame, motion):
        return {"frame": draw(character_frame, background_frame, motion)}

    def render_image(character_frame, background_frame, motion):
        return {"frame_bytes": encoded(draw(decoded(character_frame), decoded(background_frame), motion))}

    def render_features(character_features, background_features, motion):
        return {"frame": model.render_features(character_features, background_features, motion)}

    def separate(frame):
        return dict(zip(("character", "background", "mask"), map(single, model.separate(frame))))

    def transfer(frame, next_frame, target_frame):
        motion, confidence = estimate(frame, next_frame)
        return {"frame": draw(target_frame, target_frame, motion), "motion": motion, "confidence": confidence}

    def estimate_motion(frame, next_frame):
        return dict(zip(("motion", "confidence"), estimate(frame, next_frame)))

    drawn = {
        "render": (render, [frame("character_frame"), frame("background_frame"), motion]),
        "render_image": (render_image, [picture("character_frame_bytes"), picture("background_frame_bytes"), motion]),
        "render_features": (render_features, [features("character_features"), features("background_features"), motion]),
        "separate": (separate, [frame("frame")]),
        "encode_character": (lambda frame: {"features": single(model.f(frame))}, [frame("frame")]),
        "encode_background": (lambda frame: {"features": single(model.h(frame))}, [frame("frame")]),
        "decode": (lambda features: {"frame": tf.clip_by_value(single(model.g(features)), 0, 1)}, [features("features")]),
    }
    if not model.T.learned:
        return drawn
    return {"transfer": (transfer, [frame("frame"), frame("next_frame"), frame("target_frame")]),
            "estimate_motion": (estimate_motion, [frame("frame"), frame("next_frame")])} | drawn


def card(config: Config, metrics: dict) -> str:
    """The model card, Markdown."""
    model, losses = config.model, metrics.get("losses", {})
    clips, steps = ", ".join(config.clips), f"{metrics['steps']} steps of {config.train.batch_size} pairs"
    last = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    lines = [
        "# Model card", "",
        "An equivariant video model: f takes the character out of a frame, h the background, g draws them again, moved.", "",
        f"- Fine-tuned from: {metrics.get('finetuned_from', 'nothing, trained anew')}.",
        f"- Trained on: {clips}; {steps} in {metrics['seconds']:.0f} s on {metrics['device']}, seed {config.train.seed}.",
        f"- Networks: {model.structure}, stride {model.stride}, width {model.width}, estimator `{model.estimator}`;",
        f"  canvas {model.canvas[1]} x {model.canvas[0]}, the size of the frames that they saw.",
        f"- Last losses: {last}.",
        f"- Verdict: {in_words(metrics['verdict'])}.",
        "- Meant for: the characters and backgrounds of the clips it saw; others are cut out badly or not at all.",
        "- Files: `1/` SavedModel (the folder is a TensorFlow Serving base path), `model.keras`, `config.json`, `metrics.json`.",
        "- Licence: that of the clips it was trained on; the code is Apache-2.0.", ""]
    return "\n".join(lines)
