"""`eqvid inspect`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqvid_tf.cli.terminal import add_cache, add_frames, add_overwrite, progress
from eqvid_tf.config import ModelConfig

if TYPE_CHECKING:
    from eqvid_tf.data.clips import Clip
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
        "--mosaic",
        type=float,
        default=ModelConfig.mosaic,
        metavar="N",
        help="as of eqvid train: frame areas that the background of a travelling camera may have",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write what was measured here, and a picture of each character into a folder beside it",
    )


def run(args: argparse.Namespace) -> int:
    """Run `eqvid inspect`: of each part on its own where the clip has hard cuts."""
    from eqvid_tf.camera.cuts import parts_between_cuts, split_at_cuts
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.data.output import check_output

    for place in (args.json, _folder(args.json)) if args.json else ():
        check_output(place, args.overwrite)
    clip = open_clip(args.clip, frames=args.frames, cache=args.cache)
    cuts = [first for first, _ in parts_between_cuts(clip)[1:]]
    if cuts:
        print(_line_of_cuts(clip, cuts))
    found = [_look(part, args.mosaic) for part in split_at_cuts([clip])]
    print("\n".join(line for report, movers in found for line in _lines(report, movers)))
    if args.json:
        _write(args.json, clip, cuts, found)
    return 0


def _look(clip: Clip, mosaic: float) -> tuple[ClipReport, Movers]:
    """What a clip without cuts shows, and its characters."""
    from eqvid_tf.camera.measure import Camera
    from eqvid_tf.camera.stabilization import StabilizedClip, stabilize
    from eqvid_tf.evaluation.clip_check import check_clip
    from eqvid_tf.evaluation.movers import Movers, find_movers

    report = check_clip(clip, progress, mosaic=mosaic)
    still = StabilizedClip(clip, Camera.still(clip.count)) if report.camera == "still" else None
    return report, find_movers(still or stabilize(clip, mosaic=mosaic)) if report.movers else Movers()


def _line_of_cuts(clip: Clip, cuts: Sequence[int]) -> str:
    """Where a clip has hard cuts, and what becomes of it."""
    where = ", ".join(str(clip.start + cut) for cut in cuts)
    return (
        f"{clip.name}: another scene begins at frame {where} (a hard cut); eqvid train takes each part as a clip of "
        "its own, named as below; a part alone is given by --frames A:B"
    )


def _folder(path: Path) -> Path:
    """The folder of the pictures beside a JSON file: its name without the suffix."""
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-characters")


def _write(path: Path, clip: Clip, cuts: Sequence[int], found: Sequence[tuple[ClipReport, Movers]]) -> None:
    """Write the report as JSON, and beside it a folder with a picture of each character, where it is no device.

    Where there are cuts, it has the report of each part.
    """
    from eqvid_tf.data.output import new_folder, write_text
    from eqvid_tf.data.writers import write_png

    entries = [_entry(report, movers) for report, movers in found]
    if any(movers.characters for _, movers in found) and (path.is_file() or not path.exists()):
        with new_folder(_folder(path), overwrite=True) as draft:
            for entry, (_, movers) in zip(entries, found):
                for listed, picture in zip(entry["characters"], movers.pictures):
                    name = f"{entry['name']}-{listed['number']}.png" if cuts else f"{listed['number']}.png"
                    write_png(draft / name, picture)
                    listed["picture"] = f"{_folder(path).name}/{name}"
    whole = {"name": clip.name, "frames": clip.count, "cuts": [clip.start + cut for cut in cuts], "parts": entries}
    write_text(path, json.dumps(whole if cuts else entries[0], indent=1))


def _entry(report: ClipReport, movers: Movers) -> dict[str, Any]:
    """What is written of a clip, or of a part of one."""
    listed = [dataclasses.asdict(character) for character in movers.characters]
    unowned = {"unowned": movers.unowned, "unowned_box": movers.unowned_box}
    return {**dataclasses.asdict(report), "characters": listed, **unowned}


def _lines(report: ClipReport, movers: Movers) -> list[str]:
    """What was measured, one line each, then the verdict with its reasons."""
    height, width = report.size
    camera = {
        "still": "stands still",
        "sways": f"sways by up to {report.camera_pixels:.1f} pixels",
        "travels": f"travels by up to {report.camera_pixels:.0f} pixels; parts of the background go astray by up to "
        f"{report.parallax.pixels:.1f}{f', {report.parallax.place}' if report.parallax.place else ''}",
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
        f"{movers.unowned:.1%} moves at times and is no character's{_within(movers.unowned_box)}"
        f"{': a clock, a caption, a screen, leaves' if movers.unowned_box else ''}",
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
