"""The character's layer of one frame: its coverage, decided along the frame's own edges, and its colour."""

from __future__ import annotations

import cv2
import numpy as np

from eqvid_tf.pixels.morphology import box_sum, close, dilate, fill_holes, reconstruct

JUST_NOTICEABLE = 6.0  # grey levels: a smaller difference from the background may be rounding or compression
FILMED = 2.0  # grey levels of noise: a clip with more is filmed; drawn characters may look like shadows
SHADOW = 0.4, 0.92  # what a shadow leaves of the background's brightness, at least and at most
UNLIKE = 0.12  # share of the brightness by which a shadow differs from a darker background
WINDOW = 9  # pixels: side of the square in which a frame is compared with a darker background
LOWEST = 0.3  # share of a mask's height, from below, in which the middle of a shadow on the ground lies
THIN = 5  # pixels: a shadow, and what is left of a character beside it, is wider
EDGE_CONTRAST = 60.0  # grey levels: beside no core, a difference of this size is full coverage


def cut_out(
    frame: np.ndarray,
    background: np.ndarray,
    coverage: np.ndarray | None,
    *,
    noise: float | np.ndarray,
    cell: float = 1.0,
    sways: bool = False,
) -> np.ndarray:
    """Refine a coarse coverage along the frame's own edges, and extract the layer under it.

    Why: the network knows where the character is, the frame knows where it ends. Within reach of the coarse coverage a
    pixel belongs to the character where the frame differs from the background by more than the noise. In the outermost
    pixel the coverage is a fraction (see `_edge_alpha`).

    Shapes: frame uint8 [..., H, W, 3], background float [H, W, 3] in [0, 255], coverage float32 [..., H, W] in [0, 1]
        -> premultiplied RGBA [..., H, W, 4] float32, colour in [0, 255], coverage in [0, 1].

    Args:
        frame: one frame or several.
        background: in the exposure of the frame.
        coverage: None: the character may be anywhere.
        noise: grey levels, a number or [H, W]; see `eqvid_tf.separation.background.background_noise`.
        cell: pixels of the frame per pixel of the canvas: the edge of the coarse coverage is wrong by up to two cells.
        sways: the camera sways, so the background is off by up to a third of a cell; for a single frame only.
    """
    frame = frame.astype(np.float32)
    difference = np.abs(frame - background).max(-1)
    differs = difference > JUST_NOTICEABLE + 1.5 * noise
    if coverage is not None:
        differs &= dilate(coverage > 0.5, int(np.ceil(2 * cell)))
        differs |= (coverage > 0.5) & (noise > JUST_NOTICEABLE)
    inside = fill_holes(close(differs & (box_sum(differs.astype(np.float32)) > 2.5)))
    if sways:
        inside = _without_sway_edges(inside, frame, background, cell)
    if frame.ndim == 3 and np.mean(noise) > FILMED:
        inside = _without_shadow(inside, frame, background)
    core = ~dilate(~inside, 1)
    alpha = np.where(core, 1.0, _edge_alpha(frame, background, core, difference) * inside)
    return extract_layer(frame, background, alpha)


def extract_layer(frame: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Solve the compositing equation for the layer's colour: frame = layer + (1 - alpha) background.

    Shapes: frame and background [..., H, W, 3] in [0, 255], alpha [..., H, W] in [0, 1] -> premultiplied RGBA
        [..., H, W, 4] float32, colour in [0, 255 alpha].
    """
    alpha = alpha.astype(np.float32)[..., None]
    colour = np.clip(frame - (1 - alpha) * background, 0, 255 * alpha)
    return np.concatenate([colour, alpha], -1).astype(np.float32)


def straight_alpha(layer: np.ndarray) -> np.ndarray:
    """A premultiplied layer as a picture for a file: RGBA with straight alpha.

    Shapes: [H, W, 4] float32, colour in [0, 255], coverage in [0, 1] -> uint8 [H, W, 4].
    """
    alpha = layer[..., 3:]
    colour = np.where(alpha > 1e-3, layer[..., :3] / np.maximum(alpha, 1e-3), 0)
    return (np.clip(np.concatenate([colour, alpha * 255], -1), 0, 255) + 0.5).astype(np.uint8)


def _edge_alpha(frame: np.ndarray, background: np.ndarray, core: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Alpha of an edge pixel: how far its colour is from the background (0) to the mean of the core beside it (1)."""
    count = box_sum(core.astype(np.float32))
    inner = frame * core[..., None]
    colour = np.stack([box_sum(inner[..., k]) for k in range(3)], -1) / (count[..., None] + 1e-6)
    direction = colour - background
    fraction = ((frame - background) * direction).sum(-1) / ((direction * direction).sum(-1) + 1e-6)
    return np.clip(np.where(count > 0.5, fraction, difference / EDGE_CONTRAST), 0, 1)


def _without_sway_edges(inside: np.ndarray, frame: np.ndarray, background: np.ndarray, cell: float) -> np.ndarray:
    """Keep the parts of a mask [H, W] that show a colour which the background does not have nearby.

    Why: stabilization leaves a fraction of a cell. Along a strong edge of the background that looks like something that
    moved, but its colours are those of the background within a third of a cell.
    """
    colour, known, reach = np.moveaxis(frame, -1, 0), np.moveaxis(background, -1, 0), int(np.ceil(cell / 3))
    darkest, brightest = -dilate(-known, reach), dilate(known, reach)
    new = np.any((colour < darkest - JUST_NOTICEABLE) | (colour > brightest + JUST_NOTICEABLE), axis=0)
    seeds = new & (box_sum(new.astype(np.float32)) > 4.5)
    return fill_holes(reconstruct(seeds, inside) & dilate(seeds, int(np.ceil(cell / 2))))


def _without_shadow(inside: np.ndarray, frame: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A mask [H, W] without what is the background, only darker: a shadow, at the mask's rim and at its foot.

    Why only there: a place of a body may look like its darker background by chance, a white shirt before a white wall.
    """
    mean = lambda picture: cv2.blur(picture.sum(-1) * inside, (WINDOW, WINDOW))
    square, product = mean(background * background) + 1, mean(frame * background)
    left = product / square
    unlike = np.sqrt(np.maximum(mean(frame * frame) / square - left**2, 0))
    shadow = inside & (left > SHADOW[0]) & (left < SHADOW[1]) & (unlike < UNLIKE * left)
    kernel = np.ones((THIN, THIN), np.uint8)
    shadow = cv2.morphologyEx(shadow.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    shadow = _at_the_feet(reconstruct(shadow & dilate(~inside, 1), shadow), inside)
    body = cv2.morphologyEx((inside & ~shadow).astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    return fill_holes(inside & (dilate(body, THIN // 2) | ~dilate(shadow, THIN)) & ~shadow) if shadow.any() else inside


def _at_the_feet(shadow: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The regions of a shadow [H, W] in the lowest part of the regions of a mask [H, W] that they are in."""
    _, masks, boxes, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8))
    count, labels, _, middles = cv2.connectedComponentsWithStats(shadow.astype(np.uint8))
    keep = np.zeros(count, bool)
    for number in range(1, count):
        _, top, _, height, _ = boxes[masks[labels == number][0]]
        keep[number] = middles[number][1] > top + (1 - LOWEST) * height
    return keep[labels]
