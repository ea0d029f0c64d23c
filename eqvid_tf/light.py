"""The light of a frame: in which a background is known again."""
from __future__ import annotations

import numpy as np
from keras import ops

LIGHTS = 0.7, 1.4     # the range of a gain
SATURATED = 0.995     # from which a pixel may be brighter than it is shown
OTHER = 0.05          # difference from which a pixel hardly tells of the light: it is another thing
DRIFTS = 0.02         # range of a clip's gains, but for a tenth of its frames, from which its light drifts
EMPTY = 0.1           # of the way from the least of the character to the usual: frames below it are in the background's own light


def gain(frame, picture, passes: int = 4):
    """The light of frames, by channel, relative to that of pictures of the same scene: [..., H, W, 3] twice -> [..., 1, 1, 3].

    Least squares, in which what differs, a character, counts little, and what is saturated nothing.
    """
    shown = ops.cast(frame < SATURATED, "float32")
    weight, found = shown, 1.0
    for _ in range(1 + passes):
        total = lambda product, weight=weight: ops.sum(weight * product, (-3, -2), keepdims=True)
        found = ops.clip(total(frame * picture) / (total(picture * picture) + 1e-3), *LIGHTS)
        weight = shown / (1 + ops.square((frame - found * picture) / OTHER))
    return found


def drift(frames: np.ndarray, masks: np.ndarray, picture: np.ndarray, batch: int = 32) -> np.ndarray | None:
    """The light of a clip's frames, by channel, relative to that of those that show least of the character, [T, 1, 1, 3]; None
    where it hardly changes.

    Why: a camera that measures its exposure answers to the character, so that the room is never as bright as it is when empty.

    Shapes: frames [T, H, W, 3] and masks [T, H, W] uint8, picture of the background [H, W, 3] in [0, 255].
    """
    starts = range(0, len(frames), batch)
    gains = np.concatenate([np.asarray(gain(np.float32(frames[k:k + batch]) / 255, np.float32(picture) / 255)) for k in starts])
    if np.ptp(np.quantile(gains.mean(-1), (0.05, 0.95))) < DRIFTS:
        return None
    area = masks.mean((1, 2))
    return gains / np.median(gains[area <= area.min() + EMPTY * (np.median(area) - area.min())], 0)
