"""The character's layer of one frame: its coverage, decided along the frame's own edges, and its colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from eqvid_tf.pixels.colours import largest_difference
from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.morphology import close, count_around, dilate, fill_holes, reconstruct

JUST_NOTICEABLE = 6.0  # grey levels: a smaller difference from the background may be rounding or compression
MARGIN = 4  # pixels beyond the reach of an edge that are worked on, so that a border of them changes nothing
SCRAPS, SCRAPS_NEAR = 0.02, 0.06  # share of what is taken out, and of a frame's height, of what is left over of it
EDGE_CONTRAST = 60.0  # grey levels: beside no core, a difference of this size is full coverage


def edge_coverage(
    frame: np.ndarray,
    background: np.ndarray,
    coverage: np.ndarray | None,
    *,
    noise: float | np.ndarray,
    cell: float = 1.0,
    sways: bool = False,
) -> np.ndarray:
    """Refine a coarse coverage along the frame's own edges.

    Why: the network knows where the character is, the frame knows where it ends. Within reach of the coarse coverage a
    pixel belongs to the character where the frame differs from the background by more than the noise. In the outermost
    pixel the coverage is a fraction (see `_edge_alpha`).

    Shapes: frame uint8 [..., H, W, 3], background float [H, W, 3] in [0, 255], coverage float32 [..., H, W] in [0, 1]
        -> [..., H, W] float32 in [0, 1].

    Args:
        frame: one frame or several.
        background: in the exposure of the frame.
        coverage: None: the character may be anywhere.
        noise: grey levels, a number or [H, W]; see `eqvid_tf.separation.background.background_noise`.
        cell: pixels of the frame per pixel of the canvas: the edge of the coarse coverage is wrong by up to two cells.
        sways: the camera sways, so the background is off by up to a third of a cell; for a single frame only.
    """
    if coverage is None:
        return _edge_coverage(frame, background, None, noise, cell, sways)
    alpha = np.zeros(coverage.shape, np.float32)
    solid = coverage > 0.5
    box = bounding_box(solid, int(np.ceil(2.5 * cell)) + MARGIN)
    if box is not None:
        rows, columns = box_slices(box)
        within = noise[rows, columns] if isinstance(noise, np.ndarray) else noise
        frame, background, solid = frame[..., rows, columns, :], background[rows, columns], solid[..., rows, columns]
        alpha[..., rows, columns] = _edge_coverage(frame, background, solid, within, cell, sways)
    return alpha


def _edge_coverage(
    frame: np.ndarray,
    background: np.ndarray,
    solid: np.ndarray | None,
    noise: float | np.ndarray,
    cell: float,
    sways: bool,
) -> np.ndarray:
    """As `edge_coverage`, in all of the frame; solid [..., H, W] bool is where the coverage is above a half."""
    frame = frame.astype(np.float32)
    difference = largest_difference(frame, background)
    differs = difference > JUST_NOTICEABLE + 1.5 * noise
    if solid is not None:
        differs &= dilate(solid, int(np.ceil(2 * cell)))
        differs |= solid & (noise > JUST_NOTICEABLE)
    inside = fill_holes(close(differs & (count_around(differs) > 2)))
    if sways:
        inside = _without_sway_edges(inside, frame, background, cell)
    core = ~dilate(~inside, 1)
    alpha, edge = inside.astype(np.float32), inside & ~core
    alpha[edge] = _edge_alpha(frame, background, core, difference, edge)
    return alpha


def extract_layer(frame: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Solve the compositing equation for the layer's colour: frame = layer + (1 - alpha) background.

    Shapes: frame and background [H, W, 3] in [0, 255], alpha [H, W] in [0, 1] -> premultiplied RGBA [H, W, 4] float32,
        colour in [0, 255 alpha].
    """
    layer = np.zeros((*alpha.shape, 4), np.float32)
    box = bounding_box(alpha > 0)
    if box is not None:  # most of a frame is no character
        own, behind, covered = (picture[box_slices(box)].astype(np.float32) for picture in (frame, background, alpha))
        channels = zip(cv2.split(own), cv2.split(behind))  # numpy is slow over three values at a time
        colour = [np.clip(one - (1 - covered) * other, 0, 255 * covered) for one, other in channels]
        layer[box_slices(box)] = cv2.merge([*colour, covered])
    return layer


def together(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Several layers as one picture for a file, see `straight_alpha`: their sum, where they overlap their mean colour.

    Shapes: premultiplied RGBA [H, W, 4] each, one or more -> uint8 [H, W, 4].
    """
    picture = straight_alpha(layers[0])
    for box in (bounding_box(layer[..., 3] > 0) for layer in layers[1:]):
        if box is not None:  # elsewhere it is the first one alone
            whole = np.sum([layer[box_slices(box)] for layer in layers], 0)
            picture[box_slices(box)] = straight_alpha(whole / np.maximum(whole[..., 3:], 1))
    return picture


def uncover(frame: np.ndarray, layers: Iterable[np.ndarray], behind: np.ndarray) -> np.ndarray:
    """Take layers out of a frame: what they hid is as in `behind`, all else stays.

    Shapes: frame uint8 [H, W, 3], layers premultiplied RGBA [H, W, 4], behind [H, W, 3] in [0, 255]
        -> uint8 [H, W, 3].
    """
    removed = np.sum([np.zeros((*frame.shape[:2], 4), np.float32), *layers], 0)
    picture = frame - removed[..., :3] + removed[..., 3:] * behind
    return np.clip(picture, 0, 255).round().astype(np.uint8)


def without_scraps(picture: np.ndarray, behind: np.ndarray, taken: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Take what is left over of a character out of a picture that it was taken out of, as the end of a strap.

    That is what differs clearly from the background, is small beside what was taken, and lies wholly near it. What is
    larger or goes on, as a crowd, stays.

    Shapes: picture uint8 [H, W, 3], behind [H, W, 3] in [0, 255], taken and kept [H, W] bool -> uint8 [H, W, 3].

    Args:
        picture: without the character.
        behind: the background.
        taken: where the character was.
        kept: where others are.
    """
    reach = int(np.ceil(SCRAPS_NEAR * len(picture)))
    box = bounding_box(taken, reach + MARGIN)
    if box is None:
        return picture
    part = box_slices(box)
    near, free = dilate(taken[part], reach), ~kept[part]
    clear = largest_difference(picture[part].astype(np.float32), behind[part]) > EDGE_CONTRAST
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((clear & free).astype(np.uint8))
    scrap = boxes[:, cv2.CC_STAT_AREA] <= SCRAPS * taken.sum()
    scrap[labels[~near]] = False
    scrap[0] = False
    picture, shown = picture.copy(), dilate(scrap[labels], 2) & free
    picture[part][shown] = behind[part][shown].clip(0, 255).round().astype(np.uint8)
    return picture


def straight_alpha(layer: np.ndarray) -> np.ndarray:
    """A premultiplied layer as a picture for a file: RGBA with straight alpha.

    Shapes: [H, W, 4] float32, colour in [0, 255], coverage in [0, 1] -> uint8 [H, W, 4].
    """
    picture = np.zeros(layer.shape, np.uint8)
    box = bounding_box(layer[..., 3] > 0)
    if box is not None:
        *colour, alpha = cv2.split(layer[box_slices(box)])
        factor = np.where(alpha > 1e-3, 1 / np.maximum(alpha, 1e-3), 0)
        planes = [*(one * factor for one in colour), 255 * alpha]
        picture[box_slices(box)] = cv2.merge([(plane.clip(0, 255) + 0.5).astype(np.uint8) for plane in planes])
    return picture


def _edge_alpha(
    frame: np.ndarray, background: np.ndarray, core: np.ndarray, difference: np.ndarray, edge: np.ndarray
) -> np.ndarray:
    """Alpha of edge pixels: how far their colour is from the background (0) to the mean of the core beside them (1).

    Shapes: frame [..., H, W, 3], background [H, W, 3], all else [..., H, W] -> [N], in the order of `np.nonzero(edge)`.
    """
    *plane, row, column = at = np.nonzero(edge)
    inner = np.concatenate([frame, np.ones((*frame.shape[:-1], 1), np.float32)], -1) * core[..., None]
    inner = np.pad(inner, [(0, 0)] * len(plane) + [(1, 1)] * 2 + [(0, 0)])
    beside = lambda down, right: inner[(*plane, row + down, column + right)]
    total = sum(beside(0, right) + beside(1, right) + beside(2, right) for right in range(3))
    count, own, behind = total[:, 3], frame[at], background[row, column]
    direction = total[:, :3] / (count[:, None] + 1e-6) - behind
    fraction = ((own - behind) * direction).sum(-1) / ((direction * direction).sum(-1) + 1e-6)
    return np.clip(np.where(count > 0.5, fraction, difference[at] / EDGE_CONTRAST), 0, 1)


def _without_sway_edges(inside: np.ndarray, frame: np.ndarray, background: np.ndarray, cell: float) -> np.ndarray:
    """Keep the parts of a mask [H, W] that show a colour which the background does not have nearby.

    Why: stabilization leaves a fraction of a cell. Along a strong edge of the background that looks like something that
    moved, but its colours are those of the background within a third of a cell.
    """
    colour, known, reach = np.moveaxis(frame, -1, 0), np.moveaxis(background, -1, 0), int(np.ceil(cell / 3))
    darkest, brightest = -dilate(-known, reach), dilate(known, reach)
    new = np.any((colour < darkest - JUST_NOTICEABLE) | (colour > brightest + JUST_NOTICEABLE), axis=0)
    seeds = new & (count_around(new) > 4)
    return fill_holes(reconstruct(seeds, inside) & dilate(seeds, int(np.ceil(cell / 2))))
