"""Correcting: a mask that is damaged on purpose in all frames, and what one stroke on one frame mends of it.

    python benchmarks/correcting.py SCENES --work DIR [--minutes M] [--run RUN]

SCENES holds scenes of one character each, with truth: drawn ones, or frames/ and hand-made masks/ of a filmed clip. One
model is trained on their frames (or RUN is taken). Of each scene the model is then taught wrong masks, for 45 s: the
upper third of the character is missing in every frame, fixed on its body where its motion is known. Then
`eqvid correct` gets the true mask of the frame in the middle. The error is the number of pixels of all frames in which
mask and truth differ; it is taken by `eqvid separate` of the three model folders. What is done is kept in --work, and
is not done again. The figures go to benchmarks/results/correcting.json, beside those of other scenes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from measured import ROOT, scenes_in
from record import write

from eqvid_tf.config import TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip, open_clip
from eqvid_tf.data.images import read_image
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.model_folder import load, read_config
from eqvid_tf.pixels.canvas import fit
from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.pixels.resampling import move
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.training.material import TrainingClips
from eqvid_tf.training.train import compile_model, finish, learn, prepare

RUN = "import sys; from eqvid_tf.cli import main; sys.exit(main())"
MISSING = 0.35  # of the character's height
OUTPUT = ROOT / "benchmarks/results/correcting.json"
TEACHING = TrainConfig(minutes=0.75, learning_rate=1e-3, doctor="watch")


def eqvid(*arguments: str | Path) -> None:
    """Runs a command in a process of its own."""
    subprocess.run([sys.executable, "-c", RUN, *map(str, arguments)], cwd=ROOT, check=True)


def masks_in(folder: Path) -> np.ndarray:
    """The masks of a folder, [T, H, W] in [0, 1]."""
    return np.stack([read_image(path)[..., 0] for path in in_name_order(folder)]) / np.float32(255)


def damaged(model: EquivariantVideoModel, clip: Clip, scene: Path) -> np.ndarray:
    """Masks on the canvas without the upper part of the character, [T, h, w]: the true ones, or a filmed clip's own."""
    if not (scene / "motion.json").is_file():
        coverage = ClipCharacters(model, clip).layers[0].coverage
        return np.stack([mask * ~_upper_part(mask) for mask in coverage])
    truth, poses = masks_in(scene / "masks"), [np.eye(3)]
    for step in homogeneous(np.array(json.loads((scene / "motion.json").read_text())["motion"])):
        poses.append(step @ poses[-1])
    upper = _upper_part(truth[0]).astype(np.float32)
    cut = [mask * (1 - np.clip(move(upper, pose), 0, 1)) for mask, pose in zip(truth, poses)]
    return np.stack([fit(mask, model.config.canvas) for mask in cut])


def _upper_part(mask: np.ndarray) -> np.ndarray:
    """The rows from the top to so far down a mask [H, W] as is to be missing, bool [H, W]."""
    rows = np.flatnonzero((mask > 0.5).any(1))
    upper = np.zeros(mask.shape, bool)
    if len(rows):
        upper[: rows[0] + round(MISSING * len(rows))] = True
    return upper


def teach_wrong_masks(run: Path, scene: Path, folder: Path) -> None:
    """Trains a copy of a model on the damaged masks of a scene, and writes it."""
    config, clip = read_config(run), open_clip(scene / "frames")
    model = load(run)
    place, hints = config.clips.index(clip.name), damaged(model, clip, scene).astype(np.float32)
    new = dataclasses.replace(prepare([clip], config.model.canvas, print), hints=[hints], first=place)
    schedule = dataclasses.replace(config.schedule, refreshes=(), warm_up=20, hints_grow=(0.0, 0.05))
    teaching = dataclasses.replace(config, train=TEACHING, schedule=schedule)
    model.seconds_trained.assign(0.0)
    model = compile_model(model, TEACHING)
    folder.mkdir(parents=True, exist_ok=True)
    learned = learn(model, teaching, new, TrainingClips(), None, log=print)
    finish(model, config, new, folder, learned, source=run, log=print)


def wrong(run: Path, scene: Path, folder: Path) -> np.ndarray:
    """The wrong pixels of each frame by a model, [T]."""
    if not (folder / "masks").is_dir():
        eqvid("separate", run, scene / "frames", "--output", folder)
    return ((masks_in(folder / "masks") > 0.5) != (masks_in(scene / "masks") > 0.5)).sum((1, 2))


def measure(run: Path, scene: Path, work: Path) -> dict:
    """The figures of a scene."""
    wrong_run, right_run = work / "wrong", work / "right"
    if not (wrong_run / "model.keras").is_file():
        teach_wrong_masks(run, scene, wrong_run)
    truth = in_name_order(scene / "masks")
    frame = len(truth) // 2
    if not (right_run / "model.keras").is_file():
        painted = ("--frame", str(frame), "--mask", truth[frame])
        eqvid("correct", wrong_run, scene / "frames", *painted, "--output", right_run)
    trained, before, after = (
        wrong(folder, scene, work / name)
        for name, folder in (("layers", run), ("layers-wrong", wrong_run), ("layers-right", right_run))
    )
    others = np.arange(len(truth)) != frame
    seconds = json.loads((right_run / "metrics.json").read_text())["seconds"]
    return {
        "minutes": read_config(run).train.minutes,
        "frames": len(truth),
        "painted": frame,
        "wrong_pixels": {"trained": int(trained.sum()), "damaged": int(before.sum()), "corrected": int(after.sum())},
        "mended": round(float(1 - after.sum() / before.sum()), 3),
        "mended_of_other_frames": round(float(1 - after[others].sum() / before[others].sum()), 3),
        "frames_mended_by_half": round(float((after <= before / 2).mean()), 3),
        "seconds_of_fine_tuning": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a model trained on all scenes")
    parser.add_argument("--minutes", type=float, default=2.5)
    args = parser.parse_args()
    scenes = scenes_in(args.scenes)
    work = args.work.resolve()
    run = args.run.resolve() if args.run else work / "run"
    if not (run / "model.keras").is_file():
        frames = [scene / "frames" for scene in scenes]
        eqvid("train", *frames, "--output", run, "--minutes", str(args.minutes))
    figures = {scene.name: measure(run, scene, work / scene.name) for scene in scenes}
    former = json.loads(OUTPUT.read_text()).get("figures", {}) if OUTPUT.is_file() else {}
    write(OUTPUT, {"settings": {"missing": MISSING}, "figures": {**former, **figures}})


if __name__ == "__main__":
    main()
