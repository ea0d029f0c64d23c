"""Parts of what moves: the connected regions of each frame, linked over time to tracklets.

Two characters that touch are one part. Where parts meet and separate, the number of characters in each tracklet
follows: what two single parts became together is two.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from eqvid_tf.pixels.coordinates import bounding_box
from eqvid_tf.pixels.flow import optical_flow
from eqvid_tf.pixels.morphology import dilate

SMALLEST = 0.0025  # share of the frame: a smaller part is noise
FEWEST_PIXELS = 8  # of a part
OVERLAP = 0.3  # share of the smaller part that the other covers when it is moved along the flow: they are linked
LOST_AS_MUCH = 0.5  # share of a part's area by which another is smaller of which it has come
JUMP = 6.0  # square roots of a part's area, by which it goes at most in a frame where optical flow loses it ...
ONE_SIZE = 0.6  # ... to a part that is not smaller by more, or larger
SIGNIFICANT = 0.008, 0.003  # share of the frame from which a tracklet counts as a body; and if it lasts ...
LASTS = 4  # ... so many frames
MOMENT = 10  # frames, in which a body that leaves the frame, or comes into it, may be in pieces; or that breaks ...
BREAK = 0.25  # ... by less than so much of its length


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A connected region of one frame.

    Attributes:
        frame: index of the frame.
        top, left: of its box in the frame, pixels.
        mask: within the box, bool.
    """

    frame: int
    top: int
    left: int
    mask: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, frame: int = 0) -> Part:
        """The part that a mask shows, bool [h, w], not empty."""
        box = bounding_box(mask)
        assert box is not None
        top, left, height, width = box
        return cls(frame=frame, top=top, left=left, mask=mask[top : top + height, left : left + width])

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def centre(self) -> np.ndarray:
        """Mean position of its pixels (x, y)."""
        rows, columns = np.nonzero(self.mask)
        return np.array([columns.mean() + self.left, rows.mean() + self.top])

    def touches_border(self, size: tuple[int, int]) -> bool:
        """Whether it reaches the border of a frame of a size (height, width)."""
        bottom, right = self.top + self.mask.shape[0], self.left + self.mask.shape[1]
        return min(self.top, self.left, size[0] - bottom, size[1] - right) <= 0

    def whole(self, size: tuple[int, int]) -> np.ndarray:
        """The mask in the whole frame, bool [*size]."""
        out = np.zeros(size, bool)
        height, width = self.mask.shape
        out[self.top : self.top + height, self.left : self.left + width] = self.mask
        return out


@dataclasses.dataclass(kw_only=True, eq=False)
class Tracklet:
    """A part over consecutive frames, linked one to one.

    Attributes:
        parts: one for each frame.
        before, after: numbers of the tracklets that it comes from and goes over to.
        characters: how many it holds, at least.
        area: median, pixels.
        significant: whether it is a body, not a speck.
    """

    parts: list[Part]
    before: set[int]
    after: set[int]
    characters: int = 1
    area: float = 0.0
    significant: bool = False

    @property
    def first(self) -> Part:
        """Its earliest part."""
        return self.parts[0]

    @property
    def last(self) -> Part:
        """Its latest part."""
        return self.parts[-1]


def find_tracklets(frames: np.ndarray, moving: np.ndarray, finest: float = 1.0) -> list[Tracklet]:
    """Find the parts of what moves and link them to tracklets.

    Shapes: frames uint8 [T, h, w, 3], moving bool [T, h, w].

    Args:
        frames: of the clip.
        moving: what differs from its background.
        finest: share of the usual area from which a part is no noise, and a tracklet counts as a body.
    """
    parts = [_find_parts(mask, index, finest * SMALLEST) for index, mask in enumerate(moving)]
    tracklets = _chain(parts, _link(frames, parts))
    large, lasting = (finest * share * moving[0].size for share in SIGNIFICANT)
    for tracklet in tracklets:
        tracklet.area = float(np.median([part.area for part in tracklet.parts]))
    bodies = [one.area for one in tracklets if len(one.parts) >= LASTS and one.area >= lasting]
    large = min([large, *np.multiply(ONE_SIZE, [np.median(bodies)] if bodies else [])])
    for tracklet in tracklets:
        least = lasting if len(tracklet.parts) >= LASTS else large
        tracklet.significant = tracklet.area >= least
    _count_characters(tracklets, len(frames))
    return _with_whole_bodies(tracklets, moving.shape[1:])


def _with_whole_bodies(tracklets: Sequence[Tracklet], size: tuple[int, int]) -> list[Tracklet]:
    """The tracklets, with those that go over into each other joined to one where no two bodies are ever seen apart.

    Why: the waist of someone who dances before a wall of its colour is lost in a frame here and there.
    """
    out, number = list[Tracklet](), dict[int, int]()
    for family in _families(tracklets):
        members = [tracklets[k] for k in family]
        if max(one.characters for one in members) > 1 and not _ever_apart(members, size):
            number |= dict.fromkeys(family, len(out))
            out.append(_joined(members, size))
        else:
            number |= {k: len(out) + place for place, k in enumerate(family)}
            out += members
    renumbered = lambda beside: {number[k] for k in beside}
    return [dataclasses.replace(one, before=renumbered(one.before), after=renumbered(one.after)) for one in out]


def _families(tracklets: Sequence[Tracklet]) -> list[list[int]]:
    """The numbers of the tracklets that go over into each other, directly or by others."""
    left, families = set(range(len(tracklets))), []
    while left:
        family, ends = set[int](), [min(left)]
        while ends:
            family.add(k := ends.pop())
            ends += (tracklets[k].before | tracklets[k].after) - family
        left -= family
        families.append(sorted(family))
    return families


def _ever_apart(tracklets: Sequence[Tracklet], size: tuple[int, int]) -> bool:
    """Whether two bodies are seen far enough apart, or for more than a moment."""
    by_frame = defaultdict[int, list[Part]](list)
    for part in (part for one in tracklets if one.significant for part in one.parts):
        by_frame[part.frame].append(part)
    several = sorted(frame for frame, parts in by_frame.items() if len(parts) > 1)
    runs = np.split(several, np.flatnonzero(np.diff(several) > 1) + 1)
    return any(len(run) >= MOMENT for run in runs) or any(_gap(by_frame[frame], size) > BREAK for frame in several)


def _gap(parts: Sequence[Part], size: tuple[int, int]) -> float:
    """Between the first of some parts of a frame and the nearest other, in lengths of them all together."""
    first, *others = (part.whole(size) for part in parts)
    far = cv2.distanceTransform((~first).astype(np.uint8), cv2.DIST_L2, 3)
    return float(far[np.any(others, 0)].min() / np.sqrt(sum(part.area for part in parts)))


def _joined(tracklets: Sequence[Tracklet], size: tuple[int, int]) -> Tracklet:
    """One tracklet of all their parts."""
    masks = defaultdict[int, np.ndarray](lambda: np.zeros(size, bool))
    for part in (part for one in tracklets for part in one.parts):
        masks[part.frame] |= part.whole(size)
    parts = [Part.of(masks[frame], frame) for frame in sorted(masks)]
    area = float(np.median([part.area for part in parts]))
    return Tracklet(parts=parts, before=set(), after=set(), area=area, significant=True)


def _find_parts(mask: np.ndarray, frame: int, smallest: float) -> list[Part]:
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for number in range(1, count):
        left, top, width, height, area = boxes[number]
        if area >= max(FEWEST_PIXELS, smallest * mask.size):
            crop = labels[top : top + height, left : left + width] == number
            found.append(Part(frame=frame, top=int(top), left=int(left), mask=crop))
    return found


def _link(frames: np.ndarray, parts: Sequence[Sequence[Part]]) -> list[set[tuple[int, int]]]:
    """Which parts of each frame go over into which of the next: pairs of their numbers, by optical flow."""
    size = frames.shape[1:3]
    grid = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1).astype(np.float32)
    carry = lambda part, back: _read(part.whole(size), grid + back)
    grey, links = cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY), []
    for index in range(len(frames) - 1):
        next_grey, pairs = cv2.cvtColor(frames[index + 1], cv2.COLOR_RGB2GRAY), set()
        if parts[index] and parts[index + 1]:
            forward, backward = optical_flow(grey, next_grey), optical_flow(next_grey, grey)
            ahead = [carry(part, backward) for part in parts[index]]
            back = [carry(part, forward) for part in parts[index + 1]]
            for i, part in enumerate(parts[index]):
                for j, other in enumerate(parts[index + 1]):
                    shared = max(
                        np.count_nonzero(ahead[i] & other.whole(size)), np.count_nonzero(back[j] & part.whole(size))
                    )
                    if shared > OVERLAP * min(part.area, other.area):
                        pairs.add((i, j))
            pairs |= _link_sudden(parts[index], parts[index + 1], pairs, size)
            pairs |= {(i, j) for j, i in _link_sudden(parts[index + 1], parts[index], {(j, i) for i, j in pairs}, size)}
            pairs |= _link_jumps(parts[index], parts[index + 1], pairs, size)
        links.append(pairs)
        grey = next_grey
    return links


def _link_sudden(
    parts: Sequence[Part], others: Sequence[Part], pairs: set[tuple[int, int]], size: tuple[int, int]
) -> set[tuple[int, int]]:
    """Pairs for the others that come from nowhere, though the frame's border is far: from what has lost as much beside.

    Why: optical flow misses what is small and quick.
    """
    found = set()
    for j, other in enumerate(others):
        if any(pair[1] == j for pair in pairs) or other.touches_border(size):
            continue
        near = dilate(other.whole(size), round(np.sqrt(other.area) / 2))
        for i, part in enumerate(parts):
            lost = part.area - sum(others[k].area for h, k in pairs if h == i)
            if lost > LOST_AS_MUCH * other.area and (near & part.whole(size)).any():
                found.add((i, j))
    return found


def _link_jumps(
    parts: Sequence[Part], others: Sequence[Part], pairs: set[tuple[int, int]], size: tuple[int, int]
) -> set[tuple[int, int]]:
    """Pairs of what is gone without a trace and what comes from nowhere, of one size, each the nearest of the other.

    Why: optical flow does not follow what goes by more than its own length in a frame, as a fish that darts.
    """
    ends = {i for i, _ in pairs}, {j for _, j in pairs}
    gone, come = (
        [k for k, one in enumerate(side) if k not in linked and not one.touches_border(size)]
        for side, linked in zip((parts, others), ends)
    )
    if not gone or not come:
        return set()
    area, other = np.array([[parts[i].area] for i in gone]), np.array([others[j].area for j in come])
    centre, other_centre = np.array([[parts[i].centre] for i in gone]), np.array([others[j].centre for j in come])
    far = np.linalg.norm(centre - other_centre, axis=-1)
    alike = np.minimum(area, other) > ONE_SIZE * np.maximum(area, other)
    far[~alike | (far > JUMP * np.sqrt(area))] = np.inf
    nearest = {(i, int(far[i].argmin())) for i in range(len(gone))} & {
        (int(far[:, j].argmin()), j) for j in range(len(come))
    }
    return {(gone[i], come[j]) for i, j in nearest if np.isfinite(far[i, j])}


def _read(mask: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A mask [h, w] read at places [h, w, 2] (x, y) in pixels."""
    return cv2.remap(mask.astype(np.uint8), places[..., 0], places[..., 1], cv2.INTER_NEAREST) > 0


def _chain(parts: Sequence[Sequence[Part]], links: Sequence[set[tuple[int, int]]]) -> list[Tracklet]:
    """Tracklets of the parts that are linked one to one, and which of them go over into which."""
    ahead, back = defaultdict(list), defaultdict(list)
    for frame, pairs in enumerate(links):
        for i, j in sorted(pairs):
            ahead[frame, i].append((frame + 1, j))
            back[frame + 1, j].append((frame, i))
    tracklets: list[Tracklet] = []
    owner: dict[tuple[int, int], int] = {}
    for frame, found in enumerate(parts):
        for i, part in enumerate(found):
            former = back[frame, i]
            if len(former) == 1 and len(ahead[former[0]]) == 1:
                owner[frame, i] = owner[former[0]]
                tracklets[owner[frame, i]].parts.append(part)
            else:
                owner[frame, i] = len(tracklets)
                tracklets.append(Tracklet(parts=[part], before=set(), after=set()))
    for node, following in ahead.items():
        for other in following:
            if owner[node] != owner[other]:
                tracklets[owner[node]].after.add(owner[other])
                tracklets[owner[other]].before.add(owner[node])
    return tracklets


def _count_characters(tracklets: Sequence[Tracklet], frames: int) -> None:
    """Count the characters in each tracklet: at least as many as in all that become it, or that it becomes.

    What falls into pieces that all are gone in a moment is one that leaves the frame, or comes into it.
    """
    fragment = lambda piece, side: (
        not getattr(piece, side)
        and len(piece.parts) < MOMENT
        and (piece.last.frame < frames - 1 if side == "after" else piece.first.frame > 0)
    )
    changed = True
    while changed:
        changed = False
        for tracklet in tracklets:
            for side, back in (("before", "after"), ("after", "before")):
                others = [tracklets[k] for k in getattr(tracklet, side)]
                if all(fragment(other, side) for other in others):
                    continue
                only_here = [
                    other
                    for other in others
                    if other.significant
                    and sum(tracklets[k].significant or tracklets[k] is tracklet for k in getattr(other, back)) == 1
                ]
                count = sum(other.characters for other in only_here)
                if count > tracklet.characters:
                    tracklet.characters, changed = count, True
