"""What each of the three losses is worth in the recipe that ships, on scenes that are hard enough to tell.

    PYTHONPATH=. python benchmarks/question_recipe.py --work DIR [--seeds 3]

One model learns three drawn clips: one whose first median has a ghost of the character, which rests for two thirds of
it; one with two characters; one whose camera pans. Its recipe is that of `eqvid train`, but for one loss that is off.
Each training leaves a JSON in --work; `question.py page` puts them on the page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from measured import rounded
from question_page import file_of

from eqvid_tf.data.output import write_text
from eqvid_tf.data.writers import write_png

SIZE, FRAMES, STEPS = (40, 40), 32, 200
PAN = 14  # pixels over the whole clip
VARIANTS = {
    "the recipe": {},
    "without L_s": {"scene": 0.0},
    "without L_c": {"character": 0.0},
    "without L_b": {"background": 0.0},
}
PREDICTED = {
    "the recipe": "iou above 0.8 on all three",
    "without L_s": "the ghost stays in masks: the hints that are wrong there are not contradicted by the frames",
    "without L_c": "no difference but on the two characters, whose shares nothing else tells from their motion",
    "without L_b": "no difference: h of the partition has nothing but stored pictures and the frame itself",
}


def draw(folder: Path) -> list[Path]:
    """The three scenes."""
    from eqvid_tf.synthetic.backgrounds import draw_background
    from eqvid_tf.synthetic.scenes import draw_scene

    ghost = draw_scene(12, size=SIZE, frames=FRAMES, rest=0.65, rest_at="start")
    first, second = (draw_scene(seed, size=SIZE, frames=FRAMES) for seed in (26, 33))
    pans, wide = draw_scene(21, size=SIZE, frames=FRAMES), draw_background(21, (SIZE[0], SIZE[1] + PAN), "bricks")
    for index in range(FRAMES):
        _write(folder / "ghost", index, *ghost.picture(index))
        _write(folder / "two", index, *_both(first, second, index))
        at = round(index * PAN / (FRAMES - 1))
        _write(folder / "pans", index, *pans.picture(index, None, wide[:, at : at + SIZE[1]]))
    write_png(folder / "ghost/background.png", ghost.background)
    write_png(folder / "two/background.png", first.background)
    return [folder / name for name in ("ghost", "two", "pans")]


def _both(first, second, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame of a scene with the character of another in front, and the masks of both together."""
    behind, mask = first.picture(index)
    layer = second.layer(index)
    frame = 255 * layer[..., :3] + (1 - layer[..., 3:]) * behind
    return np.uint8(frame.round().clip(0, 255)), np.maximum(mask, np.uint8((255 * layer[..., 3]).round()))


def _write(folder: Path, index: int, frame: np.ndarray, mask: np.ndarray) -> None:
    write_png(folder / f"frames/{index:05d}.png", frame)
    write_png(folder / f"masks/{index:05d}.png", mask)


def trained(off: dict, scenes: list[Path], run: Path, seed: int) -> dict:
    """One training and its figures."""
    import contextlib

    import keras

    from eqvid_tf.config import Config, LossConfig, ModelConfig, ScheduleConfig, TrainConfig
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.model_folder import load, read_metrics
    from eqvid_tf.separation.cast import Cast
    from eqvid_tf.training.train import Collapsed, configure, train

    keras.backend.clear_session()
    clips = [open_clip(scene / "frames", cache=None) for scene in scenes]
    config = Config(
        model=ModelConfig(width=8),
        loss=LossConfig(**{"label": 1.0, **off}),
        train=TrainConfig(steps=STEPS, seed=seed, batch_size=8, learning_rate=3e-3, doctor="watch"),
        schedule=ScheduleConfig(warm_up=15),
    )
    with contextlib.suppress(Collapsed):  # it is written all the same
        train(configure(config, clips), clips, run)
    model, cast = load(run), Cast.read(run)
    found = {
        scene.name: measured(model, clip, cast, scene, run / "layers" / scene.name)
        for scene, clip in zip(scenes, clips)
    }
    return {"seed": seed, "steps": STEPS, "scenes": found, "verdict": read_metrics(run)["verdict"]}


def measured(model, clip, cast, scene: Path, place: Path) -> dict:
    """What the networks alone say: IoU of all masks together, and dB of the background where it is known."""
    from eqvid_tf.evaluation.scorecard import background_figure, mask_figure
    from eqvid_tf.separation.characters import ClipCharacters
    from eqvid_tf.separation.folder import write_layers

    write_layers(ClipCharacters(model, clip, cast=cast, network_only=True), place)
    return rounded({**mask_figure(scene, place), **background_figure(scene, place)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    import tensorflow as tf

    from eqvid_tf.serving import saved_model

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    saved_model.export = lambda *_: None  # it takes longer than these trainings, and nothing reads it
    scenes = draw(args.work / "scenes")
    for seed in range(args.seeds):
        for name, off in VARIANTS.items():
            path = args.work / f"{file_of(name)}-{seed}.json"
            if not path.is_file():
                write_text(path, json.dumps(trained(off, scenes, path.with_suffix(""), seed)))
                print(path.stem, path.read_text(), flush=True)


if __name__ == "__main__":
    main()
