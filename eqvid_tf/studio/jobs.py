"""Long work as processes of the command line, each with a folder that says what it is, how far, and how it ended.

A job goes on when the page is closed and when the studio ends, and is found again: whether it lives is told by the lock
of its folder, which its process holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eqvid_tf.batch.work import COMMAND, last_line
from eqvid_tf.data.output import write_text
from eqvid_tf.studio.places import NotHere

MOST_KEPT = 40  # jobs that ended; the folders of older ones are removed
PATIENCE_TO_STOP = 30.0  # seconds in which a process that is asked to stop may write its checkpoint
# $0 gets the exit code; the words are the command. The shell outlives the studio.
SHELL = '"$@"; code=$?; echo $code > "$0.draft"; mv "$0.draft" "$0"'
BAR = re.compile(r"^(?P<label>.*?)\s*:?\s+(?P<percent>\d+)%\|")
IDS = re.compile(r"\d{8}-\d{6}-\d{3,4}-[0-9a-f]{6}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of work as it stands.

    Attributes:
        id: of its folder.
        kind: "inspect", "train", "separate", "cast", "correct" or "export".
        title: what it does, in words.
        about: what it works on, for the page: names of clips, of the model, of the file it writes.
        state: "running", "done", "failed" or "stopped".
        line: what it said last; why it failed.
        percent: how far the step is that `line` names; None where it does not say.
        seconds: since it began, or that it took.
    """

    id: str
    kind: str
    title: str
    about: dict[str, Any]
    state: str
    line: str
    percent: int | None
    seconds: float


class Jobs:
    """The jobs of a folder.

    Args:
        folder: gets a folder for each.
        command: what stands before the words of a command of `eqvid`.
    """

    def __init__(self, folder: Path, command: Sequence[str] = COMMAND):
        self.folder, self.command = folder, tuple(command)
        self._ended: dict[str, Job] = {}

    def start(
        self,
        kind: str,
        title: str,
        words: Sequence[str],
        about: dict[str, Any] | None = None,
        files: dict[str, bytes] | None = None,
    ) -> str:
        """Start a command of `eqvid`, and give the job's id.

        Args:
            kind: see `Job`.
            title: see `Job`.
            words: of the command; `{job}` in one stands for the job's folder, and what is written into out/ in it is
                given out (see `file`).
            about: see `Job`.
            files: that the command reads, by name, in the job's folder.
        """
        self._forget_old()
        now = time.time()
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{now % 1 * 1000:03.0f}-{secrets.token_hex(3)}"
        place = self.folder / name
        (place / "out").mkdir(parents=True)
        words = [word.replace("{job}", str(place)) for word in words]
        for file, content in (files or {}).items():
            (place / file).write_bytes(content)
        write_text(
            place / "job.json",
            json.dumps({"kind": kind, "title": title, "words": words, "about": about or {}, "began": now}),
        )
        with (place / "log.txt").open("wb") as log, (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = subprocess.Popen(
                ["sh", "-c", SHELL, str(place / "code"), *self.command, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for the studio
            )
        write_text(place / "pid", str(process.pid))
        threading.Thread(target=process.wait, daemon=True).start()  # the system forgets it when it has ended
        return name

    def every(self) -> list[Job]:
        """All jobs, the latest first."""
        names = sorted((p.name for p in self.folder.iterdir() if IDS.fullmatch(p.name)), reverse=True)
        found = [self._look(name) for name in names]
        return [job for job in found if job]

    def find(self, name: str) -> Job:
        """A job by its id; raises `NotHere`."""
        job = self._look(name) if IDS.fullmatch(name) else None
        if job is None:
            raise NotHere(f"there is no job {name!r:.40}.")
        return job

    def running(self, kind: str, about: dict[str, Any]) -> Job | None:
        """A job of a kind that runs and works on the same."""
        fits = (job for job in self.every() if job.kind == kind and job.state == "running" and job.about == about)
        return next(fits, None)

    def file(self, name: str, file: str) -> Path:
        """A file that a job wrote into its folder; raises `NotHere`."""
        self.find(name)
        root = (self.folder / name / "out").resolve()
        path = (root / file).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise NotHere(f"the job wrote no file {file!r:.80}.")
        return path

    def stop(self, name: str) -> None:
        """Ask a job to stop; a training writes a checkpoint first. One that does not end is killed.

        It ends soon, and this does not wait for it.
        """
        job = self.find(name)
        if job.state != "running":
            return
        place = self.folder / name
        (place / "stopped").touch()
        group = int((place / "pid").read_text())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGINT)
        killer = threading.Timer(PATIENCE_TO_STOP, self._kill, (place, group))
        killer.daemon = True
        killer.start()

    def remove(self, name: str) -> None:
        """Forget a job that ended, with its folder."""
        if self.find(name).state != "running":
            self._ended.pop(name, None)
            shutil.rmtree(self.folder / name)

    def _kill(self, place: Path, group: int) -> None:
        if _lives(place):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def _look(self, name: str) -> Job | None:
        if name in self._ended:
            return self._ended[name]
        place = self.folder / name
        try:
            said = json.loads((place / "job.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        lives = _lives(place)
        state = "running" if lives else _outcome(place)
        line = last_line(place / "log.txt")
        bar = BAR.match(line)
        end = time.time() if lives else (place / "log.txt").stat().st_mtime
        job = Job(
            id=name,
            kind=said["kind"],
            title=said["title"],
            about=said["about"],
            state=state,
            line=bar["label"] if bar else _said(line, place),
            percent=int(bar["percent"]) if bar else None,
            seconds=round(end - said["began"], 1),
        )
        if not lives:
            self._ended[name] = job
        return job

    def _forget_old(self) -> None:
        for job in [job for job in self.every() if job.state != "running"][MOST_KEPT:]:
            self.remove(job.id)


def _lives(place: Path) -> bool:
    """Whether a job's process holds the lock of its folder."""
    try:
        with (place / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _outcome(place: Path) -> str:
    """How a job ended that no longer runs."""
    code = (place / "code").read_text().strip() if (place / "code").is_file() else ""
    if code == "0":
        return "done"
    return "stopped" if code == "130" or (place / "stopped").exists() else "failed"


def _said(line: str, place: Path) -> str:
    """A line of a command without what it starts with, and without the job's folder before the files in it."""
    return re.sub(r"^eqvid \w+: (error|failed): ", "", line.replace(f"{place / 'out'}/", ""))
