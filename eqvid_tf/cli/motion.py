"""`eqvid motion`: the catalog of motions."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from eqvid_tf.motions.template import Template

TEXT = "Keep motions: take one from a clip, look at it, edit it."
EXAMPLE = "eqvid motion extract runs/walk walk.mp4 --name stroll"
ORDER = "Operations are applied in the order in which they are written."
WHERE = "The catalog is --catalog DIR, or motions/ in RUN, or motions/ here; then come the motions of the package."


class _Operation(argparse.Action):
    """Collects the operations in args.operations, in their order: (Template's method, arguments)."""

    def __call__(self, parser: Any, args: Any, value: Any, option: Any = None) -> None:
        args.operations = [*args.operations, (self.dest, [] if self.nargs == 0 else [value])]


class _Weight(argparse.Action):
    """The weight of the --blend before it."""

    def __call__(self, parser: Any, args: Any, value: Any, option: Any = None) -> None:
        if not args.operations or args.operations[-1][0] != "blended" or len(args.operations[-1][1]) != 1:
            parser.error("--weight belongs after --blend OTHER")
        args.operations = [*args.operations[:-1], ("blended", [*args.operations[-1][1], value])]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `eqvid motion`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str, example: str) -> argparse.ArgumentParser:
        own = actions.add_parser(
            name, help=text, description=f"{text} {WHERE}", epilog=f"example: eqvid motion {name} {example}"
        )
        own.add_argument("--catalog", type=Path, metavar="DIR", help="folder of motions")
        return own

    extract = action("extract", "Take the motion of a clip's character.", "runs/walk walk.mp4 --name stroll")
    extract.add_argument("run", type=find_model_folder, metavar="RUN")
    extract.add_argument("clip", type=Path, metavar="CLIP")
    extract.add_argument("--name", required=True, help="of the motion")
    for add in (add_frames, add_network_only, add_of, add_cache, add_overwrite):
        add(extract)

    listed = action("list", "Say which motions there are.", "runs/walk")
    listed.add_argument("run", nargs="?", type=find_model_folder, metavar="RUN")

    show = action("show", "Say what a motion is, and draw it.", "jump --output jump.png")
    show.add_argument("name", metavar="NAME", help="of a motion, or the path of its .json file")
    show.add_argument("--run", type=Path, metavar="RUN")
    show.add_argument("--output", type=Path, metavar="PNG", help="the picture (default: NAME.png here)")
    add_overwrite(show)

    _edit_arguments(
        action("edit", f"Make a motion from another. {ORDER}", "walk-across --then jump --output walk-and-jump")
    )


def _edit_arguments(edit: argparse.ArgumentParser) -> None:
    edit.add_argument("name", metavar="NAME", help="of a motion, or the path of its .json file")
    edit.add_argument("--run", type=Path, metavar="RUN")
    edit.add_argument("--output", required=True, metavar="NAME", help="of the new motion, or the path of a .json file")
    for flag, method, metavar, kind, text in (
        ("--smooth", "smoothed", "S", float, "blur its velocity by so many seconds (standard deviation)"),
        ("--fps", "resampled", "F", float, "the same path in the same time, with F frames per second"),
        ("--reverse", "reversed", None, None, "run it backwards"),
        ("--loop", "looped", "N", int, "end where it began, N times over: what is left is taken out evenly"),
        ("--amplify", "amplified", "A", float, "A times as far, and turned, zoomed and sheared so often over"),
        ("--blend", "blended", "OTHER", str, "mix with another motion, half and half or by --weight"),
        ("--then", "then", "OTHER", str, "go on with another motion from where this one ended"),
    ):
        kinds = {"nargs": 0} if kind is None else {"type": kind, "metavar": metavar}
        edit.add_argument(flag, dest=method, action=_Operation, default=argparse.SUPPRESS, help=text, **kinds)
    edit.add_argument(
        "--weight",
        type=float,
        action=_Weight,
        default=argparse.SUPPRESS,
        metavar="W",
        help="of the --blend before it: 0 keeps the motion, 1 is the other (default: 0.5)",
    )
    edit.set_defaults(operations=[])
    add_overwrite(edit)


def run(args: argparse.Namespace) -> int:
    """Run `eqvid motion`."""
    return {"extract": _run_extract, "list": _run_list, "show": _run_show, "edit": _run_edit}[args.action](args)


def catalog_folders(args: argparse.Namespace) -> list[Path]:
    """List the catalog folders that are searched; the first is written to."""
    given = [args.catalog] if args.catalog else []
    return given + ([args.run / "motions"] if args.run else []) or [Path("motions")]


def _save(template: Template, path: Path, overwrite: bool) -> None:
    """Write NAME.json and beside it NAME.png."""
    from eqvid_tf.data.output import write_text
    from eqvid_tf.data.writers import write_png
    from eqvid_tf.motions.catalog import check_place, to_json
    from eqvid_tf.motions.previews import preview

    check_place(path, overwrite)
    write_png(check_place(path.with_suffix(".png"), overwrite), preview(template))
    write_text(path, to_json(template))


def _describe(template: Template) -> str:
    from eqvid_tf.motions.catalog import provenance

    length = f"{len(template.steps) + 1} frames at {template.fps:g}/s, {template.seconds:.2f} s"
    loops = ", loops" if template.loops else ""
    return f"{template.name}: {length}{loops}; {provenance(template)}"


def _run_extract(args: argparse.Namespace) -> int:
    from eqvid_tf.motions.catalog import UNSURE, check_place, extract
    from eqvid_tf.motions.checks import check_name

    check_name(args.name)
    path = catalog_folders(args)[0] / f"{args.name}.json"
    for place in (path, path.with_suffix(".png")):
        check_place(place, args.overwrite)
    clip = opened(args.clip, args.frames, args.cache)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.separation.cast import Cast
        from eqvid_tf.separation.characters import ClipCharacters
    options = {"cast": Cast.read(args.run), "network_only": args.network_only, "progress": progress}
    characters = ClipCharacters(load(args.run), clip, **options)
    template = extract(characters.numbered(args.of), args.name, model=args.run.resolve().name)
    _save(template, path, args.overwrite)
    unsure = template.source["unsure"]
    print(f"{path}: {_describe(template)}" + (f" (confidence below {UNSURE:g})" if unsure else ""))
    return 0


def _run_list(args: argparse.Namespace) -> int:
    from eqvid_tf.motions.catalog import available, provenance, read
    from eqvid_tf.motions.checks import TemplateError
    from eqvid_tf.pixels.sheets import text_table

    rows = []
    for name, path in available(catalog_folders(args)).items():
        try:
            found = read(path)
            length = str(len(found.steps) + 1), f"{found.fps:g}", f"{found.seconds:.2f}", "yes" if found.loops else ""
            rows.append((name, *length, provenance(found)))
        except (TemplateError, OSError) as error:
            rows.append((name, "", "", "", "", f"cannot be read: {error}"))
    print(text_table(rows, ["name", "frames", "fps", "seconds", "loops", "what it does, or where it is from"]))
    return 0


def _run_show(args: argparse.Namespace) -> int:
    from eqvid_tf.data.output import check_output
    from eqvid_tf.data.writers import write_png
    from eqvid_tf.motions.catalog import find
    from eqvid_tf.motions.previews import preview

    template = find(args.name, catalog_folders(args))
    output = check_output(args.output or Path(f"{template.name}.png"), args.overwrite)
    write_png(output, preview(template))
    print(f"{_describe(template)}\n{output}: its path, and the figure at even times")
    return 0


def _run_edit(args: argparse.Namespace) -> int:
    from eqvid_tf.motions.catalog import check_place, find
    from eqvid_tf.motions.checks import check_name

    path = Path(args.output) if args.output.endswith(".json") else catalog_folders(args)[0] / f"{args.output}.json"
    check_name(path.stem if args.output.endswith(".json") else args.output)
    for place in (path, path.with_suffix(".png")):
        check_place(place, args.overwrite)
    template = find(args.name, catalog_folders(args))
    with quietly():
        from eqvid_tf.core import affine  # noqa: F401 - TensorFlow starts here
    for method, values in args.operations:
        if method in ("blended", "then"):
            values = [find(values[0], catalog_folders(args)), *values[1:]]
        template = getattr(template, method)(*values)
    template = dataclasses.replace(template, name=path.stem)
    _save(template, path, args.overwrite)
    print(f"{path}: {_describe(template)}")
    return 0
