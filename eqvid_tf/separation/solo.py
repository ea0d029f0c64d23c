"""A clip of several characters as clips of one each: in each the background hides the others, and what is restless."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from eqvid_tf.camera.light import Light
from eqvid_tf.camera.stabilization import StabilizedClip
from eqvid_tf.camera.staying import Occupied
from eqvid_tf.data.clips import Clip, Indices
from eqvid_tf.pixels.canvas import canvas_for, fit, fit_box, unfit
from eqvid_tf.pixels.colours import largest_difference
from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.morphology import dilate, fill_holes, label
from eqvid_tf.pixels.resampling import resize
from eqvid_tf.separation.background import (
    ClipSizeCoverage,
    affordable_frames,
    background_noise,
    is_filmed,
    median_background,
)
from eqvid_tf.separation.levelling import level_switched
from eqvid_tf.separation.masks import difference_coverage, network_background, network_coverage, network_pictures
from eqvid_tf.separation.motions import motion_from_canvas
from eqvid_tf.separation.on_the_spot import ALWAYS, find_on_the_spot
from eqvid_tf.separation.plain import body_hues, nearest_hues
from eqvid_tf.separation.rest import first_background
from eqvid_tf.tracking.characters import Owners, find_characters

if TYPE_CHECKING:
    from eqvid_tf.core.model import EquivariantVideoModel

VERSION = 8  # of what is remembered of a clip; raise it whenever the same frames would give other characters
FEWEST_FRAMES = 8  # of a clip in which a body on the spot is looked for
SIDES = 128, 256, 512  # pixels: shorter side of the canvas on which characters are told apart; larger where they ...
MOST_PIXELS = 2**27  # ... are too small, as far as all frames of the clip are no more pixels
MOSTLY = 0.5  # of what moves must be found characters' on a larger canvas: leaves are in pieces of any size
BEYOND = 2  # pixels of that canvas beyond its mask by which another character is hidden
CLEARLY, FAINTLY = 22, 12  # grey levels of difference: of what moves, and of its rim
USUAL = 60  # percentile over the frames of a place's difference, that is usual there ...
NOISIEST, BESIDES = 40, 8  # ... at most so many grey levels; twice it and so many more is moving
CALM, CALM_RATIO = 10, 6  # percentile, and how much larger the usual one is of noise: a body that stays has more
SEEDED = 0.25  # share of a region that moves by the usual difference; the rest moves by the calm one
RESTLESS, MANY = 0.003, 0.25  # share of the pixels that move and are no character's, in a share of the frames
SHADED = 0.06  # share of what differs from plain ground and is no body: more are shadows, less are greys of the bodies
TOUCHED = 0.002  # share of a pixel of the networks' canvas that is hidden, from which all of it is
PART_OF = 0.25  # mean share of a character in a body that is left over, from which it is a part of it
FRINGE = 3  # pixels of that canvas around a character in which what moves may be its own


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrackedClip:
    """A clip whose characters are told apart.

    Attributes:
        clip: stabilized.
        owners: whose each pixel is, on `canvas`.
        moving: what differs from the background, bool [T, h, w] on `canvas`.
        canvas: (height, width).
        background: float32 [H, W, 3] in [0, 255], at the clip's own size; on `canvas` where there is nothing to hide.
        plain: whether the ground is plain and has shadows on it: what is no character's is one.
        shown: where the frames alone would have a body for background, uint8 [h, w] on `canvas`; see `OnTheSpot`.
    """

    clip: StabilizedClip
    owners: Owners
    moving: np.ndarray
    canvas: tuple[int, int]
    background: np.ndarray
    plain: bool = False
    shown: np.ndarray | None = None

    def mask(self, number: int, index: int) -> np.ndarray:
        """The visible coverage of a character in a frame at the clip's own size, float32 [H, W] in [0, 1]."""
        return self.to_clip_size(self.owners.owner[index] == number + 1) / np.float32(255)

    def usual_area(self, number: int) -> float:
        """The share of a frame that a character covers, in the median of the frames in which it was tracked."""
        areas = self.owners.mask(number).mean((1, 2))
        return float(np.median(areas[areas > 0])) if areas.any() else 0.0

    def solos(self) -> list[StabilizedClip]:
        """A clip for each character, by number, in which it is alone; the clip itself where it is so already."""
        if not self.hides:
            return [self.clip]
        return [SoloClip(self, number) for number in self.owners.numbers]

    @property
    def hides(self) -> bool:
        """Whether there is anything to hide from a character: another, restless background, parallax, or itself.

        Itself, where the background of the frames alone would be a picture of it.
        """
        alone = self.owners.count > 0 and (self.clip.travels or self.plain or self.shown is not None)
        return alone or self.owners.count > 1 or _is_restless(self.moving, self.owners)

    def others(self, number: int, index: int, size: tuple[int, int] | None = None, least: float = 0.5) -> np.ndarray:
        """Where a frame shows what is not this character's, bool [H, W] at the clip's own size, or another.

        Where the camera travels that is all but the character and its fringe: parallax differs from the mosaic, too.
        On plain ground it is all but the character and a pixel: its shadow.

        Args:
            number: of the character.
            index: of the frame.
            size: at which the clip is seen.
            least: share of a pixel from which it shows something else.
        """
        owner = self.owners.owner[index]
        own = owner == number + 1
        hidden = dilate((owner > 0) & ~own, BEYOND) & ~own
        other = ~own if self.clip.travels or self.plain else self.moving[index] & (owner == 0)
        return self.to_clip_size(hidden | (other & ~dilate(own, 1 if self.plain else FRINGE)), size) > 255 * least

    def near(self, number: int, index: int) -> np.ndarray:
        """Where a frame may show this character: its mask and its fringe, bool [H, W] at the clip's own size."""
        return self.to_clip_size(dilate(self.owners.owner[index] == number + 1, FRINGE)) > 127

    def restless(self, index: int) -> np.ndarray:
        """Where a frame shows what is restless, and no character's, bool [H, W] at the clip's own size."""
        owner = self.owners.owner[index]
        found = dilate(_unowned(self.moving[index], owner), BEYOND)
        return self.to_clip_size(found & ~dilate(owner > 0, BEYOND)) > 127

    def occupied(self, canvas: tuple[int, int]) -> Occupied | None:
        """Where a body that stays hides the background, fitted on a canvas, see `StabilizedClip.occupied`."""
        if self.shown is None:
            return self.clip.occupied(canvas)
        fitted = lambda mask: fit(self.to_clip_size(mask), canvas) > 127
        shows = np.broadcast_to(fitted(self.shown == ALWAYS), (self.clip.count, *canvas))
        background = fit(self.picture, canvas).astype(np.float32)
        return Occupied(background=background, mostly=fitted(self.shown > 0), shows=shows)

    @functools.cached_property
    def picture(self) -> np.ndarray:
        """The background as a frame, uint8 [H, W, 3]."""
        return self.background.round().astype(np.uint8)

    def to_clip_size(self, mask: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
        """A mask of the canvas at the clip's own size, or as that is seen at another: uint8 [H, W]."""
        size = size or self.clip.size
        if not mask.any():
            return np.zeros(size, np.uint8)
        box = fit_box(self.clip.size, self.canvas)
        return resize(255 * mask[box_slices(box)].astype(np.uint8), size, "bicubic" if size[0] > box[2] else "lanczos")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Moving:
    """What moves in a clip, on the canvas.

    Attributes:
        background: float32 [h, w, 3] in [0, 255].
        mask: bool [T, h, w].
        hues: of it, uint8 [T, h, w], see `eqvid_tf.separation.plain`; None where the ground is not plain.
        shaded: whether shadows differ from the background, too; else all that differs moves.
        shown: where the frames alone would have a body for background, uint8 [h, w], see `OnTheSpot`; or None.
    """

    background: np.ndarray
    mask: np.ndarray
    hues: np.ndarray | None
    shaded: bool
    shown: np.ndarray | None = None


class SoloClip(StabilizedClip):
    """A clip in which one character is alone: where others or restless things are, its frames show the background.

    Args:
        tracked: the clip.
        number: of the character.
    """

    def __init__(self, tracked: TrackedClip, number: int):
        super().__init__(tracked.clip.filmed, tracked.clip.camera, tracked.clip.view)
        self.tracked, self.number = tracked, number
        self.filmed = _FilmedSolo(self)

    def resized(self, size: tuple[int, int], indices: Indices | None = None) -> Iterator[np.ndarray]:
        """The frames, or those of rising indices, brought to another size (height, width), one at a time."""
        indices = range(self.count) if indices is None else indices
        frames = zip(indices, self.tracked.clip.native(indices))
        alone = (self.alone(frame, index) for index, frame in frames)
        return (_resize(frame, size) for frame in alone)

    def smaller(self, size: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
        """All frames at `small_size`, or a smaller one; they are decoded once for all characters."""
        size, frames = size or self.small_size, enumerate(self.tracked.clip.smaller(size))
        behind, hidden = _resize(self.tracked.picture, size), functools.partial(self.tracked.others, self.number)
        return (_covered(frame, hidden(index, size), behind) for index, frame in frames)

    def sampled(self, indices: Indices) -> Iterator[np.ndarray]:
        """As `native` of a few frames, which are decoded once for all characters."""
        return (self.alone(frame, int(k)) for k, frame in zip(indices, self.tracked.clip.sampled(indices)))

    def at(self, index: int) -> np.ndarray:
        """One frame at the clip's own size, uint8 RGB [H, W, 3]; a negative index counts from the end."""
        return self.alone(self.tracked.clip.at(index), index)

    def arrays(self, canvas: tuple[int, int]) -> np.ndarray:
        """All frames fitted on `canvas`, uint8 [count, *canvas, 3]."""
        background = fit(self.tracked.picture, canvas)
        return np.where(self.hidden_arrays(canvas)[..., None], background, self.tracked.clip.arrays(canvas))

    @property
    def plain(self) -> bool:
        """That of the tracked clip."""
        return self.tracked.plain

    @property
    def tracked_motion(self) -> np.ndarray:
        """Motions [count - 1, 2, 3] in meetings, where another may hide a part of the character; elsewhere nan."""
        return motion_from_canvas(self.tracked.owners.motions[self.number], self.size, self.tracked.canvas)

    @property
    def has_motion(self) -> bool:
        """Whether the clip has a motion.json."""
        return self.tracked.clip.has_motion

    def motion(self, number: int | None = None) -> np.ndarray:
        """The motion of every step that the scene gives of this character, [count - 1, 2, 3]."""
        return self.tracked.clip.motion(self.number if number is None else number)

    @property
    def light(self) -> Light | None:  # type: ignore[override]
        """That of the tracked clip."""
        return self.tracked.clip.light

    @property
    def noise(self) -> float:  # type: ignore[override]
        """That of the tracked clip."""
        return self.tracked.clip.noise

    def hidden(self, index: int) -> np.ndarray:
        """Where other characters are, bool [H, W]."""
        return self.tracked.others(self.number, index)

    def hidden_arrays(self, canvas: tuple[int, int]) -> np.ndarray:
        """As `hidden`, of all frames fitted on `canvas`: bool [count, *canvas]."""
        box, hidden = fit_box(self.size, canvas), np.zeros((self.count, *canvas), bool)
        for index, one in enumerate(hidden):
            one[box_slices(box)] = self.tracked.others(self.number, index, box[2:], TOUCHED)
        return hidden

    def occupied(self, canvas: tuple[int, int]) -> Occupied | None:
        """As of the tracked clip; this character is shown where its mask is."""
        found = self.tracked.occupied(canvas)
        if found is None:
            return None
        return dataclasses.replace(found, shows=found.shows & (self.tracked_coverage(canvas) > 0.5))

    def tracked_coverage(self, canvas: tuple[int, int]) -> np.ndarray:
        """Masks of the character as it was tracked, fitted on a canvas: float32 [count, *canvas], 0 or 1."""
        masks = (255 * (self.tracked.mask(self.number, index) > 0.5).astype(np.uint8) for index in range(self.count))
        return np.stack([fit(mask, canvas) > 127 for mask in masks]).astype(np.float32)

    def alone(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame of the stabilized clip with the background where other characters are."""
        return _covered(frame, self.tracked.others(self.number, index), self.tracked.picture)

    @functools.cached_property
    def usual_area(self) -> float:
        """The share of a frame that the character covers, in the median of the frames in which it was tracked."""
        return self.tracked.usual_area(self.number)

    def near_as_filmed(self, index: int) -> np.ndarray:
        """Where a frame as filmed may show the character, bool [H, W]."""
        return self.tracked.clip.mask_as_filmed(self.tracked.near(self.number, index), index)

    def filmed_alone(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame as filmed, with the background where other characters are."""
        stable = self.tracked.clip
        if not stable.moves:
            return self.alone(frame, index)
        hidden = stable.mask_as_filmed(self.tracked.others(self.number, index), index)
        background = stable.colours_as_filmed(self.tracked.background, index).round()
        return _covered(frame, hidden, background.astype(np.uint8))


class _FilmedSolo(Clip):
    """A solo clip as it was filmed."""

    def __init__(self, solo: SoloClip):
        self.solo, self.clip = solo, solo.tracked.clip.filmed
        self.path, self.name, self.size = self.clip.path, self.clip.name, self.clip.size
        self.fps, self.count = self.clip.fps, self.clip.count

    def resized(self, size: tuple[int, int], indices: Indices | None = None) -> Iterator[np.ndarray]:
        indices = range(self.count) if indices is None else indices
        frames = zip(indices, self.clip.native(indices))
        return (_resize(self.solo.filmed_alone(frame, index), size) for index, frame in frames)

    def sampled(self, indices: Indices) -> Iterator[np.ndarray]:
        return (self.solo.filmed_alone(frame, int(k)) for k, frame in zip(indices, self.clip.sampled(indices)))

    def at(self, index: int) -> np.ndarray:
        return self.solo.filmed_alone(self.clip.at(index), index % self.count)

    def noted(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return self.clip.noted(name, make)

    @property
    def has_motion(self) -> bool:
        return False


def track(clip: StabilizedClip, most: int | None = None) -> TrackedClip:
    """Tell apart the characters of a clip.

    Args:
        clip: stabilized.
        most: characters, the largest; None: as many as there are.
    """
    apart = tell_apart(clip)
    found = apart.moving
    tracked = TrackedClip(
        clip=clip,
        owners=apart.owners.largest(most),
        moving=found.mask,
        canvas=apart.canvas,
        background=found.background,
        plain=found.shaded,
        shown=found.shown,
    )
    if not tracked.hides:
        return tracked
    whole = clip.mosaic if clip.travels else _clip_background(clip, found, apart.canvas)
    return dataclasses.replace(tracked, background=whole)


def track_in_layers(clip: StabilizedClip, model: EquivariantVideoModel, names: Mapping[int, int]) -> TrackedClip | None:
    """Tell apart the characters of a clip in what a model's networks make of its frames: their masks, as g draws them.

    Why: the networks see a frame at a time; which of two twins is which only the frames before it tell.

    Args:
        clip: stabilized.
        model: a trained model.
        names: of its characters: the number of each -> that of its name.

    Returns:
        The clip with its characters by these numbers; None where fewer are found than have a name.
    """
    canvas = model.config.canvas
    frames = clip.arrays(canvas)
    moving = network_coverage(model, frames) > 0.5
    owners = find_characters(network_pictures(model, frames), moving)
    if owners.count < len(names):
        return None
    shares = {number: network_coverage(model, frames, name=name) for number, name in names.items()}
    background = unfit(network_background(model, frames), clip.size, canvas)
    owners = _as_named(owners, shares)
    return TrackedClip(clip=clip, owners=owners, moving=moving, canvas=canvas, background=background)


def _as_named(owners: Owners, shares: Mapping[int, np.ndarray]) -> Owners:
    """Owners with the numbers of those whose share [T, h, w] of their pixels is largest.

    What is left over is a part of someone, or nobody's where no one has a share in it, as of a character that was
    dropped.
    """
    numbers = list(shares)
    claims = np.array([[shares[number][owners.mask(k)].mean() for k in range(owners.count)] for number in numbers])
    found: dict[int, int] = {}
    for place, k in zip(*np.unravel_index(np.argsort(-claims, axis=None), claims.shape)):
        if int(k) not in found and numbers[place] not in found.values():
            found[int(k)] = numbers[place]
    motions = np.full((max(numbers) + 1, *owners.motions.shape[1:]), np.nan)
    motions[list(found.values())] = owners.motions[list(found)]
    part_of = lambda k: numbers[int(claims[:, k].argmax())] if claims[:, k].max() > PART_OF else -1
    table = np.array([0, *(found.get(k, part_of(k)) + 1 for k in range(owners.count))], np.uint8)
    return Owners(owner=table[owners.owner], count=len(motions), motions=motions)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Apart:
    """What moves in a clip, and whose it is: on a canvas (height, width)."""

    canvas: tuple[int, int]
    moving: Moving
    owners: Owners


def tell_apart(clip: StabilizedClip, step: int = 1) -> Apart:
    """Tell apart the characters in every step-th frame of a clip, on a larger canvas where they are too small.

    Why not on the largest at once: it takes sixteen times as long, and a body is told better by few pixels.
    """
    first: Apart | None = None
    for side in SIDES:
        canvas = canvas_for(clip.size, min(side, *clip.size))
        if first and (min(canvas) <= min(first.canvas) or clip.count * canvas[0] * canvas[1] > MOST_PIXELS):
            break
        frames = level_switched(clip.arrays(canvas)[::step])
        moving = kept_moving(clip, frames)
        owners = kept_characters(clip, frames, moving)
        apart = Apart(canvas=canvas, moving=moving, owners=owners)
        owned, moves = np.count_nonzero(owners.owner), np.count_nonzero(moving.mask)
        if owners.count and (first is None or owned > MOSTLY * moves):
            return apart
        first = first or apart
    assert first is not None
    return first


def find_moving(clip: StabilizedClip, frames: np.ndarray) -> Moving:
    """What moves in a clip: what differs from its background, on plain ground what is no shadow, by hue.

    Shapes: frames uint8 [T, h, w, 3], of the clip or of every step-th frame of it.
    """
    background = tracking_background(clip, frames)
    hues, differs = None if clip.travels else body_hues(frames, background), moving_pixels(clip, frames, background)
    if hues is None:
        found = find_on_the_spot(frames, background, differs) if _may_stay(clip, frames, background) else None
        if found is None:
            return Moving(background=background, mask=differs, hues=None, shaded=False)
        return Moving(background=found.background, mask=found.moving, hues=None, shaded=False, shown=found.shown)
    shaded = bool(np.count_nonzero(differs & (hues == 0)) > SHADED * np.count_nonzero(differs))
    hues = hues if shaded else nearest_hues(hues, differs)
    return Moving(background=background, mask=hues > 0, hues=hues, shaded=shaded)


def _may_stay(clip: StabilizedClip, frames: np.ndarray, background: np.ndarray) -> bool:
    """Whether a body on the spot is looked for: in filmed clips, where the camera's mosaic does not tell it."""
    if clip.travels or len(frames) < FEWEST_FRAMES or clip.occupied((frames.shape[1], frames.shape[2])):
        return False
    return is_filmed(clip, background_noise(frames, background, least=clip.noise))


def kept_moving(clip: StabilizedClip, frames: np.ndarray) -> Moving:
    """What moves in a clip, see `find_moving`, remembered as long as its decoded frames are."""
    found = functools.cache(lambda: find_moving(clip, frames))
    size, name = frames.shape[1:3], f"moving{VERSION}-{_digest(frames)}"
    facts = lambda one: {"hued": one.hues is not None, "shaded": one.shaded, "shown": one.shown is not None}
    note = clip.noted(name, lambda: facts(found()))
    kept = lambda what, shape, made: clip.filmed.cached(f"{what}-{name}", shape, lambda: iter(made()))
    background = kept("ground", (1, *size, 12), lambda: found().background.astype(np.float32)[None].view(np.uint8))
    marks = kept("marks", (len(frames), *size), lambda: found().mask if found().hues is None else found().hues)
    shown = kept("shown", (1, *size), lambda: [found().shown])[0] if note["shown"] else None
    mask, hues = marks > 0, np.asarray(marks) if note["hued"] else None
    background = background[0].view(np.float32)
    return Moving(background=background, mask=mask, hues=hues, shaded=note["shaded"], shown=shown)


def _digest(*arrays: np.ndarray) -> str:
    """A name for what is made from arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def kept_characters(clip: StabilizedClip, frames: np.ndarray, moving: Moving) -> Owners:
    """The characters of a clip, remembered as long as its decoded frames are: they may take minutes to find.

    Shapes: frames as in `find_moving`.
    """
    side = max(SIDES[0], min(moving.mask.shape[1:]))
    finest = (SIDES[0] / side) ** 2  # what is noise is so many pixels, on any canvas
    found = functools.cache(lambda: find_characters(frames, moving.mask, moving.hues, finest))
    name = f"characters{VERSION}-{_digest(frames, moving.mask if moving.hues is None else moving.hues)}"
    note = clip.noted(name, lambda: {"count": found().count, "motions": found().motions.tolist()})
    owner = clip.filmed.cached(name, moving.mask.shape, lambda: iter(found().owner))
    motions = np.reshape(note["motions"], (note["count"], len(frames) - 1, 2, 3))
    return Owners(owner=owner, count=note["count"], motions=motions)


def _covered(frame: np.ndarray, hidden: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A frame with the background where something is hidden [H, W], uint8 [H, W, 3]: most often it is little of it."""
    box = bounding_box(hidden)
    if box is None:
        return frame
    part, shown = box_slices(box), frame.copy()
    np.copyto(shown[part], background[part], where=hidden[part][..., None])
    return shown


def _is_restless(moving: np.ndarray, owners: Owners) -> bool:
    """Whether in many frames more than specks move that are no character's and away from any."""
    restless = _unowned(moving, owners.owner)
    return bool(owners.count and np.mean(restless.mean((1, 2)) > RESTLESS) > MANY)


def _unowned(moving: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """What moves, is no character's, and lies away from any: bool, [h, w] or [T, h, w]."""
    return moving & (owner == 0) & ~dilate(owner > 0, FRINGE)


def tracking_background(clip: StabilizedClip, frames: np.ndarray) -> np.ndarray:
    """The background that characters are told apart before, float32 [h, w, 3]: where the camera travels the mosaic.

    Why: a median of frames laid on a mosaic has in it whom the camera goes along with.
    """
    canvas = frames.shape[1], frames.shape[2]
    if clip.travels:
        return fit(clip.mosaic, canvas).astype(np.float32)
    occupied = clip.occupied(canvas)
    return occupied.in_place_of(first_background(frames)) if occupied else first_background(frames)


def moving_pixels(clip: StabilizedClip, frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """What differs from the background, bool [T, h, w]; of filmed clips by more than compression and tremor explain.

    Where a body stays, what is usual is the body: all that differs counts, and what no frame shows without it does.

    Shapes: frames uint8 [T, h, w, 3] of the clip, background [h, w, 3] in [0, 255].
    """
    noise = background_noise(frames, background, least=clip.noise)
    occupied = clip.occupied((frames.shape[1], frames.shape[2]))
    always = occupied.always if occupied else np.zeros(background.shape[:2], bool)
    if not is_filmed(clip, noise):
        return (difference_coverage(frames, background, noise) > 0.5) | always
    low, high = (cv2.morphologyEx(background, way, np.ones((3, 3))) for way in (cv2.MORPH_ERODE, cv2.MORPH_DILATE))
    differs = np.stack([np.maximum(low - frame, frame - high).max(-1) for frame in frames])
    usual = np.minimum(np.percentile(differs, USUAL, axis=0), NOISIEST).astype(np.float32)
    least = np.minimum(usual, CALM_RATIO * cv2.medianBlur(np.percentile(differs, CALM, axis=0).astype(np.float32), 5))
    if occupied:
        differs = np.where(occupied.mostly, largest_difference(frames, background), differs)
        usual, least = (np.where(occupied.mostly, 0, noise) for noise in (usual, least))
    seeds, masks = (np.stack([_solid(one, _threshold(noise)) for one in differs]) for noise in (usual, least))
    return np.stack([_seeded(mask | always, seed | always) for mask, seed in zip(masks, seeds)])


def _threshold(noise: np.ndarray) -> np.ndarray:
    """Grey levels [h, w] of difference from which a place moves, by its noise."""
    return np.maximum(CLEARLY, 2 * noise + BESIDES)


def _seeded(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The regions of a mask [h, w] that seeds cover for a good part."""
    labels = label(mask)
    share = np.bincount(labels.ravel(), seeds.ravel()) / np.bincount(labels.ravel())
    share[0] = 0
    return (share > SEEDED)[labels] | seeds


def _solid(differs: np.ndarray, least: np.ndarray) -> np.ndarray:
    """The regions [h, w] that differ by more than the least in more than lines and specks, without holes."""
    square = np.ones((3, 3), np.uint8)
    seeds = cv2.morphologyEx((differs > least).astype(np.uint8), cv2.MORPH_OPEN, square)
    solid = cv2.dilate(seeds, square) & (differs > FAINTLY).astype(np.uint8)
    return fill_holes(cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0)


def _clip_background(clip: StabilizedClip, found: Moving, canvas: tuple[int, int]) -> np.ndarray:
    """The background at the clip's own size: a median, and the first one where something always moves."""
    chosen = affordable_frames(clip.count, clip.size)
    moving = found.mask[chosen] if found.shown is None else found.mask[chosen] | (found.shown == ALWAYS)
    frames, moving = np.stack(list(clip.sampled(chosen))), dilate(moving, 1).astype(np.float32)
    picture = median_background(frames, ClipSizeCoverage(coverage=moving, size=clip.size))
    always, first = (unfit(a, clip.size, canvas) for a in (moving.min(0), found.background))
    return np.where((always > 0.5)[..., None], first, picture)


def _resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if frame.shape[:2] == tuple(size):
        return frame
    shrinks = size[0] < frame.shape[0]
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
