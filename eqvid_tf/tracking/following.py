"""Characters followed through a meeting together: each where its template fits, and all so that they explain the frame.

Alone a template also fits another character that looks like its own, or drifts where its own is hidden. Together each
pixel that moves needs one of them, and who is hidden may be anywhere behind the others.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eqvid_tf.pixels.morphology import label
from eqvid_tf.tracking.parts import Part
from eqvid_tf.tracking.template import TOLERANCE, CharacterTemplate, Placement

TEMPLATES = (0, 2, 4)  # frames from the end of a tracklet that a template is made of: walkers change their pose
AT_REST = 0.5  # pixels a frame, up to which a template is looked for only where it goes on to, not also where it was
LOST = 0.25  # share of a template that shows; with less the motion goes on as it was
LOST_FRAMES = 8  # after which nobody is followed any more
UNEXPLAINED = 40.0  # grey levels, of a pixel that moves and nobody covers, or does not move and somebody covers
STRAY = 20.0  # grey levels for each pixel by which one strays from where it was going
EXCHANGED = 100.0  # grey levels that two have to gain who change places
NEAR = 2.0  # sums of their radii up to which two may hide each other, or be taken for each other
EXPLAINS = 0.75  # share of the parts on which templates lie, that they have to fit together
PATIENCE = 5  # frames in a row that are not explained, after which each is followed by itself
ROUNDS = 2  # in which each chooses its place, given those of the others


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrackletEnd:
    """Templates of a single tracklet at its end or its start, the outermost first; `pace` [2] pixels a frame.

    Attributes:
        parts: of the whole tracklet, by frame.
    """

    templates: list[CharacterTemplate]
    centres: list[np.ndarray]
    pace: np.ndarray
    frame: int
    parts: dict[int, Part]

    @staticmethod
    def of(frames: np.ndarray, parts: Sequence[Part]) -> TrackletEnd:
        """The end at the first of some parts, of frames uint8 [T, h, w, 3]."""
        chosen = [parts[k] for k in sorted({min(k, len(parts) - 1) for k in TEMPLATES})]
        far = min(4, len(parts) - 1)
        return TrackletEnd(
            templates=[CharacterTemplate(frames[part.frame], part) for part in chosen],
            centres=[part.centre for part in chosen],
            pace=(parts[0].centre - parts[far].centre) / max(far, 1),
            frame=parts[0].frame,
            parts={part.frame: part for part in parts},
        )


class Following:
    """The ends of tracklets, followed together from frame to frame as far as is asked for.

    Args:
        ends: by number.
        frame: gives a smoothed frame, float32 [h, w, 3], see `eqvid_tf.tracking.template.smooth`.
        moving: bool [T, h, w].
        ahead: whether to later frames.
    """

    def __init__(
        self, ends: Mapping[int, TrackletEnd], frame: Callable[[int], np.ndarray], moving: np.ndarray, *, ahead: bool
    ):
        self.frame, self.moving, self.step = frame, moving, 1 if ahead else -1
        self.followers = {number: _Follower(end) for number, end in ends.items()}
        self.unexplained = 0  # frames in a row
        self.placements: dict[int, dict[int, Placement]] = {number: {} for number in ends}
        self.reached = min((end.frame for end in ends.values()), key=lambda frame: self.step * frame)

    @property
    def explains(self) -> bool:
        """Whether their templates explain what they were followed through."""
        return self.unexplained < PATIENCE

    def until(self, frame: int) -> Mapping[int, Mapping[int, Placement]]:
        """Placements by number and frame, at least as far as a frame, where they are not lost before."""
        while self.step * (frame - self.reached) > 0:
            self.reached += self.step
            self._follow(self.reached)
        return self.placements

    def _follow(self, index: int) -> None:
        covered, active = self.moving[index].copy(), dict[int, _Follower]()
        for number, follower in self.followers.items():
            if self.step * (index - follower.end.frame) > 0:
                active |= {} if follower.gone else {number: follower}
            elif index in follower.end.parts:
                covered &= ~follower.end.parts[index].whole(covered.shape)
        if not active:
            return
        picture, cover = self.frame(index), covered.astype(np.float32)
        chosen = {number: follower.alone(picture, cover) for number, follower in active.items()}
        if len(active) > 1 and self.explains:
            together = _Explained(active, chosen, picture, covered).settle()
            self.unexplained = 0 if together else self.unexplained + 1
            chosen = together or chosen
        for number, (placement, k) in chosen.items():
            if (found := active[number].advance(placement, k)) is not None:
                self.placements[number][index] = found


class _Follower:
    """One that is followed, with its templates where they lie now."""

    def __init__(self, end: TrackletEnd):
        self.end, self.pace, self.lost, self.gone = end, end.pace, 0, False
        self.matrices = [template.placed(end.centres[0] - c) for template, c in zip(end.templates, end.centres)]

    def starts(self) -> list[tuple[np.ndarray, int]]:
        """Matrices from which each template is looked for, and its number."""
        shifts = (self.pace, np.zeros(2)) if np.abs(self.pace).max() > AT_REST else (self.pace,)
        return [(_shifted(shift) @ matrix, k) for k, matrix in enumerate(self.matrices) for shift in shifts]

    def alone(self, picture: np.ndarray, cover: np.ndarray) -> tuple[Placement, int]:
        """The best placement as if there were no others, and the number of its template."""
        tries = [(self.end.templates[k].fit(picture, cover, start), k) for start, k in self.starts()]
        return min(tries, key=lambda found: found[0].cost)

    def expected(self, k: int) -> np.ndarray:
        """Where a template goes on to."""
        return _shifted(self.pace) @ self.matrices[k]

    def advance(self, best: Placement, k: int) -> Placement | None:
        """Go on from a placement, and give it; None where the template is lost for too long."""
        former = self.end.templates[k].centre_in(self.matrices[k])
        self.lost = self.lost + 1 if best.seen < LOST else 0
        if self.lost > LOST_FRAMES:
            self.gone = True
            return None
        if self.lost:
            best = dataclasses.replace(best, frame_from_template=self.expected(k))
        self.pace = (self.pace + best.centre - former) / 2
        change = best.frame_from_template @ np.linalg.inv(self.matrices[k])
        self.matrices = [change @ matrix for matrix in self.matrices]
        return best


class _Explained:
    """The placements of all that are followed in a frame: together they are to explain it.

    Args:
        followers: by number.
        chosen: the placement that each has alone, and the number of its template.
        picture: the frame, smoothed.
        covered: what moves in it.
    """

    def __init__(
        self,
        followers: Mapping[int, _Follower],
        chosen: Mapping[int, tuple[Placement, int]],
        picture: np.ndarray,
        covered: np.ndarray,
    ):
        self.followers, self.picture, self.covered = followers, picture, covered
        self.cover = covered.astype(np.float32)
        self.chosen = dict(chosen)
        self.goals = {number: followers[number].expected(k) for number, (_, k) in chosen.items()}
        self.errors = {number: placement.residuals(picture) for number, (placement, _) in chosen.items()}

    def settle(self) -> dict[int, tuple[Placement, int]] | None:
        """One after the other chooses anew, and two that are near each other may change places.

        None where too much is left even so, as of hands and cloth that bend.
        """
        for _ in range(ROUNDS):
            if not any([self._choose_anew(number) for number in self.followers]):
                break
        for pair in itertools.combinations(self.followers, 2):
            self._exchange(*pair)
        return self.chosen if self._share() > EXPLAINS else None

    def _share(self) -> float:
        """How much of the parts on which the templates lie fits one of them."""
        least = np.minimum.reduce(list(self.errors.values()))
        labels = label(self.covered)
        of = np.isin(labels, np.unique(labels[np.isfinite(least)])) & self.covered
        fits = least[of] < TOLERANCE
        return float(fits.mean()) if fits.size else 0.0

    def _choose_anew(self, number: int) -> bool:
        """Whether one that is near others lies elsewhere now."""
        if not any(self._apart(number, other) < NEAR for other in self.followers if other != number):
            return False
        others = [error for other, error in self.errors.items() if other != number]
        hidden = np.minimum.reduce(others) < TOLERANCE
        old, _ = self.chosen[number]
        options = [old, old.template.at(self.picture, self.cover, self.goals[number])]
        for start in (old.frame_from_template, self.goals[number]):
            options.append(old.template.fit(self.picture, self.cover, start, hidden=hidden))
        found = [option.residuals(self.picture) for option in options]
        costs = [self._left([*others, error]) + self._stray(number, o) for o, error in zip(options, found)]
        self._take(number, options[best := int(np.argmin(costs))], found[best])
        return best > 0

    def _exchange(self, first: int, second: int) -> None:
        if self._apart(first, second) > 1:
            return
        old = [self.chosen[number][0] for number in (first, second)]
        way = old[1].centre - old[0].centre
        new = [p.template.fit(self.picture, self.cover, p.moved(shift)) for p, shift in zip(old, (way, -way))]
        found = [placement.residuals(self.picture) for placement in new]
        others = [error for other, error in self.errors.items() if other not in (first, second)]
        stray = lambda pair: sum(self._stray(number, p) for number, p in zip((first, second), pair))
        now = self._left([*others, self.errors[first], self.errors[second]]) + stray(old)
        if self._left([*others, *found]) + stray(new) < now - EXCHANGED:
            for number, placement, error in zip((first, second), new, found):
                self._take(number, placement, error)

    def _apart(self, first: int, second: int) -> float:
        """How far apart two are, in sums of their radii."""
        a, b = (self.chosen[number][0] for number in (first, second))
        return float(np.hypot(*(a.centre - b.centre)) / (a.template.radius + b.template.radius))

    def _take(self, number: int, placement: Placement, errors: np.ndarray) -> None:
        self.chosen[number], self.errors[number] = (placement, self.chosen[number][1]), errors

    def _stray(self, number: int, placement: Placement) -> float:
        """What a placement costs that is not where one was going."""
        going = placement.template.centre_in(self.goals[number])
        return STRAY * float(np.hypot(*(placement.centre - going)))

    def _left(self, errors: Sequence[np.ndarray]) -> float:
        """What all of them leave of the frame, in grey levels, summed: who fits best is in front."""
        least = np.minimum.reduce(errors)
        return float(np.where(self.covered, np.minimum(least, UNEXPLAINED), UNEXPLAINED * np.isfinite(least)).sum())


def _shifted(shift: np.ndarray) -> np.ndarray:
    """A matrix [3, 3] that moves by a shift (x, y)."""
    matrix = np.eye(3)
    matrix[:2, 2] = shift
    return matrix
