"""The words of the command line that each kind of job is."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from eqvid_tf.data.output import OutputError
from eqvid_tf.motions.checks import check_name
from eqvid_tf.separation.cast import Cast
from eqvid_tf.studio.jobs import Job, Jobs
from eqvid_tf.studio.places import Places, clip_name

MOST_MINUTES = 24 * 60.0
FILMS = ("mp4", "webm", "mov", "gif", "webp", "apng")
CAST_EDITS = {"rename": "--name", "merge": "--merge", "split": "--split", "drop": "--drop"}


class Commands:
    """Starts jobs; of a kind that runs already on the same, that one goes on.

    Args:
        places: of the studio.
        jobs: of the studio.
    """

    def __init__(self, places: Places, jobs: Jobs):
        self.places, self.jobs = places, jobs

    def inspect(self, clip: str) -> str:
        """Look at a clip as `eqvid inspect` does."""
        path = self.places.clip(clip)
        return self._start(
            "inspect", f"Looking at {clip}", ["inspect", str(path), "--json", "{job}/out/report.json"], clip=clip
        )

    def train(self, clips: list[str], minutes: float, name: str, seed: int = 0) -> str:
        """Train a model on clips, or go on where the training of a model of that name was stopped."""
        if not 0 < minutes <= MOST_MINUTES:
            raise OutputError(f"minutes must be more than 0, and at most {MOST_MINUTES:g}; received {minutes:g}.")
        if not clips:
            raise OutputError("there is no clip to train on.")
        paths = [str(self.places.clip(clip)) for clip in clips]
        folder = self._new_run(name)
        resumes = (folder / "checkpoint.keras").is_file()
        words = ["train", *paths, "--output", str(folder), f"--minutes={minutes:g}"]
        words += ["--resume"] if resumes else [f"--seed={seed}", "--overwrite"]
        return self._start("train", f"Training {name}", words, run=name, clips=clips, minutes=minutes)

    def separate(self, run: str, clip: str) -> str:
        """Take a clip apart for the stage."""
        folder, path, layers = self.places.run(run), self.places.clip(clip), self.layers(run, clip)
        for former in layers.parent.glob("*/"):
            if former != layers:
                shutil.rmtree(former, ignore_errors=True)
        words = ["separate", str(folder), str(path), "--output", str(layers), "--overwrite"]
        plates = ["--plates"] if self._moves(clip) else []
        return self._start("separate", f"Taking {clip} apart", [*words, *plates], run=run, clip=clip)

    def cast(self, run: str, edits: list[list[Any]]) -> str:
        """Name, join, split or drop characters as `eqvid cast` does."""
        words = ["cast", str(self.places.run(run))]
        for edit, value in edits:
            if edit not in CAST_EDITS or not isinstance(value, str) or not 0 < len(value) < 200:
                raise OutputError(f"there is no edit {edit!r:.40} of a cast with {value!r:.80}.")
            words.append(f"{CAST_EDITS[edit]}={value}")
        return self._start("cast", "Changing the characters", words, run=run, edits=edits)

    def correct(self, run: str, clip: str, character: int, frame: int, mask: str, name: str | None) -> str:
        """Show what a painted mask changes in other frames; with the name of a new model, learn it.

        Args:
            run: name of the model.
            clip: name of the clip.
            character: its number in the clip.
            frame: that was painted.
            mask: a PNG file in base64.
            name: of the new model; None: it is only drawn.
        """
        words = ["correct", str(self.places.run(run)), str(self.places.clip(clip)), f"--frame={frame:d}"]
        words += ["--mask", "{job}/mask.png", f"--of={character:d}"]
        if name is None:
            words += ["--show", "{job}/out/change.png"]
        else:
            words += ["--output", str(self._new_run(name))]
        files = {"mask.png": base64.b64decode(mask, validate=True)}
        title = "Carrying the correction to all frames" if name is None else f"Learning the correction, {name}"
        return self._start(
            "correct", title, words, files, run=run, clip=clip, character=character, frame=frame, name=name
        )

    def film(self, run: str, scene: dict[str, Any], kind: str, name: str) -> str:
        """Draw all pictures of a scene as a film, by `eqvid render --scene`."""
        if kind not in FILMS:
            raise OutputError(f"a film is one of {', '.join(FILMS)}; received {kind!r:.20}.")
        check_name(name)
        words = ["render", str(self.places.run(run)), "--scene", "{job}/scene.eqvid.json"]
        words += ["--catalog", str(self.places.folder("motions")), "--output", f"{{job}}/out/{name}.{kind}"]
        files = {"scene.eqvid.json": json.dumps(scene).encode()}
        return self._start("export", f"Drawing {name}.{kind}", words, files, run=run, file=f"{name}.{kind}")

    def sheet(self, run: str, clip: str, character: int) -> str:
        """A character's own frames as a sprite sheet."""
        name = f"{clip_name(self.places.clip(clip))}-{character}.png"
        words = ["separate", str(self.places.run(run)), str(self.places.clip(clip)), f"--of={character}"]
        return self._start(
            "export", f"Drawing {name}", [*words, f"--sheet={{job}}/out/{name}"], run=run, clip=clip, file=name
        )

    def lottie(self, run: str, clip: str, entry: dict[str, Any]) -> str:
        """A character that plays a motion as a Lottie file."""
        name = f"{clip_name(self.places.clip(clip))}-{entry['template']}.json"
        words = ["render", str(self.places.run(run)), "--character", str(self.places.clip(clip)), "--transparent"]
        words += ["--motion", str(entry["template"]), "--catalog", str(self.places.folder("motions"))]
        words += [f"--of={entry['character']}", f"--zoom={entry['motion']['scale']}"]
        words += ["--play"] if entry.get("play") else [f"--pose={entry['frame']}"]
        return self._start("export", f"Drawing {name}", [*words, f"--output={{job}}/out/{name}"], clip=clip, file=name)

    def page(self, run: str, clip: str) -> str:
        """A clip's layers as a page."""
        name = f"{clip_name(self.places.clip(clip))}.html"
        words = ["export", str(self.places.run(run)), "--clip", str(self.places.clip(clip))]
        return self._start("export", f"Drawing {name}", [*words, f"--html={{job}}/out/{name}"], clip=clip, file=name)

    def layers(self, run: str, clip: str) -> Path:
        """Where the layers of a clip are, or are to be: for another model, or other joins and drops, another place."""
        folder, called = self.places.run(run), clip_name(self.places.clip(clip))
        cast = [(entry.number, entry.merged_into, entry.dropped) for entry in Cast.read(folder).of_clip(called)]
        written = [
            path.stat().st_mtime for path in (folder / "model.keras", folder / "corrections.json") if path.exists()
        ]
        digest = hashlib.sha256(f"{folder} {cast} {written}".encode()).hexdigest()[:16]
        return self.places.folder("layers") / run / clip / digest

    def report(self, clip: str) -> tuple[Job, dict[str, Any]] | None:
        """The latest look at a clip that ended, and what it found; an empty dict where it failed."""
        for job in self.jobs.every():
            if job.kind == "inspect" and job.about == {"clip": clip} and job.state != "running":
                return job, _read_report(
                    self.jobs.folder / job.id / "out" / "report.json"
                ) if job.state == "done" else {}
        return None

    def _new_run(self, name: str) -> Path:
        """The folder of a model that is to be trained, or goes on; raises an OutputError where there is one."""
        check_name(name)
        folder = self.places.folder("runs") / name
        unfinished = (folder / "checkpoint.keras").is_file()
        if name in self.places.runs() and not unfinished:
            raise OutputError(f"there is a model {name} already. Give this one another name.")
        return folder

    def _moves(self, clip: str) -> bool:
        found = self.report(clip)
        return bool(found and found[1].get("camera", "still") != "still")

    def _start(
        self, kind: str, title: str, words: list[str], files: dict[str, bytes] | None = None, **about: Any
    ) -> str:
        job = None if files else self.jobs.running(kind, about)
        return job.id if job else self.jobs.start(kind, title, words, about, files)


@functools.lru_cache(256)
def _read_report(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
