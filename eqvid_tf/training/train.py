"""Training a model folder from clips: prepare -> new_model -> learn -> finish."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from eqvid_tf.camera.measure import CameraTravels
from eqvid_tf.camera.parallax import parallax_of
from eqvid_tf.camera.stabilization import StabilizedClip, stabilize
from eqvid_tf.config import Config, ModelConfig, TrainConfig
from eqvid_tf.core.estimators import build_estimator
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip, ClipError
from eqvid_tf.data.output import OutputError, put, write_text
from eqvid_tf.data.pairs import check_deal, default_shares, held_out, pairs
from eqvid_tf.model_folder import read_metrics, read_model, with_names, write_model
from eqvid_tf.pixels.canvas import canvas_for
from eqvid_tf.separation.background import evenly_spaced
from eqvid_tf.separation.cast import default_name
from eqvid_tf.separation.corrections import Correction, read_corrections, write_corrections
from eqvid_tf.separation.solo import track
from eqvid_tf.training.callbacks import Checkpoint, Clock, Diagnosis, Refresh, Rounds, Schedule, TensorBoard
from eqvid_tf.training.diagnosis import USELESS, confusion, in_words, set_verdict
from eqvid_tf.training.hints import first_hints
from eqvid_tf.training.loop import run_loop
from eqvid_tf.training.material import TrainingClips, write_cast, write_material
from eqvid_tf.training.optimizer import Muon
from eqvid_tf.training.workers import Workers

CHECKPOINT = ("checkpoint.keras", "checkpoint.json")
EXAMINED = 8  # frames of a clip of several characters that are looked at for how they are told apart
MOST_CANVAS = 3.0  # canvases of a frame that the canvas of a mosaic may be large: training takes as much longer
REMEDY = "Train longer, or on a clip in which the character moves."
FEWEST_PIXELS, ENOUGH_PIXELS = 4, 16  # of the canvas that a character covers: fewer do not show it; and so many do
LARGEST = 64  # pixels: shorter side of the canvas without --image-size; 2 CPU cores train that in minutes
PROBES = 8  # batches of pairs whose losses tell whether a longer training gains anything
NONE = np.zeros(0, int)  # of the frames are held out
Log = Callable[[str], None]


class Collapsed(RuntimeError):
    """Training ended with a useless model; its folder is written, and metrics.json names the trivial solution."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """The outcome of a training: the clock at its end, and the diagnosis."""

    clock: Clock
    diagnosis: Diagnosis


def device(workers: int = 1) -> str:
    """What TensorFlow trains on, in words; each of so many workers."""
    gpus = tf.config.list_physical_devices("GPU")
    own = ", ".join(gpu.name for gpu in gpus) or f"CPU ({os.cpu_count()} cores)"
    return f"{workers} workers, each with {own}" if workers > 1 else own


def configure(config: Config, clips: Sequence[Clip]) -> Config:
    """The config with what the clips decide: the canvas, the memory, their names.

    Raises:
        ClipError: the estimator is 'known' and a clip's motion is missing or wrong.
    """
    check_motion(config.model, clips)
    stable = [stabilize(clip, mosaic=config.model.mosaic) for clip in clips]
    size = config.train.image_size or min(LARGEST, *(min(clip.filmed.size) for clip in stable))
    heights, widths = zip(*(_canvas(clip, size) for clip in stable))
    model = dataclasses.replace(config.model, canvas=(max(heights), max(widths))).with_clips(range(len(clips)))
    return dataclasses.replace(config, model=model, clips=tuple(clip.name for clip in clips))


def _canvas(clip: StabilizedClip, image_size: int) -> tuple[int, int]:
    """The canvas (height, width) on which a frame's shorter side is `image_size`; less where a mosaic is too large."""
    plain = canvas_for(clip.filmed.size, image_size)
    if not clip.travels:
        return plain
    scale = image_size / min(clip.filmed.size) * clip.filmed.size[0] * clip.heights / clip.size[0]
    scale *= min(1.0, (MOST_CANVAS * np.prod(plain) / (np.prod(clip.size) * scale**2)) ** 0.5)
    return canvas_for(clip.size, round(min(clip.size) * scale))


def check_motion(model: ModelConfig, clips: Sequence[Clip]) -> None:
    """Check that a model of the 'known' estimator has the motion of each clip.

    Raises:
        ClipError: one is missing or wrong.
    """
    for clip in clips if not build_estimator(model).learned else ():
        clip.motion()


def train(
    config: Config,
    clips: Sequence[Clip],
    folder: str | Path,
    *,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Log = lambda line: None,
    workers: Workers | None = None,
) -> dict:
    """Train one model on all clips and write the model folder.

    First the hints teach f: masks of what differs from a clip's median. Then they fade, and the three losses go on
    alone. As the masks get better, the backgrounds in h's memory and the hints are computed again from them.

    Args:
        config: from `configure`, or from the folder's checkpoint.json when it goes on.
        clips: open ones.
        folder: the model folder. Until the new model is whole, what was in it stays, with checkpoint.keras and
            checkpoint.json, the config, beside it.
        resume: go on from the checkpoint.
        callbacks: of Keras, besides the project's own.
        log: gets one line for each thing worth saying.
        workers: that train the model together, from `find_workers`; None: this process alone, on one device. Those
            that are not the chief take no callbacks, say nothing, and write nothing.

    Returns:
        Metrics, as in metrics.json.

    Raises:
        CameraTravels: a clip's camera pans, zooms or walks.
        Collapsed: f ended empty or with the background, or the motion estimator at the identity or at motions that are
            not the character's. With few `steps`, fewer than `DiagnosisConfig.least_steps`, that is only logged.
        NotFinite: the loss became NaN or infinite; the last good weights are in the folder.
    """
    folder, workers = Path(folder), workers or Workers()
    _check_workers(config.train, workers)
    if not workers.chief:
        callbacks, log = (), lambda line: None
    keras.utils.set_random_seed(config.train.seed)
    clips = [stabilize(clip, mosaic=config.model.mosaic) for clip in clips]
    material = prepare(clips, config.model.canvas, log, characters_of(config))
    config = dataclasses.replace(config, model=config.model.with_clips(material.clip_of))
    backgrounds = workers.agree(np.stack(material.backgrounds))
    with workers.strategy.scope():
        model = load_checkpoint(folder) if resume else new_model(config, backgrounds)
    workers.agree([0])  # all have read the checkpoint before the chief changes the folder
    if workers.chief:
        if not resume:
            begin_folder(folder)
        write_text(folder / "checkpoint.json", config.to_json())
    place = folder if workers.chief else None
    learned = learn(model, config, material, TrainingClips(), place, callbacks=callbacks, log=log, workers=workers)
    return finish(_on_one_device(model, config), config, material, place, learned, log=log, workers=workers)


def _on_one_device(model: EquivariantVideoModel, config: Config) -> EquivariantVideoModel:
    """A model that was trained on several devices as one on one, with its optimizer's state."""
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return model
    copy = EquivariantVideoModel(model.config, model.weights_of, seed=model.seed, dtype=model.dtype_policy)
    copy.set_weights(model.get_weights())
    for ours, theirs in zip(compile_model(copy, config.train).optimizer.variables, model.optimizer.variables):
        ours.assign(theirs.numpy())
    return copy


def _check_workers(train: TrainConfig, workers: Workers) -> None:
    """Check that so many devices can share a batch.

    Raises:
        ValueError: they cannot.
    """
    if workers.devices > 1 and train.precision == "mixed_float16":
        raise ValueError(
            f"precision mixed_float16 cannot be trained on {workers.devices} devices, as its loss scaling fails there "
            "(keras issue 18666). Use mixed_bfloat16."
        )
    check_deal(train.batch_size, workers.devices)


def characters_of(config: Config) -> str:
    """How many characters a clip has, as `TrainConfig.characters`, or "given": as many as a scene gives the motion of.

    Bare networks know but one.
    """
    if config.model.structure == "plain":
        return "1"
    return "given" if config.model.estimator == "known" else config.train.characters


def prepare(clips: Sequence[Clip], canvas: tuple[int, int], log: Log, characters: str = "1") -> TrainingClips:
    """Stabilize the clips, tell their characters apart, and make their first backgrounds and hints."""
    stable = [stabilize(clip) for clip in clips]
    for clip in stable:
        if clip.moves:
            then = f"the background is {clip.size[1]} x {clip.size[0]}" if clip.travels else "that is taken out"
            log(f"{clip.name}: the camera {clip.camera.kind} by up to {clip.camera.pixels:.1f} pixels; {then}")
            _look_at_parallax(clip, log)
    solos = [_solos(clip, characters, canvas, log) for clip in stable]
    alone = [solo for group in solos for solo in group]
    frames = [clip.arrays(canvas) for clip in alone]
    material = TrainingClips(
        clips=alone,
        frames=frames,
        hidden=[clip.hidden_arrays(canvas) for clip in alone],
        occupied=[clip.occupied(canvas) for clip in alone],
        clip_of=[number for number, group in enumerate(solos) for _ in group],
        whole={number: stable[number] for number, group in enumerate(solos) if len(group) > 1},
    )
    known = zip(frames, [clip.noise for clip in alone], material.occupied)
    return material.with_hints(first_hints(*of_clip) for of_clip in known)


def _look_at_parallax(clip: StabilizedClip, log: Log) -> None:
    """Say how far parts of the background go astray from the camera's motion; refuse where half of it does."""
    parallax = parallax_of(clip.filmed, clip.camera)
    if reason := parallax.refusal(clip.filmed.size):
        raise CameraTravels(f"{clip.path}: {reason} eqvid inspect says more.")
    if remark := parallax.remark(clip.filmed.size):
        log(f"{clip.name}: {remark}")


def _solos(clip: StabilizedClip, characters: str, canvas: tuple[int, int], log: Log) -> list[StabilizedClip]:
    """A clip for each character of a clip: each pair of frames has one motion then.

    Raises:
        ClipError: all of them are too small for the canvas.
    """
    if characters == "given":
        characters = str(max(len(clip.given_characters), 1))
    if characters == "1":
        return [clip]
    tracked = track(clip, None if characters == "auto" else int(characters))
    areas = [tracked.usual_area(number) for number in tracked.owners.numbers]
    pixels = max(areas, default=1.0) * canvas[0] * canvas[1]
    if pixels < FEWEST_PIXELS:
        larger = int(np.ceil(min(canvas) * (ENOUGH_PIXELS / pixels) ** 0.5 / 8)) * 8
        raise ClipError(
            f"{clip.path}: its largest character covers {max(areas):.2%} of the frame, {pixels:.1f} pixels of the "
            f"{canvas[1]} x {canvas[0]} that the networks see. Train with --image-size {larger} or more."
        )
    solos = tracked.solos()
    if len(solos) > 1:
        log(f"{clip.name}: {len(solos)} characters")
    return solos


def new_model(config: Config, backgrounds: Sequence[np.ndarray] | np.ndarray) -> EquivariantVideoModel:
    """A new model, compiled, with the clips' backgrounds [h, w, 3] in [0, 255] in its memory."""
    model = EquivariantVideoModel(config.model, config.loss, seed=config.train.seed, dtype=config.train.precision)
    if model.h.remembers:
        model.h.remember(np.asarray(backgrounds) / 255)
    return compile_model(model, config.train)


def compile_model(model: EquivariantVideoModel, train: TrainConfig) -> EquivariantVideoModel:
    """The model, compiled with the optimizer that training uses."""
    optimizer = Muon(train.learning_rate, global_clipnorm=1.0)
    if train.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer)
    optimizer.build(model.trainable_variables)  # made within a step, they would have it traced twice: seconds
    return model


def begin_folder(folder: Path) -> None:
    """Make the folder, and remove from it an unfinished training's checkpoint and logs."""
    folder.mkdir(parents=True, exist_ok=True)
    _remove_checkpoint(folder)
    shutil.rmtree(folder / "logs", ignore_errors=True)


def _remove_checkpoint(folder: Path) -> None:
    for name in CHECKPOINT:
        (folder / name).unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> EquivariantVideoModel:
    """The model of an unfinished training, with its optimizer's state.

    Raises:
        OutputError: there is none.
    """
    path = folder / "checkpoint.keras"
    if not path.exists():
        raise OutputError(f"{folder}: there is no checkpoint.keras to resume from. Train without --resume.")
    return read_model(path, compile=True)


def learn(
    model: EquivariantVideoModel,
    config: Config,
    new: TrainingClips,
    old: TrainingClips,
    folder: Path | None,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Log,
    workers: Workers | None = None,
) -> Learned:
    """Fit a compiled model to clips, with the schedule, refreshes, checkpoints and diagnosis of a training.

    Args:
        model: with the backgrounds of all clips in its memory.
        config: of the training.
        new: what is learned; its backgrounds are the last in h's memory.
        old: what a fine-tuning repeats beside it, so that it is not forgotten.
        folder: for checkpoints and logs; None: there are none.
        callbacks: as in `train`.
        log: as in `train`.
        workers: as in `train`.
    """
    workers = workers or Workers()
    count = PROBES if config.train.ends_by_itself else 1
    probes = list(itertools.islice(_pairs(model, config, new, old, config.train.seed + 1), count))
    clock = Clock(model, config.train, workers, config.schedule)
    schedule = Schedule(clock, config)
    refresh = Refresh(clock, config, new, _first_place(config, new))
    diagnosis = Diagnosis(clock, probes[0], log, config, schedule if config.train.doctor == "treat" else None)
    checkpoint = Checkpoint(clock, folder and folder / "checkpoint.keras", log, config.train.checkpoint_seconds)
    board = [TensorBoard(clock, folder / "logs", probes[0])] if folder else []
    draw = lambda replicas, own: _pairs(
        model, config, refresh.material, old, config.train.seed, start=clock.step, replicas=replicas, own=own
    )
    rounds = [Rounds(clock, probes, log, (refresh, diagnosis))] if config.train.ends_by_itself else []
    called = [clock, *rounds, schedule, refresh, diagnosis, checkpoint, *board, *callbacks]
    try:
        run_loop(model, draw, clock, called, workers)
    except KeyboardInterrupt:
        checkpoint.save()
        log(f"stopped at step {clock.step}")
        raise
    checkpoint.save()
    return Learned(clock=clock, diagnosis=diagnosis)


def _pairs(
    model: EquivariantVideoModel, config: Config, new: TrainingClips, old: TrainingClips, seed: int, **options: Any
) -> tf.data.Dataset:
    """Training pairs, with options of `pairs`; most are of the new clips where there are old ones.

    Of a clip of several characters half of the pairs show one of them alone, half all of them.
    """
    share, first = config.schedule.new_share, _first_place(config, new)
    clips, hints, places = [*new.clips, *old.clips], [*new.hints, *old.hints], None
    shares = default_shares([len(frames) for frames in new.frames])
    if old.clips:
        shares = np.repeat([share / len(new.clips), (1 - share) / len(old.clips)], [len(new.clips), len(old.clips)])
    left_out = [held_out(len(frames), config.train.hold_out) for frames in new.frames] + [NONE] * len(old.clips)
    if config.model.clip_of:
        places = [[first + k] for k in range(len(new.clips))] + [[int(Path(clip.path).name)] for clip in old.clips]
        hints = [hint[..., None] for hint in hints]
        for number, clip in new.whole.items():
            alone = new.of_clip(number)
            clips.append(clip)
            hints.append(np.stack([new.hints[k] for k in alone], -1))
            places.append([first + k for k in alone])
            left_out.append(left_out[alone[0]])
            shares[alone] /= 2
            shares = np.append(shares, shares[alone].sum())
    return pairs(
        clips,
        config.model.canvas,
        batch_size=config.train.batch_size,
        known=not model.T.learned,
        hints=hints,
        shares=shares,
        places=places,
        left_out=left_out,
        seed=seed,
        **options,
    )


def _first_place(config: Config, new: TrainingClips) -> int:
    """The place in h's memory of the first of those that are learned."""
    return config.model.memory - len(new.clips) if new.first is None else new.first


def finish(
    model: EquivariantVideoModel,
    config: Config,
    new: TrainingClips,
    folder: Path | None,
    learned: Learned,
    *,
    source: Path | None = None,
    version: int = 1,
    corrections: Sequence[Correction] = (),
    log: Log = lambda line: None,
    workers: Workers | None = None,
) -> dict:
    """Write a trained model into its folder, and then remove the checkpoint.

    Everything is written beside the folder's content and moved into place, model.keras last.

    Args:
        model: the trained one.
        config: of the training.
        new: what it learned.
        folder: the model folder; None for a worker that is not the chief, which writes nothing.
        learned: how the training went.
        source: the model folder that it was fine-tuned from.
        version: of the SavedModel. With the first, what the folder holds of a former model is removed.
        corrections: new ones, beside those of the source.
        log: as in `train`.
        workers: as in `train`.

    Returns:
        Metrics, as in metrics.json.

    Raises:
        Collapsed: the model is of no use.
    """
    workers = workers or Workers()
    metrics = _metrics(learned, source, workers, config.train.hold_out)
    if config.model.clip_of:
        metrics["verdict"] += _wrong_characters(model, config, new)
    if folder:
        _write(model, config, new, folder, metrics, source, version, corrections)
    workers.agree([0])  # until the chief has written all
    _check_collapse(str(folder or "the model"), metrics, config, log)
    return metrics


def _write(
    model: EquivariantVideoModel,
    config: Config,
    new: TrainingClips,
    folder: Path,
    metrics: dict,
    source: Path | None,
    version: int,
    corrections: Sequence[Correction],
) -> None:
    """Write a model folder; for the arguments see `finish`."""
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as place:
        draft = Path(place)
        if source and (source / "kept").is_dir():
            shutil.copytree(source / "kept", draft / "kept")
        if config.train.keep_frames:
            write_material(new, config, draft / "kept", _first_place(config, new))
        cast = write_cast(new, draft, source)
        write_corrections([*(read_corrections(source) if source else ()), *corrections], draft)
        write_model(*with_names(model, config, cast.name_numbers()), metrics, draft, version)
        written = _move_into(folder, draft)
    if version == 1:
        _remove_former_model(folder, written)
    _remove_checkpoint(folder)


def _move_into(folder: Path, draft: Path) -> set[str]:
    """Move what a draft holds into a folder; the names of it."""
    parts = sorted(draft.iterdir())  # model.keras comes last
    for part in parts:
        put(part, folder / part.name)
    return {part.name for part in parts}


def _remove_former_model(folder: Path, written: set[str]) -> None:
    """Remove the SavedModel versions and frames of a former model; a server would take the highest version."""
    for former in [*folder.glob("[0-9]*"), folder / "kept", folder / "corrections"]:
        if former.name not in written:
            shutil.rmtree(former, ignore_errors=True)
    if "corrections.json" not in written:
        (folder / "corrections.json").unlink(missing_ok=True)


def _metrics(learned: Learned, source: Path | None, workers: Workers, hold_out: int) -> dict:
    """What metrics.json says; frames that a former training saw are not held out any more."""
    clock = learned.clock
    former = read_metrics(source).get("hold_out", 0) if source else hold_out
    found, names = learned.diagnosis.examine()
    return {
        "steps": clock.step,
        "hold_out": hold_out if hold_out == former else 0,
        "seconds": round(clock.seconds, 1),
        "device": device(workers.count),
        "losses": clock.losses,
        **({"finetuned_from": source.name} if source else {}),
        "symptoms": {key: round(value, 4) for key, value in found.items()},
        "verdict": names,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }


def _wrong_characters(model: EquivariantVideoModel, config: Config, new: TrainingClips) -> list[str]:
    """What is wrong with the characters of the clips that were learned, in words."""
    wrong, first = [], _first_place(config, new)
    for number, clip in new.whole.items():
        alone = new.of_clip(number)
        chosen = evenly_spaced(clip.count, EXAMINED)
        hints = np.stack([new.hints[k][chosen] for k in alone], -1)
        frames = clip.arrays(config.model.canvas)[chosen]
        shared = confusion(model, frames, hints, [first + k for k in alone])
        names = [default_name(clip.name, new.clips[k].number) for k in alone]
        wrong += set_verdict(shared, names, config.diagnosis)
    return wrong


def _check_collapse(name: str, metrics: dict, config: Config, log: Log) -> None:
    """Raise `Collapsed` where the model is of no use; only say so where few steps were asked for, as for a trial."""
    names = [name for name in metrics["verdict"] if name in USELESS]
    if not names:
        return
    short = metrics["steps"] < config.diagnosis.least_steps
    why = f"Too short: {metrics['steps']} steps. Train longer." if short else REMEDY
    line = f"{name}: {names[0]}: {in_words(names[0], metrics['symptoms'])}. {why}"
    if not (short and config.train.steps):
        raise Collapsed(line)
    log(line)
