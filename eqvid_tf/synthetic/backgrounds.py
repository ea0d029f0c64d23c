"""Still backgrounds drawn from a seed: places, walls and textures with sharp edges and fine grain.

Convention: d is the drawing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eqvid_tf.synthetic.drawing import INK, Drawing, choose_kind, hsv, quantized


def _mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The colour `a`, or `b` where the weight is 1."""
    weight = np.clip(weight, 0, 1)[..., None]
    return (1 - weight) * a + weight * b


def _grain(d: Drawing, rng: np.random.Generator, amount: float) -> np.ndarray:
    """A fine texture to multiply a colour with, [H, W, 1]."""
    return 1 + amount * d.noise(rng, 14, 3)[..., None]


def _tree(d: Drawing, rng: np.random.Generator, x: float, y: float, height: float, hue: float) -> None:
    d = d.near(x, y - 0.4 * height, 0.7 * height)
    d.paint(d.box(x, y - 0.12 * height, 0.05 * height, 0.2 * height), hsv(0.07, 0.55, 0.38), outline=0.012)
    leaves = hsv(hue + rng.uniform(-0.04, 0.04), 0.55, rng.uniform(0.4, 0.62)) * _grain(d, rng, 0.16)
    if rng.random() < 0.5:
        for k in range(3):
            low, half = y - (0.2 + 0.24 * k) * height, (0.3 - 0.06 * k) * height
            d.paint(
                d.hull((x - half, low), (x, low - 0.42 * height), (x + half, low)),
                leaves * (0.86 + 0.1 * k),
                outline=0.012,
            )
    else:
        for dx, dy, r in ((-0.17, 0.42, 0.2), (0.17, 0.42, 0.2), (0.0, 0.62, 0.25), (0.03, 0.4, 0.22)):
            d.paint(
                d.ellipse(x + dx * height, y - dy * height, r * height, r * height),
                leaves,
                outline=0.012 if dy > 0.4 else 0,
            )


def _hills(d: Drawing, rng: np.random.Generator) -> None:
    hue = rng.uniform(0.5, 0.62)
    d.paint(d.everywhere(), _mix(hsv(hue, 0.55, 0.85), hsv(rng.uniform(0, 0.15), 0.25, 1.0), d.y + 0.7))
    sun = rng.uniform(-0.8, 0.8) * d.aspect
    d.paint(d.ellipse(sun, -0.62, 0.2, 0.2), hsv(0.13, 0.4, 1.0))
    clouds = d.noise(rng, 1.6, 5, stretch=2.5)
    d.paint(d.everywhere(), (1.0, 0.99, 0.97), opacity=np.clip(clouds * 2 - 0.4, 0, 0.9) * (d.y < 0.3))
    green = rng.uniform(0.2, 0.4)
    for k in range(3):
        wave = sum(
            rng.uniform(0.04, 0.16) * np.sin(rng.uniform(1.2, 3.4) * (n + 1) * d.x + rng.uniform(0, 6.3))
            for n in range(3)
        )
        ridge = (0.3 * k - 0.2 + wave * (1 - 0.2 * k) - d.y) * 0.8
        colour = hsv(green + 0.1 * (2 - k), 0.35 + 0.12 * k, 0.5 + 0.08 * k)
        tufts = 1 + 0.1 * np.sin(60 * (d.y - wave)) * np.sin(23 * d.x + 9 * wave)
        d.paint(ridge, colour * _grain(d, rng, 0.07 + 0.05 * k) * tufts[..., None], outline=0.014)
        for x in np.sort(rng.uniform(-d.aspect, d.aspect, 2 + int(rng.integers(2, 4) * d.aspect))):
            column = min(int((x / d.aspect + 1) / 2 * d.x.shape[1]), d.x.shape[1] - 1)
            ground = 0.3 * k - 0.2 + wave[0, column] * (1 - 0.2 * k)
            _tree(d, rng, x, ground + rng.uniform(0.04, 0.2), rng.uniform(0.34, 0.5) * (0.8 + 0.4 * k), green)


def _bricks(d: Drawing, rng: np.random.Generator) -> None:
    hue, rows = rng.uniform(-0.03, 0.1), int(rng.integers(5, 9))
    mortar = hsv(hue + 0.05, 0.12, rng.uniform(0.55, 0.8))
    d.paint(d.everywhere(), mortar * _grain(d, rng, 0.1))
    half_height, half_width = 1 / rows, rng.uniform(1.9, 2.4) / rows
    for row in range(rows):
        for column in range(-1, int(d.aspect / half_width) + 2):
            x = -d.aspect + (2 * column + row % 2) * half_width + 0.1
            colour = hsv(hue + rng.uniform(-0.025, 0.025), rng.uniform(0.4, 0.68), rng.uniform(0.42, 0.8))
            y = (2 * row + 1) * half_height - 1
            part = d.near(x, y, half_width)
            worn = 0.014 * np.sin(19 * part.x + 5 * row) * np.sin(23 * part.y + 3 * column)
            part.paint(part.box(x, y, half_width - 0.024, half_height - 0.024, 0.03) + worn, colour)
    d.paint(d.everywhere(), d.layer[..., :3] * _grain(d, rng, 0.13))
    moss = d.noise(rng, 1.8, 5)
    d.paint(d.everywhere(), hsv(0.27, 0.6, 0.42) * _grain(d, rng, 0.3), opacity=np.clip(3 * moss - 1.5 + d.y, 0, 0.85))
    x = rng.uniform(-0.5, 0.5) * d.aspect
    if rng.random() < 0.7:
        d.paint(d.box(x, -0.2, 0.34, 0.44, 0.02), hsv(rng.random(), 0.35, 0.85), outline=0.02)
        for dx in (-0.14, 0.14):
            for dy in (-0.4, 0.0):
                d.paint(
                    d.box(x + dx, dy, 0.11, 0.17),
                    hsv(0.57, 0.35, 0.55) * (1.2 - 0.4 * (d.x + d.y - x))[..., None],
                    outline=0.012,
                )
        d.paint(d.box(x, 0.29, 0.42, 0.05, 0.01), mortar * 1.1, outline=0.015)


def _noise(d: Drawing, rng: np.random.Generator) -> None:
    hue = rng.random()
    tones = [hsv(hue + rng.uniform(-0.12, 0.12), rng.uniform(0.25, 0.7), value) for value in (0.3, 0.62, 0.92)]
    wide, fine = d.noise(rng, rng.uniform(0.8, 1.6), 6), d.noise(rng, 6, 4)
    level = 0.5 + 0.45 * wide
    colour = _mix(_mix(tones[0], tones[1], 2 * level), tones[2], 2 * level - 1)
    veins = np.exp(-((d.noise(rng, 1.3, 4) / 0.06) ** 2))
    d.paint(d.everywhere(), _mix(colour, hsv(hue + 0.5, 0.5, 0.8), 0.65 * veins) * (1 + 0.16 * fine)[..., None])


def _pebbles(d: Drawing, rng: np.random.Generator) -> None:
    hue = rng.uniform(0.05, 0.15)
    d.paint(d.everywhere(), hsv(hue, 0.4, 0.42) * _grain(d, rng, 0.3))
    for k in range(int(150 * d.aspect)):
        r = rng.uniform(0.05, 0.2) * (1 - 0.6 * k / (150 * d.aspect))
        x, y, turn = rng.uniform(-d.aspect, d.aspect), rng.uniform(-1, 1), rng.uniform(0, 3.1)
        stone = hsv(hue + rng.uniform(-0.1, 0.5), rng.uniform(0.05, 0.35), rng.uniform(0.4, 0.85))
        part = d.near(x, y, r + 0.03)
        part.paint(
            part.ellipse(x, y, r, r * 0.72, turn),
            stone * (1 - 0.9 * (part.x - x + part.y - y))[..., None],
            outline=0.014,
        )
    d.paint(d.everywhere(), d.layer[..., :3] * _grain(d, rng, 0.1))


def _room(d: Drawing, rng: np.random.Generator) -> None:
    wall, wide = rng.random(), rng.uniform(18, 40)
    stripes = 0.5 + 0.5 * np.clip(3 * np.sin(wide * d.x), -1, 1)
    d.paint(d.everywhere(), _mix(hsv(wall, 0.3, 0.85), hsv(wall + 0.04, 0.42, 0.7), stripes))
    wood, depth = hsv(rng.uniform(0.05, 0.09), 0.55, 0.62), np.maximum(d.y + 0.35, 0.1)
    boards = np.exp(-((np.sin(7 * d.x / depth) / 0.12) ** 2))
    d.paint(0.42 - d.y, _mix(wood, wood * 0.5, boards) * _grain(d, rng, 0.14), outline=0.05)
    d.paint(d.ellipse(0.1, 0.8, 0.7, 0.17), hsv(wall + 0.5, 0.5, 0.65), outline=0.02)
    d.paint(d.ellipse(0.1, 0.8, 0.55, 0.12), hsv(wall + 0.45, 0.4, 0.85) * _grain(d, rng, 0.15))
    side = 1 if rng.random() < 0.5 else -1
    x = 0.55 * d.aspect * side
    d.paint(d.box(x, -0.45, 0.34, 0.38), (0.95, 0.94, 0.9), outline=0.02)
    d.paint(d.box(x, -0.45, 0.28, 0.32), _mix(hsv(0.57, 0.5, 0.95), hsv(0.3, 0.5, 0.6), 8 * (d.y + 0.35)))
    d.paint(np.minimum(d.box(x, -0.45, 0.02, 0.36), d.box(x, -0.45, 0.32, 0.02)), (0.95, 0.94, 0.9))
    x = -0.5 * d.aspect * side
    d.paint(d.box(x, 0.02, 0.42, 0.5, 0.02), wood * 0.8, outline=0.02)
    for shelf in range(3):
        low, left = -0.16 + 0.32 * shelf, x - 0.36
        d.paint(d.box(x, low - 0.13, 0.38, 0.125), wood * 0.35)
        while left < x + 0.3:
            thick, tall = rng.uniform(0.025, 0.05), rng.uniform(0.07, 0.12)
            book = d.near(left + thick, low - tall, 0.15)
            book.paint(
                book.box(left + thick, low - tall, thick, tall),
                hsv(rng.random(), 0.6, rng.uniform(0.5, 0.9)),
                outline=0.008,
            )
            left += 2 * thick + 0.01
    x = 0.62 * d.aspect * side
    d.paint(d.box(x, 0.42, 0.3, 0.2, 0.1), hsv(wall + 0.6, 0.55, 0.6) * _grain(d, rng, 0.08), outline=0.02)
    d.paint(d.box(x, 0.55, 0.4, 0.12, 0.08), hsv(wall + 0.6, 0.5, 0.75) * _grain(d, rng, 0.08), outline=0.02)


def _city(d: Drawing, rng: np.random.Generator) -> None:
    hue = rng.uniform(0.55, 0.75)
    d.paint(d.everywhere(), _mix(hsv(hue, 0.6, 0.35), hsv(hue + rng.uniform(0.2, 0.4), 0.5, 0.95), 0.6 * d.y + 0.7))
    d.paint(d.ellipse(rng.uniform(-0.7, 0.7) * d.aspect, -0.66, 0.15, 0.15), hsv(0.13, 0.2, 1.0))
    rough = _grain(d, rng, 0.07)
    for layer in range(3):
        x = -d.aspect - rng.uniform(0, 0.3)
        while x < d.aspect:
            half, roof = rng.uniform(0.13, 0.26), rng.uniform(-0.75, -0.1) + 0.3 * layer
            front = hsv(hue + rng.uniform(-0.1, 0.1), 0.35, 0.28 + 0.14 * layer) * rough
            d.paint(d.box(x + half, 1.1 + roof / 2, half, 1.1 - roof / 2), front, outline=0.016)
            for wx in np.arange(x + 0.06, x + 2 * half - 0.05, 0.1):
                for wy in np.arange(roof + 0.09, 1.0, 0.15):
                    pane = d.near(wx, wy, 0.06)
                    pane.paint(
                        pane.box(wx, wy, 0.028, 0.043),
                        hsv(0.13, 0.5, 0.98) if rng.random() < 0.4 else np.array(INK) + 0.12,
                    )
            x += 2 * half + rng.uniform(-0.02, 0.06)
    d.paint(0.86 - d.y, hsv(hue, 0.12, 0.42) * _grain(d, rng, 0.15), outline=0.02)


BACKGROUNDS: dict[str, Callable[[Drawing, np.random.Generator], None]] = {
    "hills": _hills,
    "bricks": _bricks,
    "noise": _noise,
    "pebbles": _pebbles,
    "room": _room,
    "city": _city,
}
FINE_HEIGHT = 512  # pixels at which a background is drawn, before it is averaged down by 2 to 4


def draw_background(seed: int, size: tuple[int, int] = (64, 64), kind: str | None = None) -> np.ndarray:
    """Draw a still background.

    Convention: a seed gives the same place at every size of the same aspect.

    Shapes: [H, W, 3] uint8.

    Args:
        seed: everything that is drawn follows from it.
        size: (height, width).
        kind: "hills", "bricks", "noise", "pebbles", "room" or "city"; by default the seed chooses.

    Raises:
        ValueError: no such kind.

    Example:
        >>> draw_background(0, (24, 32), "bricks").shape
        (24, 32, 3)
    """
    draw = BACKGROUNDS[choose_kind(kind, list(BACKGROUNDS), np.random.default_rng([seed, 3]))]
    height, width = size
    fine = int(np.clip(FINE_HEIGHT // height, 2, 4))
    drawing = Drawing(height * fine, width * fine)
    draw(drawing, np.random.default_rng([seed, 4]))
    picture = np.clip(drawing.layer[..., :3], 0, 1).reshape(height, fine, width, fine, 3)
    return quantized(picture.mean((1, 3)))
