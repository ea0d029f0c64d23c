"""Writing images and videos, each under a draft's name until it is whole."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from eqvid_tf.data.cache import atomic

H264 = {".mp4", ".m4v", ".mov", ".mkv"}
SHORTEST = 2  # hundredths of a second that players show a GIF's frame at least
TRANSPARENT = {".webp", ".png", ".apng"}
EXACT = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as uint8, rounded to nearest and clipped; uint8 and bool masks as they are."""
    array = np.asarray(array)
    if array.dtype == np.uint8:
        return array
    return np.rint(np.clip(array.astype(np.float32), 0, 1) * 255).astype(np.uint8)


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Writes an image, uint8 or float in [0, 1], all at once: a crash leaves no half of one.

    Shapes:
        [h, w] or [h, w, 1] grey, [h, w, 3] RGB, [h, w, 4] RGBA with straight alpha.

    Raises:
        ValueError: for another shape.
    """
    image = Image.fromarray(_plain(to_uint8(array)))
    with _drafted(path) as draft:
        image.save(draft, format="PNG")


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Writes a video of frames [h, w, 3], uint8 or float in [0, 1]; the suffix says which kind.

    `.mp4` (also .m4v, .mov, .mkv) is H.264 in BT.709; a frame of odd height or width gets its last row or
    column twice, as 4:2:0 needs even sides. `.gif` has one dithered palette for the whole video, and at most
    50 frames a second, as players slow a faster one down. `.webp` and `.png` / `.apng` take RGBA frames
    [h, w, 4] too, with straight alpha; in `.webp` equal frames in a row become one, shown longer. All are written as the frames come: their number is not bounded by
    memory (`.webp` by the disk: its frames are put there first).

    Raises:
        ValueError: as `check_kind`, or where there are no frames.
    """
    path = Path(path)
    kind = check_kind(path)
    frames = (_plain(to_uint8(frame)) for frame in frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: a video needs one frame or more; received none.")
    check_kind(path, transparent=first.shape[2:] == (4,))
    frames = (_coloured(frame) for frame in itertools.chain([first], frames))
    write = _write_webp if kind == ".webp" else _write_gif if kind == ".gif" else _write_apng
    with _drafted(path) as draft:
        (_write_h264 if kind in H264 else write)(draft, frames, Fraction(fps).limit_denominator(1001))


def check_kind(path: str | Path, *, transparent: bool = False) -> str:
    """The suffix of a video that can be written.

    Raises:
        ValueError: for an unknown one, or one that holds no transparency where that is wanted.
    """
    kind = Path(path).suffix.lower()
    if kind not in H264 | TRANSPARENT | {".gif"}:
        raise ValueError(
            f"{path}: video must end in .mp4, .mov, .mkv, .gif, .webp or .apng; received {kind!r}. Single frames go to a folder."
        )
    if transparent and kind not in TRANSPARENT:
        raise ValueError(f"{path}: {kind} holds no transparency. Write .webp or .apng, or a folder of PNG frames.")
    return kind


def _drafted(path: str | Path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return atomic(Path(path))


def _plain(array: np.ndarray) -> np.ndarray:
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(f"an image must be [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]; received {array.shape}.")
    return np.ascontiguousarray(array)


def _coloured(frame: np.ndarray) -> np.ndarray:
    return np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame


def _encode(draft: Path, kind: str, stream_for, frames: Iterator[av.VideoFrame], **options: str) -> None:
    """Muxes the frames; `stream_for(container, frame)` sets the stream up from the first one."""
    with av.open(str(draft), "w", format=kind, options=options) as container:
        stream = None
        for frame in frames:
            stream = stream or stream_for(container, frame)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _stream(container, codec: str, rate: Fraction, frame: av.VideoFrame, options: dict[str, str] | None = None):
    stream = container.add_stream(codec, rate=rate, options=options or {})
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
    return stream


def _write_h264(draft: Path, frames: Iterator[np.ndarray], rate: Fraction) -> None:
    x264 = "libx264" in av.codecs_available
    reformatter = VideoReformatter()

    def converted() -> Iterator[av.VideoFrame]:
        for frame in frames:
            height, width = frame.shape[:2]
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            yield reformatter.reformat(
                av.VideoFrame.from_ndarray(even, format="rgb24"),
                *even.shape[1::-1],
                "yuv420p",
                dst_colorspace="ITU709",
                dst_color_range="MPEG",
                interpolation=EXACT,
            )

    def stream_for(container, frame):
        options = {"crf": "16", "preset": "medium"} if x264 else {"qscale": "2"}
        stream = _stream(container, "libx264" if x264 else "mpeg4", rate, frame, options)
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1  # BT.709, limited
        return stream

    kind = "matroska" if ".mkv" in draft.suffix.lower() else "mov" if draft.suffix.lower() == ".mov" else "mp4"
    _encode(draft, kind, stream_for, converted(), **({} if kind == "matroska" else {"movflags": "faststart"}))


def _write_apng(draft: Path, frames: Iterator[np.ndarray], rate: Fraction) -> None:
    images = (av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24") for frame in frames)
    _encode(draft, "apng", lambda container, frame: _stream(container, "apng", rate, frame), images, plays="0")


def _write_gif(draft: Path, frames: Iterator[np.ndarray], rate: Fraction) -> None:
    """One palette of the first frames: a palette for each frame would flicker, and so would a new dither."""
    ahead = list(itertools.islice(frames, 48))
    sample = np.concatenate(ahead[:: -(-len(ahead) // 8)], axis=0)
    palette = Image.fromarray(sample).quantize(256, Image.Quantize.MEDIANCUT)
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 0] = 255
    listed = np.array(palette.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colours[: len(listed), 1:] = listed

    def indexed() -> Iterator[av.VideoFrame]:
        shown = -SHORTEST
        for k, frame in enumerate(itertools.chain(ahead, frames)):
            if (at := round(k * 100 / rate)) < shown + SHORTEST:
                continue
            shown, image = at, Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
            made = av.VideoFrame.from_ndarray((np.asarray(image), colours), format="pal8")
            made.pts, made.time_base = at, Fraction(1, 100)
            yield made

    def stream_for(container, frame):
        stream = _stream(container, "gif", Fraction(100), frame)
        stream.codec_context.time_base = Fraction(1, 100)
        return stream

    last = min(max(round(100 / rate), SHORTEST), 65535)
    _encode(draft, "gif", stream_for, indexed(), loop="0", final_delay=str(last))


def _write_webp(draft: Path, frames: Iterator[np.ndarray], rate: Fraction) -> None:
    """By way of an animated PNG: Pillow takes one frame at a time from a file, and all at once from a list."""
    between, count = draft.with_suffix(".between.apng"), 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal count
        for frame in frames:
            count += 1
            yield frame

    try:
        _write_apng(between, counted(), rate)
        ends = [round(k * 1000 / rate) for k in range(count + 1)]
        durations = [after - before for before, after in itertools.pairwise(ends)]
        with Image.open(between) as image:
            image.save(draft, "WEBP", save_all=True, duration=durations, loop=0, quality=90, method=4)
    finally:
        between.unlink(missing_ok=True)
