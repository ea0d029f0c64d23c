"""Scenes with several characters, or a moving camera: one model, trained on their frames alone, against exact truth.

    python benchmarks/several.py SCENES SCORER --work DIR [--minutes M] [--layers-only] [--network-only]
    python benchmarks/several.py SCENES SCORER --work DIR --image-size 0 --result moving

SCENES holds scene folders with frames/ and shots.json; SCORER is the script that scores a folder of
predictions (it takes SCENES, the predictions, --json FILE). The model is trained once, each scene is done once, in
--work: a run that was stopped goes on where it was. --layers-only leaves out the shots, which take minutes a scene. The
figures go to benchmarks/results/several.json, or that of another name.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from measured import ROOT, rounded, scenes_in
from record import write

RUN = "import sys; from eqvid_tf.cli import main; sys.exit(main())"


def eqvid(*arguments: str | Path) -> None:
    """Runs a command in a process of its own."""
    subprocess.run([sys.executable, "-c", RUN, *map(str, arguments)], cwd=ROOT, check=True)


def predict(run: Path, scene: Path, folder: Path, options: list[str], *, shots: bool) -> None:
    """What a model makes of a scene, where it is not there yet."""
    if not (folder / "characters.json").is_file():
        eqvid("separate", run, scene / "frames", "--output", folder, "--overwrite", *options)
    if shots and not (folder / "shots").is_dir():
        eqvid("render", run, "--shots", scene / "shots.json", "--output", folder / "shots", *options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("scorer", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--layers-only", action="store_true")
    parser.add_argument("--network-only", action="store_true")
    parser.add_argument("--result", default="several", help="name of the file of figures (default: several)")
    args = parser.parse_args()
    scenes = scenes_in(args.scenes)
    run = args.work / "run"
    if not (run / "model.keras").is_file():
        size, minutes = str(args.image_size), str(args.minutes)
        frames = [scene / "frames" for scene in scenes]
        eqvid("train", *frames, "--output", run, "--image-size", size, "--minutes", minutes)
    options = ["--network-only"] if args.network_only else []
    method = "network-only" if args.network_only else "eqvid"
    for scene in scenes:
        predict(run, scene, args.work / method / scene.name, options, shots=not args.layers_only)
    file = args.work / f"{method}.json"
    subprocess.run([sys.executable, args.scorer, args.scenes, args.work / method, "--json", file], check=False)
    found = json.loads(file.read_text(encoding="utf-8"))
    trained = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    settings = {"minutes": args.minutes, "steps": trained["steps"], "image_size": args.image_size}
    name = f"{args.result}-network-only.json" if args.network_only else f"{args.result}.json"
    write(ROOT / "benchmarks/results" / name, {"settings": settings, "figures": rounded(found)})


if __name__ == "__main__":
    main()
