"""A model beside the scissors, on scenes with ground truth: the figures, and a contact sheet of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eqvid_tf.data.clips import ClipError, open_clip, read_image
from eqvid_tf.evaluation import baseline
from eqvid_tf.evaluation.scorecard import Scorecard, score
from eqvid_tf.pixels.sheets import contact_sheet, error_map
from eqvid_tf.progress import no_progress
from eqvid_tf.rendering.shots import render_shots
from eqvid_tf.separation.layers import ClipLayers, write_layers

TRUTH = ("masks", "background.png", "motion.json")


def predict(model, scene: Path, folder: Path, *, network_only: bool = False, cache="auto") -> None:
    """Everything that the scorecard reads of a scene: layers, motion and shots."""
    write_layers(ClipLayers(model, open_clip(scene, cache=cache), network_only=network_only), folder)
    if (scene / "shots.json").is_file():
        render_shots(
            model,
            scene / "shots.json",
            folder / "shots",
            given_only=not model.T.learned,
            network_only=network_only,
            cache=cache,
        )


def scored(
    model,
    scenes: Sequence[Path],
    folder: Path,
    *,
    network_only: bool = False,
    cache="auto",
    progress: Callable = no_progress,
) -> Scorecard:
    """The scorecard of a model on scenes; what it made of them is in folder/SCENE."""
    for scene in progress(scenes, "evaluating"):
        predict(model, scene, folder / scene.name, network_only=network_only, cache=cache)
    return score(scenes, folder)


def evaluate(
    model,
    scenes: Sequence[Path],
    folder: Path,
    *,
    network_only: bool = False,
    cache="auto",
    progress: Callable = no_progress,
) -> tuple[dict[str, Scorecard], np.ndarray]:
    """Scorecards of the model and of the scissors on scenes, and a contact sheet.

    Writes what they made of them to folder/eqvid/SCENE and folder/scissors/SCENE.

    Raises: ClipError where a scene has no ground truth.
    """
    scenes = [Path(scene).resolve() for scene in scenes]
    for scene in scenes:
        if not (scene / "frames").is_dir() or not any((scene / part).exists() for part in TRUTH):
            raise ClipError(f"{scene}: this is no scene with ground truth: frames/, and {' or '.join(TRUTH)}.")
    if len({scene.name for scene in scenes}) < len(scenes):
        raise ClipError("two scenes share a name; evaluate them apart.")
    ours, theirs = folder / "eqvid", folder / "scissors"
    card = scored(model, scenes, ours, network_only=network_only, cache=cache, progress=progress)
    baseline.write_predictions(scenes, theirs)
    return {"eqvid": card, "scissors": score(scenes, theirs)}, sheet(scenes, ours, theirs)


def sheet(scenes: Sequence[Path], ours: Path, theirs: Path) -> np.ndarray:
    """A contact sheet: a frame, its layers, and renders beside the truth and the scissors'."""
    rows, titles = [], []
    for scene in scenes:
        made = ours / scene.name
        masks = sorted((made / "masks").glob("*.png"))
        index = len(masks) // 3
        frame = read_image(sorted((scene / "frames").iterdir())[index])
        rows.append(
            [
                frame,
                read_image(made / "background.png"),
                read_image(masks[index]),
                read_character(made / "character" / masks[index].name),
            ]
        )
        titles.append(scene.name)
        for kind in ("move", "swap", "transfer"):
            for path in sorted((made / "shots").glob(f"{kind}-*.png"))[:1]:
                true, got = read_image(scene / "expected" / path.name), read_image(path)
                rows.append([true, got, read_image(theirs / scene.name / "shots" / path.name), error_map(true, got)])
                titles.append(kind)
    columns = [
        "frame, or true render",
        "background, or render",
        "mask, or the scissors' render",
        "character, or where the error is",
    ]
    return contact_sheet(rows, column_titles=columns, row_titles=titles)


def read_character(path: Path) -> np.ndarray:
    """An RGBA picture as it is."""
    return np.asarray(Image.open(path).convert("RGBA"))
