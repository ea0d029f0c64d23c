"""A clip's background and its hints, made anew while a model trains, now that the masks know more. Numpy, but for the model."""
from __future__ import annotations

import numpy as np

from eqvid_tf import plate
from eqvid_tf.evidence import FAINT, carried, refined, weighed, witnesses
from eqvid_tf.separate import estimates, masks


def refreshed(model, array: np.ndarray, hint: np.ndarray, former: np.ndarray) -> np.ndarray:
    """The background of a clip as the masks now show it, [H, W, 3] in [0, 255]; its hints are made anew from that, in place.

    What the masks hide in every frame, and what moves with the character there, stays as it was, or a mask that is a little too
    large would eat it away.

    Shapes: array [T, H, W, 3] uint8, hint [T, H, W] uint8, former [H, W, 3] in [0, 255].
    """
    chosen = plate.spread(len(array))
    frames = array[chosen]
    hidden = masks(model, frames)
    if model.T.learned:
        best, weights = witnesses(frames, hidden)
        motions, confidences = estimates(model, array, [(chosen[best], index) for index in range(len(array))])
        weights = weights * confidences[chosen]
        hidden = carried(hidden, motions[chosen], weights)
    seen = hidden.min(0) < 128
    picture = np.where(seen[..., None], plate.plate(frames, hidden), former)
    level, told = plate.noise(frames, picture, hidden), None
    if model.T.learned:
        shown = plate.hints(frames[best][None], picture, level)[0] / 255
        told, picture = weighed(lambda: zip(frames, motions[chosen], weights), picture, hidden.min(0) < FAINT, shown)
    hint[:] = plate.hints(array, picture, level)
    if told:
        for index in range(len(array)):
            alpha = refined(told, hint[index] / np.float32(255), array[index], picture, motions[index])
            hint[index] = alpha * 255 + 0.5
    return picture
