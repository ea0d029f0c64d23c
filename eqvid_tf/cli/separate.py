"""`eqvid separate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from eqvid_tf.cli.terminal import (
    add_cache,
    add_frames,
    add_network_only,
    add_of,
    add_overwrite,
    opened,
    progress,
    quietly,
)
from eqvid_tf.model_folder import find_model_folder

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
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Run `eqvid separate`."""
    from eqvid_tf.data.output import new_folder

    if args.plates and args.of is not None:
        raise ValueError("--plates shows the background without any character; leave out --of.")
    with new_folder(args.output, args.overwrite, keep=[args.run, args.clip]) as draft:
        clip = opened(args.clip, args.frames, args.cache)
        with quietly():
            from eqvid_tf.model_folder import load
            from eqvid_tf.separation.cast import Cast
            from eqvid_tf.separation.characters import ClipCharacters
            from eqvid_tf.separation.folder import write_layers
        options = {"cast": Cast.read(args.run), "network_only": args.network_only, "progress": progress}
        characters = ClipCharacters(load(args.run), clip, **options)
        if args.of is not None:
            characters.keep(args.of)
        write_layers(characters, draft, plates=args.plates)
    without = "no motion.json: the model was trained with the 'known' estimator, and the clip has none"
    motion = "motion.json" if (args.output / "motion.json").is_file() else without
    count = len(characters.layers)
    found = "1 character" if count == 1 else f"{count} characters"
    plates = "; plates and camera.json" if args.plates else ""
    print(f"{args.output}: {found}; background.png, {clip.count} masks and characters, {motion}{plates}")
    return 0
