"""Maps of several characters, [B, K, h, w, c]: which is in front, and their sum."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from keras import ops


def fold(x: tf.Tensor) -> tf.Tensor:
    """[B, K, ...] as one batch [B K, ...]."""
    return ops.reshape(x, (-1, *ops.shape(x)[2:]))


def each(function: Callable, *maps: tf.Tensor) -> tf.Tensor:
    """A function of batches, applied to every character: [B, K, ...] -> [B, K, ...]."""
    out = function(*map(fold, maps))
    return ops.reshape(out, (-1, maps[0].shape[1], *ops.shape(out)[1:]))


def repeat(x: tf.Tensor, count: int) -> tf.Tensor:
    """The same for each of K characters: [B, ...] -> [B, K, ...]."""
    return ops.repeat(x[:, None], count, axis=1)


def by_character(masks: tf.Tensor) -> tf.Tensor:
    """Masks with a channel for each character [B, H, W, K] as [B, K, H, W, 1]."""
    return ops.transpose(masks, (0, 3, 1, 2))[..., None]


def others(coverage: tf.Tensor) -> tf.Tensor:
    """What all others cover: coverages [B, K, h, w, 1] -> the same shape."""
    return ops.sum(coverage, 1, keepdims=True) - coverage


def in_front(moved: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Who is in front of whom, from what a frame shows of each where two of them would lie.

    Shapes: coverages [B, K, h, w, 1], `moved` to where they are in the frame and `seen` there -> [B, K, K], 1 where
    the first is in front of the second; of two that nowhere overlap the later one.
    """
    both = ops.einsum("bjhwc,bkhwc->bjkhw", moved, moved)
    won = ops.einsum("bjkhw,bjhwc->bjk", both, seen)
    return _before(won, ops.transpose(won, (0, 2, 1)))


def lower_in_front(coverage: tf.Tensor) -> tf.Tensor:
    """Who is in front of whom where nothing tells: who reaches lower in the frame, and so is nearer on the ground.

    Shapes: coverages [B, K, h, w, 1] -> [B, K, K].
    """
    rows = ops.max(ops.cast(coverage, "float32")[..., 0], 3)  # [B, K, h]
    place = ops.arange(ops.shape(rows)[2], dtype="float32") + 1
    lowest = ops.max(ops.where(rows > 0.5, place, 0.0), 2)
    return _before(lowest[:, :, None], lowest[:, None])


def _before(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """1 where the first of two has more, or is the later one of equals; [B, K, K]."""
    count = max(one.shape[1], other.shape[2])
    later = ops.arange(count)[:, None] > ops.arange(count)[None]
    return ops.stop_gradient(ops.cast((one > other) | ((one == other) & later), one.dtype))


def order(front: tf.Tensor) -> tf.Tensor:
    """The characters from the back to the front, int32 [B, K], from who is in front of whom [B, K, K]."""
    return ops.cast(ops.argsort(ops.sum(front, 2), axis=1), "int32")


def stack(layers: tf.Tensor, coverage: tf.Tensor, front: tf.Tensor | None) -> tf.Tensor:
    """The sum of the layers, each as far as those in front of it leave room: coverages add up to 1 at the most.

    Where they do anyway, as the shares of one frame do, it is the plain sum.

    Shapes: layers [B, K, h, w, c], coverages [B, K, h, w, 1], front [B, K, K], or None of one -> [B, h, w, c].
    """
    if front is None:
        return layers[:, 0]
    room = 1 - ops.einsum("bjk,bjhwc->bkhwc", front, coverage)
    return ops.sum(layers * ops.clip(room / ops.maximum(coverage, 1e-3), 0, 1), 1)
