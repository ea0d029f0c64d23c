"""Plain ground: a floor or a wall that is one smooth surface, before which colour alone tells bodies from shadows.

A shadow darkens such a ground by a factor and leaves its hue; a body has a hue of its own, or is darker or brighter
than any shadow leaves it. A body at rest is a departure from the surface that some frame does not show. And bodies of
one hue each can be told apart where they touch, long before their motions could tell.
"""

from __future__ import annotations

import cv2
import numpy as np

from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.pixels.morphology import count_around, dilate, fill_holes, label
from eqvid_tf.separation.background import background_noise

DEGREE = 7  # of the polynomial that stands for the surface
FITTED = 64  # pixels across, about, that it is fitted to
ROUNDS = 30  # of its robust fit
LOOSEST, TIGHTEST, COOLING = 20.0, 3.0, 0.8  # grey levels of residual that count a quarter: first, last, by round
QUIET = 3.0  # grey levels of noise: more has hues of its own
NEAR = 6.0  # grey levels from the surface: it is the ground
PLAIN = 0.75  # share of the frame that is near the surface, from which the ground is plain
VISIBLE = 0.5  # share of a departure from the surface that some frame uncovers: less is part of the ground
FEWEST = 2  # frames that show the ground at a place; where fewer do it is the surface's
HUED = 6.0  # grey levels by which a colour leaves the ground's hue: a body
STRONGEST = 30.0  # grey levels of it that count in the vote on the hue of a place
DARK, DARKEST = 0.68, 0.55  # share of the ground's light: less is a body's, where a part is less than any shadow's
BRIGHT, BRIGHTEST = 1.06, 1.15  # ... and more, where a part is more than an error of the ground explains
SEEDED = 0.3  # share of a dark or bright place that is less than any shadow's, or more than the ground's
SPREAD, APART = 6.0, 12  # degrees: of a hue, and between the peaks of two
COMMON = 0.01  # share of the hued pixels: a peak below it is no hue of a body
CROWD = 3  # pixels of the nine around a place, itself included: with fewer it is a speck
SPECK, SPOT = 8, 20  # pixels: smaller is nothing; smaller within another hue is a reflection


def ground_surface(frames: np.ndarray, background: np.ndarray) -> np.ndarray | None:
    """The smooth surface [h, w, 3] that most of a background is; None where the ground is not plain.

    Why not where there is noise: it has hues of its own.

    Shapes: frames uint8 [T, h, w, 3], background [h, w, 3] in [0, 255].
    """
    if np.mean(background_noise(frames, background)) > QUIET:
        return None
    surface = _fitted_surface(background)
    return surface if np.mean(np.abs(background - surface).max(-1) < NEAR) >= PLAIN else None


def _fitted_surface(picture: np.ndarray) -> np.ndarray:
    """The smooth surface that fits a picture [h, w, 3] where most of it is smooth."""
    terms, step = _terms(*picture.shape[:2]), max(1, min(picture.shape[:2]) // FITTED)
    few = terms[::step, ::step].reshape(-1, terms.shape[-1])
    values, residual = picture[::step, ::step].reshape(-1, 3).astype(float), np.zeros(len(few))
    for k in range(ROUNDS):
        weight = 1 / np.square(1 + np.square(residual / max(TIGHTEST, LOOSEST * COOLING**k)))
        weighted = few * weight[:, None]
        factors = np.linalg.lstsq(weighted.T @ few, weighted.T @ values, rcond=None)[0]
        residual = np.abs(values - few @ factors).max(-1)
    return terms @ factors


def _terms(height: int, width: int) -> np.ndarray:
    """The terms of the polynomial at each pixel, [height, width, N]."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([x**i * y**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)], -1)


def without_bodies(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A background without what rests on plain ground for most of the clip; unchanged where the ground is not plain.

    Shapes: frames uint8 [T, h, w, 3], background [h, w, 3] in [0, 255] -> float32 [h, w, 3].
    """
    surface = ground_surface(frames, background)
    if surface is None:
        return background
    near = np.stack([np.abs(frame - surface).max(-1) < NEAR for frame in frames])
    shown, departs = near.sum(0), np.abs(background - surface).max(-1) >= NEAR
    places = label(departs)
    uncovered = np.bincount(places.ravel(), (shown > 0).ravel()) / np.bincount(places.ravel())
    rests = departs & (uncovered >= VISIBLE)[places]
    ground = np.where(near[:, rests, None], frames[:, rests], np.nan)
    ground = np.where(shown[rests, None] >= FEWEST, nan_median(ground), surface[rests])
    result = background.astype(np.float32)
    result[rests] = ground
    return result


def body_hues(frames: np.ndarray, background: np.ndarray) -> np.ndarray | None:
    """The hue of the body that each pixel shows before plain ground: uint8 [T, h, w], 0 ground or shadow.

    Bodies without a hue, darker or brighter than the ground under any shadow, have the last number together. None where
    the ground is not plain, or most of what is seen before it has no hue.

    Shapes: frames uint8 [T, h, w, 3], background [h, w, 3] in [0, 255].
    """
    if ground_surface(frames, background) is None:
        return None
    light = frames.sum(-1) / np.maximum(background.sum(-1), 1)
    own = frames - light[..., None] * background
    strength = np.abs(own).max(-1)
    red_green, yellow_blue = own[..., 0] - own[..., 1], (own[..., 0] + own[..., 1] - 2 * own[..., 2]) / 3**0.5
    hue = np.degrees(np.arctan2(yellow_blue, red_green)) % 360
    hued = strength > HUED
    peaks = _peaks(hue[hued], np.minimum(strength[hued], STRONGEST))
    distance = np.abs((hue[..., None] - peaks + 180) % 360 - 180)
    nearest = np.where(hued, distance.argmin(-1) + 1, 0) if len(peaks) else np.zeros(hued.shape, int)
    votes = np.minimum(strength, STRONGEST).astype(np.float32)
    bodies = [_one_hue_each(*each, len(peaks)) for each in zip(nearest, votes)]
    hues = np.stack([_with_hueless(*each, len(peaks) + 1) for each in zip(bodies, light)])
    return hues if np.count_nonzero(hues) > 2 * np.count_nonzero(hues > len(peaks)) else None


def nearest_hues(hues: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The hue of each pixel of a mask [T, h, w], where it has none of its own the nearest one: uint8 [T, h, w]."""
    return np.where(mask, np.stack([_nearest(own) for own in hues]), np.uint8(0))


def _nearest(hues: np.ndarray) -> np.ndarray:
    """The hue nearest to each pixel, uint8 [h, w]; 0 everywhere where there is none."""
    known = hues > 0
    if not known.any():
        return hues
    _, place = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(place.max() + 1, np.uint8)
    table[place[known]] = hues[known]
    return table[place]


def _peaks(hue: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The hues, in degrees, about which those of pixels [N] with a weight [N] gather."""
    counts = np.bincount(hue.astype(int) % 360, weight, 360)
    around = np.arange(-180, 180)
    spread = np.exp(-np.square(around / SPREAD) / 2)
    smooth = np.convolve(np.tile(counts, 3), spread, "same")[360:720]
    highest = [smooth[(k + np.arange(-APART, APART + 1)) % 360].max() for k in range(360)]
    return np.flatnonzero((smooth >= highest) & (smooth > COMMON * counts.sum()))


def _one_hue_each(nearest: np.ndarray, votes: np.ndarray, count: int) -> np.ndarray:
    """The hues [h, w] of a frame, one for each body: a dark side has its neighbours', a reflection its surround's."""
    solid = fill_holes((nearest > 0) & (count_around(nearest > 0) > CROWD))
    if not solid.any():
        return np.zeros(solid.shape, np.uint8)
    total = np.stack([cv2.blur(votes * (nearest == k), (3, 3)) for k in range(1, count + 1)])
    own = np.where(total.max(0) > 0, total.argmax(0) + 1, 0).astype(np.uint8)
    return _without_spots(np.where(solid, _nearest(own), np.uint8(0)), count)


def _without_spots(hues: np.ndarray, count: int) -> np.ndarray:
    """Hues [h, w] without specks, and without small places that lie within another hue."""
    hues = hues.copy()
    for hue in range(1, count + 1):
        places, parts, boxes, _ = cv2.connectedComponentsWithStats((hues == hue).astype(np.uint8), connectivity=4)
        for number in range(1, places):
            part, area = parts == number, boxes[number, cv2.CC_STAT_AREA]
            beside = hues[dilate(part, 1) & ~part] if area < SPOT else np.zeros(0, np.uint8)
            others = beside[beside > 0]
            if len(others) > 0.4 * len(beside):
                hues[part] = np.bincount(others).argmax()
            elif area < SPECK:
                hues[part] = 0
    return hues


def _with_hueless(hues: np.ndarray, light: np.ndarray, number: int) -> np.ndarray:
    """Hues [h, w] with a number for bodies that have none, by the share of the ground's light [h, w] that is seen."""
    beyond = (light < DARK) | (light > BRIGHT)
    opened = cv2.morphologyEx((beyond & (hues == 0)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    seeds, hues = (light < DARKEST) | (light > BRIGHTEST), hues.copy()
    parts = label(opened > 0)
    for part in (parts == k for k in range(1, parts.max(initial=0) + 1)):
        if np.count_nonzero(seeds & part) >= max(2 * SPECK, SEEDED * np.count_nonzero(part)):
            hues[fill_holes(part) & (hues == 0)] = number
    return hues
