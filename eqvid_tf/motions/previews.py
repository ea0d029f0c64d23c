"""A motion template as a picture: its path, a paper figure along it, and how the figure's shape changes.

The figure looks to the right and has a tuft on its left, so that a turn, a shear and a mirror image look different.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from eqvid_tf.motions.template import Template
from eqvid_tf.pixels.sheets import FAINT, PAPER, draw_path

WIDTH = 768  # pixels
LEAST_HEIGHT, MOST_HEIGHT = 256, 640  # pixels, of the upper part
STRIP_TEXT = 24  # pixels: height of the line of times under the strip
INTERVALS = 8  # between the figures along the path; as many in the strip below
FINE = 2  # drawn so many times larger, for smooth edges
START_COLOUR, END_COLOUR = np.array([205, 222, 242]), np.array([28, 60, 120])
GRID_COLOUR = (226, 226, 232)
OPACITY = 0.6  # of the figures along the path, which overlap
MARGIN = 0.12  # half-heights around what is drawn


def _disc(x: float, y: float, radius: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], -1)


def _rounded(half_width: float, half_height: float, radius: float) -> np.ndarray:
    """A rectangle about the origin with rounded corners."""
    x, y = half_width - radius, half_height - radius
    quarters = [
        _disc(*corner, radius)[6 * k : 6 * k + 7] for k, corner in enumerate([(x, y), (-x, y), (-x, -y), (x, -y)])
    ]
    return np.concatenate(quarters)


BODY = 4  # of FIGURE
# Polygons in half-heights about the figure's centre; True: in the figure's own colour, False: in that of the paper.
FIGURE = [
    (np.array([(-0.22, -0.2), (-0.3, -0.46), (-0.04, -0.27)]), True),  # tuft
    (np.array([(0.2, -0.1), (0.36, 0.0), (0.2, 0.08)]), True),  # nose
    (np.array([(-0.17, 0.22), (-0.17, 0.4), (0.02, 0.4), (-0.04, 0.22)]), True),  # feet
    (np.array([(0.05, 0.22), (0.05, 0.4), (0.24, 0.4), (0.18, 0.22)]), True),
    (_rounded(0.24, 0.3, 0.1), True),  # body
    (_disc(0.1, -0.12, 0.055), False),  # eye
]


Pixels = Callable[[np.ndarray], np.ndarray]  # from points in half-heights to pixels of the image that is drawn


def preview(template: Template) -> np.ndarray:
    """Draw a template: its path with a figure along it, and below the figure alone at even times.

    The box is as high and wide as a frame is high, with the character's start in its middle. The path runs from blue (a
    ring) to red (a dot), the figures from light to dark.

    Shapes: uint8 [H, 768, 3].
    """
    poses = template.poses()
    indices = np.unique(np.round(np.linspace(0, len(poses) - 1, INTERVALS + 1)).astype(int))
    return np.concatenate([_draw_way(poses, indices), _draw_strip(poses[indices], indices / template.fps)])


def _draw_way(poses: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The upper part: a grid, the path, and the figure at the poses of the indices."""
    outline = np.concatenate([points for points, _ in FIGURE])
    reach = np.concatenate([*(_carry(pose, outline) for pose in poses), [(-1, -1), (1, 1)]])
    extent = np.ptp(reach, axis=0) + 2 * MARGIN
    height = int(np.clip(WIDTH * extent[1] / extent[0], LEAST_HEIGHT, MOST_HEIGHT))
    scale = min(WIDTH / extent[0], height / extent[1])
    corner = reach.min(0) - MARGIN - (np.array([WIDTH, height]) / scale - extent) / 2  # so that it is in the middle
    pixels = lambda points: (points - corner) * scale * FINE
    image = Image.new("RGBA", (WIDTH * FINE, height * FINE), PAPER)
    _draw_grid(image, pixels)
    lateness = np.linspace(0, 1, len(indices))
    for late, pose in zip(lateness, poses[indices]):
        _draw_figure(image, pose, pixels, late, OPACITY)
    for late, pose in zip(lateness, poses[indices]):  # on top: a figure may hide the others
        _draw_outline(image, pose, pixels, late)
    centres = pixels(poses[:, :2, 2]) / (FINE * np.array([WIDTH, height])) * 2 - 1
    return np.asarray(Image.fromarray(draw_path(np.asarray(image.convert("RGB")), centres)).reduce(FINE))


def _draw_grid(image: Image.Image, pixels: Pixels) -> None:
    draw = ImageDraw.Draw(image)
    for line in np.linspace(-1, 1, 5):
        colour = FAINT if abs(line) == 1 else GRID_COLOUR
        for ends in (((line, -1), (line, 1)), ((-1, line), (1, line))):
            draw.line([tuple(end) for end in pixels(np.array(ends))], fill=colour, width=FINE)


def _draw_strip(poses: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The lower part: the figure about its own centre in each pose, with the time below."""
    side = WIDTH / len(poses)
    image = Image.new("RGBA", (WIDTH * FINE, round(side + STRIP_TEXT) * FINE), PAPER)
    draw = ImageDraw.Draw(image)
    outline = np.concatenate([points for points, _ in FIGURE])
    shapes = poses * [[1, 1, 0], [1, 1, 0], [1, 1, 1]]  # without the shift
    reach = max(np.abs(_carry(shape, outline)).max() for shape in shapes) + MARGIN / 2
    for k, shape in enumerate(shapes):
        middle = np.array([(k + 0.5) * side, side / 2])
        pixels = lambda points: (middle + points * side / 2 / reach) * FINE
        _draw_figure(image, shape, pixels, k / max(len(shapes) - 1, 1), 1)
        place = ((k + 0.5) * side * FINE, (side + STRIP_TEXT / 3) * FINE)
        draw.text(place, f"{seconds[k]:.2f} s", fill=FAINT, anchor="mm", font_size=13 * FINE)
    return np.asarray(image.convert("RGB").reduce(FINE))


def _carry(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ pose[:2, :2].T + pose[:2, 2]


def _draw_figure(image: Image.Image, pose: np.ndarray, pixels: Pixels, late: float, opacity: float) -> None:
    """Draw the figure in a pose on the image; `late` in [0, 1] is when, from light to dark."""
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    for points, own in FIGURE:
        draw.polygon(_points_on_image(pose, points, pixels), fill=(*(_colour(late) if own else PAPER), 255))
    box = layer.getbbox() or (0, 0, 1, 1)  # what is composited: a fraction of the image, and of the time
    part = layer.crop(box)
    part.putalpha(part.getchannel("A").point(lambda value: round(value * opacity)))
    image.alpha_composite(part, box[:2])


def _draw_outline(image: Image.Image, pose: np.ndarray, pixels: Pixels, late: float) -> None:
    body = _points_on_image(pose, FIGURE[BODY][0], pixels)
    ImageDraw.Draw(image).line([*body, body[0]], fill=_colour(late, darker=50), width=FINE, joint="curve")


def _points_on_image(pose: np.ndarray, points: np.ndarray, pixels: Pixels) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in pixels(_carry(pose, points))]


def _colour(late: float, darker: int = 0) -> tuple[int, int, int]:
    red, green, blue = np.clip(START_COLOUR + late * (END_COLOUR - START_COLOUR) - darker, 0, 255).astype(int).tolist()
    return red, green, blue
