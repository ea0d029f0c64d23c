"""When frames are displayed: the rate of a clip, its pauses, and whether its frames are evenly spaced."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

PAUSE = 3.0  # usual intervals: frames that are farther apart are worth a word
SAME_RATE = 0.01  # relative difference up to which the rate is the one that the file states


def rate_of(times: Sequence[float | None], stated: float) -> float:
    """Frames per second of a clip: by the usual interval between its frames, the median and those like it.

    Why: a pause in a recording says nothing of how fast it plays, and an average over it would be meaningless. Of the
    intervals like the median the mean is taken, as times in a file are rounded.

    Args:
        times: seconds, one for each frame; None for a frame without a time.
        stated: frames per second that the file states; taken where the times say as much, or nothing.

    Example:
        >>> rate_of([0.0, 0.1, 0.2, 10.2, 10.3], 0.5)
        10.0
    """
    seconds = _known(times)
    intervals = np.diff(seconds)
    if not (intervals > 0).any() or (intervals < 0).any():
        return stated
    intervals = intervals[intervals > 0]
    usual = np.median(intervals)
    rate = 1 / float(intervals[np.abs(intervals / usual - 1) <= 0.5].mean())
    return stated if abs(rate / stated - 1) < SAME_RATE else round(rate, 6)


def rising_times(times: Sequence[float | None], fps: float) -> np.ndarray:
    """Seconds from the first frame to each, [T], always rising: by the file, or at `fps` where that does not tell."""
    seconds = _known(times)
    if len(seconds) < len(times) or (np.diff(seconds) <= 0).any():
        return np.arange(len(times)) / fps
    return seconds - seconds[:1]


def is_even(times: np.ndarray, fps: float) -> bool:
    """Whether each frame is less than half a step from its place at an even rate."""
    return bool(np.abs(times - np.arange(len(times)) / fps).max(initial=0) * fps < 0.5)


def remarks_on(times: Sequence[float | None], fps: float) -> list[str]:
    """What is odd about the times of frames, one line each; none where nothing is."""
    seconds = _known(times)
    intervals = np.diff(seconds)
    if len(seconds) == len(times) and (intervals <= 0).any():
        at = int(np.argmax(intervals <= 0)) + 1
        return [f"the times of frames repeat or run backwards, first at frame {at}; they are taken as even, {fps:g}/s"]
    gaps = np.flatnonzero(intervals * fps > PAUSE) if len(seconds) == len(times) else np.array([], int)
    if not len(gaps):
        return []
    at = int(max(gaps, key=lambda k: intervals[k]))
    others = f", and {len(gaps) - 1} shorter one{'s' * (len(gaps) > 2)}" if len(gaps) > 1 else ""
    return [
        f"a pause of {_seconds(intervals[at])} before frame {at + 1}{others}: every frame is kept once, "
        f"and the step over it counts as any other"
    ]


def _known(times: Sequence[float | None]) -> np.ndarray:
    """The times that are known."""
    return np.array([time for time in times if time is not None], np.float64)


def _seconds(seconds: float) -> str:
    """A length of time in words, with two figures or more."""
    return f"{seconds:.{max(0, 1 - math.floor(math.log10(seconds)))}f} s"
