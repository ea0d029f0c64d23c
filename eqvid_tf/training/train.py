"""Training a model folder from clips: prepare -> new_model -> learn -> finish."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from eqvid_tf.camera.stabilization import stabilize
from eqvid_tf.config import Config, ModelConfig, TrainConfig
from eqvid_tf.core.estimators import build_estimator
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip
from eqvid_tf.data.output import OutputError, put, write_text
from eqvid_tf.data.pairs import pairs
from eqvid_tf.model_folder import read_model, write_model
from eqvid_tf.pixels.canvas import canvas_for
from eqvid_tf.separation.background import resting_coverage
from eqvid_tf.training.callbacks import Checkpoint, Clock, Diagnosis, Refresh, Schedule, TensorBoard
from eqvid_tf.training.diagnosis import MOTION_IDENTITY, MOTION_UNRELATED
from eqvid_tf.training.hints import first_hints
from eqvid_tf.training.material import TrainingClips, write_kept
from eqvid_tf.training.optimizer import Muon

CHECKPOINT = ("checkpoint.keras", "checkpoint.json")
LARGEST = 64  # pixels: shorter side of the canvas where --image-size does not say: what 2 cores train in minutes
Log = Callable[[str], None]


class Collapsed(RuntimeError):
    """Training ended in a trivial solution; the model folder is written, its metrics.json names it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """How a training went: the clock at its end, and the diagnosis."""

    clock: Clock
    diagnosis: Diagnosis


def device() -> str:
    """What TensorFlow trains on, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    return ", ".join(gpu.name for gpu in gpus) or f"CPU ({os.cpu_count()} cores)"


def configure(config: Config, clips: Sequence[Clip]) -> Config:
    """The config with what the clips decide: the canvas, the memory, their names.

    Raises:
        ClipError: the estimator is 'known' and a clip's motion is missing or wrong.
    """
    check_motion(config.model, clips)
    size = config.train.image_size or min(LARGEST, *(min(clip.size) for clip in clips))
    heights, widths = zip(*(canvas_for(clip.size, size) for clip in clips))
    model = dataclasses.replace(config.model, canvas=(max(heights), max(widths)), memory=len(clips), given=True)
    return dataclasses.replace(config, model=model, clips=tuple(clip.name for clip in clips))


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
) -> dict:
    """Train one model on all clips and write the model folder.

    Why: the clip's median and the masks it gives teach the first minutes (hints); then the three losses alone. The
    memory of h is taken from the frames again and again, as the masks get better.

    Args:
        config: from `configure`, or from the folder's checkpoint.json when it goes on.
        clips: open ones.
        folder: the model folder. Until the new model is whole, what was in it stays, with checkpoint.keras and
            checkpoint.json, the config, beside it.
        resume: go on from the checkpoint.
        callbacks: of Keras, besides the project's own.
        log: gets one line for each thing worth saying.

    Returns:
        Metrics, as in metrics.json.

    Raises:
        CameraTravels: a clip's camera pans, zooms or walks.
        Collapsed: the motion estimator ended at the identity, or at motions that are not the character's.
        NotFinite: the loss became NaN or infinite; the last good weights are in the folder.
    """
    folder = Path(folder)
    keras.utils.set_random_seed(config.train.seed)
    material = prepare(clips, config.model.canvas, log)
    model = load_checkpoint(folder) if resume else new_model(config, material.backgrounds)
    if not resume:
        begin_folder(folder)
    write_text(folder / "checkpoint.json", config.to_json())
    learned = learn(model, config, material, TrainingClips(), folder, callbacks=callbacks, log=log)
    return finish(model, config, material, folder, learned)


def prepare(clips: Sequence[Clip], canvas: tuple[int, int], log: Log) -> TrainingClips:
    """Stabilize the clips, and make their first backgrounds and hints."""
    stable = [stabilize(clip) for clip in clips]
    for clip in stable:
        if clip.sways:
            log(f"{clip.name}: the camera sways by up to {clip.camera.pixels:.1f} pixels; that is taken out")
    frames = [clip.arrays(canvas) for clip in stable]
    hints = [first_hints(array, resting_coverage(array)) for array in frames]
    return TrainingClips(
        clips=stable,
        frames=frames,
        hints=[hint.coverage for hint in hints],
        backgrounds=[hint.background for hint in hints],
    )


def new_model(config: Config, backgrounds: Sequence[np.ndarray]) -> EquivariantVideoModel:
    """A new model, compiled, with the clips' backgrounds [h, w, 3] in [0, 255] in its memory."""
    model = EquivariantVideoModel(config.model, config.loss, seed=config.train.seed, dtype=config.train.precision)
    if model.h.remembers:
        model.h.remember(np.stack(backgrounds) / 255)
    return compile_model(model, config.train)


def compile_model(model: EquivariantVideoModel, train: TrainConfig) -> EquivariantVideoModel:
    """The model, compiled with the optimizer that training uses."""
    optimizer = Muon(train.learning_rate, global_clipnorm=1.0)
    if train.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer)
    return model


def begin_folder(folder: Path) -> None:
    """Make the folder; what an unfinished training left in it goes, and the logs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CHECKPOINT:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "logs", ignore_errors=True)


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
) -> Learned:
    """Fit a compiled model.

    Args:
        model: with the backgrounds of both in its memory.
        config: of the training.
        new: what is learned; its backgrounds are the last in h's memory.
        old: what is shown beside it, so that it is not forgotten.
        folder: for checkpoints and logs; None: there are none.
        callbacks: as in `train`.
        log: as in `train`.
    """
    hints = [*new.hints, *old.hints]
    draw = _pairs(model, config, new, old, hints)
    probe = next(iter(draw(seed=config.train.seed + 1)))
    clock = Clock(model, config.train)
    schedule = Schedule(clock, config)
    refresh = Refresh(clock, config.schedule.refreshes, new.frames, hints, new.backgrounds, _first_place(config, new))
    diagnosis = Diagnosis(clock, probe, log, config, schedule if config.train.doctor == "treat" else None)
    checkpoint = Checkpoint(clock, folder and folder / "checkpoint.keras", log, config.train.checkpoint_seconds)
    board = [TensorBoard(clock, folder / "logs", probe)] if folder else []
    try:
        _fit(model, draw, [clock, schedule, refresh, diagnosis, checkpoint, *board, *callbacks], clock, config)
    except KeyboardInterrupt:
        checkpoint.save()
        log(f"stopped at step {clock.step}")
        raise
    checkpoint.save()
    return Learned(clock=clock, diagnosis=diagnosis)


def _fit(model: EquivariantVideoModel, draw: Callable, callbacks: Sequence, clock: Clock, config: Config) -> None:
    """One `fit` after another, each on a dataset with the hints as they are then."""
    while True:
        dataset = draw(seed=config.train.seed, start=clock.step)
        model.fit(dataset, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
        if not clock.renewed:
            return


def _pairs(
    model: EquivariantVideoModel, config: Config, new: TrainingClips, old: TrainingClips, hints: list[np.ndarray]
) -> Callable[..., tf.data.Dataset]:
    """Makes the dataset of pairs, with the hints as they are when it is called."""
    share, shares = config.schedule.new_share, None
    if old.clips:
        shares = [share / len(new.clips)] * len(new.clips) + [(1 - share) / len(old.clips)] * len(old.clips)
    return partial(
        pairs,
        [*new.clips, *old.clips],
        config.model.canvas,
        batch_size=config.train.batch_size,
        known=not model.T.learned,
        hints=hints,
        shares=shares,
    )


def _first_place(config: Config, new: TrainingClips) -> int:
    """The place in h's memory, and the number among the config's clips, of the first of those that are learned."""
    return config.model.memory - len(new.clips)


def finish(
    model: EquivariantVideoModel,
    config: Config,
    new: TrainingClips,
    folder: Path,
    learned: Learned,
    *,
    source: Path | None = None,
    version: int = 1,
) -> dict:
    """Write what a trained model is; the checkpoint goes when everything is written.

    Args:
        model: the trained one.
        config: of the training.
        new: what it learned.
        folder: the model folder.
        learned: how the training went.
        source: the model folder that it was fine-tuned from.
        version: of the SavedModel; with the first, what was there of another model goes.

    Returns:
        Metrics, as in metrics.json.

    Raises:
        Collapsed: the motion estimator is of no use.
    """
    metrics = _metrics(learned, source)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as place:
        draft = Path(place)
        if source and (source / "kept").is_dir():
            shutil.copytree(source / "kept", draft / "kept")
        if config.train.keep_frames:
            write_kept(new, config, draft / "kept", _first_place(config, new))
        write_model(model, config, metrics, draft, version)
        parts = sorted(draft.iterdir())  # model.keras comes last
        written = {part.name for part in parts}
        for part in parts:
            put(part, folder / part.name)
    for other in [*folder.glob("[0-9]*"), folder / "kept"] if version == 1 else ():
        if other.name not in written:  # of a model that was here before: serving takes the highest
            shutil.rmtree(other, ignore_errors=True)
    for name in CHECKPOINT:
        (folder / name).unlink(missing_ok=True)
    _check_collapse(folder, metrics, config)
    return metrics


def _metrics(learned: Learned, source: Path | None) -> dict:
    clock = learned.clock
    found, names = learned.diagnosis.examine()
    return {
        "steps": clock.step,
        "seconds": round(clock.seconds, 1),
        "device": device(),
        "losses": clock.losses,
        **({"finetuned_from": source.name} if source else {}),
        "symptoms": {key: round(value, 4) for key, value in found.items()},
        "verdict": names,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }


def _check_collapse(folder: Path, metrics: dict, config: Config) -> None:
    """Raise `Collapsed` where the motion estimator is of no use after enough steps."""
    names = {MOTION_IDENTITY, MOTION_UNRELATED} & set(metrics["verdict"])
    if names and metrics["steps"] >= config.diagnosis.least_steps:
        found = metrics["symptoms"]
        raise Collapsed(
            f"{folder}: {names.pop()}: on pairs of known motion the estimator's is {found['travel']:.2f} of its size, "
            f"at a cosine of {found['agreement']:.2f}. Train longer, or on a clip in which the character moves."
        )
