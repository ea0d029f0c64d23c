"""Score what a method makes of scenes with a set of characters, each with a truth of its own.

A scene holds for each character `characters/K/masks/` (its visible coverage) and `characters/K/motion.json`; a folder
of predictions holds the same, numbered as the method likes, beside `background.png` and `shots/`. True and predicted
characters are matched once for the whole clip, so that exchanged identities cost as much as missing ones.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from eqvid_tf.evaluation import scorecard
from eqvid_tf.evaluation.matching import match
from eqvid_tf.evaluation.scorecard import STILL, Incomplete, SceneScore, Scorecard, corner_error, read_picture

SHOTS = ("remove", "move", "cast")  # the kinds of shots, with which their names begin
FIGURES = ("bg_psnr", "count", "iou", "ari", "corner_px")
COLUMNS = (*FIGURES, *(f"{kind}_{part}" for kind in SHOTS for part in ("psnr", "char")))
LEAST_SHOWN = 0.3  # share of a character that shows in both frames of a step that counts


def has_characters(scene: Path) -> bool:
    """Whether a scene has a truth for each character."""
    return (scene / "characters").is_dir()


def score_sets(scenes: Iterable[str | Path], predictions: str | Path) -> Scorecard:
    """Score a method on scenes with a set of characters; see `eqvid_tf.evaluation.scorecard.score`."""
    return scorecard.score(scenes, predictions, scorer=_score_scene, columns=COLUMNS)


def adjusted_rand(true: np.ndarray, got: np.ndarray) -> float:
    """The adjusted Rand index of two labellings of the same pixels: 1 is the same, 0 what chance gives.

    Source: L. Hubert and P. Arabie, Comparing Partitions, Journal of Classification 1985.

    Example:
        >>> adjusted_rand(np.array([1, 1, 2, 2]), np.array([5, 5, 0, 0]))
        1.0
    """
    table = np.array([[np.sum((true == a) & (got == b)) for b in np.unique(got)] for a in np.unique(true)], np.float64)
    pairs = lambda n: n * (n - 1) / 2
    both, rows, columns = pairs(table).sum(), pairs(table.sum(1)).sum(), pairs(table.sum(0)).sum()
    chance, most = rows * columns / pairs(table.sum()), (rows + columns) / 2
    return float((both - chance) / (most - chance)) if most > chance else 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Matched:
    """The true and the predicted characters of a scene.

    Attributes:
        true: coverage, [K, T, H, W] in [0, 1].
        got: coverage, [K', T, H, W] in [0, 1].
        folders: of the true ones.
        predictions: for each true one the folder of its match; None without one.
        masks: for each true one that of its match, [K, T, H, W] bool.
    """

    true: np.ndarray
    got: np.ndarray
    folders: list[Path]
    predictions: list[Path | None]
    masks: np.ndarray


def _score_scene(scene: Path, prediction: Path) -> SceneScore:
    """The figures of one scene, and what is wrong with the predictions."""
    matched = functools.cache(lambda: _match(scene, prediction))  # made by the first figure that needs it
    figures: dict[str, Callable[[Path, Path], dict[str, float]]] = {
        "bg_psnr": scorecard.background_figure,
        "count": lambda *_: {"count": float(abs(len(matched().got) - len(matched().true)))},
        "iou": lambda *_: {"iou": _iou(matched())},
        "ari": lambda *_: {"ari": _ari(matched())},
        "corner_px": lambda *_: {"corner_px": _corner_error(matched())},
        **{kind: functools.partial(scorecard.shot_figures, kind) for kind in SHOTS},
    }
    return scorecard.scene_score(figures, scene, prediction)


def _match(scene: Path, prediction: Path) -> _Matched:
    folders, others = (_folders(place) for place in (scene, prediction))
    true, got = _coverage(folders), _coverage(others)
    if true is None or got is None or true.shape[1:] != got.shape[1:]:
        raise Incomplete(f"characters/*/masks are missing or not {() if true is None else true.shape[1:]}")
    hard, guess = true > 0.5, got > 0.5
    both = np.array([[np.count_nonzero(a & b) for b in guess] for a in hard])
    either = np.array([[np.count_nonzero(a | b) for b in guess] for a in hard])
    found = match(both / np.maximum(either, 1))
    nothing = np.zeros(true.shape[1:], bool)
    masks = np.stack([nothing if n is None else guess[n] for n in found])
    predictions = [None if n is None else others[n] for n in found]
    return _Matched(true=true, got=got, folders=folders, predictions=predictions, masks=masks)


def _folders(place: Path) -> list[Path]:
    """The folders of the characters, by number."""
    found = (path for path in (place / "characters").glob("*") if (path / "masks").is_dir())
    return sorted(
        found, key=lambda path: (not path.name.isdigit(), int(path.name) if path.name.isdigit() else path.name)
    )


def _coverage(folders: list[Path]) -> np.ndarray | None:
    """The masks of characters, float32 [K, T, H, W]; None where there are none, or not as many or as large of each."""
    masks = [[read_picture(path, "L") for path in sorted((one / "masks").glob("*.png"))] for one in folders]
    shapes = {(len(one), *{mask.shape for mask in one}) for one in masks}
    alike = len(shapes) == 1 and len(next(iter(shapes))) == 2
    return np.array(masks, np.float32) if alike else None


def _iou(found: _Matched) -> float:
    return float(np.mean([scorecard.mask_iou(*pair) for pair in zip(found.true, found.masks)]))


def _ari(found: _Matched) -> float:
    """Over the pixels that show a character; nan of a scene of one, where any slip would make it 0."""
    if len(found.true) < 2:
        return float("nan")
    true, got = (np.where(c.max(0) > 0.5, 1 + c.argmax(0), 0) for c in (found.true, found.got))
    return adjusted_rand(true[true > 0], got[true > 0])


def _corner_error(found: _Matched) -> float:
    """Mean over the characters whose motion is known; nan where none moves."""
    errors = []
    for folder, prediction in zip(found.folders, found.predictions):
        if (folder / "motion.json").is_file():
            truth = json.loads((folder / "motion.json").read_text(encoding="utf-8"))
            errors += _step_errors(truth, prediction and prediction / "motion.json")
    return float(np.mean(errors)) if errors else float("nan")


def _step_errors(truth: dict, path: Path | None) -> list[float]:
    """The mean error over the steps of a character that count; a character without a match stands still."""
    true, still = np.asarray(truth["motion"], np.float64), np.eye(2, 3)
    got = np.broadcast_to(still, true.shape) if path is None else scorecard.read_steps(path, true.shape)
    error = lambda a, b, c: corner_error(a, b, c, truth["size"], truth.get("half_side", 0.5))
    shown = np.minimum(truth["visible"][:-1], truth["visible"][1:])
    steps = [step for step in zip(true, got, truth["pose_centre"], shown) if step[3] >= LEAST_SHOWN]
    errors = [error(a, b, c) for a, b, c, _ in steps if error(a, still, c) > STILL]
    return [float(np.mean(errors))] if errors else []
