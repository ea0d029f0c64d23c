"""What a user would pick instead where the camera moves: frames laid over each other by features, then the scissors.

Each frame is matched to the next (ORB, RANSAC, affine). The background of a frame is the median of those around it,
aligned; the character is what differs from it. Motions and renders are those of `eqvid_tf.evaluation.baseline`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.baseline import character_mask, estimate_motion, frame_from_index, paste
from eqvid_tf.pixels.medians import nan_median

AROUND = 12  # frames before and after, whose median is a frame's background
FEATURES, FAST, BORDER = 1500, 5, 8  # of ORB, for small frames: their number, threshold, and pixels at the border
PATCH, FEWEST_MATCHES, NEAR = 15, 6, 1.0  # pixels of a feature; matches that a motion needs; pixels that they may miss


def write_stabilized_predictions(scenes: Iterable[str | Path], output: str | Path) -> None:
    """Write what the baseline makes of scenes, as `eqvid_tf.evaluation.moving_scorecard.score_moving` reads it."""
    for scene in map(Path, scenes):
        folder, clip = Path(output) / scene.name, open_clip(scene, cache=None)
        frames, names = clip.arrays(clip.size), [path.name for path in in_name_order(scene / "frames")]
        steps = [_camera_step(a, b) for a, b in zip(frames, frames[1:])]
        plates = _plates(frames, steps)
        masks = [character_mask(frame, plate) for frame, plate in zip(frames, plates)]
        for name, plate, mask in zip(names, plates, masks):
            write_png(folder / "plates" / f"{Path(name).stem}.png", plate.round().astype(np.uint8))
            write_png(folder / "masks" / f"{Path(name).stem}.png", mask.astype(np.uint8) * 255)
        pairs = zip(frames, masks, frames[1:], masks[1:])
        motions = {"camera": _normalized(steps, clip.size), "motion": [estimate_motion(*pair) for pair in pairs]}
        for name, motion in motions.items():
            (folder / f"{name}.json").write_text(json.dumps({"motion": np.array(motion).tolist()}), encoding="utf-8")
        shots = json.loads((scene / "shots.json").read_text()) if (scene / "shots.json").is_file() else []
        for shot in shots:
            of, on = (names.index(Path(shot[key]).name) for key in ("character", "background"))
            picture = paste(frames[of], masks[of], np.array(shot["motion"], np.float64), plates[on])
            write_png(folder / "shots" / f"{shot['name']}.png", picture)


def _camera_step(frame: np.ndarray, next_frame: np.ndarray) -> np.ndarray:
    """How still content moves from one frame to the next, [3, 3] between pixel indices; the identity where unknown."""
    orb = cv2.ORB.create(FEATURES, fastThreshold=FAST, edgeThreshold=BORDER, patchSize=PATCH)
    grey = [cv2.cvtColor(np.ascontiguousarray(each), cv2.COLOR_RGB2GRAY) for each in (frame, next_frame)]
    (points, descriptors), (others, other_descriptors) = (orb.detectAndCompute(each, None) for each in grey)
    if descriptors is None or other_descriptors is None:
        return np.eye(3)
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(descriptors, other_descriptors)
    if len(matches) < FEWEST_MATCHES:
        return np.eye(3)
    here = np.array([points[match.queryIdx].pt for match in matches], np.float32)
    there = np.array([others[match.trainIdx].pt for match in matches], np.float32)
    found, _ = cv2.estimateAffine2D(here, there, ransacReprojThreshold=NEAR)
    return np.eye(3) if found is None else np.vstack([found, [0, 0, 1]])


def _plates(frames: np.ndarray, steps: list[np.ndarray]) -> list[np.ndarray]:
    """The median around each frame, aligned: float32 [H, W, 3] each."""
    from_first = [np.eye(3)]
    for step in steps:
        from_first.append(step @ from_first[-1])
    size, plates = frames.shape[2:0:-1], []
    for k in range(len(frames)):
        near = range(max(0, k - AROUND), min(len(frames), k + AROUND + 1))
        ways = {n: (from_first[k] @ np.linalg.inv(from_first[n]))[:2] for n in near}
        aligned = [
            cv2.warpAffine(frames[n].astype(np.float32), way, size, borderValue=(np.nan,) * 3)
            for n, way in ways.items()
        ]
        plates.append(np.nan_to_num(nan_median(np.stack(aligned))))
    return plates


def _normalized(steps: list[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    """Steps between pixel indices as motions [2, 3] in normalized coordinates."""
    matrix = frame_from_index(size)
    return [(matrix @ step @ np.linalg.inv(matrix))[:2] for step in steps]
