"""How fast clips come in: frames per second into the cache, pairs per second out of it.

    python benchmarks/input_pipeline.py            writes benchmarks/results/input_pipeline.json

The clips are drawn here, noise on noise: harder to decode than most films.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import record

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.pairs import pairs
from eqvid_tf.data.readers import examine
from eqvid_tf.data.writers import write_video
from eqvid_tf.pixels.canvas import canvas_for

RESULTS = Path(__file__).parent / "results" / "input_pipeline.json"
SIZE, COUNT = (480, 640), 200


def drawn(seed: int) -> Iterator[np.ndarray]:
    """A textured square that moves over a textured background."""
    rng = np.random.default_rng(seed)
    background, square = (rng.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in ((60, 80), (20, 20)))
    background, square = (texture.repeat(8, axis=0).repeat(8, axis=1) for texture in (background, square))
    for k in range(COUNT):
        frame = background.copy()
        frame[100:260, 2 * k : 2 * k + 160] = square
        yield frame


def timed(count: int, work: Callable[[], object], rounds: int) -> dict[str, float]:
    """Items per second of `work`, which handles `count` of them; a round ahead warms up."""
    rates = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - begin))
    rates = sorted(round(rate) for rate in rates[1:])
    return {"median": statistics.median(rates), "lowest": rates[0], "highest": rates[-1], "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.mp4" for k in range(3)]
        for k, path in enumerate(paths):
            write_video(path, drawn(k), 25)
        cached = [open_clip(path, cache=folder) for path in paths]
        canvas = canvas_for(SIZE, 64)
        figures = {
            "clip": f"{COUNT} frames of {SIZE[1]}x{SIZE[0]}, H.264",
            "canvas": list(canvas),
            "examine, frames/s": timed(COUNT, lambda: examine(paths[0]), options.rounds),
            "decode and keep, frames/s": timed(
                COUNT, lambda: open_clip(paths[0], cache=None).arrays(canvas), options.rounds
            ),
            "frames at own size, frames/s": timed(COUNT, lambda: sum(1 for _ in cached[0]), options.rounds),
        }
        for name, side in (("64x64", (64, 64)), ("canvas", canvas)):
            batches = iter(pairs(cached, side, batch_size=16))
            draw = functools.partial(lambda batches: [next(batches)["frame"].shape for _ in range(200)], batches)
            figures[f"pairs of batch 16 on {name}, pairs/s"] = timed(200 * 16, draw, options.rounds)
    record.write(options.output, figures)


if __name__ == "__main__":
    main()
