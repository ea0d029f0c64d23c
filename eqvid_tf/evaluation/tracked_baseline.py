"""What a user would pick instead where several characters move: the median, connected parts, tracking, cut and paste.

The parts of what differs from the temporal median are linked one to one to tracks, each expected where constant motion
would have it. The number of characters is the usual number of parts. Masks, motions and cut-outs are those of
`eqvid_tf.evaluation.baseline`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.baseline import estimate_motion, separate_by_median
from eqvid_tf.evaluation.matching import match
from eqvid_tf.pixels.coordinates import homogeneous, source_from_target_pixels, target_from_source
from eqvid_tf.pixels.resampling import over

SMALLEST = 0.003  # share of the frame: a smaller part is noise
UNKNOWN = 0.5  # of the frame's diagonal: how near a track is to any part, as long as it has no place


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrackedLayers:
    """A clip separated by its median and by tracking.

    Attributes:
        frames: uint8 [T, H, W, 3].
        background: in grey levels, [H, W, 3].
        masks: of each character, bool [K, T, H, W].
        names: which frame has which file name.
    """

    frames: np.ndarray
    background: np.ndarray
    masks: np.ndarray
    names: dict[str, int]

    def at_point(self, index: int, point: list[float]) -> int:
        """The number of the character that is nearest to a point (x, y), normalized, of a frame."""
        height, width = self.masks.shape[2:]
        at = np.array([(point[1] + 1) * height, (point[0] + 1) * width]) / 2 - 0.5
        shown = [np.argwhere(mask) for mask in self.masks[:, index]]
        return int(np.argmin([np.hypot(*(place - at).T).min() if len(place) else np.inf for place in shown]))

    def motions(self, number: int) -> list[np.ndarray]:
        """The forward motions [2, 3] of a character, a step for each pair of frames."""
        pairs = list(zip(self.frames, self.masks[number]))
        return [estimate_motion(*first, *second) for first, second in zip(pairs, pairs[1:])]


def track_parts(masks: np.ndarray) -> np.ndarray:
    """Tell apart what moves, by its connected parts: bool [T, H, W] -> [K, T, H, W]."""
    parts = [_parts(mask) for mask in masks]
    count = max(1, int(np.median([len(found) for found in parts if found] or [1])))
    places, paces = np.full((count, 2), np.nan), np.zeros((count, 2))
    out, reach = np.zeros((count, *masks.shape), bool), np.hypot(*masks.shape[1:])
    for index, found in enumerate(parts):
        found = sorted(found, key=lambda part: -np.count_nonzero(part[0]))[:count]
        far = np.array([[np.hypot(*(part[1] - place)) for part in found] for place in places + paces])
        near = np.where(np.isnan(far), UNKNOWN * reach, reach - far)
        for n, k in enumerate(match(near) if found else [None] * count):
            if k is None:
                places[n] += paces[n]
                continue
            out[n, index], centre = found[k]
            paces[n] = np.nan_to_num(paces[n] / 2 + (centre - places[n]) / 2)
            places[n] = centre
    return out


def _parts(mask: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The connected parts of a mask, each with its centroid (x, y)."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= SMALLEST * mask.size]
    return [(labels == n, centres[n]) for n in large]


def write_tracked_predictions(scenes: Iterable[str | Path], output: str | Path) -> None:
    """Write what the tracked baseline makes of scenes, as `eqvid_tf.evaluation.set_scorecard.score_sets` reads it.

    Args:
        scenes: scene folders; the shots may name frames of other scenes too.
        output: gets a folder of the scene's name for each.
    """
    opened = functools.cache(_open_scene)
    for scene in (Path(os.path.abspath(scene)) for scene in scenes):
        folder, layers = Path(output) / scene.name, opened(scene)
        write_png(folder / "background.png", layers.background.astype(np.uint8))
        for number, masks in enumerate(layers.masks):
            place = folder / "characters" / str(number)
            for name, index in layers.names.items():
                write_png(place / "masks" / f"{Path(name).stem}.png", masks[index].astype(np.uint8) * 255)
            motion = [step.tolist() for step in layers.motions(number)]
            (place / "motion.json").write_text(json.dumps({"motion": motion}), encoding="utf-8")
        shots = json.loads((scene / "shots.json").read_text()) if (scene / "shots.json").is_file() else []
        for shot in shots:
            find = lambda relative: _find(scene, relative, opened)
            draw = _without if "remove" in shot else _composed
            write_png(folder / "shots" / f"{shot['name']}.png", draw(shot, find))


def _open_scene(folder: Path) -> TrackedLayers:
    clip = open_clip(folder, cache=None)
    layers = separate_by_median(clip.arrays(clip.size))
    names = {path.name: index for index, path in enumerate(in_name_order(folder / "frames"))}
    masks = track_parts(layers.masks)
    return TrackedLayers(frames=layers.frames, background=layers.background, masks=masks, names=names)


def _find(scene: Path, relative: str, opened: Any) -> tuple[TrackedLayers, int]:
    """The layers of the scene that a frame belongs to, and its index there."""
    path = Path(os.path.normpath(scene / relative))
    layers = opened(path.parent.parent)
    return layers, layers.names[path.name]


def _without(shot: dict[str, Any], find: Any) -> np.ndarray:
    """A frame without some of its characters."""
    layers, index = find(shot["frame"])
    gone = [layers.masks[layers.at_point(index, point), index] for point in shot["remove"]]
    picture = np.where(np.any(gone, 0)[..., None], layers.background, layers.frames[index])
    return picture.round().astype(np.uint8)


def _composed(shot: dict[str, Any], find: Any) -> np.ndarray:
    """One or several characters, from the back to the front, over a background."""
    picture = find(shot["background"])[0].background
    for part in shot.get("layers", [shot]):
        layers, index = find(part["character"])
        mask = layers.masks[layers.at_point(index, part["point"]), index][..., None]
        size, cut_out = picture.shape[:2], np.concatenate([layers.frames[index] * mask, mask], -1)
        motion = target_from_source(mask.shape[:2], size) @ homogeneous(np.array(part["motion"], np.float64))
        picture = over(_moved(cut_out, motion, size), picture)
    return picture.round().astype(np.uint8)


def _moved(cut_out: np.ndarray, motion: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A cut-out [H, W, 4] under a forward motion [3, 3], by OpenCV's cubic, which is sharper than Pillow's."""
    source = source_from_target_pixels(motion, cut_out.shape[:2], size)
    between = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV's pixels have their centre at a whole number
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    source = np.linalg.inv(between) @ source @ between
    return cv2.warpAffine(cut_out.astype(np.float32), source[:2], size[::-1], flags=flags)
