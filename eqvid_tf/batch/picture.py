"""The picture of a clip in the report of its batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eqvid_tf.batch.manifest import BatchClip
from eqvid_tf.data.clips import frame_range, open_clip
from eqvid_tf.exports.layer_folder import LayerFolder
from eqvid_tf.exports.pictures import shrunk
from eqvid_tf.separation.background import evenly_spaced

SAMPLE = 9  # frames of which the one with most of the character is taken
THUMBNAIL = 320  # pixels: the longer side
DIMMED = 0.4  # brightness of what is not in the mask


def masked_frame(clip: BatchClip, layers: Path) -> np.ndarray:
    """A small picture of the frame that shows most of the character, with all else dimmed and grey.

    Shapes: uint8 [h, w, 3], at most `THUMBNAIL` pixels high and wide.
    """
    film = open_clip(clip.path, frames=frame_range(clip.frames) if clip.frames else None)
    masks = LayerFolder(layers, film.fps).masks()
    index = max(map(int, evenly_spaced(len(masks), SAMPLE)), key=lambda k: int(masks[k].sum()))
    frame, mask = film.at(index).astype(np.float32), masks[index][..., None] / np.float32(255)
    dimmed = DIMMED * frame.mean(-1, keepdims=True)
    picture = (frame * mask + dimmed * (1 - mask)).round().astype(np.uint8)
    return shrunk(picture, min(1.0, THUMBNAIL / max(picture.shape[:2])))
