"""Times the spatial transformer against PyTorch's affine_grid and grid_sample, on the CPU, in one process.

    pip install torch
    python benchmarks/sampler.py

Ours is one call of a `tf.function`, PyTorch's one call from Python. The subjects take turns: in each round each is
called twice unmeasured (PyTorch's threads spin on for a while after a call, and would be timed with the next), then
timed a few times. A ratio is ours / PyTorch's, of the medians in one round; below 1 ours is faster.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import record
import tensorflow as tf

from eqvid_tf.core import affine
from eqvid_tf.core.sampler import warp

SHAPES = ((16, 16, 16, 32), (16, 32, 32, 32), (16, 64, 64, 16))


def arrays(shape, seed=0):
    """Features, theta and an upstream gradient: turns, zooms and shifts that leave most of the map in view."""
    rng = np.random.default_rng(seed)
    features, upstream = rng.normal(size=(2, *shape)).astype("float32")
    draw = {"shift": rng.uniform(-0.3, 0.3, (shape[0], 2)), "turn": rng.uniform(-1.0, 1.0, shape[0])}
    motion = affine.build(**draw, zoom=rng.uniform(0.7, 1.4, shape[0]))
    return features, affine.invert(motion).numpy().astype("float32"), upstream


def ours(features, theta, upstream):
    features, theta, upstream = tf.constant(features), tf.constant(theta), tf.constant(upstream)
    forward = tf.function(warp)

    @tf.function
    def both(features, theta):
        with tf.GradientTape() as tape:
            tape.watch([features, theta])
            values = warp(features, theta)
        return values, *tape.gradient(values, [features, theta], upstream)

    empty = tf.function(lambda theta: theta + 1.0)
    return {
        "ours forward": lambda: forward(features, theta),
        "ours forward+backward": lambda: both(features, theta),
        "empty tf.function": lambda: empty(theta),
    }


def theirs(torch, features, theta, upstream):
    features, upstream = (torch.tensor(value).permute(0, 3, 1, 2).contiguous() for value in (features, upstream))
    theta = torch.tensor(theta)
    watched = features.clone().requires_grad_(), theta.clone().requires_grad_()

    def sample(features, theta):
        grid = torch.nn.functional.affine_grid(theta, features.shape, align_corners=False)
        return torch.nn.functional.grid_sample(features, grid, padding_mode="zeros", align_corners=False)

    def forward():
        with torch.no_grad():
            return sample(features, theta)

    def both():
        values = sample(*watched)
        return values, *torch.autograd.grad(values, watched, upstream)

    return {"torch forward": forward, "torch forward+backward": both}


def check(subjects):
    """Refuses to time two things that do not do the same."""
    for name in ("forward", "forward+backward"):
        one, other = subjects[f"ours {name}"](), subjects[f"torch {name}"]()
        pairs = zip(one, other) if name == "forward+backward" else [(one, other)]
        for value, expected in pairs:
            expected = expected.detach().numpy()
            expected = np.moveaxis(expected, 1, -1) if expected.ndim == 4 else expected
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))


def timed(subjects, rounds, calls):
    """Milliseconds per call, [rounds, calls] for each subject."""
    times = {name: np.zeros((rounds, calls)) for name in subjects}
    for turn in range(rounds):
        for name, call in subjects.items():
            call(), call()
            for k in range(calls):
                start = time.perf_counter()
                call()
                times[name][turn, k] = 1e3 * (time.perf_counter() - start)
    return times


def spread(values):
    low, middle, high = (round(float(value), 3) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return {"median": middle, "quartiles": [low, high], "least": round(float(np.min(values)), 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="benchmarks/results/sampler.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--calls", type=int, default=5, help="timed calls of a subject per round")
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("sampler.py: PyTorch is what it compares with; pip install torch", file=sys.stderr)
        return 2
    torch.set_num_threads(args.threads)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    figures = {"threads": args.threads, "rounds": args.rounds, "calls_per_round": args.calls, "shapes": {}}
    for shape in SHAPES:
        inputs = arrays(shape)
        subjects = ours(*inputs) | theirs(torch, *inputs)
        check(subjects)
        times = timed(subjects, args.rounds, args.calls)
        found = {"milliseconds": {name: spread(values) for name, values in times.items()}, "ratio": {}}
        for name in ("forward", "forward+backward"):
            one, other = times[f"ours {name}"], times[f"torch {name}"]
            found["ratio"][name] = spread(np.median(one, axis=1) / np.median(other, axis=1))
            found["ratio"][name]["of_least"] = round(float(one.min() / other.min()), 3)
            print(
                f"{list(shape)} {name}: ours {np.median(one):.2f} ms, torch {np.median(other):.2f} ms, "
                f"ratio {found['ratio'][name]['median']:.2f} (of the least: {found['ratio'][name]['of_least']:.2f})"
            )
        figures["shapes"]["x".join(map(str, shape))] = found
    record.write(args.output, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
