"""A client of a model behind TensorFlow Serving, or any server of its REST or gRPC interface: numpy in and out.

REST needs no TensorFlow; gRPC needs the extra `[serving]`. docs/serving.md says how to start a server.
"""

from __future__ import annotations

import copy
import io
import itertools
import random
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from eqvid_tf.data.writers import to_uint8
from eqvid_tf.pixels.coordinates import is_invertible
from eqvid_tf.serving.transports import MOST_PIXELS, Grpc, Rest, ServingError, Unavailable

__all__ = ["Client", "ServingError", "Unavailable"]

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two tries; each pause is twice the one before
ROUNDING = 1e-3  # by this much a float may leave [0, 1]: resampling overshoots by rounding
HEADERS = 1000  # bytes of a request beside its frames, generously


class Client:
    """A served model: every method asks the server, in batches, and again where the server cannot be reached.

    Threads may share a client. Use it in a `with` block, or close it.

    Convention: frames are uint8, or float in [0, 1]; motions are forward, in normalized coordinates. An argument
        without a batch ([H, W, 3], [2, 3]) serves for every item of the others' batch; where none has one, the answer
        has none. Frames come back as uint8 if all that went in were. Over REST `render` sends uint8 frames as PNG, and
        gets PNG: a tenth of the bytes; float frames travel as numbers everywhere, exact to 1e-7.

    Args:
        url: http://HOST:PORT, https://… or grpc://HOST:PORT.
        model: its name on the server.
        version: of the model; None for the newest.
        timeout: seconds that a request may take.
        retry_for: seconds for which an unreachable or busy server is asked again; 0 for never.
        batch: frames that a request holds at most.
        max_body: bytes that a request's body holds at most; fewer frames go where it would be larger.
        characters: K, how many the model has names for. With K > 1 motions are [B, K, 2, 3], confidences [B, K],
            characters and masks [B, K, H, W, c].

    Raises:
        ValueError: an argument cannot be sent; one line.
        ServingError: an OSError; the server refused, or gave no usable answer; one line.
    """

    def __init__(
        self,
        url: str,
        model: str = "model",
        version: int | None = None,
        *,
        timeout: float = 30.0,
        retry_for: float = 10.0,
        batch: int = 32,
        max_body: int = 16 * 2**20,
        characters: int = 1,
    ):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "grpc") or not parts.hostname:
            raise ValueError(f"url must be http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT; received {url!r}")
        if batch < 1 or timeout <= 0:
            raise ValueError(f"batch must be at least 1 and timeout positive; received {batch} and {timeout:g}")
        self.several = _axis_of(characters)
        self.url, self.retry_for, self.batch, self.max_body = url, retry_for, batch, max_body
        self.transport = (Grpc if parts.scheme == "grpc" else Rest)(parts, model, version, timeout)

    def of(self, model: str, version: int | None = None, *, characters: int = 1) -> Self:
        """A client of another model, or version, of the same server, over the same connections.

        Closing either closes them; over gRPC for good. For the arguments see the class.
        """
        other = copy.copy(self)
        other.several, other.transport = _axis_of(characters), self.transport.of(model, version)
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    # ---- what a model can do

    def render(
        self, character_frame: ArrayLike, background_frame: ArrayLike, motion: ArrayLike, shown: ArrayLike | None = None
    ) -> np.ndarray:
        """Draw the character of one frame, moved, on the background of another.

        Shapes: frames [B, H, W, 3], motion [B, 2, 3] -> [B, H, W, 3]. Of several characters: motion [B, K, 2, 3], and
        shown [K] or [B, K], 1 for each that is to be drawn; by default all are.
        """
        frames = {"character_frame": character_frame, "background_frame": background_frame}
        numbers = {"motion": motion}
        if self.several:
            numbers["shown"] = np.ones(self.several) if shown is None else shown
        elif shown is not None:
            raise ValueError("shown is for a model of several characters. Give the client their number: characters=K.")
        call = _Call(frames, numbers, self.several)
        if not (call.uint8 and self.transport.takes_pictures):
            return call.frames(self._ask("render", call, ("frame",))["frame"])
        files = self._ask("render_image", call, ("frame_bytes",))["frame_bytes"]
        return call.frames(np.stack([_decode_picture(file, call.size) for file in files]))

    def transfer(
        self, frame: ArrayLike, next_frame: ArrayLike, target_frame: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move target_frame as frame moved to next_frame: the moved frame, the motion and its confidence.

        Shapes: frames [B, H, W, 3] -> [B, H, W, 3], motion [B, 2, 3], confidence [B] in [0, 1].
        """
        call = _Call({"frame": frame, "next_frame": next_frame, "target_frame": target_frame}, several=self.several)
        answer = self._ask("transfer", call, ("frame", "motion", "confidence"))
        return call.frames(answer["frame"]), call.numbers(answer["motion"]), call.numbers(answer["confidence"])

    def separate(self, frame: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Separate frames into the character (on nothing), the background and the mask.

        Shapes: [B, H, W, 3] -> two of [B, H, W, 3], mask [B, H, W, 1] float32 in [0, 1]. Of several characters:
        character [B, K, H, W, 3], background [B, H, W, 3], mask [B, K, H, W, 1].
        """
        call = _Call({"frame": frame}, several=self.several)
        answer = self._ask("separate", call, ("character", "background", "mask"))
        return call.frames(answer["character"]), call.frames(answer["background"]), call.numbers(answer["mask"])

    def estimate_motion(self, frame: ArrayLike, next_frame: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Estimate the motion from frame to next_frame, and its confidence.

        Shapes: frames [B, H, W, 3] -> motion [B, 2, 3], confidence [B] in [0, 1].
        """
        call = _Call({"frame": frame, "next_frame": next_frame}, several=self.several)
        answer = self._ask("estimate_motion", call, ("motion", "confidence"))
        return call.numbers(answer["motion"]), call.numbers(answer["confidence"])

    # ---- how the server is asked

    def _ask(self, signature: str, call: _Call, outputs: tuple[str, ...]) -> dict[str, Any]:
        """The outputs of a signature for a whole call, in as many requests as it takes."""
        pictures = signature == "render_image"
        step, parts = self._frames_per_request(call, pictures), []
        for start in range(0, call.count, step):
            stop = min(start + step, call.count)
            inputs = (call.files if pictures else call.tensors)(start, stop)
            parts.append(self._ask_again(signature, inputs, outputs))
            call.check_answer(parts[-1], stop - start, self.url)
        joined = (lambda values: list(itertools.chain(*values))) if pictures else np.concatenate
        return {name: joined([part[name] for part in parts]) for name in outputs}

    def _frames_per_request(self, call: _Call, pictures: bool) -> int:
        """How many items of a call fit into one request.

        Raises: ValueError where not even one does.
        """
        height, width = call.size
        bytes_per_number = 4 / 3 if pictures else self.transport.bytes_per_number  # base64 of an uncompressed picture
        size = call.numbers_per_item * bytes_per_number + HEADERS
        most = [self.batch, int(self.max_body // size), *([MOST_PIXELS // (height * width)] if pictures else [])]
        if min(most) < 1:
            raise ValueError(
                f"frames of {height}x{width} make a request of {size / 2**20:.1f} MB and more, which is too large "
                f"(max_body, or {MOST_PIXELS} pixels). Give uint8 frames to render, use grpc://, or raise max_body."
            )
        return min(most)

    def _ask_again(self, signature: str, inputs: dict[str, Any], outputs: tuple[str, ...]) -> dict[str, Any]:
        """One request, made again while the server is unavailable: it changes nothing on it, so twice does no harm."""
        until, pause = time.monotonic() + self.retry_for, FIRST_PAUSE
        while True:
            try:
                return self.transport.predict(signature, inputs, outputs)
            except Unavailable as error:
                if time.monotonic() + pause > until:
                    raise Unavailable(
                        f"{self.url}: unavailable for {self.retry_for:g} s ({error}). Start the server, "
                        "or check the address."
                    ) from error
            except ServingError as error:
                raise ServingError(f"{self.url}: {error}") from error
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)


def _axis_of(characters: int) -> tuple[int, ...]:
    """The axis that a model of so many characters has after the batch: none for one."""
    if characters < 1:
        raise ValueError(f"characters must be at least 1; received {characters}")
    return (characters,) if characters > 1 else ()


class _Call:
    """The arguments of a call, checked, and read as batches of one length.

    Attributes:
        count: items of the batch; 1 where no argument has a batch.
        size: (height, width) of the frames.
        uint8: whether all frames are.
        numbers_per_item: numbers in the frames of one item.
    """

    def __init__(
        self,
        frames: Mapping[str, ArrayLike],
        numbers: Mapping[str, ArrayLike] | None = None,
        several: tuple[int, ...] = (),
    ):
        self._several = several
        self._frames = {name: _checked_frames(name, value) for name, value in frames.items()}
        checks = {"motion": _checked_motions, "shown": _checked_shown}
        self._motions = {name: checks[name](name, value, several) for name, value in (numbers or {}).items()}
        every = self._frames | self._motions
        counts = {name: len(value) for name, value in every.items() if self._has_batch(name, value)}
        if len(set(counts.values())) > 1:
            received = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise ValueError(f"batches must be of one length; received {received}")
        sizes = {name: value.shape[-3:-1] for name, value in self._frames.items()}
        if len(set(sizes.values())) > 1:
            received = ", ".join(f"{name} {height}x{width}" for name, (height, width) in sizes.items())
            raise ValueError(f"frames must be of one size; received {received}")
        self._without_batch, self.count = not counts, next(iter(counts.values()), 1)
        self.size: tuple[int, int] = next(iter(sizes.values()))
        self.uint8 = all(value.dtype == np.uint8 for value in self._frames.values())
        self.numbers_per_item = 3 * int(np.prod(self.size)) * len(self._frames)

    def _has_batch(self, name: str, value: np.ndarray) -> bool:
        alone = 3 if name in self._frames else len(self._several) + (2 if name == "motion" else 0)
        return value.ndim > alone

    def _batch(self, name: str, value: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Items of an argument; one without a batch is repeated, in one place of memory."""
        return (
            value[start:stop] if self._has_batch(name, value) else np.broadcast_to(value, (stop - start, *value.shape))
        )

    def tensors(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Items of the batch as float32 arrays."""
        batches = {
            name: self._batch(name, value, start, stop) for name, value in (self._frames | self._motions).items()
        }
        return {name: value / np.float32(255) if value.dtype == np.uint8 else value for name, value in batches.items()}

    def files(self, start: int, stop: int) -> dict[str, list[bytes] | np.ndarray]:
        """Items of the batch with their frames as PNG files; a frame that serves for all is encoded once."""
        pictures = {}
        for name, value in self._frames.items():
            batch = value[start:stop] if self._has_batch(name, value) else value[None]
            files = [encode_png(frame) for frame in batch]
            pictures[f"{name}_bytes"] = files if self._has_batch(name, value) else files * (stop - start)
        return pictures | {name: self._batch(name, value, start, stop) for name, value in self._motions.items()}

    def check_answer(self, answer: Mapping[str, Any], count: int, url: str) -> None:
        """Raise ServingError where an answer has not the shape that was asked for, or is not finite."""
        one: dict[str, tuple[int, ...]] = {"motion": (2, 3), "confidence": (), "mask": (*self.size, 1)}
        one["character"] = (*self.size, 3)
        shapes = {name: (*self._several, *shape) for name, shape in one.items()}
        for name, value in answer.items():
            shape = (count, *shapes.get(name, (*self.size, 3)))
            if name.endswith("_bytes"):
                if len(value) != count:
                    raise ServingError(f"{url}: expected {count} pictures; the server answered with {len(value)}")
            elif value is None or value.shape != shape or not np.isfinite(value).all():
                kind = "none" if value is None else "numbers that are not" if value.shape == shape else value.shape
                raise ServingError(f"{url}: expected {name} {shape}, finite; the server answered with {kind}")

    def frames(self, value: np.ndarray) -> np.ndarray:
        """Frames [B, H, W, 3] as they go to the caller: uint8 if all that came were; see `numbers`."""
        return self.numbers(to_uint8(value) if self.uint8 else value)

    def numbers(self, value: np.ndarray) -> np.ndarray:
        """An output as it goes to the caller: without a batch if no argument had one."""
        return value[0] if self._without_batch else value


def _checked_frames(name: str, value: ArrayLike) -> np.ndarray:
    """Frames [H, W, 3] or [B, H, W, 3], uint8 or float32; ValueError for anything else."""
    value = np.asarray(value)
    if value.ndim not in (3, 4) or value.shape[-1] != 3 or 0 in value.shape:
        raise ValueError(f"{name} must be [H, W, 3] or [B, H, W, 3], none of them 0; received {value.shape}")
    if value.dtype == np.uint8:
        return value
    if not np.issubdtype(value.dtype, np.floating):
        raise ValueError(f"{name} must be uint8, or float in [0, 1]; received {value.dtype}")
    low, high = value.min(), value.max()
    if not (-ROUNDING <= low and high <= 1 + ROUNDING):  # not so for nan either
        raise ValueError(f"{name} must be uint8, or float in [0, 1]; received floats from {low:g} to {high:g}")
    return value.astype(np.float32)


def _checked_motions(name: str, value: ArrayLike, several: tuple[int, ...]) -> np.ndarray:
    """Motions [2, 3] or [B, 2, 3] (of several characters [K, 2, 3] or [B, K, 2, 3]), float32; ValueError if not."""
    value, shape = np.asarray(value, np.float32), (*several, 2, 3)
    if not _has_shape(value, shape):
        one = ", ".join(map(str, shape))
        raise ValueError(f"{name} must be [{one}] or [B, {one}]; received {value.shape}")
    if not is_invertible(value).all():
        raise ValueError(f"{name} must be finite and invertible. Use [[1, 0, 0], [0, 1, 0]] for no motion.")
    return value


def _checked_shown(name: str, value: ArrayLike, several: tuple[int, ...]) -> np.ndarray:
    """Which characters are drawn, [K] or [B, K], float32; ValueError for anything else."""
    value = np.asarray(value, np.float32)
    if not _has_shape(value, several) or not np.isin(value, (0, 1)).all():
        raise ValueError(f"{name} must be [{several[0]}] or [B, {several[0]}], of 0 and 1; received {value.shape}")
    return value


def _has_shape(value: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether an array has a shape, or that of a batch of at least one."""
    return value.shape == shape or (value.shape[1:] == shape and value.ndim > len(shape) and len(value) > 0)


def encode_png(frame: np.ndarray) -> bytes:
    """Encode a frame uint8 [H, W, 3] as a PNG file, fast rather than small."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _decode_picture(file: bytes, size: tuple[int, int]) -> np.ndarray:
    """The frame, uint8 [*size, 3], of a file that a server sent; ServingError where it is none."""
    try:
        with Image.open(io.BytesIO(file), formats=["PNG", "JPEG"]) as picture:
            frame = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ServingError(f"the server answered with a picture that cannot be read ({error})") from error
    if frame.shape[:2] != size:
        raise ServingError(f"expected frames {size}; the server answered with {frame.shape[:2]}")
    return frame
