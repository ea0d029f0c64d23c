"""The light of a frame: in which a background is known again."""

from __future__ import annotations

import numpy as np

from eqvid_tf.core.networks import GAINS, SATURATED, exposure_gain, robust_weight

DRIFTS = 0.02  # by which grey varies over a clip, but for a tenth of its frames, where its light drifts
ANOTHER = 25  # grey levels by which the character differs from the background
GREY = 127.5  # at which lights are compared
NEARLY = 0.02  # by which grey may be off in another light whose frames still show the background as it is
LEAST = 1e-3  # what a frame in quite another light tells of the background
FLAT = 1e-3  # variance of a picture below which an offset cannot be told from a gain
EMPTY = (
    0.1  # of the way from the least of the character to the usual: frames below it are in the background's own light
)


def fit_exposure(frame: np.ndarray, picture: np.ndarray, passes: int = 8) -> np.ndarray:
    """As `gain`, with an offset: frame = gain * picture + offset by channel, [..., H, W, 3] twice, in [0, 1] -> [2, ..., 1, 1, 3].

    Why: where a camera exposes otherwise it bends its tone curve, too, and the dark parts change by more than a gain tells.
    """
    shown = (frame < SATURATED).astype(np.float32)
    gains = np.asarray(exposure_gain(frame, picture))
    found = np.stack([gains, np.zeros_like(gains)])
    for _ in range(passes):
        weight = shown / robust_weight(frame, apply_exposure(picture, found))
        mean = lambda values, weight=weight: (
            (weight * values).sum((-3, -2), keepdims=True) / (weight.sum((-3, -2), keepdims=True) + 1e-6)
        )
        b, f = mean(picture), mean(frame)
        slope = np.clip(
            (mean(frame * picture) - f * b + FLAT * gains) / (mean(picture * picture) - b * b + FLAT), *GAINS
        )
        found = np.stack([slope, f - slope * b])
    return found


def apply_exposure(picture: np.ndarray, light: np.ndarray) -> np.ndarray:
    """A picture [..., H, W, 3] in a light [2, ..., 1, 1, 3]."""
    gains, offsets = light
    return gains * picture + offsets


def remove_exposure(frame: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The picture that gives the frame in that light."""
    gains, offsets = light
    return (frame - offsets) / gains


def exposure_drift(frames: np.ndarray, picture: np.ndarray, batch: int = 32) -> np.ndarray | None:
    """The light of a clip's frames relative to that of those that show least of the character, [2, T, 1, 1, 3], of values in
    [0, 255]; None where it hardly changes.

    Why: a camera that measures its exposure answers to the character, so that the room is never as bright as it is when empty. What
    differs from the background in the frame's light is the character: masks may take the light itself for one.

    Shapes: frames [T, H, W, 3] uint8, picture of the background [H, W, 3] in [0, 255].
    """
    starts = range(0, len(frames), batch)
    found = np.concatenate(
        [fit_exposure(np.float32(frames[k : k + batch]) / 255, np.float32(picture) / 255) for k in starts], 1
    )
    found[1] *= 255
    if np.ptp(np.quantile(grey_ratio(found), (0.05, 0.95))) < DRIFTS:
        return None
    area = np.array(
        [
            np.mean(np.abs(frame - apply_exposure(picture, found[:, k])).max(-1) > ANOTHER)
            for k, frame in enumerate(frames)
        ]
    )
    empty = np.median(found[:, area <= area.min() + EMPTY * (np.median(area) - area.min())], 1)
    gains = found[0] / empty[0]
    return np.stack([gains, found[1] - gains * empty[1]])


def grey_ratio(light: np.ndarray) -> np.ndarray:
    """How many times as bright grey is in a light: [2, T, 1, 1, 3] -> [T]."""
    return apply_exposure(GREY, light).mean((1, 2, 3)) / GREY


def exposure_trust(light: np.ndarray) -> np.ndarray:
    """How much frames in their light tell of a background in its own, [2, T, 1, 1, 3] -> [T].

    Why: a levelled frame is a little off wherever the tone curve bends. Where no frame of the same light shows a place, the others do.
    """
    return np.exp(-np.square((grey_ratio(light) - 1) / NEARLY) / 2) + LEAST
