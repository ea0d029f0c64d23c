"""What each choice of the recipe is worth: trainings that differ in one thing, on a small case.

    PYTHONPATH=. python benchmarks/recipe.py [--minutes 3] [--seeds 2] [--work DIR] [--json FILE] [--page FILE]
                                             [--check]

Two drawn scenes at 48 px, one of them half at rest; each variant is trained on both, without labels, and measured by
the scorecard: the layers of the networks alone, and the cut-outs that are made with their help. Each run leaves a JSON
in --work, so that a benchmark that was stopped goes on where it was. The page gets the figures as a table between
<!-- table --> and <!-- /table -->.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
from measured import cached, on_a_page, rounded

from eqvid_tf.pixels.sheets import text_table

SCENES = {
    "walks": {"seed": 11, "size": [48, 48], "frames": 32},
    "rests": {"seed": 12, "size": [48, 48], "frames": 32, "rest": 0.5},
}
SHOTS = 6
COLUMNS = ("bg_psnr", "iou", "corner_px", "move_char", "swap_char", "transfer_char")
PAGE_COLUMNS = ("bg_psnr", "iou", "corner_px", "move_char", "transfer_char")  # swap_char follows move_char


def variants() -> dict[str, tuple[dict, list]]:
    """Name -> (what of the config differs, what of the recipe is put out of order)."""
    from eqvid_tf.data.pairs import pairs
    from eqvid_tf.training.train import new_model

    losses = {
        f"without the {name} loss": ({"loss": {name: 0.0}}, [])
        for name in ("scene", "character", "background", "label")
    }
    return {
        "the recipe": ({}, []),
        **losses,
        "without hints": ({"loss": {"hint": 0.0}}, []),
        "without recomposed pairs": ({}, [mock.patch("eqvid_tf.core.model.recompose", lambda pair, *_: pair)]),
        "h sees the frame that f sees": (
            {},
            [mock.patch("eqvid_tf.training.train.pairs", partial(pairs, other=False))],
        ),
        "stored backgrounds are learned": ({"model": {"given": False}}, []),
        "the same, and no median at the start": (
            {"model": {"given": False}},
            [mock.patch("eqvid_tf.training.train.new_model", partial(model_without_medians, new_model))],
        ),
        "hints and backgrounds not refreshed": ({"schedule": {"refreshes": ()}}, []),
        "bare networks (plain)": ({"model": {"structure": "plain"}}, []),
    }


def model_without_medians(new_model: Callable, config, backgrounds):
    """A new model whose h stores no background of the clips."""
    with mock.patch("eqvid_tf.core.networks.BackgroundEncoder.remember", lambda *_: None):
        return new_model(config, backgrounds)


def scenes(work: Path) -> list[Path]:
    from eqvid_tf.synthetic.scenes import write_scenes

    if not (work / "scenes" / [*SCENES][-1] / "shots.json").is_file():
        return write_scenes(work / "scenes", SCENES, shots=SHOTS)
    return [work / "scenes" / name for name in SCENES]


def trained(config: dict, broken: list, folders: list[Path], run: Path, minutes: float, seed: int) -> dict:
    """One training and its figures: with cut-outs from the frames, and of the networks alone."""
    import keras

    from eqvid_tf.config import Config, LossConfig, ScheduleConfig, TrainConfig
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.evaluation.comparison import score_model
    from eqvid_tf.model_folder import load, read_metrics
    from eqvid_tf.training.train import Collapsed, configure, train

    keras.backend.clear_session()
    clips = [open_clip(folder / "frames", cache=None) for folder in folders]
    usual = TrainConfig(minutes=minutes, seed=seed, doctor="watch")
    parts = {"loss": LossConfig(**config.get("loss", {})), "schedule": ScheduleConfig(**config.get("schedule", {}))}
    settings = configure(Config(train=usual, **parts), clips)
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, **config.get("model", {})))
    with contextlib.ExitStack() as stack:
        for part in broken:
            stack.enter_context(part)
        with contextlib.suppress(Collapsed):  # it is written all the same; its verdict is in metrics.json
            train(settings, clips, run)
    model, metrics, found = load(run), read_metrics(run), {}
    for kind, alone in (("cut out", False), ("network alone", True)):
        card = score_model(model, folders, run / kind, network_only=alone, cache=None)
        found[kind] = {column: value for column, value in card.mean.items() if column in COLUMNS}
    return {"figures": rounded(found), "verdict": metrics["verdict"], "steps": metrics["steps"]}


def run(args: argparse.Namespace) -> dict:
    folders, rows = scenes(args.work), {}
    for name, (config, broken) in variants().items():
        for seed in range(args.seeds if name == "the recipe" else 1):
            place, began = args.work / f"{name.replace(' ', '-')}-{seed}", time.monotonic()
            settings = {"scenes": SCENES, "minutes": args.minutes, "seed": seed, "variant": name}
            once = partial(trained, config, broken, folders, place, args.minutes, seed)
            rows[f"{name}, seed {seed}"] = found = cached(args.work, place.name, args.work, settings, once)
            print(f"{name}, seed {seed}: {found['figures']['cut out']} ({time.monotonic() - began:.0f} s)", flush=True)
    return {"scenes": SCENES, "minutes": args.minutes, "runs": rows}


def table(figures: dict) -> str:
    """The figures in Markdown; of both ways, and the trivial solutions that were found."""
    rows = []
    for name, found in figures["runs"].items():
        of = lambda column, found=found: " / ".join(
            f"{found['figures'][kind].get(column, np.nan):.{2 if column in ('iou', 'corner_px') else 1}f}"
            for kind in ("cut out", "network alone")
        )
        rows.append([name, found["steps"], *map(of, PAGE_COLUMNS), "; ".join(found["verdict"]) or "-"])
    return text_table(rows, ["variant", "steps", *PAGE_COLUMNS, "diagnosis"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, each variant (default: 3)")
    parser.add_argument("--seeds", type=int, default=2, help="of the recipe as it is (default: 2)")
    return on_a_page(parser, "recipe", run, table)


if __name__ == "__main__":
    sys.exit(main())
