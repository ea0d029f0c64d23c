"""The training loop: steps on all devices of all workers, between the callbacks of Keras.

Why not `fit`: that of Keras 3 fails where several processes train together (keras issue 20585). What a step computes is
`EquivariantVideoModel.train_step`, as under `fit`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.training.callbacks import Clock
from eqvid_tf.training.workers import Workers

Draw = Callable[[int, range], tf.data.Dataset]  # the batches of (all devices, own devices), from the clock's step on
Step = Callable[[dict], dict]


def run_loop(
    model: EquivariantVideoModel,
    draw: Draw,
    clock: Clock,
    callbacks: Sequence[keras.callbacks.Callback],
    workers: Workers,
) -> None:
    """Train until the clock says that it is enough.

    Args:
        model: compiled, within the scope of the workers' strategy.
        draw: makes the dataset; asked again whenever the clock is renewed.
        clock: of the training, one of the callbacks.
        callbacks: of Keras, in the order in which they are called.
        workers: that train the model.

    Raises:
        KeyboardInterrupt: this process is asked to end, or another one is.
        WorkerLost: another process is gone.
    """
    called, steps = keras.callbacks.CallbackList(list(callbacks), model=model), dict[object, Step]()
    with workers.stopping_together() as asked, workers.noticing_losses():
        while True:
            if model.weights_of not in steps:  # a remedy changed the weights of the losses
                steps[model.weights_of] = _traced(model, workers)
            _run(steps[model.weights_of], workers.batches(draw), called, model, lambda: _end_if(asked, workers))
            if not clock.renewed:
                return


def _run(
    step: Step,
    batches: Iterator,
    callbacks: keras.callbacks.CallbackList,
    model: EquivariantVideoModel,
    look: Callable[[], None],
) -> None:
    """Steps on one dataset, until a callback stops them."""
    model.stop_training = False
    callbacks.on_train_begin()
    for number in itertools.count():
        callbacks.on_train_batch_begin(number)
        logs = step(next(batches))
        callbacks.on_train_batch_end(number, logs)
        look()
        if model.stop_training:
            break
    callbacks.on_train_end()


def _traced(model: EquivariantVideoModel, workers: Workers) -> Step:
    """The step of a model on all devices, to be traced at its first call."""
    step = tf.autograph.experimental.do_not_convert(workers.step(model.train_step))
    if model.run_eagerly:
        return step
    return tf.function(step, reduce_retracing=True, jit_compile=model.jit_compile)


def _end_if(asked: list[int], workers: Workers) -> None:
    if workers.count > 1 and workers.total([len(asked)]).any():
        raise KeyboardInterrupt
