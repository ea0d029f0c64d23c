"""Training a model folder from clips: the schedule, checkpoints, the doctor's rounds and what is logged."""

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
from eqvid_tf.training import diagnosis
from eqvid_tf.training.callbacks import Checkpoint, Clock, Diagnosis, Refresh, Schedule, TensorBoard
from eqvid_tf.training.hints import first_hints
from eqvid_tf.training.material import TrainingClips, write_kept
from eqvid_tf.training.optimizer import Muon

YOUNG = 100  # steps before which an estimator that stands still has not collapsed, but hardly begun
CHECKPOINT = ("checkpoint.keras", "checkpoint.json")
NEW = 0.9  # of the pairs are of what is learned, where something old is shown beside it
LARGEST = 64  # shorter side of the canvas where --image-size does not say: what 2 cores train in minutes


class Collapsed(RuntimeError):
    """Training ended in a trivial solution; the model folder is written, its metrics.json names it."""


def device() -> str:
    """What TensorFlow trains on, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    return ", ".join(gpu.name for gpu in gpus) or f"CPU ({os.cpu_count()} cores)"


def configure(config: Config, clips: Sequence[Clip]) -> Config:
    """The config with what the clips decide: the canvas, the memory, their names.

    Raises: ClipError where the estimator is 'known' and a clip's motion is missing or wrong.
    """
    check_motion(config.model, clips)
    size = config.train.image_size or min(LARGEST, *(min(clip.size) for clip in clips))
    canvases = [canvas_for(clip.size, size) for clip in clips]
    canvas = canvases[0] if len(set(canvases)) == 1 else (max(c[0] for c in canvases), max(c[1] for c in canvases))
    model = dataclasses.replace(config.model, canvas=canvas, memory=len(clips), given=True)
    return dataclasses.replace(config, model=model, clips=tuple(clip.name for clip in clips))


def check_motion(model: ModelConfig, clips: Sequence[Clip]) -> None:
    """Raises: ClipError where the estimator is 'known' and a clip's motion is missing or wrong."""
    for clip in clips if not build_estimator(model).learned else ():
        clip.motion()


def train(
    config: Config,
    clips: Sequence[Clip],
    folder: str | Path,
    *,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = lambda line: None,
) -> dict:
    """Trains one model on all clips and writes the model folder.

    Why: the clip's median and the masks it gives teach the first minutes (hints); then the three losses alone. The memory of
    h is taken from the frames again and again, as the masks get better.

    Args:
        config: from `configure`, or from the folder's checkpoint.json when it goes on.
        folder: the model folder. Until the new model is whole, what was in it stays, with checkpoint.keras and
            checkpoint.json, the config, beside it.
        resume: go on from the checkpoint.
        log: gets one line for each thing worth saying.
    Returns: metrics, as in metrics.json.

    Raises:
        CameraTravels: a clip's camera pans, zooms or walks.
        Collapsed: the motion estimator ended at the identity, or at motions that are not the character's.
        NotFinite: the loss became NaN or infinite; the last good weights are in the folder.
    """
    folder = Path(folder)
    keras.utils.set_random_seed(config.train.seed)
    material = prepare(clips, config.model.canvas, log)
    model = load_checkpoint(folder) if resume else new_model(config, material.plates)
    if not resume:
        begin_folder(folder)
    write_text(folder / "checkpoint.json", config.to_json())
    clock, rounds = learn(model, config, material, TrainingClips(), folder, callbacks=callbacks, log=log)
    return finish(model, config, material, folder, clock, rounds)


def prepare(clips: Sequence[Clip], canvas: tuple[int, int], log: Callable[[str], None]) -> TrainingClips:
    """Clips, their camera's sway taken out, and what can be told of them before any training."""
    clips = [stabilize(clip) for clip in clips]
    for clip in clips:
        if clip.sways:
            log(f"{clip.name}: the camera sways by up to {clip.camera.pixels:.1f} pixels; that is taken out")
    arrays = [clip.arrays(canvas) for clip in clips]
    hints = [first_hints(array, resting_coverage(array)) for array in arrays]
    return TrainingClips(clips, arrays, [hint.coverage for hint in hints], [hint.background for hint in hints])


def learn(
    model,
    config: Config,
    new: TrainingClips,
    old: TrainingClips,
    folder: Path | None,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None],
) -> tuple[Clock, Diagnosis]:
    """Fits a compiled model.

    Args:
        new: what is learned; its backgrounds are the last in h's memory.
        old: what is shown beside it, so that it is not forgotten.
        folder: for checkpoints and logs; None: there are none.
    """
    clips, hints = [*new.clips, *old.clips], [*new.hints, *old.hints]
    shares = (
        [share / len(part.clips) for part, share in ((new, NEW), (old, 1 - NEW)) for _ in part.clips]
        if old.clips
        else None
    )
    draw = partial(
        pairs,
        clips,
        config.model.canvas,
        batch_size=config.train.batch_size,
        known=not model.T.learned,
        hints=hints,
        shares=shares,
    )
    probe = next(iter(draw(seed=config.train.seed + 1)))
    clock = Clock(model, config.train)
    schedule = Schedule(clock, config.train.learning_rate)
    recall = Refresh(clock, new.arrays, hints, new.plates, first_of(config, new))
    rounds = Diagnosis(clock, probe, log, schedule if config.train.doctor == "treat" else None)
    checkpoint = Checkpoint(clock, folder and folder / "checkpoint.keras", log, config.train.checkpoint_seconds)
    board = [TensorBoard(clock, folder / "logs", probe)] if folder else []
    callbacks = [clock, schedule, recall, rounds, checkpoint, *board, *callbacks]
    try:
        while True:
            dataset = draw(seed=config.train.seed, start=clock.step)  # with the hints as they are now
            model.fit(dataset, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
            if not clock.renewed:
                break
    except KeyboardInterrupt:
        checkpoint.save()
        log(f"stopped at step {clock.step}")
        raise
    checkpoint.save()
    return clock, rounds


def begin_folder(folder: Path) -> None:
    """Make the folder; what an unfinished training left in it goes, and the logs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CHECKPOINT:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "logs", ignore_errors=True)


def new_model(config: Config, plates: Sequence[np.ndarray]) -> EquivariantVideoModel:
    """A new model, compiled, with the clips' medians in its memory."""
    model = EquivariantVideoModel(config.model, config.loss, seed=config.train.seed, dtype=config.train.precision)
    if model.h.remembers:
        model.h.remember(np.stack(plates) / 255)
    return compile_model(model, config.train)


def compile_model(model: EquivariantVideoModel, train: TrainConfig) -> EquivariantVideoModel:
    """The model, with the optimizer that it is trained by."""
    optimizer = Muon(train.learning_rate, global_clipnorm=1.0)
    if train.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer)
    return model


def load_checkpoint(folder: Path) -> EquivariantVideoModel:
    path = folder / "checkpoint.keras"
    if not path.exists():
        raise OutputError(f"{folder}: there is no checkpoint.keras to resume from. Train without --resume.")
    return read_model(path, compile=True)


def first_of(config: Config, new: TrainingClips) -> int:
    """The place in h's memory, and the number among the config's clips, of the first of those that are learned."""
    return config.model.memory - len(new.clips)


def finish(
    model,
    config: Config,
    new: TrainingClips,
    folder: Path,
    clock: Clock,
    rounds: Diagnosis,
    *,
    source: Path | None = None,
    version: int = 1,
) -> dict:
    """Write what a trained model is; the checkpoint goes when all else is there.

    Args:
        source: the model folder that it was fine-tuned from.
        version: of the SavedModel; with the first, what was there of another model goes.
    """
    found, names = rounds.examine()
    metrics = {
        "steps": clock.step,
        "seconds": round(clock.seconds, 1),
        "device": device(),
        "losses": clock.losses,
        **({"finetuned_from": source.name} if source else {}),
        "symptoms": {k: round(v, 4) for k, v in found.items()},
        "verdict": names,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as draft:
        draft = Path(draft)
        if source and (source / "kept").is_dir():
            shutil.copytree(source / "kept", draft / "kept")
        if config.train.keep_frames:
            write_kept(new, config.model, draft / "kept", first_of(config, new))
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
    for name in {diagnosis.MOTION_IDENTITY, diagnosis.MOTION_UNRELATED} & set(names) if clock.step >= YOUNG else ():
        raise Collapsed(
            f"{folder}: {name}: on pairs of known motion the estimator's is {found['travel']:.2f} of its size, at a "
            f"cosine of {found['agreement']:.2f}. Train longer, or on a clip in which the character moves."
        )
    return metrics
