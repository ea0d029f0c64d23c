"""`eqvid render`: shots, each a picture; or a video, in which a character plays a motion of the catalog."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from eqvid_tf.cli.motion import folders
from eqvid_tf.cli.terminal import add_cache, add_frames, add_network_only, add_overwrite, progress, quietly
from eqvid_tf.model_folder import find_model_folder

if TYPE_CHECKING:
    import numpy as np

    from eqvid_tf.separation.layers import ClipLayers

TEXT = (
    "Draw shots: a character, a background and a motion each. Or a video: a character plays a motion on a background."
)
EXAMPLE = (
    "eqvid render runs/walk --shots shots.json --output pictures; or: "
    "eqvid render runs/walk --character walk.mp4 --background park.jpg --motion jump --play --output jump.mp4"
)
VIDEO = ("character", "background", "motion", "at", "zoom", "pose", "play", "transparent", "frames", "catalog")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser._negative_number_matcher = re.compile(r"-\.?\d")  # a value may start so, as in --at -0.5,0.2: no option does
    add_overwrite(parser)
    add_cache(parser)
    add_network_only(parser)
    parser.add_argument("run", type=find_model_folder, metavar="RUN")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="PATH",
        help="a folder for shots; for a video .mp4, .mov, .mkv, .gif, .webp, .apng, or a folder of PNG frames",
    )
    parser.add_argument("--shots", type=Path, metavar="FILE", help="JSON list of shots; see docs/formats.md")
    video = parser.add_argument_group("a video")
    video.add_argument("--character", type=Path, metavar="CLIP", help="clip that the character is cut out of")
    video.add_argument(
        "--background", type=Path, metavar="CLIP_OR_IMAGE", help="clip without its character, or picture as it is"
    )
    video.add_argument("--motion", metavar="NAME_OR_FILE", help="motion of the catalog, or the path of its .json file")
    video.add_argument(
        "--at",
        type=point,
        metavar="X,Y",
        help="where the character's centre starts; the frame's edges are -1 and 1 (default: as in its own clip)",
    )
    video.add_argument(
        "--zoom", type=float, metavar="Z", help="size of the character by that in its own clip (default: 1)"
    )
    how = video.add_mutually_exclusive_group()
    how.add_argument(
        "--pose", type=int, metavar="N", help="frame that it is frozen in (default: the one that shows it best)"
    )
    how.add_argument("--play", action="store_true", help="it goes on walking as in its clip, its own motion taken out")
    video.add_argument(
        "--transparent",
        action="store_true",
        help="no background; --background, where given, says how large the frames are",
    )
    video.add_argument("--catalog", type=Path, metavar="DIR", help="folder of motions (default: motions/ in RUN)")
    add_frames(parser)


def point(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected X,Y, as in 0.5,-0.2; received {text!r}") from None
    return x, y


def run(args: argparse.Namespace) -> int:
    given = [f"--{name}" for name in VIDEO if getattr(args, name) not in (None, False)]
    if args.shots and given:
        raise ValueError(f"--shots draws pictures and goes without {', '.join(given)}; leave one or the other out.")
    if args.shots:
        return run_shots(args)
    needed = ["--character", "--motion"] + ([] if args.transparent else ["--background"])
    if missing := [name for name in needed if name not in given]:
        raise ValueError(f"a video needs {', '.join(missing)} too; pictures need --shots.")
    return run_video(args)


def run_shots(args: argparse.Namespace) -> int:
    from eqvid_tf.data.output import check_output, new_folder

    check_output(args.output, args.overwrite)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.rendering.shots import read_shots, render_shots
    shots = read_shots(args.shots)
    used = [frame for shot in shots for frame in shot.frames]
    with new_folder(args.output, args.overwrite, keep=[args.run, args.shots, *used]) as draft:
        render_shots(
            load(args.run), args.shots, draft, network_only=args.network_only, cache=args.cache, progress=progress
        )
    print(f"{args.output}: {len(shots)} pictures")
    return 0


def run_video(args: argparse.Namespace) -> int:
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.motions.catalog import find

    template = find(args.motion, folders(args))
    check_place(args)
    clip = open_clip(args.character, frames=args.frames, cache=args.cache)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.rendering.videos import check_play, play
        from eqvid_tf.rendering.walk_cycle import best_pose
        from eqvid_tf.separation.layers import ClipLayers
    opened = lambda clip: ClipLayers(model, clip, network_only=args.network_only, progress=progress)
    model, zoom = load(args.run), 1.0 if args.zoom is None else args.zoom
    character, options = opened(clip), {"at": args.at, "zoom": zoom, "pose": args.pose, "playing": args.play}
    check_play(character, **options, transparent=args.transparent)
    background, size = backdrop(args, character, opened)
    if not args.play and args.pose is None:
        options["pose"] = best_pose(character)
    frames = play(character, template, background, size=size, **options, progress=progress)
    write(args, progress(frames, "drawing", len(template.steps) + 1), template.fps)
    shown = "with its own walk cycle" if args.play else f"in the pose of frame {options['pose']}"
    print(
        f"{args.output}: {clip.name} {shown} plays {template.name}; {len(template.steps) + 1} frames of "
        f"{size[1]} x {size[0]} at {template.fps:g}/s"
    )
    return 0


def backdrop(
    args: argparse.Namespace, character: ClipLayers, opened: Callable
) -> tuple[np.ndarray | None, tuple[int, int]]:
    """The background as a picture, None for a transparent video, and the size of the frames.

    A picture is taken as it is, a clip without its character. The networks alone (--network-only) see one of its frames.
    """
    from eqvid_tf.data.clips import open_clip, read_image
    from eqvid_tf.data.images import open_image
    from eqvid_tf.data.readers import IMAGES

    if args.background is None:
        return None, character.clip.size
    path, picture = args.background, False
    if path.is_file() and path.suffix.lower() in IMAGES:
        with open_image(path) as image:
            picture = getattr(image, "n_frames", 1) == 1
    if picture:
        background = read_image(path)
        return None if args.transparent else background, background.shape[:2]
    same = args.frames is None and path.resolve() == args.character.resolve()
    layers = character if same else opened(open_clip(path, cache=args.cache))
    if args.transparent:
        return None, layers.clip.size
    return layers.clip.at(0) if args.network_only else layers.background, layers.clip.size


def is_folder(path: Path) -> bool:
    return path.is_dir() or not path.suffix


def check_place(args: argparse.Namespace) -> None:
    """Raise a ValueError of one line where the video cannot be written there."""
    from eqvid_tf.data.output import OutputError, check_output
    from eqvid_tf.data.writers import check_kind

    check_output(args.output, args.overwrite)
    if is_folder(args.output):
        return
    check_kind(args.output, transparent=args.transparent)
    if args.output.resolve() in (path.resolve() for path in (args.character, args.background) if path):
        raise OutputError(f"{args.output}: the video is made from this file. Choose another place.")


def write(args: argparse.Namespace, frames: Iterable[np.ndarray], fps: float) -> None:
    """The frames as a video, or as PNG files in a folder."""
    from eqvid_tf.data.output import new_folder
    from eqvid_tf.data.writers import write_png, write_video

    if not is_folder(args.output):
        write_video(args.output, frames, fps)
        return
    used = [path for path in (args.run, args.character, args.background, args.catalog) if path]
    with new_folder(args.output, args.overwrite, keep=used) as draft:
        for index, frame in enumerate(frames):
            write_png(draft / f"{index:05d}.png", frame)
