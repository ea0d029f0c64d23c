"""The light of the frames of a travelling camera: its exposure, which changes from frame to frame, and its vignetting.

A place that several frames show is as bright in each as their exposures and its distances from their centres say, and
as the camera's tone curve lets it show: dark parts change by more than bright ones. So frames that show the same places
say what these are: by channel, log(frame) = log(scene) + slope(level) * (exposure + vignetting(r²)).

Source: D. B. Goldman and J.-H. Chen, Vignette and exposure calibration and compensation, ICCV 2005.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import cv2
import numpy as np

from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.canvas import bounded_size
from eqvid_tf.pixels.coordinates import carry, pixel_centres
from eqvid_tf.pixels.resampling import resize

MOST_FRAMES = 61  # that are compared; the exposures of those between follow
SHORTER_SIDE = 120  # pixels of the frames that are compared
GRID = (9, 16)  # places of each frame that are compared with others
APART = (1, 2, 4, 8, 16, 32)  # frames, of those, between two that are compared
BLUR = 1.5  # pixels: registration is exact enough then
INNER = 0.97  # of a frame: its rim is not compared
DARKEST, BRIGHTEST = 16, 240  # grey levels between which a frame tells its light
LEVELS = np.array([32.0, 80, 128, 176, 224])  # grey levels at which the slope of the tone curve is found
MIDDLE = 2  # of these, where the slope is 1
SLOPES = (0.2, 3.0)  # that a tone curve may have
HUNDREDTH, ALIKE = 0.01, 0.5  # change of a place's light; share of the places that change by less where it is even
OUTLIER = 0.04  # residual that counts half: a character's, or of parallax
ROUNDS = 10  # of reweighting
POWERS = 3  # of r² in the vignetting
TINY = 1e-3  # weight that keeps what is not seen at 0, relative to one place
SAME = 1e-2  # weight that keeps slopes that are not seen at 1
EVEN = 0.02  # change of the light by which nothing is levelled


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Light:
    """The light of each frame.

    Attributes:
        size: (height, width) of the frames.
        exposure: [T, 3] by channel, mean 0.
        vignetting: [3, POWERS], factors of the powers of r² from 1 on; r is 1 in the corners of a frame.
        slope: of the tone curve at LEVELS, by how much the logarithm of a level follows that of the light.
    """

    size: tuple[int, int]
    exposure: np.ndarray
    vignetting: np.ndarray
    slope: np.ndarray

    @property
    def is_even(self) -> bool:
        """Whether the light hardly changes, neither over the frames nor within them."""
        shading = _powers(np.linspace(0, 1, 16)) @ self.vignetting.T
        return max(np.ptp(self.exposure, 0).max(), np.ptp(shading, 0).max()) < EVEN

    def remove(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame in the light of the scene, uint8 [H, W, 3]."""
        return (self._changed(frame.astype(np.float32), -self._light(index)) + 0.5).astype(np.uint8)

    def apply(self, picture: np.ndarray, index: int) -> np.ndarray:
        """A picture [H, W, 3] of the scene, in [0, 255], in the light of a frame, float32."""
        return self._changed(picture.astype(np.float32), self._light(index))

    def _changed(self, picture: np.ndarray, light: np.ndarray) -> np.ndarray:
        """A picture in another light, in [0, 255]; the slope is that halfway between the levels before and after."""
        whole = picture + 1
        halfway = whole * self._factor(picture, light / 2) - 1
        return np.clip(whole * self._factor(halfway, light) - 1, 0, 255)

    def _factor(self, levels: np.ndarray, light: np.ndarray) -> np.ndarray:
        """By how much a change of the light changes levels, [H, W, 3]."""
        slope = cv2.LUT(levels.clip(0, 255).astype(np.uint8), self._slopes)
        return np.asarray(cv2.exp(slope * light))

    def _light(self, index: int) -> np.ndarray:
        return self._shading + self.exposure[index].astype(np.float32)

    @functools.cached_property
    def _shading(self) -> np.ndarray:
        """The vignetting at each place, less its mean, [H, W, 3] float32."""
        shading = _powers(_squared_radius(pixel_centres(self.size), self.size)) @ self.vignetting.T
        return (shading - shading.mean((0, 1))).astype(np.float32)

    @functools.cached_property
    def _slopes(self) -> np.ndarray:
        """The slope of each grey level, [256]."""
        return np.interp(np.arange(256), LEVELS, self.slope).astype(np.float32)

    @staticmethod
    def even(count: int, size: tuple[int, int]) -> Light:
        """That of `count` frames of a size which all have one light."""
        slope = np.ones(len(LEVELS))
        return Light(size=size, exposure=np.zeros((count, 3)), vignetting=np.zeros((3, POWERS)), slope=slope)

    def to_note(self) -> dict[str, Any]:
        """As JSON, without the size."""
        return {name: getattr(self, name).tolist() for name in ("exposure", "vignetting", "slope")}

    @staticmethod
    def from_note(note: dict[str, Any], size: tuple[int, int]) -> Light:
        """From what `to_note` gave, of frames of a size."""
        return Light(size=size, **{name: np.array(values) for name, values in note.items()})


def measure_light(clip: Clip, view_from_frame: np.ndarray) -> Light:
    """Measure the light of a clip's frames where several of them show the same place.

    Args:
        clip: as filmed.
        view_from_frame: [T, 3, 3], from the coordinates of each frame to common ones.
    """
    spread = np.unique(np.linspace(0, clip.count - 1, min(clip.count, MOST_FRAMES)).round().astype(int))
    size = bounded_size(clip.size, SHORTER_SIDE)
    frames = [resize(frame, size) for frame in clip.native(spread)]
    places = _compare(frames, view_from_frame[spread])
    told = places.part((places.levels < np.log(BRIGHTEST + 1)).all((1, 2)))
    if places.share_alike > ALIKE or not len(told.frames):
        return Light.even(clip.count, clip.size)
    exposure, vignetting, slope = _solve(told, len(frames))
    every = np.arange(clip.count)
    between = np.stack([np.interp(every, spread, values - values.mean()) for values in exposure], -1)
    return Light(size=clip.size, exposure=between, vignetting=vignetting, slope=slope)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Places that two frames show: the numbers of the frames [N, 2], r² in each [N, 2], log levels [N, 2, 3]."""

    frames: np.ndarray
    squared_radius: np.ndarray
    levels: np.ndarray

    @property
    def change(self) -> np.ndarray:
        """Of the log levels from the second frame to the first, [3, N]."""
        return (self.levels[:, 0] - self.levels[:, 1]).T

    @property
    def share_alike(self) -> float:
        """The share of the places that are as bright in both frames, to a hundredth."""
        return float(np.mean(np.abs(self.change).max(0) < HUNDREDTH)) if len(self.frames) else 1.0

    def part(self, chosen: np.ndarray) -> _Places:
        """Some of the places, bool [N]."""
        return _Places(
            frames=self.frames[chosen], squared_radius=self.squared_radius[chosen], levels=self.levels[chosen]
        )

    @property
    def between(self) -> np.ndarray:
        """How near the level between both frames is to each of LEVELS, linearly: [3, N, LEVELS]."""
        level = np.exp(self.levels.mean(1)).T
        return np.stack([np.interp(level, LEVELS, one) for one in np.eye(len(LEVELS))], -1)


def _compare(frames: list[np.ndarray], view_from_frame: np.ndarray) -> _Places:
    """What frames [h, w, 3] show at the same places."""
    smooth = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), BLUR) for frame in frames]
    grid, size, found = pixel_centres(GRID).reshape(-1, 2), frames[0].shape[:2], []
    for first in range(len(frames)):
        for second in (first + apart for apart in APART if first + apart < len(frames)):
            places = carry(np.linalg.inv(view_from_frame[second]) @ view_from_frame[first], grid)
            both = np.stack([_read(smooth[first], grid), _read(smooth[second], places)], 1)
            clear = (np.abs(places) < INNER).all(-1) & (both > DARKEST).all((1, 2))
            numbers = np.tile([first, second], (clear.sum(), 1))
            radius = np.stack([_squared_radius(points[clear], size) for points in (grid, places)], -1)
            found.append((numbers, radius, np.log(both[clear] + 1)))
    numbers, radius, levels = (np.concatenate(parts) for parts in zip(*found))
    return _Places(frames=numbers, squared_radius=radius, levels=levels)


def _solve(places: _Places, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exposures [3, count], vignetting [3, POWERS] and slopes [LEVELS], by robust least squares in turn."""
    rows, powers = np.arange(len(places.frames)), _powers(places.squared_radius)
    equations = np.zeros((len(rows), count + POWERS), np.float32)
    equations[rows, places.frames[:, 0]] += 1
    equations[rows, places.frames[:, 1]] -= 1
    equations[:, count:] = powers[:, 0] - powers[:, 1]
    change, between, slope = places.change, places.between, np.ones(len(LEVELS))
    weights, ridge, lights = np.ones(change.shape), TINY * np.eye(count + POWERS), np.zeros((3, count + POWERS))
    for _ in range(ROUNDS):
        for channel in range(3):
            scale, weight = between[channel] @ slope, weights[channel]
            scaled = equations * scale[:, None].astype(np.float32)
            weighted = scaled * weight[:, None].astype(np.float32)
            lights[channel] = np.linalg.solve(weighted.T @ scaled + ridge, weighted.T @ change[channel])
        explained = lights @ equations.T
        slope = _slope(change, explained, between, weights)
        residual = change - explained * (between @ slope)
        weights = 1 / (1 + (residual / OUTLIER) ** 2) ** 2
    return lights[:, :count], lights[:, count:], slope


def _slope(change: np.ndarray, explained: np.ndarray, between: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The slopes at LEVELS by which a change of the light [3, N] explains that of the levels; 1 at the middle one."""
    parts = (between * explained[..., None]).reshape(-1, len(LEVELS))
    weighted, ridge = parts * weights.reshape(-1, 1), SAME * np.eye(len(LEVELS))
    slope = np.linalg.solve(weighted.T @ parts + ridge, weighted.T @ change.ravel() + ridge.sum(0))
    return np.clip(slope / max(slope[MIDDLE], SLOPES[0]), *SLOPES)


def _powers(squared_radius: np.ndarray) -> np.ndarray:
    """The powers of r², [..., POWERS]."""
    return squared_radius[..., None] ** np.arange(1, POWERS + 1)


def _squared_radius(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The squared distance of places [..., 2] of a frame (height, width) from its centre; 1 in the corners."""
    return (np.square(places) * np.square(size[::-1])).sum(-1) / np.square(size).sum()


def _read(frame: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A frame [h, w, 3] at places [N, 2], normalized."""
    at = ((places + 1) / 2 * frame.shape[1::-1] - 0.5).astype(np.float32)[:, None]
    return cv2.remap(frame, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
