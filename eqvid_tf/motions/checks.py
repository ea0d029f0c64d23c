"""What a motion template may hold: the limits, and the checks at the door, each a TemplateError of one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eqvid_tf.pixels.coordinates import SINGULAR

MOST_STEPS = 10_000  # seven minutes at 25 frames per second; its file is 1.4 MB
LEAST_FPS, MOST_FPS = 1e-3, 1000  # frames per second
LEAST_AREA, MOST_AREA = SINGULAR, 1 / SINGULAR  # what a step, or the way to a frame, may multiply an area by
FARTHEST = 1e4  # half-heights: no entry of a step or a pose is larger
HALF_TURN = math.pi - 1e-4  # radians; a step that turns so far has no logarithm
MOST_EDITS = 20  # in the list of `source`, the last ones
MOST_TEXT = 4000  # characters of `source` in all


class TemplateError(ValueError):
    """A motion template that cannot be used, found or made: one line, with the remedy."""


def check_name(name: str) -> None:
    """Check that a name is a plain file name.

    Raises:
        TemplateError: it is not.
    """
    plain = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and not set(name) & set('/\\:*?"<>|')
    if not plain or name[0] in ".- " or name[-1] in ". " or name.endswith(".json"):
        raise TemplateError(f"name must be a plain file name such as 'walk', without .json; received {name!r:.120}.")


def check_fps(fps: float) -> None:
    """Check a number of frames per second.

    Raises:
        TemplateError: it is none, or out of its range.
    """
    check_range("fps", fps, LEAST_FPS, MOST_FPS, "frames per second")


def check_range(name: str, value: float, least: float, most: float, unit: str) -> None:
    """Check that an argument is a number between two ends; nan is not.

    Raises:
        TemplateError: it is not.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise TemplateError(f"{name} must be {unit}, from {least:g} to {most:g}; received {value!r:.60}.")


def check_source(source: dict[str, Any]) -> None:
    """Check that a provenance holds a few words and numbers, and no more.

    Raises:
        TemplateError: it holds something else.
    """
    fits = isinstance(source, dict) and isinstance(source.get("edits", []), list)
    if not fits or not all(map(_is_entry, source.items())) or len(str(source)) > MOST_TEXT:
        raise TemplateError(
            f'source must hold a few short texts and numbers, such as {{"by": "hand"}}; received {source!r:.60}.'
        )


def _is_entry(item: tuple[Any, Any]) -> bool:
    """Whether a key is text, and its value a text, a number, nothing, or a list of these."""
    key, value = item
    values = value if isinstance(value, list) else [value]
    return isinstance(key, str) and key.isprintable() and all(map(_is_text_or_number, values))


def _is_text_or_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isprintable()
    return value is None or (isinstance(value, int | float) and abs(value) < 1e15)


def as_steps(steps: Any) -> np.ndarray:
    """Copy steps into an array, float64 [T, 2, 3].

    Raises:
        TemplateError: they are no 2x3 matrices, or too many.
    """
    try:
        matrices = np.array(steps)
    except ValueError:  # of several lengths
        matrices = np.empty(0, object)
    if matrices.dtype.kind not in "iuf" or matrices.ndim != 3 or matrices.shape[1:] != (2, 3) or not len(matrices):
        received = list(matrices.shape) if matrices.dtype.kind in "iuf" else "something else"
        raise TemplateError(
            f"steps must be 2x3 matrices [[a, b, c], [d, e, f]], one for each step; received {received}."
        )
    check_length(len(matrices))
    return matrices.astype(np.float64)


def check_length(count: int) -> None:
    """Check a number of steps.

    Raises:
        TemplateError: there are too many.
    """
    if count > MOST_STEPS:
        raise TemplateError(
            f"a motion has at most {MOST_STEPS} steps; this one has {count}. Cut it, or take a lower frame rate."
        )


def check_steps(steps: np.ndarray, poses: np.ndarray) -> None:
    """Check that every step has a logarithm, and that no pose leads out of all bounds.

    Shapes: steps [T, 2, 3], poses [T + 1, 3, 3], see `eqvid_tf.motions.template.Template`.

    Raises:
        TemplateError: names the first step at fault.
    """
    _refuse(_out_of_bounds(steps), f"must be finite and at most {FARTHEST:g}")
    linear = steps[:, :, :2]
    _refuse(np.linalg.det(linear) <= 0, "mirrors or flattens the character; its determinant must be positive")
    _refuse(_out_of_size(linear), f"scales an area by {LEAST_AREA:g} or less, or by {MOST_AREA:g} or more")
    turns = np.abs(np.angle(np.linalg.eigvals(linear))).max(1)
    _refuse(turns > HALF_TURN, "turns by half a turn; split it into two")
    too_far = f"carries the character too far, or makes it too large: more than {FARTHEST:g} half-heights"
    _refuse(_out_of_bounds(poses[1:]), too_far)
    _refuse(
        _out_of_size(poses[1:, :2, :2]), "makes the character vanish or grow out of all bounds, with those before it"
    )


def _refuse(wrong: np.ndarray, problem: str) -> None:
    if wrong.any():
        raise TemplateError(f"step {np.flatnonzero(wrong)[0]} {problem}.")


def _out_of_bounds(matrices: np.ndarray) -> np.ndarray:
    """Whether an entry of each matrix [T, ., 3] is too large, or not a number."""
    return ~(np.abs(matrices) <= FARTHEST).all((1, 2))


def _out_of_size(linear: np.ndarray) -> np.ndarray:
    area = np.linalg.det(linear)
    return (area < LEAST_AREA) | (area > MOST_AREA)
