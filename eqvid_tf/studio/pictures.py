"""What the page shows of clips and layers, made when it is asked for."""

from __future__ import annotations

import functools
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eqvid_tf.data.clips import Clip, open_clip
from eqvid_tf.data.images import read_image
from eqvid_tf.exports.actors import LayerActor
from eqvid_tf.exports.layer_folder import LayerFolder, Pictures
from eqvid_tf.exports.pictures import data_url, shrunk
from eqvid_tf.studio.places import NotHere

LONGEST = 1280  # pixels: longer side of what the page draws; what g draws has the clip's own size
RUN = 12  # frames that are decoded at once: playing asks for one after the other
RUNS_KEPT = 100  # such runs of frames that stay in memory, some 100 kB a frame of 1280 x 720
QUALITY = 85  # of JPEG and WebP
EFFORT = 2  # of WebP, 0 to 6: these files travel no farther than this machine


def as_jpeg(picture: np.ndarray) -> bytes:
    """A picture as a JPEG file, uint8 [h, w, 3]: in a tenth of WebP's time, for frames that are to play."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def as_webp(picture: np.ndarray) -> bytes:
    """A picture as a WebP file, uint8 [h, w, 3] or straight RGBA [h, w, 4]."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=QUALITY, method=EFFORT)
    return file.getvalue()


def scale_of(size: tuple[int, int]) -> float:
    """By how much frames of a size (height, width) are made smaller for the page."""
    return min(1.0, LONGEST / max(size))


class FramePictures:
    """The frames of a clip."""

    def __init__(self, clip: Clip):
        self.clip, self._lock = clip, threading.Lock()
        scale = scale_of(clip.size)
        self.size = tuple(max(1, round(side * scale)) for side in clip.size)
        self._run = functools.lru_cache(RUNS_KEPT)(self._decode)

    def jpeg(self, index: int) -> bytes:
        """A frame; raises `NotHere`."""
        if not 0 <= index < self.clip.count:
            raise NotHere(f"{self.clip.name} has frames 0 to {self.clip.count - 1}; there is no frame {index}.")
        with self._lock:
            return self._run(index // RUN)[index % RUN]

    def _decode(self, run: int) -> list[bytes]:
        indices = range(run * RUN, min((run + 1) * RUN, self.clip.count))
        return [as_jpeg(frame) for frame in self.clip.resized((self.size[0], self.size[1]), indices)]


class StageLayers:
    """The layers of a clip, which `eqvid separate` wrote, a frame at a time.

    Attributes:
        scale: by which everything is smaller than the clip.
        version: is another where the layers were written anew.
    """

    def __init__(self, folder: Path, fps: float):
        self.folder, self.layers, self.version = folder, LayerFolder(folder, fps), folder.stat().st_mtime_ns
        actors = LayerActor.all_of(self.layers).items()
        self.actors = {number: actor._replace(shadows=Pictures([])) for number, actor in actors}  # a scene draws none
        self.shape = self.layers.masks()[0].shape
        self.scale = scale_of(self.shape)
        self._placed = functools.lru_cache(4096)(self._place)

    def describe(self) -> dict[str, Any]:
        """What does not change from frame to frame."""
        listed = json.loads((self.folder / "characters.json").read_text(encoding="utf-8"))
        scaled = [max(1, round(side * self.scale)) for side in self.shape]
        return {
            "size": [self.shape[1], self.shape[0]],
            "shown": [scaled[1], scaled[0]],
            "count": self.layers.count,
            "fps": self.layers.fps,
            "characters": listed,
            "plates": self.layers.has_plates,
        }

    def frame(self, index: int) -> dict[str, Any]:
        """The characters of a frame by number, as `LayerActor.placed` gives them, and the plate where there are any."""
        if not 0 <= index < self.layers.count:
            raise NotHere(f"there are frames 0 to {self.layers.count - 1}; there is no frame {index}.")
        plate = data_url(shrunk(self.layers.plates()[index], self.scale), "webp") if self.layers.has_plates else ""
        return {"characters": {str(k): self._placed(k, index) for k in self.actors}, "plate": plate}

    def background(self) -> bytes:
        """The background without any character."""
        picture = self.layers.plates()[0] if self.layers.has_plates else self.layers.background()[0]
        return as_webp(np.ascontiguousarray(shrunk(picture[..., :3], self.scale)))

    def _place(self, number: int, index: int) -> dict[str, Any]:
        return self.actors[number].placed(index, self.scale)


def still(path: Path) -> bytes:
    """A picture file as the page shows it."""
    picture = read_image(path)
    return as_webp(shrunk(picture, scale_of((picture.shape[0], picture.shape[1]))))


def opened_frames(path: Path) -> FramePictures:
    """The frames of a clip's file."""
    return FramePictures(open_clip(path))
