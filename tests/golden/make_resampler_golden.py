"""Writes resampler.npz: what tensorflow-addons says a warp is, for `tests/test_layers.py` to hold `eqvid_tf` against.

tensorflow-addons reached its end of life and does not import beside the TensorFlow that `eqvid_tf` runs on, so this
script stands alone, in an environment of its own (Python 3.11):

    pip install tensorflow==2.15.1 tensorflow-addons==0.23.0 numpy==1.26.4
    python tests/golden/make_resampler_golden.py
"""

import json
import pathlib
import platform

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

# name: frame (height, width), target (height, width), turn, zoom, shear, shift; all of the backward theta
CASES = {
    "identity": ((8, 8), (8, 8), 0.0, 1.0, 0.0, (0.0, 0.0)),
    "shift": ((8, 8), (8, 8), 0.0, 1.0, 0.0, (0.37, -0.21)),
    "turn": ((9, 9), (9, 9), 0.7, 1.0, 0.0, (0.0, 0.0)),
    "zoom_out": ((7, 10), (7, 10), 0.2, 1.9, 0.0, (0.1, 0.0)),
    "zoom_in": ((10, 7), (10, 7), -0.4, 0.45, 0.1, (0.15, 0.1)),
    "wide": ((6, 15), (6, 15), 1.2, 0.8, -0.3, (-0.2, 0.3)),
    "tall": ((16, 5), (16, 5), -2.0, 1.1, 0.2, (0.0, -0.4)),
    "half_stride": ((8, 12), (16, 24), 0.3, 1.0, 0.0, (0.05, 0.05)),
    "double_stride": ((16, 12), (8, 6), -0.3, 1.2, 0.0, (0.0, 0.1)),
    "other_aspect": ((9, 12), (11, 5), 0.5, 1.0, 0.2, (-0.3, 0.2)),
    "mirror": ((8, 10), (8, 10), 0.1, -1.0, 0.0, (0.02, 0.03)),
    "far_outside": ((6, 6), (6, 6), 0.0, 1.0, 0.0, (3.0, 0.0)),
}


def backward(size, turn, zoom, shear, shift):
    """Theta [2, 3] in normalized coordinates (outer edges at -1 and +1), orthonormal on square pixels."""
    aspect = size[1] / size[0]
    cos, sin = np.cos(turn), np.sin(turn)
    linear = zoom * np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    linear = linear * np.array([[1.0, 1.0 / aspect], [aspect, 1.0]])
    return np.concatenate([linear, np.reshape(shift, (2, 1))], axis=1)


def points(size):
    """Centres (x, y, 1) of the pixels of a target, [height, width, 3]."""
    y, x = ((np.arange(side) + 0.5) * 2.0 / side - 1.0 for side in size)
    return np.stack([*np.meshgrid(x, y), np.ones(size)], axis=-1)


def golden(rng, frame, target, turn, zoom, shear, shift, batch=2, channels=3):
    """Values and both gradients of resampler, and in the interior of the two samplers that clamp outside."""
    theta = np.stack([backward(frame, turn, zoom, shear, shift)] * batch)
    theta[1] += rng.normal(scale=0.02, size=(2, 3))
    theta = theta.astype("float32")
    features = rng.normal(size=(batch, *frame, channels)).astype("float32")
    upstream = rng.normal(size=(batch, *target, channels)).astype("float32")
    per_pixel = np.array([frame[1], frame[0]]) / 2.0  # pixels of the frame per unit of (x, y)
    grid = np.einsum("bij,hwj->bhwi", theta.astype("float64"), points(target))
    grid = ((grid + 1.0) * per_pixel - 0.5).astype("float32")  # pixel indices (x, y), as resampler takes them
    with tf.GradientTape() as tape:
        inputs = tf.constant(features), tf.constant(grid)
        tape.watch(inputs)
        values = tfa.image.resampler(*inputs)
    of_features, of_grid = tape.gradient(values, inputs, upstream)
    of_theta = np.einsum("bhwi,hwj->bij", of_grid.numpy().astype("float64") * per_pixel, points(target))
    found = {"features": features, "theta": theta, "upstream": upstream, "values": values.numpy()}
    found |= {"of_features": of_features.numpy(), "of_theta": of_theta}
    query = tf.reshape(grid[..., ::-1], [batch, -1, 2])
    bilinear = tfa.image.interpolate_bilinear(inputs[0], query, indexing="ij")
    found["bilinear"] = bilinear.numpy().reshape(values.shape)
    if frame == target:
        rows, columns = np.meshgrid(*(np.arange(side) for side in frame), indexing="ij")
        flow = np.stack([rows, columns], axis=-1) - grid[..., ::-1]  # dense_image_warp reads at p - flow
        found["dense"] = tfa.image.dense_image_warp(inputs[0], flow.astype("float32")).numpy()
    inside = (grid >= 0.0) & (grid <= np.array([frame[1], frame[0]]) - 1.0)
    return found | {"interior": inside.all(axis=-1)}


def main():
    rng = np.random.default_rng(0)
    found = {f"{name}/{key}": value for name, case in CASES.items() for key, value in golden(rng, *case).items()}
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    versions |= {"tensorflow": tf.__version__, "tensorflow-addons": tfa.__version__}
    path = pathlib.Path(__file__).with_name("resampler.npz")
    np.savez_compressed(path, versions=json.dumps(versions), **found)
    print(f"{path.name}: {len(CASES)} cases, {path.stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
