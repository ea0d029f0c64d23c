"""What happens beside the training step: time, schedule, memory, checkpoints, the doctor, TensorBoard, progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from eqvid_tf.config import TrainConfig
from eqvid_tf.training import diagnosis
from eqvid_tf.training.hints import refresh_hints

HINTED, UNHINTED = 0.15, 0.4  # of the training: hints in full until the first, hardly any after the second
REMINDER = 0.3  # what stays of them: without, a character like its background is lost to h
REFINED, TRUSTED = (
    (0.5, 0.7),
    8.0,
)  # between these they grow again, to this: by then they are made of what the networks know
RECALLS = (0.15, 0.3, 0.5, 0.7, 0.85)
WINDOW = 50  # steps that a reported loss is the mean of
WARM = 50  # steps in which the learning rate grows to its full size


class NotFinite(RuntimeError):
    """The loss became NaN or infinite."""


class Clock(keras.callbacks.Callback):
    """How far training is, in [0, 1]: by steps, or by the time spent, which the model carries from run to run."""

    def __init__(self, model, config):
        super().__init__()
        self.of, self.limit, self.steps = model, config.minutes * 60, config.steps
        self.before, self.since, self.losses, self.renewed = float(model.seconds_trained), time.monotonic(), {}, False

    @property
    def step(self) -> int:
        return int(self.of.optimizer.iterations)

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.since

    @property
    def progress(self) -> float:
        return min(1.0, self.step / self.steps if self.steps else self.seconds / self.limit)

    def renew(self) -> None:
        """Ends the `fit`; another goes on from there, on a new dataset, unless the training is over."""
        self.renewed, self.of.stop_training = self.progress < 1, True

    def on_train_begin(self, logs=None):
        self.before, self.since, self.renewed = float(self.of.seconds_trained), time.monotonic(), False

    def on_train_end(self, logs=None):
        self.of.seconds_trained.assign(self.seconds)

    def on_train_batch_begin(self, batch, logs=None):
        if batch % WINDOW == 0:
            self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses = {name: float(value) for name, value in (logs or {}).items()}
        self.of.seconds_trained.assign(self.seconds)
        if self.progress >= 1:
            self.model.stop_training = True


class Schedule(keras.callbacks.Callback):
    """A warm-up, then a cosine for the learning rate; hints that fade, from when training began or was put right, and come back.

    Why: a ghost in the first background is a false hint; networks find it out where hints are weak, and refreshed hints are right.
    """

    def __init__(self, clock: Clock, peak: float):
        super().__init__()
        self.clock, self.peak, self.first = clock, peak, 0
        # resumed after a remedy: the hints fade on from where they were
        self.since = max(0.0, float(clock.of.hint_strength) * (UNHINTED - HINTED) - UNHINTED + clock.progress)

    def on_train_batch_begin(self, batch, logs=None):
        progress = self.clock.progress
        rate = (
            self.peak
            * min(1, (self.clock.step - self.first + 1) / WARM)
            * (0.01 + 0.99 * np.cos(np.pi / 2 * progress) ** 2)
        )
        self.model.optimizer.learning_rate = rate
        fading = np.clip((UNHINTED - progress + self.since) / (UNHINTED - HINTED), REMINDER, 1)
        self.model.hint_strength.assign(max(fading, np.interp(progress, REFINED, (REMINDER, TRUSTED))))

    def put_right(self) -> None:
        """Hints in full again, a warm-up, and no more than the usual learning rate."""
        self.since, self.first, self.peak = (
            self.clock.progress,
            self.clock.step,
            min(self.peak, TrainConfig().learning_rate),
        )


class Refresh(keras.callbacks.Callback):
    """From time to time, takes the memory of h from the clips again, now that the masks know more, and with it the hints.

    Another `fit` goes on then: a dataset holds the hints as they were when it was made.
    """

    def __init__(
        self,
        clock: Clock,
        arrays: Sequence[np.ndarray],
        hints: Sequence[np.ndarray],
        plates: Sequence[np.ndarray],
        first: int = 0,
    ):
        super().__init__()
        self.clock, self.arrays, self.hints, self.plates, self.first = clock, arrays, hints, list(plates), first
        self.due = [at for at in RECALLS if at > clock.progress]
        if 0 < len(self.due) < len(RECALLS):
            self.due.insert(0, 0.0)  # resumed: the hints are still those of the first medians

    def on_train_batch_end(self, batch, logs=None):
        if not self.due or self.clock.progress < self.due[0]:
            return
        self.due.pop(0)
        for k, frames in enumerate(self.arrays):
            found = refresh_hints(self.model, frames, self.plates[k])
            self.plates[k], self.hints[k] = found.background, found.coverage
        if self.model.h.remembers:
            self.model.h.remember(np.stack(self.plates) / 255, self.first)
        self.clock.renew()


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state every minute and at the end; stops at a NaN with the last good state kept.

    Args:
        path: of the checkpoint; None saves nothing and only looks for NaN.
    """

    def __init__(self, clock: Clock, path: Path | None, log: Callable[[str], None], every: float = 60.0):
        super().__init__()
        self.clock, self.path, self.log, self.every, self.saved = clock, path, log, every, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(self.clock.losses.get("loss", 0.0)):
            raise self.broken(f"the loss became {self.clock.losses['loss']}")
        if time.monotonic() - self.saved >= self.every:
            self.save()

    def broken(self, what: str) -> NotFinite:
        kept = (
            f"the last good weights are in {self.path}; go on with --resume, or "
            if self.path and self.path.exists()
            else ""
        )
        return NotFinite(f"{what} at step {self.clock.step}; {kept}train again with a smaller --learning-rate.")

    def save(self) -> None:
        """One file, written beside its place and renamed into it; never one that holds a NaN."""
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise self.broken("the weights became NaN")
        if not self.path:
            return
        draft = self.path.with_name(f".{os.getpid()}-{self.path.name}")
        try:
            self.model.save(draft)
            os.replace(draft, self.path)
        except OSError as error:
            kept = "the one before stays" if self.path.exists() else "there is none yet"
            self.log(f"the checkpoint could not be written ({error.strerror or error}); {kept}")
        finally:
            draft.unlink(missing_ok=True)
        self.saved = time.monotonic()


class Diagnosis(keras.callbacks.Callback):
    """The doctor's rounds: names in the log each trivial solution that is under way, when it comes and when it goes, and treats it.

    Another `fit` goes on then, for what a step computes has changed. Near the end there is no time left to recover, and it says the
    name alone.

    Args:
        schedule: what it puts right; None: it only names what it sees.
    """

    LATEST = 0.7  # of the training, for a remedy

    def __init__(
        self, clock: Clock, probe: dict, log: Callable[[str], None], schedule: Schedule | None, every: float = 0.1
    ):
        super().__init__()
        self.clock, self.probe, self.log, self.schedule, self.every = clock, probe, log, schedule, every
        self.start, self.names, self.due = diagnosis.symptoms(clock.of, probe), [], max(UNHINTED, clock.progress)

    def examine(self) -> tuple[dict, list[str]]:
        found = diagnosis.symptoms(self.clock.of, self.probe)
        return found, diagnosis.verdict(found, self.start)

    def on_train_batch_end(self, batch, logs=None):
        if self.clock.progress < self.due:
            return
        self.due += self.every
        found, names = self.examine()
        for name in names:
            if name not in self.names:
                measured = ", ".join(f"{k} {v:.3g}" for k, v in found.items())
                self.log(f"step {self.clock.step}: {name} ({measured})")
        for name in self.names:
            if name not in names:
                self.log(f"step {self.clock.step}: no longer: {name}")
        self.names = names
        if names and self.schedule and self.clock.progress < self.LATEST:
            self.log(f"step {self.clock.step}: remedy: {diagnosis.treat(self.model, names)}")
            self.schedule.put_right()
            self.due += self.every  # it needs its time
            self.clock.renew()


class TensorBoard(keras.callbacks.Callback):
    """TensorBoard: the losses, and a picture of x, the layers and the render."""

    def __init__(self, clock: Clock, folder: Path, probe: dict, every: int = 20, pictures: float = 60.0):
        super().__init__()
        self.clock, self.probe, self.every, self.pictures, self.drawn = clock, probe, every, pictures, 0.0
        self.writer = tf.summary.create_file_writer(str(folder))

    def on_train_batch_end(self, batch, logs=None):
        step = self.clock.step
        with self.writer.as_default():
            if step % self.every == 0:
                for name, value in self.clock.losses.items():
                    tf.summary.scalar(name, value, step)
            if time.monotonic() - self.drawn > self.pictures:
                self.drawn = time.monotonic()
                tf.summary.image(
                    "frame, character, mask, background, render, next frame", self.picture(), step, max_outputs=4
                )

    def picture(self):
        x = self.probe["frame"][:4]
        character, background, mask = self.model.separate(x)
        pair = {key: value[:4] for key, value in self.probe.items()}
        row = [x, character, ops.repeat(mask, 3, -1), background, self.model(pair)["frame"], pair["next_frame"]]
        return ops.clip(ops.concatenate([ops.cast(part, "float32") for part in row], axis=2), 0, 1)

    def on_train_end(self, logs=None):
        self.writer.flush()
