"""What happens beside the training step: clock, schedule, refreshes, checkpoints, diagnosis, TensorBoard."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from eqvid_tf.config import Config, LossConfig, ScheduleConfig, TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.cache import release
from eqvid_tf.data.output import atomic
from eqvid_tf.data.writers import write_png
from eqvid_tf.training.diagnosis import symptoms, treat, verdict
from eqvid_tf.training.hints import refresh_hints
from eqvid_tf.training.material import TrainingClips
from eqvid_tf.training.workers import Workers

WINDOW = 50  # steps that a reported loss is the mean of
Logs = dict[str, Any] | None


class NotFinite(RuntimeError):
    """The loss or a weight became NaN or infinite."""


class Clock(keras.callbacks.Callback):
    """Measures the progress of a training, in [0, 1]: by steps, or by the time spent.

    The time is a variable of the model, so that a training that is resumed goes on where it was. It begins when the
    first step is done, in which TensorFlow traces the step: what a training takes to start is not training.

    Where several processes train together, the time is the chief's, looked at once a step, so that all do the same.

    Where neither is given, it is that of a round, see `Rounds`.
    """

    def __init__(
        self,
        model: EquivariantVideoModel,
        train: TrainConfig,
        workers: Workers | None = None,
        times: ScheduleConfig | None = None,
    ):
        super().__init__()
        self.times = times or ScheduleConfig()
        self.trained, self.limit, self.steps = model, train.seconds or 60 * self.times.first_round, train.steps
        self.began, self.start = 0.0, 0.0  # seconds at which a round began, and its progress then
        self.workers, self.now = workers or Workers(), time.monotonic()
        self.before = float(model.seconds_trained.numpy())
        while train.ends_by_itself and self.before > self.limit:
            self.next_round()
        self.since: float | None = None  # nothing is counted yet
        self.traced: LossConfig | None = None  # the weights of the losses in the step that was done last
        self.losses: dict[str, float] = {}
        self.renewed = False

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.trained.optimizer.iterations.numpy())

    @property
    def seconds(self) -> float:
        """Time spent, in this run and before, without that until a step is traced."""
        return self.before if self.since is None else self.before + self.now - self.since

    @property
    def progress(self) -> float:
        """The share of the training that is done, in [0, 1]."""
        done = self.step / self.steps if self.steps else (self.seconds - self.began) / (self.limit - self.began)
        return min(1.0, self.start + (1 - self.start) * done)

    def next_round(self) -> None:
        """Go on for as long as all rounds before took."""
        self.began, self.limit, self.start = self.limit, 2 * self.limit, self.times.round_start

    def look(self) -> None:
        """Look at the time; all workers must do so together."""
        self.now = float(self.workers.agree([time.monotonic()])[0])

    def renew(self) -> None:
        """Have the loop go on from here on a new dataset, unless the training is over."""
        self.renewed, self.trained.stop_training = self.progress < 1, True

    def on_train_begin(self, logs: Logs = None) -> None:
        self.look()
        self.before, self.renewed = float(self.trained.seconds_trained.numpy()), False
        self.since = self.now if self.traced == self.trained.weights_of else None

    def on_train_end(self, logs: Logs = None) -> None:
        self.look()
        self.before, self.since = self.seconds, None
        self.trained.seconds_trained.assign(self.before)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if batch % WINDOW == 0:
            self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.look()
        self.losses = {name: float(value) for name, value in (logs or {}).items()}
        if self.since is None:
            self.since, self.traced = self.now, self.trained.weights_of
        self.trained.seconds_trained.assign(self.seconds)
        if self.progress >= 1:
            self.model.stop_training = True


class Schedule(keras.callbacks.Callback):
    """Sets the learning rate (a warm-up, then a cosine) and the weight of the hints before each step.

    The hints count in full from the start or from a remedy, fade to a reminder, and grow again near the end.

    Why: the first background may hold a residual of the character, and then the hints are wrong there. The networks
    correct that while hints are weak; hints that are refreshed from their masks are right, and may count more.
    """

    def __init__(self, clock: Clock, config: Config):
        super().__init__()
        self.clock, self.peak, self.first, self.times = clock, config.train.learning_rate, 0, config.schedule
        # Resumed after a remedy: the hints fade on from where they were.
        fading = self.times.hints_faded - self.times.hints_full
        strength = float(clock.trained.hint_strength.numpy())
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


class Rounds(keras.callbacks.Callback):
    """Ends a training for which no time is given once longer training gains nothing.

    A round ends as a training does, with the learning rate at its lowest, so that what it reached can be compared. The
    next one begins within the schedule and takes as long as all before: at most half of the time gains little. The gain
    is that of the weighted three losses on some pairs, always the same ones.

    Args:
        clock: of the training.
        pairs: batches.
        log: gets a line for each round.
        beside: callbacks that do something at times of the schedule, and do it again in each round.
    """

    def __init__(
        self, clock: Clock, pairs: Sequence[dict], log: Callable[[str], None], beside: Sequence[Refresh | Diagnosis]
    ):
        super().__init__()
        self.clock, self.pairs, self.log, self.beside = clock, pairs, log, beside
        self.reached: float | None = None  # nothing yet, or before it was resumed

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.clock.progress < 1:
            return
        times, minutes = self.clock.times, self.clock.limit / 60
        before, self.reached = self.reached, self._loss()
        gain = None if before is None else 1 - self.reached / before
        told = "" if gain is None else f", {100 * gain:.0f} % less than in half the time"
        self.log(f"{minutes:g} minutes: the losses are {self.reached:.3g}{told}")
        if minutes < times.last_round and (gain is None or gain > times.least_gain):
            self.clock.next_round()
            for callback in self.beside:
                callback.next_round()
            self.clock.renew()

    def _loss(self) -> float:
        """The three losses, weighted, the same on all workers."""
        found = [self.model.weighted(self.model.losses_of(pair, training=False)) for pair in self.pairs]
        return float(self.clock.workers.agree([float(np.mean(found))])[0])


class Refresh(keras.callbacks.Callback):
    """At given times, computes the clips' backgrounds, for the memory of h, and their hints again from the masks.

    The loop goes on then on a new dataset, with the new hints. Where the time is given, and not the steps,
    refreshes that would take more than a share of it are left out: of half a minute, five refreshes of six clips would
    leave nothing to train in.

    Args:
        clock: of the training.
        config: of the training; its schedule says when, in [0, 1] as the clock's progress.
        material: what is learned; `material` is with the hints and backgrounds of the last refresh.
        first: the place of its first background in the memory of h.
    """

    def __init__(self, clock: Clock, config: Config, material: TrainingClips, first: int = 0):
        super().__init__()
        self.clock, self.material, self.first, self.share = clock, material, first, config.schedule.refresh_share
        self.batches = sum(map(len, material.frames)) / config.train.batch_size
        self.spent, self.last = 0.0, 0.0  # seconds, of all refreshes and of the last
        self.times = config.schedule.refreshes
        self.due = [time for time in self.times if time > clock.progress]
        if 0 < len(self.due) < len(self.times):
            self.due.insert(0, 0.0)  # resumed: the hints are still those of the first medians

    def next_round(self) -> None:
        """What is due in another round."""
        self.due = [time for time in self.times if time >= self.clock.progress]

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not self.due or self.clock.progress < self.due[0]:
            return
        self.due.pop(0)
        if not self.clock.steps and not self._affordable():
            return
        before = self.clock.seconds
        self.refresh()
        self.clock.look()
        self.last = self.clock.seconds - before
        self.spent += self.last
        self.clock.renew()

    def _affordable(self) -> bool:
        """Whether refreshes take no more than their share of the time so far, and this one of the time that is left."""
        expected, done = self._expected(), self.clock.seconds
        return self.spent + expected <= self.share * done and expected <= self.share * (self.clock.limit - done)

    def _expected(self) -> float:
        """The seconds that a refresh takes: as many as the last; before, as many as steps with as many frames."""
        return self.last or self.clock.seconds / max(self.clock.step, 1) * self.batches

    def refresh(self) -> None:
        """Compute the backgrounds and hints from the masks as they are now."""
        material, noise = self.material, [clip.noise for clip in self.material.clips]
        release(material.hints)
        clips = zip(material.frames, material.backgrounds, material.hidden, noise, material.occupied, strict=True)
        self.material = self.material.with_hints(refresh_hints(self.model, *clip) for clip in clips)
        if self.model.h.remembers:
            self.model.h.remember(self.clock.workers.agree(np.stack(self.material.backgrounds)) / 255, self.first)


class Checkpoint(keras.callbacks.Callback):
    """Saves the model and its optimizer's state from time to time; stops at a NaN, with the last good state saved.

    Args:
        clock: of the training.
        path: of the checkpoint; None saves nothing and only looks for NaN.
        log: gets a line where it cannot be written.
        every: seconds between two checkpoints.
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
        """Write the checkpoint, complete or not at all, and never with a NaN.

        Raises:
            NotFinite: a weight is NaN or infinite.
        """
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise self._not_finite("the weights became NaN")
        if not self.path:
            return
        try:
            with atomic(self.path) as draft:
                self.model.save(draft)
        except OSError as error:
            before = "the one before stays" if self.path.exists() else "there is none yet"
            self.log(f"the checkpoint could not be written ({error.strerror or error}); {before}")
        self.saved = time.monotonic()

    def _not_finite(self, what: str) -> NotFinite:
        saved = self.path is not None and self.path.exists()
        resume = f"the last good weights are in {self.path}; go on with --resume, or " if saved else ""
        return NotFinite(f"{what} at step {self.clock.step}; {resume}train again with a smaller --learning-rate.")


class Diagnosis(keras.callbacks.Callback):
    """Looks for trivial solutions from time to time, logs each that comes or goes, and applies the remedy.

    The loop goes on with another step after a remedy, for that computes something else. Near the end no time is left to
    recover, and the trivial solution is only logged.

    Args:
        clock: of the training.
        probe: the batch of pairs that symptoms are measured on.
        log: gets the lines.
        config: of the training.
        schedule: restarted by a remedy; None: no remedy is applied.
    """

    def __init__(
        self, clock: Clock, probe: dict, log: Callable[[str], None], config: Config, schedule: Schedule | None = None
    ):
        super().__init__()
        self.clock, self.probe, self.log, self.schedule, self.limits = clock, probe, log, schedule, config.diagnosis
        self.start = self._symptoms()
        self.names: list[str] = []
        self.due = max(config.schedule.hints_faded, clock.progress)

    def next_round(self) -> None:
        """What is due in another round."""
        self.due = self.clock.progress + self.limits.interval

    def examine(self) -> tuple[dict[str, float], list[str]]:
        """Measure the symptoms, and name the trivial solutions that they show."""
        found = self._symptoms()
        return found, verdict(found, self.start, self.limits)

    def _symptoms(self) -> dict[str, float]:
        """The symptoms, the same on all workers."""
        measured = symptoms(self.clock.trained, self.probe)
        return dict(zip(measured, map(float, self.clock.workers.agree([*measured.values()]))))

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
    """Writes the losses, and now and then and at the end pictures of frames, layers and renders, for TensorBoard.

    The last of these pictures is picture.png beside the event files, too.

    Args:
        clock: of the training.
        folder: gets the event files.
        probe: the batch of pairs whose first four are drawn.
        every: steps between two losses.
        pictures: seconds between two pictures, the first of which comes sooner.
    """

    def __init__(self, clock: Clock, folder: Path, probe: dict, every: int = 20, pictures: float = 60.0):
        super().__init__()
        self.clock, self.folder, self.probe, self.every, self.pictures = clock, folder, probe, every, pictures
        self.wait = pictures / 4
        self.drawn = time.monotonic()  # not at once: a first picture takes as long as some steps
        self.writer = tf.summary.create_file_writer(str(folder))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        step = self.clock.step
        with self.writer.as_default():
            if step % self.every == 0:
                for name, value in self.clock.losses.items():
                    tf.summary.scalar(name, value, step)
        if time.monotonic() - self.drawn > self.wait:
            self.wait = min(2 * self.wait, self.pictures)
            self._draw()

    def on_train_end(self, logs: Logs = None) -> None:
        if not self.clock.renewed:
            self._draw()
        self.writer.flush()

    def _draw(self) -> None:
        self.drawn = time.monotonic()
        title = "frame, character, mask, background, render, next frame"
        pictures = self._picture()
        with self.writer.as_default():
            tf.summary.image(title, pictures, self.clock.step, max_outputs=4)
        with contextlib.suppress(OSError):  # a full disk: the training goes on, as without a checkpoint
            write_png(self.folder / "picture.png", np.concatenate(list(np.asarray(pictures))))

    def _picture(self) -> tf.Tensor:
        x = self.probe["frame"][:4]
        character, background, mask = self.model.separate(x)
        pair = {key: value[:4] for key, value in self.probe.items()}
        row = [x, character, ops.repeat(mask, 3, -1), background, self.model(pair)["frame"], pair["next_frame"]]
        return ops.clip(ops.concatenate([ops.cast(part, "float32") for part in row], axis=2), 0, 1)
