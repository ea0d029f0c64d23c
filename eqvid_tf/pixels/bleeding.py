"""Colours under transparent pixels, for programs that mix straight colours across an edge."""

from __future__ import annotations

import cv2
import numpy as np

REACH = 8  # pixels: half a block of a video codec, and three halvings of a texture
SURE = 16  # alpha, of 255, from which a pixel's straight colour is more than rounding


def bleed(picture: np.ndarray, reach: int = REACH) -> np.ndarray:
    """Carry colours outwards under the transparent pixels of a picture; its alpha and what is visible stay.

    Why: a game engine that filters a texture, and a codec that stores colour at half resolution, mix the colours of
    neighbours whatever their alpha is. Where a file is black under alpha 0, a dark rim shows.

    Shapes: straight RGBA uint8 [h, w, 4] -> the same.

    Args:
        picture: straight RGBA.
        reach: how far from what is visible, in pixels; each pixel takes the colour of the nearest visible one.
    """
    alpha = picture[..., 3]
    seeds = alpha >= min(SURE, max(int(alpha.max()), 1))
    if not seeds.any():
        return picture
    distance, labels = cv2.distanceTransformWithLabels(
        (~seeds).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((labels.max() + 1, 3), np.uint8)
    colours[labels[seeds]] = picture[seeds, :3]
    empty = (alpha == 0) & (distance <= reach)
    bled = picture.copy()
    bled[empty, :3] = colours[labels[empty]]
    return bled
