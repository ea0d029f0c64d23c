"""What longer training gives: the figures of one training of so many minutes, and of others, on four kinds of clips.

    python benchmarks/minutes.py --work DIR [--cast SCENES] [--several SCENES SCORER] [--moving SCENES SCORER]
                                 [--filmed CLIP_FOLDER...] [--minutes 0.5 1 2 4 8 16 auto]

    cast      scenes of one character before a still camera, one model: `eqvid evaluate`, the scissors beside it
    several   scenes of several characters, one model; what is separated, by SCORER (see benchmarks/several.py)
    moving    the same before a camera that moves
    filmed    filmed clips, each trained on alone, against hand-made masks (see benchmarks/real.py)

Each training is done once and kept in --work as KIND-MINUTES.json: a run that was stopped goes on where it was. All
together go to benchmarks/results/minutes.json, and as a table to docs/speed.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from measured import ROOT, page_with, rounded, scenes_in
from reached import evaluated
from real import find_clip, scores
from record import write
from several import eqvid, predict

from eqvid_tf.data.output import write_text
from eqvid_tf.pixels.sheets import text_table

RESULTS, PAGE = ROOT / "benchmarks/results/minutes.json", ROOT / "docs/speed.md"
COLUMNS = ("iou", "ari", "corner_px", "move_char", "swap_char", "transfer_char")
BACKGROUND = ("bg_psnr", "plate_psnr")  # one or the other
MEAN = {"eqvid": "eqvid/MEAN", "scissors": "scissors/MEAN"}


def trained(run: Path, clips: list[Path], minutes: str, *options: str) -> dict:
    """Train where there is no model yet; the steps, and the seconds that they took."""
    if not (run / "model.keras").is_file():
        with contextlib.suppress(subprocess.CalledProcessError):  # one that ends useless is written, and says so
            eqvid("train", *clips, "--output", run, "--minutes", minutes, "--overwrite", *options)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return {name: metrics[name] for name in ("steps", "seconds", "verdict")}


def cast(work: Path, minutes: str, scenes: Path) -> dict:
    """Of scenes of one character."""
    folders = scenes_in(scenes)
    found = trained(work / "run", [scene / "frames" for scene in folders], minutes)
    figures = evaluated(work / "run", folders)
    return {**found, **{name: figures[row] for name, row in MEAN.items() if row in figures}}


def drawn(work: Path, minutes: str, scenes: Path, scorer: Path, *options: str) -> dict:
    """Of scenes that an outside scorer judges."""
    folders = scenes_in(scenes)
    found = trained(work / "run", [scene / "frames" for scene in folders], minutes, *options)
    for scene in folders:
        predict(work / "run", scene, work / "eqvid" / scene.name, [], shots=False)
    file = work / "scores.json"
    subprocess.run([sys.executable, scorer, scenes, work / "eqvid", "--json", file], check=False)
    return {**found, "eqvid": json.loads(file.read_text(encoding="utf-8"))["eqvid/MEAN"]}


def filmed(work: Path, minutes: str, folder: Path) -> dict:
    """Of one filmed clip with hand-made masks."""
    clip, layers = find_clip(folder.resolve()), work / "layers"
    found = trained(work / "run", [clip], minutes)
    if not (layers / "characters.json").is_file():
        eqvid("separate", work / "run", clip, "--output", layers, "--overwrite")
    return {**found, "eqvid": scores(layers / "characters/0/masks", folder / "masks")}


def table(found: dict[str, dict[str, dict]]) -> str:
    """The figures of the networks' cut-outs, a row for each training."""
    rows = []
    for kind, trainings in found.items():
        for minutes, one in sorted(trainings.items(), key=lambda item: item[1]["seconds"]):
            given = "auto" if minutes == "auto" else f"{float(minutes):g}"
            figures = one["eqvid"]
            background = next((figures[name] for name in BACKGROUND if name in figures), None)
            told = [kind, given, one["seconds"] / 60, one["steps"], background]
            rows.append([*told, *(figures.get(name) for name in COLUMNS)])
    return text_table(rows, ["clips", "--minutes", "took", "steps", "background", *COLUMNS], digits=2)


def kinds(args: argparse.Namespace) -> dict[str, Callable[[Path, str], dict]]:
    """What is measured, by name: functions of a folder to work in and of minutes."""
    found: dict[str, Callable[[Path, str], dict]] = {}
    if args.cast:
        found["cast"] = lambda work, minutes: cast(work, minutes, args.cast)
    if args.several:
        found["several"] = lambda work, minutes: drawn(work, minutes, *args.several, "--image-size", "96")
    if args.moving:
        found["moving"] = lambda work, minutes: drawn(work, minutes, *args.moving)
    for folder in args.filmed:
        found[folder.name] = lambda work, minutes, folder=folder: filmed(work, minutes, folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cast", type=Path, metavar="SCENES")
    parser.add_argument("--several", type=Path, nargs=2, metavar=("SCENES", "SCORER"))
    parser.add_argument("--moving", type=Path, nargs=2, metavar=("SCENES", "SCORER"))
    parser.add_argument("--filmed", type=Path, nargs="+", default=[], metavar="CLIP_FOLDER")
    parser.add_argument("--minutes", nargs="+", default=["0.5", "1", "2", "4", "8", "16", "auto"])
    args = parser.parse_args()
    for minutes in args.minutes:
        for kind, measure in kinds(args).items():
            name = f"{kind}-{minutes}"
            file = args.work / f"{name}.json"
            if not file.is_file():
                write_text(file, json.dumps(rounded(measure(args.work / name, minutes)), indent=1))
            print(name, file.read_text(encoding="utf-8"), flush=True)
    found: dict[str, dict] = {}
    for path in sorted(args.work.glob("*-*.json")):
        kind, _, minutes = path.stem.rpartition("-")
        found.setdefault(kind, {})[minutes] = json.loads(path.read_text(encoding="utf-8"))
    write(RESULTS, {"kinds": found})
    PAGE.write_text(page_with(table(found) + "\n", PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
