"""The layers that `eqvid_tf.separation.folder.write_layers` wrote, read a frame at a time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.sound import Sound


class Pictures(Sequence[np.ndarray]):
    """Picture files, each read when it is asked for: uint8 [H, W(, c)]."""

    def __init__(self, files: Sequence[Path]):
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Pictures(self._files[index])
        with Image.open(self._files[index]) as image:
            return np.asarray(image)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerFolder:
    """A folder of layers.

    Why from files: several outputs are made from one clip, and each pass over its cut-outs takes minutes.

    Attributes:
        path: of the folder.
        fps: frames per second of its clip.
        times: seconds from the clip's first frame to each; None where they are even.
        sound: what is heard with it; None for nothing.
    """

    path: Path
    fps: float
    times: Sequence[float] | None = None
    sound: Sound | None = None

    @cached_property
    def names(self) -> dict[int, str]:
        """The name of each character by its number."""
        listed = json.loads((self.path / "characters.json").read_text(encoding="utf-8"))
        return {entry["number"]: entry["name"] for entry in listed}

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self.masks())

    def background(self) -> Pictures:
        """The background without any character, a single picture uint8 [H, W, 3]."""
        return Pictures([self.path / "background.png"])

    def plates(self) -> Pictures:
        """The background alone as each frame sees it: uint8 [H, W, 3]."""
        return self._in("plates")

    def cut_outs(self, number: int | None = None) -> Pictures:
        """The cut-outs of a character, or of all together, in every frame: straight RGBA uint8 [H, W, 4]."""
        return self._in("character", number)

    def masks(self, number: int | None = None) -> Pictures:
        """The masks of a character, or of all together, in every frame: uint8 [H, W]."""
        return self._in("masks", number)

    def shadows(self, number: int) -> Pictures:
        """The shadows of a character in every frame, black, straight RGBA; empty where it casts none."""
        return self._in("shadow", number)

    @property
    def has_plates(self) -> bool:
        """Whether it holds the background alone as each frame sees it."""
        return len(self.plates()) > 0

    def _in(self, kind: str, number: int | None = None) -> Pictures:
        place = self.path if number is None else self.path / "characters" / str(number)
        return Pictures(in_name_order(place / kind) if (place / kind).is_dir() else [])
