"""The sound of a clip, copied packet by packet into a video that plays the clip's own time."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av

from eqvid_tf.data.decoding import opened, url_of


class SoundError(ValueError):
    """Sound that cannot be kept: one line, with the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """The sound of a part of a file.

    Attributes:
        path: of the file.
        start: seconds of the file at which the part begins.
        end: seconds of the file at which it ends.
    """

    path: Path
    start: float
    end: float

    def check(self, path: Path, kind: str) -> None:
        """Check that a container, FFmpeg's name of its kind, holds the sound as it is.

        Raises:
            SoundError: it does not.
        """
        with av.open(url_of(self.path)) as source, av.open(io.BytesIO(), "w", format=kind) as container:
            stream: Any = source.streams.best("audio")
            try:
                container.add_stream_from_template(stream)
            except ValueError as error:
                name = stream.codec_context.name
                raise SoundError(
                    f"{path}: {path.suffix} holds no {name}, the sound of {self.path}. Write .mkv."
                ) from error

    @contextlib.contextmanager
    def copied_to(self, container: av.container.OutputContainer) -> Iterator[Callable[[float], None]]:
        """Give a function that copies the sound up to a time in seconds of the part; all that is left as it ends."""
        with av.open(url_of(self.path)) as source:
            stream: Any = source.streams.best("audio")
            target = container.add_stream_from_template(stream)
            unit, packets = stream.time_base, self._packets(source, stream)
            waiting = next(packets, None)

            def copy(until: float) -> None:
                nonlocal waiting
                while waiting is not None and waiting.pts * unit <= until:
                    waiting.stream = target
                    container.mux(waiting)
                    waiting = next(packets, None)

            yield copy
            copy(self.end)

    def _packets(self, source: av.container.InputContainer, stream: Any) -> Iterator[Any]:
        """The packets of the part, their times from its start on."""
        unit = stream.time_base
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None or packet.pts * unit < self.start:
                continue
            if packet.pts * unit >= self.end:
                return
            shift = round(self.start / unit)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            yield packet


def has_sound(path: Path) -> bool:
    """Whether a video file has sound."""
    with opened(path) as (container, _):
        return bool(container.streams.audio)
