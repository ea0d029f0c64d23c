"""Score layers, motions and renders against exact ground truth.

One definition for every figure of the project, computed from arrays or from folders. A folder of predictions for a
scene holds `background.png`, `masks/00000.png`..., `motion.json` (forward steps) and `shots/NAME.png` for each shot in
the scene's `shots.json`. A column with anything missing, of another size or not finite is incomplete: it is named and
gets no mean.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SHOTS = ("move", "swap", "transfer")  # the kinds of shots, with which their names begin
COLUMNS = ("bg_psnr", "iou", "corner_px", *(f"{kind}_{part}" for kind in SHOTS for part in ("psnr", "char")))
MOST_PSNR = 60.0  # dB, of equal pictures too: beyond it a difference is a rounding
STILL = 0.25  # px: a smaller step is no motion by which an estimator could be judged
BOX_MARGIN = 2  # px around the character in which a render is compared


def psnr(true: np.ndarray, got: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, at most `MOST_PSNR`, of pictures with values in [0, 1].

    Example:
        >>> round(psnr(np.zeros((2, 2, 3)), np.full((2, 2, 3), 0.1)), 6)
        20.0
    """
    error = np.mean(np.square(np.asarray(true, np.float64) - np.asarray(got, np.float64)))
    return float(min(-10 * np.log10(error + 1e-12), MOST_PSNR))


def mask_iou(true: Iterable[np.ndarray], got: Iterable[np.ndarray]) -> float:
    """Mean over frames of intersection / union of the masks above one half; nan where no frame counts.

    Convention: coverage in [0, 1]; a frame where both masks are empty does not count.
    """
    ratios = []
    for a, b in zip(true, got, strict=True):
        a, b = np.asarray(a) > 0.5, np.asarray(b) > 0.5
        if union := np.count_nonzero(a | b):
            ratios.append(np.count_nonzero(a & b) / union)
    return float(np.mean(ratios)) if ratios else float("nan")


def corner_error(
    true: np.ndarray, got: np.ndarray, centre: np.ndarray, size: tuple[int, int], half_side: float = 0.5
) -> float:
    """Mean distance in pixels between where two motions carry the corners of the character's box.

    Convention: forward motions [2, 3]; the box is a square about `centre` (normalized), half of whose side is
        `half_side` in units of half the frame's height; size is (height, width).

    Example:
        >>> corner_error(np.eye(2, 3), [[1, 0, 0.5], [0, 1, 0]], (0, 0), (64, 64))
        16.0
    """
    height, width = size
    half = np.array([height / width, 1.0]) * half_side
    corners = np.asarray(centre) + half * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    difference = np.asarray(true, np.float64) - np.asarray(got, np.float64)
    offsets = (corners @ difference[:, :2].T + difference[:, 2]) * np.array([width / 2, height / 2])
    return float(np.hypot(*offsets.T).mean())


def motion_error(true: np.ndarray, got: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> float:
    """Mean corner error in pixels over the steps that move the character by more than `STILL`; nan where none does.

    Shapes: true, got [steps, 2, 3]; centre [frames, 2].
    """
    still = np.eye(2, 3)
    steps = [(a, b, c) for a, b, c in zip(true, got, centre) if corner_error(a, still, c, size) > STILL]
    return float(np.mean([corner_error(a, b, c, size) for a, b, c in steps])) if steps else float("nan")


def character_box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns of the pixels that are mostly character, and a margin on every side; None without any."""
    ys, xs = np.nonzero(np.asarray(mask) > 0.5)
    if not len(ys):
        return None
    rows, columns = (slice(max(at.min() - BOX_MARGIN, 0), at.max() + BOX_MARGIN + 1) for at in (ys, xs))
    return rows, columns


class Incomplete(Exception):
    """A figure cannot be had; the message says what is wrong with the prediction."""


def read_picture(path: Path, mode: str) -> np.ndarray:
    """Read a picture, [H, W(, c)] in [0, 1], in a mode of Pillow's: "L" or "RGB"."""
    with Image.open(path) as image:
        return np.asarray(image.convert(mode), np.float64) / 255


def read_pairs(expected: Iterable[Path], folder: Path, mode: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each expected picture with the one of the same name in a folder of predictions."""
    for path in expected:
        true, prediction = read_picture(path, mode), folder / path.name
        if not prediction.is_file():
            raise Incomplete(f"no {prediction.name} in {folder}")
        got = read_picture(prediction, mode)
        if got.shape != true.shape:
            raise Incomplete(f"{prediction.name} is {got.shape[:2]}, expected {true.shape[:2]}")
        yield true, got


def background_figure(scene: Path, prediction: Path) -> dict[str, float]:
    """The figure of the background, where the scene has one."""
    if not (scene / "background.png").is_file():
        return {}
    ((true, got),) = read_pairs([scene / "background.png"], prediction, "RGB")
    return {"bg_psnr": psnr(true, got)}


def mask_figure(scene: Path, prediction: Path) -> dict[str, float]:
    """The figure of the masks."""
    expected = sorted((scene / "masks").glob("*.png"))
    pairs = [(true > 0.5, got > 0.5) for true, got in read_pairs(expected, prediction / "masks", "L")]
    return {"iou": mask_iou(*zip(*pairs))} if pairs else {}


def motion_figure(scene: Path, prediction: Path) -> dict[str, float]:
    """The figure of the motion, where the scene has one."""
    if not (scene / "motion.json").is_file():
        return {}
    truth = json.loads((scene / "motion.json").read_text())
    true = np.asarray(truth["motion"], np.float64)
    got = read_steps(prediction / "motion.json", true.shape)
    return {"corner_px": motion_error(true, got, np.asarray(truth["pose_centre"]), truth["size"])}


def read_steps(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read the steps of a motion.json or camera.json of a prediction, float64 [T - 1, 2, 3].

    Raises:
        Incomplete: there are none, or they are not finite or of another shape.
    """
    try:
        got = np.asarray(json.loads(path.read_text(encoding="utf-8"))["motion"], np.float64)
    except (OSError, ValueError, KeyError, TypeError):
        raise Incomplete(f"no {path.name} with a motion in {path.parent}") from None
    if got.shape != shape or not np.isfinite(got).all():
        raise Incomplete(f"motion in {path.name} is {got.shape}, or not finite; expected {shape}")
    return got


def shot_figures(kind: str, scene: Path, prediction: Path) -> dict[str, float]:
    """The figures of the shots of a kind, with which their names begin."""
    shots = json.loads((scene / "shots.json").read_text()) if (scene / "shots.json").is_file() else []
    expected = [scene / "expected" / f"{shot['name']}.png" for shot in shots if shot["name"].startswith(kind)]
    whole, inside = [], []
    for path, (true, got) in zip(expected, read_pairs(expected, prediction / "shots", "RGB")):
        whole.append(psnr(true, got))
        if box := character_box(read_picture(scene / "expected_masks" / path.name, "L")):
            inside.append(psnr(true[box], got[box]))
    values = {f"{kind}_psnr": whole, f"{kind}_char": inside}
    return {column: float(np.mean(value)) for column, value in values.items() if value}


_FIGURES: dict[str, Callable[[Path, Path], dict[str, float]]] = {
    "bg_psnr": background_figure,
    "iou": mask_figure,
    "corner_px": motion_figure,
    **{kind: functools.partial(shot_figures, kind) for kind in SHOTS},
}


def score_scene(scene: str | Path, prediction: str | Path) -> dict[str, float]:
    """The figures of one scene: its complete columns of `COLUMNS`, without those that have nothing to count.

    Args:
        scene: a scene folder; what it has no truth for gets no figure.
        prediction: the folder of predictions for it.
    """
    return _score_scene(Path(scene), Path(prediction)).figures


@dataclasses.dataclass(frozen=True)
class SceneScore:
    """The figures of one scene, and for each kind of figure that is not complete what is wrong."""

    figures: dict[str, float]
    problems: dict[str, str]


def scene_score(
    computations: Mapping[str, Callable[[Path, Path], dict[str, float]]], scene: Path, prediction: Path
) -> SceneScore:
    """What computations, by kind of figure, give of a scene and the predictions for it; without what is not finite."""
    found, problems = {}, {}
    for kind, compute in computations.items():
        try:
            found.update(compute(scene, prediction))
        except Incomplete as error:
            problems[kind] = str(error)
    return SceneScore({column: value for column, value in found.items() if np.isfinite(value)}, problems)


def _score_scene(scene: Path, prediction: Path) -> SceneScore:
    """As `score_scene`, with what is wrong."""
    return scene_score(_FIGURES, scene, prediction)


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """Figures of each scene, and what keeps columns from being complete.

    Attributes:
        rows: for each scene's name its figures.
        problems: lines "SCENE: COLUMN: what is wrong".
        incomplete: the columns (of a kind of shots both) that some scene has no figure for.
        columns: that there are.
    """

    rows: dict[str, dict[str, float]]
    problems: tuple[str, ...] = ()
    incomplete: frozenset[str] = frozenset()
    columns: tuple[str, ...] = COLUMNS

    @property
    def mean(self) -> dict[str, float]:
        """Means over the scenes, of the columns that are complete."""
        values = {column: [row[column] for row in self.rows.values() if column in row] for column in self.columns}
        return {column: float(np.mean(v)) for column, v in values.items() if v and column not in self.incomplete}


def score(
    scenes: str | Path | Iterable[str | Path],
    predictions: str | Path,
    *,
    scorer: Callable[[Path, Path], SceneScore] | None = None,
    columns: tuple[str, ...] = COLUMNS,
) -> Scorecard:
    """Score a method on scenes.

    Args:
        scenes: a folder that holds scene folders, or the scene folders.
        predictions: holds a folder of the same name for each scene.
        scorer: of one scene; None: that of scenes with one character.
        columns: that it gives.

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
    scorer = scorer or _score_scene
    scores = {scene.name: scorer(scene, Path(predictions) / scene.name) for scene in found}
    kinds = {kind for scored in scores.values() for kind in scored.problems}
    incomplete = {column for column in columns if column in kinds or column.split("_")[0] in kinds}
    problems = (f"{name}: {kind}: {text}" for name, scored in scores.items() for kind, text in scored.problems.items())
    rows = {name: scored.figures for name, scored in scores.items()}
    return Scorecard(rows, tuple(problems), frozenset(incomplete), columns)


def figures(cards: Mapping[str, Scorecard]) -> dict[str, dict[str, float]]:
    """Every row and mean of several methods under METHOD/SCENE and METHOD/MEAN, for JSON."""
    return {
        f"{method}/{name}": row
        for method, card in cards.items()
        for name, row in {**card.rows, "MEAN": card.mean}.items()
    }


def table(cards: Mapping[str, Scorecard]) -> str:
    """The figures of several methods as text, a line per scene and one for the mean; a gap is a dash."""
    columns = next(iter(cards.values())).columns
    lines = [f"{'':28s}" + "".join(f"{column:>14s}" for column in columns)]
    for name, row in figures(cards).items():
        cells = (f"{row[column]:14.3f}" if column in row else f"{'-':>14s}" for column in columns)
        lines.append(f"{name:28s}" + "".join(cells))
    lines += [f"incomplete: {method}/{line}" for method, card in cards.items() for line in card.problems]
    return "\n".join(lines)
