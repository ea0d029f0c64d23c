"""The background of a clip: temporal medians over the frames in which the character does not hide a place.

Numpy alone: it serves before there is a model (a first background and first masks), and then with a model's masks.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from eqvid_tf.camera.stabilization import StabilizedClip
from eqvid_tf.parallel import in_threads
from eqvid_tf.pixels.canvas import unfit_rows
from eqvid_tf.pixels.colours import largest_difference
from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.medians import weighted_median
from eqvid_tf.pixels.morphology import box_sum, count_around, dilate

if TYPE_CHECKING:
    from eqvid_tf.separation.exposure import LevelledFrames

CHANGED = 25  # grey levels: a pixel that differs by more has changed
AT_REST = 0.1  # of the usual novelty: a frame below it is at rest; with fewer than this share of them nothing rests
PASSED = 0.2  # share of the moving frames: a place that differs from the rest in more may be where the character rests
NEARBY = 12  # pixels around that place whose colours are the background's
PALETTE = 400  # colours that stand for all of a region
FILMED = 2.0  # grey levels of noise: a clip with less is drawn
RESTLESS = 6  # grey levels: a place whose median difference to the background is larger is never still
REPEATED = 0.01  # weight of a frame that repeats its neighbours, relative to the newest
MOST_FRAMES = 128  # of a clip that a median looks at, evenly spaced: bounds time and memory
FEWEST_FRAMES = 12  # of a clip, however large its frames are
FRAME_MEMORY = 128 << 20  # bytes of frames that a background is made from
BLOCK = 1 << 20  # pixels of all frames that are weighed at a time: about 50 MB of memory on two cores


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Background:
    """The background of a clip.

    Attributes:
        picture: [H, W, 3] float32 in [0, 255].
        noise: grey levels, a number or [H, W]; see `background_noise`.
        seen: [H, W] bool, where some frame shows it without the character.
    """

    picture: np.ndarray
    noise: float | np.ndarray
    seen: np.ndarray

    def blend(self, other: np.ndarray, share: np.ndarray) -> Background:
        """The same with a share [H, W] in [0, 1] of another picture [H, W, 3] in it."""
        picture = self.picture + share[..., None] * (other - self.picture)
        return dataclasses.replace(self, picture=picture)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClipSizeCoverage:
    """Coverage [T, h, w] on the canvas, read at the size of a clip, (height, width), some rows of it at a time.

    Why: at that size the masks of a whole clip would take more memory than its frames.
    """

    coverage: np.ndarray
    size: tuple[int, int]

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        frames, rows = place
        return np.stack([unfit_rows(one, self.size, rows) for one in self.coverage[frames]])


def affordable_frames(count: int, size: tuple[int, int]) -> np.ndarray:
    """Indices of the frames that a background is made from: evenly spaced, as many as `FRAME_MEMORY` holds."""
    height, width = size
    return evenly_spaced(count, int(np.clip(FRAME_MEMORY // (height * width * 3), FEWEST_FRAMES, MOST_FRAMES)))


def fit_background(
    frames: np.ndarray | LevelledFrames,
    coverage: np.ndarray | ClipSizeCoverage | None,
    seen: np.ndarray,
    trust: np.ndarray | float = 1.0,
    least_noise: float = 0.0,
) -> Background:
    """The background of a clip and its noise; for the arguments see `median_background` and `Background`."""
    picture = median_background(frames, coverage, trust)
    return Background(picture=picture, noise=background_noise(frames, picture, coverage, least_noise), seen=seen)


def changed_share(frames: np.ndarray | LevelledFrames) -> np.ndarray:
    """The share of pixels that change from each frame to the next.

    Shapes: frames [T, H, W, 3] uint8 -> [T - 1] in [0, 1].
    """
    pairs = itertools.pairwise(frames)
    return np.array([np.mean(largest_difference(a, b) > CHANGED) for a, b in pairs])


def novelty(frames: np.ndarray | LevelledFrames) -> np.ndarray:
    """Weight each frame by what is new in it: the share of pixels that change to its two neighbours.

    Why: a character at rest fills a clip with the same frame, and a median believes what it sees most often. Weighted
    by novelty a rest counts no more than a moment.

    Shapes: frames [T, H, W, 3] uint8 -> [T], not all zero.
    """
    weights = np.zeros(len(frames))
    moved = changed_share(frames)
    weights[:-1] += moved
    weights[1:] += moved
    return weights + REPEATED * max(weights.max(), 1e-3)


def usual_novelty(weights: np.ndarray) -> float:
    """The median novelty of the frames in which something moves, from the novelty of all frames [T]."""
    return np.median(weights[weights > 0.05 * weights.max()])


def evenly_spaced(count: int, most: int = MOST_FRAMES) -> np.ndarray:
    """Indices of at most `most` frames, evenly spaced over a clip of `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def median_background(
    frames: np.ndarray | LevelledFrames,
    coverage: np.ndarray | ClipSizeCoverage | None = None,
    trust: np.ndarray | float = 1.0,
) -> np.ndarray:
    """The background as a weighted temporal median, where every frame hides a place filled in from around it.

    Each frame counts by its novelty (see `novelty`), and with masks each pixel by how little the character covers it.

    Shapes: frames [T, H, W, 3] uint8, coverage [T, H, W] float32 in [0, 1] -> [H, W, 3] float32 in [0, 255].

    Args:
        frames: of a clip, all or evenly spaced ones.
        coverage: of the character; None where it is not known.
        trust: a further weight of each frame, [T].
    """
    weights = novelty(frames) * trust
    if coverage is None:
        frames, weights = _most_telling(frames, weights)
        return _by_rows(lambda rows: weighted_median(frames[:, rows], weights), frames)

    def median_and_hidden(rows: slice) -> np.ndarray:
        covered = coverage[:, rows]
        return np.dstack([weighted_median(frames[:, rows], _visibility(covered, weights)), covered.min(0) > 0.5])

    found = _by_rows(median_and_hidden, frames)
    return _fill_inwards(np.ascontiguousarray(found[..., :3]), found[..., 3] > 0)


def background_noise(
    frames: np.ndarray | LevelledFrames,
    background: np.ndarray,
    coverage: np.ndarray | ClipSizeCoverage | None = None,
    least: float = 0.0,
) -> float | np.ndarray:
    """Grey levels by which the background itself differs from frame to frame: about the 95th percentile.

    Why: one number serves where the background is still. Where most of the frame is restless (a camera that sways, an
    exposure that changes) each place gets its own, so that a swaying edge is not taken for a character.

    Shapes: as in `median_background` -> a number, or [H, W] float32; nowhere below `least`.
    """
    weights = novelty(frames)
    if coverage is None:
        frames, weights = _most_telling(frames, weights)

    def usual_difference(rows: slice) -> np.ndarray:
        difference = largest_difference(frames[:, rows], background[rows]).round().astype(np.uint8)
        counts = weights if coverage is None else _visibility(coverage[:, rows], weights)
        return weighted_median(difference[..., None], counts)[..., 0]

    place = 2.5 * _by_rows(usual_difference, frames)
    return np.maximum(place if np.mean(place > 2.5 * RESTLESS) > 0.3 else float(np.median(place)), least)


def is_filmed(clip: StabilizedClip, noise: float | np.ndarray) -> bool:
    """Whether a clip is filmed, and not drawn, by its background's noise in grey levels.

    Where the camera travels that of the frames as filmed decides: to lay them on a mosaic makes noise of its own.
    """
    return float(np.mean(clip.noise if clip.travels else noise)) >= FILMED


def _by_rows(function: Callable[[slice], np.ndarray], frames: np.ndarray | LevelledFrames) -> np.ndarray:
    """What a function gives of the rows of frames [T, H, W, 3], some at a time: [H, ...]."""
    count, height, width, _ = frames.shape
    rows = max(1, BLOCK // (count * width))
    return np.concatenate(list(in_threads(function, [slice(top, top + rows) for top in range(0, height, rows)])))


def resting_coverage(frames: np.ndarray) -> np.ndarray | None:
    """A first guess at where a character is that rests for much of a clip, from its colours; None where nothing rests.

    Why: at its resting place even the moving frames show it most of the time, and no median tells it from the
    background. But on its way, outside of that place, its colours are seen for sure, and the background's around it.

    Shapes: frames [T, H, W, 3] uint8 -> [T, H, W] float32, 1 = character; 0 away from the resting place.
    """
    weights = novelty(frames)
    still = weights < AT_REST * usual_novelty(weights)
    if still.mean() < AT_REST or still.all():
        return None
    rest = frames[np.flatnonzero(still)[evenly_spaced(int(still.sum()))]]
    rest = weighted_median(rest, np.ones(len(rest)))
    differs = np.stack([largest_difference(frame, rest) > CHANGED for frame in frames[~still]])
    place = dilate(differs.mean(0) > PASSED, 1)
    character, background = frames[~still][differs & ~place], rest[dilate(place, NEARBY) & ~place]
    if not len(character) or not len(background):
        return None
    coverage = np.zeros(frames.shape[:3], np.float32)
    neighbours = np.maximum(count_around(place), 1)
    for frame, out in zip(frames, coverage):
        likely = np.zeros(place.shape, bool)
        likely[place] = _palette_distance(frame[place], background) > _palette_distance(frame[place], character)
        out[place & (count_around(likely) > neighbours / 2)] = 1
    return coverage


def _palette_distance(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Distance of colours [N, 3] to the nearest of a palette [M, 3], of which evenly spaced ones are used: [N]."""
    palette, colours = palette[evenly_spaced(len(palette), PALETTE)].astype(np.float32), colours.astype(np.float32)
    left = colours @ (-2 * palette.T)  # squares of whole numbers below 256 are exact in float32
    left += np.square(palette).sum(-1)
    return np.sqrt(left.min(1) + np.square(colours).sum(-1))


def _fill_inwards(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] with its hole [H, W] filled from its rim inwards; unchanged where there is nothing else."""
    if hole.all() or (box := bounding_box(hole, 1)) is None:
        return picture
    part, filled = box_slices(box), picture.copy()
    inner, hole = filled[part], hole[part]
    while hole.any():
        known = (~hole).astype(np.float32)
        total = np.stack([box_sum(plane * known) for plane in np.moveaxis(inner, -1, 0)], -1)
        count = box_sum(known)
        rim = hole & (count > 0)
        inner[rim] = total[rim] / count[rim][:, None]
        hole = hole & ~rim
    return filled


def _visibility(coverage: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What each pixel counts for the background, [T, H, W] float32: nothing where it is half covered or more."""
    counts = np.empty(coverage.shape, np.float32)
    for count, covered, weight in zip(counts, coverage, weights):
        visible = 1 - covered
        count[:] = (np.clip(2 * visible - 1, 0, 1) ** 2 + 1e-4 * visible + 1e-6) * weight
    return counts


def _most_telling(
    frames: np.ndarray | LevelledFrames, weights: np.ndarray
) -> tuple[np.ndarray | LevelledFrames, np.ndarray]:
    """At most `MOST_FRAMES` frames that stand for all, spaced evenly in weight, and their weights."""
    if len(frames) <= MOST_FRAMES:
        return frames, weights
    passed = np.cumsum(weights) / weights.sum()
    chosen = np.unique(np.searchsorted(passed, (np.arange(MOST_FRAMES) + 0.5) / MOST_FRAMES))
    return frames[chosen, :], np.ones(len(chosen))
