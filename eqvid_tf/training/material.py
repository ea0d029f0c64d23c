"""What a model is trained on, and the little of it that a model folder keeps so that fine-tuning does not forget it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eqvid_tf.config import ModelConfig
from eqvid_tf.data.clips import Clip, open_clip, read_image
from eqvid_tf.data.output import OutputError
from eqvid_tf.data.pairs import canvas_motion
from eqvid_tf.data.writers import write_png
from eqvid_tf.separation import background as backgrounds

FRAMES = 24  # of each clip


@dataclasses.dataclass(frozen=True)
class TrainingClips:
    """Clips, and what is known of each: its frames on the canvas, uint8 [T, h, w, 3], its masks and its background, as guessed."""

    clips: Sequence[Clip] = ()
    arrays: Sequence[np.ndarray] = ()
    hints: Sequence[np.ndarray] = ()
    plates: Sequence[np.ndarray] = ()


def write_kept(material: TrainingClips, config: ModelConfig, folder: Path, first: int = 0) -> None:
    """Writes folder/0, folder/1 …, each a clip of a few frames as the networks see them, and the masks that are trusted.

    Args:
        first: number of the first clip.
    """
    for number, (clip, array, hint) in enumerate(zip(material.clips, material.arrays, material.hints), first):
        chosen = backgrounds.evenly_spaced(len(array), FRAMES)
        for part, images in (("frames", array), ("masks", hint)):
            (folder / str(number) / part).mkdir(parents=True)
            for place, index in enumerate(chosen):
                write_png(folder / str(number) / part / f"{place:05d}.png", images[index])
        if config.estimator == "known":
            steps = canvas_motion(clip, config.canvas)
            motion = [
                functools.reduce(lambda done, step: step @ done, steps[a:b])[:2].tolist()
                for a, b in itertools.pairwise(chosen)
            ]
            found = {"size": list(config.canvas), "motion": motion}
            (folder / str(number) / "motion.json").write_text(json.dumps(found), encoding="utf-8")


def read_kept(folder: Path, canvas: tuple[int, int]) -> TrainingClips:
    """What a model folder keeps of its clips, without their backgrounds; empty where it keeps nothing.

    Raises: ClipError, OutputError where a clip of it is damaged.
    """
    clips = [
        open_clip(place, cache=None) for place in sorted((folder / "kept").glob("*"), key=lambda place: int(place.name))
    ]
    arrays = [clip.arrays(canvas) for clip in clips]
    hints = [
        np.stack([read_image(path)[..., 0] for path in sorted((clip.path / "masks").glob("*.png"))]) / np.float32(255) for clip in clips
    ]
    for clip, array, hint in zip(clips, arrays, hints):
        if hint.shape != array.shape[:3]:
            raise OutputError(f"{clip.path}: its masks do not fit its frames. Remove {folder / 'kept'}, or restore it.")
    return TrainingClips(clips, arrays, hints)
