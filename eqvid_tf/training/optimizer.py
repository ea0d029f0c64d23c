"""The optimizer that training uses: Adam, and for kernels of convolutions Muon, which learns more in as many steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

MOMENTUM = 0.95
RATE = 0.2  # size of an update's values, so that Adam's learning rates fit
NARROW = 16  # output channels: kernels with fewer, as of heads, stay with Adam, which makes them useful sooner
QUINTIC = 3.4445, -4.7750, 2.0315  # coefficients of the iteration


@keras.saving.register_keras_serializable("eqvid_tf")
class Muon(keras.optimizers.Adam):
    """Adam, but a convolution's kernel moves along its orthogonalized momentum, as far in every direction.

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024), with a kernel
        [h, w, in, out] taken as a matrix [h w in, out]; the size of an update as in Liu et al., Muon is scalable for
        LLM training (2025).
    """

    def apply(self, grads: Sequence, trainable_variables: Sequence | None = None) -> None:
        """As in Keras, with the gradients summed over the devices before they are clipped, as those of one device are.

        Why: Keras clips those of each device and sums afterwards, so that two devices learn something else than one.
        """
        context = tf.distribute.get_replica_context()
        if context and context.num_replicas_in_sync > 1:
            summed = iter(context.all_reduce("SUM", [gradient for gradient in grads if gradient is not None]))
            grads = [gradient if gradient is None else next(summed) for gradient in grads]
        super().apply(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Sequence) -> Sequence:
        return grads_and_vars  # `apply` has summed them

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        if len(variable.shape) != 4 or variable.shape[-1] < NARROW:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign_add(momentum, (1 - MOMENTUM) * (gradient - momentum))
        ahead = (1 - MOMENTUM) * gradient + MOMENTUM * momentum
        update = orthogonal(ops.reshape(ahead, (-1, variable.shape[-1])))
        scale = RATE * max(update.shape) ** 0.5 * ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, ops.reshape(scale * update, variable.shape))


def orthogonal(matrix: tf.Tensor, steps: int = 5) -> tf.Tensor:
    """A matrix [m, n] with its singular values brought near 1, within 0.7 and 1.2; one of zeros stays so.

    Source: the quintic Newton-Schulz iteration of Jordan et al. (2024).
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x
