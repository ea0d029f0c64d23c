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
    from eqvid_tf.evaluation.movers import Mover, Movers

TEXT = (
    "Say before any training whether a clip suits: its camera, its characters, what is restless, how much of the "
    "background is seen."
)
EXAMPLE = "eqvid inspect walk.mp4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid inspect`."""
    add_overwrite(parser)
    add_cache(parser)
    add_frames(parser)
    parser.add_argument("clip", type=Path, metavar="CLIP", help="video, animated GIF, folder of images, or scene")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write what was measured here, and a picture of each character into a folder beside it",
    )


def run(args: argparse.Namespace) -> int:
    """Run `eqvid inspect`."""
    from eqvid_tf.camera.measure import Camera
    from eqvid_tf.camera.stabilization import StabilizedClip, stabilize
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.data.output import check_output
    from eqvid_tf.evaluation.clip_check import check_clip
    from eqvid_tf.evaluation.movers import Movers, find_movers

    for place in (args.json, _folder(args.json)) if args.json else ():
        check_output(place, args.overwrite)
    clip = open_clip(args.clip, frames=args.frames, cache=args.cache)
    report = check_clip(clip, progress)
    still = StabilizedClip(clip, Camera.still(clip.count)) if report.camera == "still" else None
    movers = find_movers(still or stabilize(clip)) if report.movers else Movers()
    print("\n".join(_lines(report, movers)))
    if args.json:
        _write(args.json, report, movers)
    return 0


def _folder(path: Path) -> Path:
    """The folder of the pictures beside a JSON file: its name without the suffix."""
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-characters")


def _write(path: Path, report: ClipReport, movers: Movers) -> None:
    """Write the report as JSON, and beside it a folder with a picture of each character, where it is no device."""
    from eqvid_tf.data.output import new_folder, write_text
    from eqvid_tf.data.writers import write_png

    listed = [dataclasses.asdict(character) for character in movers.characters]
    if listed and (path.is_file() or not path.exists()):
        with new_folder(_folder(path), overwrite=True) as draft:
            for entry, picture in zip(listed, movers.pictures):
                write_png(draft / f"{entry['number']}.png", picture)
                entry["picture"] = f"{_folder(path).name}/{entry['number']}.png"
    unowned = {"unowned": movers.unowned, "unowned_box": movers.unowned_box}
    write_text(path, json.dumps({**dataclasses.asdict(report), "characters": listed, **unowned}, indent=1))


def _lines(report: ClipReport, movers: Movers) -> list[str]:
    """What was measured, one line each, then the verdict with its reasons."""
    height, width = report.size
    camera = {
        "still": "stands still",
        "sways": f"sways by up to {report.camera_pixels:.1f} pixels",
        "travels": f"travels by up to {report.camera_pixels:.0f} pixels",
    }
    unsure = "" if report.camera_sure else ", as far as a plain background tells"
    return [
        f"{report.name}: {report.frames} frames of {width} x {height} at {report.fps:g}/s",
        *(f"reading     {remark}" for remark in report.remarks),
        f"camera      {camera[report.camera]}{unsure}",
        *(_lines_of_one_place(report, movers) if report.movers or report.camera != "travels" else ()),
        f"verdict     {report.verdict}{'' if report.reasons else ': expect a clean background and character.'}",
        *(f"            {reason}" for reason in report.reasons),
    ]


def _lines_of_one_place(report: ClipReport, movers: Movers) -> list[str]:
    """What is measured only where the camera does not travel."""
    regions = (
        f"{report.movers}, usually {report.mover_area:.1%} of the frame, at most {report.largest_area:.1%}; "
        f"at the border in {report.at_border:.0%} of the frames"
    )
    return [
        f"movers      {regions if report.movers else 'none'}",
        f"characters  {len(movers.characters) or 'none'}",
        *(_line_of(character) for character in movers.characters),
        f"background  {report.seen_often:.0%} shows in a fifth of the frames or more, {report.seen_ever:.0%} in some",
        f"restless    {report.restless:.1%} never keeps still{_within(report.restless_box)}; "
        f"{movers.unowned:.1%} moves at times and is no character's{_within(movers.unowned_box)}",
        f"rest        {report.rest_seconds:.1f} s at the longest, {report.rest:.0%} of the clip",
        f"light       drifts by {report.drift:.1f} grey levels, flickers by {report.flicker:.1f}; "
        f"noise {report.noise:.1f}",
    ]


def _line_of(one: Mover) -> str:
    """When, where and how large a character is seen."""
    when = f"frames {one.first} to {one.last}"
    return f"            {one.number}: {when}, {one.share:.1%} of the frame{_within(one.box)}"


def _within(box: tuple[int, int, int, int] | None) -> str:
    """A box (left, top, right, bottom) in words; nothing where there is none."""
    if box is None:
        return ""
    left, top, right, bottom = box
    return f", within {left}..{right} across and {top}..{bottom} down"
