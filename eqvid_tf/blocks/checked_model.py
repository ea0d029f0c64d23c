"""A Keras model of pairs that says in one line what is wrong with what it is compiled, trained and tried with."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from types import GeneratorType
from typing import Any

import keras
import tensorflow as tf

from eqvid_tf.blocks.batch import check_pair, read_pair


def _at_the_door(method: Callable) -> Callable:
    """A method of `keras.Model` that takes data, and nothing that a model of pairs would drop in silence."""
    parameters = inspect.signature(method)

    @wraps(method)
    def looking(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(self, *args, **kwargs)
        _refuse_arguments(given.arguments, ("y", "sample_weight", "class_weight"), "Leave it out.")
        for name in ("x", "validation_data"):
            if name == "x" or given.arguments.get(name) is not None:
                given.arguments[name] = _checked_source(given.arguments.get(name), name, self.needs)
        _minimize(given.arguments.get("callbacks"))
        return method(*given.args, **given.kwargs)

    return looking


class CheckedModel(keras.Model):
    """A `keras.Model` with losses of its own on dicts of pairs, which looks at what it is given.

    Types and shapes are looked at before anything is traced, and of every `fit`, `evaluate` and `predict` the values of
    the first batch: all others cost nothing.
    """

    train_function: Any
    test_function: Any
    predict_function: Any

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """As in Keras, without losses and metrics: the model has its own.

        Raises:
            ValueError: for any of those, which would be ignored.
        """
        ignored = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics, "weighted_metrics": weighted_metrics}
        remedy = (
            "Leave it out: the model has losses of its own, which EquivariantVideoModel(loss=LossConfig(...)) weighs."
        )
        _refuse_arguments(ignored, ignored, remedy)
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config: dict) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    fit = _at_the_door(keras.Model.fit)
    evaluate = _at_the_door(keras.Model.evaluate)
    predict = _at_the_door(keras.Model.predict)
    train_on_batch = _at_the_door(keras.Model.train_on_batch)
    test_on_batch = _at_the_door(keras.Model.test_on_batch)

    @property
    def needs(self) -> tuple[str, ...]:
        """The keys that a batch must have."""
        return "frame", "next_frame"

    def __call__(self, pair: Any, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(check_pair(pair, self.needs), *args, **kwargs)

    def predict_step(self, data: Any) -> Any:
        return self(read_pair(data, self.needs))

    def make_train_function(self, force: bool = False) -> Any:
        if not self.optimizer.built:  # variables made within a step would have it traced twice: seconds
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        super().make_train_function(force)
        self.train_function = _FirstLook(self.train_function, self.needs, self.steps_per_execution)

    def make_test_function(self, force: bool = False) -> Any:
        super().make_test_function(force)
        self.test_function = _FirstLook(self.test_function, self.needs, self.steps_per_execution)

    def make_predict_function(self, force: bool = False) -> Any:
        super().make_predict_function(force)
        self.predict_function = _FirstLook(self.predict_function, self.needs)


class _FirstLook:
    """A step function of Keras that looks at the values of the first batch.

    Batches are taken from the iterator here and not inside the step: a step that is traced for the one way and the
    other is traced twice, which takes seconds.
    """

    def __init__(self, step: Any, needs: tuple[str, ...], steps: int = 1):
        self.step: Callable = step.step if isinstance(step, _FirstLook) else step
        self.needs, self.steps, self.seen = needs, steps, False

    def __call__(self, batches: Iterator) -> Any:
        if isinstance(batches, list):  # of `predict`
            self._look(batches[0])
            return self.step(batches)
        if self.seen and self.steps > 1:
            return self.step(batches)
        batch = next(batches, None)
        if batch is None and not self.seen:
            raise ValueError("x must hold at least one batch; received none. Does it take more frames than there are?")
        if batch is None:
            raise StopIteration
        self._look(batch)
        return self.step(itertools.chain([batch], batches))

    def _look(self, batch: Any) -> None:
        if not self.seen:
            check_pair(keras.tree.map_structure(_on_one_device, batch), self.needs)
        self.seen = True


def _on_one_device(value: Any) -> Any:
    """What the first of several devices gets of a batch."""
    return value.values[0] if isinstance(value, tf.distribute.DistributedValues) else value


def _checked_source(source: Any, name: str, needs: tuple[str, ...]) -> Any:
    """What batches come from, checked as far as it can be without drawing one."""
    if isinstance(source, tf.data.Dataset):
        if int(source.cardinality()) == 0:
            raise ValueError(f"{name} must hold at least one batch; received an empty dataset. Does batch() drop all?")
        check_pair(source.element_spec, needs)
    elif isinstance(source, GeneratorType):
        return ((batch,) if isinstance(batch, Mapping) else batch for batch in source)  # as Keras wants it
    elif source is None or isinstance(source, list | tuple | Mapping) or hasattr(source, "__array__"):
        return check_pair(source, needs)
    return source


def _minimize(callbacks: Any) -> None:
    """Tell callbacks that watch a loss which way is better, of which Keras knows `loss` alone."""
    for callback in keras.tree.flatten(getattr(callbacks, "callbacks", callbacks)):
        if getattr(callback, "mode", None) == "auto" and str(getattr(callback, "monitor", "")).endswith("loss"):
            callback.mode = "min"


def _refuse_arguments(given: Mapping, names: Any, remedy: str) -> None:
    for name in names:
        if given.get(name) is not None:
            received = repr(given[name]) if isinstance(given[name], str) else type(given[name]).__name__
            raise ValueError(
                f"{name} must be left at None: a model of pairs would ignore it; received {received}. {remedy}"
            )
