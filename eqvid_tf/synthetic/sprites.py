"""Characters drawn from a seed, in every pose of a walk cycle, so that examples and tests need no download.

Convention: d is the drawing, `phase` the phase of the walk in radians, `hue` that of the main colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from eqvid_tf.synthetic.drawing import INK, WHITE, Drawing, choose_kind, hsv, quantized


def _eye(d: Drawing, x: float, y: float, radius: float, look: float = 0.2) -> None:
    d.paint(d.ellipse(x, y, radius, radius * 1.15), WHITE, outline=0.025)
    d.paint(d.ellipse(x + look * radius, y + 0.1 * radius, radius * 0.55, radius * 0.65), INK)
    d.paint(d.ellipse(x + (look - 0.2) * radius, y - 0.15 * radius, radius * 0.2, radius * 0.2), WHITE)


def _biped(d: Drawing, phase: float, rng: np.random.Generator, hue: float) -> None:
    skin, shirt, shoe = hsv(hue, 0.45, 0.95), hsv(hue + rng.uniform(0.3, 0.6), 0.75, 0.85), hsv(hue + 0.1, 0.6, 0.35)
    swing, bob = 0.26 * math.sin(phase), 0.04 * math.cos(2 * phase)
    d.paint(d.limb(-0.33, 0.08 + bob, -0.55 - swing / 2, 0.42 + swing / 2, 0.09), skin, outline=0.035)
    for side in (-1, 1):
        foot, lift = 0.17 * side + swing * side, 0.12 * max(0.0, math.cos(phase) * side)
        d.paint(d.limb(0.15 * side, 0.5 + bob, foot, 0.82 - lift, 0.1), shirt * 0.6, outline=0.035)
        d.paint(d.ellipse(foot + 0.06, 0.87 - lift, 0.17, 0.1), shoe, outline=0.03)
    torso = d.box(0, 0.28 + bob, 0.34, 0.34, 0.22)
    d.paint(torso, shirt, outline=0.035)
    for k in range(int(rng.integers(0, 4))):
        d.paint(np.maximum(torso, d.box(0, 0.14 + 0.17 * k + bob, 1, 0.045)), WHITE)
    d.paint(d.limb(0.31, 0.08 + bob, 0.55 - swing / 2, 0.42 - swing / 2, 0.09), skin, outline=0.035)
    if rng.random() < 0.5:
        for side in (-1, 1):
            d.paint(d.limb(0.16 * side, -0.6 + bob, 0.28 * side, -0.86 + bob, 0.035), INK)
            d.paint(d.ellipse(0.28 * side, -0.87 + bob, 0.08, 0.08), shirt, outline=0.03)
    else:
        d.paint(d.hull((-0.3, -0.68 + bob), (0.02, -0.97 + bob), (0.34, -0.68 + bob)), shirt, outline=0.03)
    d.paint(d.ellipse(0, -0.4 + bob, 0.46, 0.38), skin, outline=0.035)
    for side in (-1, 1):
        _eye(d, 0.06 + 0.17 * side, -0.44 + bob, 0.11)
    d.paint(d.ellipse(0.07, -0.19 + bob, 0.14, 0.04), hsv(hue, 0.8, 0.45))


def _beetle(d: Drawing, phase: float, rng: np.random.Generator, hue: float) -> None:
    shell = hsv(hue, 0.85, 0.88)
    for k, x in enumerate((-0.5, -0.12, 0.26)):
        swing = 0.15 * math.sin(phase + k * 2.1)
        d.paint(
            d.limb(x, 0.3, x + swing, 0.62 - 0.1 * math.cos(phase + k * 2.1), 0.065), (0.2, 0.16, 0.2), outline=0.02
        )
    for x in (0.62, 0.78):
        d.paint(d.limb(x, -0.1, x + 0.12, -0.42 + 0.04 * math.sin(phase), 0.03), INK)
        d.paint(d.ellipse(x + 0.12, -0.45 + 0.04 * math.sin(phase), 0.06, 0.06), shell, outline=0.025)
    d.paint(d.ellipse(0.6, 0.14, 0.28, 0.27), (0.24, 0.2, 0.26), outline=0.035)
    dome = np.maximum(d.ellipse(-0.15, 0.34, 0.72, 0.86), d.y - 0.4)
    d.paint(dome, shell, outline=0.04)
    d.paint(np.maximum(dome, d.box(-0.15, 0.36, 1, 0.07)), shell * 0.62)
    for row, y in enumerate((-0.32, -0.04, 0.22)):
        for x in np.arange(-0.75, 0.5, 0.36) + 0.18 * (row % 2) + rng.uniform(-0.05, 0.05):
            r = rng.uniform(0.07, 0.12)
            d.paint(np.maximum(dome + 0.02, d.ellipse(x, y, r, r)), INK)
    d.paint(np.maximum(dome, d.limb(-0.05, -0.6, 0.05, 0.4, 0.022)), INK)
    _eye(d, 0.68, 0.08, 0.11)


def _robot(d: Drawing, phase: float, rng: np.random.Generator, hue: float) -> None:
    metal, accent = hsv(hue, 0.18, 0.75), hsv(hue + rng.uniform(0.35, 0.65), 0.85, 0.95)
    swing, bob = math.sin(phase), 0.03 * math.cos(2 * phase)
    for side in (-1, 1):
        lift = 0.14 * max(0.0, swing * side)
        d.paint(d.box(0.22 * side, 0.66 - lift, 0.07, 0.2), metal * 0.55, outline=0.03)
        d.paint(d.box(0.24 * side, 0.88 - lift, 0.17, 0.07, 0.04), accent * 0.7, outline=0.03)
        d.paint(
            d.limb(0.44 * side, 0.08 + bob, (0.62 + 0.1 * swing * side) * side, 0.38 - 0.2 * swing * side, 0.07),
            metal * 0.7,
            outline=0.03,
        )
        d.paint(
            d.ellipse((0.62 + 0.1 * swing * side) * side, 0.42 - 0.2 * swing * side, 0.11, 0.11), accent, outline=0.03
        )
    d.paint(d.box(0, 0.22 + bob, 0.44, 0.36, 0.08), metal, outline=0.035)
    d.paint(d.box(0, 0.2 + bob, 0.3, 0.2, 0.04), metal * 0.4, outline=0.02)
    for k in range(4):
        height = 0.04 + 0.12 * rng.random()
        d.paint(d.box(-0.2 + 0.135 * k, 0.34 + bob - height, 0.045, height), hsv(hue + 0.15 * k, 0.8, 0.95))
    d.paint(d.limb(0, -0.7 + bob, 0, -0.86 + bob, 0.03), INK)
    d.paint(d.ellipse(0, -0.88 + bob, 0.08, 0.08), accent, outline=0.03)
    d.paint(d.box(0, -0.2 + bob, 0.14, 0.1), metal * 0.5, outline=0.03)
    d.paint(d.box(0, -0.47 + bob, 0.4, 0.25, 0.09), metal * 1.15, outline=0.035)
    d.paint(d.box(0.03, -0.5 + bob, 0.3, 0.12, 0.1), INK)
    for side in (-1, 1):
        d.paint(d.ellipse(0.05 + 0.15 * side, -0.5 + bob, 0.075, 0.085), accent)
    d.paint(d.box(0.03, -0.3 + bob, 0.2, 0.03), metal * 0.45)


def _bird(d: Drawing, phase: float, rng: np.random.Generator, hue: float) -> None:
    coat, belly, beak = hsv(hue, 0.7, 0.9), hsv(hue + rng.uniform(0.05, 0.15), 0.3, 0.98), hsv(0.1, 0.9, 0.98)
    flap = math.sin(phase)
    for side in (-1, 1):
        foot = 0.12 * side + 0.18 * flap * side
        d.paint(d.limb(0.1 * side, 0.5, foot, 0.84, 0.035), beak * 0.8, outline=0.025)
        d.paint(d.limb(foot, 0.86, foot + 0.15, 0.88, 0.04), beak * 0.8, outline=0.025)
    for k in (-1, 0, 1):
        d.paint(d.limb(-0.5, 0.15, -0.85, 0.0 + 0.17 * k + 0.06 * flap, 0.08), coat * (0.6 + 0.1 * k), outline=0.03)
    d.paint(d.ellipse(-0.05, 0.12, 0.6, 0.5), coat, outline=0.04)
    d.paint(np.maximum(d.ellipse(-0.05, 0.12, 0.57, 0.47), d.ellipse(0.12, 0.36, 0.46, 0.38)), belly)
    for k in (-1, 0, 1):
        d.paint(d.limb(0.3 + 0.07 * k, -0.72, 0.3 + 0.14 * k, -0.9, 0.045), coat * 0.7, outline=0.025)
    d.paint(d.hull((0.6, -0.5), (0.95, -0.34), (0.6, -0.2)), beak, outline=0.03)
    d.paint(d.ellipse(0.3, -0.4, 0.38, 0.36), coat, outline=0.04)
    d.paint(np.maximum(d.ellipse(0.3, -0.4, 0.36, 0.34), d.ellipse(-0.05, 0.12, 0.6, 0.5)), coat)
    _eye(d, 0.42, -0.44, 0.12)
    for k in (2, 1, 0):
        d.paint(
            d.ellipse(-0.22 - 0.13 * k, 0.08 - (0.16 + 0.05 * k) * flap, 0.3, 0.13, 0.3 + 0.7 * flap),
            coat * (0.62 + 0.12 * (2 - k)),
            outline=0.025,
        )


def _slime(d: Drawing, phase: float, rng: np.random.Generator, hue: float) -> None:
    jelly = hsv(hue, 0.62, 0.85)
    wide, tall = 0.76 + 0.08 * math.cos(phase), 1.2 - 0.2 * math.cos(phase)
    dome = np.maximum(d.ellipse(0, 0.62, wide, tall), d.y - 0.78)
    foot = np.minimum(dome, d.box(0, 0.68, wide + 0.08, 0.13, 0.13))
    d.paint(foot, jelly, outline=0.04)
    d.paint(np.maximum(foot, d.ellipse(0.1, 0.9, wide, 0.3)), jelly * 0.75)
    for _ in range(int(rng.integers(3, 8))):
        x, y, r = rng.uniform(-0.55, 0.55), rng.uniform(-0.2, 0.6), rng.uniform(0.05, 0.13)
        d.paint(np.maximum(foot + 0.03, d.ellipse(x * wide, 0.62 + (y - 0.62) * tall, r, r)), hsv(hue + 0.08, 0.8, 0.6))
    d.paint(d.ellipse(-0.36 * wide, 0.62 - 0.68 * tall, 0.16, 0.07, -0.7), WHITE, opacity=0.8)
    for side in (-1, 1):
        _eye(d, 0.1 + 0.26 * side, 0.62 - 0.5 * tall, 0.15)
    d.paint(np.maximum(d.ellipse(0.12, 0.7 - 0.3 * tall, 0.2, 0.13), 0.7 - 0.3 * tall - d.y), INK)


def _cat(d: Drawing, phase: float, rng: np.random.Generator, hue: float) -> None:
    fur, dark = hsv(hue, 0.5, 0.9), hsv(hue, 0.65, 0.5)
    for k, x in enumerate((-0.56, 0.2, -0.36, 0.4)):
        swing = math.sin(phase + (0, 2.6, 3.1, 5.7)[k])
        d.paint(d.limb(x, 0.3, x + 0.2 * swing, 0.84, 0.085), fur if k > 1 else fur * 0.65, outline=0.03)
    bend = 0.1 * math.sin(phase)
    for x0, y0, x1, y1, r in ((-0.62, 0.1, -0.84, -0.2, 0.08), (-0.84, -0.2, -0.78 + bend, -0.56, 0.07)):
        d.paint(d.limb(x0, y0, x1, y1, r), dark, outline=0.03)
    trunk = d.limb(-0.46, 0.2, 0.3, 0.2, 0.27)
    d.paint(trunk, fur, outline=0.035)
    for k in range(int(rng.integers(2, 5))):
        d.paint(np.maximum(trunk, d.limb(-0.55 + 0.22 * k, -0.1, -0.5 + 0.22 * k, 0.16, 0.045)), dark)
    for side in (-1, 1):
        x = 0.46 + 0.22 * side
        d.paint(d.hull((x - 0.15, -0.36), (x + 0.06 * side, -0.78), (x + 0.15, -0.36)), dark, outline=0.035)
    d.paint(d.ellipse(0.46, -0.22, 0.43, 0.36), fur, outline=0.035)
    for side in (-1, 1):
        _eye(d, 0.52 + 0.18 * side, -0.28, 0.1)
        d.paint(d.limb(0.55 + 0.12 * side, -0.06, 0.55 + 0.36 * side, -0.1, 0.012), INK)
    d.paint(d.ellipse(0.55, -0.1, 0.07, 0.05), hsv(0.97, 0.6, 0.75), outline=0.02)


CHARACTERS: dict[str, Callable[[Drawing, float, np.random.Generator, float], None]] = {
    "biped": _biped,
    "beetle": _beetle,
    "robot": _robot,
    "bird": _bird,
    "slime": _slime,
    "cat": _cat,
}
MARGIN = 1.12  # the part of a cell, in drawing units, that a pose fits into: legs and outlines need room


def draw_character(
    seed: int, kind: str | None = None, *, cells: int = 6, resolution: int = 160, hue: float | None = None
) -> np.ndarray:
    """Draw the walk cycle of a character.

    Convention: straight alpha; the cells' outer edges at -1 and +1, so that one pose fits all of them.

    Shapes: [cells, resolution, resolution, 4] uint8.

    Args:
        seed: colours, patterns and, by default, the kind follow from it.
        kind: "biped", "beetle", "robot", "bird", "slime" or "cat".
        cells: pictures in one cycle, the phase of the walk spread evenly over them.
        resolution: side of a cell in pixels.
        hue: of the main colour, in [0, 1] (0 red, 1/3 green, 2/3 blue); by default the seed chooses.

    Raises:
        ValueError: no such kind.

    Example:
        >>> draw_character(0, "robot", cells=4, resolution=32).shape
        (4, 32, 32, 4)
    """
    rng = np.random.default_rng([seed, 1])
    draw = CHARACTERS[choose_kind(kind, list(CHARACTERS), rng)]
    hue = rng.random() if hue is None else hue
    pictures = []
    for k in range(cells):
        drawing = Drawing(resolution, resolution)
        drawing.x, drawing.y, drawing.pixel = (MARGIN * value for value in (drawing.x, drawing.y, drawing.pixel))
        draw(drawing, 2 * math.pi * k / cells, np.random.default_rng([seed, 2]), hue)
        pictures.append(_shaded(drawing))
    return quantized(np.array(pictures))


def _shaded(drawing: Drawing) -> np.ndarray:
    """The picture in straight alpha, brighter towards the top left."""
    brightness = np.clip(1.02 - 0.16 * drawing.y - 0.08 * drawing.x, 0, 1.25)[..., None]
    alpha = drawing.layer[..., 3:]
    return np.concatenate([drawing.layer[..., :3] * brightness / np.maximum(alpha, 1e-9), alpha], -1)
