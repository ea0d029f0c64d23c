"""Check before any training whether a clip suits: its camera, what moves, how much of the background is ever visible.

It needs no TensorFlow, and long clips are sampled, so the answer takes seconds.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from eqvid_tf.camera.measure import Camera, camera_of, measure
from eqvid_tf.camera.parallax import Parallax, parallax_of
from eqvid_tf.camera.stabilization import StabilizedClip, StableView, partly_unseen, travel_reason
from eqvid_tf.config import ModelConfig
from eqvid_tf.data.clips import Clip
from eqvid_tf.data.repeats import find_repeats
from eqvid_tf.pixels.canvas import bounded_size
from eqvid_tf.pixels.morphology import close, dilate, label
from eqvid_tf.pixels.resampling import move_with_validity, resize
from eqvid_tf.progress import no_progress
from eqvid_tf.separation.background import background_noise, changed_share, median_background
from eqvid_tf.separation.cutout import edge_coverage
from eqvid_tf.separation.levelling import level_switched

MOST_FRAMES = 128  # of a clip that are looked at, spread evenly over it
MOVER_SIDE = 96  # pixels: the shorter side of the frames in which movers are found
NOISE_PAIRS = 4  # pairs of neighbouring frames on which the noise is measured
NOISE_BLOCK = 16  # pixels: the side of the blocks in which the noise is measured
QUIET_BLOCKS = 25  # percent of the blocks: where the camera sways, edges raise the noise of the others
LEAST_NOISE = 8.0  # grey levels: compression changes the background by as much and is no mover
SMALLEST_MOVER = 0.001  # share of the frame: a smaller region is a speck
SMALLEST_PART = 0.2  # share of the largest mover's area: a smaller region is a part of it, or a shadow
AT_REST = 0.1  # share of the usual change from frame to frame: with less the movers are at rest
OFTEN = 0.2  # share of the frames: a place that fewer show is learned badly

Box: TypeAlias = tuple[int, int, int, int]  # (left, top, right, bottom) in pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipReport:
    """What was measured of a clip, and the verdict; shares are in [0, 1], of the frame's area or of the frames.

    Attributes:
        name: of the clip.
        size: (height, width).
        fps: frames per second.
        frames: their number.
        camera: "still", "sways" or "travels".
        camera_pixels: by how much the camera moves, at most.
        camera_sure: whether enough edges of the background agree to tell.
        parallax: of a camera that travels, how far parts of the background go astray from its motion, and where.
        movers: number of separate regions that move, in a usual frame.
        mover_area: of all movers together, in a usual frame.
        largest_area: of all movers together, at most.
        step: how far the largest mover goes from frame to frame, in its own sizes; 0 where frames were left out.
        reach: how far it gets in all, in its own sizes.
        at_border: share of the frames in which a mover touches the frame's border.
        seen_often: share of the background that a fifth of the frames or more show.
        seen_ever: share of the background that any frame shows.
        rest_seconds: the longest time in which nothing moves.
        rest: the same as a share of the clip.
        drift: grey levels by which the exposure changes over the clip.
        flicker: grey levels by which the exposure of a frame differs from its neighbours.
        noise: grey levels, from frame to frame at the clip's own size.
        restless: share of the background that is never still: leaves, water, screens.
        restless_box: of all that is: (left, top, right, bottom) in pixels; None where hardly anything is.
        held: frames for which a picture is displayed; more than 1 where frames repeat the one before.
        remarks: what is done to the frames as they are read, and what is odd about their times.
        verdict: "suits", "suits with care" or "does not suit".
        reasons: for the verdict, and what to expect.
    """

    name: str
    size: tuple[int, int]
    fps: float
    frames: int
    camera: str
    camera_pixels: float
    camera_sure: bool
    parallax: Parallax = Parallax()
    movers: int = 0
    mover_area: float = 0.0
    largest_area: float = 0.0
    step: float = 0.0
    reach: float = 0.0
    at_border: float = 0.0
    seen_often: float = 1.0
    seen_ever: float = 1.0
    rest_seconds: float = 0.0
    rest: float = 0.0
    drift: float = 0.0
    flicker: float = 0.0
    noise: float = 0.0
    restless: float = 0.0
    restless_box: Box | None = None
    held: float = 1.0
    remarks: tuple[str, ...] = ()
    verdict: str = ""
    reasons: tuple[str, ...] = ()


def check_clip(
    clip: Clip, progress: Callable[..., Any] = no_progress, *, mosaic: float = ModelConfig.mosaic
) -> ClipReport:
    """Measure a clip on at most `MOST_FRAMES` of its frames, and judge it.

    Args:
        clip: an open clip.
        progress: called as progress(items, label, total) around what takes long; returns the items.
        mosaic: frame areas that the background of a travelling camera may have.
    """
    step = -(-clip.count // MOST_FRAMES)
    camera = camera_of(clip, progress) if step == 1 else measure(clip, step, progress)
    if camera.kind == "travels" and step > 1:
        camera = camera_of(clip, progress)  # it is followed from frame to frame
    report = ClipReport(
        name=clip.name,
        size=clip.size,
        fps=clip.fps,
        frames=clip.count,
        camera=camera.kind,
        camera_pixels=camera.pixels,
        camera_sure=camera.sure,
        parallax=parallax_of(clip, camera),
        noise=_frame_noise(clip),
        held=find_repeats(clip, 0, min(clip.count, MOST_FRAMES)).usual,
        remarks=tuple(clip.remarks),
    )
    if reason := travel_reason(camera, clip.size, mosaic):
        return dataclasses.replace(report, verdict="does not suit", reasons=(reason,))
    view = _view(camera, clip.size)
    report = _with_exposure_and_movers(report, _small_frames(clip, step, camera, progress), step, view)
    verdict = _verdict(report)
    return dataclasses.replace(report, verdict=verdict.text, reasons=verdict.reasons)


def _frame_noise(clip: Clip) -> float:
    """Noise in grey levels at the clip's own size, from its first frames, in quiet blocks, where nothing moves."""
    levels = []
    for frame, next_frame in itertools.pairwise(itertools.islice(clip.native(), NOISE_PAIRS + 1)):
        difference = (next_frame.astype(np.float32) - frame).mean(-1)
        high, wide = (min(NOISE_BLOCK, side) for side in difference.shape)
        rows, columns = difference.shape[0] // high, difference.shape[1] // wide
        blocks = difference[: rows * high, : columns * wide].reshape(rows, high, columns, wide)
        levels.append(np.sqrt(np.percentile(blocks.var((1, 3)), QUIET_BLOCKS) / 2))  # both frames have noise
    return float(np.median(levels))


def _small_frames(clip: Clip, step: int, camera: Camera, progress: Callable[..., Any]) -> np.ndarray:
    """Every step-th frame, small and stabilized, uint8 [T, h, w, 3]; where the camera sways, cut to what all show."""
    clip = StabilizedClip(clip, camera) if camera.kind == "travels" else clip
    height, width = bounded_size(clip.size, MOVER_SIDE)
    sways = camera.kind == "sways"
    enlargement = 3 if sways else 1  # stabilized before it is made small: a second resampling blurs less so
    size = (min(clip.size[0], enlargement * height), min(clip.size[1], enlargement * width))
    frames = progress(clip.resized(size, range(0, clip.count, step)), "looking at what moves", len(camera.poses))
    if not sways:
        return np.stack(list(frames))
    visible = ~partly_unseen(camera.poses, size)
    box = np.ix_(visible.any(1), visible.any(0))
    stabilized = (move_with_validity(frame, pose, size)[0][box] for frame, pose in zip(frames, camera.poses))
    return np.stack([resize(frame, (height, width)) for frame in stabilized])


def _view(camera: Camera, size: tuple[int, int]) -> Box:
    """What the small frames show of the view: (left, top, right, bottom) in pixels."""
    if camera.kind == "travels":
        size = StableView.of(camera, size).size
    if camera.kind != "sways":
        return 0, 0, size[1], size[0]
    visible = ~partly_unseen(camera.poses, size)
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _with_exposure_and_movers(report: ClipReport, frames: np.ndarray, step: int, view: Box) -> ClipReport:
    """The report with what small frames [T, h, w, 3] of a view show, every step-th of the clip."""
    levelled = _level_exposure(frames, median_background(frames))
    report = dataclasses.replace(report, drift=levelled.drift, flicker=levelled.flicker)
    if (even := level_switched(frames)) is not frames:
        levelled = _level_exposure(even, median_background(even))
    frames, background = levelled.frames, median_background(levelled.frames)
    noise = background_noise(frames, background, least=LEAST_NOISE)
    masks = np.stack([edge_coverage(frame, background, None, noise=noise) >= 0.5 for frame in frames])
    regions = [_find_regions(mask) for mask in masks]
    moving = np.array([found.largest > SMALLEST_MOVER for found in regions])
    if not moving.any():
        return report
    path = _largest_movers_path(regions)
    area, visible = masks.mean((1, 2)), 1 - masks.mean(0)
    rest, restless = _longest_rest(frames, area), _restless(frames, background, masks)
    return dataclasses.replace(
        report,
        movers=round(float(np.median([found.movers.sum() for found in itertools.compress(regions, moving)]))),
        mover_area=float(np.median(area[moving])),
        largest_area=float(area.max()),
        step=path.step if step == 1 else 0.0,
        reach=path.reach,
        at_border=float(np.mean([found.touch_border for found in regions])),
        seen_often=float((visible >= OFTEN).mean()),
        seen_ever=float((visible > 0).mean()),
        rest_seconds=rest * step / report.fps,
        rest=rest / len(frames),
        restless=float(np.mean(restless)),
        restless_box=box_of(close(restless), view),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Levelled:
    """Frames [T, h, w, 3] in one exposure, and how the exposure changed, in grey levels (see `ClipReport`)."""

    frames: np.ndarray
    drift: float
    flicker: float


def _level_exposure(frames: np.ndarray, background: np.ndarray) -> _Levelled:
    """Frames without the changes of the exposure, which the median difference to the background measures."""
    offset = np.array([np.median((frame - background).reshape(-1, 3), axis=0) for frame in frames.astype(np.float32)])
    levelled = np.clip(frames - offset[:, None, None], 0, 255).round().astype(np.uint8)
    bend = np.abs(offset[1:-1] - (offset[:-2] + offset[2:]) / 2) if len(offset) > 2 else np.zeros((1, 3))
    return _Levelled(frames=levelled, drift=float(np.ptp(offset, 0).max()), flicker=float(np.percentile(bend, 90)))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Regions:
    """The separate regions of one frame's mask, at half its size.

    Attributes:
        labels: [h, w] int32, 0 outside the mask, else the number of the region, from 1.
        areas: [N] shares of the frame; region n has areas[n - 1].
    """

    labels: np.ndarray
    areas: np.ndarray

    @property
    def largest(self) -> float:
        """The share of the frame that the largest covers; 0 without any."""
        return float(self.areas.max(initial=0))

    @property
    def movers(self) -> np.ndarray:
        """Which regions are movers of their own, [N] bool."""
        return self.areas > max(SMALLEST_PART * self.largest, SMALLEST_MOVER)

    @property
    def touch_border(self) -> bool:
        """Whether a mover touches the frame's border."""
        border = np.concatenate([*self.labels[[0, -1]], *self.labels[:, [0, -1]].T])
        return bool(self.movers[border[border > 0] - 1].any())

    @property
    def centre(self) -> np.ndarray:
        """The centroid (row, column) of the largest region; nan where it is no mover."""
        if self.largest <= SMALLEST_MOVER:
            return np.full(2, np.nan)
        return np.argwhere(self.labels == self.areas.argmax() + 1).mean(0)


def _find_regions(mask: np.ndarray) -> _Regions:
    """The regions of a mask [h, w] bool; those two pixels or less from each other are one."""
    half = mask[: mask.shape[0] // 2 * 2, : mask.shape[1] // 2 * 2]
    half = half[::2, ::2] | half[1::2, ::2] | half[::2, 1::2] | half[1::2, 1::2]
    labels = label(dilate(half, 1)) * half
    return _Regions(labels=labels, areas=np.bincount(labels.ravel())[1:] / half.size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Path:
    """How far the largest mover goes, in units of its own size (see `ClipReport`)."""

    step: float
    reach: float


def _largest_movers_path(regions: list[_Regions]) -> _Path:
    """The path of the largest mover's centre.

    Its size is the root of its usual area. Its reach is the longer side of the box that holds the centre in nine tenths
    of the frames, so that a frame with a wrong region does not count.
    """
    centres = np.stack([found.centre for found in regions])
    moving = ~np.isnan(centres[:, 0])
    area = np.median([found.largest for found in itertools.compress(regions, moving)])
    size = np.sqrt(area * regions[0].labels.size)
    steps = np.hypot(*np.diff(centres, axis=0).T)
    steps = steps[~np.isnan(steps)]
    reach = np.ptp(np.percentile(centres[moving], (5, 95), axis=0), axis=0).max()
    return _Path(step=float(np.median(steps) / size) if len(steps) else 0.0, reach=float(reach / size))


def _longest_rest(frames: np.ndarray, area: np.ndarray) -> int:
    """The most frames in a row in which hardly anything changes while a mover is visible; area: of the movers, [T]."""
    change = changed_share(frames)
    still = (change <= AT_REST * np.percentile(change, 75)) & (area[1:] > SMALLEST_MOVER)
    return max((sum(1 for _ in run) for at_rest, run in itertools.groupby(still) if at_rest), default=0)


def _restless(frames: np.ndarray, background: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Where the background differs from itself in more than half of the frames that show it, bool [h, w]."""
    differs = (np.abs(frames - background).max(-1) > LEAST_NOISE) & ~masks
    return differs.sum(0) > np.maximum((~masks).sum(0), 1) / 2


def box_of(mask: np.ndarray, view: Box) -> Box | None:
    """The box of what is more than a speck in a mask [h, w] of a view, in the clip's pixels."""
    labels = label(mask)
    large = np.isin(labels, 1 + np.flatnonzero(np.bincount(labels.ravel())[1:] > SMALLEST_MOVER * mask.size))
    if not large.any():
        return None
    (top, bottom), (left, right) = (
        (int(at[0]), int(at[-1]) + 1) for at in map(np.flatnonzero, (large.any(1), large.any(0)))
    )
    x, y = (view[2] - view[0]) / mask.shape[1], (view[3] - view[1]) / mask.shape[0]
    return (
        view[0] + math.floor(left * x),
        view[1] + math.floor(top * y),
        view[0] + math.ceil(right * x),
        view[1] + math.ceil(bottom * y),
    )


@dataclasses.dataclass(frozen=True)
class _Rule:
    """A reason that is given where it applies; its text names the report's fields, and `hidden` = 1 - seen_often."""

    applies: Callable[[ClipReport], bool]
    text: str


DOES_NOT_SUIT = (
    _Rule(lambda r: bool(r.parallax.refusal(r.size)), "{no_one_background}"),
    _Rule(lambda r: not r.movers, "nothing moves that could be told from the background."),
    _Rule(
        lambda r: r.mover_area > 0.6,
        "what moves covers {mover_area:.0%} of the frame, so that there is no background to tell it from.",
    ),
)
NEEDS_CARE = (
    _Rule(lambda r: bool(r.parallax.remark(r.size)), "{astray}"),
    _Rule(
        lambda r: r.frames < 20,
        "{frames} frames are few: every one more shows more of the background and of the motion.",
    ),
    _Rule(lambda r: min(r.size) < 48, "frames of {size[1]} x {size[0]} show little of a character."),
    _Rule(
        lambda r: r.movers > 1,
        "{movers} things move apart from each other: each becomes a character; look at the masks where they meet.",
    ),
    _Rule(
        lambda r: 0.3 < r.mover_area <= 0.6,
        "what moves covers {mover_area:.0%} of the frame: much of the background is seldom seen.",
    ),
    _Rule(
        lambda r: r.mover_area < 0.008,
        "what moves is small, {mover_area:.1%} of the frame: train with a larger --image-size.",
    ),
    _Rule(
        lambda r: r.seen_often < 0.97,
        "{hidden:.0%} of the background shows in less than a fifth of the frames: what hides it may stay in it.",
    ),
    _Rule(
        lambda r: r.reach < 0.75,
        "it moves on the spot, by {reach:.1f} of its own size: what it never uncovers is filled in from around it.",
    ),
    _Rule(
        lambda r: r.rest > 0.4,
        "it rests for {rest_seconds:.1f} s, {rest:.0%} of the clip: "
        "look whether a ghost of it stays in background.png.",
    ),
    _Rule(
        lambda r: r.at_border > 0.5,
        "it touches the frame's border in {at_border:.0%} of the frames: what lies outside cannot be rendered.",
    ),
    _Rule(
        lambda r: r.step > 1,
        "it goes {step:.1f} times its own size from frame to frame: "
        "a higher frame rate makes its motion easier to find.",
    ),
    _Rule(
        lambda r: r.drift > 12 or r.flicker > 6,
        "the exposure drifts by {drift:.0f} grey levels and flickers by {flicker:.0f}: masks may be patchy.",
    ),
    _Rule(
        lambda r: r.noise > 8,
        "the noise is {noise:.0f} grey levels: masks will be ragged where the character is like its background.",
    ),
    _Rule(
        lambda r: r.restless > 0.05,
        "{restless:.0%} of the background never keeps still (leaves, water, a screen, a body that hardly moves): "
        "expect specks in the masks there.",
    ),
)
TO_KNOW = (
    _Rule(
        lambda r: r.held > 1,
        "each picture is displayed for {held:.3g} frames on average: a motion taken from it has each once.",
    ),
    _Rule(
        lambda r: r.camera == "sways",
        "the camera sways by up to {camera_pixels:.1f} pixels; that is taken out and put back.",
    ),
    _Rule(
        lambda r: r.camera == "travels",
        "the camera travels by up to {camera_pixels:.0f} pixels; the background becomes one picture of all it sees.",
    ),
    _Rule(
        lambda r: not r.camera_sure,
        "the background is too plain to tell whether the camera moves; it is taken to stand still.",
    ),
)


@dataclasses.dataclass(frozen=True)
class _Verdict:
    """The verdict, and the reasons for it in plain words."""

    text: str
    reasons: tuple[str, ...]


def _verdict(report: ClipReport) -> _Verdict:
    """The verdict on what was measured."""
    values = {
        **dataclasses.asdict(report),
        "hidden": 1 - report.seen_often,
        "astray": report.parallax.remark(report.size),
        "no_one_background": report.parallax.refusal(report.size),
    }
    bad, care, notes = (
        tuple(rule.text.format(**values) for rule in rules if rule.applies(report))
        for rules in (DOES_NOT_SUIT, NEEDS_CARE, TO_KNOW)
    )
    if bad:
        return _Verdict("does not suit", bad + notes)
    return _Verdict("suits with care" if care else "suits", care + notes)
