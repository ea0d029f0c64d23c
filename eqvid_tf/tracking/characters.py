"""The characters of a clip: whose each pixel is that moves, and what is restless background.

Stages: what differs from the background -> parts and tracklets -> identities -> who is in front -> what is restless
-> owners.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import cv2
import numpy as np

from eqvid_tf.tracking.bodies import restless_bodies, with_companions, with_limbs, with_loose_parts, with_rest_of
from eqvid_tf.tracking.identities import Character, Identities
from eqvid_tf.tracking.parts import find_tracklets
from eqvid_tf.tracking.template import CharacterTemplate, Placement, smooth

IN_FRONT = 7  # frames over which it is decided who is in front
WORST = 60.0  # grey levels of residual: more says no more about who is in front
REACH = 4.0  # pixels from a template within which the rest of a part is the character's
FEWEST_FRAMES = 5  # that a character shows in, or a sixth of a shorter clip
LEAST_SHARE = 0.02  # of the largest character's pixels
FINEST = 0.3  # share of the usual area of a body, on plain ground, where nothing else has a hue
SHOWN = 0.05  # share of a template that fits: with less it is not drawn


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Owners:
    """Whose each moving pixel is.

    Attributes:
        owner: uint8 [T, h, w]: 0 nobody's, k + 1 character k's; character 0 covers most.
        count: of characters.
        motions: of each character at each step in a meeting, where another may hide a part of it: forward, normalized
            coordinates [count, T - 1, 2, 3]; nan where it is alone.
    """

    owner: np.ndarray
    count: int
    motions: np.ndarray

    def mask(self, number: int) -> np.ndarray:
        """The visible coverage of a character, bool [T, h, w]."""
        return self.owner == number + 1

    @property
    def numbers(self) -> list[int]:
        """The numbers of the characters that own a pixel."""
        return [int(value) - 1 for value in np.unique(self.owner) if value]

    def largest(self, most: int | None) -> Owners:
        """The first characters, which cover most, and the pixels of the others nobody's; None: all."""
        if most is None or most >= self.count:
            return self
        owner = np.where(self.owner > most, np.uint8(0), self.owner)
        return Owners(owner=owner, count=most, motions=self.motions[:most])

    def arranged(self, merged: Mapping[int, int], dropped: Collection[int]) -> Owners:
        """The owners with some characters joined to others, by number, and the pixels of some nobody's."""
        table = np.arange(self.count + 1, dtype=np.uint8)
        for number, into in merged.items():
            table[number + 1] = into + 1
        table[np.isin(table, [number + 1 for number in dropped])] = 0
        return dataclasses.replace(self, owner=table[self.owner])


def find_characters(
    frames: np.ndarray, moving: np.ndarray, hues: np.ndarray | None = None, finest: float = 1.0
) -> Owners:
    """Tell apart the characters of a clip.

    Shapes: frames uint8 [T, h, w, 3], moving bool [T, h, w]: what differs from the background; hues uint8 [T, h, w].

    Args:
        frames: of the clip.
        moving: where something may be a character.
        hues: of what moves, from 1, where each body has one (see `eqvid_tf.separation.plain`): what has one hue is
            tracked by itself, and nothing is restless.
        finest: see `find_tracklets`.
    """
    if hues is None:
        bodies, owner = _find_bodies(frames, moving, finest)
        owner = with_limbs(owner)
        owner[np.isin(owner, list(restless_bodies(frames, owner, _lasting(owner))))] = -1
        owner = with_loose_parts(owner, moving)
    else:
        bodies, owner = _find_hued_bodies(frames, hues, FINEST * finest)
        owner = with_companions(owner)
    numbers = _lasting(owner)
    numbered = np.zeros(owner.shape, np.uint8)
    for number, body in enumerate(numbers):
        numbered[owner == body] = number + 1
    shown = lambda body: moving if hues is None else moving & (hues == hues[owner == body][0])
    motions = [_meeting_motions(frames, shown(body), bodies[body]) for body in numbers]
    return Owners(
        owner=numbered, count=len(numbers), motions=np.reshape(motions, (len(numbers), len(frames) - 1, 2, 3))
    )


def _find_bodies(frames: np.ndarray, moving: np.ndarray, finest: float) -> tuple[list[list[Character]], np.ndarray]:
    """The bodies of what moves, each as its members, and whose each pixel is: int16 [T, h, w], -1 nobody's."""
    bodies = Identities(frames, moving, find_tracklets(frames, moving, finest)).characters()
    return bodies, _Composition(frames, moving, bodies).owner()


def _find_hued_bodies(frames: np.ndarray, hues: np.ndarray, finest: float) -> tuple[list[list[Character]], np.ndarray]:
    """As `_find_bodies`, of each hue by itself; all that has a hue is the nearest body's of that hue."""
    bodies, owner = list[list[Character]](), np.full(hues.shape, -1, np.int16)
    for hue in np.unique(hues[hues > 0]):
        found, of_hue = _find_bodies(frames, hues == hue, finest)
        of_hue = with_rest_of(of_hue, hues == hue)
        owner[of_hue >= 0] = of_hue[of_hue >= 0] + len(bodies)
        bodies += found
    return bodies, owner


class _Composition:
    """Decides the owner of each moving pixel, from where the characters are."""

    def __init__(self, frames: np.ndarray, moving: np.ndarray, bodies: Sequence[Sequence[Character]]):
        self.frames, self.moving, self.size = frames, moving, moving.shape[1:]
        self.members = [member for body in bodies for member in body]
        self.body = [number for number, body in enumerate(bodies) for _ in body]
        self.evidence = self._front_evidence()

    def owner(self) -> np.ndarray:
        """Bodies by pixel, int16 [T, h, w]: -1 nobody's."""
        return np.stack([self._owner(index) for index in range(len(self.frames))])

    def _owner(self, index: int) -> np.ndarray:
        out = np.full(self.size, -1, np.int16)
        for member, body in zip(self.members, self.body):
            if index in member.parts:
                out[member.parts[index].whole(self.size)] = body
        free = self.moving[index] & (out < 0)
        followed = self._followed(index)
        if not followed or not free.any():
            return out
        for k in self._from_front(index, followed):
            covered, _ = self.members[k].placements[index].drawn(self.size)
            mine = (covered > 0.5) & free
            out[mine] = self.body[k]
            free &= ~mine
        return self._with_rest(out, free, {self.body[k] for k in followed})

    def _with_rest(self, owner: np.ndarray, free: np.ndarray, bodies: set[int]) -> np.ndarray:
        """What no template covers is the nearest body's; a part that only one body has a share in is all its."""
        if not free.any():
            return owner
        far = lambda body: cv2.distanceTransform((owner != body).astype(np.uint8), cv2.DIST_L2, 3)
        names = [body for body in sorted(bodies) if (owner == body).any()]
        if not names:
            return owner
        distances = np.stack([far(body) for body in names])
        nearest, near = np.array(names)[distances.argmin(0)], distances.min(0) < REACH
        count, labels = cv2.connectedComponents(((owner >= 0) | free).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            part = labels == number
            mine = np.unique(owner[part & (owner >= 0)])
            rest = part & free if len(mine) == 1 else part & free & near
            owner[rest] = mine[0] if len(mine) == 1 else nearest[rest]
        return owner

    def _followed(self, index: int) -> list[int]:
        """The members whose template is drawn in a frame."""
        placed = [(k, member.placements.get(index)) for k, member in enumerate(self.members)]
        return [k for k, found in placed if found and found.seen > SHOWN]

    def _from_front(self, index: int, members: Sequence[int]) -> list[int]:
        """Members from the front to the back."""
        start, stop = max(0, index - IN_FRONT // 2), index + IN_FRONT // 2 + 1
        wins = lambda i, j: self.evidence.get((i, j), np.zeros(0))[start:stop].sum() > 0
        return sorted(members, key=lambda i: -sum(wins(i, j) for j in members if j != i))

    def _front_evidence(self) -> dict[tuple[int, int], np.ndarray]:
        """For each two members that overlap, [T]: how much better the first fits there than the second."""
        evidence: dict[tuple[int, int], np.ndarray] = {}
        for index, frame in enumerate(self.frames):
            drawn = {}
            for k in self._followed(index):
                covered, colour = self.members[k].placements[index].drawn(self.size)
                error = np.sqrt(np.square(colour - frame).mean(-1))
                drawn[k] = covered > 0.5, np.minimum(cv2.GaussianBlur(error, (0, 0), 0.8), WORST)
            for i, (mine, error) in drawn.items():
                for j, (other, other_error) in drawn.items():
                    both = mine & other & self.moving[index]
                    if i != j and np.count_nonzero(both) >= 3:
                        sums = evidence.setdefault((i, j), np.zeros(len(self.frames)))
                        sums[index] = (other_error - error)[both].sum()
        return evidence


def _lasting(owner: np.ndarray) -> list[int]:
    """The bodies that more than hardly show, by how much they cover."""
    bodies = [int(body) for body in np.unique(owner) if body >= 0]
    area = {body: int(np.count_nonzero(owner == body)) for body in bodies}
    frames = {body: int(np.count_nonzero((owner == body).any((1, 2)))) for body in bodies}
    fewest = min(FEWEST_FRAMES, len(owner) // 6)
    lasting = [b for b in bodies if frames[b] >= fewest and area[b] > LEAST_SHARE * max(area.values())]
    return sorted(lasting, key=lambda body: -area[body])


def _meeting_motions(frames: np.ndarray, moving: np.ndarray, body: Sequence[Character]) -> np.ndarray:
    """The motions of a body's largest member between frames, [T - 1, 2, 3]; nan where it is alone in both."""
    height, width = moving.shape[1:]
    normalized = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    member, out = max(body, key=lambda one: one.mass), np.full((len(frames) - 1, 2, 3), np.nan)
    for index in range(len(frames) - 1):
        placed = member.placements.get(index + 1) or member.placements.get(index)
        if placed is None:
            continue
        ends = [_place(placed.template, member, k, frames[k], moving[k]) for k in (index, index + 1)]
        if all(end is not None and end.seen > SHOWN for end in ends):
            first, second = (end.frame_from_template for end in ends if end)
            motion = normalized @ second @ np.linalg.inv(first) @ np.linalg.inv(normalized)
            out[index] = motion[:2]
    return out


def _place(
    template: CharacterTemplate, member: Character, index: int, frame: np.ndarray, moving: np.ndarray
) -> Placement | None:
    """A character's template in a frame: where it was followed to, or where the character is alone there."""
    known = member.placements.get(index)
    if known is not None and known.template is template:
        return known
    if known is None and index not in member.parts:
        return None
    centre = known.centre if known is not None else member.parts[index].centre
    start = template.placed(centre - template.centre - template.origin)
    return template.fit(smooth(frame), moving.astype(np.float32), start)
