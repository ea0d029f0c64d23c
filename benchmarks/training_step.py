"""One training step (known motion, three losses, Adam) against the same networks written in PyTorch, in one run.

    python benchmarks/training_step.py [--output benchmarks/results/training_step.json]

Needs torch (2.13 was run). The networks are those of the partition with their defaults: same layers, same shapes, same
batch; the two take turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from record import write

BATCH, SIZE, WIDTH, CHANNELS = 12, 64, 16, 4


def ours():
    import keras
    import tensorflow as tf

    from eqvid_tf.config import ModelConfig
    from eqvid_tf.core.model import EquivariantVideoModel

    model = EquivariantVideoModel(
        ModelConfig(estimator="known", canvas=(SIZE, SIZE), width=WIDTH, channels=CHANNELS, cubic=False)
    )
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    step = tf.function(model.train_step, autograph=False)
    batch = {key: tf.constant(value) for key, value in data().items()}
    return lambda: float(step(batch)["loss"])


def data() -> dict:
    rng = np.random.default_rng(0)
    frames = {
        key: rng.random((BATCH, SIZE, SIZE, 3), np.float32) for key in ("frame", "next_frame", "background_frame")
    }
    motion = np.tile(np.eye(2, 3, dtype=np.float32), (BATCH, 1, 1)) + rng.normal(0, 0.1, (BATCH, 2, 3)).astype(
        np.float32
    )
    return frames | {"motion": motion}


def theirs():
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(2)

    class Trunk(nn.Module):
        def __init__(self, width, levels=3):
            super().__init__()
            sizes = [width * (i + 1) for i in range(levels + 1)]
            conv = lambda a, b, k: nn.Conv2d(a, b, k, padding=k // 2)
            self.down = nn.ModuleList([conv(a, b, 3) for a, b in zip([3, *sizes], sizes)])
            self.deep = conv(sizes[-1], sizes[-1], 3)
            self.narrow = nn.ModuleList([conv(a, b, 1) for a, b in zip(sizes[::-1], sizes[-2::-1])])
            self.up = nn.ModuleList([conv(b, b, 3) for b in sizes[-2::-1]])

        def forward(self, x):
            skips = []
            for layer in self.down[:-1]:
                skips.append(F.relu(layer(x)))
                x = F.avg_pool2d(skips[-1], 2)
            x = F.relu(self.deep(F.relu(self.down[-1](x))))
            for narrow, up in zip(self.narrow, self.up):
                x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear", align_corners=False) + skips.pop()
                x = F.relu(up(x))
            return x

    soft = lambda z: torch.sigmoid(6 * torch.tanh(z / 6))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.ft, self.fh = Trunk(WIDTH), nn.Conv2d(WIDTH, 1 + CHANNELS, 3, padding=1)
            self.ht, self.hh = Trunk(WIDTH // 2), nn.Conv2d(WIDTH // 2, 1, 3, padding=1)
            self.pictures = nn.Parameter(torch.rand(1, 3, SIZE, SIZE))
            self.g1, self.g2 = nn.Conv2d(7 + CHANNELS, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 3, 3, padding=1)

        def f(self, x):
            out = self.fh(self.ft(x - 0.5))
            p = soft(out[:, :1] - 2)
            return F.pad(p * torch.cat([x, torch.ones_like(p), torch.tanh(out[:, 1:])], 1), (0, 0, 0, 0, 0, 3))

        def h(self, x):
            m = soft(self.hh(self.ht(x - 0.5)))
            apart = (x[:, None] - self.pictures[None]).abs().clamp(max=0.2)
            like = torch.softmax(-100 * apart.mean((2, 3, 4)), -1).detach()
            recalled = torch.einsum("bk,kchw->bchw", like, self.pictures)
            return F.pad((1 - m) * x + m * recalled, (0, 0, 0, 0, 4 + CHANNELS, 0))

        def g(self, z):
            return z[:, :3] + (1 - z[:, 3:4]) * z[:, -3:] + self.g2(F.relu(self.g1(z)))

        def forward(self, x, x2, other, theta):
            fx, fx2 = self.f(torch.cat([x, x2])).chunk(2)
            hx, hx2 = self.h(torch.cat([other, x2])).chunk(2)
            warp = lambda z: F.grid_sample(z, F.affine_grid(theta, z.shape, align_corners=False), align_corners=False)
            moved, inside = warp(fx), warp(torch.ones_like(fx[:, :1]))
            scene = (self.g(moved + hx) - x2).abs().mean()
            character = ((moved - fx2).abs() * inside).mean() / inside.mean()
            return 10 * scene + 2 * character + 2 * (hx - hx2).abs().mean()

    batch = data()
    motion = np.concatenate([batch.pop("motion"), np.tile([[[0, 0, 1]]], (BATCH, 1, 1))], 1)
    theta = torch.tensor(np.linalg.inv(motion)[:, :2].astype(np.float32))
    frames = [torch.tensor(value.transpose(0, 3, 1, 2).copy()) for value in batch.values()]
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)

    def step():
        optimizer.zero_grad()
        loss = model(*frames, theta)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results/training_step.json")
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    steps = {"eqvid_tf": ours(), "torch": theirs()}
    times: dict = {name: [] for name in steps}
    for turn in range(args.rounds + 3):
        for name, step in steps.items():
            step()  # unmeasured: PyTorch's threads spin on for a while after the other's call
            began = time.perf_counter()
            step()
            if turn >= 3:
                times[name].append((time.perf_counter() - began) * 1e3)
    ratios = np.array(times["eqvid_tf"]) / np.array(times["torch"])
    quartiles = lambda values: dict(
        zip(("low", "median", "high"), np.round(np.percentile(values, (25, 50, 75)), 3).tolist())
    )
    figures = {
        "batch": BATCH,
        "size": SIZE,
        "rounds": args.rounds,
        "milliseconds": {k: quartiles(v) for k, v in times.items()},
        "ratio_to_torch": quartiles(ratios),
    }
    write(args.output, figures)
    print(figures)


if __name__ == "__main__":
    main()
