"""How long a range of a long clip takes to open and to inspect, beside what the whole clip takes to open.

    python benchmarks/frame_range.py               writes benchmarks/results/frame_range.json

Before ranges were read alone, each of them took as long as the whole clip. The clip is drawn here, 20 minutes of H.264.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import record

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import write_video

RESULTS = Path(__file__).parent / "results" / "frame_range.json"
SIZE, FPS, MINUTES = (120, 160), 25, 20
RANGES = (0, 100), (15_000, 15_100), (29_800, 29_900)


def drawn(count: int) -> Iterator[np.ndarray]:
    """A textured square that goes to and fro over a textured background."""
    rng = np.random.default_rng(0)
    background, square = (rng.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in ((15, 20), (5, 5)))
    background, square = (texture.repeat(8, axis=0).repeat(8, axis=1) for texture in (background, square))
    for k in range(count):
        frame, left = background.copy(), abs(k % 240 - 120)
        frame[40:80, left : left + 40] = square
        yield frame


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def paired(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each piece of work, all in turn in each round, and their ratio to the first in the same round."""
    times = [{name: seconds(one) for name, one in work.items()} for _ in range(rounds)]
    first = next(iter(work))
    figures = {}
    for name in work:
        taken, ratios = sorted(row[name] for row in times), sorted(row[name] / row[first] for row in times)
        figures[name] = {
            "seconds": round(statistics.median(taken), 3),
            "lowest": round(taken[0], 3),
            "highest": round(taken[-1], 3),
            "of the whole": round(statistics.median(ratios), 4),
            "of the whole, from": round(ratios[0], 4),
            "of the whole, to": round(ratios[-1], 4),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        write_video(path, drawn(60 * FPS * MINUTES), FPS)
        command = [sys.executable, "-m", "eqvid_tf.cli", "inspect", str(path), "--cache", "none", "--frames"]
        inspect = lambda cut: subprocess.run([*command, f"{cut[0]}:{cut[1]}"], check=True, capture_output=True)
        work = {"open, whole": lambda: open_clip(path, cache=None)}
        for cut in RANGES:
            work[f"open, frames {cut[0]}:{cut[1]}"] = lambda cut=cut: open_clip(path, frames=cut, cache=None)
        work["eqvid inspect --frames 0:100, from the cold process"] = lambda: inspect(RANGES[0])
        figures = paired(work, options.rounds)
        size = f"{60 * FPS * MINUTES} frames of {SIZE[1]}x{SIZE[0]}, H.264, {path.stat().st_size >> 20} MiB"
    record.write(options.output, {"clip": size, "rounds": options.rounds, **figures})


if __name__ == "__main__":
    main()
