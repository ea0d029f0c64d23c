"""Which tracklets show the same character: through meetings, after hiding, and where one body breaks into parts.

Single tracklets hold one character. Between them lie meetings, in which characters touch. A template of each that goes
in is followed through the meeting, one of each that comes out is followed back, and those that fit each other are the
same. Characters that move as one, over most of their appearance, are one body.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np

from eqvid_tf.tracking.following import Following, TrackletEnd
from eqvid_tf.tracking.parts import Part, Tracklet
from eqvid_tf.tracking.template import TOLERANCE, Placement, smooth

COST_UNIT = 15.0  # grey levels of residual that count as one unit of mismatch
STEADY = 0.1  # radii: changes of pace from a frame to the next that say nothing
SAME = 2.5  # mismatch up to which two tracklets show one character, through a meeting
SAME_LATER = 1.9  # ... and where others lie between
TURNS = (-0.5, 0.0, 0.5)  # radians, by which a character may have turned meanwhile
SAME_AFTER_HIDING = 3.0  # ... and where it was hidden wholly
FARTHEST = 3.0  # radii of distance between where it was expected and where it is, that count
TOGETHER = 0.38  # change of the distance of two, relative to how far they travel: with less they are one body
BESIDE = 2.8  # sums of the radii: how far apart the middles of one body's parts may be
PARTED = 1.0  # ... and by how much that distance changes where they are two that meet
BREAKING = 5  # frames, at most, in which one that breaks into parts is told twice
LOOKED_AT = 12  # frames of a tracklet in which two may be seen side by side ...
SIDE_BY_SIDE = 3  # ... in so many, or in all
SHOWN_ALONE = 0.25  # share of a template that shows where the other does not
EXPLAINED = 0.75  # share of a part that the two explain
CLEARLY_SEEN = 0.4  # share of a template from which its place says how a character moves


@dataclasses.dataclass(kw_only=True, eq=False)
class Character:
    """One character, or a part of one, over the clip.

    Attributes:
        tracklets: numbers of the single tracklets that show it, in order of time.
        parts: by frame, where it is alone.
        placements: by frame, where its template was followed.
    """

    tracklets: list[int]
    parts: dict[int, Part]
    placements: dict[int, Placement]

    @property
    def mass(self) -> int:
        """Pixels of all its own parts."""
        return sum(part.area for part in self.parts.values())

    @property
    def radius(self) -> float:
        """Pixels, of a disc half as wide, as it is when it is seen whole."""
        return float(np.sqrt(np.percentile([part.area for part in self.parts.values()], 80)) / 2)

    def centres(self) -> dict[int, np.ndarray]:
        """Its middle (x, y) in each frame that shows it clearly."""
        followed = {k: found.centre for k, found in self.placements.items() if found.seen > CLEARLY_SEEN}
        return followed | {k: part.centre for k, part in self.parts.items()}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Meeting:
    """Tracklets in which several characters touch, and the single ones that lead into and out of it."""

    first: int
    last: int
    characters: int
    entering: list[int]
    leaving: list[int]


class Identities:
    """Joins tracklets to characters.

    Args:
        frames: uint8 [T, h, w, 3].
        moving: bool [T, h, w].
        tracklets: of them, see `eqvid_tf.tracking.parts.find_tracklets`.
    """

    def __init__(self, frames: np.ndarray, moving: np.ndarray, tracklets: Sequence[Tracklet]):
        self.frames, self.moving, self.tracklets = frames, moving, tracklets
        self.single = {k for k, found in enumerate(tracklets) if found.characters == 1 and found.significant}
        self.frame = lru_cache(8)(lambda index: smooth(frames[index]))
        self.end = cache(self._end)
        self.meetings: list[_Meeting] = []
        self.following = cache(self._following)

    def characters(self) -> list[list[Character]]:
        """The characters, each as the parts of its body."""
        following = self._link_through_meetings()
        heads = sorted(self.single - set(following.values()))
        chains = [[head] for head in heads]
        for chain in chains:
            while chain[-1] in following:
                chain.append(following[chain[-1]])
        found = [self._character(chain) for chain in chains]
        found = self._join(found, self._mismatch_later, SAME_LATER)
        found = self._join(found, self._mismatch_after_hiding, SAME_AFTER_HIDING)
        return _group(found)

    # ---- meetings

    def _link_through_meetings(self) -> dict[int, int]:
        """Which single tracklet follows each, through a meeting.

        A single tracklet that nothing fits, beside a meeting of more characters than are accounted for, is no single
        one: it is taken into the meeting, and all are linked again.
        """
        while True:
            self.meetings = meetings = self._meetings()
            following = {a: b for meeting in meetings for a, b in self._link(meeting)}
            matched = set(following) | set(following.values())
            doubtful = {k for meeting in meetings for k in self._unaccounted(meeting)} - matched
            doubtful |= {k for meeting in meetings for k in self._doubles(meeting, following)}
            if not doubtful:
                return following
            self.single -= doubtful

    def _meetings(self) -> list[_Meeting]:
        left, meetings = set(range(len(self.tracklets))) - self.single, []
        while left:
            inside, open_ends = set(), [left.pop()]
            while open_ends:
                number = open_ends.pop()
                inside.add(number)
                neighbours = (self.tracklets[number].before | self.tracklets[number].after) & left
                left -= neighbours
                open_ends += neighbours
            meetings.append(self._meeting(inside))
        return meetings

    def _meeting(self, inside: set[int]) -> _Meeting:
        members = [self.tracklets[k] for k in inside]
        return _Meeting(
            first=min(member.first.frame for member in members),
            last=max(member.last.frame for member in members),
            characters=max(member.characters for member in members),
            entering=sorted(k for k in self.single if self.tracklets[k].after & inside),
            leaving=sorted(k for k in self.single if self.tracklets[k].before & inside),
        )

    def _unaccounted(self, meeting: _Meeting) -> set[int]:
        """The single tracklets beside a meeting into or out of which more characters go than single ones are there."""
        out: set[int] = set()
        if len(meeting.leaving) < meeting.characters and meeting.last < len(self.frames) - 1:
            out |= set(meeting.leaving)
        if len(meeting.entering) < meeting.characters and meeting.first > 0:
            out |= set(meeting.entering)
        return out

    def _doubles(self, meeting: _Meeting, following: dict[int, int]) -> set[int]:
        """The single tracklets beside a meeting that show two at once of those that go in, or come out.

        One of the two is whom nothing follows, or who follows nothing.
        """
        out: set[int] = set()
        for ahead, outer, inner in (
            (True, meeting.entering, meeting.leaving),
            (False, meeting.leaving, meeting.entering),
        ):
            linked = set(following) if ahead else set(following.values())
            for number in inner:
                side = self.tracklets[number].before if ahead else self.tracklets[number].after
                others = sorted(set(outer) | (side & self.single))
                lone = [k for k in others if k not in linked]
                parts = self.tracklets[number].parts[:: 1 if ahead else -1][:LOOKED_AT]
                fits = {k: self._fits(k, parts, ahead=ahead) for k in others} if lone else {}
                lone = [k for k in lone if self.following(self._together(k, ahead), ahead).explains]
                if any(_side_by_side(parts, fits[a], fits[b]) for a in lone for b in others if a != b):
                    out.add(number)
        return out

    def _fits(self, number: int, parts: Sequence[Part], *, ahead: bool) -> list[tuple[np.ndarray, int] | None]:
        """Where a followed tracklet fits parts, bool [h, w], and the pixels of its template; None where it is lost."""
        found, size = self.follow(number, parts[-1].frame, ahead=ahead), self.moving.shape[1:]
        out: list[tuple[np.ndarray, int] | None] = []
        for part in parts:
            if part.frame not in found:
                out.append(None)
                continue
            residuals = found[part.frame].residuals(self.frame(part.frame))
            covered = max(int(np.count_nonzero(np.isfinite(residuals))), 1)
            out.append(((residuals < TOLERANCE) & part.whole(size), covered))
        return out

    def _link(self, meeting: _Meeting) -> list[tuple[int, int]]:
        costs = []
        for a in meeting.entering:
            for b in meeting.leaving:
                if self.tracklets[a].last.frame < self.tracklets[b].first.frame:
                    ways = (a, b, meeting.last + 1, True), (b, a, meeting.first - 1, False)
                    mismatch = [self._mismatch(k, other, until, ahead=ahead) for k, other, until, ahead in ways]
                    weight = [1 / (STEADY + self._turning(k, until, ahead=ahead)) for k, _, until, ahead in ways]
                    costs.append((float(np.average(mismatch, weights=weight)), a, b))
        links: list[tuple[int, int]] = []
        for cost, a, b in sorted(costs):
            if cost < SAME and not any(a == x or b == y for x, y in links):
                links.append((a, b))
        return links

    def _turning(self, number: int, until: int, *, ahead: bool) -> float:
        """How abruptly the path turns on which a tracklet is followed: the largest change of pace, in its radii."""
        followed = self.follow(number, until, ahead=ahead)
        change = np.diff([followed[k].centre for k in sorted(followed)], n=2, axis=0)
        return float(np.hypot(*change.T).max() / self.end(number, ahead).templates[0].radius) if len(change) else 0.0

    def _mismatch(self, number: int, other: int, until: int, *, ahead: bool) -> float:
        """How little one tracklet, followed to another, looks like it and lies where it is."""
        part = self.tracklets[other].first if ahead else self.tracklets[other].last
        followed = self.follow(number, until, ahead=ahead).get(part.frame)
        radius = np.sqrt(part.area) / 2
        far = np.hypot(*(followed.centre - part.centre)) / radius if followed else FARTHEST
        return self._unlike(number, part, ahead=ahead) + 0.4 * min(far, FARTHEST)

    def _unlike(
        self, number: int, part: Part, *, ahead: bool, turns: Sequence[float] = (0.0,), most: float = np.inf
    ) -> float:
        """How little the templates at the end of a tracklet look like a part, when they are laid over it.

        Those whose size alone differs by more than `most` are not tried.
        """
        end = self.end(number, ahead)
        moving, frame = part.whole(self.moving.shape[1:]).astype(np.float32), self.frame(part.frame)
        least = np.inf
        for template, centre in zip(end.templates, end.centres):
            other_size = abs(np.log(part.area / template.area)) / 2
            for turn in turns if other_size < most else ():
                start = _turned(turn, part.centre) @ template.placed(part.centre - centre)
                least = min(least, template.fit(frame, moving, start).cost / COST_UNIT + other_size)
        return least

    # ---- following

    def _end(self, number: int, ahead: bool) -> TrackletEnd:
        return TrackletEnd.of(self.frames, self.tracklets[number].parts[:: -1 if ahead else 1])

    def follow(self, number: int, until: int, *, ahead: bool) -> dict[int, Placement]:
        """Placements of a single tracklet beyond its end (or before its start), up to frame `until`, by frame.

        It is followed together with all that go into the same meeting (or come out of it).
        """
        until = int(np.clip(until, 0, len(self.frames) - 1))
        placements = self.following(self._together(number, ahead), ahead).until(until)[number]
        return {k: found for k, found in placements.items() if (k <= until if ahead else k >= until)}

    def _following(self, together: frozenset[int], ahead: bool) -> Following:
        ends = {number: self.end(number, ahead) for number in sorted(together)}
        return Following(ends, self.frame, self.moving, ahead=ahead)

    def _together(self, number: int, ahead: bool) -> frozenset[int]:
        sides = (meeting.entering if ahead else meeting.leaving for meeting in self.meetings)
        return next((frozenset(side) for side in sides if number in side), frozenset([number]))

    def _character(self, chain: list[int]) -> Character:
        parts = {part.frame: part for number in chain for part in self.tracklets[number].parts}
        placements: dict[int, Placement] = {}
        last = len(self.frames) - 1
        for k, number in enumerate(chain):
            tracklet = self.tracklets[number]
            start = self.tracklets[chain[k - 1]].last.frame + 1 if k else 0
            stop = self.tracklets[chain[k + 1]].first.frame - 1 if k + 1 < len(chain) else last
            ways = self.follow(number, start, ahead=False) if tracklet.first.frame > start else {}
            ways_ahead = self.follow(number, stop, ahead=True) if tracklet.last.frame < stop else {}
            for index, found in [*ways.items(), *ways_ahead.items()]:
                if index not in parts and (index not in placements or found.cost < placements[index].cost):
                    placements[index] = found
        return Character(tracklets=chain, parts=parts, placements=placements)

    # ---- later

    def _join(
        self, characters: list[Character], mismatch: Callable[[Character, Character], float], most: float
    ) -> list[Character]:
        """Join characters that follow each other in time, the best match first, while one is below `most`."""
        known = cache(mismatch)  # each two are compared once, however often others are joined
        costs = lambda: [
            (known(a, b), i, j)
            for i, a in enumerate(characters)
            for j, b in enumerate(characters)
            if i != j and max(a.parts) < min(b.parts)
        ]
        while (pairs := costs()) and (best := min(pairs))[0] < most:
            _, i, j = best
            joined = self._character(characters[i].tracklets + characters[j].tracklets)
            characters = [found for k, found in enumerate(characters) if k not in (i, j)] + [joined]
        return characters

    def _mismatch_later(self, a: Character, b: Character) -> float:
        """As through a meeting, where others lie between: their followed paths have to come near each other.

        It is worked out only as far as it may be less than `SAME_LATER`.
        """
        first, last = min(b.parts), max(a.parts)
        of_a, of_b = a.centres(), b.centres()
        placed = lambda found, k: found.placements[k].centre if k in found.placements else None
        pairs = [(placed(a, k), placed(b, k)) for k in range(last + 1, first)]
        pairs += [(placed(a, first), of_b[first]), (of_a[last], placed(b, last))]
        far = [np.hypot(*(x - y)) / a.radius for x, y in pairs if x is not None and y is not None]
        apart = 0.4 * min([*far, FARTHEST])
        return apart + self._unlike(a.tracklets[-1], b.parts[first], ahead=True, turns=TURNS, most=SAME_LATER - apart)

    def _mismatch_after_hiding(self, a: Character, b: Character) -> float:
        """How little b is where a would be after a constant motion, and how little it looks like a."""
        gap = min(b.parts) - max(a.parts)
        end, start = _course(a, ahead=True), _course(b, ahead=False)
        if gap > len(self.frames) / 2 or end is None or start is None:
            return np.inf
        (place, pace), (next_place, next_pace) = end, start
        radius = max(a.radius, b.radius)
        missed = min(np.hypot(*(place + gap * pace - next_place)), np.hypot(*(next_place - gap * next_pace - place)))
        turned = np.hypot(*(pace - next_pace)) * gap
        colours = np.abs(self._colours(a) - self._colours(b)).mean() / 20  # grey levels
        return (missed + 0.3 * turned) / radius + colours + 2 * abs(np.log(a.radius / b.radius))

    def _colours(self, character: Character) -> np.ndarray:
        """Quantiles of its colours [5, 3]."""
        few = list(character.parts.values())[:: max(1, len(character.parts) // 6)]
        size = self.moving.shape[1:]
        colours = np.concatenate([self.frames[part.frame][part.whole(size)] for part in few])
        return np.percentile(colours, (10, 25, 50, 75, 90), axis=0)


def _course(character: Character, *, ahead: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """Place and pace (x, y) of a character at its end, or its start, from the frames that show it whole."""
    frames = sorted(character.parts)
    large = np.percentile([character.parts[k].area for k in frames], 80)
    whole = [k for k in frames if character.parts[k].area > 0.7 * large]
    few = whole[-6:] if ahead else whole[:6]
    if len(few) < 2:
        return None
    centres = np.array([character.parts[k].centre for k in few])
    pace = np.polyfit(few, centres, 1)[0]
    k, edge = (-1, frames[-1]) if ahead else (0, frames[0])
    return centres[k] + pace * (edge - few[k]), pace


def _group(characters: Sequence[Character]) -> list[list[Character]]:
    """Group the characters that are one body: that stay beside each other and travel as one."""
    group = list(range(len(characters)))
    for i, a in enumerate(characters):
        for j, b in enumerate(characters):
            joined = (a.mass > b.mass and _one_body(a, b)) or _goes_on_as(a, b)
            if group[i] != group[j] and joined:
                group = [group[i] if k == group[j] else k for k in group]
    return [[characters[k] for k, own in enumerate(group) if own == g] for g in dict.fromkeys(group)]


def _side_by_side(
    parts: Sequence[Part],
    fits: Sequence[tuple[np.ndarray, int] | None],
    others: Sequence[tuple[np.ndarray, int] | None],
) -> bool:
    """Whether parts show the one and the other at once, see `Identities._fits`."""
    shown = 0
    for part, first, second in zip(parts, fits, others):
        if first is not None and second is not None:
            alone = [
                np.count_nonzero(fit & ~other) / covered
                for (fit, covered), (other, _) in ((first, second), (second, first))
            ]
            explained = np.count_nonzero(first[0] | second[0])
            shown += int(explained > EXPLAINED * part.area and min(alone) > SHOWN_ALONE)
    return shown >= min(SIDE_BY_SIDE, len(parts))


def _one_body(a: Character, b: Character) -> bool:
    of_a, of_b = a.centres(), b.centres()
    both = sorted(set(of_a) & set(of_b))
    if len(both) < max(5, 0.6 * min(len(of_a), len(of_b))):
        return False
    first, second = np.array([of_a[k] for k in both]), np.array([of_b[k] for k in both])
    between = first - second
    far = np.hypot(*between.T) / (a.radius + b.radius)
    nearest, usual, farthest = np.percentile(far, (5, 70, 95))
    if usual > BESIDE or farthest - nearest > PARTED:
        return False
    travel = max(np.ptp(first, axis=0).max(), np.ptp(second, axis=0).max())
    change = np.percentile(np.abs(between - np.median(between, axis=0)).max(1), 90)
    return bool(change < TOGETHER * travel)


def _goes_on_as(a: Character, b: Character) -> bool:
    """Whether one breaks into parts at its end, of which another is the part that lasts."""
    both = sorted(set(a.parts) & set(b.parts))
    if not 0 < len(both) <= BREAKING or not max(a.parts) < max(b.parts) or not min(a.parts) < min(b.parts):
        return False
    far = [np.hypot(*(a.parts[k].centre - b.parts[k].centre)) for k in both]
    return bool(max(far) < a.radius + b.radius and abs(np.log(a.radius / b.radius)) < np.log(2))


def _turned(turn: float, centre: np.ndarray) -> np.ndarray:
    """A turn by an angle (radians) about a centre, [3, 3] in pixels."""
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    return matrix
