"""What happens beside the training step: time, schedule, refreshes, checkpoints, diagnosis, TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from eqvid_tf.config import Config, TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.training.diagnosis import symptoms, treat, verdict
from eqvid_tf.training.hints import refresh_hints

WINDOW = 50  # steps that a reported loss is the mean of
Logs = dict[str, Any] | None


class NotFinite(RuntimeError):
    """The loss became NaN or infinite."""


class Clock(keras.callbacks.Callback):
    """How far training is, in [0, 1]: by steps, or by the time spent, which the model carries from run to run."""

    def __init__(self, model: EquivariantVideoModel, train: TrainConfig):
        super().__init__()
        self.trained, self.limit, self.steps = model, train.minutes * 60, train.steps
        self.before, self.since = float(model.seconds_trained), time.monotonic()
        self.losses: dict[str, float] = {}
        self.renewed = False

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.trained.optimizer.iterations)

    @property
    def seconds(self) -> float:
        """Time spent, in this run and before."""
        return self.before + time.monotonic() - self.since

    @property
    def progress(self) -> float:
        """The part of the training that is done."""
        return min(1.0, self.step / self.steps if self.steps else self.seconds / self.limit)

    def renew(self) -> None:
        """End the `fit`; another goes on from there, on a new dataset, unless the training is over."""
        self.renewed, self.trained.stop_training = self.progress < 1, True

    def on_train_begin(self, logs: Logs = None) -> None:
        self.before, self.since, self.renewed = float(self.trained.seconds_trained), time.monotonic(), False

    def on_train_end(self, logs: Logs = None) -> None:
        self.trained.seconds_trained.assign(self.seconds)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if batch % WINDOW == 0:
            self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.losses = {name: float(value) for name, value in (logs or {}).items()}
        self.trained.seconds_trained.assign(self.seconds)
        if self.progress >= 1:
            self.model.stop_training = True


class Schedule(keras.callbacks.Callback):
    """The learning rate: a warm-up, then a cosine. The hints: they fade from the start or a remedy, and grow again.

    Why: the first background may hold a residual of the character, and so be a false hint. The networks find it out
    where hints are weak, and refreshed hints are right.
    """

    def __init__(self, clock: Clock, config: Config):
        super().__init__()
        self.clock, self.peak, self.first, self.times = clock, config.train.learning_rate, 0, config.schedule
        # Resumed after a remedy: the hints fade on from where they were.
        fading = self.times.hints_faded - self.times.hints_full
        strength = float(clock.trained.hint_strength)
        self.since = max(0.0, strength * fading - self.times.hints_faded + clock.progress)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        progress, times = self.clock.progress, self.times
        cosine = 0.01 + 0.99 * np.cos(np.pi / 2 * progress) ** 2
        warm_up = min(1, (self.clock.step - self.first + 1) / times.warm_up)
        self.model.optimizer.learning_rate = self.peak * warm_up * cosine
        left = (times.hints_faded - progress + self.since) / (times.hints_faded - times.hints_full)
        fading = np.clip(left, times.hint_reminder, 1)
        growing = np.interp(progress, times.hints_grow, (times.hint_reminder, times.hint_trusted))
        self.model.hint_strength.assign(max(fading, growing))

    def restart(self) -> None:
        """Hints in full again, a warm-up, and no more than the default learning rate."""
        self.since, self.first = self.clock.progress, self.clock.step
        self.peak = min(self.peak, TrainConfig().learning_rate)


class Refresh(keras.callbacks.Callback):
    """At some times, makes the clips' backgrounds, for the memory of h, and the hints anew from the masks.

    Another `fit` goes on then: a dataset holds the hints as they were when it was made.

    Args:
        clock: of the training.
        times: when, as parts of the training.
        frames: of each clip that is learned, on the canvas.
        hints: of each clip, these first; a refreshed one takes the place of the former in this list.
        backgrounds: of each clip that is learned.
        first: the place of the first of them in the memory of h.
    """

    def __init__(
        self,
        clock: Clock,
        times: Sequence[float],
        frames: Sequence[np.ndarray],
        hints: list[np.ndarray],
        backgrounds: Sequence[np.ndarray],
        first: int = 0,
    ):
        super().__init__()
        self.clock, self.frames, self.hints, self.backgrounds = clock, frames, hints, list(backgrounds)
        self.first, self.due = first, [time for time in times if time > clock.progress]
        if 0 < len(self.due) < len(times):
            self.due.insert(0, 0.0)  # resumed: the hints are still those of the first medians

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not self.due or self.clock.progress < self.due[0]:
            return
        self.due.pop(0)
        for k, frames in enumerate(self.frames):
            found = refresh_hints(self.model, frames, self.backgrounds[k])
            self.backgrounds[k], self.hints[k] = found.background, found.coverage
        if self.model.h.remembers:
            self.model.h.remember(np.stack(self.backgrounds) / 255, self.first)
        self.clock.renew()


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state every minute and at the end; stops at a NaN with the last good state saved.

    Args:
        clock: of the training.
        path: of the checkpoint; None saves nothing and only looks for NaN.
        log: gets a line where it cannot be written.
        every: seconds.
    """

    def __init__(self, clock: Clock, path: Path | None, log: Callable[[str], None], every: float = 60.0):
        super().__init__()
        self.clock, self.path, self.log, self.every, self.saved = clock, path, log, every, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not np.isfinite(self.clock.losses.get("loss", 0.0)):
            raise self._not_finite(f"the loss became {self.clock.losses['loss']}")
        if time.monotonic() - self.saved >= self.every:
            self.save()

    def save(self) -> None:
        """Write one file beside its place and rename it into it; never one that holds a NaN."""
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise self._not_finite("the weights became NaN")
        if not self.path:
            return
        draft = self.path.with_name(f".{os.getpid()}-{self.path.name}")
        try:
            self.model.save(draft)
            os.replace(draft, self.path)
        except OSError as error:
            before = "the one before stays" if self.path.exists() else "there is none yet"
            self.log(f"the checkpoint could not be written ({error.strerror or error}); {before}")
        finally:
            draft.unlink(missing_ok=True)
        self.saved = time.monotonic()

    def _not_finite(self, what: str) -> NotFinite:
        good = f"the last good weights are in {self.path}; go on with --resume, or "
        good = good if self.path and self.path.exists() else ""
        return NotFinite(f"{what} at step {self.clock.step}; {good}train again with a smaller --learning-rate.")


class Diagnosis(keras.callbacks.Callback):
    """From time to time, names in the log each trivial solution that comes or goes, and treats it.

    Another `fit` goes on then, for what a step computes has changed. Near the end no time is left to recover, and it
    only says the name.

    Args:
        clock: of the training.
        probe: the batch of pairs that symptoms are measured on.
        log: gets the lines.
        config: of the training.
        schedule: what a remedy restarts; None: it only names what it sees.
    """

    def __init__(
        self, clock: Clock, probe: dict, log: Callable[[str], None], config: Config, schedule: Schedule | None = None
    ):
        super().__init__()
        self.clock, self.probe, self.log, self.schedule, self.limits = clock, probe, log, schedule, config.diagnosis
        self.start = symptoms(clock.trained, probe)
        self.names: list[str] = []
        self.due = max(config.schedule.hints_faded, clock.progress)

    def examine(self) -> tuple[dict[str, float], list[str]]:
        """The symptoms, and the trivial solutions that they show."""
        found = symptoms(self.clock.trained, self.probe)
        return found, verdict(found, self.start, self.limits)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.clock.progress < self.due:
            return
        self.due += self.limits.interval
        found, names = self.examine()
        self._report(found, names)
        self.names = names
        if names and self.schedule and self.clock.progress < self.limits.latest_remedy:
            self.log(f"step {self.clock.step}: remedy: {treat(self.model, names)}")
            self.schedule.restart()
            self.due += self.limits.interval  # it needs its time
            self.clock.renew()

    def _report(self, found: dict[str, float], names: list[str]) -> None:
        measured = ", ".join(f"{key} {value:.3g}" for key, value in found.items())
        for name in names:
            if name not in self.names:
                self.log(f"step {self.clock.step}: {name} ({measured})")
        for name in self.names:
            if name not in names:
                self.log(f"step {self.clock.step}: no longer: {name}")


class TensorBoard(keras.callbacks.Callback):
    """Writes the losses, and a picture of x, the layers and the render, for TensorBoard.

    Args:
        clock: of the training.
        folder: gets the event files.
        probe: a batch of pairs, of which the pictures are.
        every: steps between two losses.
        pictures: seconds between two pictures.
    """

    def __init__(self, clock: Clock, folder: Path, probe: dict, every: int = 20, pictures: float = 60.0):
        super().__init__()
        self.clock, self.probe, self.every, self.pictures, self.drawn = clock, probe, every, pictures, 0.0
        self.writer = tf.summary.create_file_writer(str(folder))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        step = self.clock.step
        with self.writer.as_default():
            if step % self.every == 0:
                for name, value in self.clock.losses.items():
                    tf.summary.scalar(name, value, step)
            if time.monotonic() - self.drawn > self.pictures:
                self.drawn = time.monotonic()
                title = "frame, character, mask, background, render, next frame"
                tf.summary.image(title, self._picture(), step, max_outputs=4)

    def on_train_end(self, logs: Logs = None) -> None:
        self.writer.flush()

    def _picture(self) -> tf.Tensor:
        x = self.probe["frame"][:4]
        character, background, mask = self.model.separate(x)
        pair = {key: value[:4] for key, value in self.probe.items()}
        row = [x, character, ops.repeat(mask, 3, -1), background, self.model(pair)["frame"], pair["next_frame"]]
        return ops.clip(ops.concatenate([ops.cast(part, "float32") for part in row], axis=2), 0, 1)
