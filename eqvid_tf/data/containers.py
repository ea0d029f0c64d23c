"""Whether a video file ends before the end that its own structure states: the sign of an incomplete download.

Why: counting the frames is not enough. Matroska states no count, an edit list hides frames of a complete MP4, an AVI
counts frames that were dropped in recording, and FFmpeg reads an incomplete GIF without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def is_incomplete(path: Path) -> bool:
    """Whether an MP4, AVI, Matroska or GIF file is shorter than it states; False for any other kind of file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)  # bytes: more than any of the headers below
        file.seek(0)
        if head[:4] == b"\x1aE\xdf\xa3":
            return _matroska_end(head) > size
        if head[:6] in (b"GIF87a", b"GIF89a"):
            return _gif_ends_inside(file, size)
        if head[:4] == b"RIFF":
            return _end_of_boxes(file, size, _riff_length) > size + 1  # the padding byte may be missing
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _end_of_boxes(file, size, _mp4_length) > size
    return False


def _end_of_boxes(file: BinaryIO, size: int, length: Callable[[bytes], int]) -> int:
    """Where the last box of the top level ends."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        step = length(file.read(16))
        if step < 8:  # open-ended, or of a kind that is unknown to us
            return size
        position += step
    return position


def _mp4_length(box: bytes) -> int:
    length = int.from_bytes(box[:4], "big")
    return int.from_bytes(box[8:16], "big") if length == 1 else length


def _riff_length(box: bytes) -> int:
    length = int.from_bytes(box[4:8], "little")
    return 8 + length + length % 2 if box[:4] == b"RIFF" and length else 0


def _matroska_end(head: bytes) -> int:
    """Where the Segment ends; 0 when it is open-ended, as in a live recording."""
    start, length = _matroska_number(head, 4)  # the EBML header, then the four bytes of the Segment's name
    segment = start + length + 4
    if segment + 8 > len(head):
        return 0
    start, length = _matroska_number(head, segment)
    return start + length if length else 0


def _matroska_number(head: bytes, position: int) -> tuple[int, int]:
    """Where a number of variable width ends, and its value; 0 when it says that the length is not known."""
    width = 9 - head[position].bit_length()
    unknown = (1 << 7 * width) - 1
    value = int.from_bytes(head[position : position + width], "big") & unknown
    return position + width, 0 if value == unknown else value


def _gif_ends_inside(file: BinaryIO, size: int) -> bool:
    """Follow the blocks; True when the last one is not complete."""
    position = 13 + _palette_length(_read(file, 10, 1))
    while position < size:
        kind = _read(file, position, 1)
        if kind == b"!":
            position += 2
        elif kind == b",":
            position += 11 + _palette_length(_read(file, position + 9, 1))
        else:  # the trailer, or bytes after it
            return False
        while position < size and (length := _read(file, position, 1)[0]):
            position += 1 + length
        position += 1
    return position > size


def _read(file: BinaryIO, position: int, count: int) -> bytes:
    """`count` bytes, padded with zeros past the end."""
    file.seek(position)
    return file.read(count).ljust(count, b"\0")


def _palette_length(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags[0] & 0x80 else 0
