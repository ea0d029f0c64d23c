"""Frames that repeat the one before, as a film of 12 pictures a second has where it is shown at 24."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.canvas import bounded_size

SIDE = 96  # pixels: the shorter side of the frames that are compared
SAME = 2.0  # grey levels by which equal frames may differ anywhere: they were compressed
SAME_SHARE = 0.15  # the same as a share of what usually changes the most
REST = 4  # frames: a picture that is displayed for longer is a rest of what moves
LEAST = 1.15  # frames for which a picture is displayed on average: from 24 a second shown at 30 on, 1.25, with a margin
FEWEST = 8  # pictures that have to change before anything is said


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repeats:
    """The pictures of a clip, each displayed for one frame or several.

    Attributes:
        holds: for how many frames each picture is displayed.
        usual: the same, on average while something moves; 1 where hardly any frame repeats the one before.
    """

    holds: tuple[int, ...]
    usual: float

    @property
    def pictures(self) -> list[int]:
        """The frames that are left when each picture counts once; a rest keeps its time, at the pictures' own rate."""
        starts = itertools.accumulate(self.holds, initial=0)
        return [
            start + round(k * self.usual) for start, hold in zip(starts, self.holds) for k in range(self._count(hold))
        ]

    def _count(self, hold: int) -> int:
        return 1 if hold <= math.ceil(self.usual) else round(hold / self.usual)


def find_repeats(clip: Clip, first: int = 0, last: int | None = None) -> Repeats:
    """Find the frames that repeat the one before, among the frames from `first` up to, not including, `last`."""
    changes = _changes(clip, first, clip.count if last is None else last)
    same = changes <= max(SAME, SAME_SHARE * np.percentile(changes, 90)) if len(changes) else np.zeros(0, bool)
    begins = np.flatnonzero(np.concatenate([[True], ~same]))
    holds = np.diff(np.append(begins, len(same) + 1))
    moving = holds[holds <= REST]
    usual = float(moving.mean()) if len(moving) >= FEWEST else 1.0
    return Repeats(holds=tuple(holds.tolist()), usual=usual if usual >= LEAST else 1.0)


def _changes(clip: Clip, first: int, last: int) -> np.ndarray:
    """Grey levels by which each frame differs from the one before where it differs most, [last - first - 1]."""
    frames = clip.resized(bounded_size(clip.size, SIDE), range(first, last))
    return np.array([np.abs(b.astype(np.int16) - a).max() for a, b in itertools.pairwise(frames)], np.float64)
