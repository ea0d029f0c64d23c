"""`eqvid export`."""
from __future__ import annotations

import argparse

from eqvid_tf.models import model_folder, version_of
from eqvid_tf.terminal import quietly

TEXT = "Write or rewrite the SavedModel of a model folder."
EXAMPLE = "eqvid export runs/walk"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=model_folder, metavar="RUN")


def run(args: argparse.Namespace) -> int:
    with quietly():
        from eqvid_tf.export import export, load
    print(f"{export(load(args.run), args.run, max(1, version_of(args.run)))}: written")
    return 0
