"""Training a model folder from clips: the schedule, checkpoints, the doctor's rounds and what is logged."""
from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from eqvid_tf import doctor, plate
from eqvid_tf.callbacks import Board, Checkpoint, Clock, Recall, Rounds, Schedule
from eqvid_tf.config import Config
from eqvid_tf.data.fitting import canvas_for
from eqvid_tf.data.frames import Clip
from eqvid_tf.data.pairs import pairs
from eqvid_tf.export import read_model, write_model
from eqvid_tf.model import EquivariantVideoModel, remember
from eqvid_tf.motion import build_estimator
from eqvid_tf.output import OutputError, put, write_text
from eqvid_tf.steady import SteadyClip, steadied

YOUNG = 100         # steps before which an estimator that stands still has not collapsed, but hardly begun
CHECKPOINT = ("checkpoint.keras", "checkpoint.json")
LARGEST = 64        # shorter side of the canvas where --image-size does not say: what 2 cores train in minutes


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
    if not build_estimator(config.model).learned:
        for clip in clips:
            clip.motion()
    size = config.train.image_size or min(LARGEST, *(min(clip.size) for clip in clips))
    canvases = [canvas_for(clip.size, size) for clip in clips]
    canvas = canvases[0] if len(set(canvases)) == 1 else (max(c[0] for c in canvases), max(c[1] for c in canvases))
    model = dataclasses.replace(config.model, canvas=canvas, memory=len(clips))
    return dataclasses.replace(config, model=model, clips=tuple(clip.name for clip in clips))


def train(config: Config, clips: Sequence[Clip], folder: str | Path, *, resume: bool = False,
          callbacks: Sequence[keras.callbacks.Callback] = (), log: Callable[[str], None] = lambda line: None) -> dict:
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
    clips = [steadied(clip) for clip in clips]
    for clip in clips:
        if isinstance(clip, SteadyClip):
            log(f"{clip.name}: the camera sways by up to {clip.camera.pixels:.1f} pixels; that is taken out")
    arrays = [clip.arrays(config.model.canvas) for clip in clips]
    plates = [plate.plate(array, plate.resting(array)) for array in arrays]
    hints = [plate.hints(array, seen, plate.noise(array, seen)) for array, seen in zip(arrays, plates)]
    model = load_checkpoint(folder) if resume else start(config, plates)
    clock = Clock(model, config.train)
    draw = {"batch_size": config.train.batch_size, "known": not model.T.learned, "hints": hints}
    dataset = pairs(clips, config.model.canvas, seed=config.train.seed, start=clock.step, **draw)
    probe = next(iter(pairs(clips, config.model.canvas, seed=config.train.seed + 1, **draw)))
    rounds = Rounds(clock, probe, log)
    checkpoint = Checkpoint(clock, folder / "checkpoint.keras", log, config.train.checkpoint_seconds)
    if not resume:
        begin(folder)
    write_text(folder / "checkpoint.json", config.to_json())
    try:
        model.fit(dataset, epochs=1, verbose=0, shuffle=False, callbacks=[
            clock, Schedule(clock, config.train.learning_rate), Recall(clock, arrays, hints, plates), rounds, checkpoint,
            Board(clock, folder / "logs", probe), *callbacks])
    except KeyboardInterrupt:
        checkpoint.save()
        log(f"stopped at step {clock.step}")
        raise
    checkpoint.save()
    return finish(model, config, folder, clock, rounds)


def begin(folder: Path) -> None:
    """Make the folder; what an unfinished training left in it goes, and the logs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CHECKPOINT:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "logs", ignore_errors=True)


def start(config: Config, plates: Sequence[np.ndarray]) -> EquivariantVideoModel:
    """A new model, compiled, with the clips' medians in its memory."""
    model = EquivariantVideoModel(config.model, config.loss, seed=config.train.seed, dtype=config.train.precision)
    if config.model.structure == "partition":
        remember(model, np.stack(plates) / 255)
    optimizer = keras.optimizers.Adam(config.train.learning_rate, global_clipnorm=1.0)
    if config.train.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer)
    return model


def load_checkpoint(folder: Path) -> EquivariantVideoModel:
    path = folder / "checkpoint.keras"
    if not path.exists():
        raise OutputError(f"{folder}: there is no checkpoint.keras to resume from. Train without --resume.")
    return read_model(path, compile=True)


def finish(model, config: Config, folder: Path, clock: Clock, rounds: Rounds) -> dict:
    """Write what a trained model is; the checkpoint goes when all else is there."""
    found, names = rounds.examine()
    metrics = {"steps": clock.step, "seconds": round(clock.seconds, 1), "device": device(), "losses": clock.losses,
               "symptoms": {k: round(v, 4) for k, v in found.items()}, "verdict": names,
               "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}}
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as draft:
        write_model(model, config, metrics, Path(draft))
        for part in sorted(Path(draft).iterdir()):          # model.keras comes last
            put(part, folder / part.name)
    for version in folder.glob("[0-9]*"):
        if version.name != "1":                             # of a model that was here before: serving takes the highest
            shutil.rmtree(version, ignore_errors=True)
    for name in CHECKPOINT:
        (folder / name).unlink(missing_ok=True)
    for name in {doctor.MOTION_IDENTITY, doctor.MOTION_UNRELATED} & set(names) if clock.step >= YOUNG else ():
        raise Collapsed(f"{folder}: {name}: on pairs of known motion the estimator's is {found['travel']:.2f} of its size, at a "
                        f"cosine of {found['agreement']:.2f}. Train longer, or on a clip in which the character moves.")
    return metrics


def read_metrics(folder: Path) -> dict:
    """metrics.json of a model folder."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


