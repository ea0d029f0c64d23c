"""Hard cuts: places in a clip where one frame shows a scene, and the next another.

Most of the picture changes at a cut, and does not in the frames before and after it. So a fast pan, a flash and a light
that is switched on are no cuts, nor is a jump in time before the same background.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eqvid_tf.data.clips import Clip

SIDE = 32  # pixels: shorter side of the frames that are compared
DIFFERS = 0.25  # standard deviations of a frame by which a place of the next differs
PLAIN = 16.0  # grey levels: least standard deviation that counts
CHANGED = 0.5  # share of the places that differ at a cut; 0.25 at most within 32 clips, 0.73 at least between two
CLEARLY = 2.0  # times the share that differs between the frames around it
AROUND = 4  # frames before and after a cut that are looked at
SHORTEST = 5  # frames of a part that is a clip


def find_cuts(clip: Clip) -> list[int]:
    """The frames of a clip that show another scene than the frame before them."""
    height, width = clip.size
    scale = SIDE / min(clip.size)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    changed, former = [], None
    for frame in clip.resized(size):
        levelled = _levelled(frame)
        if former is not None:
            changed.append(float(np.mean(np.abs(levelled - former).max(-1) > DIFFERS)))
        former = levelled
    around = lambda k: [*changed[max(0, k - AROUND) : k], *changed[k + 1 : k + 1 + AROUND]]
    return [k + 1 for k, share in enumerate(changed) if share > max(CHANGED, CLEARLY * max(around(k), default=0.0))]


def _levelled(frame: np.ndarray) -> np.ndarray:
    """A frame [h, w, 3] in an exposure and contrast that all have: mean 0, standard deviation 1."""
    frame = frame.astype(np.float32)
    return (frame - frame.mean((0, 1))) / max(PLAIN, float(frame.std()))


def parts_between_cuts(clip: Clip) -> list[tuple[int, int]]:
    """Half-open ranges of a clip's frames between its hard cuts; all of it where there is none."""
    cuts = clip.noted("cuts-1", lambda: {"cuts": find_cuts(clip)})["cuts"]
    return list(zip([0, *cuts], [*cuts, clip.count]))


def cut_reason(clip: Clip) -> str | None:
    """Say where a clip has hard cuts; None where it has none."""
    parts = parts_between_cuts(clip)
    if len(parts) == 1:
        return None
    cuts = ", ".join(str(first) for first, _ in parts[1:])
    ranges = ", ".join(f"--frames {first + clip.start}:{end + clip.start}" for first, end in parts)
    return f"another scene begins at frame {cuts} (a hard cut). Take one part: {ranges}."


def split_at_cuts(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, with a clip for each part between hard cuts that is not too short to be one.

    A clip whose parts all are too short stays as it is: `stabilize` says where its cuts are.
    """
    split: list[Clip] = []
    for clip in clips:
        parts = parts_between_cuts(clip)
        long = [part for part in parts if part[1] - part[0] >= SHORTEST]
        split += [clip] if len(parts) == 1 or not long else [clip.part(first, end) for first, end in long]
    return split
