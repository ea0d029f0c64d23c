"""The exposure of each frame of a clip, relative to that of its background."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from eqvid_tf.blocks.exposure import GAINS, SATURATED, exposure_gain, residual_penalty
from eqvid_tf.parallel import in_threads

DRIFTS = 0.02  # relative change of mid grey between the 5 % and 95 % quantiles of the frames: less, and nothing is done
CHARACTER_CONTRAST = 25  # grey levels by which a pixel differs from the background where the character may be
MID_GREY = 127.5  # grey level at which exposures are compared
SAME_EXPOSURE = 0.02  # relative change of mid grey up to which a frame still shows the background's own colours
LEAST_TRUST = 1e-3  # weight of a frame in quite another exposure: it counts where no other frame shows a place
FLAT = 1e-3  # variance of a picture in [0, 1], below which a gain and an offset cannot be told apart
EMPTY = 0.1  # of the way from the smallest character area to the median one: frames below it set the reference exposure


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Exposure:
    """The exposure of frames: frame = gain * background + offset, by channel.

    Attributes:
        gain: [T, 1, 1, 3].
        offset: [T, 1, 1, 3], grey levels.
        drifts: whether it changes over the clip; where it does not, frames and backgrounds stay as they are.
    """

    gain: np.ndarray
    offset: np.ndarray
    drifts: bool = True

    @classmethod
    def constant(cls, count: int) -> Exposure:
        """The exposure of a clip of `count` frames in which it does not change."""
        return cls(gain=np.ones((count, 1, 1, 3)), offset=np.zeros((count, 1, 1, 3)), drifts=False)

    def apply(self, background: np.ndarray, index: int) -> np.ndarray:
        """The background [H, W, 3] as frame `index` shows it, in [0, 255]."""
        return np.clip(self.gain[index] * background + self.offset[index], 0, 255) if self.drifts else background

    def remove(self, frame: np.ndarray, index: int) -> np.ndarray:
        """Frame `index` in the exposure of the background, uint8 [H, W, 3]."""
        if not self.drifts:
            return frame
        return np.clip((frame - self.offset[index]) / self.gain[index] + 0.5, 0, 255).astype(np.uint8)

    @property
    def brightness(self) -> np.ndarray:
        """The factor by which mid grey is brighter in each frame, [T]."""
        return (self.gain * MID_GREY + self.offset).mean((1, 2, 3)) / MID_GREY

    @property
    def trust(self) -> np.ndarray:
        """How well each frame shows the background's own colours, [T] in [0, 1].

        Why: a tone curve bends, so a frame with its exposure removed is still a little wrong.
        """
        if not self.drifts:
            return np.ones(len(self.gain))
        return np.exp(-np.square((self.brightness - 1) / SAME_EXPOSURE) / 2) + LEAST_TRUST


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LevelledFrames:
    """Frames in the exposure of their background, read like an array [N, H, W, 3] uint8, some rows of it at a time.

    Why: levelled all at once they would take as much memory again.

    Attributes:
        frames: as they are, uint8 [H, W, 3] each.
        indices: of each in the clip.
        exposure: of the clip.
    """

    frames: Sequence[np.ndarray]
    indices: np.ndarray
    exposure: Exposure

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.frames), *self.frames[0].shape

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.exposure.remove, self.frames, self.indices)

    def __getitem__(self, place: tuple[slice | np.ndarray, slice]) -> np.ndarray:
        some, rows = place
        level = lambda number: self.exposure.remove(self.frames[number][rows], int(self.indices[number]))
        return np.stack([level(number) for number in np.arange(len(self))[some]])


def fit_exposure(frames: np.ndarray, background: np.ndarray, passes: int = 8) -> Exposure:
    """Fit gain and offset by channel, by robust least squares: what differs, a character, counts little.

    Why an offset: where a camera exposes otherwise it bends its tone curve, too, and dark parts change by more than a
    gain explains.

    Shapes: frames [T, H, W, 3] and background [H, W, 3], both in [0, 255].
    """
    frames, background = (np.asarray(picture, np.float32) / 255 for picture in (frames, background))
    unsaturated = (frames < SATURATED).astype(np.float32)
    start: np.ndarray = np.asarray(exposure_gain(frames, background))
    gain, offset = start, np.zeros_like(start)
    for _ in range(passes):
        weight = unsaturated / residual_penalty(frames, gain * background + offset)
        total = weight.sum((-3, -2), keepdims=True) + 1e-6
        mean = lambda values, weight=weight, total=total: (weight * values).sum((-3, -2), keepdims=True) / total
        b, f = mean(background), mean(frames)
        covariance, variance = mean(frames * background) - f * b, mean(background * background) - b * b
        gain = np.clip((covariance + FLAT * start) / (variance + FLAT), *GAINS)
        offset = f - gain * b
    return Exposure(gain=gain, offset=255 * offset)


def clip_exposure(frames: np.ndarray, background: np.ndarray, batch: int = 32) -> Exposure:
    """The exposure of a clip's frames relative to that of the frames that show least of the character.

    Why: a camera that measures its exposure reacts to the character, so that the room is never as bright as when it is
    empty. What differs from the background in the frame's own exposure is taken for the character here; masks may be
    wrong because of the exposure.

    Shapes: frames [T, H, W, 3] uint8, background [H, W, 3] in [0, 255].
    """
    parts = (frames[start : start + batch] for start in range(0, len(frames), batch))
    fits = list(in_threads(lambda part: fit_exposure(part, background), parts))
    gain, offset = (np.concatenate([getattr(fit, name) for fit in fits]) for name in ("gain", "offset"))
    found = Exposure(gain=gain, offset=offset)
    if np.ptp(np.quantile(found.brightness, (0.05, 0.95))) < DRIFTS:
        return Exposure.constant(len(frames))
    expected = (gain[k] * background + offset[k] for k in range(len(frames)))
    differs = (np.abs(frame - picture).max(-1) > CHARACTER_CONTRAST for frame, picture in zip(frames, expected))
    area = np.array([np.mean(mask) for mask in differs])
    empty = area <= area.min() + EMPTY * (np.median(area) - area.min())
    relative = gain / np.median(gain[empty], 0)
    return Exposure(gain=relative, offset=offset - relative * np.median(offset[empty], 0))
