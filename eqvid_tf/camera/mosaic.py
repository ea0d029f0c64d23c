"""The mosaic: one picture of all that a travelling camera sees, without those who pass through it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from eqvid_tf.camera.staying import count_views, find_resting, find_staying, measure_flow
from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.inpainting import inpaint
from eqvid_tf.pixels.medians import weighted_median
from eqvid_tf.pixels.resampling import move_with_validity, resize

FEWEST_VIEWS, MOST_VIEWS = 15, 61  # frames that a mosaic is made from: each place is seen by some of them alone
MOSAIC_MEMORY = 384 << 20  # bytes of these frames, laid on the mosaic
REFINEMENTS = 4  # of a mosaic
HEAT_SIDE = 120  # pixels: shorter side of the frames that are compared with it
DIFFERS = 24  # grey levels by which they do
HOT = 0.05  # share of the frames, beyond the usual: a place in the frame where as many more differ counts a quarter
MOVES = 1.0  # pixels of these small frames: what moves by as much by itself counts a quarter
ALWAYS = 255  # as the share of the frames in which a body hides a place: all of them
CHANGE = 8.0  # grey levels: a value that changes by as much to the next frame counts a quarter
ROWS = 32  # of a mosaic, whose median is taken at a time


def make_mosaic(
    clip: Clip,
    size: tuple[int, int],
    view_from_frame: np.ndarray,
    levelled: Callable[[np.ndarray, int], np.ndarray] = lambda frame, index: frame,
) -> np.ndarray:
    """All that the frames of a travelling camera see, uint8 [H, W, 4]: a median; its edge goes on where none saw.

    The fourth channel is the share of the frames in which a place is hidden by a body that stays about where it is
    (`eqvid_tf.camera.staying`). These frames do not count there; where all are of them (`ALWAYS`), it is filled in from
    around.

    It is made from frames spread over the clip, as many as `MOSAIC_MEMORY` holds. Some places are seen by few frames,
    and most of these may show a character there, above all if the camera goes along with it. So each value counts by
    how little it changes to the frames before and after, and, once there is a first mosaic, by how seldom frames differ
    from it where in the frame it was seen.

    Args:
        clip: as filmed.
        size: (height, width) of the mosaic.
        view_from_frame: [T, 3, 3], from the coordinates of each frame to those of the mosaic.
        levelled: gives a frame, by its index, in a light that all have.
    """
    spread = _spread(clip, MOSAIC_MEMORY // (4 * size[0] * size[1]))
    matrices, smaller = view_from_frame[spread], lambda size: _smaller(size, clip)
    frames = np.stack([levelled(frame, index) for index, frame in zip(spread, clip.native(spread))])
    small = np.stack([resize(frame, smaller(clip.size)) for frame in frames])
    flow = measure_flow(small, matrices)
    staying = find_staying(small, flow, matrices, smaller(size))
    stays = staying.any()
    own_motion, heat = (flow.farthest / MOVES) ** 2, np.zeros(small.shape[1:3], np.float32)
    trusted = lambda: (255 * ~staying / np.sqrt((1 + own_motion) * (1 + (heat / HOT) ** 2))).round().astype(np.uint8)
    for _ in range(REFINEMENTS):
        first, _ = _steady_median(small, trusted(), matrices, smaller(size))
        if not stays:
            staying |= find_resting(small, first, matrices)
        heat = _heat(first, small, matrices)
    trust = trusted()
    trust = np.stack([resize(one, clip.size, "bilinear") for one in trust])
    picture, seen = _steady_median(frames, trust, matrices, size)
    picture, occupied = _extend(picture, ~seen), _occupied(staying, matrices, smaller(size), size)
    hole = occupied == ALWAYS
    picture = inpaint(picture, hole).round().astype(np.uint8) if hole.any() else picture
    return np.dstack([picture, occupied])


def has_staying(clip: Clip, size: tuple[int, int], view_from_frame: np.ndarray) -> bool:
    """Whether a body stays about where it is before a moving camera, by small frames alone; as in `make_mosaic`."""
    if clip.count < FEWEST_VIEWS:
        return False
    spread = _spread(clip, MOST_VIEWS)
    matrices, frames = view_from_frame[spread], np.stack(list(clip.resized(_smaller(clip.size, clip), spread)))
    return bool(find_staying(frames, measure_flow(frames, matrices), matrices, _smaller(size, clip)).any())


def _spread(clip: Clip, affordable: int) -> np.ndarray:
    """Indices of the frames that a mosaic is made from, spread over a clip."""
    count = min(clip.count, int(np.clip(affordable, FEWEST_VIEWS, MOST_VIEWS)))
    return np.linspace(0, clip.count - 1, count).round().astype(int)


def _smaller(size: tuple[int, int], clip: Clip) -> tuple[int, int]:
    """A size by the factor that brings the frames of a clip to `HEAT_SIDE`."""
    scale = min(1.0, HEAT_SIDE / min(clip.size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _occupied(
    staying: np.ndarray, view_from_frame: np.ndarray, small: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """The share of the frames that see a place of a mosaic in which a body stays there: uint8 [*size] to `ALWAYS`.

    Shapes: staying bool [N, h, w], the masks in small frames, of which a mosaic has the size `small`.
    """
    covered, seen = count_views(staying, view_from_frame, small)
    always = resize(255 * ((covered == seen) & (seen > 0)).astype(np.uint8), size, "bilinear") > 127
    share = (ALWAYS * covered / np.maximum(seen, 1)).astype(np.uint8)
    return np.where(always, ALWAYS, np.minimum(resize(share, size, "bilinear"), ALWAYS - 1)).astype(np.uint8)


def _heat(picture: np.ndarray, frames: np.ndarray, view_from_frame: np.ndarray) -> np.ndarray:
    """The share of frames [N, h, w, 3] that differ from a mosaic, beyond the usual, by place in the frame: [h, w]."""
    heat = np.zeros(frames.shape[1:3], np.float32)
    for frame, matrix in zip(frames, view_from_frame):
        seen = move_with_validity(picture, np.linalg.inv(matrix), frame.shape[:2])[0]
        heat += np.abs(seen.astype(np.int16) - frame).max(-1) > DIFFERS
    smooth = np.asarray(cv2.GaussianBlur(heat / len(frames), (0, 0), 0.02 * len(heat)))
    return np.maximum(smooth - 1.5 * np.median(smooth), 0)


def _steady_median(
    frames: np.ndarray, trust: np.ndarray, view_from_frame: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The median of frames [N, h, w, 3] laid on a view of a size, weighted by trust [N, h, w] uint8 and by steadiness.

    The weight is the fourth power of the trust: of two places that are hardly to be trusted, one is still better.

    Returns:
        The picture, uint8 [*size, 3], and what any frame sees of it, bool [*size].
    """
    laid = [
        move_with_validity(np.dstack([frame, one]), matrix, size)
        for frame, one, matrix in zip(frames, trust, view_from_frame)
    ]
    views, seen = np.stack([each for each, _ in laid]), np.stack([valid for _, valid in laid])
    picture = np.zeros((*size, 3), np.uint8)
    for top in range(0, size[0], ROWS):
        rows = slice(top, top + ROWS)
        part, valid = views[:, rows, :, :3], seen[:, rows]
        weights = valid * (np.float32(views[:, rows, :, 3]) / 255) ** 4 * _steadiness(part, valid)
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
