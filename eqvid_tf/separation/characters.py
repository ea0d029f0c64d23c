"""The characters of a clip at its own size: which there are, where, and the layers of each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from eqvid_tf.camera.stabilization import StabilizedClip, stabilize
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip
from eqvid_tf.parallel import in_threads, trim_heaps
from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.inpainting import inpaint
from eqvid_tf.pixels.morphology import label
from eqvid_tf.progress import no_progress
from eqvid_tf.separation.background import evenly_spaced
from eqvid_tf.separation.cast import Cast, CastEntry, default_name
from eqvid_tf.separation.corrections import Correction
from eqvid_tf.separation.cutout import uncover, without_scraps
from eqvid_tf.separation.layers import PROBES, ClipLayers
from eqvid_tf.separation.masks import unit_frames
from eqvid_tf.separation.sightings import SHOWS
from eqvid_tf.separation.solo import SoloClip, track, track_in_layers

Result = TypeVar("Result")
FEWEST_FRAMES = 3  # of a clip in which characters can be told apart
SPECKS = 0.1  # share of what a character usually covers: what is less where it was not tracked is none of it
NEAR = 0.05  # of the frame's height: how far a point may be from the character that it means


class NoSuchCharacter(ValueError):
    """A point that shows no character, or a number or name that is not there: one line."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SeenFrame:
    """A frame as filmed, and who is in it.

    Attributes:
        index: of the frame.
        frame: uint8 [H, W, 3].
        alone: the frame with each character alone, by number.
        cut_outs: what it shows of each, premultiplied RGBA [H, W, 4].
    """

    index: int
    frame: np.ndarray
    alone: dict[int, np.ndarray]
    cut_outs: dict[int, np.ndarray]


class ClipCharacters:
    """The layers of each character of a clip, numbered from 0, the one that covers most.

    Each has a clip of its own, in which it is alone (see `eqvid_tf.separation.solo`), and the layers of that.

    Attributes:
        layers: by number. A number that the cast joins to another, or drops, is left out.
        names: by number.

    Args:
        model: a trained model.
        clip: an open clip.
        network_only: see `ClipLayers`.
        cast: of the model: the names of its characters, and which are joined or dropped. A clip that it does not
            list has as many characters as are found, with default names.
        progress: see `ClipLayers`.

    Raises:
        CameraTravels: the clip has no one background.
    """

    def __init__(
        self,
        model: EquivariantVideoModel,
        clip: Clip,
        *,
        network_only: bool = False,
        cast: Cast | None = None,
        progress: Callable = no_progress,
    ):
        self.clip, self.progress = stabilize(clip, progress, mosaic=model.config.mosaic), progress
        entries = _entries(cast or Cast(), self.clip.filmed)
        if network_only and model.identity:
            self.layers = _network_layers(model, self.clip, progress)
        else:
            apart = model.T.learned or len(clip.given_characters) > 1
            told = apart and (len(entries) != 1 or self.clip.travels) and clip.count >= FEWEST_FRAMES
            solos = _solos(self.clip, entries) if told else {0: self.clip}
            painted = {} if network_only else _corrections(cast or Cast(), self.clip.filmed, solos)
            options: dict[str, Any] = {"network_only": network_only, "progress": progress}
            self.layers = {
                number: ClipLayers(model, solo, corrections=painted.get(number, ()), **options)
                for number, solo in solos.items()
            }
        given = {entry.number: entry.name for entry in entries}
        self.names = {number: given.get(number, default_name(clip.name, number)) for number in self.layers}
        self._cut_outs: dict[int, dict[int, np.ndarray]] = {}  # of the last frame that was asked for

    @property
    def first(self) -> ClipLayers:
        """The layers of the character with the lowest number."""
        return self.layers[min(self.layers)]

    @functools.cached_property
    def background(self) -> np.ndarray:
        """The background without any character, float32 [H, W, 3] in [0, 255]."""
        others = self._residuals & ~self.first.residual
        return inpaint(self.first.background, others) if others.any() else self.first.background

    def background_as_filmed(self, index: int) -> np.ndarray:
        """The background as a frame shows it that was filmed, float32 [H, W, 3] in [0, 255]."""
        return self.first.clip.colours_as_filmed(self.first.exposure.apply(self.background, index), index)

    @functools.cached_property
    def _residuals(self) -> np.ndarray:
        """Where the frames tell a character itself for the background, bool [H, W]."""
        return np.any([layers.residual for layers in self.layers.values()], 0)

    @property
    def unseen(self) -> np.ndarray:
        """What no frame shows of the background, not even through a character: bool [H, W], filled in from around."""
        hidden = [layers.to_clip_size(layers.hidden.astype(np.float32)) > 0.5 for layers in self.layers.values()]
        measured = self.first.background != self.first.visible_background.picture
        return (np.any(hidden, 0) & ~measured.any(-1)) | self._residuals

    def number(self, who: int | str) -> int:
        """The number of a character that is given by its name, or by its number, as text or not.

        Raises:
            NoSuchCharacter: the clip has none of that name or number.
        """
        fits = [number for number, name in self.names.items() if str(who) in (name, str(number))]
        if not fits:
            there = ", ".join(f"{number} ({name})" for number, name in self.names.items())
            raise NoSuchCharacter(f"{self.clip.name} has no character {who}; it has {there}")
        return fits[0]

    def numbered(self, who: int | str | None) -> ClipLayers:
        """The layers of a character, given by name or number; of the first where none is given.

        Raises:
            NoSuchCharacter: the clip has none of that name or number.
        """
        return self.first if who is None else self.layers[self.number(who)]

    def keep(self, who: int | str) -> None:
        """Forget all characters but one, which keeps its number."""
        number = self.number(who)
        self.layers, self.names = {number: self.layers[number]}, {number: self.names[number]}

    def cut_outs(self, index: int) -> dict[int, np.ndarray]:
        """What a frame as filmed shows of each character, by number: premultiplied RGBA [H, W, 4]."""
        if index not in self._cut_outs:
            alone = {number: layers.filmed.at(index) for number, layers in self.layers.items()}
            self._cut_outs = {index: self._cut(alone, index)}
        return self._cut_outs[index]

    def all_cut_outs(self) -> Iterator[dict[int, np.ndarray]]:
        """`cut_outs` of every frame in turn."""
        return self.each_frame(lambda seen: seen.cut_outs)

    def each_frame(self, work: Callable[[SeenFrame], Result]) -> Iterator[Result]:
        """What `work` makes of every frame in turn, on all cores: it is called in threads."""

        def seen(numbered: tuple[int, np.ndarray]) -> Result:
            index, frame = numbered
            alone = self._alone(frame, index)
            return work(SeenFrame(index=index, frame=frame, alone=alone, cut_outs=self._cut(alone, index)))

        for layers in self.layers.values():
            layers.prepare()
        _ = self.background
        self.clip.filmed.forget_sampled()
        trim_heaps()
        frames = self.progress(self.clip.filmed.native(), "cutting it out", self.clip.count)
        return in_threads(seen, enumerate(frames))

    def _alone(self, frame: np.ndarray, index: int) -> dict[int, np.ndarray]:
        """A frame as filmed with each character alone, by number."""
        return {number: layers.clip.filmed_alone(frame, index) for number, layers in self.layers.items()}

    def _cut(self, alone: Mapping[int, np.ndarray], index: int) -> dict[int, np.ndarray]:
        """The cut-outs of a frame, from that frame with each character alone."""
        found = {number: self.layers[number].layer_as_filmed(index, frame) for number, frame in alone.items()}
        solos = {number: layers.clip for number, layers in self.layers.items() if isinstance(layers.clip, SoloClip)}
        near = {number: solo.near_as_filmed(index) for number, solo in solos.items() if number in found}
        for number, place in near.items():
            found[number][_specks(found[number], place, SPECKS * solos[number].usual_area)] = 0
        return self._each_once(found, near)

    @staticmethod
    def _each_once(cut_outs: dict[int, np.ndarray], near: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """The cut-outs of a frame without what several claim, but for those it was tracked as, or near to.

        Why: each is found in frames in which it is alone, and all of them hold what moves at times and is nobody's.
        """
        if not 1 < len(cut_outs) == len(near):
            return cut_outs
        claimed = np.sum([layer[..., 3] > SHOWS for layer in cut_outs.values()], 0) > 1
        if (box := bounding_box(claimed)) is None:
            return cut_outs
        part = box_slices(box)
        for number, layer in cut_outs.items():
            layer[part][claimed[part] & ~near[number][part]] = 0
        return cut_outs

    def taken_out(
        self, index: int, cut_outs: Mapping[int, np.ndarray], alone: Mapping[int, np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """What goes from a frame as filmed with some characters: premultiplied RGBA [H, W, 4].

        Args:
            index: of the frame.
            cut_outs: of those characters, by number.
            alone: the frame with each of them alone; None: it is read.
        """
        frame = lambda number: self.layers[number].filmed.at(index) if alone is None else alone[number]
        parts = (self.layers[number].taken_out(index, frame(number), layer) for number, layer in cut_outs.items())
        return [layer for part in parts for layer in part]

    def uncovered(
        self, index: int, frame: np.ndarray, layers: Sequence[np.ndarray], behind: np.ndarray, gone: Collection[int]
    ) -> np.ndarray:
        """A frame as filmed without what is taken out of it, uint8 [H, W, 3]; of a filmed clip without scraps of it.

        Args:
            index: of the frame.
            frame: its pixels.
            layers: what is taken out, see `taken_out`.
            behind: what is seen there instead.
            gone: the numbers of the characters that are taken out.
        """
        picture = uncover(frame, layers, behind)
        if not layers or self.first.seeds is None:
            return picture
        kept = np.zeros(frame.shape[:2], bool)
        for number, other in self.layers.items():
            if number not in gone and isinstance(other.clip, SoloClip):
                kept |= other.clip.near_as_filmed(index)
        taken = np.max([layer[..., 3] for layer in layers], 0) > SHOWS
        return without_scraps(picture, behind, taken, kept)

    def plate(self, index: int) -> np.ndarray:
        """The background alone as a frame as filmed sees it, uint8 [H, W, 3], restless parts included.

        Where the camera travels it is the frame but for what a character hides, as a mosaic is less sharp. Where masks
        mean nothing, as the model never saw the background, or frames may not be used, it is the background of all.
        """
        if not self._uses_frames:
            return self._empty(index)
        frame = self.clip.filmed.at(index)
        return self.plate_of(
            SeenFrame(index=index, frame=frame, alone=self._alone(frame, index), cut_outs=self.cut_outs(index))
        )

    def plate_of(self, seen: SeenFrame) -> np.ndarray:
        """As `plate`, of a frame that was cut out."""
        if not self._uses_frames:
            return self._empty(seen.index)
        layers = self.taken_out(seen.index, seen.cut_outs, seen.alone)
        return self._plate(seen.index, seen.frame, layers)

    @property
    def _uses_frames(self) -> bool:
        """Whether plates take anything from their frames."""
        trusted = self.first.background_stored and not self.first.network_only
        return trusted and (self.clip.travels or isinstance(self.first.clip, SoloClip))

    def _empty(self, index: int) -> np.ndarray:
        """The background of all frames as a frame as filmed sees it, uint8 [H, W, 3]."""
        return np.clip(self.background_as_filmed(index), 0, 255).round().astype(np.uint8)

    def _plate(self, index: int, frame: np.ndarray, layers: Sequence[np.ndarray]) -> np.ndarray:
        """As `plate`, from the frame and the layers that are taken out of it."""
        shown = self.uncovered(index, frame, layers, self.background_as_filmed(index), self.layers)
        if self.clip.travels:
            return shown
        assert isinstance(self.first.clip, SoloClip)
        restless = self.first.clip.tracked.restless(index)
        restless = self.clip.mask_as_filmed(restless, index)
        return np.where(restless[..., None], shown, self._empty(index))

    def at_point(self, index: int, point: Sequence[float]) -> int:
        """The number of the character that a point (x, y), normalized, of a frame shows, or the nearest one.

        Raises:
            NoSuchCharacter: there is none within a twentieth of the frame's height.
        """
        height, width = self.clip.filmed.size
        at = np.array([(point[1] + 1) * height, (point[0] + 1) * width]) / 2 - 0.5
        far = {}
        for number, layer in self.cut_outs(index).items():
            shown = np.argwhere(layer[..., 3] > SHOWS)
            far[number] = np.hypot(*(shown - at).T).min() if len(shown) else np.inf
        nearest = min(far, key=lambda number: far[number])
        if far[nearest] > NEAR * height:
            near = ", ".join(f"{k} ({distance:.0f} pixels away)" for k, distance in far.items() if distance < np.inf)
            raise NoSuchCharacter(
                f"frame {index} of {self.clip.name} shows no character at {list(point)}; it shows {near or 'none'}"
            )
        return nearest


def _specks(layer: np.ndarray, near: np.ndarray, least: float) -> np.ndarray:
    """The regions of a cut-out away from where its character was tracked that are less than a share of the frame.

    Shapes: layer [H, W, 4], near [H, W] bool -> [H, W] bool.
    """
    shows = layer[..., 3] > 0
    labels = label(shows)
    small = np.bincount(labels.ravel()) < least * labels.size
    small[labels[near & shows]] = False
    return small[labels] & shows


def _network_layers(model: EquivariantVideoModel, clip: StabilizedClip, progress: Callable) -> dict[int, ClipLayers]:
    """The layers of each character, by number, of the networks alone: as they are followed, or told in each frame."""
    names = names_in(model, clip.arrays(model.config.canvas))
    options: dict[str, Any] = {"network_only": True, "progress": progress}
    tracked = track_in_layers(clip, model, names) if len(names) > 1 and clip.count >= FEWEST_FRAMES else None
    if tracked is None:
        return {number: ClipLayers(model, clip, name=name, **options) for number, name in names.items()}
    return {number: ClipLayers(model, solo, **options) for number, solo in zip(tracked.owners.numbers, tracked.solos())}


def names_in(model: EquivariantVideoModel, frames: np.ndarray) -> dict[int, int]:
    """The characters of a clip, told by its background: the number in the clip of each -> the number of its name.

    Shapes: frames [T, h, w, 3] uint8.
    """
    few = frames[evenly_spaced(len(frames), PROBES)]
    likely = np.median(np.asarray(model.present(unit_frames(few))), 0)
    of_clip = [name for name, there in zip(model.config.name_of, likely >= likely.max() / 2) if there]
    return {of_clip.index(name): name for name in dict.fromkeys(of_clip) if name >= 0}


def _entries(cast: Cast, clip: Clip) -> tuple[CastEntry, ...]:
    """What a cast says of a clip, by its name or as a part of a file that was cut."""
    return cast.of_clip(clip.name, clip.count) or cast.of_clip(clip.range_name, clip.count)


def _corrections(cast: Cast, clip: Clip, numbers: Iterable[int]) -> dict[int, tuple[Correction, ...]]:
    """What was painted of each character of a clip, by its number."""
    names = clip.name, clip.range_name
    return {number: sum((cast.corrections_of(name, clip.count, number) for name in names), ()) for number in numbers}


def _solos(clip: StabilizedClip, entries: Sequence[CastEntry]) -> dict[int, StabilizedClip]:
    """A clip for each character, by number, as the cast joins and drops them; without entries as many as there are."""
    tracked = track(clip, len(entries) or None)
    count = tracked.owners.count
    merged = {e.number: e.merged_into for e in entries if e.merged_into is not None and e.number < count}
    owners = tracked.owners.arranged(merged, [entry.number for entry in entries if entry.dropped])
    solos = dataclasses.replace(tracked, owners=owners).solos()
    return dict(zip(owners.numbers if owners.count > 1 else [0], solos)) or {0: clip}
