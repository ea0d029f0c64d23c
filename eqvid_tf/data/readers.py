"""What a clip is read from: a video file through FFmpeg, or image files through Pillow."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from eqvid_tf.data.containers import is_incomplete
from eqvid_tf.data.images import ClipError, image_size, open_image, over_black, read_image, to_rgb
from eqvid_tf.pixels.resampling import resize

Item = TypeVar("Item")
IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".tga"}
FPS = 25.0  # frames per second of a clip that does not say
# Grey levels by which a small frame differs from the same resize of the large one: 0.2; with FFmpeg's own flags, 3.
SCALING = (
    Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
SHORTEST_WEBP_FRAME = 10  # milliseconds: what players make of a frame whose file says 0
REMEDY = "Give a video, a GIF or a folder of images."


class Reader(Protocol):
    """What a clip is read from.

    Attributes:
        size: (height, width) as displayed.
        fps: frames per second.
        count: number of frames.
    """

    size: tuple[int, int]
    fps: float
    count: int

    def read(self, size: tuple[int, int], start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        """The frames start:stop:step, resized to `size`, one at a time: uint8 RGB [*size, 3]."""


class ImageReader:
    """Reads images in the order that is given, one file a frame.

    Raises:
        ClipError: an image is missing, damaged or of another size than the first.
    """

    def __init__(self, paths: list[Path], fps: float = FPS):
        self.paths, self.fps, self.count = paths, fps, len(paths)
        self.size = image_size(paths[0])
        for path in paths:
            if (size := image_size(path)) != self.size:
                raise ClipError(
                    f"{path}: this frame is {size[1]}x{size[0]}, the first one {self.size[1]}x{self.size[0]}. "
                    "Frames of a clip must be of one size."
                )

    def read(self, size: tuple[int, int], start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        for path in self.paths[start:stop:step]:
            yield resize(read_image(path), size)


def in_name_order(folder: Path) -> list[Path]:
    """List the images of a folder: numbers in names count by value (2 before 10), hidden files are left out."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and p.name[0] != "." and p.is_file()]
    return sorted(images, key=lambda p: ([(w, int(d or -1)) for w, d in re.findall(r"(\D*)(\d*)", p.stem)], p.name))


class WebpReader:
    """Reads an animated WebP through Pillow, as FFmpeg decodes none.

    Raises:
        ClipError: the file is missing, damaged or no image.
    """

    def __init__(self, path: Path):
        self.path = path
        with open_image(path) as image:
            self.size, self.count = (image.height, image.width), getattr(image, "n_frames", 1)
        times = np.cumsum([0.0, *(seconds for _, seconds in self._frames())])[:-1]
        self.fps, self.pick = even_steps(list(times), FPS)

    def read(self, size: tuple[int, int], start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        for frame in _picked((frame for frame, _ in self._frames()), self.pick, start, stop, step):
            yield resize(frame, size)

    def _frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Each frame, and for how many seconds it is displayed."""
        with open_image(self.path) as image:
            for k in range(self.count):
                try:
                    image.seek(k)
                    frame = to_rgb(image)  # first: until a frame is decoded, Pillow states the duration of another
                    yield frame, max(image.info.get("duration") or 0, SHORTEST_WEBP_FRAME) / 1000
                except (OSError, EOFError, ValueError) as error:
                    raise _damaged(self.path, k, self.count) from error


class Turn(NamedTuple):
    """How a decoded frame becomes the displayed one: the axes are swapped first, then it is flipped."""

    swap_axes: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known of a video once all of it is decoded.

    Attributes:
        count: number of frames.
        fps: frames per second.
        pick: which decoded frame each of `count` even steps in time takes; None: each exactly once.
        coded: (height, width) of a decoded frame.
        turn: from a decoded to a displayed frame.
        pixel_aspect: width / height of a pixel.
        alpha: whether the pixels hold transparency.
    """

    count: int
    fps: float
    pick: list[int] | None
    coded: tuple[int, int]
    turn: Turn
    pixel_aspect: float
    alpha: bool

    def to_note(self) -> dict[str, Any]:
        """The facts as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> VideoFacts:
        """The facts that `to_note` gave, after JSON has made lists of tuples."""
        height, width = note["coded"]
        return cls(**{**note, "coded": (height, width), "turn": Turn(*note["turn"])})


class VideoReader:
    """Reads a file that FFmpeg decodes; its rotation, pixel aspect and times are respected.

    Convention:
        Frames at a variable rate are repeated or dropped, by the nearest time, so that there are as many
        frames as the file has, at even steps in time. Transparent pixels are composited over black.

    Args:
        path: the file.
        facts: what `examine` gives of it; None: it is called.

    Raises:
        ClipError: when it is no video, cut or damaged.
    """

    def __init__(self, path: Path, facts: VideoFacts | None = None):
        self.path, self.facts = path, facts or examine(path)
        self.fps, self.count = self.facts.fps, self.facts.count
        height, width = self.facts.coded[0], max(1, round(self.facts.coded[1] * self.facts.pixel_aspect))
        self.size = (width, height) if self.facts.turn.swap_axes else (height, width)

    def read(self, size: tuple[int, int], start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        reformatter, count = VideoReformatter(), 0
        with opened(self.path) as (container, stream):
            stream.thread_type = "AUTO"  # `examine` has decoded it strictly before
            frames = _decoded(self.path, container, stream)
            for frame in _picked(frames, self.facts.pick, start, stop, step):
                yield self._converted(frame, size, reformatter)
                count += 1
        if count != len(range(start, stop, step)):
            raise ClipError(f"{self.path}: the file has changed since it was opened. Open it again.")

    def _converted(self, frame: av.VideoFrame, size: tuple[int, int], reformatter: VideoReformatter) -> np.ndarray:
        """A decoded frame as displayed, uint8 RGB [*size, 3]."""
        turn, alpha = self.facts.turn, self.facts.alpha
        # With alpha, the colours under transparent pixels must not bleed into a smaller frame: scale after.
        height, width = self.facts.coded if alpha else size[::-1] if turn.swap_axes else size
        kind = "rgba" if alpha else "rgb24"
        array = reformatter.reformat(frame, width, height, kind, interpolation=SCALING).to_ndarray()
        array = over_black(array) if alpha else array
        array = array.swapaxes(0, 1) if turn.swap_axes else array
        array = array[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]
        return resize(np.ascontiguousarray(array), size)


def examine(path: Path) -> VideoFacts:
    """Decode a video once, strictly: nothing else gives its true count and times, and finds damage.

    Raises:
        ClipError: when it is no video, cut or damaged.
    """
    times: list[float | None] = []
    first = None
    with opened(path) as (container, stream):
        for frame in _decoded(path, container, stream):
            first = first or frame
            times.append(frame.time)
        rate = float(stream.average_rate or stream.guessed_rate or FPS)
        if first is None or (is_incomplete(path) and not _has_all_frames(container, stream, times, rate)):
            raise _damaged(path, len(times), _stated_count(stream))
        pixel_aspect = float(stream.sample_aspect_ratio or 1)
    fps, pick = even_steps(times, rate)
    return VideoFacts(
        count=len(times),
        fps=fps,
        pick=pick,
        coded=(first.height, first.width),
        turn=_turn_of(first),
        pixel_aspect=pixel_aspect if 0.1 < pixel_aspect < 10 else 1.0,  # beyond that, a file's value is a mistake
        alpha=any(part.is_alpha for part in first.format.components),
    )


def _has_all_frames(
    container: av.container.InputContainer, stream: av.VideoStream, times: list[float | None], rate: float
) -> bool:
    """Whether a file that lost its end lost no frame: an index or a trailer may be all that is missing."""
    if "matroska" in container.format.name:
        last = times[-1]  # the stated duration is rounded, and it may or may not count the last frame's own time
        return last is not None and last + 1.5 / rate > (container.duration or 0) / 1e6
    return 0 < _stated_count(stream) <= len(times)


def _stated_count(stream: av.VideoStream) -> int:
    return 0 if stream.codec_context.name == "gif" else stream.frames  # of a GIF, FFmpeg counts what is left


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a container and its first video stream, set to decode strictly.

    Raises:
        ClipError: the file holds no video.
    """
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        why = "the file is cut" if is_incomplete(path) else str(error.strerror).lower()
        raise ClipError(f"{path}: FFmpeg finds no video here ({why}). {REMEDY}") from error
    with container:
        streams = [stream for stream in container.streams.video if stream.codec_context is not None]
        if not streams:
            cut = "the file is cut or damaged" if is_incomplete(path) else "sound alone, or nothing"
            raise ClipError(f"{path}: there is no video in this file ({cut}). {REMEDY}")
        streams[0].thread_type = "NONE"  # with threads FFmpeg passes over damage in silence
        yield container, streams[0]


def _decoded(path: Path, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Decoded frames; ClipError at the first sign of damage."""
    count = 0
    try:
        for packet in container.demux(stream):
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise _damaged(path, count, _stated_count(stream))
                count += 1
                yield frame
    except av.FFmpegError as error:
        raise _damaged(path, count, _stated_count(stream)) from error


def _damaged(path: Path, decoded: int, stated: int) -> ClipError:
    frames = f"of {stated} frames" if stated > decoded else "frame" if decoded == 1 else "frames"
    return ClipError(f"{path}: decoded {decoded} {frames}; the file is cut or damaged. Make or download it again.")


def _picked(frames: Iterable[Item], pick: list[int] | None, start: int, stop: int, step: int = 1) -> Iterator[Item]:
    """The frames of the even steps start:stop:step; `pick`, which never falls, says which of `frames` each one is."""
    if pick is None:
        yield from itertools.islice(frames, start, stop, step)
        return
    wanted = start
    for k, frame in enumerate(frames):
        while wanted < stop and pick[wanted] == k:
            yield frame
            wanted += step
        if wanted >= stop:
            return


def even_steps(times: list[float | None], stated: float) -> tuple[float, list[int] | None]:
    """Turn the times of frames into an average rate, and say which frame is nearest to each even step of it.

    Returns:
        Frames per second, and an index for each step; None for the indices: each frame exactly once, as none is
        half a step or more away from its own.

    Args:
        times: seconds, one for each frame; None for a frame without a time.
        stated: frames per second that the file states.

    Example:
        >>> even_steps([0.0, 0.1, 0.2, 0.6], 10.0)
        (5.0, [0, 2, 2, 3])
    """
    known = [time for time in times if time is not None]
    seconds = np.array(known if 1 < len(known) == len(times) else [0.0])
    if (np.diff(seconds) < 0).any() or seconds[-1] <= seconds[0]:
        return stated, None
    even = np.linspace(seconds[0], seconds[-1], len(seconds))
    fps = (len(seconds) - 1) / float(seconds[-1] - seconds[0])
    if np.abs(seconds - even).max() * fps < 0.5:
        return (stated if abs(fps / stated - 1) < 0.01 else round(fps, 6)), None
    return round(fps, 6), np.searchsorted((seconds[1:] + seconds[:-1]) / 2, even).tolist()


def _turn_of(frame: av.VideoFrame) -> Turn:
    """The turn that the frame's display matrix asks for."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Turn()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return Turn(True, b < 0, c < 0) if abs(a) < abs(b) else Turn(False, d < 0, a < 0)
