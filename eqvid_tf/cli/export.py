"""`eqvid export`."""

from __future__ import annotations

import argparse

from eqvid_tf.cli.terminal import quietly
from eqvid_tf.model_folder import find_model_folder, version_of

TEXT = "Write or rewrite the SavedModel of a model folder."
EXAMPLE = "eqvid export runs/walk"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid export`."""
    parser.add_argument("run", type=find_model_folder, metavar="RUN")


def run(args: argparse.Namespace) -> int:
    """Run `eqvid export`."""
    from eqvid_tf.data.output import check_output

    check_output(args.run, overwrite=True, inside=True)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.serving.saved_model import export
    print(f"{export(load(args.run), args.run, max(1, version_of(args.run)))}: written")
    return 0
