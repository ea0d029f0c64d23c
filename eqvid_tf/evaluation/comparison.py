"""Compare a model with the scissors on scenes with ground truth: the figures, and a contact sheet of what they mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import ClipError, open_clip, read_image
from eqvid_tf.evaluation import baseline, moving_scorecard, scorecard, set_scorecard
from eqvid_tf.evaluation.scorecard import Scorecard
from eqvid_tf.evaluation.stabilized_baseline import write_stabilized_predictions
from eqvid_tf.evaluation.tracked_baseline import write_tracked_predictions
from eqvid_tf.pixels.sheets import contact_sheet, error_map
from eqvid_tf.progress import no_progress
from eqvid_tf.rendering.shots import render_shots
from eqvid_tf.separation.cast import Cast
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.separation.folder import write_layers

TRUTH = ("masks", "background.png", "motion.json")  # a scene has one of them at least
COLOURS = np.array([[230, 60, 50], [60, 120, 230], [240, 200, 40], [60, 190, 90], [180, 80, 210], [80, 210, 220]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Kind:
    """How scenes are scored, and what they are compared with.

    Attributes:
        score: scenes and folders of predictions.
        write_baseline: what the scissors make of scenes.
        shots: kinds of shots, with which their names begin.
        truth: what they have one for, in words.
    """

    truth: str
    score: Callable[..., Scorecard]
    write_baseline: Callable[..., object]
    shots: tuple[str, ...]


ONE = _Kind(
    truth="one for all together",
    score=scorecard.score,
    write_baseline=baseline.write_predictions,
    shots=scorecard.SHOTS,
)
SET = _Kind(
    truth="a truth for each character",
    score=set_scorecard.score_sets,
    write_baseline=write_tracked_predictions,
    shots=set_scorecard.SHOTS,
)

MOVING = _Kind(
    truth="a truth for its moving camera",
    score=moving_scorecard.score_moving,
    write_baseline=write_stabilized_predictions,
    shots=moving_scorecard.SHOTS,
)


def has_truth(scene: Path) -> bool:
    """Whether a path is a scene with ground truth."""
    return (scene / "frames").is_dir() and any((scene / part).exists() for part in TRUTH)


def evaluate(
    model: EquivariantVideoModel,
    scenes: Iterable[str | Path],
    folder: Path,
    *,
    cast: Cast | None = None,
    network_only: bool = False,
    cache: str | Path | None = "auto",
    progress: Callable[..., Any] = no_progress,
) -> tuple[dict[str, Scorecard], np.ndarray]:
    """Score the model and the scissors on scenes, and draw a contact sheet.

    Scenes with a truth for each character have figures of their own, and scissors that track
    (`eqvid_tf.evaluation.set_scorecard`, `eqvid_tf.evaluation.tracked_baseline`), as have scenes that a moving camera
    sees (`moving_scorecard`, `stabilized_baseline`).

    Args:
        model: that is measured.
        scenes: scene folders.
        folder: gets what the model and the scissors made of the scenes, in eqvid/SCENE and scissors/SCENE.
        cast: of the model, see `ClipCharacters`.
        network_only: the model's own output alone, without the frames' pixels.
        cache: see `open_clip`.
        progress: called as progress(items, label) around the scenes; returns the items.

    Returns:
        The scorecards "eqvid" and "scissors", and the sheet, uint8 [H, W, 3].

    Raises:
        ClipError: a scene has no ground truth, two have one name, or scenes are of several kinds.
    """
    folders = [Path(scene).resolve() for scene in scenes]
    for scene in folders:
        if not has_truth(scene):
            raise ClipError(f"{scene}: this is no scene with ground truth: frames/, and {' or '.join(TRUTH)}.")
    if len({scene.name for scene in folders}) < len(folders):
        raise ClipError("two scenes share a name; evaluate them one by one.")
    kind, ours, theirs = _kind_of(folders), folder / "eqvid", folder / "scissors"
    options: dict[str, Any] = {"cast": cast, "network_only": network_only, "cache": cache}
    card = score_model(model, folders, ours, **options, progress=progress)
    kind.write_baseline(folders, theirs)
    return {"eqvid": card, "scissors": kind.score(folders, theirs)}, _sheet(folders, ours, theirs, kind.shots)


def _kind_of(scenes: Sequence[Path]) -> _Kind:
    """The kind of all scenes."""
    kind = _kind_of_one(scenes[0])
    for scene in scenes[1:]:
        if (other := _kind_of_one(scene)) is not kind:
            raise ClipError(
                f"{scenes[0].name} has {kind.truth}, {scene.name} has {other.truth}: their figures differ. "
                "Evaluate them apart."
            )
    return kind


def _kind_of_one(scene: Path) -> _Kind:
    if moving_scorecard.has_moving_camera(scene):
        return MOVING
    return SET if set_scorecard.has_characters(scene) else ONE


def score_model(
    model: EquivariantVideoModel,
    scenes: Sequence[Path],
    folder: Path,
    *,
    cast: Cast | None = None,
    network_only: bool = False,
    cache: str | Path | None = "auto",
    progress: Callable[..., Any] = no_progress,
) -> Scorecard:
    """Score a model on scenes; what it makes of them is in folder/SCENE.

    Args: see `evaluate`.
    """
    kind = _kind_of(scenes)
    for scene in progress(scenes, "evaluating"):
        _write_predictions(model, scene, folder / scene.name, cast, network_only, cache)
    return kind.score(scenes, folder)


def read_rgba(path: Path) -> np.ndarray:
    """Read an RGBA picture as it is, uint8 [H, W, 4]."""
    return np.asarray(Image.open(path).convert("RGBA"))


def _write_predictions(
    model: EquivariantVideoModel,
    scene: Path,
    folder: Path,
    cast: Cast | None,
    network_only: bool,
    cache: str | Path | None,
) -> None:
    """Write all that the scorecard reads of a scene: layers, motion and shots."""
    options: dict[str, Any] = {"cast": cast, "network_only": network_only}
    plates = moving_scorecard.has_moving_camera(scene)
    write_layers(ClipCharacters(model, open_clip(scene, cache=cache), **options), folder, plates=plates)
    shots = scene / "shots.json"
    if shots.is_file():
        render_shots(model, shots, folder / "shots", given_only=not model.T.learned, cache=cache, **options)


def _sheet(scenes: Sequence[Path], ours: Path, theirs: Path, kinds: Sequence[str]) -> np.ndarray:
    """A contact sheet: a frame of each scene, its layers, and renders beside the truth and the scissors'."""
    rows, titles = [], []
    for scene in scenes:
        made = ours / scene.name
        masks = sorted((made / "masks").glob("*.png"))
        index = len(masks) // 3
        frame = read_image(sorted((scene / "frames").iterdir())[index])
        character = read_rgba(made / "character" / masks[index].name)
        rows.append([frame, read_image(made / "background.png"), _coloured(made, masks[index].name), character])
        titles.append(scene.name)
        for kind in kinds:
            for path in sorted((made / "shots").glob(f"{kind}-*.png"))[:1]:
                expected, render = read_image(scene / "expected" / path.name), read_image(path)
                scissors = read_image(theirs / scene.name / "shots" / path.name)
                rows.append([expected, render, scissors, error_map(expected, render)])
                titles.append(kind)
    columns = [
        "frame, or true render",
        "background, or render",
        "mask, or the scissors' render",
        "character, or where the error is",
    ]
    return contact_sheet(rows, column_titles=columns, row_titles=titles)


def _coloured(folder: Path, name: str) -> np.ndarray:
    """The mask of a frame; of several characters each in a colour of its own."""
    places = sorted((folder / "characters").iterdir(), key=lambda place: int(place.name))
    if len(places) == 1:
        return read_image(folder / "masks" / name)
    masks = [read_image(place / "masks" / name)[..., :1] / 255 for place in places]
    return np.sum([mask * COLOURS[n % len(COLOURS)] for n, mask in enumerate(masks)], 0).clip(0, 255).astype(np.uint8)
