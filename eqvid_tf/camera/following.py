"""A camera that travels, followed: each frame registered on a key frame near by, and the key frames on each other.

From the middle of the clip outwards a frame is registered on the last key, from where the camera would be if it went on
as before; where it shares too little with that key it becomes the next one. Keys that see the same place again tie the
chain together (a pose graph), so that its errors do not add up.

A pose is a similarity (pan, zoom, roll); a homography where that explains clearly more of the background, as where the
lens is wide.

Convention: poses carry places of the middle frame to where their content is in each frame, in square coordinates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eqvid_tf.camera.registration import Homography, KeyFrame, square_coordinates
from eqvid_tf.progress import no_progress

SHARED = 0.7  # of a frame that its key must show, else it becomes a key itself
TIED = 0.4  # of a key that another must show for the two to be registered on each other
MOST_TIES = 6  # of a key to others
CLEARLY_BETTER = 0.9  # of the residual of similarities: homographies that leave less are taken
ASTRAY = 0.85  # of the frame that may differ at a pose; where more does, it shows another place
IDENTITY = Homography(np.eye(3))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """The poses of a travelling camera.

    Attributes:
        poses: from the middle frame to each, a homography each.
        unlike: the share of each frame that differs from its key at its pose, [T] in [0, 1].
        residual: the mean squared residual at edges, as a share of their variance, [T].
        projective: whether the poses are homographies that explain clearly more than similarities.
    """

    poses: list[Homography]
    unlike: np.ndarray
    residual: np.ndarray
    projective: bool

    @property
    def lost(self) -> np.ndarray:
        """The frames that show another place than their key, bool [T]."""
        return self.unlike > ASTRAY


def follow(frames: Sequence[np.ndarray], progress: Callable[..., Any] = no_progress) -> Followed:
    """Follow the camera over frames of grey levels [h, w], all of one shape."""
    similar = _chain(frames, False, progress)
    projective = _chain(frames, True, progress)
    better = projective.residual.mean() < CLEARLY_BETTER * similar.residual.mean()
    return projective if better and projective.unlike.mean() < similar.unlike.mean() else similar


def _chain(frames: Sequence[np.ndarray], projective: bool, progress: Callable[..., Any]) -> Followed:
    """Register each frame on the key before it, and the keys on each other."""
    count, middle = len(frames), len(frames) // 2
    keys = {middle: KeyFrame(frames[middle], projective)}
    found = {middle: (middle, IDENTITY, 0.0, 0.0)}  # of each frame: its key, its pose from there, unlike, residual
    outwards = [*range(middle + 1, count), *range(middle - 1, -1, -1)]
    key, pose, before = middle, IDENTITY, IDENTITY
    for index in progress(outwards, "following the camera", count - 1):
        if index == middle - 1:
            key, pose, before = middle, IDENTITY, IDENTITY
        step = pose @ before.inverse()
        start, before = step @ pose, pose
        pose, unlike, residual = keys[key].register(frames[index], [start, before])
        found[index] = (key, pose, unlike, residual)
        if _share(pose, frames[0].shape) < SHARED:
            keys[index] = KeyFrame(frames[index], projective)
            before, key, pose = before @ pose.inverse(), index, IDENTITY
    of_keys = _tied(keys, {k: found[k][:2] for k in keys}, frames)
    every = [found[k] for k in range(count)]
    return Followed(
        poses=[pose @ of_keys[key] for key, pose, _, _ in every],
        unlike=np.array([unlike for *_, unlike, _ in every]),
        residual=np.array([residual for *_, residual in every]),
        projective=projective,
    )


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
            pose, unlike, _ = there.register(frames[k], [start])
            if unlike < ASTRAY and _share(pose @ start.inverse(), frames[0].shape) > SHARED:
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
    solved /= np.cbrt(np.linalg.det(solved))[:, None, None]
    return {key: Homography(matrix) for key, matrix in zip(keys, solved)}
