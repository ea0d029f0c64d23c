"""`eqvid export`: the SavedModel of a model folder, or a clip's layers as one page."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from eqvid_tf.cli.render import is_still
from eqvid_tf.cli.terminal import add_cache, add_frames, add_overwrite, progress, quietly
from eqvid_tf.model_folder import find_model_folder, read_config, version_of

if TYPE_CHECKING:
    import numpy as np

    from eqvid_tf.core.model import EquivariantVideoModel

TEXT = "Write or rewrite the SavedModel of a model folder; or a scene as one page, to be dragged, turned and scaled."
EXAMPLE = "eqvid export runs/walk; or: eqvid export runs/walk --html scene.html --clip walk.mp4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid export`."""
    parser.add_argument("run", type=find_model_folder, metavar="RUN")
    page = parser.add_argument_group("a scene as one page")
    page.add_argument("--html", type=Path, metavar="FILE.html", help="the page; it needs no network")
    page.add_argument("--clip", type=Path, metavar="CLIP", help="the clip whose layers it plays, one that RUN knows")
    page.add_argument(
        "--background",
        type=Path,
        action="append",
        metavar="CLIP_OR_IMAGE",
        help="one more to choose from, several if given again; RUN's own are there as it remembers them",
    )
    add_frames(parser)
    add_cache(parser)
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Run `eqvid export`."""
    if args.html or args.clip or args.background or args.frames:
        return _run_page(args)
    from eqvid_tf.data.output import check_output

    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.serving.saved_model import export
    model = load(args.run)
    check_output(args.run, overwrite=True, inside=True)
    print(f"{export(model, args.run, max(1, version_of(args.run)))}: written")
    return 0


def _run_page(args: argparse.Namespace) -> int:
    from eqvid_tf.data.clips import open_clip

    _check_page(args)
    clip = open_clip(args.clip, frames=args.frames, cache=args.cache)
    with quietly():
        from eqvid_tf.exports.layer_folder import LayerFolder
        from eqvid_tf.exports.page import write_page
        from eqvid_tf.model_folder import load
        from eqvid_tf.separation.cast import Cast
        from eqvid_tf.separation.characters import ClipCharacters
        from eqvid_tf.separation.folder import write_layers
    model = load(args.run)
    backgrounds = _backgrounds(args, model)
    characters = ClipCharacters(model, clip, cast=Cast.read(args.run), progress=progress)
    with tempfile.TemporaryDirectory(prefix="eqvid-") as place:
        write_layers(characters, Path(place), plates=characters.clip.moves)
        size = write_page(args.html, LayerFolder(Path(place), clip.fps), clip.name, backgrounds)
    every = "" if size.step == 1 else f", every {size.step}. frame"
    smaller = "" if size.scale == 1 else f", at {100 * size.scale:.0f} % of the clip's size"
    print(f"{args.html}: {args.html.stat().st_size / 1e6:.1f} MB{every}{smaller}")
    return 0


def _check_page(args: argparse.Namespace) -> None:
    """Raise a ValueError of one line where the page cannot be made."""
    from eqvid_tf.data.output import check_output

    clips = ", ".join(read_config(args.run).clips)
    if not args.html:
        raise ValueError("--clip, --background and --frames are of a page; give --html FILE.html, too.")
    if not args.clip:
        raise ValueError(f"--html plays a clip; give --clip with the path of one of {args.run}'s: {clips}.")
    if args.html.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{args.html}: a page must end in .html; received {args.html.suffix!r}.")
    check_output(args.html, args.overwrite)


def _backgrounds(args: argparse.Namespace, model: EquivariantVideoModel) -> dict[str, np.ndarray]:
    """The backgrounds to choose from, uint8 [h, w, 3] by name: what the model remembers of other clips, and given ones.

    A clip that is given takes the place of what is remembered of it, as it is finer.
    """
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.data.images import read_image
    from eqvid_tf.exports.backgrounds import trained_backgrounds
    from eqvid_tf.separation.cast import Cast
    from eqvid_tf.separation.characters import ClipCharacters

    found = trained_backgrounds(model, read_config(args.run).clips)
    found.pop(args.clip.stem, None)
    for path in args.background or ():
        if is_still(path):
            found[path.stem] = read_image(path)
        else:
            clip = open_clip(path, cache=args.cache)
            found[clip.name] = ClipCharacters(model, clip, cast=Cast.read(args.run), progress=progress).plate(0)
    return found
