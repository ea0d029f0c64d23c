"""What benchmarks share: errors in pixels, statistics of ranks, a cache of results, pages that hold their figures."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import write

import eqvid_tf
from eqvid_tf.data.output import write_text
from eqvid_tf.evaluation.scorecard import corner_error
from eqvid_tf.pixels.coordinates import homogeneous

ROOT = Path(__file__).parents[1]
HEIGHT = 64  # pixels are those of a frame of this height
MARKS = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- /table -->)", re.DOTALL)


def scenes_in(folder: Path) -> list[Path]:
    """The scenes of a folder: what has frames/ in it."""
    return sorted(path for path in folder.resolve().iterdir() if (path / "frames").is_dir())


def ranks(values) -> np.ndarray:
    """Rank of each value from 0; equal values share their mean rank."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def spearman(a, b) -> float:
    """Spearman's rank correlation; nan where one of the two does not vary."""
    a, b = ranks(a) - (len(a) - 1) / 2, ranks(b) - (len(b) - 1) / 2
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else float("nan")


def auroc(positive, negative) -> float:
    """Chance that a value drawn from `positive` is above one from `negative`; a tie counts as half."""
    rank = ranks(np.concatenate([positive, negative]))[: len(positive)]
    return float((rank.mean() - (len(positive) - 1) / 2) / len(negative))


def roc(positive, negative) -> tuple[np.ndarray, np.ndarray]:
    """Rates of false and true alarms as the threshold falls, both from 0 to 1."""
    levels = np.unique(np.concatenate([positive, negative]))[::-1]
    above = lambda values: np.concatenate([[0.0], [(np.asarray(values) >= level).mean() for level in levels]])
    return above(negative), above(positive)


def motion_between(steps, first: int, second: int) -> np.ndarray:
    """The forward motion [2, 3] from one frame to another, later or earlier: the product of the steps [T - 1, 2, 3]."""
    motion = np.eye(3)
    for step in homogeneous(steps)[min(first, second) : max(first, second)]:
        motion = step @ motion
    return (np.linalg.inv(motion) if second < first else motion)[:2]


def corner_pixels(true, got, centre, size) -> float:
    """The corner error in pixels of a frame that is 64 high."""
    return corner_error(true, got, centre, size) * HEIGHT / size[0]


def rounded(value):
    """Every number to four digits after the point; what is not a number becomes None."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if not isinstance(value, float | np.floating):
        return value
    return round(float(value), 4) if np.isfinite(value) else None


def number_text(value, digits: int = 2) -> str:
    """A number with so many digits after the point; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def page_with(made: str, text: str) -> str:
    """The text of a page with a table put between its marks."""
    text, count = MARKS.subn(lambda _: made, text)
    if count != 1:
        raise SystemExit("the page must hold <!-- table --> and <!-- /table -->, each in a line of its own")
    return text


def on_a_page(parser: argparse.ArgumentParser, name: str, run: Callable, table: Callable[[dict], str]) -> int:
    """Run a benchmark whose figures stand in docs/NAME.md as a table, or with --check compare the page with them.

    Args:
        parser: gets --work, --json, --page and --check.
        name: of the page and of the file of figures.
        run: measures the figures, with the arguments.
        table: makes Markdown of the figures.

    Returns:
        The exit code: 1 where --check finds another table.
    """
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / name, help=f"what is made on the way (default: build/{name})"
    )
    parser.add_argument("--json", type=Path, default=ROOT / f"benchmarks/results/{name}.json", metavar="FILE")
    parser.add_argument("--page", type=Path, default=ROOT / f"docs/{name}.md", metavar="FILE")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where the page is not what the figures say"
    )
    args = parser.parse_args()
    text = args.page.read_text(encoding="utf-8")
    if args.check:
        return int(page_with(table(json.loads(args.json.read_text(encoding="utf-8"))), text) != text)
    page_with("", text)  # before minutes of training
    figures = run(args)
    write(args.json, figures)
    args.page.write_text(page_with(table(figures), text), encoding="utf-8")
    print(table(figures))
    return 0


def save(figure, path: Path) -> None:
    """Save a plot as a PNG without a date or a version in it, so that the same figures give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def cached(work: Path, name: str, run: Path, settings: dict, make: Callable[[], dict]) -> dict:
    """What `make` gives, from work/NAME-DIGEST.json if it was made before: of this model, settings and code."""
    read = [
        run / "model.keras",
        Path(sys.argv[0]),
        Path(__file__),
        *sorted(Path(eqvid_tf.__file__).parent.rglob("*.py")),
    ]
    parts = [path.read_bytes() for path in read if path.is_file()] + [json.dumps(settings, sort_keys=True).encode()]
    path = work / f"{name}-{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}.json"
    if not path.is_file():
        write_text(path, json.dumps(make()))
    return json.loads(path.read_text(encoding="utf-8"))
