"""Compare a model with the scissors on scenes with ground truth: the figures, and a contact sheet of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import ClipError, open_clip, read_image
from eqvid_tf.evaluation import baseline
from eqvid_tf.evaluation.scorecard import SHOTS, Scorecard, score
from eqvid_tf.pixels.sheets import contact_sheet, error_map
from eqvid_tf.progress import no_progress
from eqvid_tf.rendering.shots import render_shots
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.separation.folder import write_layers

TRUTH = ("masks", "background.png", "motion.json")  # a scene has one of them at least


def evaluate(
    model: EquivariantVideoModel,
    scenes: Iterable[str | Path],
    folder: Path,
    *,
    network_only: bool = False,
    cache: str | Path | None = "auto",
    progress: Callable[..., Any] = no_progress,
) -> tuple[dict[str, Scorecard], np.ndarray]:
    """Score the model and the scissors on scenes, and draw a contact sheet.

    Args:
        model: that is measured.
        scenes: scene folders.
        folder: gets what the model and the scissors made of the scenes, in eqvid/SCENE and scissors/SCENE.
        network_only: the model's own output alone, without the frames' pixels.
        cache: see `open_clip`.
        progress: called as progress(items, label) around the scenes; returns the items.

    Returns:
        The scorecards "eqvid" and "scissors", and the sheet, uint8 [H, W, 3].

    Raises:
        ClipError: a scene has no ground truth, or two have one name.
    """
    folders = [Path(scene).resolve() for scene in scenes]
    for scene in folders:
        if not (scene / "frames").is_dir() or not any((scene / part).exists() for part in TRUTH):
            raise ClipError(f"{scene}: this is no scene with ground truth: frames/, and {' or '.join(TRUTH)}.")
    if len({scene.name for scene in folders}) < len(folders):
        raise ClipError("two scenes share a name; evaluate them one by one.")
    ours, theirs = folder / "eqvid", folder / "scissors"
    card = score_model(model, folders, ours, network_only=network_only, cache=cache, progress=progress)
    baseline.write_predictions(folders, theirs)
    return {"eqvid": card, "scissors": score(folders, theirs)}, _sheet(folders, ours, theirs)


def score_model(
    model: EquivariantVideoModel,
    scenes: Sequence[Path],
    folder: Path,
    *,
    network_only: bool = False,
    cache: str | Path | None = "auto",
    progress: Callable[..., Any] = no_progress,
) -> Scorecard:
    """Score a model on scenes; what it makes of them is in folder/SCENE.

    Args: see `evaluate`.
    """
    for scene in progress(scenes, "evaluating"):
        _write_predictions(model, scene, folder / scene.name, network_only, cache)
    return score(scenes, folder)


def read_rgba(path: Path) -> np.ndarray:
    """Read an RGBA picture as it is, uint8 [H, W, 4]."""
    return np.asarray(Image.open(path).convert("RGBA"))


def _write_predictions(
    model: EquivariantVideoModel, scene: Path, folder: Path, network_only: bool, cache: str | Path | None
) -> None:
    """Write all that the scorecard reads of a scene: layers, motion and shots."""
    write_layers(ClipCharacters(model, open_clip(scene, cache=cache), network_only=network_only), folder)
    shots = scene / "shots.json"
    if shots.is_file():
        given_only = not model.T.learned
        render_shots(model, shots, folder / "shots", given_only=given_only, network_only=network_only, cache=cache)


def _sheet(scenes: Sequence[Path], ours: Path, theirs: Path) -> np.ndarray:
    """A contact sheet: a frame of each scene, its layers, and renders beside the truth and the scissors'."""
    rows, titles = [], []
    for scene in scenes:
        made = ours / scene.name
        masks = sorted((made / "masks").glob("*.png"))
        index = len(masks) // 3
        frame = read_image(sorted((scene / "frames").iterdir())[index])
        character = read_rgba(made / "character" / masks[index].name)
        rows.append([frame, read_image(made / "background.png"), read_image(masks[index]), character])
        titles.append(scene.name)
        for kind in SHOTS:
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
