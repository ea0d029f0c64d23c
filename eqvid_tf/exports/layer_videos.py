"""A clip's layers as videos for an editor: the characters with alpha, their mask, and the clean plate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eqvid_tf.data.writers import H264, write_video
from eqvid_tf.exports.layer_folder import LayerFolder

ALPHA_KINDS = (".webm", ".mov")  # of a character's video: VP9 with alpha, ProRes 4444


def write_layer_videos(layers: LayerFolder, folder: Path, kind: str = ".webm") -> list[Path]:
    """Write character.webm or .mov, mask.mp4 and plate.mp4, at the clip's own size and rate, and give their paths.

    They have the clip's own times, and its sound but for .webm. There is a plate.mp4 where the layers have plates.

    Where there are several characters, characters/N/ holds the first two of each alone, as the folder of layers does.

    Args:
        layers: of the clip.
        folder: gets the videos.
        kind: suffix of the video with alpha, one of `ALPHA_KINDS`.
    """
    places: dict[int | None, Path] = {None: folder}
    if len(layers.names) > 1:
        places |= {number: folder / "characters" / str(number) for number in layers.names}
    videos: dict[Path, Iterable[np.ndarray]] = {}
    for number, place in places.items():
        videos |= {place / f"character{kind}": layers.cut_outs(number), place / "mask.mp4": layers.masks(number)}
    if layers.has_plates:
        videos[folder / "plate.mp4"] = layers.plates()
    for path, frames in videos.items():
        sound = layers.sound if path.suffix in H264 else None
        write_video(path, frames, layers.fps, times=layers.times, sound=sound)
    return list(videos)
