"""`eqvid cast`: the characters of a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqvid_tf.model_folder import find_model_folder

if TYPE_CHECKING:
    from eqvid_tf.separation.cast import Cast

TEXT = (
    "Say which characters a model has, name them, join or drop them. N is a character's number, where several clips "
    "have one of that number CLIP:N, or its name. Edits are made in the order in which they are written."
)
EXAMPLE = "eqvid cast runs/yard --name 0=dancer --merge dancer,2 --drop 3 --show"


class _Edit(argparse.Action):
    """Collects the edits in args.edits, in their order: (Cast's method, what it is given)."""

    def __call__(self, parser: Any, args: Any, value: Any, option: Any = None) -> None:
        args.edits = [*args.edits, (self.dest, value)]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid cast`."""
    parser.add_argument("run", type=find_model_folder, metavar="RUN")
    for flag, method, metavar, kind, text in (
        ("--name", "rename", "N=NAME", _renaming, "give it a name; two of different clips with one name are one"),
        (
            "--merge",
            "merge",
            "N,N[,N...]",
            _several,
            "join those of a clip, the lowest number stays; give others one name",
        ),
        ("--split", "split", "N", _one, "undo the merges and the drop of a character"),
        ("--drop", "drop", "N", _one, "leave it out of every command: what it covers is restless background"),
    ):
        options: dict[str, Any] = {"metavar": metavar, "type": kind, "default": argparse.SUPPRESS, "help": text}
        parser.add_argument(flag, dest=method, action=_Edit, **options)
    parser.add_argument("--show", action="store_true", help="list the characters (the default without an edit)")
    parser.set_defaults(edits=[])


def _renaming(text: str) -> list[str]:
    who, equals, name = text.rpartition("=")
    if not equals or not who:
        raise argparse.ArgumentTypeError(f"expected N=NAME, as in 0=dancer; received {text!r}")
    return [who, name]


def _several(text: str) -> list[str]:
    return text.split(",")


def _one(text: str) -> list[str]:
    return [text]


def run(args: argparse.Namespace) -> int:
    """Run `eqvid cast`."""
    from eqvid_tf.cli.terminal import quietly
    from eqvid_tf.data.output import check_output
    from eqvid_tf.model_folder import read_config, rename_characters
    from eqvid_tf.separation.cast import Cast, CastError

    read_config(args.run)
    if args.edits:
        check_output(args.run, overwrite=True, inside=True)
    cast = Cast.read(args.run)
    if not cast.characters:
        raise CastError(f"{args.run}: has no cast.json, it was written before there was one; eqvid train writes it")
    for method, values in args.edits:
        cast = getattr(cast, method)(*values)
    if args.edits:
        with quietly():
            rename_characters(args.run, cast.name_numbers())
        cast.write(args.run)
        print(f"{args.run / 'cast.json'}: {', '.join(cast.names())}")
    if args.show or not args.edits:
        print(_table(cast, args.run))
    return 0


def _table(cast: Cast, folder: Path) -> str:
    """The characters, a line each: number, name, when and where they are seen, how large, picture."""
    from eqvid_tf.pixels.sheets import text_table

    rows = []
    for entry in cast.characters:
        state = "dropped" if entry.dropped else "" if entry.active else f"joined to {entry.merged_into}"
        when = "never" if entry.first is None else f"{entry.first} to {entry.last}"
        name, box = state or entry.name, ", ".join(map(str, entry.box))
        rows.append((entry.clip, entry.number, name, when, box, f"{entry.share:.1%}", str(folder / entry.picture)))
    return text_table(rows, ["clip", "number", "name", "frames", "box", "share", "picture"])
