"""Writes the motion templates that come with the package from their formulas, and a picture of them all.

    python benchmarks/motions.py

Writes eqvid_tf/motions/shipped/NAME.json and docs/motions.png. Lengths are half-heights of the frame, times are
seconds, turns are radians.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eqvid_tf.data.output import write_text
from eqvid_tf.data.writers import write_png
from eqvid_tf.motions import catalog
from eqvid_tf.motions.previews import preview
from eqvid_tf.pixels.sheets import contact_sheet

FPS = 25
STANDS = 0.4  # from a character's centre down to its feet, where they stay on the ground
DIGITS = 9
PICTURE = Path(__file__).parents[1] / "docs/motions.png"


def ease(t: np.ndarray) -> np.ndarray:
    """From 0 to 1 within t in [0, 1], at rest at both ends."""
    t = np.clip(t, 0, 1)
    return t**3 * (10 + t * (6 * t - 15))


def still(t: np.ndarray) -> dict:
    return {"x": 0 * t, "y": 0 * t, "turn": 0 * t, "wide": 1 + 0 * t, "high": 1 + 0 * t}


def walk_across(t: np.ndarray) -> dict:
    """2.4 half-heights to the right in 4 s; two steps a second, a lean of 5 degrees while at full speed."""
    speed = ease(t / 0.6) * ease((4 - t) / 0.6)
    way = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2)])
    bob = (1 - np.cos(2 * np.pi * 2 * t)) / 2
    return still(t) | {"x": 2.4 * way / way[-1], "y": -0.07 * speed * bob, "turn": np.radians(5) * speed}


def jump(t: np.ndarray) -> dict:
    """Down, up by 0.9 and down again within 0.8 s, and up; the area stays, and the feet on the ground."""
    times = (0.0, 0.36, 0.48, 0.64, 0.84, 1.08, 1.2, 1.34, 1.62, 1.84, 2.0)
    highs = (1.0, 0.76, 1.16, 1.12, 1.00, 1.10, 1.14, 0.78, 1.05, 1.0, 1.0)
    k = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
    part = (t - np.take(times, k)) / np.diff(times)[k]
    high = np.take(highs, k) + ease(part) * np.diff(highs)[k]
    up = np.clip((t - 0.44) / 0.8, 0, 1)
    return still(t) | {"y": -0.9 * 4 * up * (1 - up) + STANDS * (1 - high), "wide": 1 / high, "high": high}


def spin(t: np.ndarray) -> dict:
    """A turn to the right in 2 s, at an even speed, so that it goes on without a halt."""
    return still(t) | {"turn": 2 * np.pi * t / 2}


def grow(t: np.ndarray) -> dict:
    """To 1.6 times the size in 2 s, a little past it at first."""
    zoom = np.exp(np.log(1.6) * ease(t / 1.4) + 0.07 * np.sin(np.pi * np.clip((t - 0.8) / 1.2, 0, 1)) ** 2)
    return still(t) | {"wide": zoom, "high": zoom}


def shake(t: np.ndarray) -> dict:
    """To and fro four times a second, for 1.6 s, rising and dying away."""
    swing = np.sin(np.pi * t / 1.6) ** 2 * np.sin(2 * np.pi * 4 * t)
    return still(t) | {"x": 0.12 * swing, "turn": np.radians(4) * swing}


def figure_of_eight(t: np.ndarray) -> dict:
    """An eight that lies on its side, once round in 4 s, leaning outwards by 8 degrees."""
    at = 2 * np.pi * t / 4
    return still(t) | {"x": 0.8 * np.sin(at), "y": -0.4 * np.sin(2 * at), "turn": np.radians(8) * np.sin(at)}


MOTIONS = {  # name -> formula, seconds, what it does
    "walk-across": (walk_across, 4, "walks to the right, with a bob and a slight lean"),
    "jump": (jump, 2, "jumps on the spot, with squash and stretch"),
    "spin": (spin, 2, "turns once clockwise on the spot"),
    "grow": (grow, 2, "grows to 1.6 times its size"),
    "shake": (shake, 1.6, "shakes itself"),
    "figure-of-eight": (figure_of_eight, 4, "flies an eight that lies on its side"),
}


def template(name: str) -> catalog.Template:
    formula, seconds, does = MOTIONS[name]
    parts = formula(np.arange(round(seconds * FPS) + 1) / FPS)
    cos, sin = np.cos(parts["turn"]), np.sin(parts["turn"])
    poses = np.zeros((len(cos), 3, 3))
    poses[:, 0] = np.stack([cos * parts["wide"], -sin * parts["high"], parts["x"]], -1)
    poses[:, 1] = np.stack([sin * parts["wide"], cos * parts["high"], parts["y"]], -1)
    poses[:, 2, 2] = 1
    steps = (poses[1:] @ np.linalg.inv(poses[:-1]))[:, :2]
    steps = steps.round(DIGITS) + 0.0  # no -0.0
    return catalog.Template(name=name, fps=FPS, steps=steps, source={"by": "hand", "does": does})


def overview() -> np.ndarray:
    """All of them, two in a row."""
    cells = [preview(template(name)) for name in MOTIONS]
    names = [f"{name}: {does}" for name, (_, _, does) in MOTIONS.items()]
    rows = [cells[k : k + 2] for k in range(0, len(cells), 2)]
    return contact_sheet(
        rows, column_titles=["", ""], captions=[names[k : k + 2] for k in range(0, len(names), 2)], scale=1
    )


def main() -> None:
    for name in MOTIONS:
        write_text(catalog.SHIPPED / f"{name}.json", catalog.to_json(template(name)))
    write_png(PICTURE, overview())


if __name__ == "__main__":
    main()
