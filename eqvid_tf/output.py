"""Outputs that are whole or not there: a draft beside the place, renamed into it when it is done."""
from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


class OutputError(ValueError):
    """An output that cannot be written where it was asked for: one line, with the remedy."""


def check_output(path: str | Path, overwrite: bool = False) -> Path:
    """The path, if an output may go there.

    Raises: OutputError where a parent is a file, or something is there already and `overwrite` is not set.
    """
    path = Path(path)
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise OutputError(f"{path}: cannot be written, {parent} is a file. Choose another place with --output.")
    filled = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if filled and not overwrite:
        raise OutputError(f"{path}: is there already and not empty. Choose another place, or pass --overwrite.")
    return path


@contextlib.contextmanager
def new_folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A draft folder that becomes `path` when the block ends well, and vanishes when it does not.

    What was at `path` before (with `overwrite`) stays until the draft is whole.
    """
    path = check_output(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    draft.chmod(0o755)
    try:
        yield draft
        put(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def put(draft: Path, path: Path) -> None:
    """Rename a folder to `path`, in place of what is there."""
    if not path.exists():
        os.replace(draft, path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    target = old / path.name
    os.replace(path, target)
    try:
        os.replace(draft, path)
    except OSError:
        os.replace(target, path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
