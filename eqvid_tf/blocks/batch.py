"""What frames and batches of pairs must be: looked at in one place, and refused in one line where they are not that.

Types and shapes are looked at whenever a function is traced. Values are looked at where they are at hand, outside a
graph: a training step and a SavedModel compute nothing more for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

_FRAMES, _HINTS = ("frame", "next_frame", "background_frame"), ("hint", "next_hint")
_KEYS = (*_FRAMES, "motion", *_HINTS, "places")
_OVERSHOOT = 0.5  # beyond [0, 1], which cubic resizing exceeds by less than 0.2; frames in [0, 255] or [-1, 1] by more


def check_pair(data: Any, needs: tuple[str, ...] = _FRAMES[:2]) -> dict:
    """The dict of pairs in what a dataset yields: the dict itself, or a tuple of it alone.

    Args:
        data: a batch; or the specs of one, of which only types and shapes are looked at.
        needs: the keys that it must have.

    Raises:
        ValueError: it is something else, a key is missing or unknown, or a value is not what it must be.
    """
    pair = _unpacked(data)
    if missing := [key for key in needs if pair.get(key) is None]:
        remedy = "The 'known' estimator needs the motion of each pair." if "motion" in missing else "Name both frames."
        _refuse("the keys of a batch", ", ".join(needs), f"no {' and no '.join(missing)}", remedy)
    if unknown := [str(key) for key in pair if key not in _KEYS]:
        remedy = "Leave the others out with dataset.map."
        _refuse("the keys of a batch", ", ".join(_KEYS), ", ".join(unknown), remedy)
    for name in (*_FRAMES, *_HINTS):
        if name in pair:
            _check_frames(pair[name], name, 3 if name in _FRAMES else None if "places" in pair else 1)
            _check_like(pair[name], pair["frame"], name, "frame")
    if (hints := [name for name in _HINTS if name in pair]) and len(hints) < 2:
        _refuse("hints", "hint and next_hint", f"{hints[0]} alone", "Give both, or none.")
    if pair.get("motion") is not None:
        _check_motion(pair["motion"], several=True)
        _check_count(pair["motion"], pair["frame"], "motion", "frame")
    if "places" in pair and not (tf.as_dtype(pair["places"].dtype).is_integer and len(pair["places"].shape) == 2):
        received = f"{_dtype(pair['places'])} {_shape(pair['places'])}"
        _refuse("places", "int32 [batch, characters]", received, "Give the place of each character in memory, or -1.")
    return dict(pair)


def read_pair(data: Any, needs: tuple[str, ...] = _FRAMES[:2]) -> dict:
    """The pairs in what a dataset yields, checked by `check_pair`, as tensors, floats as float32."""
    pair = check_pair(data, needs)
    tensors = {name: tf.convert_to_tensor(value) for name, value in pair.items() if value is not None}
    return {name: tf.cast(x, tf.float32) if x.dtype.is_floating else x for name, x in tensors.items()}


def _check_frames(value: Any, name: str, channels: int | None = 3) -> None:
    """Frames are floats [batch, height, width, channels] in [0, 1].

    Args:
        value: the frames, or their spec.
        name: of the argument or key.
        channels: None allows any number.

    Raises:
        ValueError: they are something else.
    """
    expected = f"float32 [batch, height, width, {channels or 'channels'}] in [0, 1]"
    if not _is_float(value):
        received = f"{_dtype(value)} {_shape(value)}".strip()
        whole = hasattr(value, "dtype") and tf.as_dtype(value.dtype).is_integer
        _refuse(name, expected, received, f"Divide by 255: tf.cast({name}, tf.float32) / 255." if whole else "Cast it.")
    shape = tf.TensorShape(value.shape)
    if shape.rank is not None and shape.rank != 4:
        few = "Add a batch axis: dataset.batch(8), or frame[None]."
        _refuse(name, expected, _shape(value), few if shape.rank == 3 else "Give a batch of frames.")
    if channels and shape.rank and shape[-1] not in (channels, None):
        remedy = _channels_remedy(name, shape) if channels == 3 else "Give one channel, or one for each of places."
        _refuse(name, expected, _shape(value), remedy)
    low, high = _range(value)
    if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
        finite = np.isfinite([low, high]).all()
        received = f"values from {low:.4g} to {high:.4g}" if finite else "values that are not finite"
        scaled = "Divide by 255." if low >= -_OVERSHOOT else "Bring them to [0, 1]."
        _refuse(name, expected, received, scaled if finite else "Leave such frames out.")


def _check_motion(value: Any, name: str = "motion", several: bool = False) -> None:
    """Motions are finite floats [batch, 2, 3]; of `several` characters they may be [batch, K, 2, 3]."""
    shape = tf.TensorShape(value.shape)
    ranks = (3, 4) if several else (3,)
    if shape.rank is not None and (shape.rank not in ranks or not shape[-2:].is_compatible_with([2, 3])):
        _refuse(name, "[batch, 2, 3], forward", _shape(value), "affine.build makes one, motion[None] a batch of one.")
    if not _is_float(value):
        _refuse(name, "float32 [batch, 2, 3]", _dtype(value), f"Cast it: tf.cast({name}, tf.float32).")
    if not np.isfinite(_range(value)).all():
        _refuse(name, "finite numbers", "values that are not finite", "Leave such pairs out.")


def checked(method: Callable) -> Callable:
    """A method of a model that looks at its arguments first: `motion`, and all that are named `...frame`."""
    parameters = inspect.signature(method)

    @wraps(method)
    @tf.autograph.experimental.do_not_convert
    def looking(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(self, *args, **kwargs)
        given.arguments |= _checked_arguments(given.arguments)
        return method.__get__(self, type(self))(*given.args[1:], **given.kwargs)

    return looking


def _checked_arguments(given: Mapping) -> dict:
    """Those of the arguments that hold frames or motions, checked and as float32."""
    found = {}
    for name, value in given.items():
        if name == "motion" or name == "frame" or name.endswith("_frame"):
            value = np.asarray(value, np.float32) if isinstance(value, list | tuple) else value
            _check_motion(value) if name == "motion" else _check_frames(value, name)
            found[name] = tf.cast(value, tf.float32)
    if "next_frame" in found:
        _check_like(found["next_frame"], found["frame"], "next_frame", "frame")
    if "motion" in found:
        _check_count(found["motion"], found["character_frame"], "motion", "character_frame")
    if "background_frame" in found:  # it, or the other, may be one for all
        _check_like(found["background_frame"], found["character_frame"], "background_frame", "character_frame", 1)
    return found


def _unpacked(data: Any) -> Mapping:
    """The dict in a batch of a dataset, in which Keras puts None for targets and weights that were not given."""
    while isinstance(data, list | tuple) and data and all(rest is None for rest in data[1:]):
        data = data[0]
    if isinstance(data, Mapping):
        return data
    remedy = 'Name the frames: dataset.map(lambda a, b: {"frame": a, "next_frame": b}).'
    if isinstance(data, list | tuple) and data and isinstance(data[0], Mapping):
        remedy = "A pair has no target and no weight: give the dict alone."
    received = f"a tuple of {len(data)}" if isinstance(data, list | tuple) else type(data).__name__
    _refuse("a batch", "one dict with frame and next_frame", received, remedy)


def _check_like(value: Any, other: Any, name: str, like: str, first: int = 0) -> None:
    """Batch, height and width, or those from the axis `first` on, are those of another."""
    if not tf.TensorShape(value.shape[first:3]).is_compatible_with(other.shape[first:3]):
        _refuse(name, f"of the size of {like}, {_shape(other)}", _shape(value), "Resize one, or crop it.")


def _check_count(value: Any, other: Any, name: str, like: str) -> None:
    """There are as many as of another."""
    if not tf.TensorShape(value.shape[:1]).is_compatible_with(other.shape[:1]):
        _refuse(name, f"as many as {like}, {other.shape[0]}", value.shape[0], "Give one for each.")


def _channels_remedy(name: str, shape: tf.TensorShape) -> str:
    remedies = {4: f"Drop alpha: {name}[..., :3].", 1: f"Repeat the grey: tf.repeat({name}, 3, axis=-1)."}
    return "Move the channels last." if shape[1] == 3 else remedies.get(shape[-1], "Give RGB.")


def _is_float(value: Any) -> bool:
    return hasattr(value, "dtype") and tf.as_dtype(value.dtype).is_floating


def _range(value: Any) -> tuple[float, float]:
    """The least and the largest value; 0 and 0 where none are at hand, as in a graph."""
    at_hand = isinstance(value, np.ndarray) or (tf.is_tensor(value) and not tf.is_symbolic_tensor(value))
    if not at_hand or 0 in value.shape:
        return 0.0, 0.0
    values = np.asarray(value)
    return float(values.min()), float(values.max())


def _dtype(value: Any) -> str:
    return tf.as_dtype(value.dtype).name if hasattr(value, "dtype") else type(value).__name__


def _shape(value: Any) -> str:
    return str(tf.TensorShape(value.shape).as_list()) if hasattr(value, "shape") else ""


def _refuse(name: str, expected: str, received: Any, remedy: str) -> NoReturn:
    raise ValueError(f"{name} must be {expected}; received {received}. {remedy}")
