"""What a model is trained on, and the few frames of it that a model folder keeps for fine-tuning."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eqvid_tf.config import Config
from eqvid_tf.data.clips import Clip, open_clip
from eqvid_tf.data.images import read_image
from eqvid_tf.data.output import OutputError
from eqvid_tf.data.pairs import canvas_motion
from eqvid_tf.data.writers import write_png
from eqvid_tf.separation.background import evenly_spaced


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingClips:
    """Clips, and what is known of each.

    Attributes:
        clips: open ones, stabilized.
        frames: of each, on the canvas, uint8 [T, h, w, 3].
        hints: of each, a guess at the character's coverage, float32 [T, h, w] in [0, 1].
        backgrounds: of each, a guess, float32 [h, w, 3] in [0, 255].
    """

    clips: Sequence[Clip] = ()
    frames: Sequence[np.ndarray] = ()
    hints: Sequence[np.ndarray] = ()
    backgrounds: Sequence[np.ndarray] = ()


def write_kept(material: TrainingClips, config: Config, folder: Path, first: int = 0) -> None:
    """Write folder/0, folder/1 …, each a clip of a few frames on the canvas, with its hints as masks.

    Args:
        material: what the model was trained on.
        config: of the model.
        folder: gets a folder for each clip.
        first: number of the first clip.
    """
    for number, (clip, frames, hints) in enumerate(zip(material.clips, material.frames, material.hints), first):
        chosen, place = evenly_spaced(len(frames), config.schedule.kept_frames), folder / str(number)
        for part, images in (("frames", frames), ("masks", hints)):
            (place / part).mkdir(parents=True)
            for position, index in enumerate(chosen):
                write_png(place / part / f"{position:05d}.png", images[index])
        if config.model.estimator == "known":
            steps = canvas_motion(clip, config.model.canvas)
            between = lambda a, b, steps=steps: functools.reduce(lambda done, step: step @ done, steps[a:b])
            motion = [between(a, b)[:2].tolist() for a, b in itertools.pairwise(chosen)]
            text = json.dumps({"size": list(config.model.canvas), "motion": motion})
            (place / "motion.json").write_text(text, encoding="utf-8")


def read_kept(folder: Path, canvas: tuple[int, int]) -> TrainingClips:
    """Read what a model folder keeps of its clips, without their backgrounds; empty where it keeps nothing.

    Raises:
        ClipError, OutputError: a clip of it is damaged.
    """
    places = sorted((folder / "kept").glob("*"), key=lambda place: int(place.name))
    clips = [open_clip(place, cache=None) for place in places]
    frames, hints = [clip.arrays(canvas) for clip in clips], [_read_masks(place / "masks") for place in places]
    for clip, array, hint in zip(clips, frames, hints):
        if hint.shape != array.shape[:3]:
            raise OutputError(f"{clip.path}: its masks do not fit its frames. Remove {folder / 'kept'}, or restore it.")
    return TrainingClips(clips=clips, frames=frames, hints=hints)


def _read_masks(folder: Path) -> np.ndarray:
    """The masks of a folder as coverage, float32 [T, h, w]."""
    masks = [read_image(path)[..., 0] for path in sorted(folder.glob("*.png"))]
    return np.stack(masks) / np.float32(255)
