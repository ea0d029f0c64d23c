"""The clips that a model is trained on, and the few frames of them that a model folder keeps for fine-tuning."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from eqvid_tf.camera.staying import Occupied
from eqvid_tf.config import Config
from eqvid_tf.data.cache import joined
from eqvid_tf.data.clips import Clip, open_clip
from eqvid_tf.data.images import read_image
from eqvid_tf.data.output import OutputError, write_text
from eqvid_tf.data.pairs import canvas_motion
from eqvid_tf.data.writers import write_png
from eqvid_tf.separation.background import evenly_spaced
from eqvid_tf.separation.cast import Cast, CastEntry, default_name
from eqvid_tf.separation.likeness import colour_histogram, with_shared_names
from eqvid_tf.separation.sightings import Sightings
from eqvid_tf.training.hints import Hints


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingClips:
    """Clips, and of each clip its frames on the canvas, its hints and its background.

    Attributes:
        clips: open ones, stabilized.
        frames: uint8 [T, h, w, 3].
        hints: a first guess at the character's coverage, float32 [T, h, w] in [0, 1].
        backgrounds: a first guess, float32 [h, w, 3] in [0, 255].
        hidden: where frames do not show what is there, bool [T, h, w]; None: nowhere.
        occupied: where bodies that stay hide the background.
        clip_of: the number of the clip that each shows a character of.
        whole: of each number whose clip has several characters, that clip.
        first: the place in h's memory of the first; None: they have the last places.
    """

    clips: Sequence[Clip] = ()
    frames: Sequence[np.ndarray] = ()
    hints: Sequence[np.ndarray] = ()
    backgrounds: Sequence[np.ndarray] = ()
    hidden: Sequence[np.ndarray | None] = ()
    occupied: Sequence[Occupied | None] = ()
    clip_of: Sequence[int] = ()
    whole: dict[int, Clip] = dataclasses.field(default_factory=dict)
    first: int | None = None

    def of_clip(self, number: int) -> list[int]:
        """Which of the clips show the characters of a clip of several."""
        return [k for k, clip in enumerate(self.clip_of) if clip == number]

    def with_hints(self, hints: Iterable[Hints]) -> TrainingClips:
        """The same clips with other hints and backgrounds, which are made one at a time; hints are kept on disk."""
        backgrounds, counts = list[np.ndarray](), [len(frames) for frames in self.frames]

        def coverages() -> Iterator[np.ndarray]:
            for hint in hints:
                backgrounds.append(hint.background)
                yield hint.coverage

        split = np.split(joined(coverages(), counts), np.cumsum(counts)[:-1])
        return dataclasses.replace(self, hints=split, backgrounds=backgrounds)


def write_material(learned: TrainingClips, config: Config, folder: Path, first: int = 0) -> None:
    """Write folder/0, folder/1 …, each a clip of a few frames on the canvas, with its hints as masks.

    Args:
        learned: what the model was trained on.
        config: of the model.
        folder: gets a folder for each clip.
        first: number of the first clip.
    """
    for number, (clip, frames, hints) in enumerate(zip(learned.clips, learned.frames, learned.hints), first):
        chosen, place = evenly_spaced(len(frames), config.schedule.kept_frames), folder / str(number)
        shutil.rmtree(place, ignore_errors=True)  # of a clip that is learned again
        _write_images(place / "frames", frames[chosen])
        _write_images(place / "masks", hints[chosen])
        if config.model.estimator == "known":
            steps = canvas_motion(clip, config.model.canvas)
            motion = [_product(steps[a:b])[:2].tolist() for a, b in itertools.pairwise(chosen)]
            write_text(place / "motion.json", json.dumps({"size": list(config.model.canvas), "motion": motion}))


def write_cast(learned: TrainingClips, folder: Path, source: Path | None) -> Cast:
    """Write cast.json and cast/: the characters of the clips that were learned, after those of a former model folder.

    A character that looks like one of an earlier part of the same film has that one's name.

    Args:
        learned: what the model was trained on, a clip for each character.
        folder: gets them.
        source: the model folder that was fine-tuned.
    """
    if source and (source / "cast").is_dir():
        shutil.copytree(source / "cast", folder / "cast")
    entries = [_write_portrait(clip, hints, folder) for clip, hints in zip(learned.clips, learned.hints)]
    colours = [colour_histogram(frames, hints) for frames, hints in zip(learned.frames, learned.hints)]
    entries = with_shared_names(entries, [clip.path for clip in learned.clips], colours)
    cast = (Cast.read(source) if source else Cast()).with_entries(entries)
    cast.write(folder)
    return cast


def _write_portrait(clip: Clip, hints: np.ndarray, folder: Path) -> CastEntry:
    """Write a picture of the character of a clip; its entry in the cast."""
    seen = Sightings.of(hints, clip.size)
    name = default_name(clip.name, clip.number)
    entry = CastEntry(clip=clip.name, number=clip.number, name=name, frames=clip.count, **seen.summary(clip.size))
    write_png(folder / entry.picture, seen.picture(clip.at(seen.best)))
    return entry


def read_material(folder: Path, canvas: tuple[int, int]) -> TrainingClips:
    """Read what a model folder keeps of its clips, without their backgrounds; empty where it keeps nothing.

    Raises:
        ClipError, OutputError: a clip of it is damaged.
    """
    places = sorted((folder / "kept").glob("*"), key=lambda place: int(place.name))
    clips = [open_clip(place, cache=None) for place in places]
    frames = [clip.arrays(canvas) for clip in clips]
    hints = [_read_masks(place / "masks") for place in places]
    for clip, array, hint in zip(clips, frames, hints):
        if hint.shape != array.shape[:3]:
            raise OutputError(f"{clip.path}: its masks do not fit its frames. Remove {folder / 'kept'}, or restore it.")
    return TrainingClips(clips=clips, frames=frames, hints=hints, clip_of=range(len(clips)))


def _write_images(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        write_png(folder / f"{number:05d}.png", image)


def _product(steps: np.ndarray) -> np.ndarray:
    """The motion over several steps [N, 3, 3], the first of which acts first."""
    return functools.reduce(lambda motion, step: step @ motion, steps)


def _read_masks(folder: Path) -> np.ndarray:
    """The masks of a folder as coverage, float32 [T, h, w]."""
    masks = [read_image(path)[..., 0] for path in sorted(folder.glob("*.png"))]
    return np.stack(masks) / np.float32(255)
