"""Drawing with signed distances: shapes and textures.

A shape is an array of distances to its edge, negative inside, which gives antialiased edges, outlines
and clipping (`np.maximum` of two shapes) for free. Convention: square drawing coordinates, x right and
y down, in units of half the picture's height, the top and bottom edges at -1 and +1. Numpy alone, in
float64 and without thresholds on computed values where a shape shows, so that a last-bit difference
between machines does not reach the uint8 pixels.
"""

from __future__ import annotations

import colorsys
import copy
import math

import numpy as np

INK = (0.10, 0.07, 0.12)
WHITE = (0.97, 0.97, 0.95)


class Canvas:
    """A premultiplied RGBA picture [H, W, 4], painted shape over shape."""

    def __init__(self, height: int, width: int):
        self.aspect, self.pixel = width / height, 2 / height
        rows, columns = (np.arange(n) + 0.5 for n in (height, width))
        self.y, self.x = np.meshgrid(rows * self.pixel - 1, columns * self.pixel - self.aspect, indexing="ij")
        self.layer = np.zeros((height, width, 4))

    def near(self, x: float, y: float, reach: float) -> Canvas:
        """The part within reach of a point, sharing this canvas's pixels: small shapes cost little."""
        part = copy.copy(self)
        rows, columns = (
            slice(max(int((at - reach + edge) / self.pixel), 0), max(int((at + reach + edge) / self.pixel) + 2, 0))
            for at, edge in ((y, 1), (x, self.aspect))
        )
        part.x, part.y, part.layer = (array[rows, columns] for array in (self.x, self.y, self.layer))
        return part

    def paint(self, distance: np.ndarray, colour, *, outline: float = 0.0, opacity: float | np.ndarray = 1.0) -> None:
        """Covers where distance < 0 with a colour ([3], or [H, W, 3] for a texture)."""
        if outline:
            self.paint(distance - outline, INK)
        cover = (np.clip(0.5 - distance / self.pixel, 0, 1) * opacity)[..., None]
        self.layer *= 1 - cover
        self.layer[..., :3] += cover * colour
        self.layer[..., 3:] += cover

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> np.ndarray:
        x, y = self.x - cx, self.y - cy
        c, s = math.cos(turn), math.sin(turn)
        x, y = (c * x + s * y) / rx, (c * y - s * x) / ry
        return (x**2 + y**2 - 1) / (2 * np.sqrt((x / rx) ** 2 + (y / ry) ** 2) + 1e-9)

    def limb(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> np.ndarray:
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((self.x - x0) * dx + (self.y - y0) * dy) / (dx * dx + dy * dy + 1e-12), 0, 1)
        return np.hypot(self.x - x0 - along * dx, self.y - y0 - along * dy) - radius

    def box(self, cx: float, cy: float, hx: float, hy: float, corner: float = 0.0) -> np.ndarray:
        x, y = np.abs(self.x - cx) - hx + corner, np.abs(self.y - cy) - hy + corner
        return np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - corner

    def hull(self, *points: tuple[float, float]) -> np.ndarray:
        """A convex polygon, clockwise on the screen."""
        edges = zip(points, points[1:] + points[:1])
        return np.max(
            [
                ((self.x - ax) * (by - ay) - (self.y - ay) * (bx - ax)) / math.hypot(bx - ax, by - ay)
                for (ax, ay), (bx, by) in edges
            ],
            axis=0,
        )

    def noise(self, rng: np.random.Generator, frequency: float, octaves: int = 4, stretch: float = 1.0) -> np.ndarray:
        """Smooth noise of several octaves, mean 0, most of it within [-1, 1]; frequency in cells a unit."""
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
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def quantized(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
