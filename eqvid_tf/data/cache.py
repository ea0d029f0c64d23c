"""Decoded frames kept on disk: one raw .npy per clip and canvas, made once, read as a memmap."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs

FORMAT = "1"  # raised whenever the same file would be decoded to other frames
LARGEST = 4 * 10**9  # bytes kept; EQVID_CACHE_BYTES says otherwise
NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def cache_folder(cache: str | Path | None) -> Path | None:
    """ "auto" is the user's cache folder, None no cache, anything else the folder itself."""
    if cache is None or str(cache) == "none":
        return None
    return Path(platformdirs.user_cache_dir("eqvid_tf")) if str(cache) == "auto" else Path(cache)


def content_key(paths: Iterable[Path]) -> str:
    """sha256 of the files' names and bytes, read in pieces."""
    digest = hashlib.sha256(FORMAT.encode())
    for path in paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()[:40]


def remembered(
    folder: Path | None,
    files: Sequence[Path],
    name: str,
    shape: tuple[int, ...],
    frames: Callable[[], Iterator[np.ndarray]],
) -> np.ndarray:
    """The uint8 array of `shape` that `frames` yields, from the cache where it is there and whole.

    Without a folder the frames go to an unnamed temporary file that ends with the array.

    Args:
        files: what the frames are decoded from; with `name` they identify the entry.

    Raises:
        OSError: when the place is full or cannot be written; the message names the remedy.
    """
    try:
        if folder is None:
            with tempfile.TemporaryFile() as file:  # its bytes live as long as the map does
                _write(file, shape, frames)
                return _sealed(np.memmap(file, np.uint8, "c", offset=file.tell() - int(np.prod(shape)), shape=shape))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{content_key(files)}-{name}.npy"
        if not _whole(path, shape):
            with atomic(path) as draft, draft.open("wb") as file:
                _write(file, shape, frames)
        os.utime(path)
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        prune(folder, keep=path)
        return _sealed(array)
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        place = folder or tempfile.gettempdir()
        remedy = "Use --cache DIR, or --cache none." if folder else "Set TMPDIR, or use --cache DIR."
        raise OSError(f"{place}: decoded frames cannot be kept here ({error.strerror.lower()}). {remedy}") from error


def noted(
    folder: Path | None, files: Sequence[Path], make: Callable[[], dict[str, Any]], name: str = ""
) -> dict[str, Any]:
    """The small dict that `make` finds out about `files`, from a note of this name in the cache where there is one.

    A cache that cannot be written is passed over here: `remembered` says so when frames are to be kept.
    """
    if folder is None:
        return make()
    path = folder / f"{content_key(files)}{name and '-'}{name}.json"
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(path.read_text())
        os.utime(path)
        return note
    note = make()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path) as draft:
            draft.write_text(json.dumps(note))
    return note


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A draft beside `path` that takes its place only if the block ends well."""
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.draft{path.suffix}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _write(file: BinaryIO, shape: tuple[int, ...], frames: Callable[[], Iterator[np.ndarray]]) -> None:
    """Plain writes, not a writable memmap: a full disk is then an OSError and not a bus error."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
    file.writelines(np.ascontiguousarray(frame).data for frame in frames())
    file.flush()


def _sealed(array: np.memmap) -> np.memmap:
    """Read-only, though the private map below could be written, as DLPack asks of an array that it hands over."""
    array.flags.writeable = False
    return array


def _whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = path.stat().st_size == array.offset + array.size
        return whole and array.shape == tuple(shape) and array.dtype == np.uint8
    except (OSError, ValueError, EOFError):
        return False


def prune(folder: Path, keep: Path) -> None:
    """Drops the entries used longest ago until the rest fits, and drafts that a crash left a day ago."""
    room, entries = int(os.environ.get("EQVID_CACHE_BYTES", LARGEST)), []
    for path in itertools.chain(folder.glob("*.npy"), folder.glob("*.json"), folder.glob(".*.draft.*")):
        with contextlib.suppress(FileNotFoundError):
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    for used, size, path in sorted(entries, reverse=True):
        draft = path.name.startswith(".")
        room -= size
        if path != keep and (time.time() - used > 86400 if draft else room < 0):
            path.unlink(missing_ok=True)
