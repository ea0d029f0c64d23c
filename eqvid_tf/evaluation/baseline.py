"""What a user would pick instead of a learned model: the temporal median, cut and paste.

The background is the median of the clip. The character is what differs from it. A motion is the shift of the mask's
centroid, refined by enhanced correlation (ECC). A render is the masked pixels of one frame, moved and pasted. It needs
no training, so it is the least that a model must beat.

Convention: frames are uint8 RGB, masks bool; motions are forward [2, 3] in normalized coordinates.
Source: G. D. Evangelidis and E. Z. Psarakis, Parametric Image Alignment Using Enhanced Correlation Coefficient
Maximization, TPAMI 2008; the cleaning of masks and ECC are OpenCV's.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.coordinates import frame_from_pixels, homogeneous, is_invertible, target_from_source
from eqvid_tf.pixels.medians import weighted_median
from eqvid_tf.pixels.resampling import move

DIFFERENT = 25  # grey levels from the background, in any channel, that make a pixel the character's
FEWEST_PIXELS = 8  # of a mask: with fewer its motion is not estimated
MASK_STEP = 40  # grey levels added within the mask: an edge of the mask is what ECC holds on to
MOST_AWAY = 1 / 8  # of the height: ECC that leads further from the centroid's shift has lost its way
MOST_AREA = 2  # by which ECC may change the area, or divide it
ECC_STEPS, ECC_ENOUGH, ECC_BLUR = 100, 1e-5, 5  # at the most; change of the correlation that ends them; pixels


def character_mask(frame: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Where a frame differs from the background, without specks and gaps of a pixel.

    Shapes: [H, W, 3], [H, W, 3] -> [H, W] bool.
    """
    differs = (np.abs(frame - background).max(-1) > DIFFERENT).astype(np.uint8)
    return cv2.morphologyEx(cv2.medianBlur(differs, 3), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0


def estimate_motion(
    frame: np.ndarray, mask: np.ndarray, next_frame: np.ndarray, next_mask: np.ndarray, *, refine: bool = True
) -> np.ndarray:
    """The motion of the masked content from one frame to another; the identity where a mask is (nearly) empty.

    Shapes: [H, W, 3], [H, W] twice -> [2, 3] float64.

    Args:
        frame: the one frame.
        mask: of the content in it.
        next_frame: the other frame.
        next_mask: of the content in that.
        refine: refine the centroid's shift to an affine motion by ECC.
    """
    if min(np.count_nonzero(mask), np.count_nonzero(next_mask)) < FEWEST_PIXELS:
        return np.eye(2, 3)
    centre, next_centre = (np.argwhere(m).mean(0)[::-1] for m in (mask, next_mask))
    moved = np.column_stack([np.eye(2), next_centre - centre])
    if refine:
        moved = _refined(moved, centre, _masked_grey(frame, mask), _masked_grey(next_frame, next_mask))
    matrix = frame_from_index(mask.shape)
    return (matrix @ homogeneous(moved) @ np.linalg.inv(matrix))[:2]


def frame_from_index(size: tuple[int, int]) -> np.ndarray:
    """From pixel indices as in OpenCV (the first pixel's centre at 0) to normalized coordinates, [3, 3]."""
    return frame_from_pixels(size) @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


def _masked_grey(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Grey levels of the masked content, float32, 0 around it."""
    return (cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY).astype(np.float32) + MASK_STEP) * mask


def _refined(shift: np.ndarray, centre: np.ndarray, grey: np.ndarray, next_grey: np.ndarray) -> np.ndarray:
    """ECC from the centroid's shift, if it converges, stays near the shift and does not collapse."""
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ECC_STEPS, ECC_ENOUGH)
    start, everywhere = shift.astype(np.float32), np.ones(grey.shape, np.uint8)
    try:
        _, found = cv2.findTransformECC(grey, next_grey, start.copy(), cv2.MOTION_AFFINE, until, everywhere, ECC_BLUR)
    except cv2.error:
        return shift
    away = np.linalg.norm((found - start) @ np.append(centre, 1))
    near = away <= grey.shape[0] * MOST_AWAY and 1 / MOST_AREA < np.linalg.det(found[:, :2]) < MOST_AREA
    return found if near else shift


def paste(frame: np.ndarray, mask: np.ndarray, motion: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The masked pixels of a frame, moved and put over a background.

    Convention: forward motion; on a background of another size the content keeps its place in units of half the height.

    Shapes: [H, W, 3], [H, W], [2, 3], [H', W', 3] -> [H', W', 3] uint8.

    Raises:
        ValueError: the motion cannot be inverted.
    """
    size = background.shape[:2]
    if not is_invertible(motion):
        raise ValueError(f"motion must be invertible; received {np.asarray(motion).tolist()}. Keep its scale above 0.")
    layer = np.dstack([frame * mask[..., None], mask])
    moved = move(layer, target_from_source(mask.shape, size) @ homogeneous(motion), size, "bilinear")
    return np.clip(moved[..., :3] + (1 - moved[..., 3:]) * background, 0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class MedianLayers:
    """A clip separated by its median.

    Shapes: frames [T, H, W, 3] uint8 (may be memory-mapped); background [H, W, 3] float32 in grey levels;
        masks [T, H, W] bool.
    """

    frames: np.ndarray
    background: np.ndarray
    masks: np.ndarray

    def motion(self, start: int, end: int, *, refine: bool = True) -> np.ndarray:
        """The forward motion [2, 3] from one frame to another; see `estimate_motion`."""
        pair = (self.frames[start], self.masks[start], self.frames[end], self.masks[end])
        return estimate_motion(*pair, refine=refine)

    def motions(self, *, refine: bool = True) -> np.ndarray:
        """The motions [T - 1, 2, 3], a step for each pair of frames."""
        return np.stack([self.motion(i, i + 1, refine=refine) for i in range(len(self.frames) - 1)])


def separate_by_median(frames: np.ndarray) -> MedianLayers:
    """Separate a clip [T, H, W, 3] uint8 into its median and a mask for each frame."""
    background = weighted_median(frames, np.ones(len(frames)))
    return MedianLayers(frames, background, np.stack([character_mask(frame, background) for frame in frames]))


def write_predictions(scenes: Iterable[str | Path], output: str | Path, *, refine: bool = True) -> list[Path]:
    """Write what the baseline makes of scenes, as `eqvid_tf.evaluation.scorecard.score` reads it.

    Args:
        scenes: scene folders; the shots may name frames of other scenes too.
        output: gets a folder of the scene's name for each scene: background.png, masks/, motion.json, shots/.
        refine: see `estimate_motion`.

    Returns:
        The folders written, in the order of `scenes`.
    """
    opened = functools.cache(_open_scene)
    folders = []
    for scene in (Path(os.path.abspath(scene)) for scene in scenes):
        folder = Path(output) / scene.name
        layers, names = opened(scene)
        write_png(folder / "background.png", layers.background.astype(np.uint8))
        for name, index in names.items():
            write_png(folder / "masks" / f"{Path(name).stem}.png", layers.masks[index].astype(np.uint8) * 255)
        (folder / "motion.json").write_text(json.dumps({"motion": layers.motions(refine=refine).tolist()}))
        shots = json.loads((scene / "shots.json").read_text()) if (scene / "shots.json").exists() else []
        for shot in shots:
            write_png(folder / "shots" / f"{shot['name']}.png", _render_shot(shot, scene, opened, refine))
        folders.append(folder)
    return folders


def _open_scene(folder: Path) -> tuple[MedianLayers, dict[str, int]]:
    """The layers of a scene, and which frame has which file name."""
    clip = open_clip(folder, cache=None)
    names = {path.name: k for k, path in enumerate(in_name_order(folder / "frames"))}
    return separate_by_median(clip.arrays(clip.size)), names


def _render_shot(
    shot: dict[str, Any], scene: Path, opened: Callable[[Path], tuple[MedianLayers, dict[str, int]]], refine: bool
) -> np.ndarray:
    """The picture of one shot of a shots.json."""

    def find(relative: str) -> tuple[MedianLayers, int]:
        path = Path(os.path.normpath(scene / relative))
        layers, names = opened(path.parent.parent)
        return layers, names[path.name]

    motion = np.array(shot.get("motion"), np.float64)
    if "motion" not in shot:
        (example, start), (_, end) = (find(path) for path in shot["motion_from"])
        motion = example.motion(start, end, refine=refine)
    layers, index = find(shot["character"])
    return paste(layers.frames[index], layers.masks[index], motion, find(shot["background"])[0].background)
