"""What several frames know together: how translucent a character is, from the backgrounds that it passed before.

One frame cannot tell glass from an opaque grey. But carried back along its motion a character's pixel is the same in every frame,
while the background behind it changes: C = a + (1 - alpha) B, a straight line over the frames, whose slope is how much of the
background shows through. Numpy alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from eqvid_tf.pixels.coordinates import bounding_box, box_from_frame, homogeneous
from eqvid_tf.pixels.morphology import dilate
from eqvid_tf.pixels.resampling import move
from eqvid_tf.separation.background import novelty, usual_novelty

NOISE = 2.0  # grey levels off the line that every frame is given
NEAR, ALIKE = (
    3,
    6.0,
)  # pixels each way, and grey levels: the neighbours that a pixel leans on, as far as they look like it
VARIES = 0.03  # by which its slope may differ from theirs
UNSURE = 0.3  # standard error of a slope, and ...
APART = 35.0  # ... grey levels off the line, from which the evidence hardly counts
MOSTLY = 0.75  # of the background showing through all of a character: the motions are wrong
MARGIN = 4  # pixels around the character that are looked at too
FAINT = 32  # presence of 255: a place that is below it in some frame is clearly seen there
SHEER = 0.4  # of the background showing through: more, and the character may be looked through
GLIMPSES = 0.3  # frames with nothing before a place that all looks through the character must amount to
STRAY = 0.25  # share of the frames: what fewer show at its place of the character is not the character's
ALONG = 0.75  # of the masks has to move with the character: less, and the motions are wrong


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Translucency:
    """The character of a clip as all its frames show it, within a box of the reference frame.

    Attributes: through [h, w] in [0, 1], how much of the background shows; colour [h, w, 3], premultiplied, in [0, 255]; trust
        [h, w] in [0, 1]; frame_from_box [3, 3], which carries the box's normalized coordinates to the frame's.
    """

    through: np.ndarray
    colour: np.ndarray
    trust: np.ndarray
    frame_from_box: np.ndarray


def fit_translucency(
    frames: Callable[[], Iterable[tuple[np.ndarray, np.ndarray, float]]],
    background: np.ndarray,
    seen: np.ndarray,
    presence: np.ndarray,
) -> tuple[Translucency | None, np.ndarray]:
    """The evidence of a clip's frames, and the background as it shows through the character where it was never seen otherwise.

    Args: those of `gather`; `frames` gives them anew at every call.
    """
    found = fit_lines(frames(), background, seen, presence)
    if found is None or seen.all():
        return found, background
    background, glimpsed = background_through(found, frames(), background, ~seen)
    again = fit_lines(frames(), background, seen | glimpsed, presence) if glimpsed.any() else None
    return again or found, background


def background_through(
    evidence: Translucency,
    frames: Iterable[tuple[np.ndarray, np.ndarray, float]],
    background: np.ndarray,
    hidden: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A background that was never seen clearly at some places, looked at there through what is translucent of the character.

    Why: C = a + t B, and a and t are known of the character from where it passed before what was seen. Where none of its frames
    lets through enough, the background stays as it was.

    Shapes: background [H, W, 3] in [0, 255], hidden [H, W] -> background, and where it is another now [H, W].

    Args:
        frames: as in `gather`.
    """
    total, light = np.zeros((*hidden.shape, 1)), np.zeros(background.shape)
    for frame, motion, weight in frames:
        colour, through, trust = place_in_frame(evidence, motion, hidden.shape)
        through = np.where(through > SHEER, through, 0)[..., None]
        total += weight * trust[..., None] * through**2
        light += weight * trust[..., None] * through * (frame - colour)
    glimpsed = hidden & (total[..., 0] > GLIMPSES)
    return np.where(glimpsed[..., None], np.clip(light / (total + 1e-6), 0, 255), background).astype(
        np.float32
    ), glimpsed


def place_in_frame(
    evidence: Translucency, motion: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour [H, W, 3], through and trust [H, W] of the character as it lies in a frame; outside its box none is trusted."""
    told = np.concatenate([evidence.colour, evidence.through[..., None], evidence.trust[..., None]], -1)
    told = move(told, homogeneous(motion) @ evidence.frame_from_box, size)
    return told[..., :3], np.clip(told[..., 3], 0, 1), np.clip(told[..., 4], 0, 1)


def fit_lines(
    frames: Iterable[tuple[np.ndarray, np.ndarray, float]],
    background: np.ndarray,
    seen: np.ndarray,
    presence: np.ndarray,
) -> Translucency | None:
    """The evidence of a clip's frames; none where the character is nowhere in the reference frame, or where most of it would show
    the background, as it does when the motions are wrong.

    Shapes: background [H, W, 3] in [0, 255], seen [H, W] whether it was ever seen, presence [H, W] of the reference frame.

    Args:
        frames: (frame uint8 [H, W, 3], forward motion [2, 3] from the reference frame to it, weight), one at a time.
    """
    size = presence.shape
    place = bounding_box(presence > 0.5, MARGIN)
    if place is None:
        return None
    top, left, *box = place
    frame_from_box = np.linalg.inv(box_from_frame(size, top, left, *box))
    behind = np.concatenate([background, ~dilate(~seen, 2)[..., None]], -1).astype(np.float32)
    sums = np.zeros((7, *box, 3))
    for frame, motion, weight in frames:
        if weight <= 0:
            continue
        back = np.linalg.inv(homogeneous(motion) @ frame_from_box)
        b = move(behind, back, box)
        c = move(np.asarray(frame, np.float32), back, box)
        w = weight * (b[..., 3:] > 0.99) * np.ones_like(c)  # outside the frame nothing was seen either
        b = b[..., :3]
        sums += np.stack([w, w * w, w * c, w * b, w * c * b, w * b * b, w * c * c])
    found = lines_of(sums, frame_from_box)
    core = presence[top : top + box[0], left : left + box[1]] > 0.5
    return found if found.through[core].mean() < MOSTLY else None


def lines_of(sums: np.ndarray, frame_from_box: np.ndarray) -> Translucency:
    """The line through every pixel's colours: one slope for the three channels, leaning on that of its likes where it is unsure."""
    total, squares, c, b, cb, bb, cc = sums
    total = total + 1e-6
    c, b = c / total, b / total
    moments = np.stack([cb / total - c * b, bb / total - b * b, cc / total - c * c]).sum(-1)
    count = total[..., 0] ** 2 / (squares[..., 0] + 1e-9)  # frames that it amounts to
    one, many = fit_slope(moments, count), fit_slope(*pool_neighbours(moments, count, c))
    sure, near = 1 / one[1] ** 2, 1 / (many[1] ** 2 + VARIES**2)
    through = np.clip((one[0] * sure + many[0] * near) / (sure + near), 0, 1)
    off = np.maximum(moments[2] - 2 * through * moments[0] + through**2 * moments[1], 0) / 3
    trust = np.exp(-off / APART**2 - 1 / (sure + near) / UNSURE**2)
    return Translucency(through=through, colour=c - through[..., None] * b, trust=trust, frame_from_box=frame_from_box)


def pool_neighbours(moments: np.ndarray, count: np.ndarray, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moments [k, h, w] and counts [h, w] of a pixel's neighbours, weighted by how much they look like it: their mean, their sum.

    Why: a pane of glass is one slope, and next to it there may be an opaque rim. Colours [h, w, 3] tell the two apart.
    """
    height, width = count.shape
    margin = [(NEAR, NEAR), (NEAR, NEAR)]
    there = np.pad(np.concatenate([moments, count[None], np.ones((1, height, width))]), [(0, 0), *margin])
    shown, total = np.pad(colour, [*margin, (0, 0)]), 0.0
    for top, left in np.ndindex(2 * NEAR + 1, 2 * NEAR + 1):
        rows, columns = slice(top, top + height), slice(left, left + width)
        alike = np.exp(-np.square(shown[rows, columns] - colour).mean(-1) / (2 * ALIKE**2))
        total = total + alike * there[:, rows, columns]
    return total[:-2] / total[-1], total[-2]


def fit_slope(moments: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slope and its standard error, from covariance, variance of the background's colour and variance of the own one."""
    covariance, variance, own = moments
    slope = covariance / (variance + 1e-3)
    off = np.maximum(own - slope * covariance, 0) + NOISE**2
    return slope, np.sqrt(off / ((variance + 1e-3) * np.maximum(count - 2, 0.1)))


def refine_coverage(
    evidence: Translucency, alpha: np.ndarray, frame: np.ndarray, background: np.ndarray, motion: np.ndarray
) -> np.ndarray:
    """A frame's coverage [H, W] as all frames tell it, where they do and this one agrees; elsewhere as it was.

    Shapes: alpha [H, W] in [0, 1], frame and background [H, W, 3] in [0, 255], motion [2, 3] forward from the reference frame.
    """
    colour, through, trust = place_in_frame(evidence, motion, alpha.shape)
    off = np.abs(colour + through[..., None] * background - frame).max(-1)
    trust = trust * np.exp(-((off / APART) ** 2)) * dilate(alpha > 0.5, 2)
    return (alpha + trust * (1 - through - alpha)).astype(np.float32)


def reference_frame(frames: np.ndarray, presence: np.ndarray) -> tuple[int, np.ndarray]:
    """The frame that shows the character best, wholly inside and in motion, and how much each frame has to say, [T].

    Shapes: frames [T, h, w, 3] uint8, presence [T, h, w] uint8.
    """
    weights = novelty(frames)
    weights = np.minimum(weights / usual_novelty(weights), 1)
    area = (presence > 127).mean((1, 2))
    cut_off = sum(
        (presence[:, rows, columns] > 127).mean(-1)
        for rows, columns in ((0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1))
    )
    return int(np.argmax(weights * (area - area.max() * np.minimum(5 * cut_off, 1)))), weights


def remove_static(presence: np.ndarray, motions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Masks without what does not move with the character, where no frame shows a place clearly.

    Why: such a place was never seen, or it is no character at all but a flaw of the background that was taken for one, and which
    no median over what the masks leave would ever mend. A flaw stays where it is while the character moves on.

    Shapes: presence [T, h, w] uint8, motions [T, 2, 3] forward from one of the frames, weights [T] -> [T, h, w] uint8; as they
        were where most of the masks does not move along, for then the motions are wrong.
    """
    hidden, solid = presence.min(0) > FAINT, presence > 127
    if not hidden.any() or not solid.any() or not weights.any():
        return presence
    there = np.stack(
        [
            move(np.stack([mask, np.ones(mask.shape)], -1), np.linalg.inv(homogeneous(motion)))
            for mask, motion in zip(solid, motions)
        ]
    )
    share = np.tensordot(weights / weights.sum(), there, 1)
    share = np.clip(share[..., :1] / np.maximum(share[..., 1:], 0.5), 0, 1)  # of the frames that show the place
    along = np.stack([move(share, motion)[..., 0] for motion in motions]) > STRAY
    return np.where(hidden & ~along, 0, presence) if along[solid].mean() > ALONG else presence
