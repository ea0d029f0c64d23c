"""A motion template as a picture: its path, ghosts of a paper figure along it, and how the figure's shape changes.

The figure looks to the right and has a tuft on its left, so that a turn, a shear and a mirror can be told apart.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from eqvid_tf.motions.template import Template
from eqvid_tf.pixels.sheets import FAINT, PAPER, draw_path

WIDTH, LEAST, MOST = 768, 256, 640  # pixels: of the picture; of the height of its upper part
GHOSTS = 8  # figures along the path, the last one not counted; as many in the strip below
FINE = 2  # drawn so much larger, for smooth edges
LIGHT, DARK = np.array([205, 222, 242]), np.array([28, 60, 120])
LINE = (226, 226, 232)
MARGIN = 0.12  # half-heights around what is drawn


def _disc(x: float, y: float, radius: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], -1)


def _rounded(half_width: float, half_height: float, radius: float) -> np.ndarray:
    inner = np.array([half_width, half_height]) - radius
    corners = enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1)))
    return np.concatenate([_disc(*(inner * corner), radius)[6 * k : 6 * k + 7] for k, corner in corners])


BODY = 4
# Polygons in half-heights about the figure's centre; True: in the figure's own colour, False: in that of paper.
FIGURE = [
    (np.array([(-0.22, -0.2), (-0.3, -0.46), (-0.04, -0.27)]), True),  # tuft
    (np.array([(0.2, -0.1), (0.36, 0.0), (0.2, 0.08)]), True),  # nose
    (np.array([(-0.17, 0.22), (-0.17, 0.4), (0.02, 0.4), (-0.04, 0.22)]), True),  # feet
    (np.array([(0.05, 0.22), (0.05, 0.4), (0.24, 0.4), (0.18, 0.22)]), True),
    (_rounded(0.24, 0.3, 0.1), True),  # body
    (_disc(0.1, -0.12, 0.055), False),  # eye
]


def picture(template: Template) -> np.ndarray:
    """The path and the ghosts, light at the start and dark at the end, and below them the figure alone at even times.

    The box is as high and wide as a frame is high, with the character's start in its middle. The path runs from blue (a ring) to
    red (a dot).

    Shapes: uint8 [H, 768, 3].
    """
    poses = template.poses()
    shown = np.unique(np.round(np.linspace(0, len(poses) - 1, GHOSTS + 1)).astype(int))
    path = _path(poses, shown)
    strip = _strip(poses, shown, template)
    return np.concatenate([path, strip])


def _path(poses: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The upper part of the picture."""
    outline = np.concatenate([points for points, _ in FIGURE])
    reach = np.concatenate([*(_carried(pose, outline) for pose in poses), [(-1, -1), (1, 1)]])
    corner, extent = reach.min(0) - MARGIN, np.ptp(reach, axis=0) + 2 * MARGIN
    height = int(np.clip(WIDTH * extent[1] / extent[0], LEAST, MOST))
    scale = min(WIDTH / extent[0], height / extent[1])
    corner = corner - (np.array([WIDTH, height]) / scale - extent) / 2  # in the middle
    pixels = lambda points: (points - corner) * scale * FINE
    image = Image.new("RGBA", (WIDTH * FINE, height * FINE), PAPER)
    draw = ImageDraw.Draw(image)
    for line in np.linspace(-1, 1, 5):
        for ends in (((line, -1), (line, 1)), ((-1, line), (1, line))):
            draw.line(
                [tuple(end) for end in pixels(np.array(ends))], fill=FAINT if abs(line) == 1 else LINE, width=FINE
            )
    for late, index in zip(np.linspace(0, 1, len(shown)), shown):
        _draw_figure(image, poses[index], pixels, late, 0.6)
    for late, index in zip(np.linspace(0, 1, len(shown)), shown):  # over all: a figure may hide the others
        _draw_outline(image, poses[index], pixels, late)
    centres = pixels(poses[:, :2, 2]) / (FINE * np.array([WIDTH, height])) * 2 - 1
    return np.asarray(Image.fromarray(draw_path(np.asarray(image.convert("RGB")), centres)).reduce(FINE))


def _strip(poses: np.ndarray, shown: np.ndarray, template: Template) -> np.ndarray:
    """The figure about its own centre at even times, with the time below."""
    side, text = WIDTH / len(shown), 24
    image = Image.new("RGBA", (WIDTH * FINE, round(side + text) * FINE), PAPER)
    draw = ImageDraw.Draw(image)
    outline = np.concatenate([points for points, _ in FIGURE])
    reach = max(np.abs(outline @ poses[index][:2, :2].T).max() for index in shown) + MARGIN / 2
    for k, index in enumerate(shown):
        pose = poses[index].copy()
        pose[:2, 2] = 0
        middle = np.array([(k + 0.5) * side, side / 2])
        pixels = lambda points, at=middle: (at + points * side / 2 / reach) * FINE
        _draw_figure(image, pose, pixels, k / max(len(shown) - 1, 1), 1)
        draw.text(
            ((k + 0.5) * side * FINE, (side + text / 3) * FINE),
            f"{index / template.fps:.2f} s",
            fill=FAINT,
            anchor="mm",
            font_size=13 * FINE,
        )
    return np.asarray(image.convert("RGB").reduce(FINE))


def _carried(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ pose[:2, :2].T + pose[:2, 2]


def _draw_figure(image: Image.Image, pose: np.ndarray, pixels, late: float, opacity: float) -> None:
    """The figure under a pose, laid on the image; `late` in [0, 1] is when, from light to dark."""
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    for points, own in FIGURE:
        draw.polygon(_on_image(pose, points, pixels), fill=(*(_colour(late) if own else PAPER), 255))
    layer.putalpha(layer.getchannel("A").point(lambda value: round(value * opacity)))
    image.alpha_composite(layer)


def _draw_outline(image: Image.Image, pose: np.ndarray, pixels, late: float) -> None:
    body = _on_image(pose, FIGURE[BODY][0], pixels)
    ImageDraw.Draw(image).line([*body, body[0]], fill=_colour(late, darker=50), width=FINE, joint="curve")


def _on_image(pose: np.ndarray, points: np.ndarray, pixels) -> list[tuple[float, float]]:
    return [tuple(point) for point in pixels(_carried(pose, points))]


def _colour(late: float, darker: int = 0) -> tuple[int, int, int]:
    return tuple(np.clip(LIGHT + late * (DARK - LIGHT) - darker, 0, 255).astype(int).tolist())
