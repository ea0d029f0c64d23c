"""Correcting a mask: what a person paints on one frame is carried to all, and learned in a short fine-tuning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from eqvid_tf.camera.stabilization import StabilizedClip
from eqvid_tf.config import Config, TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip
from eqvid_tf.model_folder import find_model_folder, load, read_config, version_of
from eqvid_tf.pixels.canvas import fit
from eqvid_tf.pixels.sheets import contact_sheet
from eqvid_tf.progress import no_progress
from eqvid_tf.separation.background import evenly_spaced
from eqvid_tf.separation.cast import Cast
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.separation.corrections import Correction, CorrectionError, changed_part, split_by_motion
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.motions import motion_to_canvas
from eqvid_tf.training.hints import visible_background
from eqvid_tf.training.material import TrainingClips, read_material
from eqvid_tf.training.train import characters_of, compile_model, finish, learn, prepare

MINUTES = 0.75  # of fine-tuning, by default
SHOWN = 8  # frames of a clip, evenly spaced, whose masks are compared
WARM_UP = 20  # steps in which the learning rate of a fine-tuning grows
LEARNING_RATE = 1e-3  # its peak: half of a training's, as the networks know nearly all
TRUSTED_FROM = 0.05  # share of the fine-tuning after which its hints count in full


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Proposal:
    """A correction before it is learned.

    Attributes:
        name: of the character.
        corrections: what was painted, by how it is carried.
        frames: indices of some frames, that which was painted among them.
        before: their masks as they were, uint8 [N, H, W].
        after: their masks with what was painted, carried to each.
        clip: the whole clip, stabilized.
        former: the layers of the character.
        layers: the same with what was painted.
    """

    name: str
    corrections: tuple[Correction, ...]
    frames: np.ndarray
    before: np.ndarray
    after: np.ndarray
    clip: StabilizedClip
    former: ClipLayers
    layers: ClipLayers

    @property
    def changed(self) -> np.ndarray:
        """The share of each of the frames that changes, [N]."""
        return ((self.before > 127) != (self.after > 127)).mean((1, 2))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Corrected:
    """A correction that was learned.

    Attributes:
        proposal: as it was painted and carried.
        after: the masks of the proposal's frames by the new model, uint8 [N, H, W].
        metrics: of the fine-tuning, as in metrics.json.
    """

    proposal: Proposal
    after: np.ndarray
    metrics: dict


def propose(
    model: EquivariantVideoModel,
    clip: Clip,
    frame: int,
    painting: np.ndarray,
    *,
    of: int | str | None = None,
    cast: Cast | None = None,
    progress: Callable = no_progress,
) -> Proposal:
    """Carry what was painted of a mask on one frame to all frames, before anything is learned.

    Args:
        model: a trained model.
        clip: an open clip that it knows.
        frame: index of the frame that was painted.
        painting: see `eqvid_tf.separation.corrections.read_painting`.
        of: number or name of the character; None: the first one.
        cast: of the model.
        progress: see `ClipLayers`.

    Raises:
        CorrectionError: the clip has no such frame, the painting changes nothing, or the model never saw the clip.
        NoSuchCharacter: the clip has none of that name or number.
    """
    if not 0 <= frame < clip.count:
        raise CorrectionError(f"{clip.name}: there is no frame {frame}; it has frames 0 to {clip.count - 1}.")
    characters = ClipCharacters(model, clip, cast=cast, progress=progress)
    number = min(characters.layers) if of is None else characters.number(of)
    former = characters.layers[number]
    if not former.background_stored:
        raise CorrectionError(f"{clip.name}: the model never saw this clip, its masks mean nothing. Train on it first.")
    changed = changed_part(painting, former.layer_as_filmed(frame, former.filmed.at(frame))[..., 3])
    if not changed.any():
        raise CorrectionError(f"{clip.name}: the mask changes nothing in frame {frame}. Paint where it is wrong.")
    corrections = _corrections(former, changed, frame, clip=clip.name, frames=clip.count, character=number)
    layers = ClipLayers(model, former.clip, corrections=(*former.corrections, *corrections), progress=progress)
    shown = np.union1d(evenly_spaced(clip.count, SHOWN), [frame])
    before, after = masks_of(former, shown), masks_of(layers, shown)
    return Proposal(
        name=characters.names[number],
        corrections=corrections,
        frames=shown,
        before=before,
        after=after,
        clip=characters.clip,
        former=former,
        layers=layers,
    )


def _corrections(layers: ClipLayers, changed: np.ndarray, frame: int, **known: Any) -> tuple[Correction, ...]:
    """What was painted on a frame: what goes along with the character, and what stays where it is."""
    motions = motion_to_canvas(layers.motions_from(frame), layers.clip.size, layers.canvas)
    on_canvas = lambda part: fit(layers.in_view(part, frame), layers.canvas)
    parts = split_by_motion(changed, on_canvas, layers.coverage, motions, frame)
    return tuple(Correction(**known, frame=frame, moves=moves, picture=part) for moves, part in parts.items())


def masks_of(layers: ClipLayers, frames: np.ndarray) -> np.ndarray:
    """The masks of some frames as filmed, uint8 [N, H, W]."""
    alphas = (layers.layer_as_filmed(int(k), layers.filmed.at(int(k)))[..., 3] for k in frames)
    return np.stack([(255 * alpha).round().astype(np.uint8) for alpha in alphas])


def change_sheet(proposal: Proposal) -> np.ndarray:
    """A picture of some frames, with what their masks leave out dimmed: as it was, and as it is to be; uint8."""
    frames = [proposal.clip.filmed.at(int(index)) for index in proposal.frames]
    dimmed = lambda frame, mask: (frame * (0.25 + 0.75 * mask[..., None] / 255)).astype(np.uint8)
    rows = [[dimmed(*pair) for pair in zip(frames, masks)] for masks in (proposal.before, proposal.after)]
    titles = [f"frame {index}" for index in proposal.frames]
    return contact_sheet(rows, column_titles=titles, row_titles=["before", "after"])


def correct(
    source: str | Path,
    clip: Clip,
    frame: int,
    painting: np.ndarray,
    folder: str | Path | None = None,
    *,
    of: int | str | None = None,
    train: TrainConfig | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = lambda line: None,
    progress: Callable = no_progress,
) -> Corrected:
    """Correct the mask of a character in all frames of a clip, by what was painted on one, and write the model.

    What was painted is carried to every frame by T^z. There it counts, against networks and the background's evidence
    alike; and the networks learn the masks that this gives, for less than a minute.

    Args:
        source: a model folder, or the name of one.
        clip: an open clip that it was trained on.
        frame: see `propose`, as `painting` and `of`.
        painting: of the mask.
        folder: the new model folder; None: into `source`, as its next SavedModel version.
        of: the character.
        train: minutes or steps, seed; `TrainConfig(minutes=0.75, learning_rate=1e-3)` by default.
        callbacks: of Keras, besides the project's own.
        log: gets one line for each thing worth saying.
        progress: see `ClipLayers`.

    Raises:
        OutputError: `source` is no model folder, or cannot be read.
        CorrectionError, NoSuchCharacter: see `propose`.
        RuntimeError: as `eqvid_tf.training.train.train`.
    """
    source = find_model_folder(source)
    config, model, cast = read_config(source), load(source), Cast.read(source)
    first = _first_place(config, clip)
    proposal = propose(model, clip, frame, painting, of=of, cast=cast, progress=progress)
    train = train or TrainConfig(minutes=MINUTES, learning_rate=LEARNING_RATE)
    keras.utils.set_random_seed(train.seed)
    new = _material(model, config, proposal, first)
    others = _others(source, config, first, len(new.clips))
    if model.h.remembers:
        model.h.remember(np.stack(new.backgrounds) / 255, first)
    model.seconds_trained.assign(0.0)
    model = compile_model(model, train)
    learned = learn(model, _for_learning(config, train), new, others, None, callbacks=callbacks, log=log)
    target = Path(folder or source)
    target.mkdir(parents=True, exist_ok=True)
    version = 1 if folder else 1 + version_of(source)
    place: dict[str, Any] = {"source": source, "version": version, "corrections": proposal.corrections, "log": log}
    metrics = finish(model, _as_kept(config, source, first), new, target, learned, **place)
    layers = ClipLayers(model, proposal.layers.clip, corrections=proposal.layers.corrections)
    return Corrected(proposal=proposal, after=masks_of(layers, proposal.frames), metrics=metrics)


def _first_place(config: Config, clip: Clip) -> int:
    """The place in h's memory of the first character of a clip."""
    if clip.name not in config.clips:
        there = ", ".join(config.clips)
        raise CorrectionError(f"{clip.name}: the model was not trained on a clip of this name; it knows {there}.")
    number = config.clips.index(clip.name)
    return config.model.clip_of.index(number) if config.model.clip_of else number


def _material(model: EquivariantVideoModel, config: Config, proposal: Proposal, first: int) -> TrainingClips:
    """The clip to learn, the character that was painted with its masks as they are to be."""
    new = prepare([proposal.clip], config.model.canvas, lambda line: None, characters_of(config))
    hints, backgrounds = list(new.hints), [np.asarray(one) * 255 for one in model.h.pictures[first:][: len(new.clips)]]
    for place, clip in enumerate(new.clips):
        if clip.number == proposal.corrections[0].character:
            hints[place] = _coverage(proposal.layers)
            changed = (np.abs(proposal.layers.coverage - proposal.former.coverage) > 0.5).any(0)
            renewed = visible_background(new.frames[place], hints[place], backgrounds[place])
            backgrounds[place] = np.where(changed[..., None], renewed, backgrounds[place])
    return dataclasses.replace(new, hints=hints, backgrounds=backgrounds, first=first)


def _coverage(layers: ClipLayers) -> np.ndarray:
    """The masks of all frames on the canvas, as the cut-outs have them: [T, h, w] float32 in [0, 1]."""
    return np.stack([fit(layer[..., 3], layers.canvas) for _, _, layer in layers.frames()])


def _for_learning(config: Config, train: TrainConfig) -> Config:
    """The settings of the fine-tuning: its hints stay as they are, and count in full."""
    fixed = config.train
    train = dataclasses.replace(train, image_size=fixed.image_size, precision=fixed.precision, doctor="watch")
    schedule = dataclasses.replace(config.schedule, refreshes=(), warm_up=WARM_UP, hints_grow=(0.0, TRUSTED_FROM))
    return dataclasses.replace(config, train=train, schedule=schedule)


def _as_kept(config: Config, source: Path, first: int) -> Config:
    """The settings of the model as they were; frames of the clip are kept where they were kept."""
    kept = (source / "kept" / str(first)).is_dir()
    return dataclasses.replace(config, train=dataclasses.replace(config.train, keep_frames=kept))


def _others(source: Path, config: Config, first: int, count: int) -> TrainingClips:
    """What a model folder keeps of other clips than that whose characters have these places."""
    kept = read_material(source, config.model.canvas)
    stays = [k for k, clip in enumerate(kept.clips) if not first <= int(Path(clip.path).name) < first + count]
    return TrainingClips(
        clips=[kept.clips[k] for k in stays],
        frames=[kept.frames[k] for k in stays],
        hints=[kept.hints[k] for k in stays],
        clip_of=range(len(stays)),
    )
