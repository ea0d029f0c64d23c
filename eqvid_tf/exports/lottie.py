"""Lottie files: a character's pictures, and their affine motion as position, scale, rotation and skew.

Convention: a Lottie transform carries a point as position + turn @ skew @ scale @ (point - anchor), in pixels, y down,
a turn clockwise, the skew along x: x - tan(skew) y (lottie-web, TransformProperty; the specification says the same of
`sk` with `sa` 0).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqvid_tf.data.output import write_text
from eqvid_tf.exports.pictures import data_url
from eqvid_tf.pixels.bleeding import bleed
from eqvid_tf.pixels.coordinates import frame_from_pixels
from eqvid_tf.rendering.videos import Performance, StoredPicture
from eqvid_tf.separation.cutout import straight_alpha

VERSION = "5.7.0"  # of the format: from it on, key frames need no end values
IMAGE_LAYER = 2
DIGITS = 4  # of pixels, per cent and degrees


def write_lottie(path: Path, performance: Performance, name: str) -> None:
    """Write a character that plays a template as a Lottie file, its pictures inside it as PNG.

    Each picture is a layer while it is displayed: one for a frozen pose. Between two frames a player moves it on
    evenly, so the motion is smooth at any rate of the display.

    Args:
        path: of the .json.
        performance: see `eqvid_tf.rendering.videos.perform`.
        name: of the animation.
    """
    order, poses = list(performance.actor.order), performance.actor.poses
    assets = [_asset(index, poses.read(index)) for index in sorted(set(order))]
    layers: list[dict[str, Any]] = []
    first = 0
    for index, run in itertools.groupby(order):
        stop = first + len(list(run))
        layers.append(_layer(index, poses.read(index), performance, (first, stop), len(layers) + 1))
        first = stop
    height, width = performance.size
    head = {"v": VERSION, "nm": name, "fr": performance.fps, "ip": 0, "op": len(order), "w": width, "h": height}
    write_text(path, json.dumps({**head, "ddd": 0, "assets": assets, "layers": layers, "markers": []}))


def _asset(index: int, stored: StoredPicture) -> dict[str, Any]:
    picture = bleed(straight_alpha(stored.picture.astype(np.float32)))
    height, width = picture.shape[:2]
    return {"id": f"pose-{index}", "w": width, "h": height, "u": "", "p": data_url(picture, "png"), "e": 1}


def _layer(
    index: int, stored: StoredPicture, performance: Performance, frames: tuple[int, int], number: int
) -> dict[str, Any]:
    """The layer of a picture that is displayed in a half-open range of frames."""
    size = stored.picture.shape[:2]
    from_picture = np.linalg.inv(stored.picture_from_frame) @ frame_from_pixels(size)
    to_pixels = np.linalg.inv(frame_from_pixels(performance.size))
    motions = np.stack([to_pixels @ performance.motions[k] @ from_picture for k in range(*frames)])
    anchor = np.array([size[1] / 2, size[0] / 2])
    times = {"ip": frames[0], "op": frames[1], "st": 0}
    look = {"ddd": 0, "ind": number, "ty": IMAGE_LAYER, "nm": f"frame {index}", "refId": f"pose-{index}", "sr": 1}
    return {**look, **times, "ks": _transform(motions, anchor, frames[0]), "ao": 0, "bm": 0}


def _transform(motions: np.ndarray, anchor: np.ndarray, first: int) -> dict[str, Any]:
    """Affine motions [N, 3, 3] in pixels, of the frames from `first` on, as the transform of a layer."""
    turn, scale, skew = decompose(motions[:, :2, :2])
    position = motions[:, :2, :2] @ anchor + motions[:, :2, 2]
    moving = {"p": position, "s": 100 * scale, "r": np.degrees(turn)[:, None], "sk": np.degrees(skew)[:, None]}
    still = {"o": _value([100.0]), "sa": _value([0.0]), "a": _value(anchor.tolist())}
    return still | {name: _property(values, first) for name, values in moving.items()}


def decompose(linear: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear maps as a turn after a skew after a scale, as Lottie has them; turns go on without a jump.

    Shapes: [N, 2, 2] -> turn [N] in radians, scale [N, 2], skew [N] in radians.
    """
    along = np.hypot(linear[:, 0, 0], linear[:, 1, 0])
    turn = np.unwrap(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    across = np.linalg.det(linear) / along
    sheared = (linear[:, 0, 0] * linear[:, 0, 1] + linear[:, 1, 0] * linear[:, 1, 1]) / along
    return turn, np.stack([along, across], -1), -np.arctan(sheared / across)


def _property(values: np.ndarray, first: int) -> dict[str, Any]:
    """A property of a value [N, c] for each frame: key frames with even steps between them, or one value."""
    rounded = np.round(values, DIGITS)
    if (rounded == rounded[0]).all():
        return _value(rounded[0].tolist())
    even = {"i": {"x": [1], "y": [1]}, "o": {"x": [0], "y": [0]}}
    keys = [{"t": first + k, "s": value, **even} for k, value in enumerate(rounded.tolist())]
    return {"a": 1, "k": [*keys[:-1], {"t": keys[-1]["t"], "s": keys[-1]["s"]}]}


def _value(values: Sequence[float]) -> dict[str, Any]:
    return {"a": 0, "k": values[0] if len(values) == 1 else list(values)}
