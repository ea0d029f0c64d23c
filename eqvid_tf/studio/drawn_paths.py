"""A path that was drawn with the pointer, as a motion template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eqvid_tf.motions.catalog import write
from eqvid_tf.motions.template import Template

FPS = 25.0
SMOOTH = 0.12  # seconds: standard deviation of the blur along time, which takes the hand's tremor out
FEWEST_POINTS, MOST_POINTS = 3, 20_000
SHORTEST, LONGEST = 0.2, 60.0  # seconds


def save_path(folder: Path, name: str, points: Any, size: Any) -> Path:
    """Keep a drawn path as a template of a folder, smoothed, and give its file.

    Args:
        folder: of the catalog.
        name: of the motion.
        points: [N, 3], x and y in pixels of the scene and seconds, in the order in which they were drawn.
        size: (width, height) of the scene in pixels.

    Raises:
        ValueError: the path is too short or no path, or the name is none or taken.
    """
    path = np.asarray(points, np.float64)
    if path.ndim != 2 or path.shape[1] != 3 or not FEWEST_POINTS <= len(path) <= MOST_POINTS:
        raise ValueError(f"a path has {FEWEST_POINTS} points or more, [x, y, seconds] each. Draw a longer one.")
    times = path[:, 2] - path[0, 2]
    if not np.isfinite(path).all() or (np.diff(times) < 0).any() or not SHORTEST <= times[-1] <= LONGEST:
        raise ValueError(f"a path takes from {SHORTEST:g} to {LONGEST:g} seconds. Draw it again.")
    even = np.arange(round(times[-1] * FPS) + 1) / FPS
    places = np.stack([np.interp(even, times, column) for column in path[:, :2].T], -1) / (float(size[1]) / 2)
    steps = np.zeros((len(even) - 1, 2, 3))
    steps[:, :, :2], steps[:, :, 2] = np.eye(2), np.diff(places, axis=0)
    template = Template(name=name, fps=FPS, steps=steps, source={"by": "hand, drawn in the studio"})
    return write(template.smoothed(min(SMOOTH, template.seconds / 4)), folder)
