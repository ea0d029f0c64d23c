"""Clips of solids that fall and stay, each trained on alone, against exact masks of each solid.

    python benchmarks/solids.py SCENES SCORER --work DIR [--minutes M] [--only NAME...]

SCENES holds folders with frames/ and characters/N/masks/; SCORER is the script that scores a folder of predictions, as
in several.py. Each clip is trained and separated once, in --work: a run that was stopped goes on where it was. The
figures of those that are done go to benchmarks/results/solids.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from measured import ROOT, rounded, scenes_in
from record import write
from several import eqvid, predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("scorer", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4.0, help="of training, each clip (default: 4)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of clips (default: all)")
    args = parser.parse_args()
    scenes = scenes_in(args.scenes)
    work, steps = args.work.resolve(), {}
    for scene in scenes:
        run = work / "runs" / scene.name
        if not args.only or scene.name in args.only:
            if not (run / "model.keras").is_file():
                eqvid("train", scene / "frames", "--output", run, "--minutes", str(args.minutes), "--overwrite")
            predict(run, scene, work / "eqvid" / scene.name, [], shots=False)
        if (run / "metrics.json").is_file():
            steps[scene.name] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["steps"]
    file = work / "solids.json"
    subprocess.run([sys.executable, args.scorer, args.scenes, work / "eqvid", "--json", file], check=False)
    found = json.loads(file.read_text(encoding="utf-8"))
    settings = {"minutes": args.minutes, "steps": steps}
    write(ROOT / "benchmarks/results/solids.json", {"settings": settings, "figures": rounded(found)})


if __name__ == "__main__":
    main()
