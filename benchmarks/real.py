"""Filmed clips, each trained on alone and separated at its own size, against hand-made masks where there are some.

    python benchmarks/real.py [NAME...] [--clips DIR] [--work DIR] [--minutes M]

DIR holds a folder for each clip: frames/, or one video file; masks/, where a person drew them, are those of the one
character that is meant. Of character 0 the figures are: `iou`, the mean over the frames; `inside`, the mean alpha over
the hand-made mask shrunk by 4 pixels; `outside`, over all pixels beyond that mask grown by 8. Each clip is done once
and kept in --work as NAME.json, with NAME.png to look at: a run that was stopped goes on where it was, and a file that
is deleted is measured again. All together go to benchmarks/results/real.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from measured import ROOT, rounded
from record import write

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.images import read_image
from eqvid_tf.data.output import write_text
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.comparison import read_rgba
from eqvid_tf.pixels.morphology import dilate
from eqvid_tf.pixels.sheets import contact_sheet, text_table

RUN = "import sys; from eqvid_tf.cli import main; sys.exit(main())"
CLIPS = (
    "davis-rollerblade",
    "davis-soccerball",
    "davis-breakdance-flare",
    "sam2-juggle",
    "sam2-cups",
    "tfjs-squats",
    "intel-one-by-one",
)
VIDEOS = (".mp4", ".mkv", ".gif")
SHRUNK, GROWN = 4, 8  # pixels between a hand-made mask and where its alpha is clear
ROWS, MOST = 4, 3  # frames, and characters, of a sheet
COLUMNS = ("iou", "worst", "inside", "outside", "characters", "steps")


def eqvid(*arguments: str | Path) -> subprocess.CompletedProcess:
    """Runs a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def find_clip(folder: Path) -> Path:
    """The clip of a folder: its frames, or its video."""
    if (folder / "frames").is_dir():
        return folder / "frames"
    videos = [path for path in sorted(folder.iterdir()) if path.suffix in VIDEOS]
    if not videos:
        raise SystemExit(f"{folder}: it has no frames/ and no video. Give --clips a folder that holds {folder.name}/.")
    return videos[0]


def scores(alphas: Path, masks: Path) -> dict[str, float]:
    """The figures of a character's masks against hand-made ones."""
    overlaps, inside, outside = [], [], []
    for path, true in zip(sorted(alphas.glob("*.png")), sorted(masks.iterdir()), strict=True):
        alpha, mask = read_image(path)[..., 0] / 255, read_image(true)[..., 0] > 127
        found = alpha > 0.5
        either = np.count_nonzero(found | mask)
        overlaps.append(np.count_nonzero(found & mask) / either if either else 1.0)
        core = ~dilate(~mask, SHRUNK)
        inside += [alpha[core].mean()] if core.any() else []
        outside.append(alpha[~dilate(mask, GROWN)].mean())
    means = {"iou": overlaps, "inside": inside, "outside": outside}
    return {name: float(np.mean(values)) for name, values in means.items()} | {"worst": min(overlaps)}


def sheet(clip: Path, layers: Path, numbers: list[int]) -> np.ndarray:
    """Frames, with mask and cut-out of the first characters, and the background."""
    film = open_clip(clip, cache=None)
    rows = []
    for index in np.linspace(0, film.count - 1, ROWS).round().astype(int):
        row = [film.at(index), read_image(layers / "background.png")]
        for number in numbers[:MOST]:
            place = layers / "characters" / str(number)
            row += [read_image(place / f"masks/{index:05d}.png"), read_rgba(place / f"character/{index:05d}.png")]
        rows.append([_small(picture) for picture in row])
    titles = [title for number in numbers[:MOST] for title in (f"mask {number}", f"character {number}")]
    return contact_sheet(rows, column_titles=["frame", "background", *titles], scale=1)


def _small(picture: np.ndarray, width: int = 426) -> np.ndarray:
    height = round(width * picture.shape[0] / picture.shape[1])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def measure(name: str, args: argparse.Namespace) -> dict:
    """Train on a clip, separate it, and score it."""
    clip, place = find_clip(args.clips.resolve() / name), args.work.resolve() / name
    run, layers = place / "run", place / "layers"
    if not (run / "model.keras").is_file():
        done = eqvid("train", clip, "--output", run, "--minutes", str(args.minutes), "--overwrite")
        if done.returncode == 2:
            return {"refused": done.stderr.strip().splitlines()[-1]}
    if not (layers / "characters.json").is_file():
        eqvid("separate", run, clip, "--output", layers, "--overwrite").check_returncode()
    numbers = [one["number"] for one in json.loads((layers / "characters.json").read_text(encoding="utf-8"))]
    write_png(args.work / f"{name}.png", sheet(clip, layers, numbers))
    trained = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    masks = args.clips / name / "masks"
    found = scores(layers / "characters/0/masks", masks) if masks.is_dir() else {}
    return {**found, "characters": len(numbers), "steps": trained["steps"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=CLIPS, metavar="NAME", help="of clips (default: seven)")
    parser.add_argument("--clips", type=Path, default=ROOT.parent / "shared/clips", help="default: ../shared/clips")
    parser.add_argument("--work", type=Path, default=ROOT / "build/real", help="default: build/real")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, each clip (default: 10)")
    args = parser.parse_args()
    for name in args.names:
        file = args.work / f"{name}.json"
        if not file.is_file():
            found = {"minutes": args.minutes, **rounded(measure(name, args))}
            write_text(file, json.dumps(found, indent=1))
        print(name, file.read_text(encoding="utf-8"), flush=True)
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(args.work.glob("*.json"))}
    write(ROOT / "benchmarks/results/real.json", {"clips": found})
    print(text_table([[name, *(one.get(c) for c in COLUMNS)] for name, one in found.items()], ["clip", *COLUMNS]))


if __name__ == "__main__":
    main()
