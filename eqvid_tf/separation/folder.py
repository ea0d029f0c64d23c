"""A clip's layers as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from eqvid_tf.data.writers import write_png
from eqvid_tf.separation.cutout import straight_alpha
from eqvid_tf.separation.layers import ClipLayers


def write_layers(layers: ClipLayers, folder: Path) -> None:
    """Write background.png, masks/, character/ (RGBA) and motion.json of a clip, at its own size, into a folder.

    Masks, characters and motions are those of the frames as they were filmed. The background, where the camera sways,
    is as the clip's reference frame shows it. Where the estimator is 'known' and the clip has no motions, there is no
    motion.json.
    """
    clip = layers.clip
    known = layers.model.T.learned or clip.has_motion
    motion = clip.motion_as_filmed(layers.motion) if known else None  # before any file: the motions may be at fault
    background = np.clip(layers.background, 0, 255).round().astype(np.uint8)
    write_png(folder / "background.png", background)
    if not clip.sways:
        layers.prepare()
    for index, frame in enumerate(layers.progress(clip.filmed.native(), "cutting it out", clip.count)):
        character = straight_alpha(layers.layer_as_filmed(index, frame))
        write_png(folder / "masks" / f"{index:05d}.png", character[..., 3])
        write_png(folder / "character" / f"{index:05d}.png", character)
    if motion is not None:
        text = {"size": list(clip.size), "fps": clip.fps, "motion": motion.tolist()}
        (folder / "motion.json").write_text(json.dumps(text), encoding="utf-8")
