"""Whether a video file ends before the end that its own structure states: the mark of a cut download.

A frame count alone does not tell. Matroska states none, an edit list hides frames of a whole MP4, an AVI
counts frames that were dropped in recording, and FFmpeg passes over a cut GIF in silence.
"""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def cut_short(path: Path) -> bool:
    """True when an MP4, AVI, Matroska or GIF file is shorter than it says; False when whole or of another kind."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
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
    at = 0
    while at + 8 <= size:
        file.seek(at)
        step = length(file.read(16))
        if step < 8:  # open-ended, or nothing that we know
            return size
        at += step
    return at


def _mp4_length(box: bytes) -> int:
    length = int.from_bytes(box[:4], "big")
    return int.from_bytes(box[8:16], "big") if length == 1 else length


def _riff_length(box: bytes) -> int:
    length = int.from_bytes(box[4:8], "little")
    return 8 + length + length % 2 if box[:4] == b"RIFF" and length else 0


def _matroska_end(head: bytes) -> int:
    """The end of the Segment; 0 when it is open-ended, as in a live recording."""

    def number(at: int) -> tuple[int, int]:
        width = 9 - head[at].bit_length()
        value = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
        return at + width, 0 if value == (1 << 7 * width) - 1 else value

    at, skip = number(4)  # the EBML head, then the Segment's four bytes of name
    at += skip + 4
    if at + 8 > len(head):
        return 0
    at, length = number(at)
    return at + length if length else 0


def _gif_ends_inside(file: BinaryIO, size: int) -> bool:
    """Walks the blocks; True when the last one is not all there."""
    at = 13 + _palette(_bytes(file, 10, 1))
    while at < size:
        kind = _bytes(file, at, 1)
        if kind == b"!":
            at += 2
        elif kind == b",":
            at += 11 + _palette(_bytes(file, at + 9, 1))
        else:  # the trailer, or bytes after it
            return False
        while at < size and (length := _bytes(file, at, 1)[0]):
            at += 1 + length
        at += 1
    return at > size


def _bytes(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count).ljust(count, b"\0")


def _palette(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags[0] & 0x80 else 0
