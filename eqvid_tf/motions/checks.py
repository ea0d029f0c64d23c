"""What a motion template may hold: the limits, and the checks at the door, each a TemplateError of one line."""

from __future__ import annotations

import math

import numpy as np

MOST_STEPS = 10_000
LEAST_FPS, MOST_FPS = 1e-3, 1000
LEAST_AREA, MOST_AREA = 1e-6, 1e6  # to which a step may scale an area; the same for the way from the start to any frame
FARTHEST = 1e4  # half-heights: no entry of a step or pose is larger
HALF_TURN = math.pi - 1e-4  # radians; a step that turns so far has no logarithm
MOST_EDITS = 20  # that `source` remembers, the last ones
MOST_TEXT = 4000  # characters of `source` in all


class TemplateError(ValueError):
    """A motion template that cannot be used, found or made: one line, with the remedy."""


def check_name(name: str) -> None:
    """Raises: TemplateError where a name is no plain file name."""
    plain = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and not set(name) & set('/\\:*?"<>|')
    if not plain or name[0] in ".- " or name[-1] in ". " or name.endswith(".json"):
        raise TemplateError(f"name must be a plain file name such as 'walk', without .json; received {name!r:.120}.")


def check_fps(fps: float) -> None:
    check_range("fps", fps, LEAST_FPS, MOST_FPS, "frames per second")


def check_range(what: str, value: float, least: float, most: float, unit: str) -> None:
    """Raises: TemplateError where a value is no number between the two ends; not a number is none."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise TemplateError(f"{what} must be {unit}, from {least:g} to {most:g}; received {value!r:.60}.")


def check_source(source: dict) -> None:
    """Raises: TemplateError where a provenance is more than a few words and numbers."""

    def short(value) -> bool:
        if isinstance(value, str):
            return value.isprintable()
        return value is None or (isinstance(value, int | float) and abs(value) < 1e15)

    fits = (
        isinstance(source, dict)
        and isinstance(source.get("edits", []), list)
        and all(
            isinstance(key, str)
            and key.isprintable()
            and (all(map(short, value)) if isinstance(value, list) else short(value))
            for key, value in source.items()
        )
    )
    if not fits or len(str(source)) > MOST_TEXT:
        raise TemplateError(
            f'source must hold a few short texts and numbers, such as {{"by": "hand"}}; received {source!r:.60}.'
        )


def as_steps(steps) -> np.ndarray:
    """A float64 copy [T, 2, 3]; TemplateError where it is none."""
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
    if count > MOST_STEPS:
        raise TemplateError(
            f"a motion has at most {MOST_STEPS} steps; this one has {count}. Cut it, or take a lower frame rate."
        )


def check_steps(steps: np.ndarray, poses: np.ndarray) -> None:
    """Raises: TemplateError for the first step that has no logarithm, or leads out of all bounds."""

    def refuse(wrong, problem):
        if np.any(wrong):
            raise TemplateError(f"step {np.flatnonzero(wrong)[0]} {problem}.")

    out_of_bounds = lambda matrices: ~(np.abs(matrices) <= FARTHEST).all((1, 2))  # not a number, too
    refuse(out_of_bounds(steps), f"must be finite and at most {FARTHEST:g}")
    area = np.linalg.det(steps[:, :, :2])
    refuse(area <= 0, "mirrors or flattens the character; its determinant must be positive")
    refuse(
        (area < LEAST_AREA) | (area > MOST_AREA),
        f"scales an area by {LEAST_AREA:g} or less, or by {MOST_AREA:g} or more",
    )
    refuse(
        np.abs(np.angle(np.linalg.eigvals(steps[:, :, :2]))).max(1) > HALF_TURN,
        "turns by half a turn; split it into two",
    )
    refuse(
        out_of_bounds(poses[1:]),
        f"carries the character too far, or makes it too large: more than {FARTHEST:g} half-heights",
    )
    area = np.linalg.det(poses[1:, :2, :2])
    refuse(
        (area < LEAST_AREA) | (area > MOST_AREA),
        "makes the character vanish or grow out of all bounds, with those before it",
    )
