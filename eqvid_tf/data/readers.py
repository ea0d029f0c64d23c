"""What a clip is read from: a video file through FFmpeg, or image files through Pillow."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Interpolation, VideoReformatter

from eqvid_tf.data.colours import HDR, to_screen, wide_colours
from eqvid_tf.data.containers import is_incomplete
from eqvid_tf.data.decoding import (
    BUILDS_ON_OTHERS,
    Key,
    damaged,
    decoded,
    deinterlaced,
    list_packets,
    opened,
    stated_count,
)
from eqvid_tf.data.images import ClipError, image_size, open_image, over_black, read_image, to_rgb
from eqvid_tf.pixels.resampling import resize

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".tga"}
FPS = 25.0  # frames per second of a clip that does not say
# Grey levels by which a small frame differs from the same resize of the large one: 0.2; with FFmpeg's own flags, 3.
SCALING = (
    Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
Frame = TypeVar("Frame")
SHORTEST_WEBP_FRAME = 10  # milliseconds: what players make of a frame whose file says 0


class Reader(Protocol):
    """What a clip is read from.

    Attributes:
        size: (height, width) as displayed.
        fps: frames per second that it states.
        count: number of frames.
        times: of each frame, in seconds; None for one without a time.
        remarks: what is done to the frames that a person should know of.
    """

    size: tuple[int, int]
    fps: float
    count: int
    times: list[float | None]
    remarks: list[str]

    def read(self, size: tuple[int, int], numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames of these numbers, which rise, resized to `size`, one at a time: uint8 RGB [*size, 3].

        Others are decoded where the wanted ones build on them, but not converted, which takes longer than to decode.
        """


class ImageReader:
    """Reads images in the order that is given, one file a frame.

    Args:
        paths: of the images.
        fps: frames per second.
        wanted: those that will be read; others may be damaged.

    Raises:
        ClipError: a wanted image is missing, damaged or of another size than the first of them.
    """

    def __init__(self, paths: list[Path], fps: float = FPS, wanted: slice = slice(None)):
        self.paths, self.fps, self.count = paths, fps, len(paths)
        self.times: list[float | None] = [None] * self.count
        self.remarks: list[str] = []
        paths = paths[wanted] or paths
        self.size = image_size(paths[0])
        for path in paths:
            if (size := image_size(path)) != self.size:
                raise ClipError(
                    f"{path}: this frame is {size[1]}x{size[0]}, the first one {self.size[1]}x{self.size[0]}. "
                    "Frames of a clip must be of one size."
                )

    def read(self, size: tuple[int, int], numbers: Sequence[int]) -> Iterator[np.ndarray]:
        for number in numbers:
            yield resize(read_image(self.paths[number]), size)


def in_name_order(folder: Path) -> list[Path]:
    """List the images of a folder: numbers in names count by value (2 before 10), hidden files are left out."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and p.name[0] != "." and p.is_file()]
    return sorted(images, key=lambda p: ([(w, int(d or -1)) for w, d in re.findall(r"(\D*)(\d*)", p.stem)], p.name))


class WebpReader:
    """Reads an animated WebP through Pillow, as FFmpeg decodes none.

    Args:
        path: the file.
        stop: the end of the frames that will be read, where later ones may be damaged; None: all.

    Raises:
        ClipError: the file is missing, damaged or no image.
    """

    def __init__(self, path: Path, stop: int | None = None):
        self.path = path
        with open_image(path) as image:
            self.size, self.count = (image.height, image.width), getattr(image, "n_frames", 1)
        self.count = self.count if stop is None else min(self.count, stop)
        times = np.cumsum([0.0, *(seconds for _, seconds in self._frames())])[:-1].tolist()
        self.fps = FPS
        self.times: list[float | None] = times
        self.remarks: list[str] = []

    def read(self, size: tuple[int, int], numbers: Sequence[int]) -> Iterator[np.ndarray]:
        for frame, _ in _at(numbers, self._frames()):
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
                    raise damaged(self.path, k, self.count) from error


def _at(numbers: Sequence[int], frames: Iterator[Frame], first: int = 0) -> Iterator[Frame]:
    """Those of these numbers among frames that are counted from `first` on; none after the last number is made."""
    wanted = set(numbers)
    counted = enumerate(itertools.islice(frames, numbers[-1] + 1 - first), first)
    return (frame for number, frame in counted if number in wanted)


class Turn(NamedTuple):
    """How a decoded frame becomes the displayed one: the axes are swapped first, then it is flipped."""

    swap_axes: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known of a video once it, or a range of it, is decoded.

    Attributes:
        count: number of frames; of a range, those up to its end.
        fps: frames per second that the file states.
        times: of each frame, in seconds; None for one without a time, and for those before a range.
        keys: frames at which decoding can begin.
        coded: (height, width) of a decoded frame.
        turn: from a decoded to a displayed frame.
        pixel_aspect: width / height of a pixel.
        alpha: whether the pixels hold transparency.
        interlaced: whether any frame is of two fields, taken at two times.
        colours: name of the colours that are wider than a screen's, "PQ", "HLG" or "BT.2020" say; else "".
    """

    count: int
    fps: float
    times: list[float | None]
    keys: list[Key]
    coded: tuple[int, int]
    turn: Turn
    pixel_aspect: float
    alpha: bool
    interlaced: bool
    colours: str

    def to_note(self) -> dict[str, Any]:
        """The facts as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> VideoFacts:
        """The facts that `to_note` gave, after JSON has made lists of tuples."""
        height, width = note["coded"]
        keys = [Key(*key) for key in note["keys"]]
        return cls(**{**note, "coded": (height, width), "turn": Turn(*note["turn"]), "keys": keys})

    @property
    def remarks(self) -> list[str]:
        """What is done to the frames that a person should know of, one line each."""
        how = "tone-mapped" if self.colours in HDR.values() else "converted"
        return [
            *(["interlaced: each frame is made whole from its two fields"] if self.interlaced else []),
            *([f"colours of {self.colours} are {how} to those of a screen, BT.709"] if self.colours else []),
        ]


class VideoReader:
    """Reads a file that FFmpeg decodes; its rotation, pixel aspect, fields and colours are respected.

    Convention:
        Every frame is read once, in its order, whatever its time. Transparent pixels are composited over black. Frames
        of two fields are made whole, and colours wider than a screen's are mapped to BT.709.

    Args:
        path: the file.
        facts: what `examine` gives of it; None: it is called.

    Raises:
        ClipError: when it is no video, cut or damaged.
    """

    def __init__(self, path: Path, facts: VideoFacts | None = None):
        self.path, self.facts = path, facts or examine(path)
        self.fps, self.count, self.times = self.facts.fps, self.facts.count, self.facts.times
        self.remarks = self.facts.remarks
        height, width = self.facts.coded[0], max(1, round(self.facts.coded[1] * self.facts.pixel_aspect))
        self.size = (width, height) if self.facts.turn.swap_axes else (height, width)

    def read(self, size: tuple[int, int], numbers: Sequence[int]) -> Iterator[np.ndarray]:
        reformatter, count = VideoReformatter(), 0
        start, stop = numbers[0], numbers[-1] + 1
        with opened(self.path) as (container, stream):
            stream.thread_type = "AUTO"  # `examine` has decoded it strictly before
            for frame in _at(numbers, self._frames(container, stream, start, stop), start):
                yield self._converted(frame, size, reformatter)
                count += 1
        if count != len(numbers):
            raise ClipError(f"{self.path}: the file has changed since it was opened. Open it again.")

    def _frames(self, container: Any, stream: Any, start: int, stop: int) -> Iterator[av.VideoFrame]:
        """The frames start:stop, decoded from the last key frame before them on, and filtered."""
        around = 1 if self.facts.interlaced else 0  # a frame's fields are completed from its neighbours, too
        first = max(0, start - around)
        key = max((key for key in self.facts.keys if key.number <= first), default=None)
        begins = key.number if key else 0
        frames = decoded(self.path, container, stream, key)
        wanted = itertools.islice(frames, first - begins, stop + around - begins)
        whole = deinterlaced(wanted, stream) if self.facts.interlaced else wanted
        return itertools.islice(whole, start - first, stop - first)

    def _converted(self, frame: av.VideoFrame, size: tuple[int, int], reformatter: VideoReformatter) -> np.ndarray:
        """A decoded frame as displayed, uint8 RGB [*size, 3]."""
        turn, alpha = self.facts.turn, self.facts.alpha
        # With alpha, the colours under transparent pixels must not bleed into a smaller frame: scale after.
        height, width = self.facts.coded if alpha else size[::-1] if turn.swap_axes else size
        kind = "rgba" if alpha else "rgb48le" if self.facts.colours else "rgb24"
        array = reformatter.reformat(frame, width, height, kind, interpolation=SCALING).to_ndarray()
        array = over_black(array) if alpha else to_screen(array, self.facts.colours) if self.facts.colours else array
        array = array.swapaxes(0, 1) if turn.swap_axes else array
        array = array[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]
        return resize(np.ascontiguousarray(array), size)


def examine(path: Path, start: int = 0, stop: int | None = None) -> VideoFacts:
    """Decode a video once, strictly: nothing else gives its true count and times, and finds damage.

    Of a range only what it takes to decode it is looked at: from the last key frame before it on. Damage elsewhere does
    not matter then, and a long file takes no longer than a short one.

    Args:
        path: the file.
        start: the first frame of the range.
        stop: the one after its last; None: all frames.

    Raises:
        ClipError: when it is no video, cut or damaged, or its size changes.
    """
    if stop is not None and start > 0:
        listing = list_packets(path, stop)
        if (key := listing.before(start)) and key.number and (facts := _examined(path, stop, key, listing.times)):
            return facts
    facts = _examined(path, stop)
    assert facts is not None
    return facts


def _examined(path: Path, stop: int | None, key: Key | None = None, expected: Sequence[int] = ()) -> VideoFacts | None:
    """The facts of what is decoded from a key frame up to `stop`; None where its frames have not the expected times."""
    seen = _Seen(path, key.number if key else 0)
    with opened(path) as (container, stream):
        frames = decoded(path, container, stream, key)
        for number, frame in enumerate(
            itertools.islice(frames, None if stop is None else stop - seen.first), seen.first
        ):
            if key and (frame.pts != expected[number] or frame.interlaced_frame):
                return None
            seen.add(frame, stream.time_base)
        if key and not (seen.keys and seen.keys[0] == key):
            return None
        rate = float(stream.average_rate or stream.guessed_rate or FPS)
        whole = stop is None or seen.first + len(seen.times) < stop
        if not seen.times or (
            whole and is_incomplete(path) and not _has_all_frames(container, stream, seen.times, rate)
        ):
            raise damaged(path, seen.first + len(seen.times), stated_count(stream))
        return seen.facts(rate, float(stream.sample_aspect_ratio or 1), stream.codec_context.name)


class _Seen:
    """What the frames of a video are like, gathered one by one; `first` is the number of the first one."""

    def __init__(self, path: Path, first: int):
        self.path, self.first = path, first
        self.times: list[float | None] = []
        self.keys: list[Key] = []
        self.interlaced = False
        self.frame: av.VideoFrame | None = None

    def add(self, frame: av.VideoFrame, unit: Fraction | None) -> None:
        number, pts = self.first + len(self.times), frame.pts
        self.frame = self.frame or frame
        if (frame.width, frame.height) != (self.frame.width, self.frame.height):
            raise ClipError(
                f"{self.path}: frame {number} is {frame.width}x{frame.height}, the first one {self.frame.width}x"
                f"{self.frame.height}. Frames of a clip must be of one size; take those before, as --frames 0:{number}."
            )
        self.times.append(None if pts is None or unit is None else float(pts * unit))
        self.interlaced |= frame.interlaced_frame
        if frame.key_frame and frame.pict_type == PictureType.I and pts is not None:
            self.keys.append(Key(number, pts))

    def facts(self, rate: float, pixel_aspect: float, codec: str) -> VideoFacts:
        frame = self.frame
        assert frame is not None
        alpha = any(part.is_alpha for part in frame.format.components)
        rising = all(before.pts < after.pts for before, after in itertools.pairwise(self.keys))
        return VideoFacts(
            count=self.first + len(self.times),
            fps=rate,
            times=[*[None] * self.first, *self.times],
            keys=self.keys if rising and codec not in BUILDS_ON_OTHERS else [],
            coded=(frame.height, frame.width),
            turn=_turn_of(frame),
            pixel_aspect=pixel_aspect if 0.1 < pixel_aspect < 10 else 1.0,  # beyond that, a file's value is a mistake
            alpha=alpha,
            interlaced=self.interlaced,
            colours="" if alpha else wide_colours(frame.color_trc, frame.color_primaries),
        )


def _has_all_frames(
    container: av.container.InputContainer, stream: av.VideoStream, times: list[float | None], rate: float
) -> bool:
    """Whether a file that lost its end lost no frame: an index or a trailer may be all that is missing."""
    if "matroska" in container.format.name:
        last = times[-1]  # the stated duration is rounded, and it may or may not count the last frame's own time
        return last is not None and last + 1.5 / rate > (container.duration or 0) / 1e6
    return 0 < stated_count(stream) <= len(times)


def _turn_of(frame: av.VideoFrame) -> Turn:
    """The turn that the frame's display matrix asks for."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Turn()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return Turn(True, b < 0, c < 0) if abs(a) < abs(b) else Turn(False, d < 0, a < 0)
