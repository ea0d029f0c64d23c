"""The backgrounds that a model was trained on, as it remembers them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.writers import to_uint8
from eqvid_tf.pixels.coordinates import bounding_box


def trained_backgrounds(model: EquivariantVideoModel, clips: Sequence[str]) -> dict[str, np.ndarray]:
    """The stored background of each clip by the clip's name, uint8 [h, w, 3], without the black around it.

    They are as fine as the canvas; a plain structure stores none.

    Args:
        model: a trained model.
        clips: the names of its clips, in order.
    """
    if not model.h.remembers:
        return {}
    of_place = model.config.clip_of or range(len(clips))
    stored = dict(zip(reversed(of_place), reversed(to_uint8(np.asarray(model.h.pictures)[..., :3]))))
    return {name: _without_border(stored[number]) for number, name in enumerate(clips) if number in stored}


def _without_border(picture: np.ndarray) -> np.ndarray:
    top, left, height, width = bounding_box(picture.max(-1) > 0) or (0, 0, *picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
