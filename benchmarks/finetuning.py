"""Fine-tuning on a new character: how soon it is learned, what is forgotten of the old ones, what freezing would do.

    PYTHONPATH=. python benchmarks/finetuning.py SCENE... --new NAME... [--minutes 15] [--work DIR] [--json FILE]
                                                 [--page FILE] [--check]

For each new scene a model learns all others, from their frames alone; it is then fine-tuned on some frames of the new
one, and another model learns those frames from nothing. The figures are the scorecard's, of the whole new scene and of
the old ones. Results are saved in --work, so that a benchmark that was stopped goes on where it was. The page gets the
figures as a table between <!-- table --> and <!-- /table -->.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

from measured import cached, number_text, on_a_page, rounded

from eqvid_tf.config import Config, TrainConfig
from eqvid_tf.data.clips import open_clip
from eqvid_tf.evaluation.comparison import score_model
from eqvid_tf.model_folder import load
from eqvid_tf.pixels.sheets import text_table
from eqvid_tf.training.finetuning import finetune
from eqvid_tf.training.train import compile_model, configure, train

COLUMNS = {"bg_psnr": 1, "iou": 3, "corner_px": 2, "move_char": 1}  # and how many digits of each are shown
FRAMES = 12, 36  # of the new scene, that are learned
WAYS = {  # what of a model folder does not come along, and which networks do not learn
    "fine-tuned": ("", ()),
    "the same, no frames kept": ("kept", ()),
    "the same, f and h frozen": ("", ("f", "h")),
    "the same, g and T frozen": ("", ("g", "T")),
}


def frozen(*names: str):
    """A patch with which these networks do not learn while a model is fine-tuned."""

    def with_some_frozen(model, settings):
        for name in names:
            getattr(model, name).trainable = False
        return compile_model(model, settings)

    return mock.patch("eqvid_tf.training.finetuning.compile_model", with_some_frozen)


def means(run: Path, place: Path, **scenes: list[Path]) -> dict:
    """The means of a model's scorecards, on each of these groups of scenes."""
    model = load(run)
    cards = {group: score_model(model, members, place / group, cache=None).mean for group, members in scenes.items()}
    return rounded({group: {column: card[column] for column in COLUMNS} for group, card in cards.items()})


def learned(clips, run: Path, minutes: float, seed: int, **scenes) -> dict:
    """The figures of a model that learns these clips from nothing."""
    train(configure(Config(train=TrainConfig(minutes=minutes, seed=seed, keep_frames=True)), clips), clips, run)
    return means(run, run / "layers", **scenes)


def tuned(source: Path, clip, run: Path, minutes: float, seed: int, way: str, **scenes) -> dict:
    """The figures of a model that is fine-tuned in one of the ways."""
    left_out, names = WAYS[way]
    with tempfile.TemporaryDirectory() as place, frozen(*names):
        copy = shutil.copytree(
            source, Path(place) / "source", ignore=shutil.ignore_patterns("logs", "layers", left_out)
        )
        finetune(copy, [clip], run, train=TrainConfig(minutes=minutes, seed=seed))
    return means(run, run / "layers", **scenes)


def with_one_new(new: Path, old: list[Path], args: argparse.Namespace) -> dict:
    """Way -> {"new", "old"} -> column -> figure, for one new scene."""
    work, clip = args.work / new.name, open_clip(new / "frames", frames=FRAMES, cache=None)
    clips, source = [open_clip(scene / "frames", cache=None) for scene in old], work / "source"
    settings = {"old": [scene.name for scene in old], "frames": FRAMES, "seed": args.seed}
    # `cached` makes again what was made by other code, with other settings, or of another source
    once = lambda name, of, minutes, make: cached(
        work, name.replace(" ", "-"), of, {**settings, "minutes": minutes}, make
    )
    found = {
        "before": once("before", work, args.minutes, partial(learned, clips, source, args.minutes, args.seed, old=old))
    }
    for way in WAYS:
        run = work / way.replace(" ", "-")
        found[way] = once(
            way, source, args.tune, partial(tuned, source, clip, run, args.tune, args.seed, way, new=[new], old=old)
        )
    found["from nothing"] = once(
        "from nothing",
        work,
        args.alone,
        partial(learned, [clip], work / "from-nothing", args.alone, args.seed, new=[new]),
    )
    return found


def run(args: argparse.Namespace) -> dict:
    rows = {}
    for name in args.new:
        (new,), old = ([scene for scene in args.scenes if (scene.name == name) == wanted] for wanted in (True, False))
        rows[name] = with_one_new(new, old, args)
        print(name, rows[name], flush=True)
    return {
        "frames": FRAMES,
        "minutes": {"before": args.minutes, "fine-tuned": args.tune, "from nothing": args.alone},
        "new": rows,
    }


def table(figures: dict) -> str:
    groups = ("new", "old")
    rows = [
        [
            new,
            f"{way}, {figures['minutes'][way]:g} min" if way in figures["minutes"] else way,
            *(
                number_text(found.get(group, {}).get(column), digits)
                for group in groups
                for column, digits in COLUMNS.items()
            ),
        ]
        for new, ways in figures["new"].items()
        for way, found in ways.items()
    ]
    return text_table(rows, ["new", "way", *(f"{column}, {group}" for group in groups for column in COLUMNS)]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", type=Path, metavar="SCENE", help="scenes with ground truth")
    parser.add_argument(
        "--new", nargs="+", default=[], metavar="NAME", help="those of the scenes that are new, each in its turn"
    )
    parser.add_argument("--minutes", type=float, default=15.0, help="of training on the old scenes (default: 15)")
    parser.add_argument("--tune", type=float, default=2.0, help="minutes of fine-tuning (default: 2)")
    parser.add_argument("--alone", type=float, default=8.0, help="minutes of training from nothing (default: 8)")
    parser.add_argument("--seed", type=int, default=0)
    return on_a_page(parser, "finetuning", run, table)


if __name__ == "__main__":
    sys.exit(main())
