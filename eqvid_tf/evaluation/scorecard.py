"""How good recovered layers, motions and renders are, against exact ground truth.

One definition for every figure of the project, computed from arrays or from folders. A folder of
predictions for a scene holds `background.png`, `masks/00000.png`..., `motion.json` (forward steps) and
`shots/NAME.png` for each job in the scene's `shots.json`. A column with anything missing, of another size
or not finite is incomplete: it is named and gets no mean.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SHOTS = ("move", "swap", "transfer")
COLUMNS = ("bg_psnr", "iou", "corner_px", *(f"{kind}_{part}" for kind in SHOTS for part in ("psnr", "char")))
BEST = 60.0  # dB, given to equal pictures too
STILL = 0.25  # px, below which a step is no motion that an estimator could be blamed for


def psnr(true: np.ndarray, got: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, at most 60, of pictures with values in [0, 1].

    Example:
        >>> round(psnr(np.zeros((2, 2, 3)), np.full((2, 2, 3), 0.1)), 6)
        20.0
    """
    error = np.mean(np.square(np.asarray(true, np.float64) - np.asarray(got, np.float64)))
    return float(min(-10 * np.log10(error + 1e-12), BEST))


def mask_iou(true: Iterable[np.ndarray], got: Iterable[np.ndarray]) -> float:
    """Mean over frames of intersection / union of the masks above one half.

    Convention: coverage in [0, 1]; a frame where both masks are empty does not count.

    Returns:
        The mean, or nan where no frame counts.
    """
    ratios = []
    for a, b in zip(true, got, strict=True):
        a, b = np.asarray(a) > 0.5, np.asarray(b) > 0.5
        if union := np.count_nonzero(a | b):
            ratios.append(np.count_nonzero(a & b) / union)
    return float(np.mean(ratios)) if ratios else float("nan")


def corner_error(true: np.ndarray, got: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> float:
    """Mean distance in pixels between where two motions carry the corners of the character's box.

    Convention: forward motions [2, 3]; the box is a square of half the frame's height about `centre`
    (normalized); size is (height, width).

    Example:
        >>> corner_error(np.eye(2, 3), [[1, 0, 0.5], [0, 1, 0]], (0, 0), (64, 64))
        16.0
    """
    height, width = size
    half = np.array([height / width, 1.0]) / 2
    corners = np.asarray(centre) + half * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    difference = np.asarray(true, np.float64) - np.asarray(got, np.float64)
    apart = (corners @ difference[:, :2].T + difference[:, 2]) * np.array([width / 2, height / 2])
    return float(np.hypot(apart[:, 0], apart[:, 1]).mean())


def motion_error(true: np.ndarray, got: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> float:
    """Mean corner error in pixels over the steps in which the character moves by more than 0.25 px.

    Shapes: true, got [steps, 2, 3]; centre [frames, 2].

    Returns:
        The mean, or nan where nothing moves.
    """
    still = np.eye(2, 3)
    steps = [(a, b, c) for a, b, c in zip(true, got, centre) if corner_error(a, still, c, size) > STILL]
    return float(np.mean([corner_error(a, b, c, size) for a, b, c in steps])) if steps else float("nan")


def character_box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns of the pixels that are mostly character, two pixels wider on every side; None without any."""
    ys, xs = np.nonzero(np.asarray(mask) > 0.5)
    if not len(ys):
        return None
    return slice(max(ys.min() - 2, 0), ys.max() + 3), slice(max(xs.min() - 2, 0), xs.max() + 3)


class _Incomplete(Exception):
    """A figure cannot be had; the message says what is wrong with the prediction."""


def _read(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode), np.float64) / 255


def _pairs(expected: Iterable[Path], folder: Path, mode: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for path in expected:
        want, found = _read(path, mode), folder / path.name
        if not found.is_file():
            raise _Incomplete(f"no {found.name} in {folder}")
        got = _read(found, mode)
        if got.shape != want.shape:
            raise _Incomplete(f"{found.name} is {got.shape[:2]}, expected {want.shape[:2]}")
        yield want, got


def _background(scene: Path, prediction: Path) -> dict[str, float]:
    if not (scene / "background.png").is_file():
        return {}
    (pair,) = _pairs([scene / "background.png"], prediction, "RGB")
    return {"bg_psnr": psnr(*pair)}


def _masks(scene: Path, prediction: Path) -> dict[str, float]:
    expected = sorted((scene / "masks").glob("*.png"))
    pairs = [(want > 0.5, got > 0.5) for want, got in _pairs(expected, prediction / "masks", "L")]
    return {"iou": mask_iou(*zip(*pairs))} if pairs else {}


def _motion(scene: Path, prediction: Path) -> dict[str, float]:
    if not (scene / "motion.json").is_file():
        return {}
    truth = json.loads((scene / "motion.json").read_text())
    want, path = np.asarray(truth["motion"], np.float64), prediction / "motion.json"
    try:
        got = np.asarray(json.loads(path.read_text())["motion"], np.float64)
    except (OSError, ValueError, KeyError, TypeError):
        raise _Incomplete(f"no motion.json with a motion in {prediction}") from None
    if got.shape != want.shape or not np.isfinite(got).all():
        raise _Incomplete(f"motion in motion.json is {got.shape}, or not finite; expected {want.shape}")
    return {"corner_px": motion_error(want, got, np.asarray(truth["pose_centre"]), truth["size"])}


def _shots(kind: str) -> Callable[[Path, Path], dict[str, float]]:
    def figures(scene: Path, prediction: Path) -> dict[str, float]:
        jobs = json.loads((scene / "shots.json").read_text()) if (scene / "shots.json").is_file() else []
        expected = [scene / "expected" / f"{job['name']}.png" for job in jobs if job["name"].startswith(kind)]
        whole, inside = [], []
        for path, (want, got) in zip(expected, _pairs(expected, prediction / "shots", "RGB")):
            whole.append(psnr(want, got))
            if box := character_box(_read(scene / "expected_masks" / path.name, "L")):
                inside.append(psnr(want[box], got[box]))
        figures = {f"{kind}_psnr": whole, f"{kind}_char": inside}
        return {column: float(np.mean(values)) for column, values in figures.items() if values}

    return figures


FIGURES = {"bg_psnr": _background, "iou": _masks, "corner_px": _motion, **{kind: _shots(kind) for kind in SHOTS}}


def score_scene(scene: str | Path, prediction: str | Path, problems: list[str] | None = None) -> dict[str, float]:
    """The figures of one scene.

    Args:
        scene: a scene folder; what it has no truth for gets no figure.
        prediction: the folder of predictions for it.
        problems: gets a line "SCENE: COLUMN: what is wrong" for each column that is not complete.

    Returns:
        The complete columns of `COLUMNS`. A column without anything to count is left out too.
    """
    scene, figures = Path(scene), {}
    for column, compute in FIGURES.items():
        try:
            figures.update(compute(scene, Path(prediction)))
        except _Incomplete as error:
            if problems is not None:
                problems.append(f"{scene.name}: {column}: {error}")
    return {column: value for column, value in figures.items() if np.isfinite(value)}


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """Figures per scene, and what kept a column from being complete.

    Attributes:
        rows: for each scene's name its figures.
        problems: lines "SCENE: COLUMN: what is wrong".
        incomplete: the columns (of a shot's kind both) that some scene has no figure for.
    """

    rows: dict[str, dict[str, float]]
    problems: tuple[str, ...] = ()
    incomplete: frozenset[str] = frozenset()

    @property
    def mean(self) -> dict[str, float]:
        """Means over the scenes, of the columns that are complete."""
        values = {column: [row[column] for row in self.rows.values() if column in row] for column in COLUMNS}
        return {column: float(np.mean(v)) for column, v in values.items() if v and column not in self.incomplete}


def score(scenes: str | Path | Iterable[str | Path], predictions: str | Path) -> Scorecard:
    """Scores a method on scenes.

    Args:
        scenes: a folder that holds scene folders, or the scene folders.
        predictions: holds a folder of the same name for each scene.

    Raises:
        FileNotFoundError: there is no scene, or no such folder of predictions.
    """
    if isinstance(scenes, str | Path):
        found = sorted(path for path in Path(scenes).glob("*") if (path / "frames").is_dir())
    else:
        found = [Path(path) for path in scenes]
    if not found:
        raise FileNotFoundError(f"scenes must hold a folder with frames/; received {scenes}. Give scene folders.")
    if not Path(predictions).is_dir():
        raise FileNotFoundError(f"predictions must be a folder; received {predictions}. Write predictions first.")
    rows, problems, incomplete = {}, [], set()
    for scene in found:
        lines: list[str] = []
        rows[scene.name] = score_scene(scene, Path(predictions) / scene.name, lines)
        problems += lines
        for column in (line[len(scene.name) + 2 :].split(":")[0] for line in lines):
            incomplete |= {f"{column}_psnr", f"{column}_char"} if column in SHOTS else {column}
    return Scorecard(rows, tuple(problems), frozenset(incomplete))


def figures(cards: Mapping[str, Scorecard]) -> dict[str, dict[str, float]]:
    """Every row and mean of several methods under METHOD/SCENE and METHOD/MEAN, ready for JSON."""
    return {
        f"{method}/{name}": row
        for method, card in cards.items()
        for name, row in {**card.rows, "MEAN": card.mean}.items()
    }


def table(cards: Mapping[str, Scorecard]) -> str:
    """The figures of several methods as text, a line per scene and one for the mean; a gap is a dash."""
    lines = [f"{'':28s}" + "".join(f"{column:>14s}" for column in COLUMNS)]
    for name, row in figures(cards).items():
        cells = (f"{row[column]:14.3f}" if column in row else f"{'-':>14s}" for column in COLUMNS)
        lines.append(f"{name:28s}" + "".join(cells))
    lines += [f"incomplete: {method}/{line}" for method, card in cards.items() for line in card.problems]
    return "\n".join(lines)
