"""`eqvid render`: shots, each a picture; or a video: a motion of the catalog, a clip without some, a scene file."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqvid_tf.cli.motion import catalog_folders
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
    import numpy as np

    from eqvid_tf.data.clips import Clip
    from eqvid_tf.data.sound import Sound
    from eqvid_tf.motions.template import Template
    from eqvid_tf.rendering.videos import MovingBackground
    from eqvid_tf.separation.layers import ClipLayers

TEXT = (
    "Draw shots: a character, a background and a motion each. Or a video: a character plays a motion on a background, "
    "a clip is drawn without some of its characters, or a scene file is drawn."
)
EXAMPLE = (
    "eqvid render runs/walk --shots shots.json --output pictures; or: "
    "eqvid render runs/walk --character walk.mp4 --background park.jpg --motion jump --play --output jump.mp4"
)
VIDEO = (
    "character",
    "background",
    "motion",
    "at",
    "zoom",
    "of",
    "pose",
    "play",
    "transparent",
    "catalog",
    "camera",
    "sheet",
)
LOTTIE = ".json"  # the suffix of an --output that is a Lottie file
REMOVAL = ("clip", "remove")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid render`."""
    parser._negative_number_matcher = re.compile(r"-\.?\d")  # a value may start so, as in --at -0.5,0.2: no option does
    add_overwrite(parser)
    add_cache(parser)
    add_network_only(parser)
    parser.add_argument("run", type=find_model_folder, metavar="RUN")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="a folder for shots; for a video .mp4, .mov, .mkv, .webm, .gif, .webp, .apng, a folder of PNG frames, or "
        ".json, a Lottie file",
    )
    parser.add_argument("--shots", type=Path, metavar="FILE", help="JSON list of shots; see docs/formats.md")
    parser.add_argument("--scene", type=Path, metavar="FILE", help="scene file; see docs/formats.md")
    parser.add_argument("--shadow", action="store_true", help="with --shots: each character with the shadow it casts")
    _video_arguments(parser.add_argument_group("a video"))
    removal = parser.add_argument_group("a clip without some of its characters")
    removal.add_argument("--clip", type=Path, metavar="CLIP", help="clip that is drawn again")
    removal.add_argument("--audio", action="store_true", help="keep the clip's sound; .mp4, .mov and .mkv hold it")
    removal.add_argument("--remove", metavar="N[,N...]", help="numbers or names of the characters that are left out")
    add_frames(parser)


def _video_arguments(video: argparse._ArgumentGroup) -> None:
    video.add_argument("--character", type=Path, metavar="CLIP", help="clip that the character is cut out of")
    video.add_argument(
        "--background", type=Path, metavar="CLIP_OR_IMAGE", help="clip without its character, or picture as it is"
    )
    video.add_argument("--motion", metavar="NAME_OR_FILE", help="motion of the catalog, or the path of its .json file")
    video.add_argument(
        "--at",
        type=_point,
        metavar="X,Y",
        help="where the character's centre starts; the frame's edges are -1 and 1 (default: as in its own clip)",
    )
    video.add_argument(
        "--zoom", type=float, metavar="Z", help="size of the character by that in its own clip (default: 1)"
    )
    add_of(video)
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
    video.add_argument(
        "--camera",
        metavar="keep|still|FILE",
        help="of --background: as it was filmed, still (default), or along the steps of a camera.json",
    )
    add_sheet(video)
    video.add_argument("--catalog", type=Path, metavar="DIR", help="folder of motions (default: motions/ in RUN)")


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected X,Y, as in 0.5,-0.2; received {text!r}") from None
    return x, y


def run(args: argparse.Namespace) -> int:
    """Run `eqvid render`."""
    given, removal = (
        [f"--{name}" for name in names if getattr(args, name) not in (None, False)] for names in (VIDEO, REMOVAL)
    )
    other = [*given, *removal, *(["--frames"] if args.frames else [])]
    if args.scene:
        return _run_scene(args, [flag for flag in other if flag != "--catalog"])
    if args.shots and other:
        raise ValueError(f"--shots draws pictures and goes without {', '.join(other)}; leave one or the other out.")
    if args.shadow and not args.shots:
        raise ValueError("--shadow goes with --shots; leave it out.")
    check_sheet(args)
    if not args.output and not args.sheet:
        raise ValueError("there is no place to write to; give --output PATH, or for a video --sheet FILE.png.")
    if args.output and args.sheet:
        raise ValueError("--sheet is instead of --output; leave one of them out.")
    if args.shots:
        return _run_shots(args)
    if args.audio and not removal:
        raise ValueError(
            "--audio keeps the sound of a clip drawn with --clip and --remove; others have a time of their own."
        )
    if removal:
        return _run_removal(args, given, removal)
    needed = ["--character", "--motion"] + ([] if args.transparent else ["--background"])
    if missing := [name for name in needed if name not in given]:
        raise ValueError(f"a video needs {', '.join(missing)} too; pictures need --shots.")
    if not args.transparent and (args.sheet or _is_lottie(args.output)):
        raise ValueError(f"{args.sheet or args.output}: holds a character on nothing; give --transparent too.")
    return _run_video(args)


def _run_shots(args: argparse.Namespace) -> int:
    from eqvid_tf.data.output import check_output, new_folder

    check_output(args.output, args.overwrite)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.rendering.shots import read_shots, render_shots
        from eqvid_tf.separation.cast import Cast
    shots = read_shots(args.shots)
    used = [frame for shot in shots for frame in shot.frames]
    with new_folder(args.output, args.overwrite, keep=[args.run, args.shots, *used]) as draft:
        options = {"network_only": args.network_only, "shadow": args.shadow, "cache": args.cache}
        render_shots(load(args.run), args.shots, draft, cast=Cast.read(args.run), **options, progress=progress)
    print(f"{args.output}: {len(shots)} pictures")
    return 0


def _run_scene(args: argparse.Namespace, other: list[str]) -> int:
    flags = ("shots", "shadow", "audio", "network_only")
    other = [*other, *(f"--{flag.replace('_', '-')}" for flag in flags if getattr(args, flag))]
    if other:
        raise ValueError(f"--scene says all that is drawn and goes without {', '.join(other)}; leave that out.")
    if not args.output:
        raise ValueError("there is no place to write to; give --output PATH.")
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.rendering.scene import read_scene, scene_frames
        from eqvid_tf.rendering.shots import FrameFinder
        from eqvid_tf.separation.cast import Cast
    scene = read_scene(args.scene, catalog_folders(args))
    args.transparent = scene.background is None
    _check_place(args, [args.scene, *scene.sources])
    finder = FrameFinder(load(args.run), cast=Cast.read(args.run), cache=args.cache, progress=progress)
    frames = scene_frames(finder.model, scene, finder=finder)
    _write(args, progress(frames, "drawing", scene.frames), scene.rate, [args.scene, *scene.sources])
    print(f"{args.output}: {args.scene.name}; {scene.frames} frames at {scene.rate:g}/s")
    return 0


def _run_removal(args: argparse.Namespace, given: list[str], removal: list[str]) -> int:
    if given or len(removal) < len(REMOVAL):
        needed = " and ".join(f"--{name}" for name in REMOVAL)
        raise ValueError(f"{needed} go together, and without {', '.join(given) or 'anything else'}.")
    _check_place(args, [args.clip])
    clip = opened(args.clip, args.frames, args.cache)
    sound = _sound_of(args, clip)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.rendering.shots import FrameFinder, without
        from eqvid_tf.separation.cast import Cast
        from eqvid_tf.separation.characters import ClipCharacters
    cast = Cast.read(args.run)
    finder = FrameFinder(load(args.run), cast=cast, network_only=args.network_only, cache=args.cache)
    characters = ClipCharacters(finder.model, clip, cast=cast, network_only=args.network_only, progress=progress)
    gone = sorted({characters.number(who) for who in args.remove.split(",")})
    filmed = enumerate(characters.clip.filmed.native())
    frames = (without(finder, characters, index, frame, gone) for index, frame in filmed)
    video = {"times": clip.own_times, "sound": sound}
    _write(args, progress(frames, "drawing", clip.count), clip.fps, [args.clip], **video)
    names = ", ".join(characters.names[number] for number in gone)
    print(f"{args.output}: {clip.name} without {names}; {clip.count} frames at {clip.fps:g}/s")
    return 0


def _run_video(args: argparse.Namespace) -> int:
    from eqvid_tf.motions.catalog import find

    template = find(args.motion, catalog_folders(args))
    sources = [path for path in (args.character, args.background, args.catalog) if path]
    _check_place(args, sources)
    clip = opened(args.character, args.frames, args.cache)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.rendering.videos import check_play
        from eqvid_tf.rendering.walk_cycle import best_pose
        from eqvid_tf.separation.cast import Cast
        from eqvid_tf.separation.characters import ClipCharacters
    model, zoom, count = load(args.run), 1.0 if args.zoom is None else args.zoom, len(template.steps) + 1
    options = {"cast": Cast.read(args.run), "network_only": args.network_only, "progress": progress}
    layers_of = lambda clip, of=None: ClipCharacters(model, clip, **options).numbered(of)
    character, place = layers_of(clip, args.of), {"at": args.at, "zoom": zoom, "playing": args.play}
    check_play(character, **place, pose=args.pose, transparent=args.transparent)
    backdrop = _backdrop(args, character, layers_of)
    pose = best_pose(character) if not args.play and args.pose is None else args.pose
    place |= {"size": backdrop.size, "pose": pose, "progress": progress}
    _say_silent(clip, "the video plays the motion's time")
    _write_video(args, character, template, backdrop, place, sources)
    how = "with its own walk cycle" if args.play else f"in the pose of frame {pose}"
    height, width = backdrop.size
    print(
        f"{args.output or args.sheet}: {clip.name} {how} plays {template.name}; {count} frames of {width} x {height} "
        f"at {template.fps:g}/s"
    )
    return 0


def _write_video(
    args: argparse.Namespace,
    character: ClipLayers,
    template: Template,
    backdrop: _Backdrop,
    place: dict[str, Any],
    sources: list[Path],
) -> None:
    """Write the video as what is asked for: a Lottie file, a sprite sheet, or frames."""
    from eqvid_tf.exports.lottie import write_lottie
    from eqvid_tf.rendering.videos import perform, play

    if args.output and _is_lottie(args.output):
        write_lottie(args.output, perform(character, template, **place), template.name)
        return
    count = len(template.steps) + 1
    background = backdrop.moving(args.camera, count, template.fps) or backdrop.picture
    frames = progress(play(character, template, background, **place), "drawing", count)
    if args.sheet:
        write_animations(args, {template.name: frames}, template.fps)
    else:
        _write(args, frames, template.fps, sources)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Backdrop:
    """The background as a picture [H, W, 3], None where transparent; the size of the frames; its clip's layers."""

    picture: np.ndarray | None
    size: tuple[int, int]
    layers: ClipLayers | None = None

    def moving(self, camera: str | None, count: int, fps: float) -> MovingBackground | None:
        """The background of `count` pictures under a camera as --camera says; None where that stands still."""
        from eqvid_tf.data.clips import read_camera_steps
        from eqvid_tf.rendering.videos import MovingBackground

        if camera in (None, "still"):
            return None
        if self.layers is None:
            raise ValueError("--camera moves over the background of a clip; give one as --background.")
        if camera == "keep":
            return MovingBackground.as_filmed(self.layers, count, self.layers.clip.fps / fps)
        return MovingBackground.along(self.layers, read_camera_steps(Path(camera)), count)


def _backdrop(args: argparse.Namespace, character: ClipLayers, layers_of: Callable[[Clip], ClipLayers]) -> _Backdrop:
    """What --background asks for: a picture as it is, or a clip without its character.

    The networks alone (--network-only) see a frame of that clip.
    """
    from eqvid_tf.data.images import read_image

    path = args.background
    if path is None:
        return _Backdrop(picture=None, size=character.filmed.size)
    if is_still(path):
        picture = read_image(path)
        return _Backdrop(picture=None if args.transparent else picture, size=picture.shape[:2])
    same = args.frames is None and path.resolve() == args.character.resolve()
    layers = character if same else layers_of(opened(path, None, args.cache))
    size, view = layers.filmed.size, layers.clip.camera.reference
    if args.transparent:
        return _Backdrop(picture=None, size=size)
    picture = layers.clip.at(0) if args.network_only else layers.background
    return _Backdrop(picture=layers.clip.colours_as_filmed(picture, view), size=size, layers=layers)


def is_still(path: Path) -> bool:
    """Whether a path is a picture that does not move."""
    from eqvid_tf.data.images import open_image
    from eqvid_tf.data.readers import IMAGES

    if not path.is_file() or path.suffix.lower() not in IMAGES:
        return False
    with open_image(path) as image:
        return getattr(image, "n_frames", 1) == 1


def _is_lottie(path: Path) -> bool:
    return path.suffix.lower() == LOTTIE


def _is_folder(path: Path) -> bool:
    return path.is_dir() or not path.suffix


def _check_place(args: argparse.Namespace, sources: list[Path]) -> None:
    """Raise a ValueError of one line where the video, made from `sources`, cannot be written there."""
    from eqvid_tf.data.output import OutputError, check_output
    from eqvid_tf.data.writers import check_kind

    if args.sheet:
        return
    check_output(args.output, args.overwrite)
    if _is_folder(args.output):
        return
    if not (args.character and _is_lottie(args.output)):
        check_kind(args.output, transparent=args.transparent)
    if args.output.resolve() in (path.resolve() for path in sources):
        raise OutputError(f"{args.output}: the video is made from this file. Choose another place.")


def _sound_of(args: argparse.Namespace, clip: Clip) -> Sound | None:
    """What --audio keeps of a clip's sound, checked; a line says where it is left out."""
    from eqvid_tf.data.sound import SoundError
    from eqvid_tf.data.writers import check_kind

    if not args.audio:
        _say_silent(clip, "--audio keeps it")
        return None
    if (sound := clip.sound) is None:
        raise SoundError(f"{clip.path}: there is no sound in this clip. Leave out --audio.")
    if _is_folder(args.output):
        raise SoundError(f"{args.output}: a folder of frames holds no sound. Write .mp4, .mov or .mkv.")
    check_kind(args.output, sound=sound)
    return sound


def _say_silent(clip: Clip, why: str) -> None:
    """Say that a clip's sound is left out, where it has any."""
    if clip.sound:
        say(f"{clip.name}: its sound is left out: {why}")


def _write(
    args: argparse.Namespace, frames: Iterable[np.ndarray], fps: float, sources: list[Path], **video: Any
) -> None:
    """Write the frames as a video, with what else `write_video` takes, or as PNG files in a folder."""
    from eqvid_tf.data.output import new_folder
    from eqvid_tf.data.writers import write_png, write_video

    if not _is_folder(args.output):
        write_video(args.output, frames, fps, **video)
        return
    with new_folder(args.output, args.overwrite, keep=[args.run, *sources]) as draft:
        for index, frame in enumerate(frames):
            write_png(draft / f"{index:05d}.png", frame)
