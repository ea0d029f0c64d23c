"""The first background of a clip, where characters may rest: before there are masks, from the frames alone.

A median believes what a place shows most often, and that can be a character at rest. Here each place chooses among the
colours that it shows for some time, so that neighbouring places fit each other. What then still looks like something
that was put there, with an edge of its own around it that another frame does not have, is taken away.

Source: S. Cohen, Background estimation as a labeling problem, ICCV 2005 (the choice); J. Pearl's min-sum belief
propagation (its solution).
"""

from __future__ import annotations

import cv2
import numpy as np

from eqvid_tf.pixels.edges import edge_strength, put_there, regions_of, stands_out
from eqvid_tf.pixels.morphology import close, dilate
from eqvid_tf.separation.background import evenly_spaced, median_background, novelty, resting_coverage
from eqvid_tf.separation.plain import without_bodies

MOST_FRAMES = 48  # that colours are chosen from: each is compared with each
CHOICES = 4  # colours that a place may have
SIMILAR = 14  # grey levels: the same colour
RARELY = 0.04  # share of the frames: a colour that shows less is no choice
SURE = 0.7  # share of the frames: a colour that shows more is the background's, whatever the neighbours say
SEAM = 60.0  # grey levels between neighbours: more is no worse
SEAM_UNIT = 20.0  # grey levels between neighbours that weigh as much as a colour e times as rare
TEXTURE = 2.0  # added to that unit per grey level by which neighbours differ anyway
ROUNDS = 60  # of belief propagation
CLEARED = 4  # rounds in which things put there are taken away
_ALL, _LATER, _EARLIER = slice(None), slice(1, None), slice(None, -1)
_RECEIVERS = {  # the places that get a message from each side
    "left": (_ALL, _ALL, _LATER),
    "right": (_ALL, _ALL, _EARLIER),
    "up": (_ALL, _LATER),
    "down": (_ALL, _EARLIER),
}
AGREE = 12  # grey levels between choice and median: below, the median is more exact


def first_background(frames: np.ndarray) -> np.ndarray:
    """The background of a clip without masks.

    Shapes: frames uint8 [T, h, w, 3] -> float32 [h, w, 3] in [0, 255].
    """
    chosen = _clear(frames, _choose(*_choices(frames)))
    median = median_background(frames, resting_coverage(frames))
    believed = np.abs(chosen - median).max(-1) <= AGREE
    edges, other = edge_strength(chosen), edge_strength(median)
    for place in regions_of(close(~believed)):
        believed |= dilate(place, 1) & stands_out(place, edges, other, most=0.8, least=0.05)
    return without_bodies(frames, np.where(believed[..., None], median, chosen).astype(np.float32))


def _choices(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colours that each place shows most, [CHOICES, h, w, 3], and the share of the frames, [CHOICES, h, w].

    A frame counts by its novelty: where nothing moves, all frames together are one.
    """
    chosen = evenly_spaced(len(frames), MOST_FRAMES)
    few, weights = frames[chosen].astype(np.int16), novelty(frames)[chosen].astype(np.float32)
    weights /= weights.sum()
    near = _near(few)
    left, colours, shares = np.ones(few.shape[:3], bool), [], []
    for _ in range(CHOICES):
        support = np.zeros(left.shape, np.float32)
        for row, counted, weight in zip(near, left, weights):
            support += row * (weight * counted)
        best = np.where(left, support, -1).argmax(0)
        members = np.take_along_axis(near, best[None, None], 0)[0] & left
        counts = members * weights[:, None, None]
        share = counts.sum(0)
        colours.append(np.einsum("shwc,shw->hwc", few, counts) / np.maximum(share, 1e-6)[..., None])
        shares.append(share)
        left &= ~members
    return np.stack(colours), np.stack(shares)


def _near(frames: np.ndarray) -> np.ndarray:
    """Where each frame shows the same colour as each other one: [S, h, w, 3] int16 -> bool [S, S, h, w]."""
    planes = np.ascontiguousarray(np.moveaxis(frames, -1, 0))  # a maximum over an axis of three is slow
    near = np.empty((len(frames), *frames.shape[:3]), bool)
    for index in range(len(frames)):
        differs = np.abs(planes - planes[:, index, None])
        near[index] = np.maximum(np.maximum(differs[0], differs[1]), differs[2]) < SIMILAR
    return near


def _choose(colours: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """For each place the colour that is frequent and fits its neighbours', [h, w, 3]: min-sum belief propagation."""
    cost = np.where(shares < RARELY, 20.0, -np.log(shares + 0.02)).astype(np.float32)
    cost[1:, shares[0] > SURE] = 20.0
    unit = SEAM_UNIT + TEXTURE * _texture(colours[0])
    step = lambda a, b: np.minimum(np.abs(a[:, None] - b[None]).max(-1), SEAM)
    right = step(colours[:, :, :-1], colours[:, :, 1:]) / unit[:, 1:]
    down = step(colours[:, :-1], colours[:, 1:]) / unit[1:]
    messages = {side: np.zeros_like(cost) for side in ("left", "right", "up", "down")}
    for _ in range(ROUNDS):
        belief = cost + sum(messages.values())
        sent = {
            "left": _message(belief[:, :, :-1] - messages["right"][:, :, :-1], right),
            "right": _message(belief[:, :, 1:] - messages["left"][:, :, 1:], right.swapaxes(0, 1)),
            "up": _message(belief[:, :-1] - messages["down"][:, :-1], down),
            "down": _message(belief[:, 1:] - messages["up"][:, 1:], down.swapaxes(0, 1)),
        }
        for side, place in _RECEIVERS.items():
            messages[side][place] = (messages[side][place] + sent[side]) / 2
    best = (cost + sum(messages.values())).argmin(0)
    return np.take_along_axis(colours, best[None, ..., None], 0)[0]


def _message(belief: np.ndarray, step: np.ndarray) -> np.ndarray:
    """What places say to their neighbours about each colour, [K, ...], for the cost of a step [K, K, ...]."""
    message = (belief[:, None] + step).min(0)
    return message - message.min(0)


def _texture(picture: np.ndarray) -> np.ndarray:
    """Grey levels by which neighbours differ around each place, [h, w]."""
    differences = np.zeros(picture.shape[:2], np.float32)
    differences[:, 1:] += np.abs(np.diff(picture, axis=1)).max(-1)
    differences[1:] += np.abs(np.diff(picture, axis=0)).max(-1)
    return cv2.blur(differences, (9, 9)) / 2


def _clear(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The background without what was put there and is not there in other frames.

    Why: where a frame differs from the background, one of the two shows something in front. It has an edge all around.
    """
    edges = [edge_strength(frame) for frame in frames]
    for _ in range(CLEARED):
        own, total = edge_strength(background), np.zeros(background.shape, np.float32)
        views = np.zeros(background.shape[:2], np.float32)
        for frame, edge in zip(frames, edges):
            for place in put_there(background, own, frame, edge):
                total[place] += frame[place]
                views[place] += 1
        if not views.any():
            break
        background = np.where(views[..., None] > 0, total / np.maximum(views, 1)[..., None], background)
    return background
