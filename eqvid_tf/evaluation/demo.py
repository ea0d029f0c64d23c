"""The whole main job on a drawn scene: draw, train, separate, render, export, and measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
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
from eqvid_tf.separation.cutout import straight_alpha
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.synthetic.scenes import write_scenes
from eqvid_tf.training.train import configure, train

SIZE = (128, 128)
SCENES: dict[str, dict[str, Any]] = {
    "demo": {"seed": 6, "frames": 48, "rest": 0.5, "size": SIZE},
    "stage": {"seed": 5, "frames": 24, "pace": 0.8, "size": SIZE},
}
LENGTH = 48  # frames of the new video
FPS = 12  # frames per second of it


def demo(
    folder: Path,
    *,
    minutes: float,
    seed: int,
    say: Callable[[str], None],
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, dict[str, float]]:
    """Write scenes/, model/, results/, new.mp4, new.gif, sheet.png and figures.json, and return the figures.

    The model learns from the frames alone; the scenes' masks and motions are opened only to measure it.

    Args:
        folder: gets all of it.
        minutes: of training.
        seed: of the training and the scenes.
        say: takes a line on what goes on.
        callbacks: of the training.
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
    video = list(_new_video(*(ClipLayers(model, clip) for clip in clips)))
    write_video(folder / "new.mp4", video, FPS)
    write_video(folder / "new.gif", video, FPS)
    measured = figures(cards)
    (folder / "figures.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    return measured


def _new_video(actor: ClipLayers, stage: ClipLayers) -> Iterator[np.ndarray]:
    """Side by side a clip, its character cut out, and that character on a new path before another background."""
    layers = [(frame, layer) for _, frame, layer in actor.frames()]
    for k in range(LENGTH):
        frame, layer = layers[k % len(layers)]
        moved = move(layer, _new_motion(2 * np.pi * k / LENGTH, centroid(layer)), stage.clip.size)
        yield np.concatenate([frame, as_rgb(straight_alpha(layer)), over(moved, stage.background)], axis=1)


def _new_motion(phase: float, start: np.ndarray) -> np.ndarray:
    """The motion [2, 3] of a character at `start` to a place on a figure of eight, turned and zoomed."""
    path = np.array([0.55 * np.sin(phase), 0.35 * np.sin(2 * phase)])
    zoom = np.exp(0.3 * np.sin(phase))
    motion = affine.build(shift=path - start, turn=0.5 * np.cos(phase), zoom=zoom, centre=start)
    return np.asarray(motion, np.float64)
