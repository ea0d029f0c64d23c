"""Muon: what it does to a kernel, and that all else is Adam's."""

import keras
import numpy as np
import pytest

from eqvid_tf.training.optimizer import RATE, Muon, orthogonal

RATE_OF_LEARNING = 1e-2


def stepped(optimizer, shape, steps=3):
    """What so many steps of different gradients make of a variable of zeros."""
    rng = np.random.default_rng(0)
    variable = keras.Variable(np.zeros(shape, "float32"))
    for _ in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))], [variable])
    return np.asarray(variable)


@pytest.mark.parametrize("shape", [(18, 16), (8, 40)], ids=["tall", "wide"])
def test_singular_values_come_near_one(shape):
    left, _, right = np.linalg.svd(np.random.default_rng(0).normal(size=shape), full_matrices=False)
    sizes = np.geomspace(1, 0.05, min(shape))
    found = np.asarray(orthogonal(keras.ops.convert_to_tensor((left * sizes @ right).astype("float32"))))
    np.testing.assert_allclose(np.diag(left.T @ found @ right.T), 1, atol=0.35)
    np.testing.assert_array_equal(orthogonal(keras.ops.zeros(shape)), 0)


def test_a_kernel_moves_as_far_in_every_direction():
    moved = stepped(Muon(RATE_OF_LEARNING), (3, 3, 4, 16), steps=1).reshape(36, 16)
    sizes = np.linalg.svd(moved, compute_uv=False) / (RATE_OF_LEARNING * RATE * 6)
    assert 0.65 < sizes.min() and sizes.max() < 1.25, sizes


@pytest.mark.parametrize("shape", [(8,), (12, 8), (3, 3, 4, 8)], ids=["bias", "dense", "head"])
def test_all_else_is_adams(shape):
    np.testing.assert_array_equal(
        stepped(Muon(RATE_OF_LEARNING), shape), stepped(keras.optimizers.Adam(RATE_OF_LEARNING), shape)
    )


def test_its_state_is_saved_with_a_model(tmp_path):
    """A training that is resumed goes on as one that was never stopped."""
    frames, wanted = np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)).astype("float32")

    def fitted(model, epochs):
        model.fit(
            frames, wanted[:, :, :, :1] * np.ones((1, 1, 1, 16), "float32"), epochs=epochs, shuffle=False, verbose=0
        )
        return model

    keras.utils.set_random_seed(0)
    start = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(16, 3, padding="same")])
    start.compile(Muon(RATE_OF_LEARNING), loss="mse")
    fitted(start, 2).save(tmp_path / "two.keras")
    resumed = fitted(keras.saving.load_model(tmp_path / "two.keras"), 2)
    for one, other in zip(fitted(start, 2).get_weights(), resumed.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-6)
