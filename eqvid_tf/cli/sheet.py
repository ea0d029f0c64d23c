"""The option --sheet, which two commands take: a sprite sheet for a game engine."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LAYOUTS = ("hash", "array")


def add_sheet(parser: argparse._ActionsContainer) -> None:
    """Add --sheet, and how it is made."""
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="a sprite sheet, and FILE.json beside it: docs/exporting.md"
    )
    parser.add_argument(
        "--sheet-layout", choices=LAYOUTS, help="frames of FILE.json by name (hash, default), or a list"
    )
    parser.add_argument("--sheet-scale", type=float, metavar="S", help="size of the sheet's frames, up to 1 (default)")
    parser.add_argument("--power-of-two", action="store_true", help="sides of the sheet are powers of two")


def check_sheet(args: argparse.Namespace) -> None:
    """Raise a ValueError of one line where the sheet that is asked for cannot be written."""
    from eqvid_tf.data.output import check_output

    if args.sheet is None:
        if args.sheet_layout or args.sheet_scale is not None or args.power_of_two:
            raise ValueError("--sheet-layout, --sheet-scale and --power-of-two go with --sheet FILE.png; give it too.")
        return
    if args.sheet.suffix.lower() != ".png":
        raise ValueError(f"{args.sheet}: a sheet must end in .png; received {args.sheet.suffix!r}.")
    if args.sheet_scale is not None and not 0 < args.sheet_scale <= 1:
        raise ValueError(f"--sheet-scale must be above 0 and at most 1; received {args.sheet_scale:g}.")
    for path in (args.sheet, args.sheet.with_suffix(".json")):
        check_output(path, args.overwrite)


def write_animations(args: argparse.Namespace, animations: Mapping[str, Iterable[np.ndarray]], fps: float) -> str:
    """Write the sheet, and say what it is."""
    from eqvid_tf.exports.sprite_sheet import write_sheet

    layout, scale = args.sheet_layout or "hash", args.sheet_scale or 1.0
    height, width = write_sheet(args.sheet, animations, fps, layout=layout, scale=scale, power_of_two=args.power_of_two)
    return f"{args.sheet}: {width} x {height}, and {args.sheet.with_suffix('.json').name}"
