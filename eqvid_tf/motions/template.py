"""Motion templates: how a character moved, about itself and in units of half the frame's height.

Any other character can play them, at any size and aspect. All operations see a step as two things: how the character's
centre shifts, and how its shape changes about that centre. The change of shape is worked on as its affine logarithm:
turns, zooms and shears per step, which can be added, averaged and scaled.

Convention: a template's coordinates are square: x right, y down, one unit is half the height of the frame, the origin
is the character's centre at the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eqvid_tf.motions import checks


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """A motion for any character, on any frame.

    Convention: `steps` are forward and act in space, about the character's centre at the start. pose[t] carries the
        character from the start to frame t: pose[0] is the identity, and pose[t + 1] = step[t] @ pose[t].

    Args:
        name: a plain file name; the catalog's file is NAME.json.
        fps: frames per second.
        steps: [T, 2, 3], kept as read-only float64.
        source: where it came from: {"clip", "model", "date"} or {"by": "hand"}; text and numbers, no pixels. What was
            done to it since is listed under "edits".

    Raises:
        TemplateError: a value is out of its range, or a step cannot be inverted, mirrors, or turns by half a turn.

    Example:
        >>> template = Template(name="go", fps=25, steps=[[[1, 0, 0.1], [0, 1, 0]]] * 50, source={"by": "hand"})
        >>> template.seconds, template.poses()[-1][0, 2].round(6).item()
        (2.0, 5.0)
        >>> template.amplified(2).poses()[-1][0, 2].round(6).item()
        10.0
    """

    name: str
    fps: float
    steps: np.ndarray
    source: dict[str, Any]

    def __post_init__(self) -> None:
        checks.check_name(self.name)
        checks.check_fps(self.fps)
        checks.check_source(self.source)
        steps = checks.as_steps(self.steps)
        steps.flags.writeable = False
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "fps", float(self.fps))
        checks.check_steps(steps, self.poses())

    @property
    def seconds(self) -> float:
        """How long it takes: T steps at fps."""
        return len(self.steps) / self.fps

    @property
    def loops(self) -> bool:
        """Whether it ends where it began, to a two thousandth of the frame's height."""
        return bool(np.abs(self.poses()[-1] - np.eye(3)).max() < 1e-3)

    def poses(self) -> np.ndarray:
        """What carries the character from the start to each frame, [T + 1, 3, 3]; the first is the identity."""
        poses = np.zeros((len(self.steps) + 1, 3, 3))
        poses[:, 2, 2], poses[0] = 1, np.eye(3)
        with np.errstate(all="ignore"):  # what overflows is refused where a template is made
            for t, step in enumerate(self.steps):
                poses[t + 1, :2] = step @ poses[t]
        return poses

    def smoothed(self, seconds: float) -> Template:
        """Blur the velocity along time by a Gaussian of this standard deviation; start and end stay where they are."""
        checks.check_range("smooth", seconds, 0, self.seconds, "seconds, as long as the motion at most")
        if seconds == 0:
            return self
        parts = self._parts()
        radius = min(math.ceil(4 * seconds * self.fps), len(self.steps))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (seconds * self.fps)) ** 2)
        velocity = np.concatenate([parts.logs().reshape(-1, 4), parts.shifts], axis=1)
        padded = np.pad(velocity, ((radius, radius), (0, 0)), mode="symmetric")  # so that nothing of the sum is lost
        velocity = np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=1)
        linear = _ending_at(self.poses()[-1, :2, :2], _exp(velocity[:, :4].reshape(-1, 2, 2)))
        return self._edited(_Parts(linear, velocity[:, 4:]), f"smooth {seconds:g}")

    def resampled(self, fps: float) -> Template:
        """The same path in the same time at another frame rate; the number of steps is rounded, the end stays."""
        checks.check_fps(fps)
        return replace(self._edited(self._parts_in(self._count_at(fps)), f"fps {fps:g}"), fps=float(fps))

    def reversed(self) -> Template:
        """The film run backwards; the character starts as what it was at the end, about its centre at the end."""
        shifts = np.diff(self.poses()[:, :2, 2], axis=0)
        return self._edited(_Parts(np.linalg.inv(self.steps[::-1, :, :2]), -shifts[::-1]), "reverse")

    def looped(self, times: int = 1) -> Template:
        """Repeat a motion that ends where it began: what is left at the end is taken out evenly along the way.

        A walk becomes a walk on the spot. A turn is brought to the nearest whole number of turns, half a turn to a
        whole one.
        """
        if type(times) is not int or not 1 <= times <= checks.MOST_STEPS:
            raise checks.TemplateError(f"loop must be a whole number from 1 on; received {times!r}.")
        parts = self._parts()
        logs = parts.logs()
        total = _turning(logs).sum() / (2 * math.pi)
        whole = math.trunc(total + math.copysign(0.5 + 1e-6, total))
        logs = logs + 2 * math.pi * (whole - total) / len(logs) * np.array([[0.0, -1], [1, 0]])
        linear, shifts = _ending_at(np.eye(2), _exp(logs)), parts.shifts - parts.shifts.mean(0)
        checks.check_length(len(linear) * times)
        return self._edited(_Parts(np.tile(linear, (times, 1, 1)), np.tile(shifts, (times, 1))), f"loop {times}")

    def amplified(self, factor: float) -> Template:
        """Multiply the path, and its turns, zooms and shears: 0 stands still, -1 goes the other way."""
        checks.check_range("amplify", factor, -checks.FARTHEST, checks.FARTHEST, "a factor")
        parts = self._parts()
        logs = parts.logs()
        if np.abs(factor * logs).max() >= checks.HALF_TURN:
            raise checks.TemplateError(
                f"amplify {factor:g}: {self.name!r} would turn half way round in a step; take less."
            )
        return self._edited(_Parts(_exp(factor * logs), factor * parts.shifts), f"amplify {factor:g}")

    def blended(self, other: Template, weight: float = 0.5) -> Template:
        """Mix this motion (weight 0) with another (weight 1), at this one's fps; the lengths are mixed too."""
        checks.check_range("weight", weight, 0, 1, "a weight")
        count = max(1, round((1 - weight) * len(self.steps) + weight * other._count_at(self.fps)))
        own, others = self._parts_in(count), other._parts_in(count)
        linear = _exp((1 - weight) * own.logs() + weight * others.logs())
        shifts = (1 - weight) * own.shifts + weight * others.shifts
        return self._edited(_Parts(linear, shifts), f"blend {other.name} {weight:g}")

    def then(self, other: Template) -> Template:
        """This motion, then another at this one's fps, about the character's centre where this one ended.

        The directions stay those of the frame: who has turned still jumps upwards, and as high as without.
        """
        first, second = self._parts_in(len(self.steps)), other._parts_in(other._count_at(self.fps))
        both = _Parts(np.concatenate([first.linear, second.linear]), np.concatenate([first.shifts, second.shifts]))
        return self._edited(both, f"then {other.name}")

    def _parts(self) -> _Parts:
        return _Parts(self.steps[:, :, :2], np.diff(self.poses()[:, :2, 2], axis=0))

    def _count_at(self, fps: float) -> int:
        """The number of steps at that frame rate."""
        return max(1, round(len(self.steps) * fps / self.fps))

    def _parts_in(self, count: int) -> _Parts:
        """The same way in `count` steps."""
        checks.check_length(count)
        parts = self._parts()
        if count == len(self.steps):
            return parts
        logs = parts.logs()
        time = np.arange(count + 1) * len(self.steps) / count
        before = np.minimum(time.astype(int), len(self.steps) - 1)
        rest = (time - before)[:, None]
        turned = np.append(0, _turning(logs).cumsum())[before] + rest[:, 0] * _turning(logs)[before]
        if np.abs(np.diff(turned)).max() >= checks.HALF_TURN:
            raise checks.TemplateError(
                f"in {count} steps {self.name!r} turns by half a turn a step. Take a higher frame rate."
            )
        poses = self.poses()[before]
        shapes = _exp(rest[..., None] * logs[before]) @ poses[:, :2, :2]
        shifts = np.diff(poses[:, :2, 2] + rest * parts.shifts[before], axis=0)
        return _Parts(shapes[1:] @ np.linalg.inv(shapes[:-1]), shifts)

    def _edited(self, parts: _Parts, edit: str) -> Template:
        checks.check_length(len(parts.shifts))
        edits = [*self.source.get("edits", []), edit][-checks.MOST_EDITS :]
        return replace(self, steps=parts.steps(), source={**self.source, "edits": edits})


@dataclass(frozen=True, eq=False)
class _Parts:
    """Steps about the character's own centre: changes of shape [T, 2, 2], and shifts of the centre [T, 2]."""

    linear: np.ndarray
    shifts: np.ndarray

    def logs(self) -> np.ndarray:
        """The changes of shape as logarithms, [T, 2, 2]."""
        return _log(self.linear)

    def steps(self) -> np.ndarray:
        """As a template has them, about the centre at the start, [T, 2, 3]."""
        centres = np.concatenate([np.zeros((1, 2)), np.cumsum(self.shifts, axis=0)])[..., None]
        return np.concatenate([self.linear, centres[1:] - self.linear @ centres[:-1]], axis=2)


def frame_from_template(size: tuple[int, int], centre: np.ndarray | tuple[float, float]) -> np.ndarray:
    """The matrix from a template's coordinates to normalized ones, for a character that starts at `centre`.

    Convention: a pose acts on the frame as `frame_from_template @ pose @ inverse(frame_from_template)`.

    Shapes: [3, 3].

    Args:
        size: of the frame, (height, width).
        centre: (x, y) of the character at the start, normalized.
    """
    return np.array([[size[0] / size[1], 0, centre[0]], [0, 1, centre[1]], [0, 0, 1]])


def _ending_at(end: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Steps [T, 2, 2] whose product is `end`: what is too much is taken out evenly along the way, as powers of it."""
    shapes = [np.eye(2)]
    for step in linear:
        shapes.append(step @ shapes[-1])
    too_much = _log((np.linalg.inv(end) @ shapes[-1])[None])
    ending = shapes @ _exp(-np.linspace(0, 1, len(shapes))[:, None, None] * too_much)
    return ending[1:] @ np.linalg.inv(ending[:-1])


def _turning(logs: np.ndarray) -> np.ndarray:
    """By how much each step turns, in radians, clockwise on the screen."""
    return (logs[:, 1, 0] - logs[:, 0, 1]) / 2


def _log(linear: np.ndarray) -> np.ndarray:
    from eqvid_tf.core import affine  # TensorFlow: not before it is needed

    return np.asarray(affine.log(np.pad(linear, ((0, 0), (0, 0), (0, 1)))))[..., :2]


def _exp(logs: np.ndarray) -> np.ndarray:
    from eqvid_tf.core import affine

    return np.asarray(affine.exp(np.pad(logs, ((0, 0), (0, 0), (0, 1)))))[..., :2]
