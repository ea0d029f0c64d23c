"""Where the clips of a batch are worked on: in processes of this machine, or as tasks of Ray Core."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from eqvid_tf.batch.manifest import BatchClip
from eqvid_tf.batch.work import COMMAND, Outcome, last_line, log_of, run_clip

CPUS = 2  # of a task: what one training makes good use of
LOOK = 1.0  # seconds from one look at the tasks to the next
Future: TypeAlias = "concurrent.futures.Future[Outcome]"
Submit: TypeAlias = Callable[[BatchClip, Path, Sequence[str]], Future]


class Progress(NamedTuple):
    """How far a clip is: its stage, empty where it waits; the minutes left of that, where they are known; its end."""

    stage: str = ""
    attempt: int = 1
    minutes_left: float | None = None
    outcome: Outcome | None = None


def run_batch(
    clips: Sequence[BatchClip],
    output: Path,
    *,
    jobs: int = 1,
    ray: str | None = None,
    command: Sequence[str] = COMMAND,
    watch: Callable[[dict[str, Progress]], None] = lambda progress: None,
) -> list[Outcome]:
    """Do all clips that are not done, each in DIR/NAME, and say what became of each, in their order.

    Args:
        clips: of `read_manifest`.
        output: DIR.
        jobs: how many at a time.
        ray: the address of a Ray cluster, "local" for one on this machine; None for processes without Ray.
        command: see `run_clip`.
        watch: is called about once a second with the progress of each clip, by name.

    Raises:
        ValueError: Ray is asked for and not installed.
    """
    output = output.resolve()
    for clip in clips:  # what a killed driver left
        (output / clip.name / "progress.json").unlink(missing_ok=True)
    progress = dict.fromkeys((clip.name for clip in clips), Progress())
    with _ray_tasks(ray, jobs) if ray else _processes(jobs) as submit:
        futures = {submit(clip, output / clip.name, command): clip for clip in clips}
        pending = set(futures)
        while pending:
            ended, pending = concurrent.futures.wait(pending, LOOK, concurrent.futures.FIRST_COMPLETED)
            progress |= {futures[future].name: _ended(future, futures[future]) for future in ended}
            progress |= {futures[future].name: _progress_of(futures[future], output) for future in pending}
            watch(progress)
    return [one.outcome for one in progress.values() if one.outcome]


@contextlib.contextmanager
def _processes(jobs: int) -> Iterator[Submit]:
    """A thread for each of `jobs` clips at a time; the work is in processes that the threads wait for."""
    stopped = threading.Event()
    threads = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        yield lambda clip, folder, command: threads.submit(run_clip, clip, folder, command, stopped)
    finally:
        stopped.set()
        threads.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _ray_tasks(address: str, jobs: int) -> Iterator[Submit]:
    """Tasks of Ray, which starts one again, on another node if need be, where its worker or node dies."""
    try:
        import ray
    except ImportError as error:
        raise ValueError("--ray needs Ray. Install it: python -m pip install 'eqvid_tf[ray]'.") from error
    local: dict[str, Any] = {"num_cpus": CPUS * jobs, "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task: Any = ray.remote(num_cpus=CPUS, num_gpus=gpus, max_retries=2)(run_clip)
        yield lambda clip, folder, command: task.remote(clip, folder, command).future()
    finally:
        ray.shutdown()


def _ended(future: Future, clip: BatchClip) -> Progress:
    """The end of a task; whatever went wrong in it, the others go on."""
    try:
        return Progress(outcome=future.result())
    except Exception as error:
        why = f"its task died: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Progress(outcome=Outcome(name=clip.name, path=str(clip.path), done=False, why=why))


def _progress_of(clip: BatchClip, output: Path) -> Progress:
    """How far a clip is, by the files in its folder: a task on another machine writes the same."""
    folder = output / clip.name
    try:
        noted, began = json.loads((folder / "progress.json").read_text()), (folder / "progress.json").stat().st_mtime
    except OSError:
        return Progress()
    share = re.search(r"(\d+)%\|", last_line(log_of(folder, noted["stage"], noted["attempt"])))
    left = _minutes_left(clip, noted, int(share[1]) / 100 if share else 0.0, (time.time() - began) / 60)
    return Progress(noted["stage"], noted["attempt"], left)


def _minutes_left(clip: BatchClip, noted: dict[str, Any], share: float, minutes: float) -> float | None:
    """The minutes that a stage still takes, after a share of it; of a training that ends by itself, of its round."""
    if noted["stage"] == "train" and clip.train.seconds:
        return clip.train.seconds / 60 * (1 - share)
    return minutes / share * (1 - share) if share else None
