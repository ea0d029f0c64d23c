"""The work on one clip: a command of `eqvid` after another, each in a process of its own, and none of it done twice.

A stage is done when its outputs are there and were made from the same clip, options and version. Each command makes its
outputs completely or not at all, so nothing else is to be remembered when a process, or a machine, dies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import eqvid_tf
from eqvid_tf.batch.manifest import LOCK, BatchClip
from eqvid_tf.batch.picture import masked_frame
from eqvid_tf.batch.stages import Stage, stages_of
from eqvid_tf.data.cache import content_key
from eqvid_tf.data.output import write_text
from eqvid_tf.data.writers import write_png

COMMAND = (sys.executable, "-m", "eqvid_tf.cli")
ATTEMPTS = 3  # of a stage whose process dies
PATIENCE = 30.0  # seconds in which a process that is asked to stop may write its checkpoint
POLL = 0.2  # seconds from one look at a process to the next
VERDICTS = ("suits", "suits with care", "does not suit")  # from good to bad


class Stopped(Exception):
    """The batch is being stopped."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a clip; `report.json` holds it.

    Attributes:
        name: in the manifest.
        path: of the clip.
        done: whether all that was asked for is there.
        stage: the one that failed; empty if none did.
        why: it failed, in one line.
        seconds: of each stage, all attempts together.
        attempts: of each stage.
        clip: what `eqvid inspect` measured: frames, size, fps, characters.
        suits: its verdict.
        reasons: for the verdict.
        trained: the trivial solutions that training found; None where it did not end.
    """

    name: str
    path: str
    done: bool
    stage: str = ""
    why: str = ""
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    attempts: dict[str, int] = dataclasses.field(default_factory=dict)
    clip: dict[str, Any] = dataclasses.field(default_factory=dict)
    suits: str = ""
    reasons: tuple[str, ...] = ()
    trained: list[str] | None = None


def run_clip(
    clip: BatchClip, folder: Path, command: Sequence[str] = COMMAND, stopped: threading.Event | None = None
) -> Outcome:
    """Do what is not done yet of a clip, and write report.json and, last and only when all is there, done.json.

    Args:
        clip: a row of the manifest.
        folder: for its results; another process that works in it is waited for.
        command: what stands before the words of a stage.
        stopped: is set when the work is to end early.

    Raises:
        Stopped: it ended early.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = _Work(clip, folder, command, stopped or threading.Event())
    with work.alone():
        try:
            return work.run()
        except OSError as error:  # the clip is gone, or the disk is full
            return work.outcome(why=f"{error.filename or folder}: {(error.strerror or str(error)).lower()}")
        finally:
            (folder / "progress.json").unlink(missing_ok=True)


class _Work:
    """The work on a clip.

    Attributes:
        record: of each stage that was begun, in stages.json: `key` of what it is made from, `began` (a time of the file
            system), `seconds`, `attempts`. What is older than that was made from something else, and stays until it
            is replaced.
        ended: the stages whose outputs are whole.
    """

    lock: IO[str]
    record: dict[str, dict[str, Any]]
    stage = ""

    def __init__(self, clip: BatchClip, folder: Path, command: Sequence[str], stopped: threading.Event):
        self.clip, self.folder, self.command, self.stopped = clip, folder, command, stopped
        self.ended: set[str] = set()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of the folder.

        A stage's process holds it, too: where the driver was killed and started again, it waits for that process.
        """
        with (self.folder / LOCK).open("w") as self.lock:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                self._wait(1.0)
            self.record = _read(self.folder / "stages.json")
            yield

    def run(self) -> Outcome:
        keys = self._keys()
        done, final = self.folder / "done.json", list(keys.values())[-1]
        if all(map(self._is_whole, keys, keys.values())) and _read(done).get("key") == final:
            return _read_outcome(self.folder)
        done.unlink(missing_ok=True)
        for stage, key in keys.items():
            self.stage = stage.name
            if why := self._do(stage, key):
                return self.outcome(why=why)
            self.ended.add(stage.name)
        self.stage = ""
        write_png(self.folder / "masked.png", masked_frame(self.clip, self.folder / "layers"))
        outcome = self.outcome()
        write_text(done, json.dumps({"key": final, "version": eqvid_tf.__version__}))
        return outcome

    def outcome(self, why: str = "") -> Outcome:
        """Say what became of the clip, in report.json too."""
        parts = self._parts() if "inspect" in self.ended else []
        worst = max(parts, key=lambda part: VERDICTS.index(part["verdict"]), default={"verdict": ""})
        trained = _read(self.folder / "run/metrics.json")["verdict"] if "train" in self.ended else None
        begun = {stage.name: self.record[stage.name] for stage in stages_of(self.clip) if stage.name in self.record}
        outcome = Outcome(
            name=self.clip.name,
            path=str(self.clip.path),
            done=not why,
            stage=self.stage,
            why=why,
            seconds={name: round(entry["seconds"], 1) for name, entry in begun.items()},
            attempts={name: entry["attempts"] for name, entry in begun.items()},
            clip=_measured(parts),
            suits=worst["verdict"],
            reasons=tuple(dict.fromkeys(reason for part in parts for reason in part["reasons"])),
            trained=trained,
        )
        with contextlib.suppress(OSError):  # the disk is full; the report of the batch has it anyway
            write_text(self.folder / "report.json", json.dumps(dataclasses.asdict(outcome), indent=1))
        return outcome

    def _parts(self) -> list[dict[str, Any]]:
        """What `eqvid inspect` wrote of the clip, or of each part between hard cuts."""
        found = _read(self.folder / "inspect.json")
        return found.get("parts", [found]) if found else []

    def _keys(self) -> dict[Stage, str]:
        """What each stage is made from, as a digest of the clip, the version, and all words up to it."""
        digest = hashlib.sha256(f"{content_key(self.clip.files())} {eqvid_tf.__version__}".encode())
        keys = {}
        for stage in stages_of(self.clip):
            digest.update("\0".join(stage.words).encode())
            keys[stage] = digest.hexdigest()
        return keys

    def _is_whole(self, stage: Stage, key: str) -> bool:
        same = self.record.get(stage.name, {}).get("key") == key
        return same and not self._missing(stage)

    def _missing(self, stage: Stage) -> list[str]:
        """The outputs of a stage that are not there, or are those of before it began."""
        return [output for output in stage.outputs if not self._is_new(stage, output)]

    def _is_new(self, stage: Stage, name: str) -> bool:
        path = self.folder / name
        return path.exists() and path.stat().st_mtime >= self.record[stage.name]["began"]

    def _do(self, stage: Stage, key: str) -> str:
        """Do a stage unless it is done; give the reason why it failed, or an empty text."""
        if self._is_whole(stage, key):
            return ""
        progress = self.folder / "progress.json"
        if self.record.get(stage.name, {}).get("key") != key:
            write_text(progress, json.dumps({"stage": stage.name, "attempt": 1}))
            self.record[stage.name] = {"key": key, "began": progress.stat().st_mtime, "seconds": 0.0}
        why = ""
        for attempt in range(1, ATTEMPTS + 1):
            self._note(stage.name, attempts=attempt)
            write_text(progress, json.dumps({"stage": stage.name, "attempt": attempt}))
            why, final = self._try(stage, attempt)
            if final:
                return why
        return f"{why}; tried {ATTEMPTS} times"

    def _try(self, stage: Stage, attempt: int) -> tuple[str, bool]:
        """Run the process of a stage: why it failed, and whether another attempt is of no use."""
        log, began = log_of(self.folder, stage.name, attempt), time.monotonic()
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*self.command, *self._words(stage)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=[self.lock.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal is for the driver, which stops the others in order
            )
        try:
            code = self._end_of(process)
        finally:
            self._note(stage.name, seconds=self.record[stage.name]["seconds"] + time.monotonic() - began)
        if code == 0 and (missing := self._missing(stage)):
            return f"{', '.join(missing)} is not there though the command ended well", False
        return _why(stage, code, last_line(log))

    def _words(self, stage: Stage) -> list[str]:
        words = [word.format(clip=self.clip.path, folder=self.folder) for word in stage.words]
        resumes = stage.name == "train" and self._is_new(stage, "run/checkpoint.keras")
        return [*words, "--resume" if resumes else "--overwrite"]

    def _end_of(self, process: subprocess.Popen) -> int:
        """The exit code of a process; it is stopped if the batch is."""
        try:
            while process.poll() is None:
                self._wait(POLL)
            return process.returncode
        except BaseException:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            process.wait()
            raise

    def _wait(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise Stopped

    def _note(self, stage: str, **facts: float) -> None:
        self.record[stage] |= facts
        write_text(self.folder / "stages.json", json.dumps(self.record, indent=1))


def log_of(folder: Path, stage: str, attempt: int) -> Path:
    """What the process of a stage said."""
    return folder / "logs" / f"{stage}-{attempt}.txt"


def last_line(log: Path) -> str:
    """The last line of a log, or of a progress bar in it; empty where there is none."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


def _why(stage: Stage, code: int, said: str) -> tuple[str, bool]:
    """Why a process ended so, and whether another attempt is of no use: it is, where the command itself says no."""
    if code == 0:
        return "", True
    for kind in ("error", "failed"):
        if said.startswith(prefix := f"eqvid {stage.words[0]}: {kind}: "):
            return said.removeprefix(prefix), True
    if code == -signal.SIGKILL:
        return "its process was killed, as the system does where memory runs out", False
    if code < 0:
        return f"its process died of signal {-code} ({signal.strsignal(-code)})", False
    return f"its process ended with exit code {code}: {said or 'it said nothing'}", False


def _measured(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a report says of a clip."""
    if not parts:
        return {}
    characters = max(len(part["characters"]) for part in parts)
    return {
        "frames": sum(part["frames"] for part in parts),
        "size": parts[0]["size"],
        "fps": parts[0]["fps"],
        "characters": characters,
    }


def _read_outcome(folder: Path) -> Outcome:
    fields = _read(folder / "report.json")
    return Outcome(**{**fields, "reasons": tuple(fields["reasons"])})


def _read(path: Path) -> dict[str, Any]:
    """A JSON file; an empty dict where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
