"""Model folders and SavedModels: what training writes and everything else reads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import tensorflow as tf

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.output import put
from eqvid_tf.serving.requests import decode_pictures, encode_pictures, guarded, write_warm_up


def export(model: EquivariantVideoModel, folder: Path, version: int = 1) -> Path:
    """Writes the SavedModel folder/version, in place of what is there: stock TensorFlow ops alone.

    Frames are float32 [batch, height, width, 3] in [0, 1], motions forward [batch, 2, 3] in normalized coordinates.
    """
    offered = endpoints(model)
    traced = {
        name: tf.function(guarded(function, inputs), inputs, autograph=False).get_concrete_function()
        for name, (function, inputs) in offered.items()
    }
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
    draw, estimate = once(model.render), once(model.estimate_motion)  # traced once, for several signatures

    def render(character_frame, background_frame, motion):
        return {"frame": draw(character_frame, background_frame, motion)}

    def render_image(character_frame, background_frame, motion):
        return {
            "frame_bytes": encode_pictures(
                draw(decode_pictures(character_frame), decode_pictures(background_frame), motion)
            )
        }

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
        "decode": (
            lambda features: {"frame": tf.clip_by_value(single(model.g(features)), 0, 1)},
            [features("features")],
        ),
    }
    if not model.T.learned:
        return drawn
    return {
        "transfer": (transfer, [frame("frame"), frame("next_frame"), frame("target_frame")]),
        "estimate_motion": (estimate_motion, [frame("frame"), frame("next_frame")]),
    } | drawn
