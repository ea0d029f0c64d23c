"""When and where a character is seen in its clip, and a small picture of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from eqvid_tf.pixels.canvas import unfit

PICTURE = 128  # pixels: longer side of a picture of a character, at most
MARGIN = 0.1  # of the longer side of its box: what a picture shows around it
WELL = 75  # percentile of its pixels over the frames that show it: of the frame that its picture is cut from
SHOWS = 0.5  # coverage from which a pixel shows a character


class Sightings:
    """A character's pixels in each frame, and the box of all of them.

    Args:
        count: number of frames.
    """

    def __init__(self, count: int):
        self.area, self.boxes = np.zeros(count, int), np.zeros((count, 4), int)

    @classmethod
    def of(cls, coverage: np.ndarray, size: tuple[int, int]) -> Sightings:
        """What coverage on a canvas [T, h, w] says of a clip of `size` (height, width)."""
        found = cls(len(coverage))
        for index, one in enumerate(coverage):
            if one.any():
                found.add(index, unfit(one.astype(np.float32), size, coverage.shape[1:]) > SHOWS)
        return found

    def add(self, index: int, shown: np.ndarray) -> None:
        """Take in the mask [H, W] of a frame."""
        rows, columns = np.nonzero(shown.any(1))[0], np.nonzero(shown.any(0))[0]
        if len(rows):
            self.area[index] = np.count_nonzero(shown)
            self.boxes[index] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1

    @property
    def share(self) -> np.ndarray:
        """The share of the character that each frame shows, [T] in [0, 1]: of what nine in ten frames show less of."""
        seen = self.area[self.area > 0]
        return np.minimum(self.area / np.percentile(seen, 90), 1) if len(seen) else np.zeros(len(self.area))

    @property
    def best(self) -> int:
        """A frame that shows it well: one in four shows more, where what it touches may be taken for a part of it."""
        seen = self.area[self.area > 0]
        return int(np.abs(self.area - np.percentile(seen, WELL)).argmin()) if len(seen) else 0

    def summary(self, size: tuple[int, int]) -> dict[str, Any]:
        """The keys `first`, `last`, `box` and `share` of characters.json and cast.json, of frames of `size`."""
        frames = np.flatnonzero(self.area)
        if not len(frames):
            return {"first": None, "last": None, "box": (0, 0, 0, 0), "share": 0.0}
        boxes = self.boxes[frames]
        box = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
        share = float(self.area[frames].mean() / np.prod(size))
        return {"first": int(frames[0]), "last": int(frames[-1]), "box": box, "share": share}

    def picture(self, frame: np.ndarray) -> np.ndarray:
        """The part of its best frame [H, W, 3] that shows it, with its longer side at most `PICTURE`."""
        return cropped(frame, self.boxes[self.best])


def cropped(frame: np.ndarray, box: Iterable[int]) -> np.ndarray:
    """A frame's part in a box (left, top, right, bottom) and a margin, made small; the whole frame for an empty box."""
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        left, top, right, bottom = 0, 0, frame.shape[1], frame.shape[0]
    margin = round(MARGIN * max(right - left, bottom - top))
    part = frame[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    scale = min(1.0, PICTURE / max(part.shape[:2]))
    size = [max(1, round(side * scale)) for side in part.shape[1::-1]]
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA) if scale < 1 else part
