"""Assertions for layers and for equivariance, ours and yours.

Example:
>>> def halved(frame):
...     return keras.ops.average_pool(frame, 2)
>>> x = np.random.default_rng(0).uniform(size=(1, 32, 32, 3)).astype("float32")
>>> error = assert_equivariant(halved, x, affine.build(shift=(0.25, 0.0))[None], border=0.1, atol=1e-4)
equivariance error 0.0000 over 47% of the map
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

from eqvid_tf.core import affine
from eqvid_tf.core.sampler import warp
from eqvid_tf.pixels.coordinates import is_invertible


def assert_equivariant(
    fn: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, motion: tf.Tensor, *, border: float, atol: float
) -> float:
    """Asserts that `fn` of a moved frame is the moved `fn` of the frame: fn(T x) = T fn(x).

    The error is the mean absolute difference over the mean absolute value of the moved features. It is taken over
    the cells that are at least `border` from the edges of the map both now and before the motion: what the motion
    brought in from outside is not compared, nor what `fn` saw of it.

    Convention: motion is forward, in normalized coordinates. Compared at the resolution of the features.
    Shapes: x [b, h, w, 3], motion [b, 2, 3]; fn to [b, h', w', c'].

    Args:
        border: a fraction of the map's height and width, left out at each of its four edges. The reach of `fn`
            (half its receptive field) is a good one.
        atol: the largest error that passes.

    Raises:
        AssertionError: where the error is above `atol`, or the features are 0 throughout.
        ValueError: where nothing is left to compare.

    Returns the error, and prints it.
    """
    theta = affine.invert(_checked_motion(motion))
    features, moved = fn(x), fn(warp(x, theta))
    inner = _inner(ops.shape(features), border)
    seen = ops.cast(warp(inner, theta) > 0.999, "float32") * inner
    share = float(ops.mean(seen))
    if share == 0.0:
        raise ValueError(f"motion must leave a part of the map in view; received {motion}, border {border}. Move less.")
    expected = ops.cast(warp(features, theta), "float32")
    difference = float(ops.mean(seen * ops.abs(ops.cast(moved, "float32") - expected)))
    scale = float(ops.mean(seen * ops.abs(expected)))
    assert scale > 0.0, "fn gives 0 throughout, which says nothing of equivariance"
    error = difference / scale
    print(f"equivariance error {error:.4f} over {share:.0%} of the map")
    assert error <= atol, (
        f"fn is not equivariant: error {error:.4g} is above atol {atol:.4g} over {share:.0%} of the map"
    )
    return error


def _checked_motion(motion: tf.Tensor) -> tf.Tensor:
    """The motion, if it is [batch, 2, 3], finite and can be inverted."""
    values = np.asarray(motion, np.float64)
    if values.ndim != 3 or values.shape[1:] != (2, 3) or not is_invertible(values).all():
        raise ValueError(
            f"motion must be [batch, 2, 3], finite and invertible; received {list(values.shape)}. "
            "Use affine.identity(batch) for no motion."
        )
    return motion


def _inner(shape: tuple, border: float) -> tf.Tensor:
    """1 on the cells at least `border` of the height and width from the edges, else 0: [b, h, w, 1]."""
    batch, height, width, _ = shape
    rows, columns = (np.abs((np.arange(side) + 0.5) / side - 0.5) <= 0.5 - border for side in (height, width))
    inner = (rows[:, None] & columns)[None, :, :, None].astype("float32")
    return ops.broadcast_to(inner, (batch, height, width, 1))


def run_layer_test(
    layer_class: type[keras.layers.Layer],
    init_kwargs: dict[str, Any],
    inputs: Any,
    *,
    expected_output_shape: Any = None,
    mixed_tolerance: float = 0.05,
) -> keras.layers.Layer:
    """Asserts that a layer behaves as a Keras layer should, and returns it.

    Its config makes the same layer again; the shape that `compute_output_shape` says and that of a symbolic call with
    a free batch are the shape that comes out; its values are finite; a compiled model with it fits a step, with a
    gradient to every trainable weight; a saved `.keras` model gives the same bits back; and under both mixed policies
    it keeps float32 weights and comes close to the float32 answer.

    Args:
        inputs: what the layer is called with: a tuple is its arguments in order, anything else (an array, a dict of
            arrays) its one argument.
        expected_output_shape: the shape of the output with its batch, or a structure of them.
        mixed_tolerance: the largest difference under a mixed policy, over the largest value.

    Raises:
        AssertionError: where any of this is not so, saying which.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    inputs = tree.map_structure(ops.convert_to_tensor, inputs)
    layer = layer_class(**init_kwargs)
    _assert_config_round_trip(layer, init_kwargs)
    outputs = layer(*inputs)
    assert layer.built, f"{layer.name} is not built by its first call"
    symbols = _symbols(inputs)
    symbolic = layer(*symbols)
    _assert_shapes(layer, inputs, outputs, symbolic, expected_output_shape)
    for value in _arrays(outputs):
        assert np.all(np.isfinite(value)), f"{layer.name} gives values that are not finite"
    _assert_fits(layer, inputs)
    _assert_saves(keras.Model(tree.flatten(symbols), tree.flatten(symbolic)), tree.flatten(inputs))
    for policy in ("mixed_float16", "mixed_bfloat16"):
        _assert_mixed(layer, layer_class(**{**init_kwargs, "dtype": policy}), inputs, mixed_tolerance)
    return layer


def _arrays(structure: Any) -> list[np.ndarray]:
    return [ops.convert_to_numpy(value) for value in tree.flatten(structure)]


def _symbols(inputs: Any) -> Any:
    return tree.map_structure(
        lambda value: keras.Input(batch_shape=(None, *value.shape[1:]), dtype=value.dtype), inputs
    )


def _assert_config_round_trip(layer: keras.layers.Layer, init_kwargs: dict) -> None:
    config = layer.get_config()
    assert config.keys() >= init_kwargs.keys(), f"get_config leaves out {init_kwargs.keys() - config.keys()}"
    json.dumps(config)
    again = type(layer).from_config(config).get_config()
    assert again == config, f"config does not come back: {config} gives {again}"
    revived = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(revived) is type(layer), f"{layer.name} is not registered: it comes back as {type(revived)}"


def _assert_shapes(layer: keras.layers.Layer, inputs: Any, outputs: Any, symbolic: Any, expected: Any) -> None:
    shapes = tree.map_structure(lambda value: tuple(value.shape), outputs)
    if expected is not None:
        assert shapes == expected, f"output is {shapes}, expected {expected}"
    said = layer.compute_output_shape(*tree.map_structure(lambda value: tuple(value.shape), inputs))
    said = tree.map_shape_structure(tuple, said)
    assert said == shapes, f"compute_output_shape says {said}, the output is {shapes}"
    for symbol, value in zip(tree.flatten(symbolic), tree.flatten(outputs), strict=True):
        free = (None, *value.shape[1:])
        assert tuple(symbol.shape) == free, f"symbolic output is {symbol.shape}, expected {free}"
        dtype = keras.backend.standardize_dtype(value.dtype)
        assert symbol.dtype == dtype, f"symbolic output is {symbol.dtype}, the output is {dtype}"


def _assert_fits(layer: keras.layers.Layer, inputs: Any) -> None:
    """One step of `fit`, with a trainable identity before each float input so that the gradient passes through."""
    symbols = _symbols(inputs)
    before = tree.map_structure(
        lambda s: keras.layers.Dense(s.shape[-1], kernel_initializer="identity")(s) if "float" in s.dtype else s,
        symbols,
    )
    model = keras.Model(tree.flatten(symbols), tree.flatten(layer(*before)))
    flat = tree.flatten(inputs)
    targets = [np.zeros(value.shape, "float32") for value in _arrays(model(flat))]
    model.compile(optimizer=keras.optimizers.SGD(1e-3), loss=["mse"] * len(targets))
    fitted = model.fit(flat, targets, batch_size=len(targets[0]), verbose=0)
    assert np.isfinite(fitted.history["loss"][-1]), f"{layer.name} fits to a loss that is not finite"
    with tf.GradientTape() as tape:
        loss = sum(ops.mean(ops.square(ops.cast(value, "float32"))) for value in tree.flatten(layer(*inputs)))
    gradients = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
    idle = [weight.path for weight, gradient in zip(layer.trainable_weights, gradients) if gradient is None]
    assert not idle, f"no gradient reaches {idle}"


def _assert_saves(model: keras.Model, inputs: list) -> None:
    """A model with the layer, saved and loaded, gives the same bits."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation")  # Keras's own, under numpy 2
        model.save(os.path.join(folder, "layer.keras"))
        revived = keras.saving.load_model(os.path.join(folder, "layer.keras"))
    for value, again in zip(_arrays(model(inputs)), _arrays(revived(inputs)), strict=True):
        assert np.array_equal(value, again), f"saved and loaded it differs by {np.abs(value - again).max()}"


def _assert_mixed(layer: keras.layers.Layer, mixed: keras.layers.Layer, inputs: Any, tolerance: float) -> None:
    outputs = mixed(*inputs)
    mixed.set_weights(layer.get_weights())
    outputs = mixed(*inputs)
    for weight in mixed.trainable_weights:
        assert weight.dtype == "float32", f"{weight.path} is {weight.dtype} under {mixed.dtype_policy.name}"
    for value, exact in zip(tree.flatten(outputs), _arrays(layer(*inputs)), strict=True):
        dtype = keras.backend.standardize_dtype(value.dtype)
        assert dtype in (mixed.compute_dtype, "float32"), f"output is {dtype} under {mixed.dtype_policy.name}"
        error = np.abs(ops.convert_to_numpy(ops.cast(value, "float32")) - exact).max() / max(np.abs(exact).max(), 1e-6)
        assert error <= tolerance, f"{mixed.dtype_policy.name} is off by {error:.3g} of the largest value"
