"""Outputs that are complete or absent: a draft beside the place, renamed to it when it is done."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path


class OutputError(ValueError):
    """An output that cannot be written where it was asked for: one line, with the remedy."""


def check_output(path: str | Path, overwrite: bool = False, *, inside: bool = False) -> Path:
    """Check that an output may be written to a path, and give the path back; every command asks before it works.

    Args:
        path: of a file or a folder. A device or a pipe is written to directly.
        overwrite: replace what the path holds.
        inside: the path is a folder that stays, with files in it made or replaced one by one; else what is there is
            replaced as a whole, by something that is made beside it.

    Raises:
        OutputError: a parent is a file or write-protected, or the path holds something and `overwrite` is not set.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        return path
    place = _place_of(path, inside)
    if not place.is_dir():
        raise OutputError(f"{path}: cannot be written, {place} is a file. Choose another place.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be written, {place} is write-protected. Choose another place.")
    if path.is_dir() and path.is_mount() and not inside:
        raise OutputError(f"{path}: cannot be replaced, something is mounted there. Choose a new folder in it.")
    if _is_filled(path) and not overwrite:
        raise OutputError(f"{path}: is there already and not empty. Choose another place, or pass --overwrite.")
    return path


def _place_of(path: Path, inside: bool) -> Path:
    """The folder that an output is made in, or the first of its parents that is there."""
    place = path.resolve() if path.is_dir() else path
    parents = place.parents or (place,)
    return next(parent for parent in ((place, *parents) if inside else parents) if parent.exists())


def _is_filled(path: Path) -> bool:
    """Whether the path is a file, or a folder with something in it."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give the path of a draft, a file or a folder, that replaces `path` only if the block ends well.

    If the block fails, the draft and the parent folders that were made for it are removed, and `path` stays as it was.
    """
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.draft{path.suffix}")
    try:
        yield draft
        put(draft, path)
    finally:
        shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a parent that holds something stays
            for parent in made:
                parent.rmdir()


@contextlib.contextmanager
def new_folder(path: str | Path, overwrite: bool = False, keep: Iterable[str | Path] = ()) -> Iterator[Path]:
    """Give a draft folder that replaces `path` only if the block ends well; see `atomic`.

    Args:
        path: the folder to write.
        overwrite: replace what `path` holds.
        keep: what the output is made from; a folder that holds any of it is not replaced, nor is one that holds the
            user's home or the working folder.

    Raises:
        OutputError: as `check_output`, or `path` holds what must stay.
    """
    path = check_output(path, overwrite).resolve()  # through a link, not in its place
    for needed in (*keep, Path.cwd(), *_home()) if _is_filled(path) else ():
        if path == (needed := Path(needed).resolve()) or path in needed.parents:
            raise OutputError(f"{path}: holds {needed}, which --overwrite would take away. Choose another place.")
    with atomic(path) as draft:
        draft.mkdir()
        yield draft


def _home() -> list[Path]:
    """The user's home; none where the system does not say."""
    with contextlib.suppress(RuntimeError):
        return [Path.home()]
    return []


def put(draft: Path, path: Path) -> None:
    """Rename a file or folder to `path`, in place of what is there; if that fails, what was there stays."""
    if not path.exists() or (draft.is_file() and path.is_file()):
        os.replace(draft, path)
        return
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent, ignore_cleanup_errors=True) as place:
        former = Path(place) / path.name
        try:
            os.replace(path, former)
            os.replace(draft, path)
        finally:
            if former.exists() and not path.exists():
                os.replace(former, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all; a device or a pipe is written to directly."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")
