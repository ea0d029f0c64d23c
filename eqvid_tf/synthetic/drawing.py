"""Drawing with signed distances: shapes and textures.

A shape is an array of distances to its edge, negative inside; antialiased edges, outlines and intersections
(`np.maximum` of two shapes) follow from it.

Why numpy alone, in float64, and no thresholds on computed values where a shape is visible: a difference in the last bit
between machines then does not reach the uint8 pixels.

Convention: square drawing coordinates, x right and y down, in units of half the picture's height, with the top and
bottom edges at -1 and +1.
"""

from __future__ import annotations

import colorsys
import copy
import math

import numpy as np

Colour = np.ndarray | tuple[float, float, float]
INK = (0.10, 0.07, 0.12)
WHITE = (0.97, 0.97, 0.95)


class Drawing:
    """A premultiplied RGBA picture, painted shape over shape.

    Shapes:
        layer: [height, width, 4] float64 in [0, 1]; x, y and every shape: [height, width].

    Args:
        height: pixels.
        width: pixels.

    Attributes:
        x: of each pixel's centre, in drawing coordinates.
        y: of each pixel's centre, in drawing coordinates.
        aspect: width / height.
        pixel: side of a pixel, in drawing coordinates.
        layer: the picture.
    """

    def __init__(self, height: int, width: int):
        self.aspect, self.pixel = width / height, 2 / height
        rows, columns = (np.arange(n) + 0.5 for n in (height, width))
        self.y, self.x = np.meshgrid(rows * self.pixel - 1, columns * self.pixel - self.aspect, indexing="ij")
        self.layer = np.zeros((height, width, 4))

    def near(self, x: float, y: float, reach: float) -> Drawing:
        """The part within reach of a point, sharing this drawing's pixels: a small shape then takes little time."""
        part = copy.copy(self)
        rows, columns = (
            slice(
                max(int((middle - reach + edge) / self.pixel), 0), max(int((middle + reach + edge) / self.pixel) + 2, 0)
            )
            for middle, edge in ((y, 1), (x, self.aspect))
        )
        part.x, part.y, part.layer = (array[rows, columns] for array in (self.x, self.y, self.layer))
        return part

    def paint(
        self, distance: np.ndarray, colour: Colour, *, outline: float = 0.0, opacity: float | np.ndarray = 1.0
    ) -> None:
        """Paint a shape over what is there.

        Args:
            distance: the shape.
            colour: [3], or [height, width, 3] for a texture.
            outline: width of a line in ink around it, in drawing coordinates.
            opacity: in [0, 1], of the whole shape or of each pixel.
        """
        if outline:
            self.paint(distance - outline, INK)
        coverage = (np.clip(0.5 - distance / self.pixel, 0, 1) * opacity)[..., None]
        self.layer *= 1 - coverage
        self.layer[..., :3] += coverage * np.asarray(colour)
        self.layer[..., 3:] += coverage

    def everywhere(self) -> np.ndarray:
        """The shape that covers the whole picture."""
        return np.full_like(self.x, -1.0)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> np.ndarray:
        """The shape of an ellipse with centre (cx, cy) and half axes (rx, ry), turned by radians from x towards y."""
        x, y = self.x - cx, self.y - cy
        cosine, sine = math.cos(turn), math.sin(turn)
        x, y = (cosine * x + sine * y) / rx, (cosine * y - sine * x) / ry
        return (x**2 + y**2 - 1) / (2 * np.sqrt((x / rx) ** 2 + (y / ry) ** 2) + 1e-9)

    def limb(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> np.ndarray:
        """The shape of a thick line from (x0, y0) to (x1, y1), with round ends."""
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((self.x - x0) * dx + (self.y - y0) * dy) / (dx * dx + dy * dy + 1e-12), 0, 1)
        return np.hypot(self.x - x0 - along * dx, self.y - y0 - along * dy) - radius

    def box(self, cx: float, cy: float, hx: float, hy: float, corner: float = 0.0) -> np.ndarray:
        """The shape of a box with centre (cx, cy), half sides (hx, hy) and corners of a radius."""
        x, y = np.abs(self.x - cx) - hx + corner, np.abs(self.y - cy) - hy + corner
        return np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - corner

    def hull(self, *points: tuple[float, float]) -> np.ndarray:
        """The shape of a convex polygon, its corners clockwise on the screen."""
        edges = zip(points, points[1:] + points[:1])
        return np.max(
            [
                ((self.x - ax) * (by - ay) - (self.y - ay) * (bx - ax)) / math.hypot(bx - ax, by - ay)
                for (ax, ay), (bx, by) in edges
            ],
            axis=0,
        )

    def noise(self, rng: np.random.Generator, frequency: float, octaves: int = 4, stretch: float = 1.0) -> np.ndarray:
        """Smooth noise of several octaves, mean 0, most of it within [-1, 1].

        Shapes: [height, width].

        Args:
            rng: draws the values.
            frequency: of the first octave, in cells for each drawing unit.
            octaves: each has 2.1 times the frequency of the one before, and 0.6 times its size.
            stretch: frequency along y over that along x.
        """
        total = np.zeros_like(self.x)
        for octave in range(octaves):
            u, v = (self.x + self.aspect) * frequency, (self.y + 1) * frequency * stretch
            lattice = rng.uniform(-1, 1, (int(2 * frequency * stretch) + 3, int(2 * self.aspect * frequency) + 3))
            i, j = v.astype(int), u.astype(int)
            a, b = ((t - n) ** 2 * (3 - 2 * (t - n)) for t, n in ((v, i), (u, j)))
            total += (
                (1 - a) * ((1 - b) * lattice[i, j] + b * lattice[i, j + 1])
                + a * ((1 - b) * lattice[i + 1, j] + b * lattice[i + 1, j + 1])
            ) * 0.6**octave
            frequency *= 2.1
        return total


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Convert a colour from hue (any number, one turn is 1), saturation and value in [0, 1] to RGB in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def quantized(values: np.ndarray) -> np.ndarray:
    """Convert numbers in [0, 1] to uint8, halves upwards.

    Why not `to_uint8` of the writers: it rounds halves to even numbers, in float32. The pixels of scenes are pinned.
    """
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def choose_kind(kind: str | None, kinds: list[str], rng: np.random.Generator) -> str:
    """Check a kind of character or background; None lets `rng` choose one.

    Raises:
        ValueError: no such kind.
    """
    kind = kinds[int(rng.integers(len(kinds)))] if kind is None else kind
    if kind not in kinds:
        raise ValueError(
            f"kind must be one of {', '.join(kinds)}; received {kind!r}. Leave it out to let the seed choose."
        )
    return kind
