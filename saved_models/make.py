"""Trains the models that ship in this folder, on scenes of datasets/drawn, and measures them beside the scissors.

    python saved_models/make.py [NAME...] [--minutes M] [--measure] [--work DIR]

Each is trained from two seeds on the frames alone; the first ships, the second says by how much a figure varies by
chance. Runs that are done stay in --work, so that a command that was stopped goes on where it was. --measure trains
nothing: what ships is measured again, and the spread stays.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from eqvid_tf.config import Config, TrainConfig
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.output import new_folder, write_text
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.comparison import evaluate, score_model
from eqvid_tf.evaluation.scorecard import Scorecard
from eqvid_tf.model_folder import load, read_config, read_metrics
from eqvid_tf.pixels.sheets import text_table
from eqvid_tf.synthetic.scenes import write_scenes
from eqvid_tf.training.train import configure, train

HERE = Path(__file__).parent
RECIPE = HERE.parent / "datasets/drawn/recipe.json"
MODELS = {  # name -> (scenes, minutes of training on two cores)
    "drawn": (["ladybird", "walker", "robot", "bird", "hidden", "cat"], 12.0),
    "drawn-wide": (["wide-slime", "wide-beetle"], 5.0),
}
SHOTS, SEEDS = 6, (0, 1)
TITLE = "## How good it is"  # of what `card` adds to a model card
BRIEF = 16  # frames of a scene in the quick figures


def scenes(names: list[str], folder: Path, shots: int = SHOTS, **changes: int) -> list[Path]:
    """The named scenes of datasets/drawn, drawn into a folder; they are the same wherever they are drawn."""
    recipe = json.loads(RECIPE.read_text(encoding="utf-8"))
    drawn = {name: {**recipe["scenes"][name], **changes} for name in names}
    return write_scenes(folder, drawn, shots=shots, seed=recipe["seed"], overwrite=True)


def figures(run: Path, folders: list[Path], place: Path) -> tuple[dict, np.ndarray]:
    """Means over the scenes, of the model, of its networks alone and of the scissors; and a contact sheet."""
    model = load(run)
    cards, sheet = evaluate(model, folders, place / "all", cache=None)
    alone = score_model(model, folders, place / "alone", network_only=True, cache=None)
    return means({"eqvid": cards["eqvid"], "network only": alone, "scissors": cards["scissors"]}), sheet


def means(cards: dict[str, Scorecard]) -> dict:
    """Scorecards' means, rounded."""
    return {name: {column: round(value, 4) for column, value in card.mean.items()} for name, card in cards.items()}


def quick_figures(run: Path, names: list[str], place: Path) -> dict:
    """Figures of the last two scenes, of fewer frames and one shot of each kind: a test measures them again."""
    cards, _ = evaluate(load(run), scenes(names[-2:], place / "scenes", shots=1, frames=BRIEF), place, cache=None)
    return means(cards)


def trained(name: str, seed: int, folders: list[Path], minutes: float, work: Path) -> Path:
    run = work / f"{name}-{seed}"
    if not (run / "model.keras").is_file() or read_config(run).train.minutes != minutes:
        clips = [open_clip(folder / "frames", cache=None) for folder in folders]
        settings = Config(train=TrainConfig(minutes=minutes, seed=seed, keep_frames=True))
        print(f"{name}, seed {seed}: {minutes:g} minutes", flush=True)
        train(configure(settings, clips), clips, run, log=print)
    return run


def make(name: str, minutes: float | None, work: Path) -> None:
    names, usual = MODELS[name]
    folders = scenes(names, work / "scenes")
    runs = [trained(name, seed, folders, minutes or usual, work) for seed in SEEDS]
    (found, sheet), (other, _) = (figures(run, folders, work / f"{run.name}-layers") for run in runs)
    spread = {
        row: {column: round(abs(value - other[row][column]), 4) for column, value in found[row].items()}
        for row in found
    }
    quick = quick_figures(runs[0], names, work / f"{name}-quick")
    measured = {"figures": found, "spread": spread, "seeds": list(SEEDS), "quick": quick}
    metrics = {**read_metrics(runs[0]), "scenes": names, **measured}
    with new_folder(HERE / name, overwrite=True) as draft:
        for part in ("1", "config.json", "kept", "model.keras"):
            copy = shutil.copytree if (runs[0] / part).is_dir() else shutil.copy
            copy(runs[0] / part, draft / part)
        write_text(draft / "metrics.json", json.dumps(metrics, indent=1))
        write_png(draft / "picture.png", sheet)
        write_text(draft / "README.md", card((runs[0] / "README.md").read_text(encoding="utf-8"), metrics))
    print(table(metrics))


def measure(name: str, work: Path) -> None:
    """Measure a model that ships again, where the code around it has changed."""
    run, (names, _) = HERE / name, MODELS[name]
    found, sheet = figures(run, scenes(names, work / "scenes"), work / f"{name}-layers")
    quick = quick_figures(run, names, work / f"{name}-quick")
    metrics = {**read_metrics(run), "figures": found, "quick": quick}
    text, _, _ = (run / "README.md").read_text(encoding="utf-8").partition("\n" + TITLE)
    write_text(run / "metrics.json", json.dumps(metrics, indent=1))
    write_png(run / "picture.png", sheet)
    write_text(run / "README.md", card(text, metrics))
    print(table(metrics))


def table(metrics: dict) -> str:
    columns = list(metrics["figures"]["eqvid"])
    cell = lambda row, column: f"{metrics['figures'][row][column]:.2f} ± {metrics['spread'][row][column]:.2f}"
    return text_table([[row, *(cell(row, column) for column in columns)] for row in metrics["figures"]], ["", *columns])


def card(text: str, metrics: dict) -> str:
    """The model card that training wrote, with figures and a picture."""
    return text + "\n".join(
        [
            "",
            TITLE,
            "",
            f"Means over {', '.join(metrics['scenes'])} of [datasets/drawn](../../datasets/drawn/README.md), which it",
            "was trained on, from their frames alone, beside the temporal-median scissors refined by ECC; ± how far a",
            "model trained from another seed is off. Written by `python saved_models/make.py`.",
            "",
            table(metrics),
            "",
            "![Frames, layers and renders, beside the truth and the scissors](picture.png)",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", choices=[[], *MODELS], metavar="NAME", help=f"of {', '.join(MODELS)} (default: all)"
    )
    parser.add_argument("--minutes", type=float, help="of training, instead of the model's own")
    parser.add_argument("--measure", action="store_true", help="measure what ships, without training")
    parser.add_argument("--work", type=Path, default=HERE.parent / "build/saved_models")
    args = parser.parse_args()
    for name in args.names or MODELS:
        measure(name, args.work) if args.measure else make(name, args.minutes, args.work)


if __name__ == "__main__":
    main()
