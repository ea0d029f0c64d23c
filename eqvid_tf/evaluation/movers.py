"""The characters that a training would find in a clip: when and where each is seen, and a picture of it.

It needs no TensorFlow.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from eqvid_tf.camera.stabilization import StabilizedClip
from eqvid_tf.evaluation.clip_check import Box, box_of
from eqvid_tf.pixels.canvas import unfit
from eqvid_tf.separation.sightings import Sightings
from eqvid_tf.separation.solo import tell_apart

MOST_FRAMES = 256  # of a clip in which characters are told apart, evenly spread: a quarter of a second each
FEWEST_FRAMES = 3  # in which characters can be told apart
AT_TIMES = 0.1  # share of the frames in which a restless place moves at least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mover:
    """A character of a clip.

    Attributes:
        number: from 0, the one that covers most.
        first: first frame that shows it.
        last: last frame that shows it.
        best: the frame of its picture, which shows it well.
        box: of all that is seen of it: (left, top, right, bottom) in pixels.
        share: of the frame that it covers where it is seen.
    """

    number: int
    first: int
    last: int
    best: int
    box: Box
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Movers:
    """The characters of a clip, and what moves there and is no character's.

    Attributes:
        characters: by number.
        pictures: of each, uint8 RGB.
        unowned: share of the frame that moves in a tenth of the frames or more and is no character's.
        unowned_box: of that: (left, top, right, bottom) in pixels; None where there is hardly any.
    """

    characters: tuple[Mover, ...] = ()
    pictures: tuple[np.ndarray, ...] = ()
    unowned: float = 0.0
    unowned_box: Box | None = None


def find_movers(clip: StabilizedClip) -> Movers:
    """Tell apart the characters of a clip; of a long one every step-th frame is looked at."""
    step = -(-clip.count // MOST_FRAMES)
    if clip.count < FEWEST_FRAMES:
        return Movers()
    apart = tell_apart(clip, step)
    owners = apart.owners
    share = np.asarray((apart.moving.mask & (owners.owner == 0)).mean(0), np.float32)
    unowned = unfit(share, clip.size, apart.canvas) > AT_TIMES
    characters, pictures = [], []
    for number in owners.numbers:
        seen = Sightings.of(owners.mask(number), clip.size)
        summary = seen.summary(clip.size)
        first, last, best = (step * index for index in (summary["first"], summary["last"], seen.best))
        place, share = summary["box"], summary["share"]
        characters.append(Mover(number=number, first=first, last=last, best=best, box=place, share=share))
        pictures.append(seen.picture(clip.at(best)))
    return Movers(
        characters=tuple(characters),
        pictures=tuple(pictures),
        unowned=float(unowned.mean()),
        unowned_box=box_of(unowned, (0, 0, clip.size[1], clip.size[0])),
    )
