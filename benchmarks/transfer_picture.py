"""Draws docs/transfer.png: a motion transferred literally, and about the character.

    PYTHONPATH=. python benchmarks/transfer_picture.py [--output docs/transfer.png]

The two scenes and their motions are drawn here and known exactly, so no model is needed: what a shot makes of the
motion is asked of `eqvid_tf.rendering.shots.shot_motion`, as `eqvid render --shots` does, and drawn from the true
layers.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.coordinates import centroid
from eqvid_tf.pixels.sheets import contact_sheet
from eqvid_tf.rendering.shots import Shot, shot_motion
from eqvid_tf.synthetic.backgrounds import draw_background
from eqvid_tf.synthetic.compose import Scene
from eqvid_tf.synthetic.sprites import draw_character

SIZE = (192, 256)
TURN = np.deg2rad(40)
COLUMNS = ("x", "x'", "x''", "x'' moved, literally", "x'' moved, about the character")
CAPTIONS = (
    "",
    "turned by 40° about itself, away from the frame's centre",
    "another character, elsewhere, in another scene",
    "turned about the same point of the frame: carried off",
    "turned about itself",
)
RING, POINT = (255, 255, 255), (230, 30, 60)


def scene(seed: int, character: str, background: str, *poses: tuple) -> Scene:
    """A scene of a frame for each pose (x, y, turn, zoom)."""
    x, y, turn, zoom = np.array(poses, np.float64).T
    return Scene(
        cells=draw_character(seed, character, cells=1),
        background=draw_background(seed, SIZE, background),
        centre=np.stack([x, y], -1),
        turn=turn,
        zoom=zoom,
        cell=np.zeros(len(poses), int),
    )


class TrueLayers:
    """What ClipLayers offers of a clip, from the scene that it was drawn from; it is its own clip too."""

    def __init__(self, drawn: Scene):
        self.scene, self.clip, self.filmed, self.size = drawn, self, self, drawn.size

    def at(self, index: int) -> np.ndarray:
        return self.scene.picture(index)[0]

    def layer(self, index: int, frame: np.ndarray) -> np.ndarray:
        return (self.scene.layer(index) * [255, 255, 255, 1]).astype(np.float32)

    layer_as_filmed = layer

    def estimate_motions(self, pairs) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([self.scene.motion(*pair) for pair in pairs]), np.ones(len(pairs))


class TrueFrames:
    """What FrameFinder offers: frames by path, here NAME/INDEX."""

    def __init__(self, **scenes: Scene):
        self.layers = {name: TrueLayers(drawn) for name, drawn in scenes.items()}

    def find(self, path: Path) -> tuple[TrueLayers, int]:
        return self.layers[path.parent.name], int(path.name)


def marked(picture: np.ndarray, point: np.ndarray) -> np.ndarray:
    """With a ring at a point (x, y) in normalized coordinates: what the motion turns about."""
    image, (x, y) = Image.fromarray(picture), (np.asarray(point) + 1) / 2 * [picture.shape[1], picture.shape[0]]
    draw = ImageDraw.Draw(image)
    for radius, colour, width in ((6, RING, 4), (5, POINT, 2)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=width)
    return np.asarray(image)


def pictures() -> list[np.ndarray]:
    """x, x', x'', the literal transfer and that about the character; a ring marks what each motion turns about."""
    first = scene(6, "robot", "city", (-0.45, -0.3, 0.0, 0.4), (-0.45, -0.3, TURN, 0.4))
    other = scene(5, "cat", "hills", (0.35, 0.35, 0.0, 0.42))
    frames = TrueFrames(first=first, other=other)
    shot = Shot(
        name="transfer",
        character=Path("other/0"),
        background=Path("other/0"),
        motion=None,
        motion_from=(Path("first/0"), Path("first/1")),
        about_character=False,
    )
    layers = frames.layers["other"]
    literal, about = (
        other.picture(0, shot_motion(frames, kind, layers, layers.layer(0, None))[:2])[0]
        for kind in (shot, dataclasses.replace(shot, about_character=True))
    )
    x, turned, target = first.picture(0)[0], first.picture(1)[0], other.picture(0)[0]
    pivot = first.centre[0]
    seen, own = (centroid(layers.layer(0, None)) for layers in frames.layers.values())  # what shot_motion goes by
    return [x, marked(turned, pivot), target, marked(literal, pivot), marked(about, own + pivot - seen)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs/transfer.png")
    args = parser.parse_args()
    write_png(args.output, contact_sheet([pictures()], column_titles=COLUMNS, captions=[CAPTIONS], scale=1))


if __name__ == "__main__":
    main()
