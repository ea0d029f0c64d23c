"""Motion templates: how a character moved, about itself and in units of half the frame's height, to be played by any other.

Convention: square coordinates, x right, y down, one unit is half the height of the frame; the origin is the character's centre
at the start. So a template plays at any size and aspect. Every step is seen as two things, and all operations work on these:
how the character's centre shifts, and how its shape changes about that centre, as the affine logarithm of the change (turns,
zooms and shears per frame, which can be added, averaged and scaled).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from eqvid_tf.motions import checks


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """A motion to be played by any character, on any frame.

    Convention: see the module. `steps` [T, 2, 3] are forward and act in space, about the character's centre at the start:
        the character as it was at the start is carried to frame t by pose[t], where pose[0] is the identity and
        pose[t + 1] = step[t] @ pose[t].

    Args:
        name: a plain file name; the catalog's file is NAME.json.
        fps: frames per second.
        steps: [T, 2, 3], kept as read-only float64.
        source: where it came from: {"clip", "model", "date"} or {"by": "hand"}; text and numbers, no pixels. What was done
            to it since is listed under "edits".

    Raises:
        TemplateError: where a value is out of its range, or a step cannot be inverted, mirrors, or turns by half a turn.

    Example:
        >>> template = Template(name="go", fps=25, steps=[[[1, 0, 0.1], [0, 1, 0]]] * 50, source={"by": "hand"})
        >>> template.seconds, template.poses()[-1][0, 2].round(6).item(), template.amplified(2).poses()[-1][0, 2].round(6).item()
        (2.0, 5.0, 10.0)
    """

    name: str
    fps: float
    steps: np.ndarray
    source: dict

    def __post_init__(self):
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
        """[T + 1, 3, 3]: what carries the character as at the start to each frame; the first is the identity."""
        poses = np.zeros((len(self.steps) + 1, 3, 3))
        poses[:, 2, 2], poses[0] = 1, np.eye(3)
        with np.errstate(all="ignore"):  # what overflows is refused where a template is made
            for t, step in enumerate(self.steps):
                poses[t + 1, :2] = step @ poses[t]
        return poses

    def smoothed(self, seconds: float) -> Template:
        """Its velocity blurred along time by a Gaussian of this standard deviation; start and end stay where they are."""
        checks.check_range("smooth", seconds, 0, self.seconds, "seconds, as long as the motion at most")
        if seconds == 0:
            return self
        logs, shifts = self._velocity()
        radius = min(math.ceil(4 * seconds * self.fps), len(shifts))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (seconds * self.fps)) ** 2)
        velocity = np.concatenate([logs.reshape(-1, 4), shifts], axis=1)
        padded = np.pad(velocity, ((radius, radius), (0, 0)), mode="symmetric")  # so that nothing of the sum is lost
        velocity = np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=1)
        linear = _ending(_exp(velocity[:, :4].reshape(-1, 2, 2)), self.poses()[-1, :2, :2])
        return self._made(linear, velocity[:, 4:], f"smooth {seconds:g}")

    def resampled(self, fps: float) -> Template:
        """The same path in the same time at another frame rate; the number of steps is rounded, and the end stays the end."""
        checks.check_fps(fps)
        return replace(self._made(*self._in(self._count(fps)), f"fps {fps:g}"), fps=float(fps))

    def reversed(self) -> Template:
        """The film run backwards; the character starts as what it was at the end, about its centre there."""
        shifts = np.diff(self.poses()[:, :2, 2], axis=0)
        return self._made(np.linalg.inv(self.steps[::-1, :, :2]), -shifts[::-1], "reverse")

    def looped(self, times: int = 1) -> Template:
        """Ends where it began, and so again and again: what is left at the end is taken out evenly along the way.

        A walk so becomes a walk on the spot. A turn is brought to the nearest whole number of turns, half a turn to a whole one.
        """
        if type(times) is not int or not 1 <= times <= checks.MOST_STEPS:
            raise checks.TemplateError(f"loop must be a whole number from 1 on; received {times!r}.")
        logs, shifts = self._velocity()
        total = _turning(logs).sum() / (2 * math.pi)
        whole = math.trunc(total + math.copysign(0.5 + 1e-6, total))
        logs = logs + 2 * math.pi * (whole - total) / len(logs) * np.array([[0.0, -1], [1, 0]])
        linear = _ending(_exp(logs), np.eye(2))
        checks.check_length(len(linear) * times)
        return self._made(np.tile(linear, (times, 1, 1)), np.tile(shifts - shifts.mean(0), (times, 1)), f"loop {times}")

    def amplified(self, factor: float) -> Template:
        """Goes `factor` times as far, and turns, zooms and shears so often over: 0 stands still, -1 goes the other way."""
        checks.check_range("amplify", factor, -checks.FARTHEST, checks.FARTHEST, "a factor")
        logs, shifts = self._velocity()
        if np.abs(factor * logs).max() >= checks.HALF_TURN:
            raise checks.TemplateError(
                f"amplify {factor:g}: {self.name!r} would turn half way round in a step; take less."
            )
        return self._made(_exp(factor * logs), factor * shifts, f"amplify {factor:g}")

    def blended(self, other: Template, weight: float = 0.5) -> Template:
        """Between this motion (weight 0) and another (weight 1), at this one's fps; its length, too, lies between the two."""
        checks.check_range("weight", weight, 0, 1, "a weight")
        count = max(1, round((1 - weight) * len(self.steps) + weight * other._count(self.fps)))
        (linear, shifts), (linear_2, shifts_2) = self._in(count), other._in(count)
        mixed = (1 - weight) * _log(linear) + weight * _log(linear_2)
        return self._made(_exp(mixed), (1 - weight) * shifts + weight * shifts_2, f"blend {other.name} {weight:g}")

    def then(self, other: Template) -> Template:
        """This motion, then another at this one's fps. It goes on from where this one ended, about the character's centre there.

        The directions stay those of the frame: who has turned still jumps upwards, and as high as without.
        """
        parts = zip(self._in(len(self.steps)), other._in(other._count(self.fps)))
        return self._made(*(np.concatenate(pair) for pair in parts), f"then {other.name}")

    def _velocity(self) -> tuple[np.ndarray, np.ndarray]:
        """How the shape changes about the character's centre, as logarithms [T, 2, 2], and how the centre shifts, [T, 2]."""
        return _log(self.steps[:, :, :2]), np.diff(self.poses()[:, :2, 2], axis=0)

    def _count(self, fps: float) -> int:
        """In how many steps it goes at that frame rate."""
        return max(1, round(len(self.steps) * fps / self.fps))

    def _in(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The same way in `count` steps: linear parts [count, 2, 2] and shifts of the centre [count, 2]."""
        checks.check_length(count)
        logs, shifts = self._velocity()
        if count == len(shifts):
            return self.steps[:, :, :2], shifts
        at = np.arange(count + 1) * len(shifts) / count
        before = np.minimum(at.astype(int), len(shifts) - 1)
        part = (at - before)[:, None]
        turned = np.append(0, _turning(logs).cumsum())[before] + part[:, 0] * _turning(logs)[before]
        if np.abs(np.diff(turned)).max() >= checks.HALF_TURN:
            raise checks.TemplateError(
                f"in {count} steps {self.name!r} turns by half a turn a step. Take a higher frame rate."
            )
        poses = self.poses()[before]
        shapes = _exp(part[..., None] * logs[before]) @ poses[:, :2, :2]
        return shapes[1:] @ np.linalg.inv(shapes[:-1]), np.diff(poses[:, :2, 2] + part * shifts[before], axis=0)

    def _made(self, linear: np.ndarray, shifts: np.ndarray, edit: str) -> Template:
        """A template from its steps about the character's centre, [T, 2, 2] and [T, 2]."""
        checks.check_length(len(shifts))
        centres = np.concatenate([np.zeros((1, 2)), np.cumsum(shifts, axis=0)])[..., None]
        steps = np.concatenate([linear, centres[1:] - linear @ centres[:-1]], axis=2)
        edits = [*self.source.get("edits", []), edit][-checks.MOST_EDITS :]
        return replace(self, steps=steps, source={**self.source, "edits": edits})


def _ending(linear: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Steps [T, 2, 2] whose product is `end`: what is too much is taken out evenly along the way, as powers of it."""
    shapes = [np.eye(2)]
    for step in linear:
        shapes.append(step @ shapes[-1])
    too_much = _log((np.linalg.inv(end) @ shapes[-1])[None])
    shapes = shapes @ _exp(-np.linspace(0, 1, len(shapes))[:, None, None] * too_much)
    return shapes[1:] @ np.linalg.inv(shapes[:-1])


def _turning(logs: np.ndarray) -> np.ndarray:
    """By how much each step turns, in radians, clockwise on the screen."""
    return (logs[:, 1, 0] - logs[:, 0, 1]) / 2


def _log(linear: np.ndarray) -> np.ndarray:
    from eqvid_tf.core import affine  # TensorFlow: not before it is needed

    return np.asarray(affine.log(np.pad(linear, ((0, 0), (0, 0), (0, 1)))))[..., :2]


def _exp(logs: np.ndarray) -> np.ndarray:
    from eqvid_tf.core import affine

    return np.asarray(affine.exp(np.pad(logs, ((0, 0), (0, 0), (0, 1)))))[..., :2]
