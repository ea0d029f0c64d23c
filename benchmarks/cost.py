"""What training and separating cost as the work grows: seconds and memory against size, frames, clips and characters.

    python benchmarks/cost.py --work DIR [--characters SCENE...] [--only WORDS]

One thing grows at a time, from a drawn scene of 50 frames of 64 x 64 pixels: the frames' size (and with it that of the
networks' canvas), the number of frames, the number of clips that one model is trained on. --characters takes scenes
with one, two, ... characters, in this order. Of a training, in a process of its own, it takes the time until the first
step, that of each of the next eleven, and the largest memory; then the first clip is separated by a model of two steps,
with masks as they were tracked. Of each it says how fast it grows: the exponent of the work's growth in time, between
the last two. Each is done once and kept in --work as a JSON; all together go to benchmarks/results/cost.json and
docs/cost.png.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from measured import ROOT, rounded, save
from record import write
from speed import FIRST_STEPS, eqvid, measured

from eqvid_tf.data.output import write_text
from eqvid_tf.pixels.sheets import text_table

STEPS = 12
SIZES, FRAMES, CLIPS = (64, 128, 256), (50, 500, 5000), (1, 10, 100)
COLUMNS = ("until_first_step_s", "step_ms", "training_mb", "separating_s", "separating_mb")
TIMES = ("until_first_step_s", "step_ms", "separating_s")


def drawn(work: Path, count: int, size: int, frames: int) -> list[Path]:
    """Scenes, drawn where they are not there yet."""
    from eqvid_tf.synthetic.scenes import write_scenes

    recipe = {f"{size}-{frames}-{k}": {"seed": k, "size": [size, size], "frames": frames} for k in range(count)}
    there = [work / name for name in recipe]
    missing = {name: scene for name, scene in recipe.items() if not (work / name / "motion.json").is_file()}
    if missing:
        write_scenes(work, missing, shots=0)
    return there


def cost(work: Path, scenes: list[Path], size: int) -> dict:
    """What training on scenes and separating the first of them cost."""
    run, clips = work / "run", [scene / "frames" for scene in scenes]
    words = ["train", *map(str, clips), "--overwrite", "--image-size", str(size), "--output"]
    began = measured(ROOT, ["-c", FIRST_STEPS, str(STEPS), *words, str(work / "unfinished"), "--steps", "1000"])
    seconds = json.loads((work / "unfinished/took.json").read_text(encoding="utf-8"))
    measured(ROOT, eqvid(*words, run, "--steps", "2"))
    layers = measured(ROOT, eqvid("separate", run, clips[0], "--output", work / "layers", "--overwrite"))
    return {
        "until_first_step_s": seconds[0],
        "step_ms": 1000 * (seconds[-1] - seconds[0]) / (len(seconds) - 1),
        "training_mb": began["memory_mb"],
        "separating_s": layers["wall_s"],
        "separating_mb": layers["memory_mb"],
    }


def growths(work: Path, characters: list[Path]) -> dict[str, dict[int, tuple[list[Path], int]]]:
    """What grows -> how large it is -> the scenes, and the size that the networks see."""
    return {
        "size": {n: (drawn(work, 1, n, FRAMES[0]), n) for n in SIZES},
        "frames": {n: (drawn(work, 1, SIZES[0], n), SIZES[0]) for n in FRAMES},
        "clips": {n: (drawn(work, n, SIZES[0], FRAMES[0]), SIZES[0]) for n in CLIPS},
        "characters": {n: ([scene], SIZES[0]) for n, scene in enumerate(characters, 1)},
    }


def exponents(rows: dict[int, dict]) -> dict[str, float]:
    """The exponents of growth between the last two rows."""
    (small, before), (large, after) = list(rows.items())[-2:]
    return {name: math.log(after[name] / before[name]) / math.log(large / small) for name in TIMES}


def table(found: dict[str, dict[int, dict]]) -> str:
    rows = [[kind, count, *(row[name] for name in COLUMNS)] for kind, of in found.items() for count, row in of.items()]
    return text_table(rows, ["what grows", "to", *COLUMNS], digits=1)


def plot(found: dict[str, dict[int, dict]], path: Path) -> None:
    """Times and memory against what grows, each beside a line that grows as the work does."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4 * len(found), 3.6), constrained_layout=True)
    for axis, (kind, rows) in zip(axes, found.items()):
        counts = list(rows)
        for name in TIMES:
            axis.plot(
                counts, [row[name] / (1000 if name == "step_ms" else 1) for row in rows.values()], "o-", label=name
            )
        first = rows[counts[0]]["separating_s"]
        dimensions = 2 if kind == "size" else 1  # of a picture there are two
        axis.plot(
            counts, [first * (n / counts[0]) ** dimensions for n in counts], ":", color="gray", label="as the work"
        )
        axis.set(xscale="log", yscale="log", xlabel=kind, ylabel="seconds")
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
    axes[0].legend(["until the first step", "a step", "separating", "as the work"], fontsize=8)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--characters", type=Path, nargs="+", default=[], metavar="SCENE")
    parser.add_argument("--only", metavar="WORDS", help="what grows: size, frames, clips or characters")
    args = parser.parse_args()
    found: dict[str, dict[int, dict]] = {}
    for kind, counts in growths(args.work / "scenes", args.characters).items():
        for count, (scenes, size) in counts.items():
            file = args.work / f"{kind}-{count}.json"
            if not file.is_file() and args.only in (None, kind):
                write_text(file, json.dumps(rounded(cost(args.work, scenes, size)), indent=1))
            if file.is_file():
                found.setdefault(kind, {})[count] = json.loads(file.read_text(encoding="utf-8"))
    grows = {kind: rounded(exponents(rows)) for kind, rows in found.items() if len(rows) > 1}
    write(ROOT / "benchmarks/results/cost.json", {"costs": found, "exponents": grows})
    plot(found, ROOT / "docs/cost.png")
    print(table(found))
    print(json.dumps(grows, indent=1))


if __name__ == "__main__":
    main()
