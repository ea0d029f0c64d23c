"""`eqvid separate`."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from eqvid_tf.cli.sheet import add_sheet, check_sheet, write_animations
from eqvid_tf.cli.terminal import (
    add_cache,
    add_frames,
    add_network_only,
    add_of,
    add_overwrite,
    opened,
    progress,
    quietly,
    say,
)
from eqvid_tf.model_folder import find_model_folder

if TYPE_CHECKING:
    from eqvid_tf.data.clips import Clip
    from eqvid_tf.data.sound import Sound
    from eqvid_tf.exports.layer_folder import LayerFolder
    from eqvid_tf.separation.characters import ClipCharacters

TEXT = "Take a clip apart: its background, and of each character masks, cut-outs and motion."
EXAMPLE = "eqvid separate runs/walk walk.mp4 --output layers"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid separate`."""
    add_overwrite(parser)
    add_cache(parser)
    add_frames(parser)
    add_network_only(parser)
    add_of(parser)
    parser.add_argument(
        "--plates",
        action="store_true",
        help="also the background alone as each frame sees it, in plates/, and the camera's motion, camera.json",
    )
    parser.add_argument("run", type=find_model_folder, metavar="RUN")
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the layers as pictures: docs/formats.md")
    others = parser.add_argument_group("for other programs, beside --output or instead of it")
    others.add_argument("--video", type=Path, metavar="DIR", help="character.webm, mask.mp4 and plate.mp4")
    others.add_argument(
        "--alpha", choices=["webm", "mov"], help="kind of --video's character: VP9 (default), or ProRes 4444"
    )
    add_sheet(others)


def run(args: argparse.Namespace) -> int:
    """Run `eqvid separate`."""
    from eqvid_tf.exports.layer_folder import LayerFolder

    _check(args)
    with contextlib.ExitStack() as place:
        folder = args.output or Path(place.enter_context(tempfile.TemporaryDirectory(prefix="eqvid-"))) / "layers"
        clip = opened(args.clip, args.frames, args.cache)
        sound = _sound_of(args, clip) if args.video else None
        characters = _separate(args, clip, folder)
        if args.output:
            print(_said(args, characters))
        times = None if clip.own_times is None else clip.own_times.tolist()
        layers = LayerFolder(folder, clip.fps, times=times, sound=sound)
        if args.video:
            _write_videos(args, layers)
        if args.sheet:
            print(write_animations(args, {name: layers.cut_outs(n) for n, name in layers.names.items()}, clip.fps))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise a ValueError of one line for what cannot be written, before anything takes long."""
    from eqvid_tf.data.output import OutputError, check_output

    folders = [path for path in (args.output, args.video) if path]
    if not folders and not args.sheet:
        raise ValueError(
            "nothing is asked for; give --output DIR, --video DIR or --sheet FILE.png, or several of them."
        )
    if args.plates and args.of is not None:
        raise ValueError("--plates shows the background without any character; leave out --of.")
    if args.plates and not args.output:
        raise ValueError("--plates is a part of --output; give that too. --video has a plate.mp4 anyway.")
    if args.alpha and not args.video:
        raise ValueError("--alpha is of --video DIR; give that too.")
    for path in folders:
        check_output(path, args.overwrite)
    if len({path.resolve() for path in folders}) < len(folders):
        raise OutputError(
            f"{args.video}: is --output, too. Choose another place for the videos, such as one inside it."
        )
    check_sheet(args)


def _separate(args: argparse.Namespace, clip: Clip, folder: Path) -> ClipCharacters:
    """Write the layers of the clip into a folder."""
    from eqvid_tf.data.output import new_folder

    with new_folder(folder, args.overwrite, keep=[args.run, args.clip]) as draft:
        with quietly():
            from eqvid_tf.model_folder import load
            from eqvid_tf.separation.cast import Cast
            from eqvid_tf.separation.characters import ClipCharacters
            from eqvid_tf.separation.folder import write_layers
        options = {"cast": Cast.read(args.run), "network_only": args.network_only, "progress": progress}
        characters = ClipCharacters(load(args.run), clip, **options)
        if args.of is not None:
            characters.keep(args.of)
        write_layers(characters, draft, plates=args.plates or (bool(args.video) and args.of is None))
    return characters


def _sound_of(args: argparse.Namespace, clip: Clip) -> Sound | None:
    """The sound of a clip that its videos have; a line says where it is left out."""
    from eqvid_tf.data.writers import check_kind

    sound = clip.sound
    try:
        check_kind(args.video / "plate.mp4", sound=sound)
    except ValueError as error:
        say(f"{clip.name}: its sound is left out: {error}")
        return None
    if sound and args.alpha != "mov":
        say(f"{clip.name}: its sound is left out of character.webm; --alpha mov has it")
    return sound


def _said(args: argparse.Namespace, characters: ClipCharacters) -> str:
    """The line on what --output holds."""
    without = "no motion.json: the model was trained with the 'known' estimator, and the clip has none"
    motion = "motion.json" if (args.output / "motion.json").is_file() else without
    count, frames = len(characters.layers), characters.clip.count
    found = "1 character" if count == 1 else f"{count} characters"
    plates = "; plates and camera.json" if (args.output / "plates").is_dir() else ""
    return f"{args.output}: {found}; background.png, {frames} masks and characters, {motion}{plates}"


def _write_videos(args: argparse.Namespace, layers: LayerFolder) -> None:
    from eqvid_tf.data.output import new_folder
    from eqvid_tf.exports.layer_videos import write_layer_videos

    with new_folder(args.video, args.overwrite, keep=[args.run, args.clip]) as draft:
        written = [
            path.relative_to(draft).as_posix() for path in write_layer_videos(layers, draft, f".{args.alpha or 'webm'}")
        ]
    print(f"{args.video}: {', '.join(written)} at {layers.fps:g}/s")
