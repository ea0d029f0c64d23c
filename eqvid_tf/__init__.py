"""Equivariant video models: take a clip apart into a character, a background and a motion, and render them again.

TensorFlow is imported with the first name that needs it, so that `eqvid --help` answers at once.
"""

from __future__ import annotations

import importlib
import os

# Its convolutions take a third off a training step; TensorFlow itself turns them on for processors with 8-bit
# instructions alone.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# The matrices that numpy solves here are small: on a busy machine two threads that wait for each other took 1.2 s for a
# surface fitted to 48 x 32 pixels, one 0.02 s.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"

_HOMES = {
    "core.affine": ("affine",),
    "core.sampler": ("SpatialTransformer", "warp"),
    "core.networks": ("CharacterEncoder", "BackgroundEncoder", "Renderer"),
    "core.estimators": ("KnownMotion", "FrameMotion", "FeatureMotion"),
    "core.model": ("EquivariantVideoModel",),
    "config": ("Config", "ModelConfig", "LossConfig", "TrainConfig"),
    "data.clips": ("open_clip",),
    "data.pairs": ("pairs",),
    "synthetic.scenes": ("draw_scene",),
    "separation.layers": ("ClipLayers",),
    "rendering.shots": ("render_shots",),
    "motions.catalog": ("catalog",),
    "model_folder": ("load",),
    "training.finetuning": ("finetune",),
    "testing": ("assert_equivariant",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'eqvid_tf' has no attribute {name!r}")
    module = importlib.import_module(f"eqvid_tf.{_HOME[name]}")
    value = module if _HOME[name].endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
