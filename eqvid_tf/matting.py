"""Cutting a character out of a frame along the frame's own edges, and setting it down elsewhere. Numpy and Pillow alone."""
from __future__ import annotations

import numpy as np
from PIL import Image

from eqvid_tf.data.fitting import homogeneous

LEAST = 6.0     # grey levels: what an 8-bit frame without noise must differ by to be something else than the background


def cut_out(frame: np.ndarray, background: np.ndarray, presence, *, noise: float, cell: float = 1.0, sways: bool = False) -> np.ndarray:
    """The character's layer of a frame, from the network's presence, refined against the background.

    Why: the network knows where the character is, the frame knows where it ends. Within reach of the presence a pixel belongs
    to the character where the frame differs from the background by more than the noise; along the edge its coverage is how far
    its colour lies from the background's to the character's nearby (the compositing equation solved for alpha).

    Shapes: frame uint8 [..., H, W, 3], background float [H, W, 3] in [0, 255], presence float [..., H, W] in [0, 1]
        -> premultiplied RGBA [..., H, W, 4] float32, colour in [0, 255], coverage in [0, 1].
    Args:
        presence: None for everywhere.
        noise: grey levels, a number or [H, W]; see `eqvid_tf.plate.noise`.
        cell: pixels of the frame per pixel that the network saw: how far off its edge may be.
        sways: the camera, so that the background may be off by a third of a cell; [H, W] alone, then.
    """
    frame = frame.astype(np.float32)
    apart = np.abs(frame - background).max(-1)
    differs = apart > LEAST + 1.5 * noise
    if presence is not None:
        differs &= spread(presence > 0.5, int(np.ceil(2 * cell)))
        differs |= (presence > 0.5) & (noise > LEAST)
    inside = fill(close(differs & (window_sum(differs.astype(np.float32)) > 2.5)))
    if sways:
        inside = strange(inside, frame, background, cell)
    core = ~spread(~inside, 1)
    return lifted(frame, background, np.where(core, 1.0, edge_coverage(frame, background, core, apart) * inside))


def strange(inside: np.ndarray, frame: np.ndarray, background: np.ndarray, cell: float) -> np.ndarray:
    """Of a mask [H, W] what shows a colour that the background has not within a third of a cell, and what lies within half a cell of that.

    Why: a camera's sway is never taken out to the last pixel, and what is left of it along a strong edge is cut out like a thing that
    moved; but such a part has no colour that the background does not have beside it.
    """
    shown, known, off_by = np.moveaxis(frame, -1, 0), np.moveaxis(background, -1, 0), int(np.ceil(cell / 3))
    off = ((shown < -spread(-known, off_by) - LEAST) | (shown > spread(known, off_by) + LEAST)).any(0)
    seeds = off & (window_sum(off.astype(np.float32)) > 4.5)
    return fill(joined(seeds, inside) & spread(seeds, int(np.ceil(cell / 2))))


def lifted(frame, background, alpha) -> np.ndarray:
    """What of a frame is not the background, for a coverage [..., H, W]: premultiplied RGBA [..., H, W, 4] float32."""
    alpha = alpha.astype(np.float32)[..., None]
    return np.concatenate([np.clip(frame - (1 - alpha) * background, 0, 255 * alpha), alpha], -1).astype(np.float32)


def edge_coverage(frame, background, core, apart) -> np.ndarray:
    """How far each pixel's colour lies on the way from the background's to that of the core beside it, in [0, 1]."""
    near = window_sum(core.astype(np.float32))
    colour = np.stack([window_sum(frame[..., k] * core) for k in range(3)], -1) / (near[..., None] + 1e-6)
    way = colour - background
    along = ((frame - background) * way).sum(-1) / ((way * way).sum(-1) + 1e-6)
    return np.clip(np.where(near > 0.5, along, apart / 60), 0, 1)


def window_sum(image: np.ndarray) -> np.ndarray:
    """Sum over 3 x 3 pixels of [..., H, W], nothing outside."""
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(1, 1)] * 2)
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def spread(mask: np.ndarray, steps: int) -> np.ndarray:
    """Dilation of [..., H, W], a mask or values, by a square of `steps` pixels each way."""
    for axis in (-2, -1):
        mask, near = np.moveaxis(mask, axis, 0), np.moveaxis(mask, axis, 0).copy()
        for k in range(1, min(steps, len(mask) - 1) + 1):
            np.maximum(near[k:], mask[:-k], out=near[k:])
            np.maximum(near[:-k], mask[k:], out=near[:-k])
        mask = np.moveaxis(near, 0, axis)
    return mask


def close(mask: np.ndarray) -> np.ndarray:
    """Closing by 3 x 3: gaps of a pixel are bridged."""
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(2, 2)] * 2)
    return ~spread(~spread(padded, 1), 1)[..., 2:-2, 2:-2]


def fill(mask: np.ndarray) -> np.ndarray:
    """Holes of [..., H, W] that the frame's border does not reach are filled."""
    free = np.pad(~mask, [(0, 0)] * (mask.ndim - 2) + [(1, 1)] * 2, constant_values=True)
    border = np.zeros_like(free)
    border[..., [0, -1], :] = border[..., :, [0, -1]] = True
    return ~joined(border, free)[..., 1:-1, 1:-1]


def joined(seeds: np.ndarray, free: np.ndarray) -> np.ndarray:
    """What of `free` [..., H, W] the seeds in it reach, from pixel to pixel in rows and columns."""
    reached, count = seeds & free, 0
    while (grown := int(reached.sum())) != count:
        count = grown
        for axis in (-2, -1):
            for flip in (slice(None), slice(None, None, -1)):       # a sweep each way carries the front across the frame
                front, open_ = (np.moveaxis(array, axis, 0)[flip] for array in (reached, free))
                for k in range(1, len(front)):
                    front[k] |= front[k - 1] & open_[k]
    return reached


def taken_from(motion: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """[3, 3]: from the pixels of a picture of size `new` to those that a forward motion brings there, of one of `size`.

    Convention: the motion is in normalized coordinates, [2, 3] or [3, 3]; pixels have their edges at whole numbers, as in Pillow.
    """
    normalized = lambda height, width: np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])     # from pixels
    return np.linalg.inv(normalized(*size)) @ np.linalg.inv(homogeneous(motion)) @ normalized(*new)


def box_of(mask: np.ndarray, margin: int = 0) -> tuple[int, int, int, int] | None:
    """Top, left, height and width in pixels of what of a frame holds a mask [H, W] and `margin` pixels around it; None where it is empty."""
    edges = []
    for axis, length in ((1, mask.shape[0]), (0, mask.shape[1])):
        at = np.flatnonzero(mask.any(axis))
        if not len(at):
            return None
        edges.append((max(at[0] - margin, 0), min(at[-1] + 1 + margin, length)))
    (top, bottom), (left, right) = edges
    return int(top), int(left), int(bottom - top), int(right - left)


def box_from_frame(size: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    """[3, 3]: normalized coordinates of a frame of `size` to those of a box in it, which is given in pixels."""
    return np.array([[size[1] / width, 0, (size[1] - 2 * left) / width - 1],
                     [0, size[0] / height, (size[0] - 2 * top) / height - 1], [0, 0, 1]])


def move(layer: np.ndarray, motion: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """A layer moved by a forward motion in normalized coordinates, by one bicubic resampling; outside is empty.

    Shapes: layer [H, W, c], motion [2, 3] -> [*size, c] float32, `size` the layer's own where it is not given.
    """
    size = size or layer.shape[:2]
    source = taken_from(motion, layer.shape[:2], size)
    pad = 4                                                                         # so that it fades out over the border
    source[:2, 2] += pad
    planes = [Image.fromarray(np.pad(layer[..., k].astype(np.float32), pad)).transform(
        size[::-1], Image.Transform.AFFINE, source[:2].ravel(), Image.Resampling.BICUBIC) for k in range(layer.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], -1)


def over(layer: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A premultiplied layer over a background in [0, 255], as uint8."""
    alpha = np.clip(layer[..., 3:], 0, 1)
    return np.clip(layer[..., :3] + (1 - alpha) * background, 0, 255).round().astype(np.uint8)
