"""Pictures with straight alpha, made smaller, and as text within another file."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from eqvid_tf.pixels.resampling import resize
from eqvid_tf.separation.cutout import straight_alpha


def shrunk(picture: np.ndarray, scale: float) -> np.ndarray:
    """A picture made smaller by a scale in (0, 1]; colours under transparent pixels do not mix into the others.

    Shapes: RGB uint8 [h, w, 3] or straight RGBA uint8 [h, w, 4] -> the same kind, at least a pixel high and wide.
    """
    if scale == 1:
        return picture
    size = (max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale)))
    if picture.shape[2] == 3:
        return resize(picture, size)
    alpha = picture[..., 3:] / np.float32(255)
    layer = np.concatenate([picture[..., :3] * alpha, alpha], -1)
    return straight_alpha(resize(layer, size))


def data_url(picture: np.ndarray, kind: str, quality: int = 90) -> str:
    """A picture as the text of a data: address.

    Args:
        picture: uint8 [h, w, 3], or straight RGBA uint8 [h, w, 4].
        kind: "png" or "webp".
        quality: of WebP, in [0, 100].
    """
    file = io.BytesIO()
    options = {"quality": quality, "method": 4} if kind == "webp" else {"optimize": True}
    Image.fromarray(picture).save(file, kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
