"""How long the commands take that a person waits for, from the cold process, beside another commit in the same run.

    git worktree add ../before COMMIT
    python benchmarks/speed.py --before ../before
    python benchmarks/speed.py --before ../before --run runs/walk --clip walk.mp4 [--frames A:B]
    python benchmarks/speed.py --before ../before --camera hike.mp4 walk.mp4
    python benchmarks/speed.py --before ../before --train SCENE...

Each command runs in a process of its own, in turn of this commit and of the other, so that both meet the same machine.
Of each row: seconds on the clock, seconds of processor time (which says more where others use the machine, too), and
the largest memory, each with its smallest and its largest value. The rows at 64 pixels are of a drawn scene and a
shipped model; those of a clip are of a model that was trained on it before; --camera measures the cameras of clips
alone, on the clock without the start-up of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import record

from eqvid_tf.data.clips import open_clip
from eqvid_tf.pixels.sheets import text_table

ROOT = Path(__file__).parents[1]
MODEL, SCENE = "drawn", "walker"
MOTION = "own"  # of the clip itself: as long as the clip
CAMERA = """
import sys, time
from eqvid_tf.camera.measure import measure
from eqvid_tf.data.clips import open_clip
start = time.perf_counter()
measure(open_clip(sys.argv[1], cache=None))
print("took", time.perf_counter() - start)
"""
# Trains until so many steps are done; when each was, since the start, goes to RUN/took.json, the last to stdout.
FIRST_STEPS = """
import json, os, sys, time
from pathlib import Path
start, times, count = time.perf_counter(), [], int(sys.argv.pop(1))
from eqvid_tf.cli import main
from eqvid_tf.training.callbacks import Clock
done = Clock.on_train_batch_end
def on_train_batch_end(self, batch, logs=None):
    done(self, batch, logs)
    times.append(time.perf_counter() - start)
    if len(times) == count:
        Path(sys.argv[sys.argv.index("--output") + 1], "took.json").write_text(json.dumps(times))
        print("took", times[-1], flush=True)
        os._exit(0)
Clock.on_train_batch_end = on_train_batch_end
main(sys.argv[1:])
"""
Command = Callable[[Path], list[str]]  # the arguments of `python`, for the path of its output


def measured(checkout: Path, arguments: list[str]) -> dict:
    """Seconds on the clock and of the processor, and megabytes, of a command of a checkout.

    What a command prints as its last line, as "took 1.5", are its seconds on the clock.
    """
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True
    )
    said = child.stdout.read().splitlines() if child.stdout else []
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"python {' '.join(arguments)} ended with {child.returncode}")
    took = [line.removeprefix("took ") for line in said[-1:] if line.startswith("took ")]
    wall = float(took[0]) if took else time.perf_counter() - start
    return {"wall_s": wall, "processor_s": usage.ru_utime + usage.ru_stime, "memory_mb": usage.ru_maxrss / 1024}


def paired(command: Command, checkouts: dict[str, Path], rounds: int) -> dict:
    """What `measured` gives of each checkout in turn, so many rounds: median, smallest and largest."""
    found: dict[str, list[dict]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory() as place:
                found[name].append(measured(checkout, command(Path(place))))
    spread = lambda values: {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: {key: spread([one[key] for one in rows]) for key in rows[0]} for name, rows in found.items()}


def eqvid(*words: str | Path) -> list[str]:
    """The arguments of `python` that run a command."""
    return ["-m", "eqvid_tf.cli", *map(str, words)]


def shots_of_one_clip(scene: Path, count: int) -> Path:
    """Write a file of so many shots of a scene on its own background: its own, over and over at the clip's frames."""
    own = [shot for shot in json.loads((scene / "shots.json").read_text()) if "motion" in shot]
    frames = sorted(path.name for path in (scene / "frames").iterdir())
    shots = [
        {
            "name": f"{k:03d}",
            "character": f"frames/{frames[k % len(frames)]}",
            "background": f"frames/{frames[(k + 5) % len(frames)]}",
            "motion": own[k % len(own)]["motion"],
        }
        for k in range(count)
    ]
    path = scene / f"shots-{count}.json"
    path.write_text(json.dumps(shots))
    return path


def rows_of_a_scene(work: Path, shots: int) -> dict[str, tuple[Command, int]]:
    """The rows at 64 pixels: commands, and how many frames or pictures each makes."""
    subprocess.run([sys.executable, ROOT / "datasets/drawn/build.py", work, "--only", SCENE, "--overwrite"], check=True)
    scene, model = work / SCENE, ROOT / "saved_models" / MODEL
    path = shots_of_one_clip(scene, shots)
    separate = lambda place: eqvid("separate", model, scene, "--output", place / "layers")
    render = lambda place: eqvid("render", model, "--shots", path, "--output", place / "shots")
    frames = len(list((scene / "frames").iterdir()))
    return {"separate, 64 px": (separate, frames), "render --shots, 64 px": (render, shots)}


def rows_of_a_clip(work: Path, run: Path, clip: Path, frames: str | None) -> dict[str, tuple[Command, int]]:
    """The rows of a filmed clip that a model was trained on; its own motion is taken first, and played again."""
    model, path, cut = run.resolve(), clip.resolve(), ["--frames", frames] if frames else []
    first, last = (int(end) if end else None for end in (frames or ":").split(":"))
    opened = open_clip(clip)
    count, size = len(range(opened.count)[first:last]), f"{opened.size[1]} x {opened.size[0]}"
    separate = lambda place: eqvid("separate", model, path, *cut, "--output", place / "layers")
    extract = eqvid("motion", "extract", model, path, *cut, "--name", MOTION, "--catalog", work / "motions")
    subprocess.run([sys.executable, *extract], check=True, cwd=ROOT)
    video = ["--motion", work / f"motions/{MOTION}.json", "--play", *cut]
    play = lambda place: eqvid(
        *("render", model, "--character", path, "--background", path, *video, "--output", place / "new.mp4")
    )
    return {f"separate, {size}": (separate, count), f"render --play, {size}": (play, count)}


def rows_of_a_camera(clip: Path) -> dict[str, tuple[Command, int]]:
    """The row of a clip whose camera is measured."""
    opened = open_clip(clip)
    name = f"measuring the camera, {clip.stem}, {opened.size[1]} x {opened.size[0]}"
    return {name: (lambda place: ["-c", CAMERA, str(clip.resolve())], opened.count)}


def rows_of_training(scenes: list[Path]) -> dict[str, tuple[Command, int]]:
    """The row of a training on scenes, until its tenth step is done; clips are read from files, not from a cache."""
    clips = [str(scene.resolve() / "frames") for scene in scenes]
    train = ["-c", FIRST_STEPS, "10", "train", *clips]
    command = lambda place: [*train, "--output", str(place / "run"), "--cache", str(place)]
    return {f"train, to the tenth step, {len(scenes)} clips": (command, 10)}


def table(rows: dict) -> str:
    lines = []
    for name, row in rows.items():
        for commit in ("before", "now"):
            if commit in row:
                wall, processor, memory = (row[commit][key]["median"] for key in ("wall_s", "processor_s", "memory_mb"))
                lines.append([name, commit, row["items"], wall, processor, memory, row["items"] / wall])
    header = ["command", "commit", "pictures", "seconds", "of the processor", "MB", "pictures a second"]
    return text_table(lines, header, digits=1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, metavar="DIR", help="a checkout of another commit")
    parser.add_argument("--run", type=Path, metavar="RUN", help="a model that was trained on --clip")
    parser.add_argument("--clip", type=Path, metavar="CLIP")
    parser.add_argument("--frames", metavar="A:B", help="of the clip")
    parser.add_argument("--camera", type=Path, nargs="+", default=[], metavar="CLIP", help="clips whose camera moves")
    parser.add_argument("--train", type=Path, nargs="+", default=[], metavar="SCENE", help="scenes to train on")
    parser.add_argument("--shots", type=int, default=100, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--only", metavar="TEXT", help="rows that hold this text in their name")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/speed.json", metavar="FILE")
    args = parser.parse_args()
    checkouts = {**({"before": args.before} if args.before else {}), "now": ROOT}
    with tempfile.TemporaryDirectory() as work:
        rows = rows_of_a_scene(Path(work), args.shots)
        if args.run and args.clip:
            rows |= rows_of_a_clip(Path(work), args.run, args.clip, args.frames)
        if args.train:
            rows |= rows_of_training(args.train)
        for clip in args.camera:
            rows |= rows_of_a_camera(clip)
        figures = {}
        for name, (command, items) in rows.items():
            if args.only is None or args.only in name:
                figures[name] = {"items": items, "rounds": args.rounds, **paired(command, checkouts, args.rounds)}
    if args.json.is_file():  # rows that were measured before stay
        figures = {**json.loads(args.json.read_text())["rows"], **figures}
    record.write(args.json, {"rows": figures})
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
