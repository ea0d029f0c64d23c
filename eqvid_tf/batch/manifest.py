"""The manifest of a batch: a CSV or JSON-lines file with a row for each clip, or a folder of clips."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from eqvid_tf.config import TrainConfig, minutes_or_auto
from eqvid_tf.data.clips import frame_range
from eqvid_tf.data.output import OutputError, check_output

COLUMNS = ("name", "path", "frames", "minutes", "steps", "seed", "write")
WRITABLE = ("plates", "videos", "sheet", "page")  # beside the layers, which are always written
FILMS = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".ts", ".ogv", ".gif", ".webp"}
LOCK = ".lock"  # a file that the folder of every clip has: the mark of a batch
REPORT = "report.html"

Row: TypeAlias = dict[str, Any]


class ManifestError(ValueError):
    """A manifest that cannot be worked on: one line with the place, what was expected and what was received."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchClip:
    """A row of a manifest.

    Attributes:
        name: of the clip's folder in the output.
        path: of the clip, absolute.
        frames: A:B, as of `--frames`; empty for all.
        train: `minutes`, `steps` and `seed` are the row's.
        write: which of `WRITABLE`.
    """

    name: str
    path: Path
    frames: str = ""
    train: TrainConfig = TrainConfig()
    write: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """What the clip is read from: its file, or all files of its folder, in the order of their paths."""
        if not self.path.is_dir():
            return [self.path]
        return sorted(path for path in self.path.rglob("*") if path.is_file())


def read_manifest(path: Path, output: Path) -> list[BatchClip]:
    """Read a manifest, with everything checked that can be before any clip is opened.

    Args:
        path: of a .csv or .jsonl file, in which paths are relative to its folder; or a folder, of which each film and
            each folder is a clip.
        output: the folder for the results.

    Raises:
        ManifestError: the first row that is wrong, in one line.
        OutputError: the place of a clip's results cannot be written, or holds something else.
    """
    path, output = path.resolve(), output.resolve()
    found = [(where, _clip(where, row, path)) for where, row in _rows(path, output)]
    if not found:
        raise ManifestError(f"{path}: there are no clips in it. Give a manifest with rows, or a folder of films.")
    seen: dict[str, str] = {}
    for where, clip in found:
        if (first := seen.setdefault(clip.name, where)) != where:
            raise ManifestError(f"{where}: the name {clip.name!r} is that of {first}, too. Give each clip its own.")
        _check_place(where, clip, output / clip.name)
    return [clip for _, clip in found]


def _rows(path: Path, output: Path) -> Iterator[tuple[str, Row]]:
    """Each row, and where it stands."""
    if not path.exists():
        raise ManifestError(f"{path}: there is no such file or folder. Check the path.")
    if path.is_dir():
        clips = sorted(place for place in path.iterdir() if _is_film(place) and place != output)
        yield from ((str(clip), {"name": clip.stem, "path": clip.name}) for clip in clips)
        return
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}
    if path.suffix.lower() not in readers:
        raise ManifestError(f"{path}: a manifest ends in .csv or .jsonl, or is a folder; received {path.suffix!r}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: this is no text in UTF-8. Save it as UTF-8.") from error
    yield from readers[path.suffix.lower()](path, text)


def _is_film(path: Path) -> bool:
    return path.name[0] != "." and (path.is_dir() or path.suffix.lower() in FILMS)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, Row]]:
    """The rows of a CSV file; an empty cell is as one that is not there."""
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        _check_columns(f"{path}, line 1", columns)
        if len(set(columns)) < len(columns):
            raise ManifestError(f"{path}, line 1: two columns have one name; received {', '.join(columns)}.")
        for cells in reader:
            where = f"{path}, line {reader.reader.line_num}"
            if None in cells:
                raise ManifestError(f"{where}: more cells than the {len(columns)} columns. Quote a cell with a comma.")
            yield where, {column: cell.strip() for column, cell in cells.items() if cell and cell.strip()}
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.reader.line_num}: this is not CSV: {error}.") from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, Row]]:
    """The rows of a JSON-lines file; null is as a key that is not there."""
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ManifestError(f"{where}: this is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise ManifestError(f'{where}: expected {{"path": ...}}; received {line.strip()[:40]}.')
        _check_columns(where, list(row))
        yield where, {key: value for key, value in row.items() if value is not None}


def _check_columns(where: str, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in COLUMNS:
            raise ManifestError(f"{where}: expected of {', '.join(COLUMNS)}; received the column {column!r}.")
    if "path" not in columns:
        raise ManifestError(f"{where}: there is no path. Give that of the clip.")


def _clip(where: str, row: Row, manifest: Path) -> BatchClip:
    """A row, checked by itself."""
    try:
        path = _path_of(row, manifest if manifest.is_dir() else manifest.parent)
        frames = str(row.get("frames", ""))
        if frames:
            frame_range(frames)
        if "minutes" in row and "steps" in row:
            raise ValueError("minutes and steps are two ways to say how long; give one of them.")
        numbers: Row = {column: _number(row, column) for column in ("minutes", "steps", "seed") if column in row}
        if numbers.get("steps") == 0:
            raise ValueError("steps must be at least 1; received 0")
        name, train = _name_of(row, path), TrainConfig(**numbers)
        return BatchClip(name=name, path=path, frames=frames, train=train, write=_write_of(row))
    except ValueError as error:
        raise ManifestError(f"{where}: {str(error).removesuffix('.')}.") from error


def _path_of(row: Row, folder: Path) -> Path:
    text = row.get("path", "")
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"path must be that of a clip; received {text!r}")
    path = (folder / text).resolve()
    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder. Check the path")
    return path


def _name_of(row: Row, path: Path) -> str:
    """The name of a clip, that of its file where none is given: it becomes a folder, so it must be one plain name."""
    name = row.get("name", path.stem)
    plain = isinstance(name, str) and name == name.strip() and name[:1] not in ("", ".") and name != REPORT
    if not plain or len(name.encode()) > 200 or not name.isprintable() or set(name) & set("/\\"):
        raise ValueError(f"name must be a plain name for a folder, without / or a dot in front; received {name!r}")
    return name


def _number(row: Row, column: str) -> float | str:
    kind = {"minutes": minutes_or_auto}.get(column, int)
    try:
        return kind(str(row[column]))
    except ValueError:
        what = "a whole number" if kind is int else "a number or auto"
        raise ValueError(f"{column} must be {what}; received {row[column]!r}") from None


def _write_of(row: Row) -> tuple[str, ...]:
    """What to write beside the layers: a list, or words with spaces between."""
    given = row.get("write", [])
    words = given.split() if isinstance(given, str) else given
    if not isinstance(words, list) or not all(word in WRITABLE for word in words):
        raise ValueError(f"write must be of {', '.join(WRITABLE)}, with spaces between; received {given!r}")
    return tuple(word for word in WRITABLE if word in words)


def _check_place(where: str, clip: BatchClip, folder: Path) -> None:
    """Check that the results of a clip have a folder of their own, in which the clip itself does not lie."""
    if clip.path == folder or folder in clip.path.parents or clip.path in folder.parents:
        raise ManifestError(f"{where}: the clip lies where its results go, {folder}. Choose another --output.")
    check_output(folder, overwrite=True, inside=True)
    if folder.exists() and not (folder / LOCK).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: is there already, and not from eqvid batch. Choose another --output or name.")
