"""The whole main job on a drawn scene: draw, train, separate, render, export, and say how good it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from eqvid_tf.config import Config, TrainConfig
from eqvid_tf.core import affine
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import write_png, write_video
from eqvid_tf.evaluation.comparison import evaluate
from eqvid_tf.evaluation.scorecard import figures
from eqvid_tf.model_folder import load
from eqvid_tf.pixels.coordinates import centroid
from eqvid_tf.pixels.resampling import move, over
from eqvid_tf.pixels.sheets import as_rgb
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.synthetic.scenes import write_scenes
from eqvid_tf.training.train import configure, train

SIZE = (128, 128)
SCENES = {
    "demo": {"seed": 6, "frames": 48, "rest": 0.5, "size": SIZE},
    "stage": {"seed": 5, "frames": 24, "pace": 0.8, "size": SIZE},
}
LENGTH = 48  # frames of the new video
FPS = 12


def demo(folder: Path, *, minutes: float, seed: int, say: Callable[[str], None], callbacks: Sequence = ()) -> dict:
    """Writes scenes/, model/, results/, new.mp4, new.gif, sheet.png and figures.json into `folder`.

    The model learns from the frames alone; the scenes' masks and motions are opened only to measure it.

    Returns: the figures, as in figures.json.
    """
    say("drawing two scenes; in the first the character rests for half of the clip")
    scenes = write_scenes(folder / "scenes", SCENES, seed=seed)
    clips = [open_clip(scene / "frames", cache=None) for scene in scenes]
    config = configure(Config(train=TrainConfig(minutes=minutes, seed=seed, image_size=64)), clips)
    say(f"training on the frames alone, for {minutes:g} minutes")
    train(config, clips, folder / "model", log=say, callbacks=callbacks)
    say("separating, rendering, and measuring beside the scissors")
    model = load(folder / "model")
    cards, sheet = evaluate(model, scenes[:1], folder / "results", cache=None)
    write_png(folder / "sheet.png", sheet)
    pictures = list(animation(*(ClipLayers(model, clip) for clip in clips)))
    write_video(folder / "new.mp4", pictures, FPS)
    write_video(folder / "new.gif", pictures, FPS)
    found = figures(cards)
    (folder / "figures.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def animation(actor: ClipLayers, stage: ClipLayers):
    """Side by side: the clip, the character cut out of it, and the character walking a new path on the other background."""
    layers = [(frame, layer) for _, frame, layer in actor.frames()]
    for k in range(LENGTH):
        frame, layer = layers[k % len(layers)]
        turn = 2 * np.pi * k / LENGTH
        path = np.array([0.55 * np.sin(turn), 0.35 * np.sin(2 * turn)])  # a figure of eight
        start = centroid(layer)
        motion = affine.build(
            shift=path - start, turn=0.5 * np.cos(turn), zoom=np.exp(0.3 * np.sin(turn)), centre=start
        )
        moved = move(layer, np.asarray(motion, np.float64), stage.clip.size)
        cut = np.concatenate([layer[..., :3] / np.maximum(layer[..., 3:], 1e-3), layer[..., 3:] * 255], -1)
        yield np.concatenate(
            [frame, as_rgb(np.clip(cut, 0, 255).astype(np.uint8)), over(moved, stage.background)], axis=1
        )
