"""What a clip's camera does, measured on the background: it stands still, sways about one view, or travels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from eqvid_tf.camera.following import IDENTITY, Followed, follow
from eqvid_tf.camera.registration import (
    SAME_PLACE,
    STILL,
    TILES,
    Homography,
    KeyFrame,
    Pose,
    Reference,
    Registration,
    read_at,
    square_coordinates,
    tiles_with_edges,
)
from eqvid_tf.data.clips import Clip, ClipError, Indices
from eqvid_tf.pixels.coordinates import carry
from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.progress import no_progress

LONGER_SIDE = 432  # pixels of the frames that are compared; larger ones take longer, and poses are exact enough
MOST_IN_MEMORY = 128  # frames, 50 MB; those of a longer clip are decoded twice
KEYS, LEAST_KEYS, A_KEY = 32, 16, 3  # frames, spread over the clip, whose median is the reference: one in three
BESIDE_MIDDLE = (1, 2, 4, 8)  # frames from the middle one that are keys too: even a fast camera is still near it
UNCERTAIN = 6.0  # grey levels of difference between the keys at which a place of the reference counts half
FEWEST_TILES = 8  # with edges, out of 48; with fewer nothing can be said about the camera
SPAN = 0.7  # of the frame's width or height that the tiles which vote for a motion must span: no character does
BETTER = 0.8  # a tile votes for the residual that is below this share of the other one
MAJORITY = 0.75  # of the votes
LOST = 0.25  # of the tiles: where fewer show the same place, the frame shows another
MOST_MOVE = 0.5  # of the frames: before plain ground, a camera moves where scenery moves in more
LEAST_AWAY = 6  # frames of another pose, from which the places that stay are told ...
FEWEST_STAY, SHARE_STAY = 3, 0.2  # ... and the tiles that do so at least, and of those that vote; moving cameras: 0.06
LATER, CLEAR_OF = 12, 3  # frames later at the most, and times the limit of standing still, that its motion is clear
BORDERS = 2  # of the four that tiles must reach which move with the camera
STAY = 0.9  # of the frames: a tile that has edges in as many has those of the background
PLAIN = 0.6  # of the tiles that ever have edges: where fewer keep them, they are those of characters on plain ground
SELDOM = 0.1  # of the frames: a camera that is lost in fewer was followed well
MOST_LOST = 0.3  # of the frames: where more show another place, the clip has no one background
SHORTEST = 8  # frames that it takes to say so
SWAY = 0.0015  # of the longer side: a camera that moves by less stands still ...
LEAST_SWAY, MOST_SWAY = 0.2, 1.0  # pixels between which that limit is held
NEAR = 4  # times that limit: up to there, a pose that the votes leave open is believed
PERSPECTIVE = 0.01  # of the longer side: where a camera sways by more, perspective may show
TRAVEL = 0.08  # of the longer side: a camera that moves by more travels
FEWEST_MOVED, SHARE_MOVED = 2, 0.02  # frames, and of the frames: so many must have moved
VERSION = 9  # of what is measured; raised whenever the same clip would give another answer
CORNERS = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])  # of a frame
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601: weights of red, green and blue


class CameraTravels(ClipError):
    """A clip without one background: its camera goes too far, or its frames show different places."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """What a clip's camera does.

    Convention: `poses` [T, 2, 3] are forward motions in normalized coordinates: the background at p in frame t is at
        poses[t] @ [p, 1] in frame `reference`, whose own pose is the identity. If the camera stands still, all are. Of
        a camera that travels, or sways with perspective, they are homographies [T, 3, 3].

    Attributes:
        kind: "still", "sways" or "travels".
        poses: from each frame to the reference, float64.
        reference: index of the frame that lies nearest to the middle of all; of a camera that travels the middle one.
        pixels: the largest distance, in the clip's own pixels, between a corner of a frame and that of the reference.
        lost: share of the frames that show another place than the reference.
        sure: whether enough edges of the background agree; on a plain one they do not, and its camera counts as still.
    """

    kind: str
    poses: np.ndarray
    reference: int
    pixels: float
    lost: float
    sure: bool

    @staticmethod
    def still(count: int) -> Camera:
        """The camera of `count` frames that stands still."""
        poses = np.tile(np.eye(2, 3), (count, 1, 1))
        return Camera(kind="still", poses=poses, reference=count // 2, pixels=0.0, lost=0.0, sure=True)


def camera_of(clip: Clip, progress: Callable[..., Any] = no_progress) -> Camera:
    """The camera of a whole clip: measured once, and remembered as long as the clip's decoded frames are."""

    def make() -> dict[str, Any]:
        camera = measure(clip, progress=progress)
        return {**vars(camera), "poses": camera.poses.tolist()}

    note = clip.noted(f"camera-{VERSION}", make)
    return Camera(**{**note, "poses": np.array(note["poses"], np.float64)})


def measure(clip: Clip, step: int = 1, progress: Callable[..., Any] = no_progress) -> Camera:
    """Measure a camera by registering the clip's frames on one reference, the median of some of them.

    Why one reference: over a chain of steps errors add up. Why a median: any one frame has the character in it. Memory
    is bounded by `MOST_IN_MEMORY` and the keys.

    Args:
        clip: an open clip.
        step: every step-th frame is looked at and has a pose.
        progress: called as progress(frames, label, total); returns the frames.
    """
    count = len(range(0, clip.count, step))
    in_memory = list(_every(clip, step)) if count <= MOST_IN_MEMORY else None
    chosen = _key_indices(count)
    keys = {k: frame for k, frame in enumerate(in_memory or _every(clip, step)) if k in chosen}
    if _is_plain(list(keys.values())):
        return _before_plain_ground(in_memory or _small_frames(clip, step), clip.size, progress)
    outwards, registered, followed = _register_outwards(keys), dict[int, Registration](), None
    for some in (_until_it_travels(outwards, len(keys), clip.size), outwards):
        registered |= some
        by_keys = _judge([registered[k] for k in chosen if k in registered], clip.size)
        if by_keys.kind == "travels":
            if _places_stay(list(registered.values()), clip.size):
                return Camera.still(count)
            followed = followed or _follow(clip, step, in_memory, progress)
            if by_keys.lost <= MOST_LOST or _is_sure_to_travel(followed, clip.size):
                return followed
    poses = _key_poses(registered, clip.size)
    reference, start, registrations = _median_reference(keys, poses, clip.size), STILL, []
    for frame in progress(in_memory or _every(clip, step), "watching the camera", count):
        registrations.append(reference.register(frame, [start, STILL]))
        start = registrations[-1].pose
    camera = _judge(registrations, clip.size)
    if not (camera.sure or by_keys.lost <= MOST_LOST):
        camera = by_keys  # the keys have nothing in common: their median is plain, but they are not
    if camera.kind == "travels":
        return followed or _follow(clip, step, in_memory, progress)
    if camera.kind == "sways" and camera.pixels > PERSPECTIVE * max(clip.size):
        return _follow(clip, step, in_memory, progress, camera)
    return camera


def _before_plain_ground(frames: list[np.ndarray], size: tuple[int, int], progress: Callable[..., Any]) -> Camera:
    """The camera of frames with few edges, where most may be those of characters.

    It is followed, and believed where scenery moves as it does; else it is taken to stand still.
    """
    followed = follow(frames, progress, sparse=True)
    if not _scenery_moves(frames, followed.poses, size):
        return dataclasses.replace(Camera.still(len(frames)), sure=False)
    camera = _camera_of_followed(followed, size)
    return camera if camera.pixels > TRAVEL * max(size) else dataclasses.replace(camera, kind="sways")


def _scenery_moves(frames: list[np.ndarray], poses: list[Homography], size: tuple[int, int]) -> bool:
    """Whether in most frames tiles all over them, up to their borders, fit better at the poses than without.

    Why up to the borders: scenery goes on beyond a frame, characters are mostly within it. Two that go the same way
    look like a camera but for that.

    Args:
        frames: grey levels [h, w].
        poses: from one of them to each.
        size: of the clip.
    """
    votes = [False] * len(frames)
    for k, frame in enumerate(frames):
        away = [pose @ poses[k].inverse() for pose in poses[k : k + LATER + 1]]
        beyond = [n for n, pose in enumerate(away) if pose.travel(size) > CLEAR_OF * _still_limit(size)]
        if beyond:
            key, later = KeyFrame(frame, "sparse"), frames[k + beyond[0]]
            votes[k] = _moves_all_over(key.residuals(later, away[beyond[0]]), key.residuals(later, IDENTITY))
    return float(np.mean(votes)) > MOST_MOVE


def _moves_all_over(residual: np.ndarray, residual_still: np.ndarray) -> bool:
    """Whether most tiles fit better at a pose than without it, and those span the frame and reach its borders."""
    with np.errstate(invalid="ignore"):
        moved, still = residual < BETTER * residual_still, residual_still < BETTER * residual
        grid = (moved & (residual < SAME_PLACE)).reshape(TILES)
    if not grid.any() or moved.sum() < MAJORITY * (moved | still).sum():
        return False
    borders = sum(bool(side.any()) for side in (grid[0], grid[-1], grid[:, 0], grid[:, -1]))
    return borders >= BORDERS and _spans(grid)


def _spans(grid: np.ndarray) -> bool:
    """Whether some tiles, bool [rows, columns], lie all over a frame."""
    return any(np.ptp(lines) + 1 >= SPAN * cells for lines, cells in zip(np.nonzero(grid), TILES))


def _places_stay(registrations: Sequence[Registration], size: tuple[int, int]) -> bool:
    """Whether some tiles fit better without the poses in nearly all frames of another pose: then it is a character's.

    Why: it may have more edges than all else, as an arm before a wall; but before a camera that moves no place stays.
    """
    away = [each for each in registrations if each.pose.travel(size) > CLEAR_OF * _still_limit(size)]
    if len(away) < LEAST_AWAY:
        return False
    votes = [_Votes(each) for each in away]
    moved = np.sum([vote.moved for vote in votes], 0)
    still = np.sum([vote.still & (each.residual_still < SAME_PLACE) for vote, each in zip(votes, away)], 0)
    known = still + moved >= len(away) / 2
    stay = int((known & (still > MAJORITY * (still + moved))).sum())
    return stay >= max(FEWEST_STAY, SHARE_STAY * known.sum())


def _is_sure_to_travel(followed: Camera, size: tuple[int, int]) -> bool:
    """Whether a camera that was followed hardly ever got lost, and got far."""
    return followed.lost <= SELDOM and followed.pixels > TRAVEL * max(size)


def _follow(
    clip: Clip, step: int, in_memory: list[np.ndarray] | None, progress: Callable[..., Any], sway: Camera | None = None
) -> Camera:
    """The camera of a clip, followed from frame to frame. Memory: a tenth of a megabyte a frame.

    Where it was found to sway, that stays unless perspective explains clearly more.
    """
    followed = follow(in_memory or _small_frames(clip, step), progress)
    if sway and not (followed.projective and not followed.lost.any()):
        return sway
    camera = _camera_of_followed(followed, clip.size)
    return dataclasses.replace(camera, kind="sways") if sway else camera


def _camera_of_followed(followed: Followed, size: tuple[int, int]) -> Camera:
    """The travelling camera of poses, with those between that are lost."""
    poses = np.stack([pose.inverse().motion(size) for pose in followed.poses])
    poses /= poses[:, 2:, 2:]
    good, every = np.flatnonzero(~followed.lost), np.arange(len(poses))
    lost = 1 - len(good) / len(poses)
    if len(good):
        between = [np.interp(every, good, poses[good].reshape(len(good), 9)[:, k]) for k in range(9)]
        poses = np.stack(between, -1).reshape(-1, 3, 3)
    moved = (carry(poses, CORNERS) - CORNERS) * np.array(size[::-1]) / 2
    pixels = float(np.hypot(*np.moveaxis(moved, -1, 0)).max())
    return Camera(kind="travels", poses=poses, reference=len(poses) // 2, pixels=pixels, lost=lost, sure=True)


def _key_indices(count: int) -> list[int]:
    """Indices of the frames that the reference is made of: spread over the clip, and some around its middle."""
    middle = count // 2
    around = [middle + sign * step for step in BESIDE_MIDDLE for sign in (-1, 1)]
    number = min(count, int(np.clip(count / A_KEY, LEAST_KEYS, KEYS)))
    keys = {*np.linspace(0, count - 1, number).round().astype(int).tolist(), middle, *around}
    return sorted(k for k in keys if 0 <= k < count)


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) at which frames of a size are compared."""
    scale = min(1.0, LONGER_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def grey_frames(clip: Clip, indices: Indices) -> Iterator[np.ndarray]:
    """Frames of a clip, of rising indices, in grey, float32 [h, w], small."""
    for frame in clip.resized(small_size(clip.size), indices):
        yield frame.astype(np.float32) @ LUMA


def _every(clip: Clip, step: int) -> Iterator[np.ndarray]:
    """Every step-th frame of a clip, see `grey_frames`."""
    return grey_frames(clip, range(0, clip.count, step))


def _small_frames(clip: Clip, step: int) -> list[np.ndarray]:
    """The frames of a clip in grey, uint8 [h, w], small: a tenth of a megabyte each."""
    return [frame.round().astype(np.uint8) for frame in _every(clip, step)]


def _register_outwards(keys: dict[int, np.ndarray]) -> Iterator[tuple[int, Registration]]:
    """The keys registered on the middle one, from there outwards, so that each pose starts from its neighbour's."""
    order = list(keys)
    middle = order[len(order) // 2]
    reference, start = Reference(keys[middle]), {False: STILL, True: STILL}
    for k in sorted(order, key=lambda k: abs(k - middle)):
        registration = reference.register(keys[k], [start[k > middle], STILL])
        if _has_moved(registration):
            start[k > middle] = registration.pose
        yield k, registration


def _until_it_travels(
    outwards: Iterator[tuple[int, Registration]], count: int, size: tuple[int, int]
) -> Iterator[tuple[int, Registration]]:
    """The first of `count` registrations: so many that those lost, or far away, say that the camera must travel."""
    beyond, lost = 0, 0
    for k, registration in outwards:
        yield k, registration
        moved = _has_moved(registration)
        beyond += moved and registration.pose.travel(size) > 2 * TRAVEL * max(size)  # from whichever frame
        lost += _shows_another_place(registration, moved, size)
        if beyond >= _enough_moved(count) or _are_too_many(lost, count):
            return


def _is_plain(frames: Sequence[np.ndarray]) -> bool:
    """Whether most of the edges in the frames come and go: those of characters on plain ground."""
    share = np.mean([tiles_with_edges(frame) for frame in frames], 0)
    return bool((share >= STAY).sum() < PLAIN * (share > 0).sum())


def _key_poses(registered: dict[int, Registration], size: tuple[int, int]) -> dict[int, Pose]:
    """The poses of the keys that have moved; the others stand still."""
    limit = _still_limit(size)
    moved = {k: _has_moved(each) and each.pose.travel(size) > limit for k, each in registered.items()}
    return {k: each.pose if moved[k] else STILL for k, each in registered.items()}


def _median_reference(keys: dict[int, np.ndarray], poses: dict[int, Pose], size: tuple[int, int]) -> Reference:
    """The median of the keys, moved onto the one nearest to their middle; where they differ it counts less."""
    middle, aligned = list(poses.values())[_nearest_to_median(list(poses.values()), size)], []
    for k, frame in keys.items():
        pose = poses[k] @ middle.inverse()
        value, within = read_at(frame, pose.apply(square_coordinates(frame.shape)))
        aligned.append(frame if pose == STILL else np.where(within, value, np.nan))
    picture = nan_median(np.stack(aligned))
    difference = nan_median(np.abs(aligned - picture))
    unseen = np.isnan(picture)
    picture[unseen], difference[unseen] = 0, np.inf
    weight = 1 / (1 + (difference / UNCERTAIN) ** 2)
    return Reference(picture.astype(np.float32), weight.astype(np.float32))


def _still_limit(size: tuple[int, int]) -> float:
    """Pixels up to which the camera of frames of `size` stands still."""
    return float(np.clip(SWAY * max(size), LEAST_SWAY, MOST_SWAY))


def _has_moved(registration: Registration) -> bool:
    """Whether most tiles, all over the frame, fit better at the pose than without: it is not the character's."""
    votes = _Votes(registration)
    known = int(registration.known.sum())
    if known < FEWEST_TILES or registration.unlike > registration.unlike_still:
        return False
    if votes.moved.sum() < max(known / 2, MAJORITY * (votes.moved | votes.still).sum()):
        return False
    return _spans(votes.moved.reshape(TILES))


class _Votes:
    """The tiles that fit better at the pose than without, and those that fit worse, bool [N]."""

    def __init__(self, registration: Registration):
        with np.errstate(invalid="ignore"):
            self.moved = (registration.residual < BETTER * registration.residual_still) | registration.matched
            self.still = (registration.residual_still < BETTER * registration.residual) & ~registration.matched


def _shows_another_place(registration: Registration, moved: bool, size: tuple[int, int]) -> bool:
    """Whether too few tiles fit, or they speak against standing still and yet not for one pose."""
    known = registration.known
    if known.sum() < FEWEST_TILES or moved:
        return False
    with np.errstate(invalid="ignore"):
        fits = registration.fits | (registration.residual_still < SAME_PLACE)
    votes = _Votes(registration)
    against = votes.moved.sum() >= max(LOST * known.sum(), MAJORITY * (votes.moved | votes.still).sum())
    return bool(fits[known].mean() < LOST or (against and registration.pose.travel(size) > _still_limit(size)))


def _judge(registrations: Sequence[Registration], size: tuple[int, int]) -> Camera:
    """The camera of frames that are registered on one reference."""
    moved = np.array([_has_moved(each) for each in registrations])
    reference = _nearest_to_median([each.pose for each in registrations], size)
    from_reference = [each.pose @ registrations[reference].pose.inverse() for each in registrations]
    from_reference[reference] = STILL  # without rounding
    distance = np.array([pose.travel(size) for pose in from_reference])
    elsewhere = [_shows_another_place(each, it_moved, size) for each, it_moved in zip(registrations, moved)]
    lost = float(np.mean(elsewhere))
    kind = _kind(distance[moved], len(registrations), lost, size)
    if kind == "travels":
        pixels = float(distance[moved].max(initial=0))
    else:
        from_reference = _trusted_poses(registrations, from_reference, moved, size, kind)
        pixels = max((pose.travel(size) for pose in from_reference), default=0.0)
    return Camera(
        kind=kind,
        poses=np.stack([pose.inverse().motion(size) for pose in from_reference]),
        reference=reference,
        pixels=pixels,
        lost=lost,
        sure=bool(np.median([each.known.sum() for each in registrations]) >= FEWEST_TILES),
    )


def _kind(distance: np.ndarray, count: int, lost: float, size: tuple[int, int]) -> str:
    """What the camera does, from the distances in pixels of those of `count` frames that have moved."""
    many_beyond = lambda limit: (distance > limit).sum() >= _enough_moved(count)
    if _are_too_many(lost * count, count) or many_beyond(TRAVEL * max(size)):
        return "travels"
    return "sways" if many_beyond(_still_limit(size)) else "still"


def _are_too_many(lost: float, count: int) -> bool:
    """Whether so many of `count` frames are lost that the clip has no one background."""
    return lost > MOST_LOST * count and count >= SHORTEST


def _enough_moved(count: int) -> float:
    """How many of `count` frames must have moved for the camera to."""
    return max(FEWEST_MOVED, SHARE_MOVED * count)


def _trusted_poses(
    registrations: Sequence[Registration], poses: list[Pose], moved: np.ndarray, size: tuple[int, int], kind: str
) -> list[Pose]:
    """The poses of a camera that does not travel: all still, or with those interpolated that the votes contradict."""
    if kind == "still":
        return [STILL] * len(poses)
    near = np.array([each.pose.travel(size) <= NEAR * _still_limit(size) for each in registrations])
    votes = [_Votes(each) for each in registrations]
    trusted = moved | (near & np.array([each.still.sum() <= each.moved.sum() for each in votes]))
    good, every = np.flatnonzero(trusted), np.arange(len(poses))
    scales = np.interp(every, good, np.array([pose.scale for pose in poses])[good])
    shifts = np.interp(every, good, np.array([pose.shift for pose in poses])[good])
    return [poses[k] if trusted[k] else Pose(complex(scales[k]), complex(shifts[k])) for k in every]


def _nearest_to_median(poses: Sequence[Pose], size: tuple[int, int]) -> int:
    """Index of the pose that lies nearest to their median, part by part."""
    parts = [[pose.scale.real, pose.scale.imag, pose.shift.real, pose.shift.imag] for pose in poses]
    scale_real, scale_imaginary, x, y = np.median(parts, axis=0)
    from_median = Pose(complex(scale_real, scale_imaginary), complex(x, y)).inverse()
    return int(np.argmin([(pose @ from_median).travel(size) for pose in poses]))
