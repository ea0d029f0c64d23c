"""Whether two workers learn what one learns: the weights after 50 steps of the same batches, by one process and by two.

    python benchmarks/workers.py [--steps 50]      writes benchmarks/results/workers.json

The whole recipe (random labels, recomposed pairs, hints) on a drawn scene, with plain gradient descent and with the
optimizer of training. For scale: one process with one thread and with two, which differ by the order of additions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import record

from eqvid_tf.cli.local_workers import _free_ports
from eqvid_tf.training.cluster import cluster_config

RESULTS = Path(__file__).parent / "results" / "workers.json"
OPTIMIZERS = ("sgd", "muon")


def learn(optimizer: str, steps: int, path: str) -> None:
    """Train as a worker of TF_CONFIG, and write the weights, before and after, and the time of a step."""
    from eqvid_tf.training.workers import find_workers

    workers = find_workers()
    import time

    import keras

    from eqvid_tf.config import Config, ModelConfig, TrainConfig
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.training import train as training
    from eqvid_tf.training.callbacks import Clock
    from eqvid_tf.training.loop import run_loop

    class Times(keras.callbacks.Callback):
        at: list[float] = []

        def on_train_batch_end(self, batch, logs=None):
            self.at.append(time.perf_counter())

    clip = open_clip(os.environ["SCENE"], cache=None)
    train = TrainConfig(steps=steps, characters="1")
    config = training.configure(Config(model=ModelConfig(width=8), train=train), [clip])
    material = training.prepare([clip], config.model.canvas, lambda line: None)
    keras.utils.set_random_seed(0)
    with workers.strategy.scope():
        model = training.new_model(config, material.backgrounds)
        if optimizer == "sgd":
            model.compile(optimizer=keras.optimizers.SGD(0.01))
            model.optimizer.build(model.trainable_variables)
    weights = lambda: np.concatenate([weight.numpy().ravel() for weight in model.trainable_weights])
    before, clock, times = weights(), Clock(model, train, workers), Times()
    draw = lambda count, own: training._pairs(
        model, config, material, training.TrainingClips(), 0, replicas=count, own=own
    )
    run_loop(model, draw, clock, [clock, times], workers)
    np.savez(path, before=before, after=weights(), step=np.median(np.diff(times.at)))


def run(scene: Path, optimizer: str, steps: int, workers: int, threads: int, place: Path) -> dict:
    """The weights by so many processes."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    started = []
    for number in range(workers):
        environment = {**os.environ, "SCENE": str(scene), "TF_NUM_INTRAOP_THREADS": str(threads)}
        if workers > 1:
            environment["TF_CONFIG"] = cluster_config(addresses, number)
        command = [sys.executable, __file__, "--learn", optimizer, "--steps", str(steps)]
        started.append(subprocess.Popen([*command, "--path", str(place / f"{number}.npz")], env=environment))
    if any([process.wait() for process in started]):
        raise SystemExit("a worker failed")
    return dict(np.load(place / "0.npz"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--learn", choices=OPTIMIZERS, help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.learn:
        learn(args.learn, args.steps, args.path)
        return
    from eqvid_tf.synthetic.scenes import write_scenes

    figures: dict = {"steps": args.steps, "batch_size": 12}
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        (scene,) = write_scenes(place, {"walker": {"seed": 4, "size": [32, 48], "frames": 24}}, shots=0)
        for optimizer in OPTIMIZERS:
            one, two, threads = (
                run(scene, optimizer, args.steps, *setting, place) for setting in ((1, 1), (2, 1), (1, 2))
            )
            largest = lambda a, b: float(np.abs(a - b).max())
            figures[optimizer] = {
                "learned": largest(one["after"], one["before"]),
                "one_and_two_workers": largest(one["after"], two["after"]),
                "one_and_two_threads": largest(one["after"], threads["after"]),
                "step_ms": {"one": round(float(one["step"]) * 1e3, 1), "two": round(float(two["step"]) * 1e3, 1)},
            }
    record.write(args.output, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
