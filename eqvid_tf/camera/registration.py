"""Registration of a frame on a reference picture, to a fraction of a pixel, whatever moves in it by itself.

The pose is found by Gauss-Newton steps at the strongest edges of the reference, with the exposure fitted along, and
with weights that leave out what does not fit (a character, a cloud's shadow). Where that search loses its way, features
that are matched give it another start.

Convention: square coordinates as complex numbers, x + iy in units of half the picture's height, centred, y down.
Source: S. Baker and I. Matthews, Lucas-Kanade 20 Years On: A Unifying Framework, IJCV 2004 (inverse compositional).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from eqvid_tf.pixels.resampling import sample
from eqvid_tf.pixels.solver import least_squares

TILES = (6, 8)  # rows and columns of the grid in which points are chosen and residuals are summed up
MOST_POINTS = 4800  # of the reference that are compared: a hundred for each tile
LEAST_GRADIENT = 1.0  # grey levels a pixel: with less, noise moves the edge
COARSEST = 48  # pixels: the shorter side is halved while it is longer than twice that
FEWEST_POINTS = 8  # that a tile must have for its residual to mean something
ENOUGH = 0.01  # pixels: after a smaller step the search ends
ENOUGH_ON_THE_WAY = 0.1  # the same where a finer search follows
SAME_WAY, FARTHER, MOST_REACH = 0.7, 1.5, 8.0  # cosine of steps that go the same way; each reaches farther, up to that
MEET = 1.0  # pixels: searches that come nearer to each other go on as one
COARSE_STEPS, STEPS = 8, 15  # steps of a search, at the most
KEY_STEPS = 30  # the same where perspective is looked for, too
NEARBY = 0.5  # pixels: where the first step is longer, the search begins again at the coarsest level
MOST_ZOOM = 2.0  # a search that zooms by more has lost its way
LEAST_NOISE = 0.5  # grey levels: that of rounding
SAME_PLACE = 0.5  # residual, as a share of a tile's variance, from which the tile shows another place
MOST_FEATURES = 1000  # of a picture that are matched, where the search has lost its way
LEAST_SIDE = 96  # pixels of a picture's half whose features say enough
DISTINCT = 0.75  # a match counts where it is nearer than this share of the second nearest (Lowe, IJCV 2004)
NEAR_MATCH = 1.5  # pixels from where a pose carries a feature up to which its match agrees with the pose
FEWEST_MATCHES = 12  # that agree; by chance fewer do
EVERY = 4  # pixels: the step at which all of a frame is compared, its plain places too
ELSEWHERE = 0.6  # of a frame that differs from its key at the best pose: with more, features are matched
UNLIKE = 6.0  # grey levels of difference at which a place counts half as another
CONTRAST = 10.0  # grey levels: the deviation of each tile of a frame with few edges
STEADY_SCALE, STEADY_SHIFT = 0.001, 1.3  # and pixels: uncertainty of where a camera is that went on as before
LIKELY = 5  # shifts from which a search in a frame with few edges starts
UNSEEN = 0.7  # residual that stands for that of a tile that left the frame
FAR = 1.5  # residual that stands for a distance of half a frame's height from the start
MATCHING = 8.0  # grey levels of noise, by which the candidates of the coarsest level are compared


@dataclasses.dataclass(frozen=True)
class Pose:
    """A similarity z -> scale z + shift in square coordinates; `second @ first` does `first`, then `second`.

    Attributes:
        scale: turn and zoom: its angle and its absolute value.
        shift: in units of half the height.

    Example:
        >>> Pose(2j, 1) @ Pose(2j, 1).inverse() == STILL
        True
    """

    scale: complex = 1 + 0j
    shift: complex = 0j

    def __matmul__(self, first: Pose) -> Pose:
        return Pose(self.scale * first.scale, self.scale * first.shift + self.shift)

    def inverse(self) -> Pose:
        """The pose that takes this one back."""
        return Pose(1 / self.scale, -self.shift / self.scale)

    @property
    def zoom(self) -> float:
        """The factor by which lengths grow."""
        return abs(self.scale)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Carry points, complex [...]."""
        return self.scale * points + self.shift

    def motion(self, size: tuple[int, int]) -> np.ndarray:
        """The same as a motion [2, 3] in normalized coordinates of a frame of `size` (height, width)."""
        s, t, aspect = self.scale, self.shift, size[1] / size[0]
        from_square = np.array([[1, 1 / aspect, 1 / aspect], [aspect, 1, 1]])  # by element: the identity stays exact
        return np.array([[s.real, -s.imag, t.real], [s.imag, s.real, t.imag]]) * from_square

    def travel(self, size: tuple[int, int]) -> float:
        """The largest distance in pixels that it moves a corner of a frame of `size` (height, width)."""
        return _travel(self, size)


STILL = Pose()


@dataclasses.dataclass(frozen=True, eq=False)
class Homography:
    """A projective map of square coordinates; `second @ first` does `first`, then `second`.

    Attributes:
        matrix: [3, 3] float64, of determinant 1.
    """

    matrix: np.ndarray

    @staticmethod
    def of(pose: Pose) -> Homography:
        """The same map."""
        s, t = pose.scale, pose.shift
        return Homography.normalized(np.array([[s.real, -s.imag, t.real], [s.imag, s.real, t.imag], [0, 0, 1]]))

    @staticmethod
    def normalized(matrix: np.ndarray) -> Homography:
        """The map of a matrix [3, 3] of any determinant but 0."""
        return Homography(matrix / np.cbrt(np.linalg.det(matrix)))

    def __matmul__(self, first: Homography) -> Homography:
        return Homography(self.matrix @ first.matrix)

    def inverse(self) -> Homography:
        """The map that takes this one back."""
        return Homography(np.linalg.inv(self.matrix))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Carry points, complex [...]."""
        flat = np.ones((3, points.size))
        flat[0], flat[1] = points.real.ravel(), points.imag.ravel()
        x, y, w = self.matrix @ flat
        carried = np.empty(points.shape, np.complex128)
        carried.real, carried.imag = (x / w).reshape(points.shape), (y / w).reshape(points.shape)
        return carried

    def similarity(self) -> Homography:
        """The similarity that is most like it around the centre."""
        around = np.array([1, 1j, -1, -1j]) / 2
        carried = self.apply(around)
        return Homography.of(Pose(complex(carried @ around.conj()), complex(carried.mean())))

    @property
    def zoom(self) -> float:
        """The factor by which lengths grow at the centre."""
        return float(np.abs(np.linalg.det(self.matrix / self.matrix[2, 2])) ** 0.5)

    def motion(self, size: tuple[int, int]) -> np.ndarray:
        """The same as a matrix [3, 3] in normalized coordinates of a frame of `size` (height, width)."""
        square = np.diag([size[1] / size[0], 1.0, 1.0])
        return np.linalg.inv(square) @ self.matrix @ square

    def travel(self, size: tuple[int, int]) -> float:
        """The largest distance in pixels that it moves a corner of a frame of `size` (height, width)."""
        return _travel(self, size)


def _travel(pose: Pose | Homography, size: tuple[int, int]) -> float:
    aspect = size[1] / size[0]
    corners = np.array([aspect + 1j, aspect - 1j, -aspect + 1j, -aspect - 1j])
    return float(np.abs(pose.apply(corners) - corners).max() * size[0] / 2)


def square_coordinates(shape: tuple[int, int]) -> np.ndarray:
    """The square coordinates of the centre of every pixel, complex [h, w]."""
    height, width = shape
    x, y = (np.arange(width) * 2 + 1 - width) / height, (np.arange(height) * 2 + 1 - height) / height
    return x + 1j * y[:, None]


def read_at(picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of a picture [h, w] at square coordinates, complex [...], and whether each point lies within it."""
    height, width = picture.shape
    x, y = points.real * (height / 2) + (width - 1) / 2, points.imag * (height / 2) + (height - 1) / 2
    within = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return sample(picture, x, y), within


@dataclasses.dataclass(frozen=True, eq=False)
class Registration:
    """A frame registered on the reference.

    Attributes:
        pose: carries a place of the reference to where its content is in the frame.
        residual: for each tile at the pose, the mean squared residual as a share of the tile's own variance, in [0, 1];
            nan where a tile has no edges to go by.
        residual_still: the same without any motion.
        unlike: the share of the frame, plain places too, that differs from the reference at the pose, in [0, 1].
        unlike_still: the same without any motion.
        matched: for each tile, whether most of its matched features agree with the pose and not with standing still.
    """

    pose: Pose
    residual: np.ndarray
    residual_still: np.ndarray
    unlike: float
    unlike_still: float
    matched: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """The tiles that have edges to go by, bool [N]."""
        return ~np.isnan(self.residual)

    @property
    def fits(self) -> np.ndarray:
        """The tiles that show the same place as the reference at the pose, bool [N]."""
        return (np.nan_to_num(self.residual, nan=1.0) < SAME_PLACE) | self.matched

    @property
    def misfit(self) -> float:
        """The mean residual of the tiles that have edges, at the pose."""
        return float(self.residual[self.known].mean()) if self.known.any() else 1.0


class Reference:
    """A picture that frames are registered on.

    Args:
        picture: grey levels [h, w].
        weight: what each place counts [h, w], in [0, 1]; less where the picture itself is uncertain.
    """

    def __init__(self, picture: np.ndarray, weight: np.ndarray | None = None):
        weight = np.ones(picture.shape, np.float32) if weight is None else weight
        self._pictures, every = _pyramid(picture), np.s_[EVERY // 2 :: EVERY, EVERY // 2 :: EVERY]
        self._places, self._counts = square_coordinates(picture.shape)[every], weight[every]
        self._values = _blur(self._pictures[0])[every]
        self._weight = weight

    @functools.cached_property
    def _levels(self) -> list[_Level]:
        pairs = zip(self._pictures, _pyramid(self._weight))
        return [_Level(part, share, MOST_POINTS >> k) for k, (part, share) in enumerate(pairs)]

    def register(self, frame: np.ndarray, starts: Sequence[Pose]) -> Registration:
        """Find the pose of a frame: by a short search from the first start, else from coarse to fine from each of them.

        Shapes: frame [h, w], grey levels.
        """
        smooth = _blur(np.asarray(frame, np.float32))
        finest = self._levels[0]
        if len(finest.points) < FEWEST_POINTS:
            return self._registration(smooth, STILL)
        first = finest.step(smooth, starts[0], finest.residual(smooth, starts[0]).values, starts[0])
        pose = first.pose if first.pixels <= NEARBY else self._coarse_to_fine(frame, smooth, starts)
        found = self._registration(smooth, finest.search(smooth, pose, STEPS))
        return found if found.misfit < SAME_PLACE else self._by_features(smooth, found)

    def _by_features(self, smooth: np.ndarray, found: Registration) -> Registration:
        """The registration from where matched features start, if it is better; with what they say of the pose."""
        matches = _Matches.between(self._features, _Features.of(smooth), smooth.shape)
        start = matches.pose()
        if start is None:
            return found
        other = self._registration(smooth, self._levels[0].search(smooth, start, STEPS))
        best = min((found, other), key=lambda registration: registration.misfit)
        return dataclasses.replace(best, matched=matches.tiles(best.pose, smooth.shape))

    @functools.cached_property
    def _features(self) -> _Features:
        return _Features.of(_blur(self._pictures[0]))

    def _coarse_to_fine(self, frame: np.ndarray, smooth: np.ndarray, starts: Sequence[Pose]) -> Pose:
        pictures = _pyramid(frame)
        blurred = [smooth, *map(_blur, pictures[1:])]
        coarsest = self._levels[-1]
        candidates = [*starts, Pose(shift=_correlation_shifts(self._pictures[-1], pictures[-1])[0])]
        found = [coarsest.search(blurred[-1], start, COARSE_STEPS) for start in candidates]
        pose = min(found, key=lambda candidate: coarsest.mismatch(blurred[-1], candidate))
        for level, picture in reversed(list(zip(self._levels[1:-1], blurred[1:-1]))):
            pose = level.search(picture, pose, STEPS)
        return pose

    def _registration(self, smooth: np.ndarray, pose: Pose) -> Registration:
        finest = self._levels[0]
        return Registration(
            pose=pose,
            residual=finest.tile_residuals(smooth, pose),
            residual_still=finest.tile_residuals(smooth, STILL),
            unlike=self.unlike(smooth, pose),
            unlike_still=self.unlike(smooth, STILL),
            matched=np.zeros(TILES[0] * TILES[1], bool),
        )

    def unlike(self, smooth: np.ndarray, pose: Pose | Homography) -> float:
        """The share of the places that both show which differ at a pose, whatever the exposure's offset."""
        value, within = read_at(smooth, pose.apply(self._places))
        difference, weight = (value - self._values)[within], self._counts[within]
        squared = (difference - np.median(difference)) ** 2 if len(difference) else difference
        return float((weight * squared / (squared + UNLIKE**2)).sum() / max(weight.sum(), 1e-6))


class KeyFrame:
    """A frame that those near it are registered on.

    Args:
        picture: grey levels [h, w].
        poses: "similar", "projective" (any homography) or, of frames with few edges, "sparse": similarities too, for
            which each tile counts the same, however faint its edges are, and what no edge tells stays as it was.
    """

    def __init__(self, picture: np.ndarray, poses: str):
        picture = np.asarray(picture, np.float32)
        kind, ones = LEVELS[poses], np.ones(picture.shape, np.float32)
        pictures, self._picture = _pyramid(picture), picture
        self._coarsest = pictures[-1]
        self._levels = [
            kind(part, share, MOST_POINTS >> k) for k, (part, share) in enumerate(zip(pictures, _pyramid(ones)))
        ]

    def register(self, frame: np.ndarray, starts: Sequence[Homography]) -> tuple[Homography, float, float]:
        """Find the pose of a frame [h, w]: from the first start, or from that which leads to the best fit.

        Returns:
            The pose, the share of the frame that differs there, and the mean residual, see `Registration`.
        """
        pictures = _pyramid(frame)
        smooth, finest = _blur(pictures[0]), self._levels[0]
        if len(finest.points) < FEWEST_POINTS:
            return starts[0], 0.0, 1.0
        near = finest.search(smooth, starts[0], KEY_STEPS)
        if (misfit := finest.misfit(smooth, near)) < finest.clear:
            return near, self._reference.unlike(smooth, near), misfit
        shifts = finest.likely_shifts(self._coarsest, pictures[-1])
        candidates = [*starts, *(Homography.of(Pose(shift=shift)) for shift in shifts)]
        found = [near, *self._coarse_to_fine(pictures, smooth, candidates)]
        best = min(found, key=lambda each: finest.cost(smooth, each, starts[0]))
        if self._reference.unlike(smooth, best) > ELSEWHERE:
            by_features = Homography.of(self._reference.register(frame, [STILL]).pose)
            found = [best, finest.search(smooth, by_features, KEY_STEPS)]
            best = min(found, key=lambda each: finest.cost(smooth, each, starts[0]))
        return best, self._reference.unlike(smooth, best), finest.misfit(smooth, best)

    @functools.cached_property
    def _reference(self) -> Reference:
        """The picture for all that knows no homography; what is only refined on it does without."""
        return Reference(self._picture)

    def refine(self, frame: np.ndarray, start: Homography) -> Homography:
        """The pose of a frame [h, w] near a start; the start itself where a search leads to nothing better."""
        smooth, finest = _blur(np.asarray(frame, np.float32)), self._levels[0]
        if len(finest.points) < FEWEST_POINTS:
            return start
        found = finest.search(smooth, start, KEY_STEPS)
        return min(start, found, key=lambda each: finest.cost(smooth, each, start))

    def residuals(self, frame: np.ndarray, pose: Homography) -> np.ndarray:
        """The residual of each tile of a frame [h, w] at a pose, see `Registration`."""
        return self._levels[0].tile_residuals(_blur(np.asarray(frame, np.float32)), pose)

    def misfit(self, frame: np.ndarray, pose: Homography) -> float:
        """The mean residual of a frame at a pose, see `Registration`."""
        return self._levels[0].misfit(_blur(np.asarray(frame, np.float32)), pose)

    def _coarse_to_fine(
        self, pictures: list[np.ndarray], smooth: np.ndarray, starts: list[Homography]
    ) -> list[Homography]:
        """The poses that searches from coarse to fine lead to; of those that meet on the way, one goes on."""
        poses = starts
        for level, picture in reversed(list(zip(self._levels[1:], pictures[1:]))):
            blurred = _blur(picture)
            found = [level.search(blurred, start, KEY_STEPS, ENOUGH_ON_THE_WAY) for start in poses]
            apart = lambda a, b: (a @ b.inverse()).travel(picture.shape) > MEET
            poses = [pose for k, pose in enumerate(found) if all(apart(pose, other) for other in found[:k])]
        return [self._levels[0].search(smooth, pose, KEY_STEPS) for pose in poses]


@dataclasses.dataclass(frozen=True, eq=False)
class _Residual:
    """Frame minus reference at the points of a level without the exposure, and what each of them counts, [N]."""

    values: np.ndarray
    weight: np.ndarray


# Slopes [N, 6], values [N] and weights [N] of least squares.
_Equations = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """A step of Gauss-Newton: the pose after it, the residual to take weights from next, and its length in pixels."""

    pose: Any
    residual: np.ndarray
    pixels: float
    parameters: np.ndarray


class _Level:
    """The reference at one size: points on its edges, the values there, and how they change as the pose does.

    A pose is a `Pose`, or of levels that say so a `Homography`.

    Columns of `slopes` [N, 6]: of the exposure gain and offset, then the pose: scale (real, imaginary), shift (x, y).

    Attributes:
        clear: residual of the tiles below which the pose that is nearest to the start is the one.
    """

    clear = SAME_PLACE

    def __init__(self, picture: np.ndarray, weight: np.ndarray, most: int):
        smooth = _blur(picture)
        down, right = np.gradient(smooth)
        chosen = _strongest_edges(np.hypot(right, down) * np.sqrt(weight), most)
        self.points, self.values = square_coordinates(smooth.shape).ravel()[chosen], smooth.ravel()[chosen]
        self.weight, self.pixel = weight.ravel()[chosen].astype(np.float64), 2 / smooth.shape[0]
        right, down = (gradient.ravel()[chosen] / self.pixel for gradient in (right, down))
        gain = (self.values - self.values.mean()) / 64 if len(chosen) else self.values
        self.slopes = np.stack([gain, np.ones_like(gain), *self._pose_slopes(right, down)], 1)
        rows, columns = (np.arange(n) * cells // n for n, cells in zip(smooth.shape, TILES))
        self.tile = (rows[:, None] * TILES[1] + columns).ravel()[chosen]
        self.units = self._units()
        self.slopes = np.asfortranarray(self.slopes * self.units[:, None])  # a column is read at once
        self.exposure = self.slopes[:, :2]
        self.box = _corners(self.points)

    def _units(self) -> np.ndarray:
        """By what the residual at each point is multiplied, [N]."""
        return np.ones(len(self.points))

    def _with_prior(self, equations: _Equations, pose: Any, start: Any, noise: float) -> _Equations:
        """The equations of a step with what is known beside the picture."""
        return equations

    def likely_shifts(self, reference: np.ndarray, frame: np.ndarray) -> list[complex]:
        """Shifts between two small pictures [h, w] from which a search may start."""
        return [_correlation_shifts(reference, frame)[0]]

    def cost(self, smooth: np.ndarray, pose: Any, start: Any) -> float:
        """How bad a pose is that was found from a start."""
        return self.mismatch(smooth, pose)

    def _pose_slopes(self, right: np.ndarray, down: np.ndarray) -> list[np.ndarray]:
        """How the values change as the pose does, from their gradients [N]."""
        x, y = self.points.real, self.points.imag
        return [right * x + down * y, down * x - right * y, right, down]

    def _moved(self, pose: Any, step: np.ndarray) -> tuple[Any, float]:
        """The pose after a step of its parameters, and the length of the step in pixels."""
        scale, shift = complex(step[0], step[1]), complex(step[2], step[3])
        pixels = (abs(scale) * np.abs(self.box).max(initial=1) + abs(shift)) / self.pixel
        return pose @ Pose(1 + scale, shift).inverse(), pixels

    def residual(self, smooth: np.ndarray, pose: Any) -> _Residual:
        """The residual of a frame at a pose."""
        value, within = read_at(smooth, pose.apply(self.points))
        difference, weight = (value - self.values) * self.units, self.weight * within
        left = difference
        for _ in range(3):
            counts = weight * _geman_mcclure(left, _noise(left[within]))
            left = difference - self.exposure @ least_squares(self.exposure, difference, counts)
        return _Residual(left, weight)

    def step(self, smooth: np.ndarray, pose: Any, residual: np.ndarray, start: Any, reach: float = 1.0) -> _Step:
        """A step of Gauss-Newton from a pose, `reach` times as far, weighted by the residual of the step before."""
        value, within = read_at(smooth, pose.apply(self.points))
        difference, noise = (value - self.values) * self.units, _noise(residual[within])
        weight = self.weight * within * _geman_mcclure(residual, noise)
        equations = self._with_prior((self.slopes, difference, weight), pose, start, noise)
        found = least_squares(*equations)
        pose, pixels = self._moved(pose, reach * found[2:])
        return _Step(pose, difference - self.exposure @ found[:2], pixels / reach, found[2:])

    def search(self, smooth: np.ndarray, pose: Any, steps: int, enough: float = ENOUGH) -> Any:
        """The pose after some steps, as many as it takes until one is shorter than enough, in pixels."""
        start, residual, reach, before = pose, self.residual(smooth, pose).values, 1.0, None
        for _ in range(steps):
            step = self.step(smooth, pose, residual, start, reach)
            same_way = before is not None and _cosine(step.parameters, before) > SAME_WAY
            reach, before = min(reach * FARTHER, MOST_REACH) if same_way else 1.0, step.parameters
            pose, residual = step.pose, step.residual
            if step.pixels < enough or not 1 / MOST_ZOOM < pose.zoom < MOST_ZOOM:
                break
        return pose

    def mismatch(self, smooth: np.ndarray, pose: Any) -> float:
        """The share of the points' weight that does not fit at a pose, in [0, 1]."""
        residual = self.residual(smooth, pose)
        fits = (residual.weight * _geman_mcclure(residual.values, MATCHING)).sum()
        return 1 - float(fits / max(self.weight.sum(), 1e-6))

    def misfit(self, smooth: np.ndarray, pose: Any) -> float:
        """The mean residual of the tiles that have edges, at a pose."""
        residual = self.tile_residuals(smooth, pose)
        return float(residual[~np.isnan(residual)].mean()) if not np.isnan(residual).all() else 1.0

    def tile_residuals(self, smooth: np.ndarray, pose: Any) -> np.ndarray:
        """For each tile, the squared residual at a pose over the variance of the reference; see `Registration`."""
        residual, count = self.residual(smooth, pose), TILES[0] * TILES[1]
        total = lambda values: np.bincount(self.tile, residual.weight * values, count)
        weight = np.maximum(total(1), 1e-6)
        variance = total(self.values**2) / weight - (total(self.values) / weight) ** 2
        known = np.bincount(self.tile, residual.weight > 0.1, count) >= FEWEST_POINTS
        share = total((residual.values / self.units) ** 2) / weight / np.maximum(variance, 1)
        return np.where(known, np.minimum(share, 1), np.nan)


class _SimilarLevel(_Level):
    """A level whose poses are similarities, written as homographies."""

    def _moved(self, pose: Any, step: np.ndarray) -> tuple[Any, float]:
        change, pixels = super()._moved(STILL, step)
        return pose @ Homography.of(change), pixels


class _SparseLevel(_SimilarLevel):
    """A level of a frame with few edges, where a character's are as many, and stronger.

    Each tile counts the same, by the contrast of its edges; of several poses that fit, the one that most tiles fit and
    that is near to the start; and a pose stays where the camera would be if it went on as before, as far as no edge
    tells otherwise.
    """

    clear = 0.1

    def _units(self) -> np.ndarray:
        total = lambda values: np.bincount(self.tile, values, TILES[0] * TILES[1])
        count = np.maximum(total(np.ones(len(self.tile))), 1)
        variance = total(self.values**2) / count - (total(self.values) / count) ** 2
        return CONTRAST / np.sqrt(np.maximum(variance, 0) + 1)[self.tile]

    def _with_prior(self, equations: _Equations, pose: Any, start: Any, noise: float) -> _Equations:
        away = (pose @ start.inverse()).matrix
        (a, _, x), (b, _, y), (_, _, w) = away
        known = np.array([STEADY_SCALE, STEADY_SCALE, *2 * [STEADY_SHIFT * self.pixel]])
        rows = np.eye(4, self.slopes.shape[1], self.slopes.shape[1] - 4)
        prior = rows, np.array([a / w - 1, b / w, x / w, y / w]), (noise / known) ** 2
        slopes, values, weights = (np.concatenate(both) for both in zip(equations, prior))
        return slopes, values, weights

    def likely_shifts(self, reference: np.ndarray, frame: np.ndarray) -> list[complex]:
        return _correlation_shifts(_of_one_contrast(reference), _of_one_contrast(frame), LIKELY)

    def cost(self, smooth: np.ndarray, pose: Any, start: Any) -> float:
        residual = self.tile_residuals(smooth, pose)
        has_edges = np.bincount(self.tile, minlength=len(residual)) >= FEWEST_POINTS
        distance = np.abs((pose @ start.inverse()).apply(self.points) - self.points).max(initial=0)
        return float(np.nan_to_num(residual, nan=UNSEEN)[has_edges].mean()) + FAR * float(distance)


class _ProjectiveLevel(_Level):
    """A level whose poses are homographies; columns of `slopes` [N, 10]: the first eight entries of the matrix."""

    def _pose_slopes(self, right: np.ndarray, down: np.ndarray) -> list[np.ndarray]:
        x, y = self.points.real, self.points.imag
        away = -(right * x + down * y)
        return [right * x, right * y, right, down * x, down * y, down, away * x, away * y]

    def _moved(self, pose: Any, step: np.ndarray) -> tuple[Any, float]:
        change = Homography.normalized(np.eye(3) + np.append(step, 0).reshape(3, 3))
        pixels = np.abs(change.apply(self.box) - self.box).max(initial=0) / self.pixel
        return pose @ change.inverse(), float(pixels)


LEVELS = {"similar": _SimilarLevel, "sparse": _SparseLevel, "projective": _ProjectiveLevel}


@dataclasses.dataclass(frozen=True, eq=False)
class _Features:
    """Places of a picture that look like no other: square coordinates [N] and descriptors [N, 128]."""

    places: np.ndarray
    descriptors: np.ndarray

    @staticmethod
    def of(picture: np.ndarray) -> _Features:
        """The features of a picture [h, w], grey levels; of a large one those of its half, in a third of the time."""
        picture = _halved(picture) if min(picture.shape) >= 2 * LEAST_SIDE else picture
        (height, width), grey = picture.shape, np.clip(picture, 0, 255).astype(np.uint8)
        points, descriptors = cv2.SIFT.create(MOST_FEATURES).detectAndCompute(grey, None)
        x, y = np.array([point.pt for point in points], np.float64).reshape(-1, 2).T
        return _Features((2 * x + 1 - width + 1j * (2 * y + 1 - height)) / height, np.asarray(descriptors))


@dataclasses.dataclass(frozen=True, eq=False)
class _Matches:
    """Features of the reference that a frame has, too: square coordinates [N] in both; `near` is `NEAR_MATCH` there."""

    reference: np.ndarray
    frame: np.ndarray
    near: float

    @staticmethod
    def between(reference: _Features, frame: _Features, shape: tuple[int, int]) -> _Matches:
        """The distinct matches between two pictures of a shape."""
        pairs: list[tuple[int, int]] = []
        if min(len(reference.places), len(frame.places)) >= FEWEST_MATCHES:
            nearest = cv2.BFMatcher().knnMatch(reference.descriptors, frame.descriptors, k=2)
            pairs = [(a.queryIdx, a.trainIdx) for a, b in nearest if a.distance < DISTINCT * b.distance]
        first, second = np.array(pairs, int).reshape(-1, 2).T
        return _Matches(reference.places[first], frame.places[second], NEAR_MATCH * 2 / shape[0])

    def pose(self) -> Pose | None:
        """The similarity that most matches agree on, whatever lies between; None where too few do."""
        if len(self.reference) < FEWEST_MATCHES:
            return None
        first, second = (np.stack([at.real, at.imag], 1) / self.near for at in (self.reference, self.frame))
        estimate = cv2.estimateAffinePartial2D(first, second, ransacReprojThreshold=1.0)
        found, agree = np.asarray(estimate[0], np.float64), np.asarray(estimate[1])
        if found.shape != (2, 3) or agree.sum() < FEWEST_MATCHES:
            return None
        return Pose(complex(found[0, 0], found[1, 0]), complex(*found[:, 2]) * self.near)

    def tiles(self, pose: Pose, shape: tuple[int, int]) -> np.ndarray:
        """For each tile, whether most of its matches agree with a pose and not with standing still, bool [N]."""
        agrees = lambda each: np.abs(each.apply(self.reference) - self.frame) < self.near
        votes = np.where(agrees(pose) & ~agrees(STILL), 1, -1)
        rows = ((self.reference.imag + 1) / 2 * TILES[0]).astype(int).clip(0, TILES[0] - 1)
        columns = ((self.reference.real * shape[0] / shape[1] + 1) / 2 * TILES[1]).astype(int).clip(0, TILES[1] - 1)
        return np.bincount(rows * TILES[1] + columns, votes, TILES[0] * TILES[1]) > 0


def tiles_with_edges(picture: np.ndarray) -> np.ndarray:
    """The tiles of a picture [h, w] that have edges to go by, bool [N]."""
    points = _Level(picture, np.ones(picture.shape, np.float32), MOST_POINTS).tile
    return np.bincount(points, minlength=TILES[0] * TILES[1]) >= FEWEST_POINTS


def _strongest_edges(gradient: np.ndarray, most: int) -> np.ndarray:
    """Indices of the largest gradients [h, w], as many from each tile, none at the very border."""
    gradient = gradient.copy()
    gradient[[0, 1, -1, -2]] = gradient[:, [0, 1, -1, -2]] = 0
    index, chosen = np.arange(gradient.size).reshape(gradient.shape), []
    for rows in np.array_split(np.arange(gradient.shape[0]), TILES[0]):
        for columns in np.array_split(np.arange(gradient.shape[1]), TILES[1]):
            tile = np.ix_(rows, columns)
            values, number = gradient[tile].ravel(), most // (TILES[0] * TILES[1])
            order = np.argpartition(-values, number)[:number] if number < len(values) else np.arange(len(values))
            chosen.append(index[tile].ravel()[order][values[order] > LEAST_GRADIENT])
    return np.sort(np.concatenate(chosen))


def _corners(points: np.ndarray) -> np.ndarray:
    """The corners of the box around points, complex [N] -> [4], or none around none."""
    x, y = (np.array([side.min(), side.max()]) if len(points) else np.zeros(0) for side in (points.real, points.imag))
    return (x[:, None] + 1j * y).ravel()


def _blur(picture: np.ndarray) -> np.ndarray:
    """Binomial, 3 x 3: what is left of the aliasing would move the edges."""
    return cv2.GaussianBlur(picture, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)


def _pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """A picture and its halves, the finest first; an odd last row or column is left out."""
    levels = [np.asarray(picture, np.float32)]
    while min(levels[-1].shape) >= 2 * COARSEST:
        levels.append(_halved(levels[-1]))
    return levels


def _halved(picture: np.ndarray) -> np.ndarray:
    height, width = (side // 2 for side in picture.shape)
    even = picture[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def _noise(residual: np.ndarray) -> float:
    """The standard deviation of the noise in grey levels, from the median of the residual."""
    middle = len(residual) // 2
    return max(1.4826 * float(np.partition(np.abs(residual), middle)[middle]), LEAST_NOISE) if middle else LEAST_NOISE


def _geman_mcclure(residual: np.ndarray, noise: float) -> np.ndarray:
    """What a point counts: nearly 1 within the noise, nearly nothing far beyond it."""
    return 1 / (1 + (residual / (2 * noise)) ** 2) ** 2


def _correlation_shifts(reference: np.ndarray, frame: np.ndarray, count: int = 1) -> list[complex]:
    """The likeliest shifts of a frame against a reference, to a pixel, by phase correlation; in square coordinates."""
    window = np.outer(*(np.hanning(n) for n in frame.shape))
    spectra = [np.fft.rfft2((picture - picture.mean()) * window) for picture in (reference, frame)]
    cross = spectra[1] * np.conj(spectra[0])
    peaks = np.fft.irfft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).mean() + 1e-9), s=frame.shape)
    shifts = []
    for _ in range(count):
        place = np.unravel_index(np.argmax(peaks), peaks.shape)
        down, right = (int(i) - n * (i > n // 2) for i, n in zip(place, peaks.shape))
        shifts.append((right + 1j * down) * 2 / frame.shape[0])
        around = np.ix_(*((i + np.arange(-2, 3)) % n for i, n in zip(place, peaks.shape)))
        peaks[around] = -np.inf
    return shifts


def _of_one_contrast(picture: np.ndarray) -> np.ndarray:
    """A picture [h, w] whose edges all are about as strong."""
    detail = picture - cv2.blur(picture, (9, 9))
    return detail / np.sqrt(cv2.blur(detail**2, (9, 9)) + 1)
