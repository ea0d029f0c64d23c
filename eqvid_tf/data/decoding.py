"""A video file decoded by FFmpeg: its video stream, its frames in order and strictly, and what filters make of them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av

from eqvid_tf.data.containers import is_incomplete
from eqvid_tf.data.images import ClipError

REMEDY = "Give a video, a GIF or a folder of images."
VPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # the decoders that know transparency; FFmpeg's own drop it in silence
PICTURE = av.stream.Disposition.attached_pic | av.stream.Disposition.still_image
REORDERED = 64  # packets: no codec stores a frame farther from its place in time
BUILDS_ON_OTHERS = {"gif", "apng"}  # codecs whose key packets are not: a frame is drawn over those before it


class Key(NamedTuple):
    """A frame at which decoding can begin: its number in the file, and its time in the stream's own units."""

    number: int
    pts: int


def url_of(path: Path) -> str:
    """A path as FFmpeg takes it: a colon in it is no protocol."""
    return f"file:{path}"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a container and its video stream, the first that is no cover picture, set to decode strictly.

    Raises:
        ClipError: the file holds no video.
    """
    try:
        container = _open(path)
    except av.FFmpegError as error:
        why = "the file is cut" if is_incomplete(path) else str(error.strerror).lower()
        raise ClipError(f"{path}: FFmpeg finds no video here ({why}). {REMEDY}") from error
    with container:
        streams = [stream for stream in container.streams.video if stream.codec_context is not None]
        films = [stream for stream in streams if not stream.disposition & PICTURE] or streams
        if not films:
            cut = "the file is cut or damaged" if is_incomplete(path) else "sound alone, or nothing"
            raise ClipError(f"{path}: there is no video in this file ({cut}). {REMEDY}")
        stream = min(films, key=lambda stream: stream.frames == 1)  # the first, but for one that is a picture
        stream.thread_type = "NONE"  # with threads FFmpeg passes over damage in silence
        if stream.codec_context.name == "mjpeg":  # or it fills in what it misses; others do not bear it
            stream.codec_context.options = {"err_detect": "explode"}
        yield container, stream


def _open(path: Path) -> av.container.InputContainer:
    """By a file descriptor where the name might be taken for a pattern of many images, as run%02d.png is."""
    if "%" not in path.name:
        return av.open(url_of(path))
    with path.open("rb") as file:  # FFmpeg duplicates the descriptor
        return av.open("fd:", options={"fd": str(file.fileno())})


def decoded(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, key: Key | None = None
) -> Iterator[av.VideoFrame]:
    """The frames in the order of their display, from a key frame or the first on; ClipError at the first damage.

    What comes before the damage is given first. From a key frame on, its frame is the first one.
    """
    decoder, count, before = decoder_of(stream), key.number if key else 0, -1 if key is None else key.pts
    for frame in _until_damage(decoder, _packets_from(container, stream, key)):
        if frame is None or frame.is_corrupt:
            raise damaged(path, count, stated_count(stream))
        if key is None or (frame.pts is not None and frame.pts >= before):
            yield frame
            count += 1


def _packets_from(
    container: av.container.InputContainer, stream: av.VideoStream, key: Key | None
) -> Iterator[av.Packet]:
    """The packets of the stream, from the one of a key frame on."""
    packets = container.demux(stream)
    if key is None:
        return packets
    return itertools.dropwhile(lambda packet: not (packet.is_keyframe and packet.pts == key.pts), packets)


def _until_damage(decoder: Any, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame | None]:
    """Decoded frames; at damage those that are before it, then None.

    The word of a container on a packet is not asked for: it says the same where two recordings are joined.
    """
    packet = None
    try:
        for packet in packets:
            yield from decoder.decode(packet)
    except av.FFmpegError:
        with contextlib.suppress(av.FFmpegError):
            limit = None if packet is None else packet.pts
            yield from (frame for frame in decoder.decode(None) if limit is None or (frame.pts or 0) < limit)
        yield None


def decoder_of(stream: av.VideoStream) -> Any:
    """What decodes the stream: its own decoder, or where it says that it has transparency, one that knows it."""
    name = VPX.get(stream.codec_context.name.removeprefix("lib"), "")
    modes = [value for entry, value in stream.metadata.items() if entry.lower() == "alpha_mode"]
    if modes != ["1"] or name not in av.codecs_available:
        return stream.codec_context
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.extradata = stream.codec_context.extradata
    return decoder


class Listing(NamedTuple):
    """What the packets of a video say of its frames, without decoding: their times in order, and the key frames."""

    times: list[int]
    keys: list[Key]

    def before(self, number: int) -> Key | None:
        """The last key frame at or before a frame; None where there is none."""
        return max((key for key in self.keys if key.number <= number), default=None)


def list_packets(path: Path, count: int) -> Listing:
    """List the first `count` frames of a video, and a few more, by their packets' times.

    Nothing is listed where packets do not tell: some have no time, or the same, or the file's structure is damaged.
    """
    try:
        with opened(path) as (container, stream):
            packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
            listed = [(p.pts, p.is_keyframe) for p in itertools.islice(packets, count + REORDERED)]
            keys_are_whole = stream.codec_context.name not in BUILDS_ON_OTHERS
    except av.FFmpegError:
        return Listing([], [])
    known = [(pts, is_key) for pts, is_key in listed if pts is not None]
    times = sorted({pts for pts, _ in known})
    if len(times) < len(listed) or not keys_are_whole:
        return Listing([], [])
    order = {pts: rank for rank, pts in enumerate(times)}
    return Listing(times, [Key(order[pts], pts) for pts, is_key in known if is_key])


def deinterlaced(frames: Iterable[av.VideoFrame], stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Frames made whole where they are of two fields, by FFmpeg's bwdif: as many, in their order."""
    graph: Any = None
    for frame in itertools.chain(frames, [None]):
        if graph is None:
            if frame is None:
                return
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base
            )
            bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
            graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        graph.push(frame)
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield graph.pull()


def stated_count(stream: av.VideoStream) -> int:
    """The number of frames that the file states; 0 where it does not."""
    return 0 if stream.codec_context.name == "gif" else stream.frames  # of a GIF, FFmpeg counts what is left


def damaged(path: Path, decoded: int, stated: int) -> ClipError:
    """The error of a file that is damaged after `decoded` frames."""
    frames = f"of {stated} frames" if stated > decoded else "frame" if decoded == 1 else "frames"
    cut = f", or take frames without it, as --frames 0:{decoded}" if decoded > 1 else ""
    return ClipError(
        f"{path}: decoded {decoded} {frames}; the file is cut or damaged at frame {decoded}. "
        f"Make or download it again{cut}."
    )
