"""What the project has reached so far, measured anew: the table that a change is judged by.

    python benchmarks/reached.py [NAME...] [--scenes DIR] [--work DIR] [--minutes M]

    cast      one model, trained on the six scenes of one character from their frames alone; `eqvid evaluate`, also of
              the networks alone (--scenes: the folder of scenes)
    shipped   the models in saved_models/, on the scenes they were trained on
    demo      `eqvid demo`

Each is done once and kept in --work as NAME.json: a run that was stopped goes on where it was, and a file that is
deleted is measured again. All together are written to benchmarks/results/reached.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measured import ROOT, rounded, scenes_in
from record import write

from eqvid_tf.data.output import write_text
from eqvid_tf.pixels.sheets import text_table

RUN = "import sys; from eqvid_tf.cli import main; sys.exit(main())"


def eqvid(*arguments: str | Path) -> None:
    """Runs a command in a process of its own, so that none inherits the state of another."""
    subprocess.run([sys.executable, "-c", RUN, *map(str, arguments)], cwd=ROOT, check=True)


def evaluated(run: Path, scenes: list[Path], *options: str) -> dict:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "figures.json"
        eqvid("evaluate", run, *scenes, "--json", file, *options)
        return json.loads(file.read_text(encoding="utf-8"))


def cast(args: argparse.Namespace) -> dict:
    scenes = scenes_in(args.scenes)
    run = args.work / "cast"
    if not (run / "model.keras").is_file():
        clips = [scene / "frames" for scene in scenes]
        eqvid("train", *clips, "--output", run, "--minutes", str(args.minutes), "--overwrite")
    found = evaluated(run, scenes)
    alone = evaluated(run, scenes, "--network-only")
    return {
        **found,
        **{f"network only/{name.partition('/')[2]}": row for name, row in alone.items() if "eqvid/" in name},
    }


def shipped(args: argparse.Namespace) -> dict:
    from eqvid_tf.synthetic.scenes import write_scenes

    recipe, found = json.loads((ROOT / "datasets/drawn/recipe.json").read_text(encoding="utf-8")), {}
    for folder in sorted((ROOT / "saved_models").glob("*/config.json")):
        names = json.loads(folder.read_text(encoding="utf-8"))["clips"]
        scenes = {name: recipe["scenes"][name] for name in names}
        drawn = write_scenes(args.work / "drawn", scenes, shots=6, seed=recipe["seed"], overwrite=True)
        figures = evaluated(folder.parent, drawn)
        found |= {
            f"{folder.parent.name}/{method.partition('/')[0]}": row
            for method, row in figures.items()
            if "MEAN" in method
        }
    return found


def demo(args: argparse.Namespace) -> dict:
    eqvid("demo", "--output", args.work / "demo", "--overwrite")
    return json.loads((args.work / "demo/figures.json").read_text(encoding="utf-8"))


MEASURES: dict[str, Callable[[argparse.Namespace], dict]] = {"cast": cast, "shipped": shipped, "demo": demo}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []], default=list(MEASURES), metavar="NAME")
    parser.add_argument("--scenes", type=Path, default=ROOT / "build/cast", help="of cast (default: build/cast)")
    parser.add_argument("--work", type=Path, default=ROOT / "build/reached", help="default: build/reached")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training on the cast (default: 10)")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        file = args.work / f"{name}.json"
        if not file.is_file():
            write_text(file, json.dumps(rounded(MEASURES[name](args)), indent=1))
    found = {name: json.loads(file.read_text()) for name in MEASURES if (file := args.work / f"{name}.json").is_file()}
    write(ROOT / "benchmarks/results/reached.json", {"minutes": args.minutes, **found})
    for name, figures in found.items():
        rows = {row: values for row, values in figures.items() if isinstance(values, dict)}
        columns = list(next(iter(rows.values())))
        print(
            f"\n{name}\n" + text_table([[row, *(v.get(c) for c in columns)] for row, v in rows.items()], ["", *columns])
        )


if __name__ == "__main__":
    main()
