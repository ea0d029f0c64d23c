"""The background of a whole clip: temporal medians, over the frames where the character is not.

Numpy alone: what is known before there is a model (a first background and first masks), and what a model's masks make of it.
"""

from __future__ import annotations

import itertools

import numpy as np

from eqvid_tf.pixels import morphology
from eqvid_tf.pixels.medians import weighted_median
from eqvid_tf.separation import cutout

CHANGED = 25  # grey levels of 255: a pixel that differs by more has changed
STILL = 0.1  # of the usual novelty: less, and a frame is at rest; and of the frames: fewer, and nothing rests
PASSED = 0.2  # of the moving frames: a place that differs from the rest in more may be where the character rests
BESIDE = 12  # pixels around that place whose colours are the background's
PALETTE = 400  # colours that stand for all
RESTLESS = 6  # grey levels of 255: a place whose middle difference to the background is larger is never still
REPEATED = 0.01  # what a frame that repeats its neighbours counts, beside the newest
MOST_FRAMES = 128  # of a clip that a median looks at, evenly spread; bounds time and memory


def changed_share(frames: np.ndarray) -> np.ndarray:
    """The share of pixels that change from each frame to the next: frames [T, H, W, 3] uint8 -> [T - 1]."""
    return np.array([np.mean(np.abs(a.astype(np.int16) - b).max(-1) > CHANGED) for a, b in itertools.pairwise(frames)])


def novelty(frames: np.ndarray) -> np.ndarray:
    """How much each frame says that its neighbours do not: the share of pixels that changed since the frame before.

    A character at rest fills a clip with the same frame, and a median believes what it sees most often. Weighted by novelty
    a rest counts no more than a moment.

    Shapes: frames [T, H, W, 3] uint8 -> [T], not all zero.
    """
    weights = np.zeros(len(frames))
    moved = changed_share(frames)
    weights[:-1] += moved
    weights[1:] += moved
    return weights + REPEATED * max(weights.max(), 1e-3)


def resting_masks(frames: np.ndarray) -> np.ndarray | None:
    """A first guess at where a character is that rests for much of a clip, from its colours; None where nothing rests.

    Why: at its resting place even the moving frames show it most of the time, and no median tells it from the background. But on
    its way, beyond that place, its colours are seen for sure, and so are the background's around it.

    Shapes: frames [T, H, W, 3] uint8 -> [T, H, W] uint8, 255 = character; 0 away from the resting place.
    """
    weights = novelty(frames)
    still = weights < STILL * usual_novelty(weights)
    if still.mean() < STILL or still.all():
        return None
    rest = frames[np.flatnonzero(still)[evenly_spaced(int(still.sum()))]]
    rest = weighted_median(rest, np.ones(len(rest)))
    apart = np.stack([np.abs(frame - rest).max(-1) > CHANGED for frame in frames[~still]])
    open_ = morphology.dilate(apart.mean(0) > PASSED, 1)
    character, background = frames[~still][apart & ~open_], rest[morphology.dilate(open_, BESIDE) & ~open_]
    if not len(character) or not len(background):
        return None
    guess = np.zeros(frames.shape[:3], np.uint8)
    near = np.maximum(morphology.box_sum(open_.astype(np.float32)), 1)
    for frame, out in zip(frames, guess):
        likely = np.zeros(open_.shape, np.float32)
        likely[open_] = _apart(frame[open_], background) > _apart(frame[open_], character)
        out[open_ & (morphology.box_sum(likely) > near / 2)] = 255
    return guess


def _apart(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Distance of colours [N, 3] to the nearest of a palette [M, 3], of which evenly spread ones are looked at: [N]."""
    palette = palette[evenly_spaced(len(palette), PALETTE)].astype(np.float32)
    return np.sqrt(np.square(colours[:, None] - palette).sum(-1).min(1))


def usual_novelty(weights: np.ndarray) -> float:
    """The usual novelty of frames in which something moves, from the novelty of all [T]."""
    return np.median(weights[weights > 0.05 * weights.max()])


def median_background(
    frames: np.ndarray, masks: np.ndarray | None = None, trust: np.ndarray | float = 1.0
) -> np.ndarray:
    """The background of a clip.

    Why: the median of frames weighted by what is new in them (see `novelty`) and, with masks, of those in which a place is not
    the character's. A place that every frame hides is filled from around it: what shows there is the character.

    Shapes: frames, masks uint8 [T, H, W, 3], [T, H, W] (255 = fully character) -> [H, W, 3] float32 in [0, 255].

    Args:
        trust: of each frame beside its novelty, [T].
    """
    picture = weighted_median(*_weighted_frames(frames, masks, trust))
    return picture if masks is None else fill_inwards(picture, masks.min(0) > 127)


def fill_inwards(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] with its hole [H, W] filled from its rim inwards; as it is where there is nothing else."""
    while hole.any() and not hole.all():
        known = (~hole).astype(np.float32)
        near = np.stack([morphology.box_sum(plane * known) for plane in np.moveaxis(picture, -1, 0)], -1)
        count = morphology.box_sum(known)
        rim = hole & (count > 0)
        picture = np.where(rim[..., None], near / np.maximum(count, 1)[..., None], picture)
        hole = hole & ~rim
    return picture


def background_noise(frames: np.ndarray, background: np.ndarray, masks: np.ndarray | None = None) -> float | np.ndarray:
    """Grey levels by which the background itself differs from frame to frame: about the 95th percentile.

    Why: one number serves a camera that stands still. Where most of the frame is restless (a camera that drifts, exposure
    that pumps) each place gets its own, so that an edge that sways is not taken for a character.

    Shapes: as in `plate` -> a number, or [H, W] float32.
    """
    frames, weights = _weighted_frames(frames, masks)
    apart = np.stack([np.abs(frame - background).max(-1, keepdims=True) for frame in frames]).round().astype(np.uint8)
    place = 2.5 * weighted_median(apart, weights)[..., 0]
    return place if np.mean(place > 2.5 * RESTLESS) > 0.3 else float(np.median(place))


def _weighted_frames(
    frames: np.ndarray, masks: np.ndarray | None, trust: np.ndarray | float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The frames that tell of the background, and how much each does: weights [T] or [T, H, W]."""
    weights = novelty(frames) * trust
    if masks is not None:
        shown = 1 - np.arange(256) / 255
        seen = (np.clip(2 * shown - 1, 0, 1) ** 2 + 1e-4 * shown + 1e-6).astype(np.float32)[masks]
        return frames, seen * weights[:, None, None].astype(np.float32)
    if len(frames) <= MOST_FRAMES:
        return frames, weights
    passed = np.cumsum(weights) / weights.sum()
    chosen = np.unique(np.searchsorted(passed, (np.arange(MOST_FRAMES) + 0.5) / MOST_FRAMES))
    return frames[chosen], np.ones(len(chosen))


def evenly_spaced(count: int, most: int = MOST_FRAMES) -> np.ndarray:
    """Indices of at most `most` frames, evenly spread over a clip."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def difference_masks(
    frames: np.ndarray, background: np.ndarray, level: float | np.ndarray = 0.0, chunk: int = 64
) -> np.ndarray:
    """A guess at the masks: what differs from the background by more than the noise, cut out along its edges.

    Shapes: frames [T, H, W, 3] uint8, background [H, W, 3] in [0, 255] -> [T, H, W] uint8, 255 = fully character.

    Args:
        level: see `noise`.
    """
    out = np.empty(frames.shape[:3], np.uint8)
    for start in range(0, len(frames), chunk):
        layer = cutout.cut_out(np.asarray(frames[start : start + chunk]), background, None, noise=level)
        out[start : start + chunk] = layer[..., 3] * 255 + 0.5
    return out
