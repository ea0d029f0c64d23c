"""The mosaic: one picture of all that a travelling camera sees, without those who pass through it."""

from __future__ import annotations

import cv2
import numpy as np

from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.medians import weighted_median
from eqvid_tf.pixels.resampling import move_with_validity, resize

FEWEST_VIEWS, MOST_VIEWS = 15, 61  # frames that a mosaic is made from: each place is seen by some of them alone
MOSAIC_MEMORY = 384 << 20  # bytes of these frames, laid on the mosaic
REFINEMENTS = 4  # of a mosaic
HEAT_SIDE = 120  # pixels: shorter side of the frames that are compared with it
DIFFERS = 24  # grey levels by which they do
HOT = 0.05  # share of the frames, beyond the usual: a place in the frame where as many more differ counts a quarter
CHANGE = 8.0  # grey levels: a value that changes by as much to the next frame counts a quarter
ROWS = 32  # of a mosaic, whose median is taken at a time


def make_mosaic(clip: Clip, size: tuple[int, int], view_from_frame: np.ndarray) -> np.ndarray:
    """All that the frames of a travelling camera see, uint8 [H, W, 3]: a median; its edge goes on where none saw.

    It is made from frames spread over the clip, as many as `MOSAIC_MEMORY` holds. Some places are seen by few frames,
    and most of these may show a character there, above all if the camera goes along with it. So each value counts by
    how little it changes to the frames before and after, and, once there is a first mosaic, by how seldom frames differ
    from it where in the frame it was seen.
    """
    affordable = MOSAIC_MEMORY // (4 * size[0] * size[1])
    count = min(clip.count, int(np.clip(affordable, FEWEST_VIEWS, MOST_VIEWS)))
    spread = np.linspace(0, clip.count - 1, count).round().astype(int)
    chosen, matrices = set(spread.tolist()), view_from_frame[spread]
    frames = np.stack([frame for index, frame in enumerate(clip.native()) if index in chosen])
    scale = min(1.0, HEAT_SIDE / min(clip.size))
    smaller = lambda size: tuple(max(1, round(side * scale)) for side in size)
    small = np.stack([resize(frame, smaller(clip.size)) for frame in frames])
    trust = np.full(small.shape[1:3], 255, np.uint8)
    for _ in range(REFINEMENTS):
        trust = _trust(_steady_median(small, trust, matrices, smaller(size))[0], small, matrices)
    trust = resize(trust, clip.size, "bilinear")
    picture, seen = _steady_median(frames, trust, matrices, size)
    return _extend(picture, ~seen)


def _trust(picture: np.ndarray, frames: np.ndarray, view_from_frame: np.ndarray) -> np.ndarray:
    """How seldom frames [N, h, w, 3] differ from a mosaic, by place in the frame: uint8 [h, w], 255 where never."""
    heat = np.zeros(frames.shape[1:3], np.float32)
    for frame, matrix in zip(frames, view_from_frame):
        seen = move_with_validity(picture, np.linalg.inv(matrix), frame.shape[:2])[0]
        heat += np.abs(seen.astype(np.int16) - frame).max(-1) > DIFFERS
    smooth = np.asarray(cv2.GaussianBlur(heat / len(frames), (0, 0), 0.02 * len(heat)))
    excess = np.maximum(smooth - 1.5 * np.median(smooth), 0)
    return (255 / (1 + (excess / HOT) ** 2) ** 2).round().astype(np.uint8)


def _steady_median(
    frames: np.ndarray, trust: np.ndarray, view_from_frame: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The median of frames [N, h, w, 3] laid on a view of a size, weighted by trust [h, w] uint8 and by steadiness.

    Returns:
        The picture, uint8 [*size, 3], and what any frame sees of it, bool [*size].
    """
    laid = [
        move_with_validity(np.dstack([frame, trust]), matrix, size) for frame, matrix in zip(frames, view_from_frame)
    ]
    views, seen = np.stack([each for each, _ in laid]), np.stack([valid for _, valid in laid])
    picture = np.zeros((*size, 3), np.uint8)
    for top in range(0, size[0], ROWS):
        rows = slice(top, top + ROWS)
        part, valid = views[:, rows, :, :3], seen[:, rows]
        weights = valid * np.maximum(views[:, rows, :, 3], 1) * _steadiness(part, valid)
        picture[rows] = weighted_median(part, weights).round()
    return picture, np.asarray(seen.any(0))


def _extend(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] with the nearest of its other pixels wherever it has a hole [H, W]."""
    _, nearest = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((nearest.max() + 1, 3), picture.dtype)
    colours[nearest[~hole]] = picture[~hole]
    return colours[nearest]


def _steadiness(views: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """By how little each pixel of views [N, h, w, 3] changes to the views before and after that see it: [N, h, w]."""
    change = np.abs(np.diff(views.astype(np.int16), axis=0)).max(-1) / np.float32(CHANGE)
    steady = np.where(valid[1:] & valid[:-1], 1 / (1 + change**2) ** 2, 1)
    one = np.ones((1, *steady.shape[1:]), np.float32)
    return np.concatenate([one, steady]) * np.concatenate([steady, one]) + 1e-4
