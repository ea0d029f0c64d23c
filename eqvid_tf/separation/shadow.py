"""The shadow that a character casts: it darkens the background by a smooth factor, and leaves its colour and texture.

A dark coat is no shadow: it hides the texture behind it, and its edge is sharp. Where the background is plain only the
edge tells the two apart; a sharp shadow on a plain wall stays in the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.morphology import dilate

DARKEST, LIGHTEST = 0.4, 0.96  # share of the light that a shadow leaves
DARK = 40  # grey levels of a background, below which a shadow cannot be told
RESIDUAL, RELATIVE = (
    3.0,
    0.03,
)  # grey levels, and share of the background's, by which a shadow's may differ from its factor
TEXTURE = 3.0  # grey levels of a background's texture from which the texture decides
SAME_TEXTURE = 0.9  # correlation of what is seen with the background's texture
SOFT = 0.5  # of its darkening is left at the edge of a soft shadow
LEAST = 0.1  # of a mask: a smaller place is no shadow
MOST = 0.6  # of a mask: what is left has to be a character
ENCLOSED = 0.5  # of a shadow's rim at most touches the character: glass is within him
RELIEF = 15  # pixels of a square over which the light on relief is averaged
OFTEN = 0.5  # share of the frames that show a character: a clip with a shadow shows it in as many ...
AT_TIMES = 0.1  # ... or in as many, where it is told by itself in each


def darkening(frame: np.ndarray, background: np.ndarray, alpha: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    """By how much a mask's shadow darkens the background: [H, W] float32 in [0, 1]; 0 where it is no shadow.

    Shapes: frame uint8 [H, W, 3], background [H, W, 3] in [0, 255] in the frame's exposure, alpha [H, W] in [0, 1].
    """
    frame, background = frame.astype(np.float32), background.astype(np.float32)
    sums = [cv2.blur((a * background).sum(-1), (3, 3)) for a in (frame, background)]
    factor = sums[0] / np.maximum(sums[1], 1)
    residual = np.abs(frame - factor[..., None] * background).max(-1)
    like = (factor > DARKEST) & (factor < LIGHTEST) & (background.max(-1) > DARK)
    like &= residual <= RESIDUAL + noise + RELATIVE * background.max(-1)
    inside, found = alpha > 0, np.zeros(alpha.shape, bool)
    opened = cv2.morphologyEx((like & inside).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    body = inside & ~dilate(opened > 0, 1)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(opened)
    for number in range(1, count):
        place = labels == number
        large = LEAST <= boxes[number, cv2.CC_STAT_AREA] / max(inside.sum(), 1)
        if large and _is_outside(place, body) and _is_shadow(place, frame, background, factor, body):
            found |= place
    if not found.any() or found.sum() > MOST * inside.sum():
        return np.zeros(alpha.shape, np.float32)
    found = dilate(found, 2) & (like | (dilate(found, 1) & (factor > DARKEST))) & (factor < 1) & ~body
    return np.where(found, 1 - factor, 0).astype(np.float32)


def _is_outside(place: np.ndarray, body: np.ndarray) -> bool:
    """Whether a place touches a body, and is not enclosed by it."""
    rim = dilate(place, 2) & ~place
    touches = (rim & body).sum() / max(rim.sum(), 1)
    return 0 < touches <= ENCLOSED


def _is_shadow(
    place: np.ndarray, frame: np.ndarray, background: np.ndarray, factor: np.ndarray, body: np.ndarray
) -> bool:
    """Whether a place shows the background's texture, or where that has none, ends softly."""
    relit = frame / np.maximum(_mean_within(place, factor, 9), 0.1)[..., None]
    own, other = ((picture - _mean_within(place, picture, 5))[place] for picture in (relit, background))
    if np.sqrt(np.square(other).mean()) >= TEXTURE:
        return bool((own * other).sum() >= SAME_TEXTURE * np.sqrt(np.square(own).sum() * np.square(other).sum()))
    edge = place & dilate(~place & ~dilate(body, 2), 1)
    left = 1 - factor
    return bool(edge.any() and np.median(left[edge]) < SOFT * np.percentile(left[place], 80))


def _mean_within(place: np.ndarray, picture: np.ndarray, size: int) -> np.ndarray:
    """The mean of a picture [H, W(, c)] over the part of a square around each pixel that lies in a place."""
    count = cv2.blur(place.astype(np.float32), (size, size))
    weight = place if picture.ndim == 2 else place[..., None]
    total = cv2.blur((picture * weight).astype(np.float32), (size, size))
    return total / np.maximum(count if picture.ndim == 2 else count[..., None], 1e-6)


def has_shadow(
    frames: np.ndarray,
    background: np.ndarray,
    coverage: np.ndarray,
    noise: float | np.ndarray,
    share: float = OFTEN,
    most: int = 12,
) -> bool:
    """Whether the character of a clip casts a shadow, by a share of some of its frames.

    Shapes: frames [T, H, W, 3] uint8, background [H, W, 3], coverage [T, H, W].
    """
    seen = np.flatnonzero((coverage > 0.5).any((1, 2)))
    chosen = seen[np.unique(np.linspace(0, len(seen) - 1, min(most, len(seen))).astype(int))] if len(seen) else seen
    return is_usual([bool(darkening(frames[k], background, coverage[k], noise).any()) for k in chosen], share)


def is_usual(found: Sequence[bool], share: float) -> bool:
    """Whether so large a share of the frames that were looked at show a shadow."""
    return len(found) > 0 and float(np.mean(found)) >= share


def ground_darkening(frame: np.ndarray, background: np.ndarray, alpha: np.ndarray, body: np.ndarray) -> np.ndarray:
    """How dark the ground is that a mask holds beside the body: [H, W] float32 in [0, 1]; 0 where that is little.

    Why: relief looks otherwise without the sun, so a shadow on it is darker than the background as a whole and not by
    one factor a pixel.

    Shapes: frame and background [H, W, 3] in [0, 255]; alpha and body [H, W] in [0, 1], the masks before and after
        `eqvid_tf.separation.graph_cut`.
    """
    result = np.zeros(alpha.shape, np.float32)
    box = bounding_box(alpha > 0.5, RELIEF)
    if box is None:
        return result
    part = box_slices(box)
    ground = (alpha[part] > 0.5) & (body[part] <= 0.5)
    light, own = (a[part].astype(np.float32).sum(-1) for a in (background, frame))
    factor = _mean_within(ground, own, RELIEF) / np.maximum(_mean_within(ground, light, RELIEF), 1)
    dark = cv2.morphologyEx((ground & (factor < LIGHTEST)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0
    if dark.sum() >= LEAST * (alpha > 0.5).sum():
        result[part] = np.where(dark, 1 - factor, 0)
    return result


def without_shadows(
    frames: np.ndarray, background: np.ndarray, coverage: np.ndarray, noise: float | np.ndarray
) -> np.ndarray:
    """Masks without the shadows in them; unchanged where the clip has none.

    Shapes: as in `has_shadow` -> [T, H, W] float32.
    """
    if not has_shadow(frames, background, coverage, noise):
        return coverage
    dark = np.stack([darkening(frame, background, mask, noise) > 0 for frame, mask in zip(frames, coverage)])
    return np.where(dark, 0, coverage).astype(np.float32)
