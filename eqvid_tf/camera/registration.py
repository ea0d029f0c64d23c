"""How one picture lies on another, to a fraction of a pixel, whatever moves in it by itself. Numpy alone.

Convention: square coordinates as complex numbers, x + iy in units of half the picture's height, the centre at 0, y down. A pose
(s, t) is the similarity z -> s z + t: a turn and a zoom (s) and a shift (t). `Reference.find` gives the pose that takes a place
of the reference to where its content is in the frame.
Source: S. Baker and I. Matthews, Lucas-Kanade 20 Years On: A Unifying Framework, IJCV 2004 (inverse compositional).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from eqvid_tf.pixels.solver import least_squares

Pose = tuple[complex, complex]
STILL: Pose = (1 + 0j, 0j)
TILES = (6, 8)  # rows and columns of the grid in which points are chosen and votes are counted
POINTS = 4800  # places of the reference that are compared, at most
EDGE = 1.0  # grey levels a pixel: a place with a smaller gradient tells nothing
COARSEST = 48  # pixels: the shorter side is halved while it is longer
FEWEST = 8  # points that make a tile's vote
ENOUGH = 0.01  # pixels: a smaller step ends the search


def compose(second: Pose, first: Pose) -> Pose:
    """The pose that does `first`, then `second`."""
    return second[0] * first[0], second[0] * first[1] + second[1]


def invert(pose: Pose) -> Pose:
    """The pose that takes `pose` back."""
    return 1 / pose[0], -pose[1] / pose[0]


def as_motion(pose: Pose, aspect: float) -> np.ndarray:
    """A pose as a motion [2, 3] in normalized coordinates of a frame with aspect = width / height."""
    (s, t), shape = pose, np.array([[1, 1 / aspect, 1 / aspect], [aspect, 1, 1]])
    return np.array([[s.real, -s.imag, t.real], [s.imag, s.real, t.imag]]) * shape


def travel(pose: Pose, size: tuple[int, int]) -> float:
    """The largest distance in pixels by which a pose moves a corner of a frame of `size` (height, width)."""
    aspect = size[1] / size[0]
    corners = np.array([aspect + 1j, aspect - 1j, -aspect + 1j, -aspect - 1j])
    return float(np.abs(pose[0] * corners + pose[1] - corners).max() * size[0] / 2)


def blur(picture: np.ndarray) -> np.ndarray:
    """A binomial blur of 3 x 3."""
    padded = np.pad(picture, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4


def halve(picture: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """A picture and its halves, the finest first."""
    sizes = [np.asarray(picture, np.float32)]
    while min(sizes[-1].shape) >= 2 * COARSEST:
        sizes.append(halve(sizes[-1]))
    return sizes


def places(shape: tuple[int, int]) -> np.ndarray:
    """The square coordinates of every pixel's centre, complex [h, w]."""
    height, width = shape
    x, y = (np.arange(width) * 2 + 1 - width) / height, (np.arange(height) * 2 + 1 - height) / height
    return x + 1j * y[:, None]


def sample(picture: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear values of a picture [h, w] at square coordinates, and whether each lies within it."""
    height, width = picture.shape
    x, y = (at.real * height + width - 1) / 2, (at.imag * height + height - 1) / 2
    within = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    column, row = (np.clip(v, 0, n - 1.001) for v, n in ((x, width), (y, height)))
    first, left = row.astype(np.int32), column.astype(np.int32)
    down, right = (row - first).astype(np.float32), (column - left).astype(np.float32)
    corner, values = first * width + left, picture.ravel()
    top = values[corner] * (1 - right) + values[corner + 1] * right
    return top + down * (values[corner + width] * (1 - right) + values[corner + width + 1] * right - top), within


def noise_level(residual: np.ndarray) -> float:
    """The noise in grey levels, from the middle of what is left; at least half a level."""
    return max(1.4826 * float(np.median(np.abs(residual))), 0.5) if residual.size else 0.5


def robust_weight(residual: np.ndarray, noise: float) -> np.ndarray:
    """What a place counts (Geman-McClure): nearly 1 within the noise, nothing far from it."""
    return 1 / (1 + (residual / (2 * noise)) ** 2) ** 2


class Level:
    """The reference at one size: the places where it has edges, what is there, and how that changes as the pose does."""

    def __init__(self, picture: np.ndarray, weight: np.ndarray, most: int):
        soft = blur(picture)
        down, right = np.gradient(soft)
        chosen = strongest(np.hypot(right, down) * np.sqrt(weight), most)
        self.at, self.value = places(soft.shape).ravel()[chosen], soft.ravel()[chosen]
        self.weight, self.pixel = weight.ravel()[chosen].astype(np.float64), 2 / soft.shape[0]
        right, down = (gradient.ravel()[chosen] / self.pixel for gradient in (right, down))
        x, y = self.at.real, self.at.imag
        gain = (self.value - self.value.mean()) / 64 if len(chosen) else self.value
        self.slopes = np.stack([right * x + down * y, down * x - right * y, right, down, gain, np.ones_like(x)], 1)
        rows, columns = (np.arange(n) * cells // n for n, cells in zip(soft.shape, TILES))
        self.tile = (rows[:, None] * TILES[1] + columns).ravel()[chosen]

    def residual(self, soft: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Frame minus reference at the places, exposure taken out, and what each place counts."""
        value, within = sample(soft, pose[0] * self.at + pose[1])
        apart, weight = value - self.value, self.weight * within
        exposure, left = self.slopes[:, 4:], apart
        for _ in range(3):
            count = weight * robust_weight(left, noise_level(left[within]))
            left = apart - exposure @ least_squares(exposure, apart, count)
        return left, weight

    def step(self, soft: np.ndarray, pose: Pose, left: np.ndarray) -> tuple[Pose, np.ndarray, float]:
        """One step of the search: the new pose, the residual's next guess, and the step's size in pixels."""
        value, within = sample(soft, pose[0] * self.at + pose[1])
        apart = value - self.value
        found = least_squares(self.slopes, apart, self.weight * within * robust_weight(left, noise_level(left[within])))
        zoom, shift = complex(found[0], found[1]), complex(found[2], found[3])
        size = (abs(zoom) * np.abs(self.at).max(initial=1) + abs(shift)) / self.pixel
        return compose(pose, invert((1 + zoom, shift))), apart - self.slopes[:, 4:] @ found[4:], size

    def fit(self, soft: np.ndarray, pose: Pose, most: int = 15) -> Pose:
        left = self.residual(soft, pose)[0]
        for _ in range(most):
            pose, left, size = self.step(soft, pose, left)
            if size < ENOUGH or not 0.5 < abs(pose[0]) < 2:
                break
        return pose


def strongest(edges: np.ndarray, most: int) -> np.ndarray:
    """Indices of the strongest edges, as many from each tile, none at the very border."""
    edges = edges.copy()
    edges[[0, 1, -1, -2]] = edges[:, [0, 1, -1, -2]] = 0
    index, chosen = np.arange(edges.size).reshape(edges.shape), []
    for rows in np.array_split(np.arange(edges.shape[0]), TILES[0]):
        for columns in np.array_split(np.arange(edges.shape[1]), TILES[1]):
            part = np.ix_(rows, columns)
            order = np.argsort(-edges[part], None)[: most // (TILES[0] * TILES[1])]
            chosen.append(index[part].ravel()[order][edges[part].ravel()[order] > EDGE])
    return np.sort(np.concatenate(chosen))


@dataclasses.dataclass(frozen=True)
class Fit:
    """A frame on the reference.

    Attributes:
        pose: where the reference's content is in the frame.
        left, left_still: for each tile, the residual at the pose and at no motion, as a share of the tile's own contrast, both in
            [0, 1]; nan where a tile has nothing to go by.
    """

    pose: Pose
    left: np.ndarray
    left_still: np.ndarray


class Reference:
    """A picture that frames are found on.

    Args:
        picture: grey levels [h, w].
        weight: [h, w], what each place counts; less where the picture itself is unsure.
    """

    def __init__(self, picture: np.ndarray, weight: np.ndarray | None = None):
        weight = np.ones(picture.shape, np.float32) if weight is None else weight
        self.pictures = pyramid(picture)
        self.levels = [Level(*both, POINTS >> k) for k, both in enumerate(zip(self.pictures, pyramid(weight)))]

    def find(self, frame: np.ndarray, starts: list[Pose]) -> Fit:
        """The frame's pose: from the nearest start directly where that fits, else from coarse to fine from each of them."""
        fine = blur(np.asarray(frame, np.float32))
        if len(self.levels[0].at) < FEWEST:
            return self.judged(fine, STILL)
        near, _, size = self.levels[0].step(fine, starts[0], self.levels[0].residual(fine, starts[0])[0])
        pose = near
        if size > 0.5:
            pictures = pyramid(frame)
            softs = [fine, *map(blur, pictures[1:])]
            coarse = [*starts, (1 + 0j, shift(self.pictures[-1], pictures[-1]))]
            coarse = [self.levels[-1].fit(softs[-1], start, 8) for start in coarse]
            pose = min(coarse, key=lambda pose: self.cost(self.levels[-1], softs[-1], pose))
            for level, soft in reversed(list(zip(self.levels[1:-1], softs[1:-1]))):
                pose = level.fit(soft, pose)
        return self.judged(fine, self.levels[0].fit(fine, pose))

    @staticmethod
    def cost(level: Level, soft: np.ndarray, pose: Pose) -> float:
        left, weight = level.residual(soft, pose)
        return 1 - float((weight * robust_weight(left, 8.0)).sum() / max(level.weight.sum(), 1e-6))

    def judged(self, soft: np.ndarray, pose: Pose) -> Fit:
        return Fit(pose, self.shares(soft, pose), self.shares(soft, STILL))

    def shares(self, soft: np.ndarray, pose: Pose) -> np.ndarray:
        """Per tile, the squared residual at a pose over the variance of the reference."""
        level, count = self.levels[0], TILES[0] * TILES[1]
        left, weight = level.residual(soft, pose)
        total = lambda values: np.bincount(level.tile, weight * values, count)
        there = np.maximum(total(1), 1e-6)
        contrast = total(level.value**2) / there - (total(level.value) / there) ** 2
        known = np.bincount(level.tile, weight > 0.1, count) >= FEWEST
        return np.where(known, np.minimum(total(left**2) / there / np.maximum(contrast, 1), 1), np.nan)


def shift(reference: np.ndarray, frame: np.ndarray) -> complex:
    """By how much a frame is shifted against a reference, to a pixel: phase correlation."""
    window = np.outer(*(np.hanning(n) for n in frame.shape))
    spectra = [np.fft.rfft2((picture - picture.mean()) * window) for picture in (reference, frame)]
    cross = spectra[1] * np.conj(spectra[0])
    peaks = np.fft.irfft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).mean() + 1e-9), s=frame.shape)
    down, right = (
        int(i) - n * (i > n // 2) for i, n in zip(np.unravel_index(np.argmax(peaks), peaks.shape), peaks.shape)
    )
    return (right + 1j * down) * 2 / frame.shape[0]
