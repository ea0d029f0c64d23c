"""`eqvid evaluate`."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from eqvid_tf.cli.terminal import add_cache, add_network_only, add_overwrite, opened, progress, quietly
from eqvid_tf.model_folder import find_model_folder

TEXT = (
    "Measure a model beside the scissors on scenes with ground truth; those with a truth for each character "
    "(characters/N/) beside scissors that track, those with a truth for a moving camera (camera.json, plates/) beside "
    "scissors on stabilized frames. Of clips without ground truth it says how far the split can be trusted, by the "
    "frames that training held out."
)
EXAMPLE = "eqvid evaluate runs/walk scenes/one scenes/two --json figures.json; or: eqvid evaluate runs/walk walk.mp4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid evaluate`."""
    add_overwrite(parser)
    add_cache(parser)
    add_network_only(parser)
    parser.add_argument("run", type=find_model_folder, metavar="RUN")
    parser.add_argument(
        "scenes", nargs="+", type=Path, metavar="SCENE", help="scenes with ground truth, or clips without"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="contact sheet (default: RUN/evaluation.png)")


def run(args: argparse.Namespace) -> int:
    """Run `eqvid evaluate`."""
    from eqvid_tf.data.output import check_output, write_text
    from eqvid_tf.data.writers import write_png
    from eqvid_tf.evaluation.scorecard import figures, table

    if args.json:
        check_output(args.json, args.overwrite)
    sheet_file = check_output(args.sheet or args.run / "evaluation.png", args.overwrite or not args.sheet)
    with quietly():
        from eqvid_tf.evaluation.comparison import evaluate, has_truth
        from eqvid_tf.model_folder import load
        from eqvid_tf.separation.cast import Cast
    if not any(map(has_truth, args.scenes)):
        return _certify(args, sheet_file)
    model, cast = load(args.run), Cast.read(args.run)
    trained, options = _verdict(args.run), {"network_only": args.network_only, "cache": args.cache}
    with tempfile.TemporaryDirectory(prefix="eqvid-") as place:
        cards, sheet = evaluate(model, args.scenes, Path(place), cast=cast, **options, progress=progress)
    print(table(cards))
    print(f"trained: {trained}")
    if args.json:
        write_text(args.json, json.dumps(figures(cards), indent=1))
    write_png(sheet_file, sheet)
    return 0


def _certify(args: argparse.Namespace, sheet_file: Path) -> int:
    """How far the split of clips without truth can be trusted: in words, on a sheet, and in the model card."""
    from eqvid_tf.data.output import write_text
    from eqvid_tf.data.writers import write_png
    from eqvid_tf.evaluation.certificate import certify, trust_sheet
    from eqvid_tf.model_folder import load, note_trust, read_metrics
    from eqvid_tf.separation.cast import Cast
    from eqvid_tf.separation.characters import ClipCharacters

    if args.network_only:
        raise ValueError("--network-only compares with ground truth; these clips have none. Leave it out.")
    clips = [opened(path, None, args.cache) for path in args.scenes]
    known = (args.run / "metrics.json").is_file()
    model, hold_out = load(args.run), read_metrics(args.run).get("hold_out", 0) if known else 0
    cast = Cast.read(args.run)
    found = [certify(ClipCharacters(model, clip, cast=cast, progress=progress), hold_out) for clip in clips]
    print("\n".join(one.text for one in found))
    if args.json:
        write_text(args.json, json.dumps([one.to_json() for one in found], indent=1))
    if (sheet := trust_sheet(found)) is not None:
        write_png(sheet_file, sheet)
    if known:
        note_trust(args.run, {one.clip: one.summary for one in found})
    return 0


def _verdict(folder: Path) -> str:
    """What the diagnosis of the model's training said."""
    from eqvid_tf.model_folder import read_metrics, verdict_in_words

    known = (folder / "metrics.json").is_file()
    return verdict_in_words(read_metrics(folder)["verdict"] if known else ["nothing is known of its training"])
