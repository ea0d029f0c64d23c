"""How equivariant f is, by kind of motion: untrained, trained with the character loss, and trained without it.

    PYTHONPATH=. python benchmarks/equivariance.py             draws a scene, trains on it, writes figures and table
    PYTHONPATH=. python benchmarks/equivariance.py --check     exits with 1 if the page does not have these figures

The error is that of `assert_equivariant`: |f(T x) - T f(x)|, relative to |T f(x)|, the mean of three motions of each
kind on eight frames of a drawn scene. Once the whole frame is moved, once only the character, over its still
background: that is what L_c asks for. Beside it stands the share of |f(x)| that lies on the character: a map that does
not depend on where the character is has a small error for nothing.

Trains two models (L_c with its weight, and with weight 0) for each structure and seed, with --steps each. When it was
stopped it goes on where it was, from --work.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from pathlib import Path

import numpy as np
from measured import on_a_page, rounded

from eqvid_tf.config import LossConfig
from eqvid_tf.pixels.sheets import text_table

SCENE = {"seed": 6, "size": (64, 64), "frames": 48}
FRAMES = 8
BORDER = {"whole frame": 0.15, "character": 0.05}  # of the map, left out at each edge
KINDS = {
    "shift": [{"shift": (x, y)} for x, y in ((0.1, 0.0), (-0.07, 0.12), (0.25, 0.2))],
    "turn": [{"turn": np.deg2rad(angle)} for angle in (5, -15, 40)],
    "zoom": [{"zoom": zoom} for zoom in (0.8, 1.1, 1.3)],
    "shear": [{"shear": shear} for shear in (0.1, -0.2, 0.3)],
}
STRUCTURES = ("partition", "plain")
MODELS = {
    "untrained": None,
    "trained with L_c": LossConfig().character,
    "trained without L_c": 0.0,
}  # weight of the character loss


def trained(structure: str, weight: float, scene: Path, folder: Path, steps: int, seed: int):
    """The model of a folder, trained now if it is not there; a training that was stopped goes on."""
    from eqvid_tf.config import Config, LossConfig, ModelConfig, TrainConfig
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.model_folder import load
    from eqvid_tf.training import train as training

    if not (folder / "model.keras").is_file():
        clip = open_clip(scene / "frames", cache=None)
        settings = TrainConfig(steps=steps, seed=seed, doctor="watch")  # a remedy would put the weight back
        config = Config(model=ModelConfig(structure=structure), loss=LossConfig(character=weight), train=settings)
        begun = (folder / "checkpoint.keras").is_file()
        print(f"training {folder.name}", flush=True)
        try:
            training.train(training.configure(config, [clip]), [clip], folder, resume=begun, log=print)
        except training.Collapsed as error:  # the model is written; how equivariant it is can be measured all the same
            print(error)
    return load(folder)


def moved_parts(scene) -> dict:
    """What is moved -> (frames or layers to move, how a frame is made of what was moved)."""
    import tensorflow as tf

    chosen = np.linspace(0, len(scene) - 1, FRAMES).round().astype(int)
    background = tf.constant(scene.background / 255, tf.float32)
    layers = tf.constant(np.stack([scene.layer(index) for index in chosen]), tf.float32)
    compose = lambda layer: layer[..., :3] + (1 - layer[..., 3:]) * background
    return {"whole frame": (compose(layers), lambda frame: frame), "character": (layers, compose)}


def measure(f, parts: dict) -> dict:
    """By what is moved and by kind of motion: least, mean and largest error over the motions; and where |f| lies."""
    import tensorflow as tf

    from eqvid_tf.core import affine
    from eqvid_tf.testing import assert_equivariant

    found: dict = {}
    for what, (x, frame_of) in parts.items():
        aspect, found[what] = x.shape[2] / x.shape[1], {}
        for kind, motions in KINDS.items():
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                moved = [tf.repeat(affine.build(aspect=aspect, **motion)[None], len(x), 0) for motion in motions]
                whole = lambda part, frame_of=frame_of: f(frame_of(part))
                errors = [assert_equivariant(whole, x, motion, border=BORDER[what], atol=np.inf) for motion in moved]
            found[what][kind] = {"least": min(errors), "mean": float(np.mean(errors)), "most": max(errors)}
    layers, frame_of = parts["character"]
    size = np.abs(np.asarray(f(frame_of(layers)), np.float64)).sum(-1)
    found["share on the character"] = float((size * np.asarray(layers)[..., 3]).sum() / size.sum())
    return found


def run(args: argparse.Namespace) -> dict:
    import keras

    from eqvid_tf.config import ModelConfig
    from eqvid_tf.core.model import EquivariantVideoModel
    from eqvid_tf.synthetic.scenes import draw_scene, write_scene

    folder, scene = args.work / "scene", draw_scene(**SCENE)
    if not (folder / "shots.json").is_file():  # which is written last
        write_scene(folder, scene, shots=0, overwrite=True)
    parts, models = moved_parts(scene), {}
    for seed in range(args.seeds):
        for structure, (name, weight) in itertools.product(STRUCTURES, MODELS.items()):
            if weight is None:
                keras.utils.set_random_seed(seed)
                model = EquivariantVideoModel(ModelConfig(structure=structure), seed=seed)
            else:
                model = trained(
                    structure, weight, folder, args.work / f"{structure}-{weight}-{args.steps}-{seed}", args.steps, seed
                )
            models.setdefault(f"{structure}, {name}", []).append(rounded(measure(model.f, parts)))
            print(f"{structure}, {name}, seed {seed}: measured", flush=True)
    covered = float(np.mean(np.asarray(parts["character"][0])[..., 3]))
    return {
        "scene": SCENE,
        "steps": args.steps,
        "seeds": args.seeds,
        "frames": FRAMES,
        "border": BORDER,
        "share of the frame that is character": round(covered, 4),
        "models": models,
    }


def table(figures: dict) -> str:
    """The figures in Markdown: means over the seeds, and half of the way from the least to the largest."""
    header = ["f", "moved", *KINDS, "share of f on the character"]
    cell = lambda values: f"{np.mean(values):.2f} ± {np.ptp(values) / 2:.2f}"
    rows = [
        [
            name,
            what,
            *(cell([one[what][kind]["mean"] for one in seeds]) for kind in KINDS),
            cell([one["share on the character"] for one in seeds]),
        ]
        for name, seeds in figures["models"].items()
        for what in BORDER
    ]
    return text_table(rows, header) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of training, each model (default: 300)")
    parser.add_argument(
        "--seeds", type=int, default=2, help="of weights and pairs: each model so many times (default: 2)"
    )
    return on_a_page(parser, "equivariance", run, table)


if __name__ == "__main__":
    sys.exit(main())
