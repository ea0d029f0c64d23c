"""A camera that travels, followed: each frame registered on a key frame near by, and the key frames on each other.

From the middle of the clip outwards a frame is registered on one a few frames before, from where the camera would be if
it went on as before. From there it is registered once more, on a key frame as far away as shares enough with it, so
that hardly any errors add up; and keys that see the same place again tie their chain together (a pose graph).

A pose is a similarity (pan, zoom, roll); a homography where that explains clearly more of the background, as where the
lens is wide.

Convention: poses carry places of the middle frame to where their content is in each frame, in square coordinates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eqvid_tf.camera.registration import Homography, KeyFrame, square_coordinates, tiles_with_edges
from eqvid_tf.progress import no_progress

SHARED = 0.7  # of a frame that its key must show, else it becomes a key itself
WORN, LEAST_STRIDE = 0.5, 4  # residual of a frame that is a key in the chain, so many frames or more from its own
TIED = 0.4  # of a key that another must show for the two to be registered on each other
MOST_TIES = 6  # of a key to others
COMPARED = 0.5  # of the middle frame that another must show, to say whether perspective explains more
MOST_COMPARED = 20  # frames that are looked at to say so
SURELY_BETTER = 0.85  # of the residual that similarities leave from there: whose own way need not be followed
CLEARLY_BETTER = 0.95  # of the residual of similarities: homographies that leave less are taken
JUMP = 0.5  # of the longer side: homographies by which a corner goes farther in a frame have gone astray
FEW = 0.05  # of the frames: homographies may lose so many more than similarities
ASTRAY = 0.6  # of the frame that may differ from its neighbours' key; where more does, it shows another place
IDENTITY = Homography(np.eye(3))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """The poses of a travelling camera.

    Attributes:
        poses: from the middle frame to each, a homography each.
        lost: the frames that show another place than those before them, bool [T].
        projective: whether the poses are homographies that explain clearly more than similarities.
    """

    poses: list[Homography]
    lost: np.ndarray
    projective: bool


def follow(frames: Sequence[np.ndarray], progress: Callable[..., Any] = no_progress, sparse: bool = False) -> Followed:
    """Follow the camera over frames of grey levels [h, w], all of one shape; `sparse` where they have few edges."""
    if sparse:
        return _follow(frames, "sparse", progress)
    projective = _follow(frames, "projective", progress)
    if _goes_astray(projective.poses, frames[0].shape):
        return _follow(frames, "similar", progress)
    near = _near_middle(projective.poses, frames[0].shape)
    middle = KeyFrame(frames[len(frames) // 2], "projective")
    residual = lambda poses: float(np.mean([middle.misfit(frames[k], poses[k]) for k in near]))
    left, few = residual(projective.poses), FEW * len(frames)
    share_of = lambda poses: left / max(residual(poses), 1e-9)
    if projective.lost.sum() <= few and share_of(_similarities(frames, projective.poses, near)) < SURELY_BETTER:
        return projective
    similar = _follow(frames, "similar", progress)
    more_lost = projective.lost.sum() - similar.lost.sum()
    return projective if share_of(similar.poses) < CLEARLY_BETTER and more_lost <= few else similar


def _goes_astray(poses: list[Homography], shape: tuple[int, ...]) -> bool:
    """Whether a corner jumps far from a frame to the next: few edges can be fitted by bending the rest away."""
    size = shape[0], shape[1]
    return any((after @ before.inverse()).travel(size) > JUMP * max(size) for before, after in zip(poses, poses[1:]))


def _near_middle(poses: list[Homography], shape: tuple[int, ...]) -> list[int]:
    """The frames that show most of the middle one: of many, some."""
    near = [k for k, pose in enumerate(poses) if _share(pose, shape) > COMPARED]
    return near[:: -(-len(near) // MOST_COMPARED)]


def _similarities(
    frames: Sequence[np.ndarray], poses: list[Homography], chosen: Sequence[int]
) -> dict[int, Homography]:
    """The similarities that fit some frames best on the middle one, found from poses that are none, by frame."""
    middle = KeyFrame(frames[len(frames) // 2], "similar")
    return {k: middle.refine(frames[k], poses[k].similarity()) for k in chosen}


def _richest(frames: Sequence[np.ndarray]) -> int:
    """The frame that has edges in most of its tiles; of several the one nearest to the middle."""
    tiles = [np.count_nonzero(tiles_with_edges(np.asarray(frame, np.float32))) for frame in frames]
    return max(range(len(frames)), key=lambda k: (tiles[k], -abs(k - len(frames) // 2)))


def _follow(frames: Sequence[np.ndarray], kind: str, progress: Callable[..., Any]) -> Followed:
    """Chain the frames from one outwards, and register each on a key that is far away."""
    count, first = len(frames), _richest(frames) if kind == "sparse" else len(frames) // 2
    chained, lost = _chain(frames, kind, progress, first)
    keys = {first: KeyFrame(frames[first], kind)}
    found = {first: (first, IDENTITY)}  # of each frame: its key, and its pose from there
    for outwards in (range(first + 1, count), range(first - 1, -1, -1)):
        key = first
        for index in outwards:
            start = chained[index] @ chained[key].inverse()
            found[index] = (key, keys[key].refine(frames[index], start))
            if _share(found[index][1], frames[0].shape) < SHARED:
                key, keys[index] = index, KeyFrame(frames[index], kind)
    of_keys = _tied(keys, {k: found[k] for k in keys}, frames)
    poses = [found[k][1] @ of_keys[found[k][0]] for k in range(count)]
    from_middle = poses[count // 2].inverse()
    poses = [pose @ from_middle for pose in poses]
    return Followed(poses=poses, lost=lost, projective=kind == "projective")


def _chain(
    frames: Sequence[np.ndarray], kind: str, progress: Callable[..., Any], first: int
) -> tuple[list[Homography], np.ndarray]:
    """Poses from the first frame, registered each on a frame not far before it; and which show another place."""
    count = len(frames)
    poses, lost = {first: IDENTITY}, np.zeros(count, bool)
    outwards = [*range(first + 1, count), *range(first - 1, -1, -1)]
    for index in progress(outwards, "following the camera", count - 1):
        if abs(index - first) == 1:
            key, there, pose, before = first, KeyFrame(frames[first], kind), IDENTITY, IDENTITY
        start, before = pose @ before.inverse() @ pose, pose
        pose, unlike, residual = there.register(frames[index], [start, before])
        poses[index], lost[index] = pose @ poses[key], unlike > ASTRAY
        worn = residual > WORN and abs(index - key) >= LEAST_STRIDE
        if worn or _share(pose, frames[0].shape) < SHARED:
            before, key, there, pose = before @ pose.inverse(), index, KeyFrame(frames[index], kind), IDENTITY
    return [poses[k] for k in range(count)], lost


def _share(pose: Homography, shape: tuple[int, ...]) -> float:
    """The share of a frame that is within another at a pose between the two."""
    grid, aspect = square_coordinates((12, 16)), shape[1] / shape[0]
    there = pose.apply(grid.real * aspect * 12 / 16 + 1j * grid.imag)
    return float(np.mean((np.abs(there.real) < aspect) & (np.abs(there.imag) < 1)))


def _tied(
    keys: dict[int, KeyFrame], chained: dict[int, tuple[int, Homography]], frames: Sequence[np.ndarray]
) -> dict[int, Homography]:
    """The poses of the keys from the middle one, by least squares over all pairs that share a place.

    Matrices of determinant 1 multiply as they are, so that pose(b) = edge(a, b) @ pose(a) is linear in the poses.
    """
    poses: dict[int, Homography] = {}
    for key in keys:  # in the order in which they were found: each after the key that it was registered on
        before, pose = chained[key]
        poses[key] = pose @ poses[before] if before != key else IDENTITY
    edges = [(before, key, pose.matrix) for key, (before, pose) in chained.items() if before != key]
    done = {frozenset(edge[:2]) for edge in edges}
    for key, there in keys.items():
        others = [k for k in keys if k != key and frozenset((k, key)) not in done]
        shares = {k: _share(poses[k] @ poses[key].inverse(), frames[0].shape) for k in others}
        for k in sorted((k for k in others if shares[k] > TIED), key=lambda k: -shares[k])[:MOST_TIES]:
            done.add(frozenset((k, key)))
            start = poses[k] @ poses[key].inverse()
            pose = there.refine(frames[k], start)
            if _share(pose @ start.inverse(), frames[0].shape) > SHARED:
                edges.append((key, k, pose.matrix))
    return _solve(list(poses), edges) if len(edges) >= len(keys) else poses


def _solve(keys: list[int], edges: list[tuple[int, int, np.ndarray]]) -> dict[int, Homography]:
    """The poses that agree best with the edges; that of the first key is the identity."""
    place = {key: 3 * k for k, key in enumerate(keys)}
    equations, values = np.zeros((3 * len(edges) + 3, 3 * len(keys))), np.zeros((3 * len(edges) + 3, 3))
    equations[-3:, :3], values[-3:] = 1e3 * np.eye(3), 1e3 * np.eye(3)
    for row, (first, second, matrix) in enumerate(edges):
        equations[3 * row : 3 * row + 3, place[second] : place[second] + 3] += np.eye(3)
        equations[3 * row : 3 * row + 3, place[first] : place[first] + 3] -= matrix
    solved = np.linalg.lstsq(equations, values, rcond=None)[0].reshape(-1, 3, 3)
    return {key: Homography.normalized(matrix) for key, matrix in zip(keys, solved)}
