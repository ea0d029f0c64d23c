"""A certificate for a clip without truth: how far the split of a model can be trusted, from the clip alone.

Frames that were held out of the losses are drawn as g(T f(x) + h(x)); masks are asked whether they go along with the
motions, stay the same under small changes, and hold what differs from the background.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eqvid_tf.data.pairs import canvas_motion, held_out
from eqvid_tf.evaluation.baseline import paste, separate_by_median
from eqvid_tf.evaluation.scorecard import MOST_PSNR, corner_error, mask_iou, psnr
from eqvid_tf.pixels.canvas import fit
from eqvid_tf.pixels.coordinates import bounding_box, box_slices, chained, homogeneous
from eqvid_tf.pixels.resampling import move
from eqvid_tf.pixels.sheets import contact_sheet
from eqvid_tf.separation.background import background_noise, evenly_spaced
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.masks import difference_coverage, network_coverage, unit_frames
from eqvid_tf.separation.motions import estimate_motions

SAMPLE = 8  # frames that are looked at where none was held out, and for all that needs no held-out ones
GAP = 4  # frames between two whose masks are compared along the motion
MARGIN = 2  # pixels of the canvas around a character in which pictures are compared
ENOUGH = 35.0  # dB: a picture that is drawn better counts no more
WARP = np.array([[1.02, -0.03, 0.03], [0.03, 1.02, -0.02]])  # a small turn, zoom and shift: about a pixel on the canvas
GAIN, OFFSET = 0.92, 6.0  # a small change of the light; the offset in grey levels
SHOWN = 3  # frames in the picture of each character: those in which it is worst
TRUSTED, DOUBTFUL = 0.6, 0.4  # least figures of a split that can be trusted, and of one that has to be looked at
PARTS = ("drawn", "follows", "steady", "explained")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CharacterTrust:
    """What was measured of a character; shares are in [0, 1], 1 is right.

    Attributes:
        name: of it.
        drawn_db: how well g draws it in frames that training did not see, from the frame before, around it.
        scissors_db: the same by cut and paste.
        without_db: the same by the background alone, without it.
        noise_db: what the clip's noise allows.
        drawn: how far it is drawn, from `without_db` (0) to the noise, or `ENOUGH` (1).
        follows: iou of its masks, moved by its motion, with those that are there.
        steady: iou of its masks with those of frames that are warped a little, or a little darker.
        explained: iou of its masks with what differs from the background.
        round_trip_px: pixels of the canvas by which its motion there and back misses.
        worst: the frames in which it is drawn worst.
        pictures: of each of these the frame, its mask, and what g draws, uint8 [h, w, 3] and float [h, w].
    """

    name: str
    drawn_db: float
    scissors_db: float
    without_db: float
    noise_db: float
    drawn: float
    follows: float
    steady: float
    explained: float
    round_trip_px: float
    worst: tuple[int, ...]
    pictures: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...] = dataclasses.field(repr=False, default=())

    @property
    def trust(self) -> float:
        """The single figure: the geometric mean of the four shares."""
        return float(np.prod([max(getattr(self, part), 1e-3) for part in PARTS]) ** (1 / len(PARTS)))

    @property
    def text(self) -> str:
        """What was measured, in words."""
        return (
            f"{self.name}: {trust_in_words(self.trust)} ({self.trust:.2f}). From the frame before, frames are "
            f"drawn at {self.drawn_db:.1f} dB around it (cut and paste {self.scissors_db:.1f}, without it "
            f"{self.without_db:.1f}, the clip's noise {self.noise_db:.1f}). Its masks {_how(self.follows)} with its "
            f"motion ({self.follows:.2f}), {_how(self.steady)} with those of slightly changed frames "
            f"({self.steady:.2f}), and {_how(self.explained)} with what differs from the background "
            f"({self.explained:.2f}). Its motion there and back misses by {self.round_trip_px:.1f} pixels. Worst in "
            f"frame {', '.join(map(str, self.worst))}."
        )

    def to_json(self) -> dict:
        """All figures."""
        values = {key: value for key, value in vars(self).items() if key != "pictures"}
        rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
        return {**rounded, "worst": list(self.worst), "trust": round(self.trust, 4)}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """How far a model's split of a clip can be trusted.

    Attributes:
        clip: name of it.
        held_out: how many of its frames training did not see; 0: what is drawn it may have seen.
        unseen: share of the background that no frame shows.
        known: whether the model was trained on its background; else its masks mean nothing.
        characters: each of them.
    """

    clip: str
    held_out: int
    unseen: float
    known: bool
    characters: tuple[CharacterTrust, ...]

    @property
    def trust(self) -> float:
        """The single figure, in [0, 1]: the mean of the characters', less where much of the background is made up."""
        if not self.known or not self.characters:
            return 0.0
        return float(np.mean([one.trust for one in self.characters]) * (1 - self.unseen))

    @property
    def text(self) -> str:
        """What was measured, in words, a line for each character."""
        if not self.known:
            return f"{self.clip}: {trust_in_words(0.0)}: the model was not trained on this background."
        held = f"{self.held_out} frames were held out" if self.held_out else "no frame was held out of the training"
        head = (
            f"{self.clip}: {trust_in_words(self.trust)} ({self.trust:.2f}); {held}; {self.unseen:.1%} of the background"
        )
        return "\n".join([f"{head} is never seen.", *(f"  {one.text}" for one in self.characters)])

    @property
    def summary(self) -> str:
        """A line for the model card."""
        characters = [f"{one.name} {one.trust:.2f}" for one in self.characters]
        details = "; ".join([*characters, f"{self.unseen:.1%} of the background never seen"])
        return f"{self.trust:.2f}, {trust_in_words(self.trust)} ({details})."

    def to_json(self) -> dict:
        """All figures."""
        values = {"clip": self.clip, "trust": round(self.trust, 4), "verdict": trust_in_words(self.trust)}
        values |= {"held_out": self.held_out, "unseen": round(self.unseen, 4), "known": self.known}
        return {**values, "characters": [one.to_json() for one in self.characters]}


def trust_sheet(certificates: Sequence[Certificate]) -> np.ndarray | None:
    """A picture of the frames in which each character is worst, uint8 [H, W, 3]; None without any character."""
    all_of_them = [one for certificate in certificates for one in certificate.characters]
    if not all_of_them:
        return None
    rows = [[picture for kinds in zip(*one.pictures) for picture in kinds] for one in all_of_them]
    count = max(map(len, rows)) // 3
    columns = [f"{kind}, {rank + 1}." for kind in ("frame", "mask", "drawn") for rank in range(count)]
    names = [f"{one.name}, frames {', '.join(map(str, one.worst))}" for one in all_of_them]
    return contact_sheet(rows, column_titles=columns, row_titles=names)


def trust_in_words(trust: float) -> str:
    """What a figure means."""
    if trust >= TRUSTED:
        return "can be trusted"
    return "look at it before you use it" if trust >= DOUBTFUL else "do not trust it"


def _how(share: float) -> str:
    return "agree" if share >= 0.8 else "mostly agree" if share >= 0.6 else "do not agree"


def certify(characters: ClipCharacters, hold_out: int = 0) -> Certificate:
    """Measure how far the characters of a clip can be trusted.

    Args:
        characters: of the clip, by a model.
        hold_out: one of so many frames was kept out of the training, see `eqvid_tf.data.pairs.held_out`; 0: none.
    """
    frames = held_out(characters.clip.count, hold_out)
    known = characters.first.background_stored
    measured = [_measure(layers, characters.names[k], frames) for k, layers in characters.layers.items() if known]
    return Certificate(
        clip=characters.clip.name,
        held_out=len(frames),
        unseen=float(characters.unseen.mean()) if known else 0.0,
        known=known,
        characters=tuple(measured),
    )


def _measure(layers: ClipLayers, name: str, frames: np.ndarray) -> CharacterTrust:
    """What is measured of a character; of frames evenly spaced where none was held out."""
    looked_at = frames if len(frames) else np.unique(np.maximum(evenly_spaced(layers.clip.count, SAMPLE), 1))
    drawn = _draw(layers, [(int(k) - 1, int(k)) for k in looked_at])
    mean = lambda key: float(np.mean([getattr(one, key) for one in drawn]))
    order = np.argsort([one.drawn for one in drawn])[:SHOWN]
    return CharacterTrust(
        name=name,
        drawn_db=mean("drawn_db"),
        scissors_db=mean("scissors_db"),
        without_db=mean("without_db"),
        noise_db=mean("noise_db"),
        drawn=mean("drawn"),
        follows=_follows(layers),
        steady=_steady(layers),
        explained=_explained(layers),
        round_trip_px=_round_trip(layers),
        worst=tuple(int(looked_at[k]) for k in order),
        pictures=tuple(drawn[k].pictures for k in order),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Drawn:
    """A frame as it is drawn, in dB around the character, see `CharacterTrust`."""

    drawn_db: float
    scissors_db: float
    without_db: float
    noise_db: float
    pictures: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def drawn(self) -> float:
        best = max(min(self.noise_db, ENOUGH), self.without_db + 1)
        return float(np.clip((self.drawn_db - self.without_db) / (best - self.without_db), 0, 1))


def _draw(layers: ClipLayers, pairs: Sequence[tuple[int, int]]) -> list[_Drawn]:
    """Draw the later frame of each pair from the earlier one, by g and by scissors."""
    frames, model = layers.canvas_frames, layers.model
    first, second = (unit_frames(frames[indices]) for indices in np.array(pairs).T)
    rendered = model({"frame": first, "next_frame": second, **_given_motions(layers, pairs)})["frame"]
    rendered = (np.clip(np.asarray(rendered, np.float32), 0, 1) * 255).round().astype(np.uint8)
    median, background, noise = separate_by_median(np.asarray(frames)), _background(layers), _noise(layers)
    noise_db = float(min(20 * np.log10(255 / max(float(np.mean(noise)), 1e-3)), MOST_PSNR))
    found = []
    for (a, b), picture in zip(pairs, rendered):
        scissors = paste(frames[a], median.masks[a], median.motion(a, b), median.background)
        box = bounding_box((layers.coverage[b] > 0.5) | median.masks[b], MARGIN)
        place = box_slices(box) if box else (slice(None), slice(None))
        level = lambda drawn: psnr(frames[b][place] / 255, drawn[place] / 255)
        levels = {"drawn_db": level(picture), "scissors_db": level(scissors), "without_db": level(background)}
        pictures = (np.asarray(frames[b]), layers.coverage[b], picture)
        found.append(_Drawn(**levels, noise_db=noise_db, pictures=pictures))
    return found


def _given_motions(layers: ClipLayers, pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The motion of each pair, for a model that has to be given it."""
    if layers.model.T.learned:
        return {}
    steps = canvas_motion(layers.clip, layers.canvas)
    return {"motion": np.stack([_between(steps, a, b)[:2] for a, b in pairs]).astype(np.float32)}


def _between(steps: np.ndarray, first: int, second: int) -> np.ndarray:
    """The motion [3, 3] from a frame to another, either way, by steps [T - 1, 3, 3]."""
    motion = chained(steps[min(first, second) : max(first, second)])[-1]
    return motion if first <= second else np.linalg.inv(motion)


def _motions(layers: ClipLayers, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The motion of each pair on the canvas, [N, 3, 3]: estimated, or given."""
    if layers.model.T.learned:
        return homogeneous(estimate_motions(layers.model, layers.canvas_frames, list(pairs), once=True).motions)
    steps = canvas_motion(layers.clip, layers.canvas)
    return np.stack([_between(steps, *pair) for pair in pairs])


def _spread_pairs(layers: ClipLayers) -> list[tuple[int, int]]:
    gap = min(GAP, layers.clip.count - 1)
    return [(int(k), int(k) + gap) for k in evenly_spaced(layers.clip.count - gap, SAMPLE)]


def _overlap(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The mean iou of masks; 0 where all are empty."""
    iou = mask_iou(expected, found)
    return iou if np.isfinite(iou) else 0.0


def _follows(layers: ClipLayers) -> float:
    """How well the masks, moved by the character's motion, are those that are there."""
    pairs = _spread_pairs(layers)
    moved = [move(layers.coverage[a], motion) for (a, _), motion in zip(pairs, _motions(layers, pairs))]
    return _overlap(moved, [layers.coverage[b] for _, b in pairs])


def _steady(layers: ClipLayers) -> float:
    """How well the networks' masks of slightly changed frames are those of the frames, slightly changed.

    Of a model that tells several characters apart the masks are those of the one that it takes this for.
    """
    frames = np.asarray(layers.canvas_frames[evenly_spaced(layers.clip.count, SAMPLE)])
    coverage = lambda frames, name: network_coverage(layers.model, frames, name=name)
    names = range(layers.model.config.characters) if layers.model.identity else [layers.name]
    name = max(names, key=lambda name: coverage(frames, name).sum()) if len(names) > 1 else names[0]
    masks = coverage(frames, name)
    warp = lambda frame: move(frame, WARP).clip(0, 255).round().astype(np.uint8)
    darken = lambda frame: (GAIN * frame + OFFSET).clip(0, 255).round().astype(np.uint8)
    same: Callable[[np.ndarray], np.ndarray] = lambda mask: mask
    shares = []
    for change, as_well in ((warp, lambda mask: move(mask, WARP)), (darken, same)):
        changed = coverage(np.stack([change(frame) for frame in frames]), name)
        shares.append(_overlap(list(changed), [as_well(mask) for mask in masks]))
    return float(np.mean(shares))


def _explained(layers: ClipLayers) -> float:
    """How well the masks hold what differs from the background."""
    chosen = evenly_spaced(layers.clip.count, SAMPLE)
    differs = difference_coverage(np.asarray(layers.canvas_frames[chosen]), _background(layers), _noise(layers))
    return _overlap([layers.coverage[k] for k in chosen], list(differs))


def _background(layers: ClipLayers) -> np.ndarray:
    """The background on the canvas, float32 [h, w, 3]."""
    return fit(layers.background.clip(0, 255).astype(np.float32), layers.canvas)


def _noise(layers: ClipLayers) -> float | np.ndarray:
    chosen = evenly_spaced(layers.clip.count)
    frames = np.asarray(layers.canvas_frames[chosen])
    return background_noise(frames, _background(layers), layers.coverage[chosen], layers.clip.noise)


def _round_trip(layers: ClipLayers) -> float:
    """Pixels by which the motions there and back miss, at the corners of a box of half the frame's height."""
    pairs = _spread_pairs(layers)
    both = _motions(layers, [*pairs, *((b, a) for a, b in pairs)])
    there, back = both[: len(pairs)], both[len(pairs) :]
    trips = [(second @ first)[:2] for first, second in zip(there, back)]
    return float(np.mean([corner_error(np.eye(2, 3), trip, np.zeros(2), layers.canvas) for trip in trips]))
