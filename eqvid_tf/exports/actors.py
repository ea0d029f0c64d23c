"""A character's pictures in every frame of a layer folder, as pages draw them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from eqvid_tf.exports.layer_folder import LayerFolder, Pictures
from eqvid_tf.exports.pictures import data_url, shrunk
from eqvid_tf.pixels.coordinates import bounding_box, centroid

QUALITY = 82  # of WebP
FAINT = 7  # alpha, of 255, that is not seen: a character's box ends there


class LayerActor(NamedTuple):
    """A character's name, its cut-outs, and its shadows where it casts any."""

    name: str
    cut_outs: Pictures
    shadows: Pictures

    @classmethod
    def all_of(cls, layers: LayerFolder) -> dict[int, LayerActor]:
        """The characters of a layer folder by number."""
        return {k: cls(name, layers.cut_outs(k), layers.shadows(k)) for k, name in layers.names.items()}

    def placed(self, index: int, scale: float) -> dict[str, Any]:
        """A frame's character: its picture as text, the picture's box, and its own centre, in pixels of the scale."""
        cut_out = shrunk(self.cut_outs[index], scale)
        picture = _with_shadow(cut_out, shrunk(self.shadows[index], scale)) if self.shadows else cut_out
        box = bounding_box(picture[..., 3] > FAINT)
        if box is None:
            return {"url": "", "x": 0, "y": 0, "w": 0, "h": 0, "cx": 0, "cy": 0}
        top, left, height, width = box
        x, y = (centroid(cut_out if cut_out[..., 3].any() else picture) + 1) / 2 * picture.shape[1::-1]
        place = {"x": left, "y": top, "w": width, "h": height, "cx": round(float(x), 2), "cy": round(float(y), 2)}
        part = np.ascontiguousarray(picture[top : top + height, left : left + width])
        return {"url": data_url(part, "webp", QUALITY), **place}


def _with_shadow(cut_out: np.ndarray, shadow: np.ndarray) -> np.ndarray:
    """A cut-out over its shadow, which is black; all straight RGBA uint8 [h, w, 4]."""
    own, dark = (picture[..., 3:] / np.float32(255) for picture in (cut_out, shadow))
    alpha = own + (1 - own) * dark
    colour = cut_out[..., :3] * own / np.maximum(alpha, 1e-3)
    return np.concatenate([colour, 255 * alpha], -1).round().astype(np.uint8)
