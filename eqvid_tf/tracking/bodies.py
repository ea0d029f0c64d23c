"""What belongs to which body, and what is no character but restless background.

A limb hangs on its body, however it moves by itself. Leaves, water, smoke, a crowd and a screen change at the same
place again and again and go nowhere. A body that stays where it is, too, keeps its colours from frame to frame, and is
among the largest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from eqvid_tf.pixels.flow import optical_flow
from eqvid_tf.pixels.morphology import dilate, label

LIMB = 0.5  # area relative to a body's, up to which what never leaves it is a limb of it ...
TOGETHER = 0.6  # ... that shows it in so many of its frames ...
ATTACHED = 0.8  # ... and touches it in so many of these
GAP = 0.25  # square roots of the body's area between two that touch, but two pixels at least
NOWHERE = 0.5  # of its length: a body whose middle stays within less goes nowhere
LEAST_AREA = 0.5  # of the largest body: what goes nowhere and is smaller is restless
CHANGES = 0.5  # from a frame to the next, of how its colours differ: what goes nowhere and has more is restless
FLAT = 10.0  # grey levels by which colours differ at least
PAIRS = 16  # of frames, about, in which that is looked at
OFTEN = 0.2  # share of the frames in which a place moves and is no character's, from which it is restless
NEAR = 1.0  # radii of a body: a part that is nearer, at a place that is not restless, is a part of it ...
COMPANIONS = 0.95  # share of the frames that show either of two in which they touch: they are one body
PART = 0.4  # ... if it is smaller than so much of the body in that frame


def with_limbs(owner: np.ndarray) -> np.ndarray:
    """Give each body its limbs: smaller ones that hardly ever leave it.

    Shapes: owner int16 [T, h, w]: -1 nobody's -> the same.
    """
    owner = owner.copy()
    numbers, areas = np.unique(owner[owner >= 0], return_counts=True)
    alone = dict(zip(numbers.tolist(), areas.tolist()))
    while (found := _find_limb(owner, alone)) is not None:
        limb, body = found
        owner[owner == limb] = body
    return owner


def _find_limb(owner: np.ndarray, alone: Mapping[int, int]) -> tuple[int, int] | None:
    """A limb and the body that it hangs on, the largest body first.

    Args:
        owner: int16 [T, h, w].
        alone: pixels of each body without limbs: one that has many does not take others for more of them.
    """
    order = sorted(np.unique(owner[owner >= 0]).tolist(), key=lambda number: -alone[number])
    for i in order:
        body = owner == i
        length = np.sqrt(int(np.count_nonzero(body)) / max(int(np.count_nonzero(body.any((1, 2)))), 1))
        near = dilate(body, max(2, round(GAP * length)))
        for j in order:
            if alone[j] <= LIMB * alone[i]:
                mask = owner == j
                seen = mask.any((1, 2))
                both = seen & near.any((1, 2))
                touches = (mask & near).any((1, 2)).sum()
                if both.sum() >= TOGETHER * seen.sum() and touches >= ATTACHED * both.sum():
                    return j, i
    return None


def with_companions(owner: np.ndarray) -> np.ndarray:
    """Join bodies that touch in nearly all frames that show either: the parts of one that has several hues.

    Why: two bodies that meet have been, or will be, apart.

    Shapes: owner int16 [T, h, w]: -1 nobody's -> the same.
    """
    owner = owner.copy()
    for body in np.unique(owner[owner >= 0])[::-1]:
        near, seen = dilate(owner == body, 2), (owner == body).any((1, 2))
        for other in np.unique(owner[near & (owner >= 0) & (owner != body)]):
            mask = owner == other
            either = seen | mask.any((1, 2))
            if (mask & near).any((1, 2)).sum() >= COMPANIONS * either.sum():
                owner[owner == body] = other
                break
    return owner


def with_rest_of(owner: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Give what moves and is nobody's to the nearest body of its frame.

    Shapes: as in `with_loose_parts`.
    """
    out = owner.copy()
    for own, free in zip(out, moving & (owner < 0)):
        bodies = np.unique(own[own >= 0])
        if len(bodies) and free.any():
            nearest = bodies[np.argmin([_distance(own == body) for body in bodies], 0)]
            own[free] = nearest[free]
    return out


def restless_bodies(frames: np.ndarray, owner: np.ndarray, bodies: Sequence[int]) -> set[int]:
    """Which of the bodies are restless background.

    Shapes: frames uint8 [T, h, w, 3], owner int16 [T, h, w]: -1 nobody's.

    Args:
        frames: of the clip.
        owner: whose each pixel is.
        bodies: numbers in `owner`, from the largest to the smallest.
    """
    masks = {body: owner == body for body in bodies}
    still = [body for body in bodies if not _goes_somewhere(masks[body])]
    restless = {body for body in still if _changes(masks[body], frames) > CHANGES}
    left = [body for body in bodies if body not in restless]
    if not left:
        return set(bodies[1:])
    largest = np.count_nonzero(masks[left[0]])
    return restless | {body for body in still if np.count_nonzero(masks[body]) < LEAST_AREA * largest}


def with_loose_parts(owner: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Give a body the parts beside it that are nobody's, where they are no restless background.

    Why: before a wall of its own colour a body falls into parts, some of them for a frame or two.

    Shapes: owner int16 [T, h, w]: -1 nobody's; moving bool [T, h, w] -> the same as owner.
    """
    free = moving & (owner < 0)
    often, out = free.mean(0) > OFTEN, owner.copy()
    for index in np.flatnonzero(free.any((1, 2)) & (owner >= 0).any((1, 2))):
        bodies = [int(body) for body in np.unique(owner[index]) if body >= 0]
        areas = [np.count_nonzero(owner[index] == body) for body in bodies]
        far = np.stack([_distance(owner[index] == body) / np.sqrt(area) * 2 for body, area in zip(bodies, areas)])
        parts = label(free[index])
        for number in range(1, parts.max(initial=0) + 1):
            part = parts == number
            distances = far[:, part].min(1)
            k = int(distances.argmin())
            if distances[k] < NEAR and np.count_nonzero(part) < PART * areas[k] and often[part].mean() < 0.5:
                out[index][part] = bodies[k]
    return out


def _distance(mask: np.ndarray) -> np.ndarray:
    """Pixels from each place to a mask, [h, w]."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _goes_somewhere(mask: np.ndarray) -> bool:
    """Whether the middle of a body [T, h, w] leaves its place."""
    seen = np.flatnonzero(mask.any((1, 2)))
    centres = np.array([np.argwhere(mask[k]).mean(0) for k in seen])
    away = np.percentile(centres, 95, axis=0) - np.percentile(centres, 5, axis=0)
    area = np.median([np.count_nonzero(mask[k]) for k in seen])
    return bool(away.max() > NOWHERE * np.sqrt(area))


def _changes(mask: np.ndarray, frames: np.ndarray) -> float:
    """How much a body [T, h, w] changes from frame to frame along the optical flow, relative to how its colours differ.

    Why: a character keeps its colours, as it moves. What flickers or waves has others in each frame.
    """
    grid = np.stack(np.meshgrid(*map(np.arange, mask.shape[:0:-1])), -1).astype(np.float32)
    seen = np.flatnonzero(mask[:-1].any((1, 2)))
    ratios = []
    for index in seen[:: max(1, len(seen) // PAIRS)]:
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames[index : index + 2]]
        places = grid + optical_flow(*grey)
        found = cv2.remap(frames[index + 1], places[..., 0], places[..., 1], cv2.INTER_LINEAR)
        colours, followed = (picture[mask[index]].astype(np.float32) for picture in (frames[index], found))
        differ = np.abs(colours - np.median(colours, axis=0)).max(-1)
        ratios.append(np.median(np.abs(followed - colours).max(-1)) / max(np.median(differ), FLAT))
    return float(np.median(ratios)) if ratios else np.inf
