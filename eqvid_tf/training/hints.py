"""A clip's background and its hints, made anew while a model trains, now that the masks know more. Numpy, but for the model."""

from __future__ import annotations

import numpy as np

from eqvid_tf.separation import background as backgrounds
from eqvid_tf.separation.layers import estimate_motions, network_coverage
from eqvid_tf.separation.translucency import FAINT, fit_translucency, reference_frame, refine_coverage, remove_static


def refresh_hints(model, array: np.ndarray, hint: np.ndarray, former: np.ndarray) -> np.ndarray:
    """The background of a clip as the masks now show it, [H, W, 3] in [0, 255]; its hints are made anew from that, in place.

    What the masks hide in every frame, and what moves with the character there, stays as it was, or a mask that is a little too
    large would eat it away.

    Shapes: array [T, H, W, 3] uint8, hint [T, H, W] uint8, former [H, W, 3] in [0, 255].
    """
    chosen = backgrounds.evenly_spaced(len(array))
    frames = array[chosen]
    hidden = network_coverage(model, frames)
    if model.T.learned:
        best, weights = reference_frame(frames, hidden)
        motions, confidences = estimate_motions(model, array, [(chosen[best], index) for index in range(len(array))])
        weights = weights * confidences[chosen]
        hidden = remove_static(hidden, motions[chosen], weights)
    seen = hidden.min(0) < 128
    picture = np.where(seen[..., None], backgrounds.median_background(frames, hidden), former)
    level, told = backgrounds.background_noise(frames, picture, hidden), None
    if model.T.learned:
        shown = backgrounds.difference_masks(frames[best][None], picture, level)[0] / 255
        told, picture = fit_translucency(
            lambda: zip(frames, motions[chosen], weights), picture, hidden.min(0) < FAINT, shown
        )
    hint[:] = backgrounds.difference_masks(array, picture, level)
    if told:
        for index in range(len(array)):
            alpha = refine_coverage(told, hint[index] / np.float32(255), array[index], picture, motions[index])
            hint[index] = alpha * 255 + 0.5
    return picture
