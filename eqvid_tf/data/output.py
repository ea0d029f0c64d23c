"""Outputs that are whole or not there: a draft beside the place, renamed into it when it is done."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path


class OutputError(ValueError):
    """An output that cannot be written where it was asked for: one line, with the remedy."""


def check_output(path: str | Path, overwrite: bool = False) -> Path:
    """The path, if an output may go there.

    Raises: OutputError where a parent is a file or write-protected, or something is there already and `overwrite` is not set.
    """
    path = Path(path)
    place = next(parent for parent in (path, *path.parents) if parent.is_dir() or (parent.exists() and parent != path))
    if not place.is_dir():
        raise OutputError(f"{path}: cannot be written, {place} is a file. Choose another place.")
    if not os.access(place, os.W_OK):
        raise OutputError(f"{path}: cannot be written, {place} is write-protected. Choose another place.")
    if filled(path) and not overwrite:
        raise OutputError(f"{path}: is there already and not empty. Choose another place, or pass --overwrite.")
    return path


def filled(path: Path) -> bool:
    """Whether a file, or a folder with something in it, is there."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


@contextlib.contextmanager
def new_folder(path: str | Path, overwrite: bool = False, keep: Iterable[str | Path] = ()) -> Iterator[Path]:
    """A draft folder that becomes `path` when the block ends well, and vanishes when it does not.

    What was at `path` before (with `overwrite`) stays until the draft is whole.

    Args:
        keep: what the output is made from; a place that holds any of it is not overwritten, nor is one that holds the
            user's home or the working folder.
    """
    path = check_output(path, overwrite).resolve()  # through a link, not in its place
    for kept in (*keep, Path.cwd(), Path.home()) if filled(path) else ():
        if path == (kept := Path(kept).resolve()) or path in kept.parents:
            raise OutputError(f"{path}: holds {kept}, which --overwrite would take away. Choose another place.")
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        draft.chmod(0o755)
        yield draft
        put(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):  # a parent with something in it stays
            for parent in made:
                parent.rmdir()


def put(draft: Path, path: Path) -> None:
    """Rename a file or folder to `path`, in place of what is there."""
    if not path.exists():
        os.replace(draft, path)
        return
    place = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    old = place / path.name
    try:
        os.replace(path, old)
        os.replace(draft, path)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(place, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; a device or a pipe is written to as it is."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
