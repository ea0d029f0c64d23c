"""`eqvid train --local-workers N`: the same command in N processes on this machine, which train one model together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from eqvid_tf.cli.terminal import say
from eqvid_tf.training.cluster import cluster_config

PATIENCE = 45.0  # seconds that the others get to end by themselves, once one has failed


def run_local(words: Sequence[str], count: int) -> int:
    """Run `eqvid WORDS` in so many processes; the first is heard, of another the last line if it fails first.

    Returns:
        The exit code: the first that is not 0, or 1 where a process was killed.
    """
    with tempfile.TemporaryDirectory() as place:
        logs = [Path(place) / str(number) for number in range(count)]
        workers = _start(words, logs)
        try:
            first = _first_failure(workers)
        except KeyboardInterrupt:
            for worker in workers:
                worker.terminate()
            return workers[0].wait()
        finally:
            _end(workers)
        if first is None:
            return 0
        code = workers[first].returncode
        if code < 0 and (first == 0 or workers[0].returncode in (0, code)):
            again = "Start again, with --resume if there is a checkpoint."
            say(f"\neqvid train: failed: worker {first} was ended by signal {-code}. {again}")
        elif code > 0 and first and workers[0].returncode != code:
            say(logs[first].read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2])
        return code if code > 0 else 1


def _start(words: Sequence[str], logs: Sequence[Path]) -> list[subprocess.Popen]:
    """Start the processes, each with its share of the cores; all but the first write their stderr into a log."""
    addresses, cores = [f"127.0.0.1:{port}" for port in _free_ports(len(logs))], len(os.sched_getaffinity(0))
    share = {"TF_NUM_INTRAOP_THREADS": str(max(1, cores // len(logs))), **os.environ}
    started = []
    for number, log in enumerate(logs):
        environment = {**share, "TF_CONFIG": cluster_config(addresses, number)}
        command = [sys.executable, "-m", "eqvid_tf.cli", *words]
        with contextlib.nullcontext() if number == 0 else log.open("w", encoding="utf-8") as errors:
            # in a session of its own: Ctrl-C reaches this process alone, which ends them once
            started.append(subprocess.Popen(command, env=environment, stderr=errors, start_new_session=True))
    return started


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _first_failure(workers: Sequence[subprocess.Popen]) -> int | None:
    """Wait until all processes have ended; the number of the first that failed."""
    first, until = None, float("inf")
    while time.monotonic() < until and any(worker.poll() is None for worker in workers):
        failed = [number for number, worker in enumerate(workers) if worker.poll()]
        if failed and first is None:
            first, until = failed[0], time.monotonic() + PATIENCE
        time.sleep(0.1)
    return first if first is not None else next((k for k, worker in enumerate(workers) if worker.returncode), None)


def _end(workers: Sequence[subprocess.Popen]) -> None:
    """Kill those that still run."""
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
