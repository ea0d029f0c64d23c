"""What the devices that train one model together share of a batch: its random numbers, and its order.

The rows of a batch are dealt to the R devices as cards are: the r-th gets rows r, r + R, r + 2 R, ... So the first half
of a device's rows is its part of the first half of the batch, and what is made of the rows depends on no number of
devices. Alone, or outside of a training step, a device has all rows.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops


def _context() -> Any:
    """The replica that the step runs on; None outside of a step, and where it is the only one."""
    context = tf.distribute.get_replica_context()
    return context if context and context.num_replicas_in_sync > 1 else None


def uniform(key: keras.random.SeedGenerator, shape: tuple, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    """Random numbers in [low, high) for each row: those that one device would draw for the whole batch.

    Shapes: [rows, ...].
    """
    context = _context()
    if not context:
        return keras.random.uniform(shape, low, high, seed=key)
    count = context.num_replicas_in_sync
    drawn = keras.random.uniform((shape[0] * count, *shape[1:]), low, high, seed=key)
    return ops.reshape(drawn, (shape[0], count, *shape[1:]))[:, context.replica_id_in_sync_group]


def row_before(x: tf.Tensor) -> tf.Tensor:
    """Of each row the one before it in the batch, and of the first the last: [rows, ...], without a gradient."""
    context = _context()
    if not context:
        return ops.roll(x, 1, axis=0)
    everyone = context.all_gather(x[None], axis=0)  # [replicas, rows, ...]
    whole = ops.reshape(ops.swapaxes(everyone, 0, 1), (-1, *x.shape[1:]))
    return ops.roll(whole, 1, axis=0)[context.replica_id_in_sync_group :: context.num_replicas_in_sync]
