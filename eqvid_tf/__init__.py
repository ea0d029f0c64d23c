"""Equivariant video models: take a clip apart into a character, a background and a motion, and render them again.

TensorFlow is imported with the first name that needs it, so that `eqvid --help` answers at once.
"""
from __future__ import annotations

import importlib
import os

# Its convolutions take a third off a training step; TensorFlow itself turns them on only for processors with instructions for 8 bits.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

_HOMES = {
    "affine": ("affine",),
    "layers": ("SpatialTransformer", "warp"),
    "networks": ("CharacterEncoder", "BackgroundEncoder", "Renderer"),
    "motion": ("KnownMotion", "FrameMotion", "FeatureMotion"),
    "model": ("EquivariantVideoModel",),
    "config": ("Config", "ModelConfig", "LossConfig", "TrainConfig"),
    "data.frames": ("open_clip",),
    "data.pairs": ("pairs",),
    "data.scenes": ("draw_scene",),
    "separate": ("ClipLayers",),
    "render": ("render_shots",),
    "catalog": ("catalog",),
    "export": ("load",),
    "tuning": ("finetune",),
    "testing": ("assert_equivariant",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'eqvid_tf' has no attribute {name!r}")
    module = importlib.import_module(f"eqvid_tf.{_HOME[name]}")
    value = module if _HOME[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
