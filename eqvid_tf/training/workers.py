"""The processes and devices that train one model together.

Several processes are told of each other by TF_CONFIG, as Slurm scripts, Kubernetes and the clouds set it. They take the
same steps: whatever steers a training, as the time, is the chief's on all of them, and the chief alone writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from eqvid_tf.training.cluster import read_cluster

LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)  # what TensorFlow raises where another process no longer answers


class WorkerLost(RuntimeError):
    """Another process of the training is gone, and this one cannot go on."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Workers:
    """What trains one model; by default this process alone, on one device.

    Attributes:
        strategy: of TensorFlow; the model must be made within its scope.
        index: the number of this process; 0 is the chief, which alone writes and talks.
        count: of the processes.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    index: int = 0
    count: int = 1

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes and talks."""
        return self.index == 0

    @property
    def devices(self) -> int:
        """How many devices share a batch, over all processes."""
        return self.strategy.num_replicas_in_sync

    @property
    def own(self) -> range:
        """The numbers of this process's devices, among all."""
        each = self.devices // self.count
        return range(self.index * each, (self.index + 1) * each)

    def batches(self, draw: Callable[[int, range], tf.data.Dataset]) -> Iterator:
        """Batches for the devices of this process, from what makes a dataset of (all devices, own devices)."""
        dataset = draw(self.devices, self.own)
        if self.devices == 1:
            return iter(dataset)
        return iter(self.strategy.distribute_datasets_from_function(lambda context: dataset))

    def step(self, function: Callable[[dict], dict]) -> Callable[[dict], dict]:
        """A training step on all devices, from that of one; what it gives is the mean over them."""

        def on_all(batch: dict) -> dict:
            made = self.strategy.run(function, args=(batch,))
            return {name: self.strategy.reduce("MEAN", value, axis=None) for name, value in made.items()}

        return on_all

    def total(self, values: np.ndarray | list[float]) -> np.ndarray:
        """The sum over the processes of the numbers that each has; all of them must ask for it."""
        values = np.asarray(values)
        if self.count == 1:
            return values
        with self.noticing_losses():
            return self._sum(tf.constant(values, tf.float64)).numpy()

    @functools.cached_property
    def _sum(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The sum over the processes of a tensor that each has."""

        def on_one(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group, self.own.start)  # of this process's devices
            return context.all_reduce("SUM", tf.where(first, values, tf.zeros_like(values)))

        def on_all(values: tf.Tensor) -> tf.Tensor:
            return self.strategy.experimental_local_results(self.strategy.run(on_one, args=(values,)))[0]

        return tf.function(on_all, autograph=False)

    def agree(self, values: np.ndarray | list[float]) -> np.ndarray:
        """The chief's numbers on every process, where others may have rounded otherwise; all must ask for it."""
        values = np.asarray(values)
        return self.total(values if self.chief else np.zeros_like(values))

    @contextlib.contextmanager
    def noticing_losses(self) -> Iterator[None]:
        """Say in one line that another process is gone, where TensorFlow says so."""
        try:
            yield
        except LOST as error:
            if self.count == 1:
                raise
            raise WorkerLost(
                f"another of the {self.count} workers is gone. Start all again, with --resume if there is a checkpoint."
            ) from error

    @contextlib.contextmanager
    def stopping_together(self) -> Iterator[list[int]]:
        """Note signals that end a process, instead of ending it: all processes of a training stop at one step.

        Gives a list of the signals that came. A process alone is ended as ever.
        """
        asked: list[int] = []
        if self.count == 1:
            yield asked
            return
        stops = (signal.SIGINT, signal.SIGTERM)
        former = [signal.signal(stop, lambda number, frame: asked.append(number)) for stop in stops]
        try:
            yield asked
        finally:
            for stop, handler in zip(stops, former):
                signal.signal(stop, handler)


def find_workers(environment: Mapping[str, str] = os.environ) -> Workers:
    """The workers that TF_CONFIG names; without it this process alone, on all GPUs that are seen.

    It must be called before TensorFlow computes anything, and waits until all processes are there.

    Raises:
        ValueError: TF_CONFIG is none, or has other roles than chief and worker.
    """
    index, addresses = read_cluster(environment.get("TF_CONFIG", ""))
    if len(addresses) > 1:
        return Workers(strategy=tf.distribute.MultiWorkerMirroredStrategy(), index=index, count=len(addresses))
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return Workers(strategy=tf.distribute.MirroredStrategy()) if several else Workers()
