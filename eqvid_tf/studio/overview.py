"""What is listed on the page: models, clips, pictures, scenes, jobs; and the catalog of motions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eqvid_tf.data.output import OutputError
from eqvid_tf.model_folder import read_config
from eqvid_tf.motions.catalog import available, provenance, read
from eqvid_tf.motions.checks import TemplateError
from eqvid_tf.separation.cast import Cast
from eqvid_tf.studio.commands import Commands
from eqvid_tf.studio.jobs import Jobs
from eqvid_tf.studio.places import Places, clip_name
from eqvid_tf.studio.scene_file import SceneStore


class Overview:
    """Everything that is listed on the page.

    Args:
        places: of the studio.
        jobs: of the studio.
        commands: of the studio.
        scenes: of the studio.
    """

    def __init__(self, places: Places, jobs: Jobs, commands: Commands, scenes: SceneStore):
        self.places, self.jobs, self.commands, self.scenes = places, jobs, commands, scenes

    def look(self) -> dict[str, Any]:
        """What there is now."""
        return {
            "home": str(self.places.home),
            "runs": [self._run(name, path) for name, path in self.places.runs().items()],
            "clips": [self._clip(name, path) for name, path in self.places.clips().items()],
            "pictures": [{"name": name, "path": str(path)} for name, path in self.places.pictures().items()],
            "scenes": self.scenes.names(),
            "jobs": [dataclasses.asdict(job) for job in self.jobs.every()],
        }

    def _run(self, name: str, path: Path) -> dict[str, Any]:
        config, cast = path / "config.json", path / "cast.json"
        drawn = path / "logs" / "picture.png"
        return {
            "name": name,
            "path": str(path),
            "finished": (path / "model.keras").is_file() and config.is_file(),
            "resumable": (path / "checkpoint.keras").is_file(),
            "picture": drawn.stat().st_mtime if drawn.is_file() else None,
            **_facts(path, _time_of(config), _time_of(cast)),
        }

    def _clip(self, name: str, path: Path) -> dict[str, Any]:
        found = self.commands.report(name)
        job, report = found or (None, {})
        return {
            "name": name,
            "called": clip_name(path),
            "path": str(path),
            "report": report or None,
            "wrong": job.line if job and job.state == "failed" else "",
        }


def _time_of(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0


@functools.lru_cache(256)
def _facts(path: Path, config: float, cast: float) -> dict[str, Any]:
    """What a model folder says, read again where its files changed."""
    try:
        clips = list(read_config(path).clips) if config else []
        characters = [{**entry.to_json(), "active": entry.active} for entry in Cast.read(path).characters]
    except OutputError as error:
        return {"clips": [], "cast": [], "wrong": str(error)}
    return {"clips": clips, "cast": characters, "wrong": ""}


def listed_motions(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The motions of the catalog by name, with the poses of each [T + 1, 2, 3] in its own coordinates."""
    found = []
    for path in available(folders).values():
        try:
            template = read(path)
        except (TemplateError, OSError):
            continue
        found.append(
            {
                "name": template.name,
                "fps": template.fps,
                "seconds": template.seconds,
                "loops": template.loops,
                "about": provenance(template),
                "poses": template.poses()[:, :2].round(5).tolist(),
                "own": path.parent == folders[0],
            }
        )
    return found
