"""Sprite sheets: the frames of characters, trimmed, in one picture, and a JSON file that says where each is.

The layout is that of TexturePacker and Aseprite, which PixiJS, Phaser and others load.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqvid_tf.data.output import write_text
from eqvid_tf.data.writers import display_times, write_png
from eqvid_tf.exports.pictures import shrunk
from eqvid_tf.pixels.bleeding import bleed
from eqvid_tf.pixels.coordinates import bounding_box, centroid

LARGEST = 8192  # pixels: longest side of a texture that graphics hardware takes
GAP = 4  # pixels between two sprites, so that filtering one does not reach the other
WIDTHS = (1.0, 1.15, 1.3, 1.5, 2.0)  # widths that are tried, in sides of a square of the same area
SCALES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)  # that may be proposed
BLUR = 6  # pixels by which a picture that is made smaller grows, three on each side, as Lanczos reaches
MIDDLE = (0.5, 0.5)  # the pivot of what is never seen


class SheetError(ValueError):
    """A sprite sheet that cannot be made: one line, with the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sprite:
    """A frame of a character, trimmed.

    Attributes:
        picture: straight RGBA uint8 [h, w, 4]; a single transparent pixel where the frame shows nothing.
        top: row of the picture in its frame.
        left: column of the picture in its frame.
        size: (height, width) of the frame.
    """

    picture: np.ndarray
    top: int
    left: int
    size: tuple[int, int]

    @staticmethod
    def of(frame: np.ndarray) -> Sprite:
        """Trim a frame to what it shows."""
        top, left, height, width = bounding_box(frame[..., 3] > 0) or (0, 0, 1, 1)
        picture = np.ascontiguousarray(frame[top : top + height, left : left + width])
        return Sprite(picture=picture, top=top, left=left, size=frame.shape[:2])


def write_sheet(
    path: Path,
    animations: Mapping[str, Iterable[np.ndarray]],
    fps: float,
    *,
    layout: str = "hash",
    scale: float = 1.0,
    power_of_two: bool = False,
) -> tuple[int, int]:
    """Write a sheet of some animations, and beside it the .json file of the same name; give its (height, width).

    Equal frames share their place. Under alpha 0, colours go on outwards (see `bleed`). The pivot of all frames of an
    animation is the character's centre in the first frame that shows it, so a sprite placed there keeps its motion.

    Shapes: frames straight RGBA uint8 [H, W, 4].

    Args:
        path: of the .png.
        animations: their frames, by name; frame K of one is named NAME/0000K.
        fps: frames per second, which gives each frame its duration.
        layout: "hash", frames by name, or "array", a list of frames with their names.
        scale: of the frames, in (0, 1].
        power_of_two: whether both sides of the sheet are powers of two.

    Raises:
        SheetError: it would be larger than graphics hardware takes.
    """
    named = {name: [Sprite.of(shrunk(frame, scale)) for frame in frames] for name, frames in animations.items()}
    unique = {_key(sprite): sprite.picture for sprites in named.values() for sprite in sprites}
    sizes = [picture.shape[:2] for picture in unique.values()]
    places, size = _pack(sizes, power_of_two)
    if max(size) > LARGEST:
        raise SheetError(
            f"{path}: the sheet would be {size[1]} x {size[0]} pixels; at most {LARGEST} fit on graphics hardware. "
            f"Take fewer frames (--frames A:B), or --sheet-scale {scale * _fitting(sizes, power_of_two):.2g}."
        )
    sheet = np.zeros((*size, 4), np.uint8)
    for (top, left), picture in zip(places, unique.values()):
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    write_png(path, bleed(sheet))
    where = dict(zip(unique, places))
    text = _described(named, where, fps, layout)
    text["meta"] |= {"image": path.name, "size": {"w": size[1], "h": size[0]}, "scale": f"{scale:g}"}
    write_text(path.with_suffix(".json"), json.dumps(text, indent=1))
    return size


def _key(sprite: Sprite) -> tuple[tuple[int, ...], bytes]:
    return sprite.picture.shape, sprite.picture.tobytes()


def _described(
    named: Mapping[str, Sequence[Sprite]], where: Mapping[Any, tuple[int, int]], fps: float, layout: str
) -> dict[str, Any]:
    """What the .json file says of the frames."""
    frames: dict[str, dict[str, Any]] = {}
    animations: dict[str, list[str]] = {}
    tags: list[dict[str, Any]] = []
    for name, sprites in named.items():
        tags.append({"name": name, "from": len(frames), "to": len(frames) + len(sprites) - 1, "direction": "forward"})
        animations[name] = [f"{name}/{index:05d}" for index in range(len(sprites))]
        pivot = next((_centre(sprite) for sprite in sprites if sprite.picture[..., 3].any()), MIDDLE)
        for key, sprite, duration in zip(animations[name], sprites, display_times(len(sprites), fps)):
            frames[key] = _entry(sprite, where[_key(sprite)], pivot, duration)
    listed = frames if layout == "hash" else [{"filename": name, **entry} for name, entry in frames.items()]
    meta = {"app": "eqvid_tf", "version": "1.0", "format": "RGBA8888", "frameTags": tags}
    return {"frames": listed, "animations": animations, "meta": meta}


def _entry(sprite: Sprite, place: tuple[int, int], pivot: tuple[float, float], duration: int) -> dict[str, Any]:
    height, width = sprite.picture.shape[:2]
    point = {"x": round(pivot[0], 4), "y": round(pivot[1], 4)}
    return {
        "frame": {"x": place[1], "y": place[0], "w": width, "h": height},
        "rotated": False,
        "trimmed": (height, width) != sprite.size,
        "spriteSourceSize": {"x": sprite.left, "y": sprite.top, "w": width, "h": height},
        "sourceSize": {"w": sprite.size[1], "h": sprite.size[0]},
        "pivot": point,
        "anchor": point,  # what PixiJS calls it
        "duration": duration,
    }


def _centre(sprite: Sprite) -> tuple[float, float]:
    """The character's centre as a share of the frame's width and height."""
    x, y = (centroid(sprite.picture) + 1) / 2 * sprite.picture.shape[1::-1] + [sprite.left, sprite.top]
    return float(x) / sprite.size[1], float(y) / sprite.size[0]


def _pack(sizes: Sequence[tuple[int, int]], power_of_two: bool) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """The place (top, left) of each picture, and the size of the sheet: the smallest of those of several widths."""
    widest = max(width for _, width in sizes) + 2 * GAP
    side = math.sqrt(sum((height + GAP) * (width + GAP) for height, width in sizes))
    tried = [max(widest, math.ceil(side * factor)) for factor in WIDTHS]
    packed = [_on_shelves(sizes, _rounded(width, power_of_two)) for width in tried]
    whole = [
        (places, (_rounded(height, power_of_two), _rounded(width, power_of_two))) for places, height, width in packed
    ]
    return min(whole, key=lambda found: (max(found[1]) > LARGEST, found[1][0] * found[1][1]))


def _fitting(sizes: Sequence[tuple[int, int]], power_of_two: bool) -> float:
    """The largest of `SCALES` at which the pictures fit on one sheet, the last one where none does."""
    for scale in SCALES:
        scaled = [(math.ceil(height * scale) + BLUR, math.ceil(width * scale) + BLUR) for height, width in sizes]
        if max(_pack(scaled, power_of_two)[1]) <= LARGEST:
            break
    return scale


def _rounded(length: int, power_of_two: bool) -> int:
    return 1 << (length - 1).bit_length() if power_of_two else length


def _on_shelves(sizes: Sequence[tuple[int, int]], width: int) -> tuple[list[tuple[int, int]], int, int]:
    """The place of each picture in rows, the highest first; and the height and width that are used."""
    places, top, left, shelf, used = [(0, 0)] * len(sizes), GAP, GAP, 0, 0
    for index in sorted(range(len(sizes)), key=lambda k: sizes[k], reverse=True):
        if left + sizes[index][1] + GAP > width:
            top, left, shelf = top + shelf + GAP, GAP, 0
        places[index] = (top, left)
        left, shelf = left + sizes[index][1] + GAP, max(shelf, sizes[index][0])
        used = max(used, left)
    return places, top + shelf + GAP, used
