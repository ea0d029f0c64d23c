"""A mask along the colours of a frame: a graph cut (GrabCut), seeded by what moves and what stands on the ground.

Why: before a filmed background, what differs from it is more than the character: his shadow, the ground between his
legs, the ground around him where the background is off by a pixel. Neither difference nor texture alone tells a dark
coat from a shadow on stones, whose relief looks otherwise without the sun. But what is on the ground stands still on
it while the character passes, and he has colours of his own.

Source: C. Rother, V. Kolmogorov, A. Blake: "GrabCut", SIGGRAPH 2004; by OpenCV.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from eqvid_tf.parallel import in_threads
from eqvid_tf.pixels.canvas import bounded_size
from eqvid_tf.pixels.colours import largest_channel
from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.grab_cut import Colours, cut_by, learn_colours, of_character
from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.pixels.morphology import SQUARE, close, dilate, fill_holes

MOSTLY, SAME_COLOUR, RESIDUAL_RIM = 0.5, 24.0, 3  # share of frames, grey levels and pixels: see `shows_character`
COVERED = 0.3  # coverage from which a pixel is looked at
SHORTEST = 240  # pixels: shorter side of the frames whose textures are compared
MEMORY = 64 << 20  # pixels of all of them; of a long clip they are smaller
WINDOW = 9  # pixels of them, in which textures are compared
FULL = 0.25  # of a window at least lies in both masks
STEP, FARTHEST = 0.6, 10  # windows that the character moves between frames that are compared; frames at most
ALIKE, UNCLEAR, DIFFERENT = 0.6, 0.45, 0.3  # correlation of a texture that stays, may have, and has not
RIM = 2  # pixels around what stands, in which a window sees too little of it
MARGIN = 0.2  # of correlation, by which a texture stands still rather than moves along
# of each grey level: its logarithm, so that contrasts count the same in shadow and in light
CONTRASTS = 40 * np.log(np.arange(256, dtype=np.float32) + 8)
PLAIN = 1.0  # variance of those logarithms; a texture with less is none
DIFFERENCE = 8  # grey levels, with 1.5 times the noise: what moves also differs by as much from the background
LIGHTER = (
    20  # the same, of what a channel is lighter by than the background: that is no shadow, even if it stands still
)
FEWEST = 0.03  # share of a mask that has to be known to move: colours are not told apart without
AROUND = 20  # pixels around a mask that teach the background's colours
LARGEST = 200 * 200  # pixels of a box that a graph cut works on; larger ones are worked on smaller
ENOUGH = 100 * 100  # pixels to learn colours from
VOTERS = 3  # frames before and after that say what stands
CUT_OFF, KEPT = 0.4, 0.6  # share of them that keep a place: less stands, more does not


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seeds:
    """What is known of the pixels of masks: bool, [T, h, w], or [h, w] of one frame.

    Attributes:
        moving: the character's, for its texture does not stay on the background.
        standing: likely the background's, for its texture stays there and does not move along with the character.
    """

    moving: np.ndarray
    standing: np.ndarray

    def __getitem__(self, index: int) -> Seeds:
        return Seeds(moving=self.moving[index], standing=self.standing[index])

    def at_size(self, size: tuple[int, ...]) -> Seeds:
        """Those of one frame at another size, [H, W] float32 in [0, 1]."""
        moving, standing = (cv2.resize(known.astype(np.float32), size[::-1]) for known in (self.moving, self.standing))
        return Seeds(moving=moving, standing=standing)


def working_size(size: tuple[int, int], count: int) -> tuple[int, int]:
    """The size (height, width) at which the textures of `count` frames of a size are compared; bounds the memory."""
    most = min(SHORTEST, (MEMORY / count * min(size) / max(size)) ** 0.5)
    return bounded_size(size, most)


def find_seeds(
    frames: Iterable[np.ndarray],
    background: np.ndarray,
    coverage: Callable[[int], np.ndarray],
    count: int,
    noise: float,
) -> Seeds:
    """What moves and what stands within the masks of a clip, by the textures of frames between which he has moved.

    Shapes: frames [H, W, 3] uint8 in turn, background [H, W, 3] in [0, 255], both as small as the seeds shall be.

    Args:
        frames: of a clip.
        background: of the clip.
        coverage: gives that of a frame, [H, W] in [0, 1], by its index.
        count: of the frames.
        noise: grey levels.
    """
    grey, masks = (np.empty((count, *background.shape[:2]), kind) for kind in (np.uint8, bool))
    differs, lighter = np.zeros_like(masks), np.zeros_like(masks)
    for index, frame in enumerate(frames):
        grey[index], masks[index] = _grey(frame), coverage(index) > COVERED
        if box := bounding_box(masks[index], WINDOW // 2):
            part = box_slices(box)
            above = frame[part] - background[part]
            differs[index][part] = _smooth(largest_channel(np.abs(above))) > DIFFERENCE + 1.5 * noise
            lighter[index][part] = _smooth(largest_channel(above)) > LIGHTER + 1.5 * noise
    seeds = Seeds(moving=differs, standing=np.empty_like(differs))
    centres = _centres(masks)
    apart = _steps_apart(centres)
    correlations = in_threads(lambda k: _correlations(grey, masks, centres, apart, k), range(count))
    for index, (stays, along) in enumerate(correlations):
        moving = masks[index] & ((stays < DIFFERENT) & differs[index] | lighter[index])
        standing = masks[index] & (stays > ALIKE) & (stays > along + MARGIN)
        standing = cv2.morphologyEx(standing.astype(np.uint8), cv2.MORPH_OPEN, SQUARE) > 0
        seeds.standing[index] = dilate(standing, RIM) & masks[index] & ~moving
        seeds.moving[index] = cv2.erode(moving.astype(np.uint8), SQUARE)
    return seeds


def agreed_seeds(
    frames: Iterable[np.ndarray], coverage: Callable[[int], np.ndarray], seeds: Seeds
) -> tuple[Seeds, np.ndarray]:
    """Seeds of which what stands is what most frames before and after cut off, moved along with the character.

    Why: a dark coat's colours and a shadow's are alike, and a small change of a frame decides whether it keeps both.

    Shapes: frames [h, w, 3] uint8 in turn and coverages as in `find_seeds` -> seeds, and what each frame by itself
        keeps of its mask, bool [T, h, w].
    """
    masks = np.stack([coverage(index) > COVERED for index in range(len(seeds.moving))])
    cut = lambda numbered: cut_alpha(numbered[1], masks[numbered[0]].astype(np.float32), seeds[numbered[0]])
    kept = np.stack([one > 0.5 for one in in_threads(cut, enumerate(frames))])
    centres, standing, every = _centres(masks), np.empty_like(seeds.standing), range(len(kept))
    for index in every:
        near = [k for k in range(index - VOTERS, index + VOTERS + 1) if k != index and k in every and masks[k].any()]
        moved = [_shifted(kept[k].astype(np.float32), centres[index] - centres[k]) for k in near if masks[index].any()]
        share = cv2.blur(np.mean(moved, 0), (3, 3)) if moved else np.full(masks.shape[1:], 0.5)
        found = (seeds.standing[index] | (share < CUT_OFF)) & (share < KEPT)
        standing[index] = found & masks[index] & ~seeds.moving[index]
    return dataclasses.replace(seeds, standing=standing), kept


def _shifted(plane: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A plane [h, w] moved by (x, y) pixels."""
    return cv2.warpAffine(plane, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), plane.shape[::-1])


def cut_alpha(frame: np.ndarray, alpha: np.ndarray, seeds: Seeds) -> np.ndarray:
    """A mask with the parts alone whose colours are the character's; as it was where too little is known to move.

    Shapes: frame [H, W, 3] uint8, alpha [H, W] float32 in [0, 1], seeds of any one size -> [H, W] float32.
    """
    inner = bounding_box(alpha > COVERED)
    scale = min(1.0, (LARGEST / (inner[2] * inner[3])) ** 0.5) if inner else 1.0
    box = bounding_box(alpha > COVERED, round(AROUND / scale))
    if box is None:
        return alpha
    part = box_slices(box)
    size = tuple(max(1, round(side * scale)) for side in alpha[part].shape)
    bounded_size = lambda a: cv2.resize(a.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    mask = bounded_size(alpha[part]) > COVERED
    seeds = seeds.at_size(alpha.shape)
    moving, standing = (bounded_size(known[part]) > 0.5 for known in (seeds.moving, seeds.standing))
    if (moving & mask).sum() < FEWEST * mask.sum():
        return alpha
    kept = _graph_cut(bounded_size(frame[part]).round().astype(np.uint8), mask, moving & mask, standing & mask)
    kept = cv2.resize(kept.astype(np.float32), alpha[part].shape[::-1], interpolation=cv2.INTER_LINEAR)
    result = np.zeros_like(alpha)
    result[part] = np.where(kept > 0.5, np.maximum(alpha[part], kept), np.minimum(alpha[part], kept))
    return result


def shows_character(frames: np.ndarray, masks: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Where a background is a picture of the character itself, who hides it in most frames, bool [h, w].

    Why: of a body that moves on the spot its middle looks the same in every frame, and the networks leave it out of
    some; those frames then tell the background. The graph cut, which goes by colours, has it in most.

    Shapes: frames uint8 [T, h, w, 3], masks bool [T, h, w], from the graph cut; background [h, w, 3] in [0, 255].
    """
    mostly = masks.mean(0) > MOSTLY
    own = nan_median(np.where(masks[:, mostly, None], frames[:, mostly], np.nan))
    result = np.zeros(mostly.shape, bool)
    result[mostly] = np.abs(own - background[mostly]).max(-1) < SAME_COLOUR
    opened = cv2.morphologyEx(result.astype(np.uint8), cv2.MORPH_OPEN, SQUARE) > 0
    return dilate(fill_holes(close(opened)), RESIDUAL_RIM)


def _graph_cut(frame: np.ndarray, mask: np.ndarray, moving: np.ndarray, standing: np.ndarray) -> np.ndarray:
    labels = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    labels[dilate(mask, 2)] = cv2.GC_PR_BGD
    labels[mask] = cv2.GC_PR_FGD
    labels[standing] = cv2.GC_PR_BGD
    labels[moving] = cv2.GC_FGD
    if (labels % 2).all():  # no background to learn colours from
        return mask
    cut_by(frame, labels, _colours(frame, labels))
    return of_character(labels)


def _colours(frame: np.ndarray, labels: np.ndarray) -> Colours:
    """The colours of background and character by their labels: of many pixels each fourth tells them."""
    # Learned in one round: with more, what is not seeded takes the seeds' colours over.
    step = 2 if labels.size > ENOUGH and len(np.unique(labels[::2, ::2] % 2)) == 2 else 1
    some, known = (a[::step, ::step].copy() for a in (frame, labels))
    return learn_colours(some, known)


def _correlations(grey: np.ndarray, masks: np.ndarray, centres: np.ndarray, apart: int, index: int) -> np.ndarray:
    """How well the texture of a frame's mask is found again in others: [2, h, w], where it was, and moved along.

    What no mask before and after holds at its place has moved; at the ends of a clip it may be a shadow as well.
    """
    best = np.full((2, *masks.shape[1:]), np.nan, np.float32)
    others, box = list(_compared(centres, apart, index)), bounding_box(masks[index], WINDOW // 2)
    if box is not None:
        part = box_slices(box)
        own, mask, best_here = CONTRASTS[grey[index][part]], masks[index][part], best[:, *part]
        for other in others:
            shift, plane = centres[index] - centres[other], CONTRASTS[grey[other]]
            for place, (there, seen) in enumerate(_where_it_was_and_along(plane, masks[other], box, shift)):
                found = _correlation(own, there, (mask & (seen > 0)).astype(np.float32))
                best_here[place] = np.fmax(best_here[place], found)
    at_an_end = not any(other < index for other in others) or not any(other > index for other in others)
    return np.where(np.isnan(best), UNCLEAR if at_an_end else -1, best)


def _where_it_was_and_along(
    plane: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int], shift: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A plane and a mask of another frame in a box, [h, w] each: as they are there, and moved by a shift (x, y)."""
    top, left, height, width = box
    yield plane[box_slices(box)], mask[box_slices(box)]
    matrix = np.array([[1, 0, shift[0] - left], [0, 1, shift[1] - top]])
    moved = cv2.warpAffine(plane, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    yield moved, cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height))


def _grey(frame: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(frame, -1, 0)
    return (red.astype(np.uint16) + green + blue) // 3


def _smooth(picture: np.ndarray) -> np.ndarray:
    return cv2.blur(picture, (5, 5))


def _steps_apart(centres: np.ndarray) -> int:
    """In how many frames the character goes on by about a window."""
    steps = np.hypot(*np.diff(centres, axis=0).T)
    usual = np.nanmedian(steps) if np.isfinite(steps).any() else 0.0
    return int(np.clip(np.ceil(STEP * WINDOW / max(usual, 0.1)), 1, FARTHEST))


def _compared(centres: np.ndarray, apart: int, index: int) -> Iterator[int]:
    """The frames before and after with which one is compared: so many steps apart, and twice as many."""
    for other in (index + sign * times * apart for times in (1, 2) for sign in (1, -1)):
        if 0 <= other < len(centres) and np.isfinite(centres[[index, other]]).all():
            yield other


def _correlation(plane: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The correlation of two planes [h, w] in windows, over the pixels that have a weight; nan where few have."""
    blur = lambda a: cv2.blur(a, (WINDOW, WINDOW))
    share = blur(weight)
    mean = lambda a: blur(weight * a) / np.maximum(share, 1e-3)
    first, second = mean(plane), mean(other)
    variances = [np.maximum(mean(a * a) - b * b, PLAIN) for a, b in ((plane, first), (other, second))]
    found = (mean(plane * other) - first * second) / np.sqrt(variances[0] * variances[1])
    return np.where(share > FULL, found, np.nan)


def _centres(masks: np.ndarray) -> np.ndarray:
    """The mean place (x, y) in pixels of each mask [T, h, w]: [T, 2]; nan where it is empty."""
    places = (np.nonzero(mask) for mask in masks)
    return np.array([[np.mean(x), np.mean(y)] if len(x) else [np.nan] * 2 for y, x in places])
