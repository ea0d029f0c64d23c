"""Fine-tuning on a new character: how soon it is learned, what is forgotten of the old ones, and what freezing would do.

    PYTHONPATH=. python benchmarks/finetuning.py SCENE... --new NAME... [--minutes 15] [--work DIR] [--json FILE] [--page FILE] [--check]

For each new scene a model learns all others, from their frames alone; it is then fine-tuned on some frames of the new one, and
another model learns those frames from nothing. The figures are the scorecard's, of the whole new scene and of the old ones. What
is done is kept in --work, so that a benchmark that was stopped goes on where it was. The page gets the figures as a table between
<!-- table --> and <!-- /table -->.
"""
from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path
from unittest import mock

from measured import kept, on_a_page, rounded, shown

from eqvid_tf.config import Config, TrainConfig
from eqvid_tf.data.frames import open_clip
from eqvid_tf.evaluate import scored
from eqvid_tf.export import load
from eqvid_tf.sheets import text_table
from eqvid_tf.train import compiled, configure, train
from eqvid_tf.tuning import finetune

COLUMNS = {"bg_psnr": 1, "iou": 3, "corner_px": 2, "move_char": 1}      # and how many digits of each are shown
FRAMES = 12, 36         # of the new scene, that are learned
ALONE = "from nothing"


def frozen(*names: str):
    """A patch with which these networks do not learn while a model is fine-tuned."""
    def with_some_frozen(model, settings):
        for name in names:
            getattr(model, name).trainable = False
        return compiled(model, settings)

    return mock.patch("eqvid_tf.tuning.compiled", with_some_frozen)


def of(run: Path, scenes: list[Path], place: Path) -> dict:
    """The means of a model's scorecard."""
    mean = scored(load(run), scenes, place, cache=None).mean
    return {column: mean[column] for column in COLUMNS}


def learned(clips, run: Path, minutes: float, seed: int, keep: bool) -> Path:
    if not (run / "model.keras").is_file():
        train(configure(Config(train=TrainConfig(minutes=minutes, seed=seed, keep_frames=keep)), clips), clips, run)
    return run


def tuned(source: Path, clip, run: Path, minutes: float, seed: int, frozen_ones: tuple[str, ...] = ()) -> Path:
    if not (run / "model.keras").is_file():
        with frozen(*frozen_ones):
            finetune(source, [clip], run, train=TrainConfig(minutes=minutes, seed=seed))
    return run


def with_one_new(new: Path, old: list[Path], args: argparse.Namespace) -> dict:
    """Way -> {"new", "old"} -> column -> figure, for one new scene."""
    work, clip = args.work / new.name, open_clip(new / "frames", frames=FRAMES, cache=None)
    source = learned([open_clip(scene / "frames", cache=None) for scene in old], work / "source", args.minutes, args.seed, True)
    bare = work / "source-without-frames"
    shutil.copytree(source, bare, ignore=shutil.ignore_patterns("kept", "logs"), dirs_exist_ok=True)
    runs = {
        f"fine-tuned, {args.tune:g} min": tuned(source, clip, work / "tuned", args.tune, args.seed),
        "the same, no frames kept": tuned(bare, clip, work / "bare", args.tune, args.seed),
        "the same, f and h frozen": tuned(source, clip, work / "frozen", args.tune, args.seed, ("f", "h")),
        "the same, g and T frozen": tuned(source, clip, work / "frozen-too", args.tune, args.seed, ("g", "T")),
    }
    found = {"before": {"old": of(source, old, work / "layers/before")}}
    for name, run in runs.items():
        place = work / "layers" / run.name
        found[name] = {"new": of(run, [new], place / "new"), "old": of(run, old, place / "old")}
    run = learned([clip], work / "alone", args.alone, args.seed, False)
    found[f"{ALONE}, {args.alone:g} min"] = {"new": of(run, [new], work / "layers/alone")}
    return rounded(found)


def run(args: argparse.Namespace) -> dict:
    rows = {}
    for name in args.new:
        (new,), old = ([scene for scene in args.scenes if (scene.name == name) == wanted] for wanted in (True, False))
        settings = {"old": [scene.name for scene in old], "frames": FRAMES, "minutes": [args.minutes, args.tune, args.alone], "seed": args.seed}
        rows[name] = kept(args.work, name, args.work, settings, partial(with_one_new, new, old, args))
        print(name, rows[name], flush=True)
    return {"frames": FRAMES, "minutes": args.minutes, "new": rows}


def table(figures: dict) -> str:
    rows = [[new, way, *(shown(found.get(of, {}).get(column), digits) for of in ("new", "old") for column, digits in COLUMNS.items())]
            for new, ways in figures["new"].items() for way, found in ways.items()]
    return text_table(rows, ["new", "way", *(f"{column}, {of}" for of in ("new", "old") for column in COLUMNS)]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", type=Path, metavar="SCENE", help="scenes with ground truth")
    parser.add_argument("--new", nargs="+", default=[], metavar="NAME", help="those of the scenes that are new, each in its turn")
    parser.add_argument("--minutes", type=float, default=15.0, help="of training on the old scenes (default: 15)")
    parser.add_argument("--tune", type=float, default=2.0, help="minutes of fine-tuning (default: 2)")
    parser.add_argument("--alone", type=float, default=8.0, help="minutes of training from nothing (default: 8)")
    parser.add_argument("--seed", type=int, default=0)
    return on_a_page(parser, "finetuning", run, table)


if __name__ == "__main__":
    sys.exit(main())
