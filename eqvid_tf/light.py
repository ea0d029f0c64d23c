"""The light of a frame: in which a background is known again."""
from __future__ import annotations

from keras import ops

LIGHTS = 0.7, 1.4     # the range of a gain
SATURATED = 0.995     # from which a pixel may be brighter than it is shown
OTHER = 0.05          # difference from which a pixel hardly tells of the light: it is another thing


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
