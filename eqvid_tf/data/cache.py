"""Decoded frames on disk: one raw .npy for each clip and canvas, made once and read as a memory map."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import math
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import platformdirs

from eqvid_tf.data.output import atomic

FORMAT = "2"  # part of every key; raise it whenever the same file would be decoded to other frames
MAX_BYTES = 4 * 10**9  # of all entries together; the environment variable EQVID_CACHE_BYTES sets another limit
DRAFT_SECONDS = 86400  # age from which a draft is one that a crash left: nothing is a day in the writing
PAST = 16  # items that are read one after the other, after which their memory is given back
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def cache_folder(cache: str | Path | None) -> Path | None:
    """Find the folder of the cache, and make it; None or "none" is no cache.

    "auto" is the user's cache folder, or no cache where that cannot be written or the system knows no home.

    Raises:
        OSError: the folder is not there and cannot be made; the message names the remedy.
    """
    if cache is None or str(cache) == "none":
        return None
    automatic = str(cache) == "auto"
    try:
        folder = Path(platformdirs.user_cache_dir("eqvid_tf")) if automatic else Path(cache)
        if automatic and not folder.is_absolute():  # "~/.cache", where older versions know no home
            return None
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        if automatic:
            return None
        raise _cannot_keep(Path(cache), error) from error
    return None if automatic and not os.access(folder, os.W_OK) else folder


def cached_array(
    folder: Path | None,
    files: Sequence[Path],
    name: str,
    shape: tuple[int, ...],
    frames: Callable[[], Iterator[np.ndarray]],
) -> np.ndarray:
    """Read the array that `frames` yields from the cache; if no complete entry is there, make it first.

    Without a folder the frames go to an unnamed temporary file, which is deleted with the array.

    Shapes: [*shape] uint8, read-only.

    Args:
        folder: of the cache.
        files: what the frames are decoded from; with `name` they identify the entry.
        name: what the array is, among all that is made of these files.
        shape: of the array.
        frames: decodes the frames, one at a time.

    Raises:
        OSError: the disk is full or the folder cannot be written; the message names the remedy.
    """
    try:
        return _in_temporary_file(shape, frames) if folder is None else _in_folder(folder, files, name, shape, frames)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        raise _cannot_keep(folder, error) from error


def _cannot_keep(folder: Path | None, error: Exception) -> OSError:
    """The error of a place where frames cannot be kept, with the remedy."""
    remedy = "Use --cache DIR, or --cache none." if folder else "Set TMPDIR, or use --cache DIR."
    reason = os.strerror(getattr(error, "errno", None) or 0).lower()
    return OSError(f"{folder or tempfile.gettempdir()}: decoded frames cannot be kept here ({reason}). {remedy}")


def joined(arrays: Iterable[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Arrays of one type, one after another: one alone as it is, several in an unnamed file that goes with the result.

    Why a file: the frames of a thousand clips are more than a process should hold, and the system keeps in memory those
    that are in use.

    Shapes: [count, ...] each -> [sum of counts, ...].

    Args:
        arrays: made one at a time.
        counts: the length of each.

    Raises:
        OSError: the disk is full; the message names the remedy.
    """
    source = iter(arrays)
    first = next(source)
    if len(counts) == 1:
        return first
    shape = (sum(counts), *first.shape[1:])
    try:
        return _in_temporary_file(shape, lambda: itertools.chain([first], source), first.dtype)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        raise _cannot_keep(None, error) from error


def release(arrays: Iterable[np.ndarray]) -> None:
    """Give back the memory of arrays that lie in files, or of parts of them; they are read again when they are used.

    Why: while a thousand clips get new hints, the old ones would stay in memory beside them.
    """
    maps = set[mmap.mmap]()
    for array in arrays:
        base: object = array
        while isinstance(base, np.ndarray | memoryview):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        maps |= {base} if isinstance(base, mmap.mmap) else set()
    for one in maps:
        one.madvise(mmap.MADV_DONTNEED)


def read_in_turn(array: np.ndarray) -> Iterator[np.ndarray]:
    """The items of an array that lies in a file, one after the other; the memory of those that are past is given back.

    Why: all of it would stay in memory, of a long clip as much as everything else.
    """
    for index, item in enumerate(array):
        yield item
        if index % PAST == PAST - 1:
            release([array])


def cached_note(
    folder: Path | None, files: Sequence[Path], make: Callable[[], dict[str, Any]], name: str = ""
) -> dict[str, Any]:
    """Read what `make` finds out about files, a small dict, from the cache; if it is not there, make it first.

    A cache that cannot be written is no error here: `cached_array` reports it when frames are to be stored.
    """
    if folder is None:
        return make()
    path = folder / f"{content_key(files)}{name and '-'}{name}.json"
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(path.read_text(encoding="utf-8"))
        os.utime(path)
        return note
    note = make()
    with contextlib.suppress(OSError), atomic(path) as draft:
        draft.write_text(json.dumps(note), encoding="utf-8")
    return note


def content_key(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' names and bytes; a process reads them once, as long as they do not change."""
    stated = ((path, path.stat()) for path in paths)
    return _digest_of(tuple((path, state.st_size, state.st_mtime_ns) for path, state in stated))


@functools.lru_cache
def _digest_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    """The key of files, by path, size and time of change; read in blocks."""
    digest = hashlib.sha256(FORMAT.encode())
    for path, _, _ in files:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:40]


def _in_temporary_file(
    shape: tuple[int, ...], frames: Callable[[], Iterator[np.ndarray]], dtype: npt.DTypeLike = np.uint8
) -> np.ndarray:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile() as file:  # its bytes live as long as the map does
        _write(file, shape, frames, dtype)
        return _read_only(np.memmap(file, dtype, "c", offset=file.tell() - size, shape=shape))


def _in_folder(
    folder: Path, files: Sequence[Path], name: str, shape: tuple[int, ...], frames: Callable[[], Iterator[np.ndarray]]
) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content_key(files)}-{name}.npy"
    if not _is_complete(path, shape):
        with atomic(path) as draft, draft.open("wb") as file:
            _write(file, shape, frames)
    os.utime(path)
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    _prune(folder, keep=path)
    return _read_only(array)


def _write(
    file: BinaryIO, shape: tuple[int, ...], frames: Callable[[], Iterator[np.ndarray]], dtype: npt.DTypeLike = np.uint8
) -> None:
    """Plain writes, not a writable memory map: a full disk is then an OSError and not a bus error."""
    kind = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": tuple(shape)})
    file.writelines(np.ascontiguousarray(frame).data for frame in frames())
    file.flush()


def _read_only(array: np.memmap) -> np.memmap:
    """Sealed, though the private map under it could be written: DLPack asks that of an array that it hands over."""
    array.flags.writeable = False
    return array


def _is_complete(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        complete = path.stat().st_size == array.offset + array.size
        return complete and array.shape == tuple(shape) and array.dtype == np.uint8
    except (OSError, ValueError, EOFError):
        return False


def _prune(folder: Path, keep: Path) -> None:
    """Delete the entries that were used longest ago until the rest fits, and the drafts that a crash left."""
    room, entries = int(os.environ.get("EQVID_CACHE_BYTES", MAX_BYTES)), []
    for path in itertools.chain(folder.glob("*.npy"), folder.glob("*.json"), folder.glob(".*.draft.*")):
        with contextlib.suppress(FileNotFoundError):
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    for used, size, path in sorted(entries, reverse=True):
        is_draft = path.name.startswith(".")
        room -= size
        if path != keep and (time.time() - used > DRAFT_SECONDS if is_draft else room < 0):
            path.unlink(missing_ok=True)
