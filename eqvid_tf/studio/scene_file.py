"""The studio's scenes: a `scene.eqvid.json` each (see `eqvid_tf.rendering.scene`), saved as one goes."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqvid_tf.data.output import write_text
from eqvid_tf.studio.places import NotHere, Places

if TYPE_CHECKING:  # TensorFlow is imported with the first picture, so that the page is there at once
    from eqvid_tf.rendering.scene import SceneFile

FILE = "scene.eqvid.json"
NAMES = re.compile(r"[\w()@+-][\w .()@+-]{0,100}")


class Changed(RuntimeError):
    """A scene that was saved by another page since it was read."""


class SceneStore:
    """The scenes of the studio, a folder each.

    Args:
        places: of the studio; a scene names nothing else.
    """

    def __init__(self, places: Places):
        self.places = places

    def names(self) -> list[str]:
        """The names of the scenes, the one that was saved last first."""
        found = self.places.folder("scenes").glob(f"*/{FILE}")
        return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]

    def path(self, name: str) -> Path:
        """Where a scene is, or is to be; raises `NotHere` where the name is none."""
        if not NAMES.fullmatch(name):
            raise NotHere(f"{name!r:.80} is no name of a scene.")
        return self.places.folder("scenes") / name / FILE

    def read(self, name: str) -> tuple[dict[str, Any], str]:
        """A scene and its revision; raises `NotHere`, or a ValueError for a damaged file."""
        path = self.path(name)
        if not path.is_file():
            raise NotHere(f"there is no scene {name!r:.80}.")
        text = path.read_text(encoding="utf-8")
        try:
            return json.loads(text), _revision(text)
        except ValueError as error:
            raise ValueError(f"{path}: this is not JSON that can be read ({error}).") from error

    def write(self, name: str, scene: Any, revision: str | None) -> str:
        """Save a scene, completely or not at all, and give its new revision.

        Args:
            name: of the scene.
            scene: the document.
            revision: that it was read at; None for a new one.

        Raises:
            Changed: the file is of another revision.
            SceneError: the document is wrong.
        """
        path = self.path(name)
        checked_scene(scene, self.places)
        now = _revision(path.read_text(encoding="utf-8")) if path.is_file() else None
        if now != revision:
            raise Changed("this scene was changed in another tab or by another program.")
        text = json.dumps(_with_hashes(scene), indent=1)
        write_text(path, text)
        return _revision(text)


def _with_hashes(scene: dict[str, Any]) -> dict[str, Any]:
    """A scene with what its clips' files are recognized by."""
    clips = [{**clip, "sha256": _hash_of(Path(clip["path"]))} for clip in scene["clips"]]
    return {**scene, "clips": clips}


def _hash_of(path: Path) -> str:
    state = path.stat()
    return _hash(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(64)
def _hash(path: Path, changed: int, size: int) -> str:
    from eqvid_tf.rendering.scene import clip_sha256

    return clip_sha256(path)


def _revision(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checked_scene(scene: Any, places: Places) -> SceneFile:
    """A document of the page as a scene, which names only what the studio was given.

    Raises:
        SceneError: a value is wrong, or a path is none of the studio's; in one line.
    """
    from eqvid_tf.rendering.scene import SceneError, parse_scene

    for value in (scene.get("characters") if isinstance(scene, dict) else None) or []:
        if isinstance(value, dict) and str(value.get("template")).endswith(".json"):
            raise SceneError(f"{value['template']!r:.120}: a motion is named as in the catalog here, not by a path")
    found = parse_scene(scene, places.home, [places.folder("motions")])
    for path in [*found.sources, *([found.run] if found.run else [])]:
        if not places.allows(path):
            raise SceneError(f"{path} is not among what the studio was given")
    return found
