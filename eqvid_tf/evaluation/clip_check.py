"""Whether a clip suits, said before any training: its camera, what moves in it, how much of the background is ever seen.

Numpy and Pillow alone. Long clips are sampled, so that the answer takes seconds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from eqvid_tf.camera.measure import Camera, camera_of, measure
from eqvid_tf.camera.stabilization import move_with_validity, partly_unseen, travel_reason
from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.morphology import dilate
from eqvid_tf.pixels.resampling import resize
from eqvid_tf.progress import no_progress
from eqvid_tf.separation import background as backgrounds

WATCHED = 128  # frames that are looked at, spread over the clip
SIDE = 96  # pixels: the shorter side of the frames in which movers are looked for
PAIRS = 4  # pairs of frames that the noise is measured on
BLOCK = 16  # pixels: side of the blocks that the noise is measured in
QUIET = 25  # percent of the blocks: a camera that sways stirs the others
GRAIN = 8.0  # grey levels: what the background's own unrest is taken to be at least, so that compression is no mover
SPECK = 0.001  # of the frame: less is no mover
PART = 0.2  # of the largest mover: less is a part of it, or something by the way
AT_REST = 0.1  # of the movers' usual change: less is a rest
OFTEN = 0.2  # of the frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipReport:
    """What was measured of a clip; shares are in [0, 1], of the frame's area or of the frames.

    Attributes:
        size: (height, width).
        camera: "still", "sways" or "travels"; camera_pixels: by how much, at most; camera_sure: whether the background has edges
            enough to tell.
        movers: separate things that move, in a usual frame; mover_area: of all together; largest_area: at most.
        step, reach: how far the largest goes from frame to frame, and gets in all, in its own sizes; a step is 0 where not every frame
            was looked at.
        at_border: of the frames, where a mover touches the frame's border.
        seen_often, seen_ever: of the background, what shows in a fifth of the frames or more, and in any.
        rest_seconds, rest: the longest time in which nothing moves.
        drift, flicker: grey levels, of the exposure over the clip, and of a frame against its neighbours.
        noise: grey levels, from frame to frame at the clip's own size.
        restless: of the background, what never keeps still: leaves, water, screens.
        verdict: "suits", "suits with care" or "does not suit"; reasons: why, and what to expect.
    """

    name: str
    size: tuple[int, int]
    fps: float
    frames: int
    camera: str
    camera_pixels: float
    camera_sure: bool
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
    verdict: str = ""
    reasons: tuple[str, ...] = ()


def check_clip(clip: Clip, progress: Callable = no_progress) -> ClipReport:
    """Looks a clip over, at no more than `WATCHED` of its frames."""
    step = -(-clip.count // WATCHED)
    camera = camera_of(clip, progress) if step == 1 else measure(clip, step, progress)
    found = {
        "name": clip.name,
        "size": clip.size,
        "fps": clip.fps,
        "frames": clip.count,
        "camera": camera.kind,
        "camera_pixels": camera.pixels,
        "camera_sure": camera.sure,
        "noise": grain(clip),
    }
    if camera.kind == "travels":
        return ClipReport(**found, verdict="does not suit", reasons=(travel_reason(camera, clip.size),))
    frames = small_frames(clip, step, camera, progress)
    looked = ClipReport(**found, **seen_in(frames, step / clip.fps, step == 1))
    verdict, reasons = judge(looked)
    return dataclasses.replace(looked, verdict=verdict, reasons=reasons)


def grain(clip: Clip) -> float:
    """Noise in grey levels at the clip's own size, from its first frames: that of quiet blocks, in which nothing moves."""
    levels = []
    for a, b in itertools.pairwise(itertools.islice(clip.native(), PAIRS + 1)):
        apart = (b.astype(np.float32) - a).mean(-1)
        high, wide = (min(BLOCK, side) for side in apart.shape)
        rows, columns = apart.shape[0] // high, apart.shape[1] // wide
        blocks = apart[: rows * high, : columns * wide].reshape(rows, high, columns, wide)
        levels.append(np.sqrt(np.percentile(blocks.var((1, 3)), QUIET) / 2))
    return float(np.median(levels))


def small_frames(clip: Clip, step: int, camera: Camera, progress: Callable) -> np.ndarray:
    """Every step-th frame, small; where the camera sways, without that, and cut to what all of them show: uint8 [T, h, w, 3]."""
    scale = min(1.0, SIDE / min(clip.size))
    size = tuple(max(1, round(side * scale)) for side in clip.size)
    sways, frames = camera.kind == "sways", []
    larger = (
        tuple(min(own, 3 * side) for own, side in zip(clip.size, size)) if sways else size
    )  # resampled before it is blurred
    shown = ~partly_unseen(camera.poses, larger) if sways else np.ones(size, bool)
    box = np.ix_(shown.any(1), shown.any(0))
    total = len(camera.poses)
    for pose, frame in zip(camera.poses, progress(clip.resized(larger, step), "looking at what moves", total)):
        frames.append(resize(move_with_validity(frame, pose, larger)[0][box], size) if sways else frame)
    return np.stack(frames)


def seen_in(frames: np.ndarray, seconds: float, whole: bool) -> dict:
    """What moves in frames [T, h, w, 3], `seconds` apart, and what is seen behind it; `whole`: they are all the clip's."""
    background = backgrounds.median_background(frames)
    frames, exposure = evenly_lit(frames, background)
    background = backgrounds.median_background(frames)
    level = np.maximum(backgrounds.background_noise(frames, background), GRAIN)
    masks = (
        backgrounds.difference_masks(
            frames, background, float(level) if np.isscalar(level) or level.ndim == 0 else level
        )
        > 127
    )
    labels, areas = components(masks)
    found, largest = areas.max(1, initial=0) > SPECK, areas.max(1, initial=0)
    many = (areas > np.maximum(PART * largest, SPECK)[:, None]).sum(1)
    shown = masks.mean((1, 2))
    rest = longest_rest(frames, masks)
    often = 1 - masks.mean(0)
    if not found.any():
        return {"drift": exposure[0], "flicker": exposure[1]}
    step, reach = path(labels, areas)
    return {
        "movers": round(float(np.median(many[found]))),
        "mover_area": float(np.median(shown[found])),
        "largest_area": float(shown.max()),
        "step": step if whole else 0.0,
        "reach": reach,
        "at_border": float(np.mean([touches(frame) for frame in labels])),
        "seen_often": float((often >= OFTEN).mean()),
        "seen_ever": float((often > 0).mean()),
        "rest_seconds": rest * seconds,
        "rest": rest / len(frames),
        "drift": exposure[0],
        "flicker": exposure[1],
        "restless": unrest(frames, background, masks),
    }


def evenly_lit(frames: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Frames without what the exposure does to all of them, and what that was in grey levels: over the clip, and how much
    one frame usually stands out from its neighbours.
    """
    off = np.array([np.median((frame - background).reshape(-1, 3), axis=0) for frame in frames.astype(np.float32)])
    even = np.clip(frames - off[:, None, None], 0, 255).round().astype(np.uint8)
    bend = np.abs(off[1:-1] - (off[:-2] + off[2:]) / 2) if len(off) > 2 else np.zeros((1, 3))
    return even, (float(np.ptp(off, 0).max()), float(np.percentile(bend, 90)))


def components(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The separate regions of masks [T, h, w] bool; what is two pixels apart or less is one.

    Returns: labels [T, h', w'] at half the size, 0 outside, and areas [T, N] as shares of the frame, each frame's largest first.
    """
    half = masks[:, : masks.shape[1] // 2 * 2, : masks.shape[2] // 2 * 2]
    half = half[:, ::2, ::2] | half[:, 1::2, ::2] | half[:, ::2, 1::2] | half[:, 1::2, 1::2]
    near = dilate(half, 1)
    labels = np.where(near, np.arange(1, near[0].size + 1, dtype=np.int32).reshape(near.shape[1:]), 0)
    before = None
    while before is None or not np.array_equal(labels, before):
        before, wide = labels, np.pad(labels, ((0, 0), (1, 1), (1, 1)))
        around = [wide[:, 1:-1, :-2], wide[:, 1:-1, 2:], wide[:, :-2, 1:-1], wide[:, 2:, 1:-1]]
        labels = np.where(near, np.maximum.reduce([labels, *around]), 0)
    areas = [np.sort(np.bincount(frame[mask])[1:])[::-1] / mask.size for frame, mask in zip(labels, half)]
    areas = [each[each > 0] for each in areas]
    table = np.zeros((len(masks), max(map(len, areas), default=0)))
    for row, each in zip(table, areas):
        row[: len(each)] = each
    return np.where(half, labels, 0), table


def touches(labels: np.ndarray) -> bool:
    """Whether one of a frame's movers touches its border."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    movers = counts > max(PART * counts.max(), SPECK * labels.size)
    return bool(movers[labels[[0, -1]]].any() or movers[labels[:, [0, -1]]].any())


def path(labels: np.ndarray, areas: np.ndarray) -> tuple[float, float]:
    """How far the largest mover usually goes from frame to frame, and how far it gets in all, in units of its size.

    Its size is the root of its area; what it gets is the longer side of the box that its centre is in for nine tenths of the frames.
    """
    at = np.full((len(labels), 2), np.nan)
    for place, frame, share in zip(at, labels, areas.max(1, initial=0)):
        if share > SPECK:
            place[:] = np.argwhere(frame == np.bincount(frame.ravel())[1:].argmax() + 1).mean(0)
    there = ~np.isnan(at[:, 0])
    size = np.sqrt(np.median(areas.max(1)[there]) * labels[0].size)
    steps = np.hypot(*np.diff(at, axis=0).T)
    steps = steps[~np.isnan(steps)]
    far = np.ptp(np.percentile(at[there], (5, 95), axis=0), axis=0).max()
    return float(np.median(steps) / size) if len(steps) else 0.0, float(far / size)


def longest_rest(frames: np.ndarray, masks: np.ndarray) -> int:
    """The most frames in a row in which hardly anything changes, while something is there."""
    change = backgrounds.changed_share(frames)
    there = masks.mean((1, 2))[1:] > SPECK
    usual = np.percentile(change, 75)
    still = (change <= AT_REST * usual) & there
    runs = [sum(1 for _ in run) for quiet, run in itertools.groupby(still) if quiet]
    return max(runs, default=0)


def unrest(frames: np.ndarray, background: np.ndarray, masks: np.ndarray) -> float:
    """The share of the background that never keeps still: it differs from itself in half of the frames that show it."""
    differs = (np.abs(frames - background).max(-1) > GRAIN) & ~masks
    return float(np.mean(differs.sum(0) > np.maximum((~masks).sum(0), 1) / 2))


BAD = (
    (lambda s: not s.movers, "nothing moves that could be told from the background."),
    (
        lambda s: s.mover_area > 0.6,
        "what moves covers {mover_area:.0%} of the frame, so that there is no background to tell it from.",
    ),
)
CARE = (
    (
        lambda s: s.frames < 20,
        "{frames} frames are few: every one more shows more of the background and of the motion.",
    ),
    (lambda s: min(s.size) < 48, "frames of {size[1]} x {size[0]} show little of a character."),
    (
        lambda s: s.movers > 1,
        "{movers} things move apart from each other: they become one character together, with one motion.",
    ),
    (
        lambda s: 0.3 < s.mover_area <= 0.6,
        "what moves covers {mover_area:.0%} of the frame: much of the background is seldom seen.",
    ),
    (
        lambda s: s.mover_area < 0.008,
        "what moves is small, {mover_area:.1%} of the frame: train with a larger --image-size.",
    ),
    (
        lambda s: s.seen_often < 0.97,
        "{hidden:.0%} of the background shows in less than a fifth of the frames: what hides it may stay in it.",
    ),
    (
        lambda s: s.reach < 0.75,
        "it moves on the spot, by {reach:.1f} of its own size: what it never uncovers counts as background.",
    ),
    (
        lambda s: s.rest > 0.4,
        "it rests for {rest_seconds:.1f} s, {rest:.0%} of the clip: look whether a ghost of it stays in background.png.",
    ),
    (
        lambda s: s.at_border > 0.5,
        "it touches the frame's border in {at_border:.0%} of the frames: what lies outside cannot be rendered.",
    ),
    (
        lambda s: s.step > 1,
        "it goes {step:.1f} times its own size from frame to frame: a higher frame rate makes its motion easier to find.",
    ),
    (
        lambda s: s.drift > 12 or s.flicker > 6,
        "the exposure drifts by {drift:.0f} grey levels and flickers by {flicker:.0f}: masks may be patchy.",
    ),
    (
        lambda s: s.noise > 8,
        "the noise is {noise:.0f} grey levels: masks will be ragged where the character is like its background.",
    ),
    (
        lambda s: s.restless > 0.05,
        "{restless:.0%} of the background never keeps still (leaves, water, a screen, a body that hardly moves): expect specks in the masks there.",
    ),
)
TOLD = (
    (
        lambda s: s.camera == "sways",
        "the camera sways by up to {camera_pixels:.1f} pixels; that is taken out and put back.",
    ),
    (
        lambda s: not s.camera_sure,
        "the background is too plain to tell whether the camera moves; it is taken to stand still.",
    ),
)


def judge(found: ClipReport) -> tuple[str, tuple[str, ...]]:
    """The verdict in plain words, and what it rests on."""
    values = {**dataclasses.asdict(found), "hidden": 1 - found.seen_often}
    bad, care, told = ([text.format(**values) for holds, text in kind if holds(found)] for kind in (BAD, CARE, TOLD))
    if bad:
        return "does not suit", (*bad, *told)
    return ("suits with care" if care else "suits"), (*care, *told)
