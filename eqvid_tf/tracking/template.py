"""A character's template: its cut-out of one frame, and where it lies in others by direct alignment.

Source: S. Baker and I. Matthews, Lucas-Kanade 20 Years On, IJCV 2004 (the inverse compositional algorithm).
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from eqvid_tf.tracking.parts import Part

MARGIN = 3  # pixels around the part
MOST_PIXELS = 10_000  # of a template that are compared: of a larger one only some rows and columns are
RIM = 0.01  # of a pixel: how far from the frame's outermost pixels a place is still inside
COVERAGE_SCALE = 60.0  # grey levels that a coverage of 1 counts beside the colours
TOLERANCE = 25.0  # grey levels of residual at which a pixel counts a quarter; below it a pixel is seen
BESIDE = 0.15  # weight where the template is empty but the frame is covered: another character may be there
OUTSIDE = 20.0  # cost, in grey levels, of lying wholly outside of the frame
STEPS = 12  # of Gauss-Newton at the most
LONGEST = 4.0  # pixels of shift in a step
STEEPEST = 0.2  # change of the linear part in a step
PRIOR = np.array([1e-3, 1e-3, 0.02, 0.02, 0.06, 0.06])  # shares of the normal matrix: turns before shears
SETTLED = 0.01  # pixels


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A template in a frame.

    Attributes:
        template: the template.
        frame_from_template: [3, 3], in pixels.
        cost: mean residual, grey levels.
        seen: share of the template that the frame shows, in [0, 1].
    """

    template: CharacterTemplate
    frame_from_template: np.ndarray
    cost: float
    seen: float

    @property
    def centre(self) -> np.ndarray:
        """Of the character in the frame, (x, y) in pixels."""
        return self.template.centre_in(self.frame_from_template)

    def moved(self, shift: np.ndarray) -> np.ndarray:
        """Its matrix [3, 3] where it lies elsewhere by a shift (x, y)."""
        matrix = self.frame_from_template.copy()
        matrix[:2, 2] += shift
        return matrix

    def drawn(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Coverage float32 [*size] and colour [*size, 3] of the template in the frame."""
        matrix, wide = self.frame_from_template[:2].astype(np.float32), size[::-1]
        coverage = cv2.warpAffine(self.template.coverage, matrix, wide)
        colour = cv2.warpAffine(self.template.colour, matrix, wide, borderMode=cv2.BORDER_REPLICATE)
        return coverage, colour

    def residuals(self, frame: np.ndarray) -> np.ndarray:
        """What is left of each pixel of a frame that the template covers, in grey levels; infinite elsewhere.

        Shapes: frame float32 [h, w, 3], see `smooth` -> [h, w].
        """
        coverage, colour = self.drawn(frame.shape[:2])
        return np.where(coverage > 0.5, np.sqrt(np.square(smooth(colour) - frame).mean(-1)), np.inf)


class CharacterTemplate:
    """A cut-out, on a grid of its own.

    Args:
        frame: uint8 [h, w, 3].
        part: the character's in that frame.
        every: row and column of it is compared; None: by its size.
    """

    def __init__(self, frame: np.ndarray, part: Part, every: int | None = None):
        height, width = part.mask.shape
        self.origin = np.array([part.left - MARGIN, part.top - MARGIN], float)
        self.size = (height + 2 * MARGIN, width + 2 * MARGIN)
        matrix = self._matrix(self.origin)
        crop = lambda picture, border: _read(picture.astype(np.float32), matrix, self.size, border)
        self.colour = crop(frame, cv2.BORDER_REPLICATE)
        self.coverage = np.pad(part.mask.astype(np.float32), MARGIN)
        self.area, self.centre = part.area, part.centre - self.origin
        self.radius = np.sqrt(self.area) / 2
        self.stride = every or max(1, int((self.area / MOST_PIXELS) ** 0.5))
        core = cv2.erode(self.coverage, np.ones((3, 3), np.uint8)) > 0
        self.core = self._some(core if np.count_nonzero(core) >= 12 else self.coverage > 0.5)
        smoothed, outline = smooth(self.colour), COVERAGE_SCALE * cv2.GaussianBlur(self.coverage, (0, 0), 1.0)
        self.smooth, self.outline = self._some(smoothed), self._some(outline)
        right, down = map(self._some, _derivatives(np.dstack([smoothed, outline])))
        self.slopes = _Slopes.of(right, down, *self._places())

    def centre_in(self, matrix: np.ndarray) -> np.ndarray:
        """Where a matrix [3, 3] carries its centre, (x, y) in pixels."""
        return (matrix @ np.array([*self.centre, 1]))[:2]

    def placed(self, shift: np.ndarray) -> np.ndarray:
        """Its matrix [3, 3] where it lies as in its own frame, but for a shift (x, y)."""
        return self._matrix(self.origin + shift)

    @staticmethod
    def _matrix(origin: np.ndarray) -> np.ndarray:
        matrix = np.eye(3)
        matrix[:2, 2] = origin
        return matrix

    def _some(self, plane: np.ndarray) -> np.ndarray:
        """The pixels of a plane [h, w, ...] that are compared."""
        return np.ascontiguousarray(plane[:: self.stride, :: self.stride])

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the pixels that are compared lie, from the centre, in units of the radius: x and y."""
        rows, columns = self._some(np.moveaxis(np.indices(self.size, np.float32), 0, -1)).transpose(2, 0, 1)
        return (columns - self.centre[0]) / self.radius, (rows - self.centre[1]) / self.radius

    def step(self, parameters: np.ndarray) -> np.ndarray:
        """The matrix [3, 3] of a small motion about the centre."""
        x, y, zoom, turn, stretch, shear = parameters / np.array([1, 1, *[self.radius] * 4])
        matrix = np.eye(3)
        matrix[:2, :2] = [[1 + zoom + stretch, shear - turn], [shear + turn, 1 + zoom - stretch]]
        matrix[:2, 2] = self.centre - matrix[:2, :2] @ self.centre + np.array([x, y])
        return matrix

    def fit(
        self,
        frame: np.ndarray,
        moving: np.ndarray,
        start: np.ndarray,
        outline_tolerance: float = np.inf,
        hidden: np.ndarray | None = None,
    ) -> Placement:
        """Align it with a frame, from a start on: the best placement on the way.

        Colours are compared in its core, its outline with what moves in the frame. Pixels that do not fit count
        little, for another character may hide them.

        Shapes: frame float32 [h, w, 3], see `smooth`; moving float32 [h, w]; start [3, 3].

        Args:
            frame: to align it with.
            moving: coverage of what moves in the frame.
            start: [3, 3], in pixels.
            outline_tolerance: difference of the outlines, in grey levels, at which a pixel of them counts a quarter.
                From near, a limb that moves by itself misleads less with a small one.
            hidden: bool [h, w], where another is in front: nothing is compared there.
        """
        matrix, best, worse = start, None, 0
        shown = None if hidden is None else 1 - hidden.astype(np.float32)
        for _ in range(STEPS):
            compared = self._compare(frame, moving, matrix, outline_tolerance, shown)
            if best is None or compared.cost < best.cost - 1e-3:
                best = Placement(template=self, frame_from_template=matrix, cost=compared.cost, seen=compared.seen)
                worse = 0
            elif (worse := worse + 1) == 3:
                break
            step = self._newton_step(compared)
            matrix = matrix @ np.linalg.inv(self.step(step))
            if np.abs(step).max() < SETTLED:
                break
        assert best is not None
        return best

    def at(
        self, frame: np.ndarray, moving: np.ndarray, matrix: np.ndarray, outline_tolerance: float = np.inf
    ) -> Placement:
        """The placement as it is, see `fit`."""
        compared = self._compare(frame, moving, matrix, outline_tolerance)
        return Placement(template=self, frame_from_template=matrix, cost=compared.cost, seen=compared.seen)

    def _compare(
        self,
        frame: np.ndarray,
        moving: np.ndarray,
        matrix: np.ndarray,
        outline_tolerance: float,
        shown: np.ndarray | None = None,
    ) -> _Comparison:
        matrix, size = matrix @ np.diag([self.stride, self.stride, 1.0]), self.core.shape
        colour = _read(frame, matrix, size, cv2.BORDER_REPLICATE) - self.smooth
        inside = _lies_inside(frame.shape[:2], matrix, size)
        if shown is not None:
            inside &= _read(shown, matrix, size) > 0.5
        outline = COVERAGE_SCALE * _read(moving, matrix, size) - self.outline
        error = np.sqrt(np.einsum("ijk,ijk->ij", colour, colour) / 3)
        core = self.core & inside
        weight = core / np.square(1 + np.square(error / TOLERANCE))
        beside = (outline > 0) & (self.outline < COVERAGE_SCALE / 2)
        fits = np.square(1 + np.square(outline / outline_tolerance))
        outline_weight = inside * np.where(beside, np.float32(BESIDE), np.float32(1)) / 2 / fits
        pixels, whole = int(np.count_nonzero(core)) or 1, int(np.count_nonzero(self.core)) or 1
        cost = np.minimum(error, 2 * TOLERANCE)[core].sum() + (np.abs(outline) * outline_weight).sum() / 2
        return _Comparison(
            colour=colour,
            outline=outline,
            weight=weight / 3,
            outline_weight=outline_weight,
            cost=float(cost / pixels + OUTSIDE * (1 - pixels / whole)),
            seen=float(np.count_nonzero(core & (error < TOLERANCE)) / whole),
        )

    def _newton_step(self, compared: _Comparison) -> np.ndarray:
        normal, right_side = self.slopes.normal_equations(compared)
        normal += np.diag(PRIOR * np.trace(normal) / 6 + 1e-3)
        step = np.linalg.solve(normal, right_side)
        longest = np.array([LONGEST] * 2 + [STEEPEST * self.radius] * 4)
        return np.clip(step, -longest, longest)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Comparison:
    """Residuals of a template in a frame, of the colours [h, w, 3] and of the outline [h, w], and what follows.

    A pixel's weight [h, w] is that of each of its colours.
    """

    colour: np.ndarray
    outline: np.ndarray
    weight: np.ndarray
    outline_weight: np.ndarray
    cost: float
    seen: float


# The shift in x and y, zoom, turn and two shears, all in pixels at the radius, move what is at (u, v) by:
_MOVES_X = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, -1], [0, 1, 0], [0, 0, 1]], float)  # @ (1, u, v)
_MOVES_Y = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, -1], [0, 1, 0]], float)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Slopes:
    """How colours and outline change with the six parameters of a small motion.

    Why not the derivatives by each parameter: they are those by x and y times 1, u or v, and so the normal equations
    are sums over the pixels of a few products.

    Attributes:
        right: by x, [h, w, 4].
        down: by y.
        squares: right right, right down, down down, of the colours together and of the outline: [2, 3, h w].
        places: 1, u, v: [3, h w].
        pairs: their products: [9, h w].
    """

    right: np.ndarray
    down: np.ndarray
    squares: np.ndarray
    places: np.ndarray
    pairs: np.ndarray

    @staticmethod
    def of(right: np.ndarray, down: np.ndarray, u: np.ndarray, v: np.ndarray) -> _Slopes:
        """From the derivatives [h, w, 4] by x and y at the places u, v [h, w]."""
        products = [a * b for a, b in ((right, right), (right, down), (down, down))]
        squares = [[part.sum(-1).ravel() for part in (a[..., :3], a[..., 3:])] for a in products]
        places = np.stack([np.ones_like(u), u, v]).reshape(3, -1).astype(np.float32)
        pairs = (places[:, None] * places).reshape(9, -1)
        return _Slopes(right=right, down=down, squares=np.array(squares).swapaxes(0, 1), places=places, pairs=pairs)

    def normal_equations(self, compared: _Comparison) -> tuple[np.ndarray, np.ndarray]:
        """The normal matrix [6, 6] and the right side [6] of a weighted step of Gauss-Newton."""
        weights = compared.weight.reshape(-1), compared.outline_weight.reshape(-1)
        xx, xy, yy = (weights[0] * self.squares[0] + weights[1] * self.squares[1]) @ self.pairs.T
        xx, xy, yy = (product.reshape(3, 3).astype(float) for product in (xx, xy, yy))
        cross = _MOVES_X @ xy @ _MOVES_Y.T
        normal = _MOVES_X @ xx @ _MOVES_X.T + cross + cross.T + _MOVES_Y @ yy @ _MOVES_Y.T
        x, y = (self._projected(slope, compared) @ self.places.T for slope in (self.right, self.down))
        return normal, _MOVES_X @ x + _MOVES_Y @ y

    @staticmethod
    def _projected(slope: np.ndarray, compared: _Comparison) -> np.ndarray:
        colour = np.einsum("ijk,ijk->ij", slope[..., :3], compared.colour) * compared.weight
        return (colour + slope[..., 3] * compared.outline * compared.outline_weight).reshape(-1)


def _derivatives(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives of planes [h, w, 4] by x and by y."""
    return cv2.Sobel(planes, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(planes, cv2.CV_32F, 0, 1, scale=1 / 8)


def _lies_inside(frame: tuple[int, int], matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which pixels of `size` an affine matrix [3, 3] carries into a frame of a size (height, width), bool [*size]."""
    columns, rows = np.arange(size[1]), np.arange(size[0])[:, None]
    x, y = (row[0] * columns + row[1] * rows + row[2] for row in matrix[:2])
    return (x > -RIM) & (x < frame[1] - 1 + RIM) & (y > -RIM) & (y < frame[0] - 1 + RIM)


def smooth(frame: np.ndarray) -> np.ndarray:
    """A picture as templates are compared with it: float32, blurred by less than a pixel."""
    return cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 0.7)


def _read(
    picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """A picture [h, w, ...] read at matrix @ [x, y, 1] for every pixel of `size`."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix[:2].astype(np.float32), size[::-1], flags=flags, borderMode=border)
