"""How equivariant f is, by kind of motion: trained, and with fresh weights.

    python benchmarks/equivariance.py RUN CLIP [--output benchmarks/results/equivariance.json]

Whole frames of the clip are moved, so the background moves too: what is measured is the network alone. The error is that of
`assert_equivariant`, relative to the size of the features.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf
from record import write

import eqvid_tf
from eqvid_tf import affine
from eqvid_tf.model import EquivariantVideoModel
from eqvid_tf.testing import assert_equivariant

KINDS = {
    "shift": [{"shift": (x, y)} for x, y in ((0.1, 0.0), (-0.07, 0.12), (0.25, 0.2))],
    "turn": [{"turn": np.deg2rad(angle)} for angle in (5, -15, 40)],
    "zoom": [{"zoom": zoom} for zoom in (0.8, 1.1, 1.3)],
    "shear": [{"shear": shear} for shear in (0.1, -0.2, 0.3)],
}


def measure(model, frames) -> dict:
    """The error by kind of motion: least, mean and largest over its motions."""
    aspect = frames.shape[2] / frames.shape[1]
    found = {}
    for kind, motions in KINDS.items():
        moved = [tf.repeat(affine.build(aspect=aspect, **parts)[None], len(frames), 0) for parts in motions]
        errors = [float(assert_equivariant(model.f, frames, motion, border=0.15, atol=np.inf)) for motion in moved]
        found[kind] = {"least": min(errors), "mean": float(np.mean(errors)), "most": max(errors)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results/equivariance.json")
    args = parser.parse_args()
    model = eqvid_tf.load(args.run)
    array = eqvid_tf.open_clip(args.clip, cache=None).arrays(model.config.canvas)
    frames = tf.constant(array[:: max(1, len(array) // 8)], tf.float32) / 255
    fresh = EquivariantVideoModel(model.config, seed=1)
    write(args.output, {"clip": args.clip.name, "border": 0.15, "trained": measure(model, frames), "fresh": measure(fresh, frames)})


if __name__ == "__main__":
    main()
