"""What a user would pick instead of a learned model: the temporal median, cut and paste.

The background is the median of the clip, the character what differs from it, a motion the shift of the
mask's centroid, refined by enhanced correlation (ECC) where OpenCV is installed, and a render the masked
pixels of one frame, warped and pasted. It needs no training, so it is the least that a model must beat,
and a teacher for its first steps. Numpy and Pillow, with OpenCV as an extra.

Convention: frames are uint8 RGB, masks bool; motions are forward [2, 3] in normalized coordinates, the
frame's outer edges at -1 and +1.
Source: G. D. Evangelidis and E. Z. Psarakis, Parametric Image Alignment Using Enhanced Correlation
Coefficient Maximization, TPAMI 2008.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.writers import write_png

DIFFERENT = 25  # grey levels from the background, in any channel, that make a pixel the character's
SMALLEST = 8  # pixels of a mask that a motion can be told from
BLOCK = 2**25  # bytes of a clip that the median looks at in one go


def median_background(frames: np.ndarray) -> np.ndarray:
    """The temporal median, row block by row block, so that a memory-mapped clip of any length will do.

    Shapes: frames [T, H, W, 3] uint8 -> [H, W, 3] float32, in grey levels (halves occur).
    """
    count, height, width, _ = frames.shape
    rows = max(1, BLOCK // (3 * count * width))
    blocks = [np.median(frames[:, top : top + rows], axis=0) for top in range(0, height, rows)]
    return np.concatenate(blocks).astype(np.float32)


def character_mask(frame: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Where a frame differs from the background, freed of specks and closed.

    Shapes: [H, W, 3], [H, W, 3] -> [H, W] bool.
    """
    return close(majority(np.abs(frame - background).max(-1) > DIFFERENT))


def _neighbours(mask: np.ndarray, **padding: Any) -> np.ndarray:
    """The 3x3 neighbourhood of each pixel, [9, H, W]."""
    (height, width), padded = mask.shape, np.pad(mask, 1, **padding)
    return np.stack([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)])


def majority(mask: np.ndarray) -> np.ndarray:
    """3x3 median of a bool mask [H, W]; beyond the border the edge repeats."""
    return _neighbours(mask, mode="edge").sum(0, dtype=np.uint8) > 4


def close(mask: np.ndarray) -> np.ndarray:
    """3x3 closing of a bool mask [H, W]; what lies beyond the border does not count."""
    grown = _neighbours(mask, constant_values=False).any(0)
    return _neighbours(grown, constant_values=True).all(0)


def has_opencv() -> bool:
    """Whether motions can be refined here."""
    return importlib.util.find_spec("cv2") is not None


def _pixel_from_unit(size: tuple[int, int]) -> np.ndarray:
    """[3, 3] from normalized coordinates to pixel indices (x, y); the first pixel's centre is 0."""
    height, width = size
    return np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]])


def _affine(motion: np.ndarray) -> np.ndarray:
    return np.vstack([motion, [0, 0, 1]])


def estimate_motion(
    frame: np.ndarray, mask: np.ndarray, next_frame: np.ndarray, next_mask: np.ndarray, *, refine: bool | None = None
) -> np.ndarray:
    """The motion of the masked content from one frame to another.

    Convention: forward, normalized coordinates; the identity where a mask is (nearly) empty.

    Shapes: [H, W, 3], [H, W] twice -> [2, 3] float64.

    Args:
        refine: refine the centroid's shift to an affine motion by ECC; None does it where OpenCV is installed.

    Raises:
        ImportError: `refine` is true and OpenCV is not installed.
    """
    if min(np.count_nonzero(mask), np.count_nonzero(next_mask)) < SMALLEST:
        return np.eye(2, 3)
    centre, next_centre = (np.argwhere(m).mean(0)[::-1] for m in (mask, next_mask))
    pixels = np.column_stack([np.eye(2), next_centre - centre])
    if has_opencv() if refine is None else refine:
        pixels = _refined(pixels, centre, _masked_grey(frame, mask), _masked_grey(next_frame, next_mask))
    pixel_from_unit = _pixel_from_unit(mask.shape)
    return (np.linalg.inv(pixel_from_unit) @ _affine(pixels) @ pixel_from_unit)[:2]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        remedy = "Install eqvid_tf[baselines], or leave refine out."
        raise ImportError(f"refine=True needs OpenCV, which is not installed. {remedy}") from error
    return cv2


def _masked_grey(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Grey levels with a step at the mask's edge, which is what ECC holds on to."""
    cv2 = _opencv()
    return (cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY).astype(np.float32) + 40) * mask


def _refined(shift: np.ndarray, centre: np.ndarray, grey: np.ndarray, next_grey: np.ndarray) -> np.ndarray:
    """ECC from the centroid's shift, kept where it converges, stays near the shift and does not collapse."""
    cv2 = _opencv()
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
    start = shift.astype(np.float32)
    try:
        _, found = cv2.findTransformECC(grey, next_grey, start.copy(), cv2.MOTION_AFFINE, until, None, 5)
    except cv2.error:
        return shift
    away = np.linalg.norm((found - start) @ np.append(centre, 1))
    return found if away <= grey.shape[0] / 8 and 0.5 < np.linalg.det(found[:, :2]) < 2 else shift


def paste(frame: np.ndarray, mask: np.ndarray, motion: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The masked pixels of a frame, moved and put over a background.

    Convention: forward motion; bilinear, and nothing beyond the frame. On a background of another size the
    content keeps its place in units of half the height.

    Shapes: [H, W, 3], [H, W], [2, 3], [H', W', 3] -> [H', W', 3] uint8.

    Raises:
        ValueError: the motion cannot be inverted.
    """
    size = background.shape[:2]
    square, target_square = (np.diag([s[1] / s[0], 1, 1]) for s in (mask.shape, size))
    unit = np.linalg.inv(target_square) @ square @ _affine(motion)
    pixel_from_source = _pixel_from_unit(size) @ unit @ np.linalg.inv(_pixel_from_unit(mask.shape))
    if abs(np.linalg.det(pixel_from_source)) < 1e-9:
        raise ValueError(f"motion must be invertible; received {np.asarray(motion).tolist()}. Keep its scale above 0.")
    layer = np.dstack([frame * mask[..., None], mask]).astype(np.float32)
    moved = _warp(layer, np.linalg.inv(pixel_from_source), size)
    return np.clip(moved[..., :3] + (1 - moved[..., 3:]) * background, 0, 255).astype(np.uint8)


def _warp(layer: np.ndarray, source_from_pixel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear values of a layer [H, W, C] at the source of each target pixel; outside reads 0."""
    ys, xs = (np.arange(n, dtype=np.float64) for n in size)
    padded = np.pad(layer, ((1, 2), (1, 2), (0, 0)))
    column, row = (
        np.clip(a * xs + b * ys[:, None] + c + 1, 0, n)
        for (a, b, c), n in zip(source_from_pixel[:2], (layer.shape[1] + 1, layer.shape[0] + 1))
    )
    i, j = row.astype(np.intp), column.astype(np.intp)
    below, right = ((at - n)[..., None].astype(np.float32) for at, n in ((row, i), (column, j)))
    upper = (1 - right) * padded[i, j] + right * padded[i, j + 1]
    return (1 - below) * upper + below * ((1 - right) * padded[i + 1, j] + right * padded[i + 1, j + 1])


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """A clip taken apart.

    Shapes: frames [T, H, W, 3] uint8 (may be memory-mapped); background [H, W, 3] float32 in grey levels;
        masks [T, H, W] bool.
    """

    frames: np.ndarray
    background: np.ndarray
    masks: np.ndarray

    def motion(self, start: int, end: int, *, refine: bool | None = None) -> np.ndarray:
        """[2, 3] forward motion from one frame to another; see `estimate_motion`."""
        pair = (self.frames[start], self.masks[start], self.frames[end], self.masks[end])
        return estimate_motion(*pair, refine=refine)

    def motions(self, *, refine: bool | None = None) -> np.ndarray:
        """[T - 1, 2, 3], a step for each pair of frames."""
        return np.stack([self.motion(i, i + 1, refine=refine) for i in range(len(self.frames) - 1)])


def separate_by_median(frames: np.ndarray) -> Layers:
    """Takes a clip [T, H, W, 3] uint8 apart into its median and a mask for each frame."""
    background = median_background(frames)
    return Layers(frames, background, np.stack([character_mask(frame, background) for frame in frames]))


def write_predictions(scenes: Iterable[str | Path], output: str | Path, *, refine: bool | None = None) -> list[Path]:
    """Writes what the scissors make of scenes, as `eqvid_tf.evaluation.scorecard.score` reads it.

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
        jobs = json.loads((scene / "shots.json").read_text()) if (scene / "shots.json").exists() else []
        for job in jobs:
            write_png(folder / "shots" / f"{job['name']}.png", _shoot(job, scene, opened, refine))
        folders.append(folder)
    return folders


def _open_scene(folder: Path) -> tuple[Layers, dict[str, int]]:
    """The layers of a scene, and which frame has which file name."""
    clip = open_clip(folder, cache=None)
    return separate_by_median(clip.arrays(clip.size)), {
        path.name: k for k, path in enumerate(in_name_order(folder / "frames"))
    }


def _shoot(job: dict[str, Any], scene: Path, opened: Callable, refine: bool | None) -> np.ndarray:
    """The picture of one job of a shots.json."""

    def find(relative: str) -> tuple[Layers, int]:
        path = Path(os.path.normpath(scene / relative))
        layers, names = opened(path.parent.parent)
        return layers, names[path.name]

    motion = np.array(job.get("motion"), np.float64)
    if "motion" not in job:
        (example, start), (_, end) = (find(path) for path in job["motion_from"])
        motion = example.motion(start, end, refine=refine)
    layers, index = find(job["character"])
    return paste(layers.frames[index], layers.masks[index], motion, find(job["background"])[0].background)
