"""Clips: a video, a GIF, a folder of images or a scene, as frames at their own size and on a canvas."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from eqvid_tf.data.cache import cache_folder, cached_array, cached_note
from eqvid_tf.data.images import ClipError, read_image
from eqvid_tf.data.readers import FPS, ImageReader, Reader, VideoFacts, VideoReader, WebpReader, examine, in_name_order
from eqvid_tf.data.sound import Sound, has_sound
from eqvid_tf.data.times import is_even, rate_of, remarks_on, rising_times
from eqvid_tf.pixels.canvas import fit_box
from eqvid_tf.pixels.coordinates import is_invertible

__all__ = ["Clip", "ClipError", "open_clip", "read_image"]
FrameRange = tuple[int | None, int | None]  # half-open; None: from the first, or to the last
Indices = Sequence[int] | np.ndarray  # of frames of a clip, rising


def frame_range(text: str) -> FrameRange:
    """A range of frames from its text, A:B, in which both numbers can be left out.

    Raises:
        ValueError: it is none.
    """
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first) if first else None, int(last) if last else None
    except ValueError:
        raise ValueError(f"a range of frames is A:B, as in 60:203; received {text!r}") from None


def open_clip(path: str | Path, *, frames: FrameRange | None = None, cache: str | Path | None = "auto") -> Clip:
    """Open a clip: a file that FFmpeg decodes, an animated GIF, PNG or WebP, a folder of images, or a scene.

    Convention:
        Frames are as displayed: turned by the rotation flag, with square pixels, whole and in a screen's colours (see
        `VideoReader`), images in name order with numbers by value, transparent pixels over black. Each frame of the
        file is one of the clip, whatever its time; `Clip.times` has that.

    Args:
        path: a file or a folder; a folder with `frames/` in it is a scene.
        frames: half-open range (A, B) of the clip's frames; None for an end that stays, a negative number
            counts from the end.
        cache: "auto" (the user's cache folder), a folder, or None to keep nothing.

    Raises:
        ClipError: when it is missing, no clip, cut or damaged within the range, or has fewer than two frames.

    Example:
        >>> open_clip("nowhere.mp4")
        Traceback (most recent call last):
        ...
        eqvid_tf.data.images.ClipError: nowhere.mp4: there is no such file or folder. Check the path.
    """
    path = Path(path)
    if not path.exists():
        raise ClipError(f"{path}: there is no such file or folder. Check the path.")
    folder = cache_folder(cache)
    if path.is_dir():
        return _open_folder(path, frames, folder)
    reader = (
        WebpReader(path, _end_of(frames)) if path.suffix.lower() == ".webp" else _video_reader(path, frames, folder)
    )
    return Clip(path=path, name=path.stem, reader=reader, files=[path], motion=None, frames=frames, cache=folder)


def _video_reader(path: Path, frames: FrameRange | None, cache: Path | None) -> VideoReader:
    if (stop := _end_of(frames)) is not None:  # as quick as reading a note, which is found by all bytes of the file
        return VideoReader(path, examine(path, (frames or (0, stop))[0] or 0, stop))
    note = cached_note(cache, [path], lambda: examine(path).to_note())
    return VideoReader(path, VideoFacts.from_note(note))


def _end_of(frames: FrameRange | None) -> int | None:
    """The end of a range that can be read without knowing how many frames there are; None where it takes all."""
    first, last = frames or (None, None)
    return last if last is not None and 0 <= (first or 0) <= last - 2 else None


def _open_folder(path: Path, frames: FrameRange | None, cache: Path | None) -> Clip:
    folder = path / "frames" if (path / "frames").is_dir() else path
    scene = folder.resolve().parent if folder.name == "frames" else path
    images = in_name_order(folder)
    if not images:
        raise ClipError(f"{folder}: there are no images in this folder. Give a folder of PNG or JPEG frames.")
    motion = next((place / "motion.json" for place in (scene, folder) if (place / "motion.json").is_file()), None)
    reader = ImageReader(images, _fps_of(motion) if motion else FPS, slice(*frames or (None,)))
    name = scene.name or scene.resolve().name
    return Clip(path=path, name=name, reader=reader, files=images, motion=motion, frames=frames, cache=cache)


def _fps_of(motion: Path) -> float:
    fps = _read_json(motion).get("fps", FPS)
    if not isinstance(fps, int | float) or not 0 < fps < float("inf"):
        raise ClipError(f"{motion}: fps must be a positive number; received {fps!r}.")
    return float(fps)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClipError(f"{path}: this is not JSON that can be read. Write it again, or remove it.") from error
    if not isinstance(read, dict):
        kind = type(read).__name__
        raise ClipError(f'{path}: expected {{"motion": [[[a, b, c], [d, e, f]], ...]}}; received a {kind}.')
    return read


class Clip:
    """An open clip; `open_clip` makes it.

    Attributes:
        path: of the file or folder.
        name: of the clip, without a folder or a suffix.
        size: (height, width) as displayed.
        fps: frames per second, by the usual interval between frames.
        count: number of frames in the chosen range.
        times: seconds from its first frame to each, [count], always rising.
        remarks: what a person should know of how the file is read, one line each.
        number: of the character that it shows, where others are taken out of it.
        noise: grey levels by which its background differs from frame to frame at least, beside what the frames show.
    """

    number = 0
    noise: float = 0.0
    _motion: Path | None = None
    _start = 0
    _sampled: Mapping[int, np.ndarray] = MappingProxyType({})
    path: Path
    name: str
    size: tuple[int, int]
    fps: float
    count: int
    times: np.ndarray
    remarks: list[str]

    def __init__(
        self,
        *,
        path: Path,
        name: str,
        reader: Reader,
        files: Sequence[Path],
        motion: Path | None,
        frames: FrameRange | None,
        cache: Path | None,
    ):
        self.path, self.name, self.size = path, name, reader.size
        self._reader, self._files, self._motion, self._cache = reader, files, motion, cache
        self._notes: dict[str, dict[str, Any]] = {}
        if reader.count < 2:
            raise ClipError(f"{path}: this has 1 frame; a clip needs two or more. Give a video or a folder of images.")
        self._take(*_range_of(path, frames, reader.count))

    def _take(self, start: int, stop: int) -> None:
        """Set the range of the frames, and what follows from it."""
        self._start, self._stop, self.count = start, stop, stop - start
        self._sampled = {}
        times = self._reader.times[start:stop]
        self.fps = rate_of(times, self._reader.fps)
        self.times = rising_times(times, self.fps)
        self.remarks = [*self._reader.remarks, *remarks_on(times, self.fps)]

    @property
    def sound(self) -> Sound | None:
        """What is heard in the chosen range; None where the clip has no sound."""
        first, last = (self._reader.times[k] for k in (self._start, self._stop - 1))
        if first is None or last is None or not isinstance(self._reader, VideoReader) or not has_sound(self.path):
            return None
        return Sound(path=self.path, start=first, end=last + 1 / self.fps)

    @property
    def own_times(self) -> np.ndarray | None:
        """The times of its frames; None where they are even, at `fps`."""
        return None if is_even(self.times, self.fps) else self.times

    @property
    def start(self) -> int:
        """The number of its first frame in the file or folder."""
        return self._start

    @property
    def range_name(self) -> str:
        """Its name as a part of the file or folder: NAME@FIRST-END."""
        return f"{self.name}@{self._start}-{self._start + self.count}"

    def part(self, first: int, end: int) -> Clip:
        """A range of its frames, half-open, as a clip of its own, named as a part."""
        part = copy.copy(self)
        part._take(self._start + first, self._start + end)
        part.name = part.range_name
        return part

    def __repr__(self) -> str:
        return f"<Clip {self.name}: {self.count} frames of {self.size[1]}x{self.size[0]}, {self.fps:g} per second>"

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.native()

    def native(self, indices: Indices | None = None) -> Iterator[np.ndarray]:
        """The frames, or those of rising indices, at their own size, one at a time: uint8 RGB [H, W, 3]."""
        return self.resized(self.size, indices)

    def resized(self, size: tuple[int, int], indices: Indices | None = None) -> Iterator[np.ndarray]:
        """The frames, or those of rising indices, resized to `size` whatever its aspect: uint8 RGB [*size, 3].

        They are made one at a time. A video is decoded from the last key frame before the first of them to the last.
        """
        indices = range(self.count) if indices is None else indices
        numbers = [self._start + int(index) for index in indices]
        return self._reader.read(size, numbers) if numbers else iter(())

    def sampled(self, indices: Indices) -> Iterator[np.ndarray]:
        """As `native` of a few frames, remembered until others are asked for: several stages look at the same ones."""
        numbers = [int(index) for index in indices]
        if not self._sampled.keys() >= set(numbers):
            self._sampled = dict(zip(numbers, self.native(numbers)))
        return (self._sampled[number] for number in numbers)

    def forget_sampled(self) -> None:
        """Let go of the frames of `sampled`: a stage that looks at all frames begins."""
        self._sampled = {}

    def at(self, index: int) -> np.ndarray:
        """One frame at its own size, uint8 RGB [H, W, 3]; a negative index counts from the end.

        A video is decoded from the last key frame before it on; of a folder, one file is opened.

        Raises:
            ClipError: the clip has no such frame.
        """
        if not -self.count <= index < self.count:
            raise ClipError(f"{self.path}: frame {index} is not there; the clip has frames 0 to {self.count - 1}.")
        return next(self.native([index % self.count]))

    def arrays(self, canvas: tuple[int, int]) -> np.ndarray:
        """All frames fitted on `canvas`, read-only uint8 [count, *canvas, 3], from the cache on disk.

        Raises:
            OSError: the cache is full or cannot be written; the message names the remedy.
        """
        height, width = canvas
        return self.cached(f"{height}x{width}", (self.count, height, width, 3), lambda: self._fitted(canvas))

    def cached(self, name: str, shape: tuple[int, ...], frames: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
        """Pictures that are made from these frames, from the cache on disk; if they are not there, make them first.

        Shapes: [*shape] uint8, read-only.

        Args:
            name: what they are, among all that is made from these frames.
            shape: of all of them.
            frames: makes them, one at a time.

        Raises:
            OSError: the cache is full or cannot be written; the message names the remedy.
        """
        return cached_array(self._cache, self._files, f"{name}-{self._start}-{self._stop}", shape, frames)

    def noted(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` finds out about these frames, a small dict, from the cache; if it is not there, make it first.

        An open clip remembers it, too: without a cache a camera is still measured once.
        """
        key = f"{name}-{self._start}-{self._stop}"
        if key not in self._notes:
            self._notes[key] = cached_note(self._cache, self._files, make, key)
        return self._notes[key]

    def _fitted(self, canvas: tuple[int, int]) -> Iterator[np.ndarray]:
        """Each frame on the canvas, all in the same array."""
        top, left, height, width = fit_box(self.size, canvas)
        fitted = np.zeros((*canvas, 3), np.uint8)
        for frame in self.resized((height, width)):
            fitted[top : top + height, left : left + width] = frame
            yield fitted

    @property
    def has_motion(self) -> bool:
        """Whether there is a motion.json."""
        return self._motion is not None

    @property
    def given_characters(self) -> list[int]:
        """The numbers of the characters whose motion the scene gives, each in its characters/N/motion.json."""
        places = self._motion.parent.glob("characters/*/motion.json") if self._motion else ()
        return sorted(int(place.parent.name) for place in places if place.parent.name.isdecimal())

    def motion(self, number: int = 0) -> np.ndarray:
        """The motion of every step from the scene's motion.json, in the clip's own coordinates.

        Of a scene with several characters it is that of one, from its characters/N/motion.json.

        Convention:
            Forward: content at p in frame t is at motion[t] @ [p, 1] in frame t + 1.

        Shapes:
            [count - 1, 2, 3] float64.

        Raises:
            ClipError: there is no motion.json, or it does not fit the clip.
        """
        if self._motion is None:
            raise ClipError(
                f"{self.path}: there is no motion.json. The estimator `known` needs a folder with frames/ and a "
                "motion.json that holds a 2x3 matrix for each step; else use `features` or `frames`."
            )
        own = self._motion.parent / "characters" / str(number) / "motion.json"
        path = own if own.is_file() else self._motion
        return _read_motion(path, self._reader.count - 1)[self._start : self._stop - 1]


def read_camera_steps(path: Path) -> np.ndarray:
    """Read the steps of a camera.json or motion.json of any length, checked: [N, 2, 3] float64.

    Raises:
        ClipError: there are none, or one cannot be inverted.
    """
    if not path.is_file():
        raise ClipError(f"{path}: there is no such file. Check the path.")
    return _read_motion(path, None)


def _read_motion(path: Path, steps: int | None) -> np.ndarray:
    """The motions of a motion.json, checked: [steps, 2, 3] float64; None: as many as there are."""
    try:
        motion = np.array(_read_json(path).get("motion"), np.float64)
    except (TypeError, ValueError):
        motion = np.array(np.nan)
    if steps is None:
        steps = len(motion) if motion.ndim else 1
    if motion.shape != (steps, 2, 3):
        received = str(list(motion.shape)) if motion.ndim else "none that can be read"
        raise ClipError(
            f"{path}: motion must be [{steps}, 2, 3], a matrix for each step of "
            f"{steps + 1} frames; received {received}. Give one per pair of frames."
        )
    wrong = np.flatnonzero(~is_invertible(motion))
    if wrong.size:
        raise ClipError(f"{path}: the matrix of step {wrong[0]} is not finite or cannot be inverted.")
    return motion


def _range_of(path: Path, frames: FrameRange | None, count: int) -> tuple[int, int]:
    """The first frame of a range and the one after its last, as numbers from 0 to `count`."""
    first, last = frames or (None, None)
    start, stop, _ = slice(first, last).indices(count)
    outside = any(end is not None and not -count <= end <= count for end in (first, last))
    if outside or stop - start < 2:
        cut = f"{'' if first is None else first}:{'' if last is None else last}"
        raise ClipError(f"{path}: frames {cut} are not two or more of the clip's 0:{count}. Choose a cut inside it.")
    return start, stop
