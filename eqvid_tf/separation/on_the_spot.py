"""Bodies that move on the spot before a camera that stands still: the first background shows parts of them.

The shirt and the thighs of a juggler are where they were in most frames: a median takes them for background, and what
moves is his head, his arms and an outline. But all of him has the same few colours, and what stands around has others.
So the frames are cut along their colours, by one model of colours for all of them, from what moves. Where most frames
then give to a body what the background shows, and something moves beside it in nearly every frame, the background is
a picture of the body.

Source: C. Rother, V. Kolmogorov, A. Blake: "GrabCut", SIGGRAPH 2004; by OpenCV.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from eqvid_tf.parallel import in_threads
from eqvid_tf.pixels.colours import largest_difference
from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.grab_cut import Colours, cut_by, learn_colours, of_character
from eqvid_tf.pixels.inpainting import inpaint
from eqvid_tf.pixels.morphology import SQUARE, close, dilate, fill_holes, label, reconstruct
from eqvid_tf.separation.background import evenly_spaced, median_background

FEW = 16  # frames that colours are learned from
RARELY = 0.05  # share of the frames in which a place moves, from which a body may be there
AROUND = 4  # pixels around what moves in which the rest of a body may be
GROUND = 16  # pixels around all that, which teach the colours of what stands
SAME = 20  # grey levels between a frame and the background: they show the same
OFTEN = 0.1  # share of the frames that show what the background shows, at least
HALF = 0.5  # of these: where more of them give it to a body, the background is a picture of the body
SMALLEST = 0.002  # share of the frame: a smaller place is none
BESIDE, RESTLESS = 3, 0.9  # pixels beside such a place, and the share of the frames in which something moves there
# Of a body on the spot so much moves, in the mean: of the clips looked at 0.48 or more; of people who stand behind a
# dancer, each of whom moves a little, 0.3 or less. They stay what they are, restless background.
MOVES = 0.4
RIM = 2  # pixels around a body that are mixed with it
FEWEST_PIXELS = 25  # that move, and that do not, of which colours can be learned
CUTS = 2  # rounds of learning colours and cutting
# Rounds in which it is looked for at all, the second one at least: what moves before a picture of a body may be the
# ground, which is known only then. A body goes on where nothing moves: by so many pixels a round, while it still grows.
ROUNDS, FARTHER, GROWS = 6, 12, 1.02
MOSTLY, ALWAYS = 1, 2  # see `OnTheSpot`
FEWEST = 0.06  # share of the frames that show a place without a body: of fewer it is filled in from around


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OnTheSpot:
    """Bodies that move on the spot, whole.

    Attributes:
        moving: what moves in each frame, with the whole of these bodies, bool [T, h, w].
        background: without them, float32 [h, w, 3] in [0, 255].
        shown: where the background of the frames alone is a picture of them, `MOSTLY`, and what hardly a frame shows
            without them, `ALWAYS`; uint8 [h, w].
    """

    moving: np.ndarray
    background: np.ndarray
    shown: np.ndarray


def find_on_the_spot(frames: np.ndarray, background: np.ndarray, moving: np.ndarray) -> OnTheSpot | None:
    """Find the bodies that a background shows in part; None where it shows none.

    Shapes: frames uint8 [T, h, w, 3], background [h, w, 3] in [0, 255], moving bool [T, h, w].

    Args:
        frames: of a clip whose camera stands still, filmed.
        background: of the clip, as far as the frames alone tell it.
        moving: what differs from it.
    """
    often = moving.mean(0) > RARELY
    if not often.any():
        return None
    reach = dilate(fill_holes(close(often)), AROUND)
    few = evenly_spaced(len(frames), FEW)
    some, moves = frames[few], moving[few]
    if np.count_nonzero(moves) < FEWEST_PIXELS:
        return None
    shown, same = np.zeros_like(often), np.stack([_shows_the_same(frame, background) for frame in some])
    for _ in range(ROUNDS):
        former, reach = shown, reach | dilate(shown, FARTHER)
        colours = _Colours(some, moves, reach, shown)
        shown = _shows_body(same, colours.masks, moves, moving)
        if not shown.any():
            return None
        if former.any() and np.count_nonzero(shown) < GROWS * np.count_nonzero(former):
            break
    core = cv2.erode(shown.astype(np.uint8), SQUARE) > 0
    surely = lambda frame: core & _shows_the_same(frame, background)
    masks = in_threads(lambda k: colours.cut(frames[k], moving[k], surely(frames[k])), range(len(frames)))
    whole = np.stack([_with_whole_body(mask, moves, shown) for mask, moves in zip(masks, moving)])
    picture, shown = _without(frames, background, whole, dilate(shown, RIM))
    return OnTheSpot(moving=whole, background=picture, shown=shown)


class _Colours:
    """The colours of what moves and of what stands, learned from some frames.

    Args:
        frames: uint8 [N, h, w, 3].
        moving: what differs from the background in each, bool [N, h, w].
        reach: where a body may be, bool [h, w].
        shown: where the background is a picture of a body, bool [h, w].

    Attributes:
        masks: the bodies in these frames, bool [N, h, w].
    """

    def __init__(self, frames: np.ndarray, moving: np.ndarray, reach: np.ndarray, shown: np.ndarray):
        self.reach, self.shown = reach, shown
        box = bounding_box(reach | moving.any(0), GROUND)
        assert box is not None
        self.box = box_slices(box)
        self.learned: Colours | None = None
        pictures = np.concatenate([frame[self.box] for frame in frames])
        labels = np.concatenate([self._labels(mask) for mask in moving])
        if _tell_both(labels):
            self.learned = learn_colours(pictures, labels, CUTS)
        self.masks = np.stack([self._placed(one) for one in np.split(labels, len(frames))])

    def cut(self, frame: np.ndarray, moving: np.ndarray, surely: np.ndarray) -> np.ndarray:
        """The bodies in a frame [h, w, 3] of which `moving` differs from the background, bool [h, w].

        Args:
            frame: its pixels.
            moving: bool [h, w].
            surely: what is a body's for sure, bool [h, w].
        """
        labels = self._labels(moving)
        labels[surely[self.box]] = cv2.GC_FGD
        if self.learned and _tell_both(labels):
            cut_by(np.ascontiguousarray(frame[self.box]), labels, self.learned)
        return self._placed(labels)

    def _labels(self, moving: np.ndarray) -> np.ndarray:
        """What OpenCV is told of a frame, uint8 of the box."""
        moving, shown = moving[self.box], self.shown[self.box]
        labels = np.where(self.reach[self.box] | dilate(moving, AROUND), cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
        labels[moving] = cv2.GC_PR_FGD
        labels[cv2.erode(moving.astype(np.uint8), SQUARE) > 0] = cv2.GC_FGD
        labels[shown] = np.where(moving[shown], cv2.GC_PR_BGD, cv2.GC_PR_FGD)
        return labels

    def _placed(self, labels: np.ndarray) -> np.ndarray:
        mask = np.zeros(self.reach.shape, bool)
        mask[self.box] = of_character(labels)
        return mask


def _tell_both(labels: np.ndarray) -> bool:
    """Whether labels name enough pixels of what moves, and of what stands."""
    moves = of_character(labels)
    return bool(min(np.count_nonzero(moves), np.count_nonzero(~moves)) >= FEWEST_PIXELS)


def _shows_the_same(frame: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Where a frame [h, w, 3] shows what the background does, bool [h, w]."""
    return largest_difference(frame, background) < SAME


def _shows_body(same: np.ndarray, masks: np.ndarray, moves: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Where a background is a picture of a body, bool [h, w].

    Args:
        same: where a few frames show what the background does, bool [N, h, w].
        masks: what their colours give to bodies.
        moves: what differs from the background in them.
        moving: what does in all frames of the clip, [T, h, w].
    """
    seen = same.sum(0)
    found = ((masks & same).sum(0) > HALF * seen) & (seen > OFTEN * len(same))
    labels, shown = label(found), np.zeros_like(found)
    for number in range(1, labels.max() + 1):
        place = labels == number
        if place.mean() > SMALLEST and _share_that_moves(place, masks, moves) > MOVES:
            beside = (moving & dilate(place, BESIDE)).any((1, 2))
            shown |= place & (beside.mean() > RESTLESS)
    return shown


def _share_that_moves(place: np.ndarray, masks: np.ndarray, moving: np.ndarray) -> float:
    """How much of the bodies with masks [N, h, w] that hold a place [h, w] moves, in the mean over the frames."""
    bodies = [reconstruct(place, mask | moves) for mask, moves in zip(masks, moving)]
    shares = [np.mean(moves[body]) for body, moves in zip(bodies, moving) if body.any()]
    return float(np.mean(shares)) if shares else 0.0


def _with_whole_body(mask: np.ndarray, moving: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """What moves in a frame [h, w], of the bodies that the background shows by the mask of a graph cut."""
    either = mask | moving
    return np.where(reconstruct(dilate(shown, RIM), either), mask, moving)


def _without(
    frames: np.ndarray, background: np.ndarray, moving: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A background without bodies that hide a place [h, w] of it, by their masks, and `OnTheSpot.shown`.

    Shapes: frames [T, h, w, 3], background [h, w, 3], moving bool [T, h, w].
    """
    chosen = evenly_spaced(len(frames))
    hidden = dilate(moving[chosen], RIM)
    always = place & ((~hidden).mean(0) < FEWEST)
    picture = np.where(place[..., None], median_background(frames[chosen], hidden.astype(np.float32)), background)
    picture = inpaint(picture, always) if always.any() else picture
    return picture.astype(np.float32), np.where(always, ALWAYS, MOSTLY * place).astype(np.uint8)
