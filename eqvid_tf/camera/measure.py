"""Whether a clip's camera stands still, sways by a few pixels or travels: measured on the background, frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from eqvid_tf.camera.registration import (
    STILL,
    TILES,
    Fit,
    Pose,
    Reference,
    as_motion,
    compose,
    invert,
    places,
    sample,
    travel,
)
from eqvid_tf.data.clips import Clip, ClipError
from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.progress import no_progress

WIDEST = 432  # pixels: the longer side of the frames that are compared
HELD = 128  # frames that are kept while they are compared; more are decoded twice
KEYS = 32  # frames, spread over the clip, whose median is the reference
BESIDE = (1, 2, 4, 8)  # frames beside the middle one that are keys too: even a fast camera shows the same place there
UNSURE = 6.0  # grey levels of change over the keys at which a place counts half
FEWEST = 8  # tiles with something to go by, without which no camera can be told
SPAN = 0.7  # of the frame's width or height that the tiles which vote for a motion must span: no character's does
BETTER = 0.8  # of the residual at no motion: a tile that the pose brings below this votes for it
MAJORITY = 0.75  # of the votes
SAME = 0.5  # of a tile's contrast: more is left where it shows another place
LOST = 0.25  # of the tiles: where fewer show the same place, the frame shows another
FULL = 0.6  # of the tiles: a frame with edges in more of them is not a plain one with a character on it
OTHER = 0.3  # of the frames: where more show another place, the clip has no one background
SHORTEST = 8  # frames that it takes to say so
SWAY = 0.0015  # of the longer side: a camera that moves less stands still ...
LEAST, MOST = 0.2, 1.0  # ... and these are the pixels between which that is held
NEAR = 4  # times that: a pose that the votes do not settle, for it is near the reference, holds up to there
TRAVEL = 0.08  # of the longer side: a camera that moves by more travels
VERSION = 1  # of what is measured here; raised whenever the same clip would give another answer


class CameraTravels(ClipError):
    """A clip without one background: its camera pans, zooms or walks, or its frames show different places."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """What a clip's camera does.

    Convention: `poses` [T, 2, 3] are forward motions in normalized coordinates: the background at p in frame t is at
        poses[t] @ [p, 1] in frame `reference`, whose own pose is the identity. Of a camera that stands still, all are, exactly.

    Attributes:
        kind: "still", "sways" or "travels".
        pixels: the largest distance, in the clip's own pixels, by which a corner of a frame lies off the reference.
        lost: share of the frames that show another place than the reference.
        sure: whether the background has enough to go by; a plain one has not, and its camera counts as still.
    """

    kind: str
    poses: np.ndarray
    reference: int
    pixels: float
    lost: float
    sure: bool


def camera_of(clip: Clip, progress: Callable = no_progress) -> Camera:
    """The camera of a whole clip: measured once, and remembered as long as its decoded frames are."""

    def make() -> dict:
        camera = measure(clip, progress=progress)
        return {**vars(camera), "poses": camera.poses.tolist()}

    note = clip.noted(f"camera-{VERSION}", make)
    return Camera(**{**note, "poses": np.array(note["poses"], np.float64)})


def measure(clip: Clip, step: int = 1, progress: Callable = no_progress) -> Camera:
    """Watches a camera against one reference, the median of some frames laid on each other, so that errors do not add up.

    Why: a chain of steps drifts, and any one frame has the character in it. Memory is bounded: one frame at a time, but for the
    keys.

    Args:
        step: every step-th frame is looked at and has a pose.
    """
    count = len(range(0, clip.count, step))
    held = list(greys(clip, step)) if count <= HELD else None  # decoded once, where that takes little
    chosen = keys_of(count)
    keys = {k: frame for k, frame in enumerate(held or greys(clip, step)) if k in chosen}
    fits = followed(keys)
    found = judged([fits[k] for k in chosen], clip.size)
    if found.kind == "travels" and not found.lost > OTHER:  # a lost key may be the middle one's own fault
        return found
    reference, last, every = median_of(keys, fits, clip.size), STILL, []
    for frame in progress(held or greys(clip, step), "watching the camera", count):
        every.append(reference.find(frame, [last, STILL]))
        last = every[-1].pose
    whole = judged(every, clip.size)
    full = np.median([np.mean(~np.isnan(fit.left)) for fit in fits.values()]) > FULL
    return (
        whole if whole.sure or found.lost <= OTHER or not full else found
    )  # no median, as no two keys have anything in common


def keys_of(count: int) -> list[int]:
    """Indices of the frames that the reference is made of: spread over the clip, and some around its middle."""
    middle = count // 2
    around = [middle + sign * step for step in BESIDE for sign in (-1, 1)]
    keys = {*np.linspace(0, count - 1, min(count, KEYS)).round().astype(int).tolist(), middle, *around}
    return sorted(k for k in keys if 0 <= k < count)


def greys(clip: Clip, step: int) -> Iterator[np.ndarray]:
    """The frames of a clip in grey, float32 [h, w], small."""
    scale = min(1.0, WIDEST / max(clip.size))
    size = tuple(max(1, round(side * scale)) for side in clip.size)
    for frame in clip.resized(size, step):
        yield frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def followed(keys: dict[int, np.ndarray]) -> dict[int, Fit]:
    """Every key found on the middle one, from there outwards."""
    order = list(keys)
    middle = order[len(order) // 2]
    reference = Reference(keys[middle])
    fits = {}
    for way in (order[len(order) // 2 :], order[: len(order) // 2][::-1]):
        last = STILL
        for k in way:
            fits[k] = reference.find(keys[k], [last, STILL])
            last = fits[k].pose if moved(fits[k]) else last
    return fits


def median_of(keys: dict[int, np.ndarray], fits: dict[int, Fit], size: tuple[int, int]) -> Reference:
    """The reference: the median of the keys laid on the one in their midst; where they disagree it counts less."""
    poses = {k: fit.pose if moved(fit) and travel(fit.pose, size) > small(size) else STILL for k, fit in fits.items()}
    midst, laid = list(poses.values())[nearest(poses.values(), size)], []
    for k, frame in keys.items():
        pose = compose(poses[k], invert(midst))
        value, within = sample(frame, pose[0] * places(frame.shape) + pose[1])
        laid.append(np.where(within, value, np.nan) if pose != STILL else frame)
    picture = nan_median(np.stack(laid))
    apart = nan_median(np.abs(laid - picture))
    unseen = np.isnan(picture)
    picture[unseen], apart[unseen] = 0, np.inf
    return Reference(picture.astype(np.float32), (1 / (1 + (apart / UNSURE) ** 2)).astype(np.float32))


def small(size: tuple[int, int]) -> float:
    """Pixels up to which a camera on frames of `size` stands still."""
    return float(np.clip(SWAY * max(size), LEAST, MOST))


def moved(fit: Fit) -> bool:
    """Whether the background says that the camera moved: most tiles, all over the frame, fit better at the pose than without."""
    better, worse = votes(fit)
    told = int((~np.isnan(fit.left)).sum())
    if told < FEWEST or better.sum() < max(told / 2, MAJORITY * (better | worse).sum()):
        return False
    spans = [np.ptp(lines) + 1 for lines in np.nonzero(better.reshape(TILES))]
    return any(span >= SPAN * cells for span, cells in zip(spans, TILES))


def votes(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """The tiles that fit better at the pose than without, and those that fit worse."""
    with np.errstate(invalid="ignore"):
        return fit.left < BETTER * fit.left_still, fit.left_still < BETTER * fit.left


def elsewhere(fit: Fit) -> bool:
    """Whether the frame shows another place than the reference."""
    left = np.fmin(fit.left, fit.left_still)
    told = ~np.isnan(left)
    return told.sum() >= FEWEST and (left[told] < SAME).mean() < LOST


def judged(fits: Sequence[Fit], size: tuple[int, int]) -> Camera:
    """The camera that frames, found on one reference, speak of."""
    reference = nearest([fit.pose for fit in fits], size)
    there = [compose(fit.pose, invert(fits[reference].pose)) for fit in fits]  # reference -> frame
    there[reference] = STILL  # without rounding
    off = np.array([travel(pose, size) for pose in there])
    sure = np.array([moved(fit) for fit in fits])
    lost = float(np.mean([elsewhere(fit) for fit in fits]))
    told = bool(np.median([(~np.isnan(fit.left)).sum() for fit in fits]) >= FEWEST)
    many = lambda limit: (sure & (off > limit)).sum() >= max(2, 0.02 * len(fits))
    other = lost > OTHER and len(fits) >= SHORTEST
    kind = "travels" if other or many(TRAVEL * max(size)) else "sways" if many(small(size)) else "still"
    unclear = [
        travel(fit.pose, size) <= NEAR * small(size) and np.less_equal(*map(np.sum, votes(fit)[::-1])) for fit in fits
    ]
    there = mended(there, sure | unclear) if kind == "sways" else [STILL] * len(there) if kind == "still" else there
    poses = np.stack([as_motion(invert(pose), size[1] / size[0]) for pose in there])
    pixels = (
        max((travel(pose, size) for pose in there), default=0.0)
        if kind != "travels"
        else float(off[sure].max(initial=0))
    )
    return Camera(kind=kind, poses=poses, reference=reference, pixels=float(pixels), lost=lost, sure=told)


def nearest(poses: Iterable[Pose], size: tuple[int, int]) -> int:
    """Which of the poses lies nearest to their median, part by part."""
    poses = list(poses)
    parts = np.median([[s.real, s.imag, t.real, t.imag] for s, t in poses], axis=0)
    midst = invert((complex(*parts[:2]), complex(*parts[2:])))
    return int(np.argmin([travel(compose(pose, midst), size) for pose in poses]))


def mended(poses: Sequence[Pose], trusted: np.ndarray) -> list[Pose]:
    """Poses that cannot be trusted, drawn between those that can."""
    good, every = np.flatnonzero(trusted), np.arange(len(poses))
    columns = [np.interp(every, good, np.array([pose[part] for pose in poses])[good]) for part in (0, 1)]
    return [pose if sure else (s, t) for pose, sure, s, t in zip(poses, trusted, *columns)]
