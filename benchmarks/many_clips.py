"""One model of a thousand clips on one machine: time to prepare, time of a step, memory, and the shortlist of recall.

    python benchmarks/many_clips.py clips/ [--clips 10 100 300 1000] [--steps 40]
    python benchmarks/many_clips.py clips/ --quality 20        (steps for each clip; hours for many clips)

Draws clips of 24 frames at 64 px into the folder, those that are not there yet, and trains a model of the first N in a
process of its own for each N. The first run writes the decoded frames into the cache, the others find them there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import numpy as np
import record

from eqvid_tf.pixels.sheets import text_table

RESULTS = Path(__file__).parent / "results" / "many_clips.json"
SIZE, FRAMES, SCORED = (64, 64), 24, 10
LOOKED_AT = 200  # clips whose frames are looked up among all stored backgrounds


def draw(folder: Path, count: int) -> list[Path]:
    """Draw the clips that are not there yet; the first few with shots, for a score."""
    from eqvid_tf.synthetic.scenes import draw_scene, write_scene

    places = [folder / f"{number:04d}" for number in range(count)]
    for number, place in enumerate(places):
        if not (place / "shots.json").is_file():
            scene = draw_scene(number, size=SIZE, frames=FRAMES, resolution=64)
            write_scene(place, scene, shots=4 if number < SCORED else 0, seed=number, overwrite=True)
    return places


def measure(places: list[Path], steps: int) -> dict:
    """Prepare clips and train a model of them for some steps, in turn with one of the first ten: times and memory."""
    from eqvid_tf.config import Config, TrainConfig
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.training import train as training
    from eqvid_tf.training.hints import refresh_hints

    began = _now()
    clips = [open_clip(place / "frames") for place in places]
    config = training.configure(Config(train=TrainConfig(characters="1")), clips)
    material = training.prepare(clips, config.model.canvas, lambda line: None)
    prepared = np.subtract(_now(), began)
    model, step = stepping(config, material)
    began = _now()
    step()
    first, memory = np.subtract(_now(), began), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    alone, ten = took(steps, step), stepping(config, first_of(material, SCORED))[1]
    ten()
    pairs = np.array([[*took(1, step)[0], *took(1, ten)[0]] for _ in range(steps)])
    frames, background, noise = material.frames[0], material.backgrounds[0], material.clips[0].noise
    refresh = lambda: refresh_hints(model, frames, background, None, noise)
    refresh()  # traces what it needs
    figures = {
        "prepare_s": prepared[0],
        "prepare_processor_s": prepared[1],
        "first_step_processor_s": first[1],
        "step_ms": np.median(alone[:, 0]) * 1e3,
        "step_processor_ms": np.median(alone[:, 1]) * 1e3,
        "step_to_that_of_ten": np.median(pairs[:, 0] / pairs[:, 2]),
        "processor_to_that_of_ten": np.median(pairs[:, 1] / pairs[:, 3]),
        "refresh_processor_s_a_clip": took(1, refresh)[0, 1],
        "largest_memory_mb": memory,
    }
    rounded = {name: round(float(value), 2) for name, value in figures.items()}
    return {"clips": len(places), **rounded, "recall": recalled(model, material)}


def first_of(material, count: int):
    """The first clips of a training."""
    parts = {name: getattr(material, name)[:count] for name in ("clips", "frames", "hints", "backgrounds", "hidden")}
    return dataclasses.replace(material, **parts, clip_of=list(material.clip_of)[:count])


def stepping(config, material) -> tuple:
    """A model of clips, and a function that trains it for a step."""
    from eqvid_tf.training import train as training
    from eqvid_tf.training.loop import _traced
    from eqvid_tf.training.workers import Workers

    config = dataclasses.replace(config, model=config.model.with_clips(material.clip_of))
    model = training.new_model(config, material.backgrounds)
    batches = iter(training._pairs(model, config, material, training.TrainingClips(), 0))
    step = _traced(model, Workers())
    return model, lambda: float(step(next(batches))["loss"])


def took(count: int, work: Callable[[], object]) -> np.ndarray:
    """Seconds on the clock, and of the processor, of each of some calls: [count, 2]."""
    times = [_now()]
    for _ in range(count):
        work()
        times.append(_now())
    return np.diff(times, axis=0)


def _now() -> tuple[float, float]:
    """Seconds on the clock, and of processor time, which says more where others use the machine, too."""
    return time.perf_counter(), time.process_time()


def recalled(model, material) -> dict:
    """How often the own background of a frame is on its shortlist, and how far the recalled one is from it."""
    from eqvid_tf.blocks.memory import SHORT, match_pictures

    count, on_list, errors = len(material.frames), [], []
    for number in range(0, count, max(1, count // LOOKED_AT)):
        frames = material.frames[number][[0, FRAMES // 2, FRAMES - 1]] / np.float32(255)
        match = match_pictures(frames, model.h.pictures)
        places = np.tile(np.arange(count), (len(frames), 1)) if match.places is None else match.places.numpy()
        on_list.append((places == number).any(1))
        difference = match.recall(model.h.pictures, SIZE).numpy() - model.h.pictures[number].numpy()
        errors.append(float(np.abs(difference).mean()) * 255)
    share, error = float(np.mean(on_list)), float(np.mean(errors))
    return {"shortlist": min(SHORT, count), "own_is_on_it": round(share, 4), "mean_error_of_255": round(error, 3)}


def alone(folder: Path, count: int, steps: int) -> dict:
    """`measure` in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, str(folder), "--only", str(count), "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def quality(folder: Path, counts: list[int], steps: int) -> dict:
    """Scores of the same ten scenes by models of N clips, each trained for so many steps a clip."""
    figures = {}
    for count in counts:
        places = [str(folder / f"{number:04d}") for number in range(count)]
        with tempfile.TemporaryDirectory() as work:
            run, scores = f"{work}/run", Path(work) / "scores.json"
            eqvid = [sys.executable, "-m", "eqvid_tf.cli"]
            train = [*eqvid, "train", *(f"{place}/frames" for place in places), "--output", run, "--characters", "1"]
            subprocess.run([*train, "--steps", str(steps * count)], check=True)
            subprocess.run([*eqvid, "evaluate", run, *places[:SCORED], "--json", str(scores)], check=True)
            figures[str(count)] = json.loads(scores.read_text())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the drawn clips")
    parser.add_argument("--clips", type=int, nargs="+", default=[10, 100, 300, 1000])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--quality", type=int, default=0, metavar="N", help="score models trained for N steps a clip")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(draw(args.folder, args.only), args.steps)))
        return
    draw(args.folder, max(args.clips))
    figures = json.loads(args.output.read_text()) if args.output.is_file() else {}
    figures.pop("environment", None)
    if args.quality:
        figures["quality"] = {"steps_a_clip": args.quality, **quality(args.folder, args.clips, args.quality)}
    else:
        figures["rows"] = []
        for count in args.clips:
            figures["rows"].append(alone(args.folder, count, args.steps))
            record.write(args.output, figures)
        names = ["clips", "prepare_processor_s", "first_step_processor_s", "step_processor_ms", "step_ms"]
        names += ["step_to_that_of_ten", "processor_to_that_of_ten", "refresh_processor_s_a_clip", "largest_memory_mb"]
        print(text_table([[row[name] for name in names] for row in figures["rows"]], names, digits=1))
    record.write(args.output, figures)


if __name__ == "__main__":
    main()
