"""Edges of pictures: what stands out from around it in one picture, and does not in another."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from eqvid_tf.pixels.colours import largest_difference
from eqvid_tf.pixels.morphology import SQUARE, dilate

EDGE_RATIO, EDGE_NOISE = 1.5, 2.0  # an edge is stronger than another: by this factor, and so many grey levels
GONE = 22  # grey levels by which a frame differs where something is gone
SMALLEST = 12  # pixels of a region
SHORTEST_RIM = 8  # pixels of the rim of a region


def regions_of(mask: np.ndarray) -> list[np.ndarray]:
    """Connected regions of a mask that are more than specks, each bool [h, w]."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, SQUARE)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(opened)
    return [labels == number for number in range(1, count) if boxes[number, cv2.CC_STAT_AREA] >= SMALLEST]


def put_there(
    picture: np.ndarray,
    edges: np.ndarray,
    frame: np.ndarray,
    frame_edges: np.ndarray,
    seen: np.ndarray | None = None,
    most: float = 0.5,
) -> Iterator[np.ndarray]:
    """The places where a picture shows something that was put there, and a frame does not: each bool [h, w].

    Shapes: picture and frame [h, w, 3] in [0, 255], the `edge_strength` of each and seen [h, w].

    Args:
        picture: a background that may have bodies in it.
        edges: of the picture.
        frame: uint8.
        frame_edges: of the frame.
        seen: where the frame shows anything; None: everywhere.
        most: see `stands_out`.
    """
    differs = largest_difference(frame, picture) > GONE
    for place in regions_of(differs if seen is None else differs & seen):
        if stands_out(place, edges, frame_edges, most):
            yield place


def stands_out(place: np.ndarray, edges: np.ndarray, other: np.ndarray, most: float = 0.5, least: float = 0.15) -> bool:
    """Whether a picture has an edge around a place, by its `edges`, that another has not.

    Args:
        place: bool [h, w].
        edges: of the picture, see `edge_strength`.
        other: of the other.
        most: share of the rim where the picture's has to be stronger.
        least: share of the rim where the other's may be.
    """
    rim = dilate(place, 1) & dilate(~place, 1)
    rim[[0, -1]] = rim[:, [0, -1]] = False
    if np.count_nonzero(rim) < SHORTEST_RIM:
        return False
    a, b = edges[rim], other[rim]
    stronger = np.mean(a > EDGE_RATIO * b + EDGE_NOISE)
    weaker = np.mean(b > EDGE_RATIO * a + EDGE_NOISE)
    return bool(stronger > most and weaker < least)


def edge_strength(picture: np.ndarray) -> np.ndarray:
    """How fast a picture [h, w, 3] changes, grey levels a pixel, [h, w]."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.8)
    right, down = (cv2.Sobel(smooth, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
    return np.sqrt((right**2 + down**2).max(-1))
