"""Score layers, camera and renders of scenes that a moving camera sees.

A scene holds `plates/` (the background alone, as each frame saw it), `masks/`, `camera.json` and `motion.json`; a
folder of predictions holds the same, and `shots/`. Beside the figures of a scene with one character there are

    plate_psnr   of the plates, mean over the frames
    hidden_psnr  of the plates where the character hides them: what was there must come from other frames
    camera_px    mean distance between where the true and the predicted camera carry a frame's corners, in pixels a step
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from eqvid_tf.evaluation import scorecard
from eqvid_tf.evaluation.scorecard import Incomplete, SceneScore, Scorecard, psnr, read_pairs, read_picture, read_steps

SHOTS = ("move",)  # the kinds of shots, with which their names begin
COLUMNS = ("plate_psnr", "hidden_psnr", "camera_px", "iou", "corner_px", "move_psnr", "move_char")
CORNERS = np.array([[x, y, 1] for x in (-1, 1) for y in (-1, 1)]).T


def has_moving_camera(scene: Path) -> bool:
    """Whether a scene says what its camera does and what each frame shows of the background."""
    return (scene / "camera.json").is_file() and (scene / "plates").is_dir()


def score_moving(scenes: Iterable[str | Path], predictions: str | Path) -> Scorecard:
    """Score a method on scenes that a moving camera sees; see `eqvid_tf.evaluation.scorecard.score`."""
    return scorecard.score(scenes, predictions, scorer=_score_scene, columns=COLUMNS)


def _score_scene(scene: Path, prediction: Path) -> SceneScore:
    figures: dict[str, Callable[[Path, Path], dict[str, float]]] = {
        "plate_psnr": _plates,
        "hidden_psnr": _hidden,
        "camera_px": _camera,
        "iou": scorecard.mask_figure,
        "corner_px": scorecard.motion_figure,
        "move": functools.partial(scorecard.shot_figures, "move"),
    }
    return scorecard.scene_score(figures, scene, prediction)


def _plates(scene: Path, prediction: Path) -> dict[str, float]:
    pairs = read_pairs(sorted((scene / "plates").glob("*.png")), prediction / "plates", "RGB")
    return {"plate_psnr": float(np.mean([psnr(*pair) for pair in pairs]))}


def _hidden(scene: Path, prediction: Path) -> dict[str, float]:
    plates = sorted((scene / "plates").glob("*.png"))
    masks = [read_picture(path, "L") > 0.5 for path in sorted((scene / "masks").glob("*.png"))]
    if len(masks) != len(plates):
        raise Incomplete(f"{len(masks)} masks and {len(plates)} plates")
    pairs = zip(read_pairs(plates, prediction / "plates", "RGB"), masks)
    hidden = [psnr(true[mask], got[mask]) for (true, got), mask in pairs if mask.any()]
    return {"hidden_psnr": float(np.mean(hidden))} if hidden else {}


def _camera(scene: Path, prediction: Path) -> dict[str, float]:
    truth = json.loads((scene / "camera.json").read_text(encoding="utf-8"))
    true = np.asarray(truth["motion"], np.float64)
    off = (true - read_steps(prediction / "camera.json", true.shape)) @ CORNERS
    pixels = off * np.array([[truth["size"][1] / 2], [truth["size"][0] / 2]])
    return {"camera_px": float(np.linalg.norm(pixels, axis=1).mean())}
