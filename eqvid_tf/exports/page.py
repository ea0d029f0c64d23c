"""A scene as one page: a clip's layers in an HTML file that needs no network, to be dragged, turned and scaled."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from eqvid_tf.data.output import write_text
from eqvid_tf.exports.actors import QUALITY, LayerActor
from eqvid_tf.exports.layer_folder import LayerFolder
from eqvid_tf.exports.pictures import data_url, shrunk
from eqvid_tf.separation.background import evenly_spaced

LIMIT = 4_000_000  # bytes of the pictures of all frames, as text: the page is to be sent by mail
LONGEST, SHORTEST = 960, 320  # pixels: the scene's longer side at first, and as small as it may become for the limit
MOST_FRAMES = 240
SMALLER = 0.85  # factor of the scale, from try to try
SAMPLE = 5  # frames that tell how large the page becomes


@dataclasses.dataclass(frozen=True)
class PageSize:
    """How much of a clip a page holds: each step-th frame, at a scale in (0, 1]."""

    step: int
    scale: float


def write_page(
    path: Path, layers: LayerFolder, title: str, backgrounds: Mapping[str, np.ndarray] | None = None
) -> PageSize:
    """Write a clip's layers as a page, and say how much of the clip fitted.

    A clip that is larger than `LIMIT` is made smaller, and then loses frames; the page says so.

    Args:
        path: of the .html.
        layers: with plates where the background moves; else the background is a still picture.
        title: of the page.
        backgrounds: others to choose from, uint8 [h, w, 3], by name.
    """
    actors = list(LayerActor.all_of(layers).values())
    size = _affordable(layers, actors)
    shown = range(0, layers.count, size.step)
    characters = [
        {"name": actor.name, "frames": [actor.placed(index, size.scale) for index in shown]} for actor in actors
    ]
    background = layers.plates() if layers.has_plates else layers.background()
    height, width = shrunk(background[0], size.scale).shape[:2]
    scene = {
        "name": title,
        "about": _about(layers, size, (height, width)),
        "width": width,
        "height": height,
        "fps": layers.fps / size.step,
        "step": size.step,
        "count": len(shown),
        "characters": characters,
        "background": [_url(background[k], size) for k in (shown if layers.has_plates else [0])],
        "backgrounds": [{"name": name, "url": _backdrop(other)} for name, other in (backgrounds or {}).items()],
    }
    template = resources.files("eqvid_tf.exports").joinpath("page.html").read_text(encoding="utf-8")
    inside = json.dumps(scene).replace("<", "\\u003c")  # so that no name ends the script that holds it
    write_text(path, template.replace("{{title}}", html.escape(title)).replace("{{scene}}", inside))
    return size


def _affordable(layers: LayerFolder, actors: Sequence[LayerActor]) -> PageSize:
    """As large as the limit allows, told by a few frames."""
    sample = evenly_spaced(layers.count, SAMPLE)
    longest = max(layers.masks()[0].shape)
    size = PageSize(-(-layers.count // MOST_FRAMES), min(1.0, LONGEST / longest))
    while (length := _estimate(layers, actors, sample, size)) > LIMIT and size.scale * SMALLER * longest >= SHORTEST:
        size = PageSize(size.step, size.scale * SMALLER)
    return PageSize(math.ceil(size.step * max(1.0, length / LIMIT)), size.scale)


def _estimate(layers: LayerFolder, actors: Sequence[LayerActor], sample: np.ndarray, size: PageSize) -> float:
    """How long the pictures of all frames become as text, from those of a few frames."""
    of_frame = [len(actor.placed(int(index), size.scale)["url"]) for actor in actors for index in sample]
    if layers.has_plates:
        of_frame.append(sum(len(_url(layers.plates()[int(i)], size)) for i in sample))
    return sum(of_frame) / len(sample) * layers.count / size.step


def _url(picture: np.ndarray, size: PageSize) -> str:
    """A picture as text; a whole frame is brought to the scene's scale first."""
    return data_url(shrunk(picture, size.scale) if picture.shape[2] == 3 else picture, "webp", QUALITY)


def _backdrop(picture: np.ndarray) -> str:
    return data_url(shrunk(picture, min(1.0, LONGEST / max(picture.shape[:2]))), "webp", QUALITY)


def _about(layers: LayerFolder, size: PageSize, shape: tuple[int, int]) -> str:
    """A line on what the page holds."""
    count = len(layers.names)
    frames = f"{layers.count} frames" if size.step == 1 else f"every {size.step}. of {layers.count} frames"
    who = "1 character" if count == 1 else f"{count} characters"
    return f"{who} · {frames} at {layers.fps:g}/s · {shape[1]} × {shape[0]}"
