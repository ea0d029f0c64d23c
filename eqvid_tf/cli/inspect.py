"""`eqvid inspect`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from eqvid_tf.cli.terminal import add_cache, add_frames, add_overwrite, progress

TEXT = "Say before any training whether a clip suits: its camera, what moves in it, how much of the background is seen."
EXAMPLE = "eqvid inspect walk.mp4"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_overwrite(parser)
    add_cache(parser)
    add_frames(parser)
    parser.add_argument("clip", type=Path, metavar="CLIP", help="video, animated GIF, folder of images, or scene")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured here")


def run(args: argparse.Namespace) -> int:
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.data.output import check_output, write_text
    from eqvid_tf.evaluation.clip_check import check_clip

    if args.json:
        check_output(args.json, args.overwrite)
    found = check_clip(open_clip(args.clip, frames=args.frames, cache=args.cache), progress)
    print("\n".join(lines(found)))
    if args.json:
        write_text(args.json, json.dumps(dataclasses.asdict(found), indent=1))
    return 0


def lines(found) -> list[str]:
    """What was found, a line for each thing and the verdict last."""
    said = [f"{found.name}: {found.frames} frames of {found.size[1]} x {found.size[0]} at {found.fps:g}/s"]
    camera = {
        "still": "stands still",
        "sways": f"sways by up to {found.camera_pixels:.1f} pixels",
        "travels": "travels",
    }
    said.append(
        f"camera      {camera[found.camera]}{'' if found.camera_sure else ', as far as a plain background tells'}"
    )
    if found.camera != "travels":
        said += [
            f"movers      {found.movers or 'none'}"
            + (
                f", usually {found.mover_area:.1%} of the frame, at most {found.largest_area:.1%}; at the "
                f"border in {found.at_border:.0%} of the frames"
                if found.movers
                else ""
            ),
            (
                f"background  {found.seen_often:.0%} shows in a fifth of the frames or more, {found.seen_ever:.0%} in some; "
                f"{found.restless:.0%} never keeps still"
            ),
            f"rest        {found.rest_seconds:.1f} s at the longest, {found.rest:.0%} of the clip",
            f"light       drifts by {found.drift:.1f} grey levels, flickers by {found.flicker:.1f}; noise {found.noise:.1f}",
        ]
    said.append(
        f"verdict     {found.verdict}" + ("" if found.reasons else ": expect a clean background and character.")
    )
    return said + [f"            {reason}" for reason in found.reasons]
