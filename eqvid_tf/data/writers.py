"""Writing pictures and videos; each is complete or absent."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from PIL import Image

from eqvid_tf.data.decoding import url_of
from eqvid_tf.data.output import atomic
from eqvid_tf.data.sound import Sound
from eqvid_tf.pixels.bleeding import bleed

H264 = {".mp4", ".m4v", ".mov", ".mkv"}
TRANSPARENT = {".webm", ".mov", ".webp", ".png", ".apng"}  # the suffixes of videos that hold an alpha channel
SHORTEST_GIF_FRAME = 2  # hundredths of a second: players slow down a frame that is shorter
GIF_SAMPLE = 48  # frames from the start of a video, of which up to 8 give the palette of its GIF
EXACT = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
TICK = Fraction(1, 90000)  # seconds: the unit of frames with times of their own
APNG_TICK = Fraction(1, 1000)  # in APNG, which has 16 bits for how long a frame is displayed
BT709 = 1  # FFmpeg's number of this colour space, its primaries and its transfer curve
LIMITED_RANGE = 1  # FFmpeg's number of brightness from 16 to 235
Frames = Iterator[np.ndarray]
StreamMaker = Callable[[av.container.OutputContainer, av.VideoFrame], av.VideoStream]


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Convert floats in [0, 1] or a bool mask to uint8, rounded to nearest and clipped; uint8 stays as it is."""
    array = np.asarray(array)
    if array.dtype == np.uint8:
        return array
    return np.rint(np.clip(array.astype(np.float32), 0, 1) * 255).astype(np.uint8)


def write_png(path: str | Path, array: np.ndarray, *, quick: bool = False) -> None:
    """Write a picture, uint8 or float in [0, 1], as a PNG file; it is complete or absent.

    Shapes:
        [h, w] or [h, w, 1] grey, [h, w, 3] RGB, [h, w, 4] RGBA with straight alpha.

    Args:
        path: of the file.
        array: the picture.
        quick: a third of the time. Of what was filmed the file is a sixth larger, of a large drawing up to twice as
            large.

    Raises:
        ValueError: for another shape.
    """
    picture = _picture(array)
    with atomic(Path(path)) as draft:
        if quick:
            draft.write_bytes(_quick_png(picture))
        else:
            Image.fromarray(picture).save(draft, format="PNG")


def _quick_png(picture: np.ndarray) -> bytes:
    """A picture as a PNG file by OpenCV, which filters all rows alike and compresses runs of equal bytes alone."""
    to_bgr = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, to_bgr[picture.shape[2]])
    return cv2.imencode(".png", ordered)[1].tobytes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Clock:
    """When each frame is displayed: at an even rate, or at times of its own."""

    rate: Fraction
    times: Sequence[float] | None = None

    def at(self, index: int) -> Fraction:
        """Seconds from the first frame; the last one of its own time is displayed as long as one of the rate."""
        if self.times is None:
            return index / self.rate
        last = len(self.times) - 1
        return Fraction(float(self.times[min(index, last)])) + max(0, index - last) / self.rate

    def stamped(self, frames: Iterator[av.VideoFrame], unit: Fraction) -> Iterator[av.VideoFrame]:
        """Frames with times of their own, in a unit; those at an even rate need none."""
        for index, frame in enumerate(frames):
            if self.times is not None:
                frame.pts, frame.time_base = round(self.at(index) / unit), unit
            yield frame


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    times: Sequence[float] | None = None,
    sound: Sound | None = None,
) -> None:
    """Write frames, uint8 or float in [0, 1], as a video whose suffix says the kind; it is complete or absent.

    `.mp4` (also .m4v, .mov, .mkv) is H.264 in BT.709, `.webm` VP9; a frame of odd height or width gets its last row
    or column twice, as 4:2:0 needs even sides. With RGBA frames `.webm` has an alpha channel (yuva420p), and `.mov` is
    ProRes 4444, which keeps odd sides; in both, colours go on under transparent pixels (see `bleed`). `.gif` has one
    dithered palette for the whole video, and at most 50 frames a second, as players slow a faster one down. `.webp`
    and `.png` / `.apng` take RGBA frames too; in `.webp` equal frames in a row become one, displayed longer. Frames are
    written as they come, so that memory does not bound their number (for `.webp` the disk does: its frames are stored
    there first).

    Shapes:
        Each frame [h, w] or [h, w, 1] grey, [h, w, 3] RGB, [h, w, 4] RGBA with straight alpha.

    Args:
        path: of the video.
        frames: its frames.
        fps: frames per second.
        times: seconds from the first frame to each, always rising, for a video that is not even; `fps` is then the
            usual rate.
        sound: what is heard with it; H.264 and ProRes alone.

    Raises:
        ValueError: for a wrong suffix (see `check_kind`) or shape, or no frames.
    """
    path = Path(path)
    kind = check_kind(path, sound=sound)
    pictures = (_picture(frame) for frame in frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{path}: a video needs one frame or more; received none.")
    transparent = first.shape[2:] == (4,)
    check_kind(path, transparent=transparent)
    coloured = (_coloured(picture) for picture in itertools.chain([first], pictures))
    clock = _Clock(rate=Fraction(fps).limit_denominator(1001), times=times)  # 30000/1001 is a rate of films
    with atomic(path) as draft:
        if kind == ".mov" and transparent:
            _write_prores(draft, coloured, clock, sound)
        elif kind in H264:
            _write_h264(draft, coloured, clock, sound)
        else:
            others = {".webm": _write_vp9, ".webp": _write_webp, ".gif": _write_gif}
            others.get(kind, _write_apng)(draft, coloured, clock)


def check_kind(path: str | Path, *, transparent: bool = False, sound: Sound | None = None) -> str:
    """Check that a video of this suffix can be written, and give the suffix.

    Args:
        path: of the video.
        transparent: whether it must hold an alpha channel.
        sound: what it must hold beside the frames.

    Raises:
        ValueError: the suffix is unknown, or holds no transparency or sound where that is wanted.
    """
    kind = Path(path).suffix.lower()
    if kind not in H264 | TRANSPARENT | {".gif"}:
        raise ValueError(
            f"{path}: video must end in .mp4, .mov, .mkv, .webm, .gif, .webp or .apng; received {kind!r}. "
            "Single frames go to a folder."
        )
    if transparent and kind not in TRANSPARENT:
        raise ValueError(
            f"{path}: {kind} holds no transparency. Write .webm, .mov, .webp or .apng, or a folder of PNG frames."
        )
    if sound and kind not in H264:
        raise ValueError(f"{path}: {kind} holds no sound. Write .mp4, .mov or .mkv, or leave out --audio.")
    if sound:
        sound.check(Path(path), _container_of(kind))
    return kind


def display_times(count: int, fps: float, times: Sequence[float] | None = None) -> list[int]:
    """How long each of `count` frames is displayed, in whole milliseconds whose sum is right.

    Args:
        count: number of frames.
        fps: frames per second.
        times: seconds from the first frame to each, where they are not even.

    Example:
        >>> display_times(3, 30)
        [33, 34, 33]
    """
    clock = _Clock(rate=Fraction(fps).limit_denominator(1001), times=times)
    ends = [round(clock.at(k) * 1000) for k in range(count + 1)]
    return [after - before for before, after in itertools.pairwise(ends)]


def _container_of(kind: str) -> str:
    """FFmpeg's name of the container of H.264 that has a suffix."""
    return {".mkv": "matroska", ".mov": "mov"}.get(kind, "mp4")


def _picture(array: np.ndarray) -> np.ndarray:
    """As uint8 [h, w], [h, w, 3] or [h, w, 4], contiguous; ValueError for any other shape."""
    array = to_uint8(array)
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(f"an image must be [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]; received {array.shape}.")
    return np.ascontiguousarray(array)


def _coloured(picture: np.ndarray) -> np.ndarray:
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def _encode(
    draft: Path,
    kind: str,
    stream_for: StreamMaker,
    frames: Iterator[av.VideoFrame],
    clock: _Clock,
    sound: Sound | None = None,
    **options: str,
) -> None:
    """Encode the frames; `stream_for(container, frame)` sets the stream up from the first one."""
    with av.open(url_of(draft), "w", format=kind, options=options) as container, contextlib.ExitStack() as stack:
        stream, copy = None, None
        for index, frame in enumerate(frames):
            if stream is None:
                stream = stream_for(container, frame)
                copy = stack.enter_context(sound.copied_to(container)) if sound else None
            if copy:
                copy(float(clock.at(index)))
            container.mux(stream.encode(frame))
        if stream:
            container.mux(stream.encode())


def _stream(
    container: av.container.OutputContainer, codec: str, rate: Fraction, frame: av.VideoFrame, **options: str
) -> av.VideoStream:
    stream: Any = container.add_stream(codec, rate=rate, options=options)  # PyAV types it by the codec's name
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
    return stream


def _write_h264(draft: Path, frames: Frames, clock: _Clock, sound: Sound | None) -> None:
    def stream_for(container: av.container.OutputContainer, frame: av.VideoFrame) -> av.VideoStream:
        if "libx264" in av.codecs_available:
            stream = _stream(container, "libx264", clock.rate, frame, crf="16", preset="medium")
        else:
            stream = _stream(container, "mpeg4", clock.rate, frame, qscale="2")
        return _in_bt709(stream, clock)

    kind = _container_of(draft.suffix.lower())
    options = {} if kind == "matroska" else {"movflags": "faststart"}
    _encode(draft, kind, stream_for, clock.stamped(_in_yuv(frames), TICK), clock, sound, **options)


def _write_vp9(draft: Path, frames: Frames, clock: _Clock) -> None:
    def stream_for(container: av.container.OutputContainer, frame: av.VideoFrame) -> av.VideoStream:
        options = {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
        stream = _stream(container, "libvpx-vp9", clock.rate, frame, **options)
        if frame.format.name == "yuva420p":
            stream.metadata["alpha_mode"] = "1"  # players look for the second picture only where this is set
        return _in_bt709(stream, clock)

    _encode(draft, "webm", stream_for, clock.stamped(_in_yuv(frames), TICK), clock)


def _write_prores(draft: Path, frames: Frames, clock: _Clock, sound: Sound | None) -> None:
    def stream_for(container: av.container.OutputContainer, frame: av.VideoFrame) -> av.VideoStream:
        options = {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}
        return _in_bt709(_stream(container, "prores_ks", clock.rate, frame, **options), clock)

    images = clock.stamped(_in_yuv(frames, "yuva444p10le"), TICK)
    _encode(draft, "mov", stream_for, images, clock, sound, movflags="faststart")


def _in_bt709(stream: av.VideoStream, clock: _Clock) -> av.VideoStream:
    """A stream of limited range, in the clock's unit where its frames have times of their own."""
    context = stream.codec_context
    if clock.times is not None:
        context.time_base = TICK
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _in_yuv(frames: Frames, kind: str | None = None) -> Iterator[av.VideoFrame]:
    """Frames in BT.709, limited range: of a pixel format, or in 4:2:0 with even sides, and alpha where they have it."""
    reformatter = VideoReformatter()
    for frame in frames:
        height, width, channels = frame.shape
        frame = bleed(frame) if channels == 4 else frame
        if kind is None:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        yield reformatter.reformat(
            av.VideoFrame.from_ndarray(frame, format="rgba" if channels == 4 else "rgb24"),
            format=kind or ("yuva420p" if channels == 4 else "yuv420p"),
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=EXACT,
        )


def _write_apng(draft: Path, frames: Frames, clock: _Clock) -> None:
    def stream_for(container: av.container.OutputContainer, frame: av.VideoFrame) -> av.VideoStream:
        stream = _stream(container, "apng", clock.rate, frame)
        if clock.times is not None:
            stream.codec_context.time_base = APNG_TICK
        return stream

    images = (av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24") for frame in frames)
    _encode(draft, "apng", stream_for, clock.stamped(images, APNG_TICK), clock, plays="0")


def _write_gif(draft: Path, frames: Frames, clock: _Clock) -> None:
    """One palette, of the first frames: a palette for each frame would flicker, and so would a new dither."""

    def stream_for(container: av.container.OutputContainer, frame: av.VideoFrame) -> av.VideoStream:
        stream = _stream(container, "gif", Fraction(100), frame)
        stream.codec_context.time_base = Fraction(1, 100)
        return stream

    first = list(itertools.islice(frames, GIF_SAMPLE))
    sample = np.concatenate(first[:: -(-len(first) // 8)], axis=0)
    palette = Image.fromarray(sample).quantize(256, Image.Quantize.MEDIANCUT)
    images = _in_palette(itertools.chain(first, frames), palette, clock)
    last = min(max(round(100 / clock.rate), SHORTEST_GIF_FRAME), 65535)
    _encode(draft, "gif", stream_for, images, clock, loop="0", final_delay=str(last))


def _in_palette(frames: Frames, palette: Image.Image, clock: _Clock) -> Iterator[av.VideoFrame]:
    """Frames in the colours of a palette, each at its time; those that would be too short are left out."""
    entries = np.array(palette.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colours = np.zeros((256, 4), np.uint8)  # alpha, red, green, blue
    colours[:, 0] = 255
    colours[: len(entries), 1:] = entries
    before = -SHORTEST_GIF_FRAME  # the time of the frame before, in hundredths of a second
    for k, frame in enumerate(frames):
        if (time := round(clock.at(k) * 100)) >= before + SHORTEST_GIF_FRAME:
            before, image = time, Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
            pixels: Any = np.asarray(image), colours  # PyAV takes such a pair for pal8 alone
            made = av.VideoFrame.from_ndarray(pixels, format="pal8")
            made.pts, made.time_base = time, Fraction(1, 100)
            yield made


def _write_webp(draft: Path, frames: Frames, clock: _Clock) -> None:
    """By way of an animated PNG: Pillow takes one frame at a time from a file, and all at once from a list."""
    between = draft.with_suffix(".between.apng")
    try:
        _write_apng(between, frames, _Clock(rate=clock.rate))
        with Image.open(between) as image:
            durations = display_times(getattr(image, "n_frames", 1), float(clock.rate), clock.times)
            image.save(draft, "WEBP", save_all=True, duration=durations, loop=0, quality=90, method=4)
    finally:
        between.unlink(missing_ok=True)
