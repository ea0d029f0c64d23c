"""Frames in one exposure before any mask is known, where a light is switched or the exposure set in mid-clip.

Why: what differs from the background is then taken for a character. Where the whole frame differs that would be all of
it. It needs no TensorFlow; once there are masks, `eqvid_tf.separation.exposure` measures more exactly.
"""

from __future__ import annotations

import numpy as np

from eqvid_tf.separation.background import median_background

SWITCHED = 0.1  # relative change of brightness over the clip from which frames are levelled
EVERY = 4  # pixels, across and down: of each such block one is enough to see how bright a frame is
DARK, SATURATED = 16, 250  # grey levels, beyond which the ratio of two exposures is not seen


def level_switched(frames: np.ndarray) -> np.ndarray:
    """Frames in the exposure of the background where that changes by much over the clip; else as they are.

    Shapes: frames [T, H, W, 3] uint8 -> the same.
    """
    few = frames[:, ::EVERY, ::EVERY]
    gain = _gains(few, median_background(few))
    if np.ptp(np.log(np.quantile(gain.mean(1), (0.05, 0.95)))) < SWITCHED:
        return frames
    levelled = (frame / one for frame, one in zip(frames, gain))
    return np.stack([np.clip(frame + 0.5, 0, 255).astype(np.uint8) for frame in levelled])


def _gains(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """By how much each frame is brighter than the background, by channel, [T, 3]: the median ratio of its pixels."""
    ratio = np.where(
        (background > DARK) & (frames > DARK) & (frames < SATURATED), frames / np.maximum(background, 1), np.nan
    )
    seen = np.isfinite(ratio).mean((1, 2)) > 0.1
    ratio[:, 0, 0][~seen] = 1  # hardly anything that could tell: as it is
    return np.where(seen, np.nanmedian(ratio, (1, 2)), 1.0)
