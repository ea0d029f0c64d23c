"""`eqvid demo`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from eqvid_tf.cli.terminal import add_overwrite, bar, quietly, say
from eqvid_tf.config import TrainConfig

TEXT = "Draw a scene, train on it, take it apart, render it anew, and measure all that."
EXAMPLE = "eqvid demo --output eqvid-demo"
OUTPUTS = {
    "sheet.png": "contact sheet: layers and renders beside the truth",
    "new.gif": "the clip, the character, a new video",
    "new.mp4": "the same, as a video",
    "model": "the trained model; model/1 is its SavedModel",
    "results/eqvid/demo": "background, masks, character, motion, shots",
    "scenes": "what was drawn, with its truth",
    "figures.json": "the figures above",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid demo`."""
    add_overwrite(parser)
    parser.add_argument("--output", type=Path, default=Path("eqvid-demo"), help="folder (default: eqvid-demo)")
    parser.add_argument("--minutes", type=float, default=2.5, help="of training (default: 2.5)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Run `eqvid demo`."""
    from eqvid_tf.data.output import new_folder
    from eqvid_tf.evaluation.scorecard import COLUMNS

    began, settings = time.monotonic(), TrainConfig(minutes=args.minutes, seed=args.seed)
    with new_folder(args.output, args.overwrite) as draft:
        with quietly():
            from eqvid_tf.evaluation.demo import demo
        with bar(settings) as progress_bar:
            figures = demo(draft, minutes=args.minutes, seed=args.seed, say=say, callbacks=[progress_bar])
    print(f"{'':10s}" + "".join(f"{column:>14s}" for column in COLUMNS))
    for name in ("eqvid", "scissors"):
        row = figures[f"{name}/demo"]
        print(f"{name:10s}" + "".join(f"{row[column]:14.3f}" if column in row else f"{'-':>14s}" for column in COLUMNS))
    for path, text in OUTPUTS.items():
        print(f"  {args.output / path}: {text}")
    print(f"done in {time.monotonic() - began:.0f} s")
    return 0
