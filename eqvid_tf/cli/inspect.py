"""`eqvid inspect`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from eqvid_tf.cli.terminal import add_cache, add_frames, add_overwrite, progress

if TYPE_CHECKING:
    from eqvid_tf.evaluation.clip_check import ClipReport

TEXT = "Say before any training whether a clip suits: its camera, what moves in it, how much of the background is seen."
EXAMPLE = "eqvid inspect walk.mp4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid inspect`."""
    add_overwrite(parser)
    add_cache(parser)
    add_frames(parser)
    parser.add_argument("clip", type=Path, metavar="CLIP", help="video, animated GIF, folder of images, or scene")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured here")


def run(args: argparse.Namespace) -> int:
    """Run `eqvid inspect`."""
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.data.output import check_output, write_text
    from eqvid_tf.evaluation.clip_check import check_clip

    if args.json:
        check_output(args.json, args.overwrite)
    report = check_clip(open_clip(args.clip, frames=args.frames, cache=args.cache), progress)
    print("\n".join(_lines(report)))
    if args.json:
        write_text(args.json, json.dumps(dataclasses.asdict(report), indent=1))
    return 0


def _lines(report: ClipReport) -> list[str]:
    """What was measured, one line each, then the verdict with its reasons."""
    height, width = report.size
    camera = {
        "still": "stands still",
        "sways": f"sways by up to {report.camera_pixels:.1f} pixels",
        "travels": "travels",
    }
    unsure = "" if report.camera_sure else ", as far as a plain background tells"
    return [
        f"{report.name}: {report.frames} frames of {width} x {height} at {report.fps:g}/s",
        f"camera      {camera[report.camera]}{unsure}",
        *(_lines_of_one_place(report) if report.camera != "travels" else ()),
        f"verdict     {report.verdict}{'' if report.reasons else ': expect a clean background and character.'}",
        *(f"            {reason}" for reason in report.reasons),
    ]


def _lines_of_one_place(report: ClipReport) -> list[str]:
    """What is measured only where the camera does not travel."""
    movers = (
        f"{report.movers}, usually {report.mover_area:.1%} of the frame, at most {report.largest_area:.1%}; "
        f"at the border in {report.at_border:.0%} of the frames"
    )
    return [
        f"movers      {movers if report.movers else 'none'}",
        f"background  {report.seen_often:.0%} shows in a fifth of the frames or more, {report.seen_ever:.0%} in some; "
        f"{report.restless:.0%} never keeps still",
        f"rest        {report.rest_seconds:.1f} s at the longest, {report.rest:.0%} of the clip",
        f"light       drifts by {report.drift:.1f} grey levels, flickers by {report.flicker:.1f}; "
        f"noise {report.noise:.1f}",
    ]
