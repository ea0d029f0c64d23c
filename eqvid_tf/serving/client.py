"""A client of a model behind TensorFlow Serving, or any server of its REST or gRPC interface: numpy in and out.

REST needs numpy and Pillow alone, no TensorFlow; gRPC the extra `[serving]`. docs/serving.md says how to start a server.
"""

from __future__ import annotations

import io
import random
import time
from typing import Self
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from eqvid_tf.data.writers import to_uint8
from eqvid_tf.serving.transports import LARGEST, Grpc, Rest, ServingError, Unavailable

__all__ = ["Client", "ServingError", "Unavailable"]

SHORTEST, LONGEST = 0.05, 2.0  # seconds between two tries
ROUNDED = 1e-3  # a float may leave [0, 1] by this much


class Client:
    """A served model. Every method asks the server; frames go in batches, and a call that finds no server is made again.

    Convention: frames are uint8, or float in [0, 1]; motions forward, in normalized coordinates. What is given without a batch
        ([H, W, 3], [2, 3]) serves for every item of the others' batch; where nothing has one, neither has the answer. Frames
        come back as uint8 if all that went in were. Over REST `render` sends uint8 frames as PNG, and gets PNG: a tenth of
        the bytes; float frames travel as numbers everywhere, exact to 1e-7.

    Args:
        url: http://HOST:PORT, https://… or grpc://HOST:PORT.
        model, version: as the server names them; None for the newest version.
        timeout: seconds that a request may take.
        retry_for: seconds for which an unreachable or busy server is asked again; 0 for never.
        batch: frames a request holds at most.
        max_body: bytes a request's body holds at most; fewer frames go where it would be larger.
    Raises: ValueError for what cannot be sent, in one line; ServingError, an OSError, for what the server does with it.

    A client may be shared by threads. Use it in a `with` block, or close it.
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
    ):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "grpc") or not parts.hostname:
            raise ValueError(f"url must be http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT; received {url!r}")
        if batch < 1 or timeout <= 0:
            raise ValueError(f"batch must be at least 1 and timeout positive; received {batch} and {timeout:g}")
        self.url, self.retry_for, self.batch, self.max_body = url, retry_for, batch, max_body
        self.transport = (Grpc if parts.scheme == "grpc" else Rest)(parts, model, version, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self.transport.close()

    # ---- what a model can do

    def render(self, character_frame, background_frame, motion) -> np.ndarray:
        """The character of one frame, moved, on the background of another: frames [B, H, W, 3]."""
        call = Call({"character_frame": character_frame, "background_frame": background_frame}, {"motion": motion})
        if call.uint8 and self.transport.pictures:
            return call.out([picture(file) for file in self.ask("render_image", call, ("frame_bytes",))["frame_bytes"]])
        return call.out(self.ask("render", call, ("frame",))["frame"])

    def transfer(self, frame, next_frame, target_frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """target_frame moved as frame moved to next_frame: frames, motions [B, 2, 3] and their confidences [B]."""
        call = Call({"frame": frame, "next_frame": next_frame, "target_frame": target_frame})
        answer = self.ask("transfer", call, ("frame", "motion", "confidence"))
        return call.out(answer["frame"]), call.out(answer["motion"], False), call.out(answer["confidence"], False)

    def separate(self, frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The layers of frames: character (on nothing), background, and mask [B, H, W, 1], float in [0, 1]."""
        call = Call({"frame": frame})
        answer = self.ask("separate", call, ("character", "background", "mask"))
        return call.out(answer["character"]), call.out(answer["background"]), call.out(answer["mask"], False)

    def estimate_motion(self, frame, next_frame) -> tuple[np.ndarray, np.ndarray]:
        """Motions [B, 2, 3] from frame to next_frame, and their confidences [B] in [0, 1]."""
        call = Call({"frame": frame, "next_frame": next_frame})
        answer = self.ask("estimate_motion", call, ("motion", "confidence"))
        return call.out(answer["motion"], False), call.out(answer["confidence"], False)

    # ---- how it is asked

    def ask(self, signature: str, call: Call, outputs: tuple[str, ...]) -> dict:
        """The outputs of a signature for a whole call, in as many requests as it takes."""
        pictures = signature == "render_image"
        size = call.numbers * (4 / 3 if pictures else self.transport.bytes_per_number) + 1000
        step = min(
            self.batch, int(self.max_body // size), *([LARGEST // (call.size[0] * call.size[1])] if pictures else [])
        )
        if step < 1:
            frame = f"frames of {call.size[0]}x{call.size[1]} make a request of {size / 2**20:.1f} MB and more"
            raise ValueError(
                f"{frame}, which is too large (max_body, or {LARGEST} pixels). "
                "Give uint8 frames to render, use grpc://, or raise max_body."
            )
        parts = []
        for start in range(0, call.count, step):
            inputs = call.files(start, start + step) if pictures else call.tensors(start, start + step)
            parts.append(self.persistently(signature, inputs, outputs))
            call.check(parts[-1], min(step, call.count - start), self.url)
        joined = lambda values: [item for value in values for item in value] if pictures else np.concatenate(values)
        return {name: joined([part[name] for part in parts]) for name in outputs}

    def persistently(self, signature: str, inputs: dict, outputs: tuple[str, ...]) -> dict:
        """One request, made again while the server is unavailable: it changes nothing there, so twice does no harm."""
        until, pause = time.monotonic() + self.retry_for, SHORTEST
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
            pause = min(2 * pause, LONGEST)


class Call:
    """The arguments of a call, checked, and each as a batch of the same length."""

    def __init__(self, frames: dict, motions: dict | None = None):
        self.frames = {name: checked_frames(name, value) for name, value in frames.items()}
        self.motions = {name: checked_motions(name, value) for name, value in (motions or {}).items()}
        counts = {name: len(value) for name, value in self.items() if value.ndim == self.rank(name)}
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"batches must be of one length; received {', '.join(f'{n} {c}' for n, c in counts.items())}"
            )
        sizes = {name: value.shape[-3:-1] for name, value in self.frames.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"frames must be of one size; received {', '.join(f'{n} {h}x{w}' for n, (h, w) in sizes.items())}"
            )
        self.single, self.count, self.size = not counts, next(iter(counts.values()), 1), next(iter(sizes.values()))
        self.uint8 = all(value.dtype == np.uint8 for value in self.frames.values())
        self.numbers = 3 * self.size[0] * self.size[1] * len(self.frames)

    def rank(self, name: str) -> int:
        return 3 if name in self.motions else 4

    def items(self):
        return (self.frames | self.motions).items()

    def batch(self, name: str, value: np.ndarray, start: int, stop: int) -> np.ndarray:
        count = min(stop, self.count) - start
        return value[start:stop] if value.ndim == self.rank(name) else np.broadcast_to(value, (count, *value.shape))

    def tensors(self, start: int, stop: int) -> dict:
        """A part of the batch as float32 arrays."""
        batches = {name: self.batch(name, value, start, stop) for name, value in self.items()}
        return {name: value / np.float32(255) if value.dtype == np.uint8 else value for name, value in batches.items()}

    def files(self, start: int, stop: int) -> dict:
        """A part of the batch with its frames as PNG files; one that serves for all is encoded once."""
        batches = {name: self.batch(name, value, start, stop) for name, value in self.items()}
        once = lambda value: [png(value[0])] * len(value) if value.strides[0] == 0 else [png(frame) for frame in value]
        return {
            f"{name}_bytes" if name in self.frames else name: once(value) if name in self.frames else value
            for name, value in batches.items()
        }

    def check(self, answer: dict, count: int, url: str) -> None:
        """Raises: ServingError where an answer is not of the shape that was asked for, or not finite."""
        shapes = {"motion": (2, 3), "confidence": (), "mask": (*self.size, 1)}
        for name, value in answer.items():
            shape = (count, *shapes.get(name, (*self.size, 3)))
            if name.endswith("_bytes"):
                if len(value) != count:
                    raise ServingError(f"{url}: expected {count} pictures; the server answered with {len(value)}")
            elif value is None or value.shape != shape or not np.isfinite(value).all():
                received = (
                    "none" if value is None else "numbers that are not" if value.shape == shape else str(value.shape)
                )
                raise ServingError(f"{url}: expected {name} {shape}, finite; the server answered with {received}")

    def out(self, value, frames: bool = True) -> np.ndarray:
        """An output as it goes to the caller: without a batch if nothing had one; frames as uint8 if all were."""
        for frame in value if frames else ():
            if frame.shape[:2] != self.size:
                raise ServingError(f"expected frames {self.size}; the server answered with {frame.shape[:2]}")
        value = to_uint8(np.stack(value)) if frames and self.uint8 else value
        return value[0] if self.single else value


def checked_frames(name: str, value) -> np.ndarray:
    """Frames [H, W, 3] or [B, H, W, 3], uint8 or float32.

    Raises: ValueError.
    """
    value = np.asarray(value)
    if value.ndim not in (3, 4) or value.shape[-1] != 3 or 0 in value.shape:
        raise ValueError(f"{name} must be [H, W, 3] or [B, H, W, 3], none of them 0; received {value.shape}")
    if value.dtype == np.uint8:
        return value
    if not np.issubdtype(value.dtype, np.floating):
        raise ValueError(f"{name} must be uint8, or float in [0, 1]; received {value.dtype}")
    low, high = value.min(), value.max()
    if not (-ROUNDED <= low and high <= 1 + ROUNDED):  # not so for nan either
        raise ValueError(f"{name} must be uint8, or float in [0, 1]; received floats from {low:g} to {high:g}")
    return value.astype(np.float32)


def checked_motions(name: str, value) -> np.ndarray:
    """Motions [2, 3] or [B, 2, 3], float32.

    Raises: ValueError.
    """
    value = np.asarray(value, np.float32)
    if value.ndim not in (2, 3) or value.shape[-2:] != (2, 3) or 0 in value.shape:
        raise ValueError(f"{name} must be [2, 3] or [B, 2, 3]; received {value.shape}")
    if not np.isfinite(value).all() or np.abs(np.linalg.det(value[..., :2])).min() < 1e-6:
        raise ValueError(f"{name} must be finite and invertible. Use [[1, 0, 0], [0, 1, 0]] for no motion.")
    return value


def png(frame: np.ndarray) -> bytes:
    """A frame uint8 [H, W, 3] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", compress_level=1)
    return file.getvalue()


def picture(file: bytes) -> np.ndarray:
    """The frame, uint8 [H, W, 3], of a file that a server sent.

    Raises: ServingError.
    """
    try:
        with Image.open(io.BytesIO(file), formats=["PNG", "JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ServingError(f"the server answered with a picture that cannot be read ({error})") from error
