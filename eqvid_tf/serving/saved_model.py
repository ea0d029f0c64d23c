"""The SavedModel of a model: its signatures, of stock TensorFlow ops alone."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.output import put
from eqvid_tf.serving.character_set import CharacterSet
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
    """Every signature by its name; the first becomes serving_default, too.

    Those of a model of several characters have an axis K after the batch, see `CharacterSet`.
    """
    rest = _renders(model) | _parts(model)
    return _estimates(model) | rest if model.T.learned else rest


def _estimates(model: EquivariantVideoModel) -> dict[str, Signature]:
    """The signatures that estimate a motion."""
    of = _faces(model)
    transfer = lambda *frames: dict(zip(("frame", "motion", "confidence"), of.transfer(*frames)))
    estimate_motion = lambda *frames: dict(zip(("motion", "confidence"), of.estimate_motion(*frames)))
    return {
        "transfer": Signature(transfer, (_frame("frame"), _frame("next_frame"), _frame("target_frame"))),
        "estimate_motion": Signature(estimate_motion, (_frame("frame"), _frame("next_frame"))),
    }


def _renders(model: EquivariantVideoModel) -> dict[str, Signature]:
    """The signatures that draw characters under given motions."""
    of, several = _faces(model), _several(model)
    motions = [tf.TensorSpec((None, *several, 2, 3), tf.float32, name="motion")]
    if several:
        motions.append(tf.TensorSpec((None, *several), tf.float32, name="shown"))

    def render(character: tf.Tensor, background: tf.Tensor, *motion: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"frame": of.render(character, background, *motion)}

    def render_image(character: tf.Tensor, background: tf.Tensor, *motion: tf.Tensor) -> dict[str, tf.Tensor]:
        frame = of.render(decode_pictures(character), decode_pictures(background), *motion)
        return {"frame_bytes": encode_pictures(frame)}

    def render_features(character: tf.Tensor, background: tf.Tensor, *motion: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"frame": of.render_features(character, background, *motion)}

    files = _files("character_frame_bytes"), _files("background_frame_bytes")
    maps = _features(model, "character_features", several), _features(model, "background_features")
    return {
        "render": Signature(render, (_frame("character_frame"), _frame("background_frame"), *motions)),
        "render_image": Signature(render_image, (*files, *motions)),
        "render_features": Signature(render_features, (*maps, *motions)),
    }


def _parts(model: EquivariantVideoModel) -> dict[str, Signature]:
    """The signatures of the layers of a frame, and of each network alone."""
    of, outputs = _faces(model), ("character", "background", "mask")
    single = lambda value: tf.cast(value, tf.float32)  # whatever the precision policy
    separate = lambda frame: dict(zip((*outputs, "order", "shown"), of.separate(frame)))
    encode_character = lambda frame: {"features": single(of.encode(frame))}
    encode_background = lambda frame: {"features": single(model.h(frame))}
    decode = lambda features: {"frame": tf.clip_by_value(single(model.g(features)), 0, 1)}
    return {
        "separate": Signature(separate, (_frame("frame"),)),
        "encode_character": Signature(encode_character, (_frame("frame"),)),
        "encode_background": Signature(encode_background, (_frame("frame"),)),
        "decode": Signature(decode, (_features(model, "features"),)),
    }


def _several(model: EquivariantVideoModel) -> tuple[int, ...]:
    """The axis K of a model of several characters: (K,), or none."""
    count = model.config.characters
    return (count,) if count > 1 else ()


def _faces(model: EquivariantVideoModel) -> EquivariantVideoModel | CharacterSet:
    """What answers the signatures."""
    return CharacterSet(model) if _several(model) else model


def _frame(name: str) -> tf.TensorSpec:
    """Frames as numbers."""
    return tf.TensorSpec((None, None, None, 3), tf.float32, name=name)


def _features(model: EquivariantVideoModel, name: str, several: tuple[int, ...] = ()) -> tf.TensorSpec:
    """Feature maps; with an axis K where they are of characters."""
    return tf.TensorSpec((None, *several, None, None, model.g.map_channels), tf.float32, name=name)


def _files(name: str) -> tf.TensorSpec:
    """Frames as encoded pictures, one string each."""
    return tf.TensorSpec((None,), tf.string, name=name)
