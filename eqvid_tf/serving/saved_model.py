"""The SavedModel of a model: its signatures, of stock TensorFlow ops alone."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.output import put
from eqvid_tf.serving.requests import check_inputs, decode_pictures, encode_pictures, write_warm_up


@dataclasses.dataclass(frozen=True)
class Signature:
    """One signature: a function that gives its outputs by name, and the specs of its inputs in their order."""

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: tuple[tf.TensorSpec, ...]

    def traced(self) -> Callable:
        """The concrete function, which refuses inputs that are not what they must be."""
        checked = lambda *values: self.function(*check_inputs(self.inputs, values))
        return tf.function(checked, self.inputs, autograph=False).get_concrete_function()


def export(model: EquivariantVideoModel, folder: Path, version: int = 1) -> Path:
    """Write the SavedModel folder/version; an older one is replaced once the new one is whole.

    Convention: frames are float32 [batch, height, width, 3] in [0, 1], motions forward [batch, 2, 3] in normalized
        coordinates.
    """
    offered = endpoints(model)
    functions = {name: signature.traced() for name, signature in offered.items()}
    bare = tf.Module()
    bare.weights = [weight.value for weight in model.weights]
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as place:
        draft = Path(place) / str(version)
        tf.saved_model.save(bare, str(draft), {**functions, "serving_default": next(iter(functions.values()))})
        inputs = {name: signature.inputs for name, signature in offered.items()}
        write_warm_up(draft, inputs, model.config.canvas, model.config.stride)
        put(draft, folder / str(version))
    return folder / str(version)


def endpoints(model: EquivariantVideoModel) -> dict[str, Signature]:
    """Every signature by its name; the first becomes serving_default, too."""
    rest = _renders(model) | _parts(model)
    return _estimates(model) | rest if model.T.learned else rest


def _estimates(model: EquivariantVideoModel) -> dict[str, Signature]:
    """The signatures that estimate a motion."""
    transfer = lambda *frames: dict(zip(("frame", "motion", "confidence"), model.transfer(*frames)))
    estimate_motion = lambda *frames: dict(zip(("motion", "confidence"), model.estimate_motion(*frames)))
    return {
        "transfer": Signature(transfer, (_frame("frame"), _frame("next_frame"), _frame("target_frame"))),
        "estimate_motion": Signature(estimate_motion, (_frame("frame"), _frame("next_frame"))),
    }


def _renders(model: EquivariantVideoModel) -> dict[str, Signature]:
    """The signatures that draw a character under a given motion."""
    motion = tf.TensorSpec((None, 2, 3), tf.float32, name="motion")

    def render(character: tf.Tensor, background: tf.Tensor, motion: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"frame": model.render(character, background, motion)}

    def render_image(character: tf.Tensor, background: tf.Tensor, motion: tf.Tensor) -> dict[str, tf.Tensor]:
        frame = model.render(decode_pictures(character), decode_pictures(background), motion)
        return {"frame_bytes": encode_pictures(frame)}

    def render_features(character: tf.Tensor, background: tf.Tensor, motion: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"frame": model.render_features(character, background, motion)}

    files = _files("character_frame_bytes"), _files("background_frame_bytes")
    maps = _features(model, "character_features"), _features(model, "background_features")
    return {
        "render": Signature(render, (_frame("character_frame"), _frame("background_frame"), motion)),
        "render_image": Signature(render_image, (*files, motion)),
        "render_features": Signature(render_features, (*maps, motion)),
    }


def _parts(model: EquivariantVideoModel) -> dict[str, Signature]:
    """The signatures of the layers of a frame, and of each network alone."""
    single = lambda value: tf.cast(value, tf.float32)  # whatever the precision policy
    separate = lambda frame: dict(zip(("character", "background", "mask"), model.separate(frame)))
    encode_character = lambda frame: {"features": single(model.f(frame))}
    encode_background = lambda frame: {"features": single(model.h(frame))}
    decode = lambda features: {"frame": tf.clip_by_value(single(model.g(features)), 0, 1)}
    return {
        "separate": Signature(separate, (_frame("frame"),)),
        "encode_character": Signature(encode_character, (_frame("frame"),)),
        "encode_background": Signature(encode_background, (_frame("frame"),)),
        "decode": Signature(decode, (_features(model, "features"),)),
    }


def _frame(name: str) -> tf.TensorSpec:
    """Frames as numbers."""
    return tf.TensorSpec((None, None, None, 3), tf.float32, name=name)


def _features(model: EquivariantVideoModel, name: str) -> tf.TensorSpec:
    """Feature maps."""
    return tf.TensorSpec((None, None, None, model.g.map_channels), tf.float32, name=name)


def _files(name: str) -> tf.TensorSpec:
    """Frames as encoded pictures, one string each."""
    return tf.TensorSpec((None,), tf.string, name=name)
