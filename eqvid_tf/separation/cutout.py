"""Cutting a character out of a frame along the frame's own edges, and setting it down elsewhere. Numpy and Pillow alone."""

from __future__ import annotations

import numpy as np

from eqvid_tf.pixels.morphology import box_sum, close, dilate, fill_holes, reconstruct

LEAST = 6.0  # grey levels: what an 8-bit frame without noise must differ by to be something else than the background


def cut_out(
    frame: np.ndarray, background: np.ndarray, presence, *, noise: float, cell: float = 1.0, sways: bool = False
) -> np.ndarray:
    """The character's layer of a frame, from the network's presence, refined against the background.

    Why: the network knows where the character is, the frame knows where it ends. Within reach of the presence a pixel belongs
    to the character where the frame differs from the background by more than the noise; along the edge its coverage is how far
    its colour lies from the background's to the character's nearby (the compositing equation solved for alpha).

    Shapes: frame uint8 [..., H, W, 3], background float [H, W, 3] in [0, 255], presence float [..., H, W] in [0, 1]
        -> premultiplied RGBA [..., H, W, 4] float32, colour in [0, 255], coverage in [0, 1].

    Args:
        presence: None for everywhere.
        noise: grey levels, a number or [H, W]; see `eqvid_tf.separation.background.background_noise`.
        cell: pixels of the frame per pixel that the network saw: how far off its edge may be.
        sways: the camera, so that the background may be off by a third of a cell; [H, W] alone, then.
    """
    frame = frame.astype(np.float32)
    apart = np.abs(frame - background).max(-1)
    differs = apart > LEAST + 1.5 * noise
    if presence is not None:
        differs &= dilate(presence > 0.5, int(np.ceil(2 * cell)))
        differs |= (presence > 0.5) & (noise > LEAST)
    inside = fill_holes(close(differs & (box_sum(differs.astype(np.float32)) > 2.5)))
    if sways:
        inside = without_sway_edges(inside, frame, background, cell)
    core = ~dilate(~inside, 1)
    return extract_layer(frame, background, np.where(core, 1.0, edge_coverage(frame, background, core, apart) * inside))


def without_sway_edges(inside: np.ndarray, frame: np.ndarray, background: np.ndarray, cell: float) -> np.ndarray:
    """Of a mask [H, W] what shows a colour that the background has not within a third of a cell, and what lies within half a cell of that.

    Why: a camera's sway is never taken out to the last pixel, and what is left of it along a strong edge is cut out like a thing that
    moved; but such a part has no colour that the background does not have beside it.
    """
    shown, known, off_by = np.moveaxis(frame, -1, 0), np.moveaxis(background, -1, 0), int(np.ceil(cell / 3))
    off = ((shown < -dilate(-known, off_by) - LEAST) | (shown > dilate(known, off_by) + LEAST)).any(0)
    seeds = off & (box_sum(off.astype(np.float32)) > 4.5)
    return fill_holes(reconstruct(seeds, inside) & dilate(seeds, int(np.ceil(cell / 2))))


def extract_layer(frame, background, alpha) -> np.ndarray:
    """What of a frame is not the background, for a coverage [..., H, W]: premultiplied RGBA [..., H, W, 4] float32."""
    alpha = alpha.astype(np.float32)[..., None]
    return np.concatenate([np.clip(frame - (1 - alpha) * background, 0, 255 * alpha), alpha], -1).astype(np.float32)


def edge_coverage(frame, background, core, apart) -> np.ndarray:
    """How far each pixel's colour lies on the way from the background's to that of the core beside it, in [0, 1]."""
    near = box_sum(core.astype(np.float32))
    colour = np.stack([box_sum(frame[..., k] * core) for k in range(3)], -1) / (near[..., None] + 1e-6)
    way = colour - background
    along = ((frame - background) * way).sum(-1) / ((way * way).sum(-1) + 1e-6)
    return np.clip(np.where(near > 0.5, along, apart / 60), 0, 1)
