"""What the studio works with: model folders, clips and pictures; those it was given, and those in its own folder.

The page names them by the names given here, never by a path: nothing else can be read or written.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from eqvid_tf.data.output import OutputError
from eqvid_tf.data.readers import IMAGES

MOST_BYTES = 4 << 30  # of a file that is dropped on the page
SPARE = 256 << 20  # bytes of the disk that an upload leaves free
VIDEOS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".apng", ".mpg", ".mpeg", ".ts", ".ogv"}
PARTS = ("uploads", "runs", "layers", "jobs", "scenes", "motions")


class NotHere(LookupError):
    """A name that the studio does not know: one line."""


class Places:
    """The studio's own folder, and what it was given beside that.

    Attributes:
        home: its own folder: uploads, model folders, layers, jobs, scenes and motions are in it.

    Args:
        home: is made where it is not there.
        given: model folders and clips that the command line names.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, home: Path, given: Sequence[Path] = ()):
        self.home = home.resolve()
        for part in PARTS:
            self.folder(part).mkdir(parents=True, exist_ok=True)
        self._given = [path.resolve() for path in given]

    def folder(self, part: str) -> Path:
        """One of the parts of the studio's own folder."""
        return self.home / part

    def runs(self) -> dict[str, Path]:
        """The model folders by name; one in training has a checkpoint.json or nothing yet."""
        own = sorted(path for path in self.folder("runs").iterdir() if path.is_dir() and path.name[0] != ".")
        return _named([path for path in self._given if is_run(path)] + [path for path in own if is_run(path)])

    def clips(self) -> dict[str, Path]:
        """The clips by name: given ones, and what was dropped on the page and is no still picture."""
        given = [path for path in self._given if not is_run(path) and not _is_still(path)]
        return _named(given + [path for path in self._uploads() if not _is_still(path)])

    def pictures(self) -> dict[str, Path]:
        """The still pictures by name."""
        return _named(path for path in [*self._given, *self._uploads()] if _is_still(path))

    def run(self, name: str) -> Path:
        """A model folder by its name; raises `NotHere`."""
        return _of(self.runs(), name, "model")

    def clip(self, name: str) -> Path:
        """A clip by its name; raises `NotHere`."""
        return _of(self.clips(), name, "clip")

    def picture(self, name: str) -> Path:
        """A still picture by its name; raises `NotHere`."""
        return _of(self.pictures(), name, "picture")

    def clip_called(self, stem: str) -> Path:
        """The clip that models know by a name without a suffix; raises `NotHere`."""
        fits = [path for path in self.clips().values() if clip_name(path) == stem]
        if not fits:
            raise NotHere(f"the clip {stem} is not here. Drop its file on the page.")
        return fits[0]

    def name_of(self, path: Path) -> str:
        """The name of a clip or a picture; raises `NotHere`."""
        for name, found in (*self.clips().items(), *self.pictures().items()):
            if found == path:
                return name
        raise NotHere(f"{path.name} is not here.")

    def allows(self, path: Path) -> bool:
        """Whether a path is one of the clips, pictures or model folders."""
        return path.resolve() in {*self.clips().values(), *self.pictures().values(), *self.runs().values()}

    def _uploads(self) -> list[Path]:
        return sorted(path for path in self.folder("uploads").iterdir() if path.is_file() and path.name[0] != ".")

    async def take(self, name: str, blocks: AsyncIterator[bytes], length: int | None = None) -> Path:
        """Store a file that is sent in blocks, under its name; one that is there already is not doubled.

        Raises:
            OutputError: its name is none, it is larger than `MOST_BYTES` or than the disk has room for, or empty.
        """
        folder, name = self.folder("uploads"), _checked_name(name)
        room = min(MOST_BYTES, shutil.disk_usage(folder).free - SPARE)
        too_large = OutputError(f"{name}: is larger than {max(room, 0) / 1e9:.1f} GB, for which there is room here.")
        if length is not None and length > room:
            raise too_large
        draft, digest, size = folder / f".{secrets.token_hex(8)}.draft", hashlib.sha256(), 0
        try:
            with draft.open("wb") as file:
                async for block in blocks:
                    size += len(block)
                    if size > room:
                        raise too_large
                    digest.update(block)
                    file.write(block)
            if not size:
                raise OutputError(f"{name}: is empty. Choose another file.")
            for path in self._given:
                if path.is_file() and path.stat().st_size == size and _digest_of(path) == digest.hexdigest():
                    return path
            return _put(draft, folder / name, digest.hexdigest())
        finally:
            draft.unlink(missing_ok=True)


def is_run(path: Path) -> bool:
    """Whether a path is a model folder, or one that is being trained."""
    return (path / "config.json").is_file() or (path / "checkpoint.json").is_file()


def clip_name(path: Path) -> str:
    """What models call the clip of a path (see `eqvid_tf.data.clips.open_clip`)."""
    if not path.is_dir():
        return path.stem
    return path.parent.name if path.name == "frames" else path.name


def _digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_still(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGES and path.suffix.lower() not in VIDEOS | {".webp"}


def _named(paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by the last part of their name; of two with one name the second gets a number."""
    found: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        name, number = path.name, 2
        while name in found:
            name, number = f"{path.stem}-{number}{path.suffix}", number + 1
        found[name] = path
    return found


def _of(found: dict[str, Path], name: str, kind: str) -> Path:
    if name not in found:
        raise NotHere(f"there is no {kind} {name!r:.80} here; there are: {', '.join(found) or 'none'}.")
    return found[name]


def _checked_name(name: str) -> str:
    """A file's name that is safe to write: its last part, of a kind that is read here."""
    name = re.sub(r"[^\w .()@+-]", "_", os.path.basename(name.replace("\\", "/"))).strip(" .")[-120:].lstrip(".- ")
    suffix = Path(name).suffix.lower()
    if not Path(name).stem or suffix not in VIDEOS | IMAGES:
        raise OutputError(f"{name or 'this'}: is neither a video nor a picture by its name ({suffix or 'no suffix'}).")
    return name


def _put(draft: Path, path: Path, digest: str) -> Path:
    """Rename a draft to a path, or to one beside it where something else has that name."""
    stem, number = path.stem, 2
    while path.exists():
        if _digest_of(path) == digest:
            return path
        path, number = path.with_name(f"{stem}-{number}{path.suffix}"), number + 1
    os.replace(draft, path)
    return path
