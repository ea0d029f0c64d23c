"""What no frame shows of a background, because a character never leaves its place; found before there are masks.

Someone who squats or waves his arms hides the same wall in every frame, and a median believes that he is a part of it.
But what moves there has his colours, not those of the wall around him, and it moves there in every frame.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from eqvid_tf.pixels.inpainting import inpaint
from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.pixels.morphology import dilate, fill_holes, reconstruct
from eqvid_tf.separation.background import evenly_spaced, palette_distance

MOST_FRAMES = 48  # that are looked at
MOVED = 22  # grey levels: a frame differs from the background
NEARBY = 12  # pixels around all that moves whose colours are the background's
BINS = 8  # of a channel, in which colours are counted
LIKELIER, PERHAPS = 2.0, 1.5  # times as frequent in what moves as around it: a colour is the character's; may be his
FREQUENT = 0.01  # share of what moves: a rarer colour is nobody's
INSIDE, ALWAYS = 0.5, 0.9  # share of a place that is within the box of what moves, in such a share of all frames
LEAST = 0.02  # of all that moves: a smaller place is no part of a body
SIMILAR = 10  # grey levels to a colour nearby: a frame that shows it shows the background
VIEWS = 2  # frames that have to show another colour, which is none of his, of a place
BESIDES = 0.15  # of the extent of what moves: as far around it his resting parts are looked for
ROUNDS = 4  # of GrabCut
RIM = 2  # pixels beyond its edge that are blurred with him


def without_unseen(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A first background without a character that never leaves its place: as few frames show it, or filled in.

    Shapes: frames [T, h, w, 3] uint8, background [h, w, 3] float32 in [0, 255], made from them -> the same.
    """
    motion = _Motion.of(frames, background)
    hidden = _never_uncovered(background, motion)
    if not hidden.any():
        return background
    palette, shows = background[dilate(hidden, NEARBY) & ~hidden], motion.differs & hidden
    shows[shows] = palette_distance(motion.frames[shows], palette) < SIMILAR
    shows = np.stack([_opened(mask) for mask in shows])
    seen = shows.sum(0) >= VIEWS
    views = np.where(shows[:, seen, None], motion.frames[:, seen], np.nan)
    background = background.copy()
    background[seen] = nan_median(views.astype(np.float32))
    return inpaint(background, hidden & ~seen)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Motion:
    """What moves before a background, and the colours of it and of what is around.

    Attributes:
        frames: in which something moves, [S, h, w, 3].
        differs: from the background, bool [S, h, w].
        count: of the frames that were looked at.
        own, around: the share of each bin of colours in what differs, and around it; see `_frequency`.
    """

    frames: np.ndarray
    differs: np.ndarray
    count: int
    own: np.ndarray
    around: np.ndarray

    @classmethod
    def of(cls, frames: np.ndarray, background: np.ndarray) -> _Motion:
        """The motion in frames [T, h, w, 3] before a background [h, w, 3]."""
        few = frames[evenly_spaced(len(frames), MOST_FRAMES)]
        differs = np.stack([_opened(np.abs(frame - background).max(-1) > MOVED) for frame in few])
        moves, moved = np.any(differs, (1, 2)), np.any(differs, 0)
        around = dilate(moved, NEARBY) & ~dilate(moved, RIM)
        own, other = _frequency(few[differs]), _frequency(background[around])
        return cls(frames=few[moves], differs=differs[moves], count=len(few), own=own, around=other)

    def shares(self, picture: np.ndarray) -> _Shares:
        """How frequent each colour of a picture [..., 3] is."""
        index = tuple(np.moveaxis((picture * (BINS / 256)).astype(int).clip(0, BINS - 1), -1, 0))
        return _Shares(own=self.own[index], around=self.around[index])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Shares:
    """The shares [...] that colours have in what moves, and around it."""

    own: np.ndarray
    around: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """How much more frequent they are in what moves; 0 where they are rare there."""
        return np.where(self.own > FREQUENT, self.own / (self.around + 1e-6), 0)


def _never_uncovered(background: np.ndarray, motion: _Motion) -> np.ndarray:
    """Where the background shows a character that never leaves its place, bool [h, w]."""
    moved, hidden = np.any(motion.differs, 0), np.zeros(background.shape[:2], bool)
    if not moved.any():
        return hidden
    times, within = motion.shares(background).times, dilate(fill_holes(moved), RIM)
    for place in _places((times > LIKELIER) & within, LEAST * moved.sum()):
        around = [place[_box(mask, RIM)].sum() >= INSIDE * place.sum() for mask in motion.differs if mask.any()]
        if np.sum(around) >= ALWAYS * motion.count:
            hidden |= place
    hidden = reconstruct(hidden, hidden | _opened(times > PERHAPS))
    return _whole_body(background, hidden, moved) if hidden.any() else hidden


def _box(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The rows and columns of a mask [h, w] and a margin."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return (
        slice(max(rows[0] - margin, 0), rows[-1] + 1 + margin),
        slice(max(columns[0] - margin, 0), columns[-1] + 1 + margin),
    )


def _places(mask: np.ndarray, least: float) -> list[np.ndarray]:
    """The connected regions of a mask that have at least so many pixels, each bool [h, w]."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(_opened(mask).astype(np.uint8))
    return [labels == number for number in range(1, count) if boxes[number, cv2.CC_STAT_AREA] >= least]


def _opened(mask: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def _frequency(colours: np.ndarray) -> np.ndarray:
    """The share of colours [N, 3] in and around each bin, [BINS, BINS, BINS]."""
    counts, _ = np.histogramdd(colours, BINS, [(0, 256)] * 3)
    for axis in range(3):
        counts = np.sum([np.roll(np.pad(counts, 1), k, axis)[1:-1, 1:-1, 1:-1] for k in (-1, 0, 1)], 0)
    return counts / max(len(colours), 1)


def _whole_body(background: np.ndarray, hidden: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The character in the background, with the parts of it that rest (feet), from those that are known."""
    rows, columns = np.nonzero(moved | hidden)
    reach = int(BESIDES * max(np.ptp(rows), np.ptp(columns))) + RIM
    kinds = np.full(hidden.shape, cv2.GC_BGD, np.uint8)
    around = [slice(max(at.min() - reach, 0), at.max() + reach) for at in (rows, columns)]
    kinds[tuple(around)] = cv2.GC_PR_BGD
    kinds[hidden] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    own, other, whole = np.zeros((1, 65)), np.zeros((1, 65)), (0, 0, *hidden.shape[::-1])
    picture = background.clip(0, 255).astype(np.uint8)
    cv2.grabCut(picture, kinds, whole, own, other, ROUNDS, cv2.GC_INIT_WITH_MASK)
    body = (kinds == cv2.GC_FGD) | (kinds == cv2.GC_PR_FGD)
    return dilate(fill_holes(reconstruct(hidden, body)), RIM)
