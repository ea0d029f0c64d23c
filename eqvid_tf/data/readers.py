"""What a clip is read from: a video file through FFmpeg, or image files through Pillow.

A reader has `size` (height, width), `fps`, `count`, and `read(size, start, stop, step)`: frames, uint8 RGB.
"""

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from eqvid_tf.data.containers import cut_short
from eqvid_tf.data.images import ClipError, image_size, open_image, over_black, read_image, to_rgb
from eqvid_tf.pixels.resampling import resize

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".tga"}
FPS = 25.0  # of a clip that does not say
# With FFmpeg's default flags a small frame is 3 grey levels off the same resize of the large one; so, 0.2.
SCALING = (
    Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
REMEDY = "Give a video, a GIF or a folder of images."


class ImageReader:
    """Images in name order (numbers by value: 2 before 10), one file a frame."""

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
    """The images of a folder; numbers in names count by value, hidden files do not count."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and p.name[0] != "." and p.is_file()]
    return sorted(images, key=lambda p: ([(w, int(d or -1)) for w, d in re.findall(r"(\D*)(\d*)", p.stem)], p.name))


class WebpReader:
    """An animated WebP, through Pillow, as FFmpeg decodes none."""

    def __init__(self, path: Path):
        self.path = path
        with open_image(path) as image:
            self.size, self.count = (image.height, image.width), getattr(image, "n_frames", 1)
        times = np.cumsum([0.0, *(seconds for _, seconds in self._frames())])[:-1]
        self.fps, self.pick = even_steps(list(times), FPS)

    def _frames(self) -> Iterator[tuple[np.ndarray, float]]:
        with open_image(self.path) as image:
            for k in range(self.count):
                try:
                    image.seek(k)
                    yield to_rgb(image), max(image.info.get("duration") or 0, 10) / 1000
                except (OSError, EOFError, ValueError) as error:
                    raise damaged(self.path, k, self.count) from error

    def read(self, size: tuple[int, int], start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        for frame in picked((frame for frame, _ in self._frames()), self.pick, start, stop, step):
            yield resize(frame, size)


class VideoReader:
    """A file that FFmpeg decodes, with its rotation, pixel aspect and timing honoured.

    Convention:
        A frame at a variable rate is repeated or dropped, by the nearest time, so that there are as many
        frames as the file has, an even step apart. A transparent pixel lies on black.

    Args:
        facts: the `facts` of an earlier reader of the same file, which spare decoding it all once.
    """

    def __init__(self, path: Path, facts: dict[str, Any] | None = None):
        self.path, self.facts = path, facts or examine(path)
        self.coded, self.turn, self.alpha = (self.facts[key] for key in ("coded", "turn", "alpha"))
        self.fps, self.pick, self.count = (self.facts[key] for key in ("fps", "pick", "count"))
        unturned = self.coded[0], max(1, round(self.coded[1] * self.facts["pixel_aspect"]))
        self.size = unturned[::-1] if self.turn[0] else unturned

    def read(self, size: tuple[int, int], start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        reformatter, (transposed, *flips) = VideoReformatter(), self.turn
        # With alpha, the colours under transparent pixels must not bleed into a smaller frame: scale after.
        height, width = self.coded if self.alpha else size[::-1] if transposed else size
        kind, axes, given = "rgba" if self.alpha else "rgb24", [k for k in (0, 1) if flips[k]], 0
        with opened(self.path) as (container, stream):
            stream.thread_type = "AUTO"  # `examine` has decoded it strictly before
            frames = strictly(self.path, container, stream)
            for frame in picked(frames, self.pick, start, stop, step):
                array = reformatter.reformat(frame, width, height, kind, interpolation=SCALING).to_ndarray()
                array = over_black(array) if self.alpha else array
                array = array.swapaxes(0, 1) if transposed else array
                yield resize(np.ascontiguousarray(np.flip(array, axes)), size)
                given += 1
        if given != len(range(start, stop, step)):
            raise ClipError(f"{self.path}: the file has changed since it was opened. Open it again.")


def examine(path: Path) -> dict[str, Any]:
    """Decodes a video once, strictly, for what cannot be had otherwise: its true count and times, and damage.

    Raises:
        ClipError: when it is no video, cut or damaged.
    """
    times, first = [], None
    with opened(path) as (container, stream):
        for frame in strictly(path, container, stream):
            first = first or frame
            times.append(frame.time)
        rate = float(stream.average_rate or stream.guessed_rate or FPS)
        if not times or (cut_short(path) and not _all_there(container, stream, times, rate)):
            raise damaged(path, len(times), _stated(stream))
        pixel_aspect = float(stream.sample_aspect_ratio or 1)
    fps, pick = even_steps(times, rate)
    return {
        "count": len(times),
        "fps": fps,
        "pick": pick,
        "coded": [first.height, first.width],
        "turn": turn_of(first),
        "pixel_aspect": pixel_aspect if 0.1 < pixel_aspect < 10 else 1.0,
        "alpha": any(part.is_alpha for part in first.format.components),
    }


def _all_there(container, stream, times: list[float | None], rate: float) -> bool:
    """Whether a file that lost its end lost no frame: an index or a trailer may be all that is gone."""
    if "matroska" in container.format.name:
        return times[-1] is not None and times[-1] + 1.5 / rate > (container.duration or 0) / 1e6
    return 0 < _stated(stream) <= len(times)


def _stated(stream) -> int:
    return 0 if stream.codec_context.name == "gif" else stream.frames  # of a GIF FFmpeg counts what is left


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its first video stream, set to decode strictly; ClipError when there is none."""
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        why = "the file is cut" if cut_short(path) else error.strerror.lower()
        raise ClipError(f"{path}: FFmpeg finds no video here ({why}). {REMEDY}") from error
    with container:
        streams = [stream for stream in container.streams.video if stream.codec_context is not None]
        if not streams:
            cut = "the file is cut or damaged" if cut_short(path) else "sound alone, or nothing"
            raise ClipError(f"{path}: there is no video in this file ({cut}). {REMEDY}")
        streams[0].thread_type = "NONE"  # with threads FFmpeg passes over damage in silence
        yield container, streams[0]


def strictly(path: Path, container, stream) -> Iterator[av.VideoFrame]:
    """Decoded frames; ClipError at the first sign of damage."""
    count = 0
    try:
        for packet in container.demux(stream):
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise damaged(path, count, _stated(stream))
                count += 1
                yield frame
    except av.FFmpegError as error:
        raise damaged(path, count, _stated(stream)) from error


def damaged(path: Path, decoded: int, stated: int) -> ClipError:
    frames = f"of {stated} frames" if stated > decoded else "frame" if decoded == 1 else "frames"
    return ClipError(f"{path}: decoded {decoded} {frames}; the file is cut or damaged. Make or download it again.")


def picked(frames: Iterable, pick: list[int] | None, start: int, stop: int, step: int = 1) -> Iterator:
    """Items start:stop:step of the even clock; `pick` (not falling) names which of `frames` each one is."""
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
    """The average rate of frames shown at `times` (seconds), and which frame is nearest to each even step of it.

    None for the frames means each exactly once: none is half a step off or more.

    Example:
        >>> even_steps([0.0, 0.1, 0.2, 0.6], 10.0)
        (5.0, [0, 2, 2, 3])
    """
    known = len(times) > 1 and None not in times
    at = np.array(times if known else [0.0])
    if (np.diff(at) < 0).any() or at[-1] <= at[0]:
        return stated, None
    even = np.linspace(at[0], at[-1], len(at))
    fps = (len(at) - 1) / float(at[-1] - at[0])
    if np.abs(at - even).max() * fps < 0.5:
        return (stated if abs(fps / stated - 1) < 0.01 else round(fps, 6)), None
    return round(fps, 6), np.searchsorted((at[1:] + at[:-1]) / 2, even).tolist()


def turn_of(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """The display matrix as (swap the axes, then flip top to bottom, then left to right)."""
    for side in frame.side_data:
        if side.type == av.sidedata.sidedata.Type.DISPLAYMATRIX:
            a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].tolist()
            return (True, b < 0, c < 0) if abs(a) < abs(b) else (False, d < 0, a < 0)
    return False, False, False
