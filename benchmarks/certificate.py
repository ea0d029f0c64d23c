"""Calibration of the certificate: its figure of many models, good and bad, beside the true iou of their masks.

    python benchmarks/certificate.py --work DIR [--seeds N] [--first N] [--train-only] [--filmed RUNS CLIPS]...

Small scenes are drawn, and models trained on them, some of them wrong on purpose: short (60 steps) and very short (20);
motions that are wrong ('known', the steps in reverse order); one character where there are two; a camera that jumps and
is taken to stand still. Of each model `certify` gives its figure from the clip alone, and the truth gives the iou.
Spearman's rank correlation of the two is what counts. --filmed adds models that were trained on other clips with masks
of their own: RUNS/NAME, or RUNS/NAME/run as benchmarks/real.py has it, of CLIPS/NAME. What is done is kept in --work,
and is not done again; what there is goes to benchmarks/results/certificate.json, beside what other runs left there.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measured import ROOT
from record import write
from scipy.stats import spearmanr

from eqvid_tf.camera.measure import Camera
from eqvid_tf.camera.stabilization import StabilizedClip
from eqvid_tf.config import Config, LossConfig, ModelConfig, ScheduleConfig, TrainConfig
from eqvid_tf.data.clips import Clip, open_clip
from eqvid_tf.data.images import read_image
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.certificate import DOUBTFUL, certify
from eqvid_tf.model_folder import load, read_metrics
from eqvid_tf.separation.cast import Cast
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.serving import saved_model
from eqvid_tf.synthetic.scenes import draw_scene, write_scene
from eqvid_tf.training.train import Collapsed, configure, train

OUTPUT = ROOT / "benchmarks/results/certificate.json"
SIZE, FRAMES = (40, 56), 40
KINDS = {"good": 240, "short": 60, "shortest": 20, "estimator": 100, "characters": 100, "camera": 100}  # steps


def draw(folder: Path, seed: int, kind: str) -> None:
    """Writes the scene of a model."""
    scene = draw_scene(seed, size=SIZE, frames=FRAMES, resolution=64)
    write_scene(folder, scene, shots=0)
    if kind == "estimator":
        truth = json.loads((folder / "motion.json").read_text())
        truth["motion"] = truth["motion"][::-1]
        (folder / "motion.json").write_text(json.dumps(truth))
    if kind == "characters":
        _add_second(folder, draw_scene(seed + 50, size=SIZE, frames=FRAMES, resolution=64))
    if kind == "camera":
        _jolt(folder, np.random.default_rng(seed).integers(-3, 4, (FRAMES, 2)))


def _add_second(folder: Path, other: object) -> None:
    """Puts the character of another scene in front, and writes a mask for each."""
    for index, path in enumerate(in_name_order(folder / "frames")):
        picture, mask = other.picture(index)
        front, behind = mask[..., None] / 255, read_image(folder / "masks" / path.name)[..., 0]
        cut_out = picture - (1 - front) * other.background
        write_png(path, ((1 - front) * read_image(path) + cut_out).clip(0, 255).round().astype(np.uint8))
        write_png(folder / "characters/0/masks" / path.name, (behind * (1 - front[..., 0])).round().astype(np.uint8))
        write_png(folder / "characters/1/masks" / path.name, mask)


def _jolt(folder: Path, jumps: np.ndarray) -> None:
    """Moves every frame by whole pixels."""
    for part in ("frames", "masks"):
        for path, (down, right) in zip(in_name_order(folder / part), jumps):
            picture = read_image(path) if part == "frames" else read_image(path)[..., 0]
            wide = np.pad(picture, [(3, 3), (3, 3)] + [(0, 0)] * (picture.ndim - 2), mode="edge")
            write_png(path, wide[3 - down :, 3 - right :][: SIZE[0], : SIZE[1]])


def clip_of(scene: Path, kind: str) -> Clip:
    """The clip of a model: its camera stands still for one that is to ignore it."""
    clip = open_clip(scene, cache=None)
    return StabilizedClip(clip, Camera.still(clip.count)) if kind == "camera" else clip


def train_model(scene: Path, run: Path, kind: str) -> None:
    """Trains a model, which may be useless."""
    config = Config(
        model=ModelConfig(width=8, estimator="known" if kind == "estimator" else "features"),
        loss=LossConfig(label=1.0),
        train=TrainConfig(steps=KINDS[kind], batch_size=6, learning_rate=3e-3, characters="1", doctor="watch"),
        schedule=ScheduleConfig(warm_up=15),
    )
    clip = clip_of(scene, kind)
    try:
        train(configure(config, [clip]), [clip], run)
    except Collapsed:
        pass  # it is written all the same


def true_iou(scene: Path, masks: dict[int, np.ndarray]) -> float:
    """The mean iou over the true characters, each with the found one that fits best."""
    alone = scene / "characters"
    truths = (
        [_masks(place / "masks") for place in sorted(alone.iterdir())] if alone.is_dir() else [_masks(scene / "masks")]
    )
    return float(np.mean([max(_iou(truth, found) for found in masks.values()) for truth in truths]))


def _masks(folder: Path) -> np.ndarray:
    return np.stack([read_image(path)[..., 0] > 127 for path in in_name_order(folder)])


def _iou(truth: np.ndarray, found: np.ndarray) -> float:
    union = (truth | found).sum((1, 2))
    return float(((truth & found).sum((1, 2))[union > 0] / union[union > 0]).mean())


def measure(scene: Path, run: Path, kind: str) -> dict:
    """The figures of a model."""
    model, clip = load(run), clip_of(scene, kind)
    characters = ClipCharacters(model, clip, cast=Cast.read(run))
    found = certify(characters, read_metrics(run).get("hold_out", 0))
    cut = [{number: layer[..., 3] > 0.5 for number, layer in one.items()} for one in characters.all_cut_outs()]
    masks = {number: np.stack([one[number] for one in cut]) for number in cut[0]}
    return {"kind": kind, "iou": round(true_iou(scene, masks), 4), **found.to_json()}


def each(work: Path, seeds: range, do: Callable[[Path, Path, str], None]) -> None:
    for seed in seeds:
        for kind in KINDS:
            place = work / f"{kind}-{seed}"
            if not (place / "scene" / "shots.json").is_file():
                shutil.rmtree(place, ignore_errors=True)
                draw(place / "scene", seed, kind)
            do(place / "scene", place, kind)


def trained_on(runs: Path, clips: Path) -> list[tuple[Path, Path]]:
    """The runs of a folder whose clips have masks, each with its clip."""
    pairs = [
        (run if (run / "model.keras").is_file() else run / "run", clips / run.name) for run in sorted(runs.iterdir())
    ]
    has_truth = lambda scene: (scene / "masks").is_dir() or (scene / "characters").is_dir()
    return [(run, scene) for run, scene in pairs if (run / "model.keras").is_file() and has_truth(scene)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=3, help="seed of the first scene")
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--filmed", nargs=2, action="append", type=Path, metavar=("RUNS", "CLIPS"), default=[])
    args = parser.parse_args()
    saved_model.export = lambda *_: None  # it takes longer than these trainings, and nothing reads it
    figures: dict[str, dict] = json.loads(OUTPUT.read_text())["figures"] if OUTPUT.is_file() else {}

    def keep(file: Path, name: str, scene: Path, run: Path, kind: str) -> None:
        if not file.is_file():
            file.write_text(json.dumps(measure(scene, run, kind)))
        figures[name] = json.loads(file.read_text())
        save(figures)

    def do(scene: Path, place: Path, kind: str) -> None:
        if not (place / "run" / "model.keras").is_file():
            train_model(scene, place / "run", kind)
        if not args.train_only:
            keep(place / "figures.json", place.name, scene, place / "run", kind)

    each(args.work, range(args.first, args.first + args.seeds), do)
    for runs, clips in args.filmed:
        for run, scene in trained_on(runs, clips):
            keep(
                args.work / f"{runs.resolve().name}-{scene.name}.json",
                f"{runs.resolve().name}/{scene.name}",
                scene,
                run,
                "filmed",
            )


def save(figures: dict[str, dict]) -> None:
    """Writes the figures there are, and how well they rank."""
    trust, iou = ([one[key] for one in figures.values()] for key in ("trust", "iou"))
    ranked = float(spearmanr(trust, iou).statistic) if len(figures) > 2 else None
    refused = [one for one in figures.values() if one["trust"] < DOUBTFUL]
    bad_masks = [one for one in refused if one["iou"] < 0.5]
    bad_motions = [one for one in refused if one["kind"] == "estimator" and one["iou"] >= 0.5]
    summary = {
        "models": len(figures),
        "spearman": None if ranked is None else round(ranked, 3),
        "refused": len(refused),
        "refused_with_iou_below_half": len(bad_masks),
        "refused_with_wrong_motions_alone": len(bad_motions),
    }
    write(OUTPUT, {**summary, "figures": figures})


if __name__ == "__main__":
    main()
