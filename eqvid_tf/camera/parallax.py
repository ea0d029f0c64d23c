"""Parallax: how far parts of the background go astray from the one motion of a camera that moves.

What is nearer than most goes by faster. Between two frames, the camera's motion taken out, optical flow tells what
still moves. Of that, what is in proportion to the way that the camera made it go is parallax: leaves and waves move as
they like, and a character that the camera follows goes by much more of that way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import cv2
import numpy as np

from eqvid_tf.camera.measure import LONGER_SIDE, VERSION, Camera, grey_frames, small_size
from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.coordinates import carry, homogeneous, pixel_centres
from eqvid_tf.pixels.flow import optical_flow

PAIRS, LATER = 24, 12  # of frames that are compared, and how much later the second is at the most
LEAST_WAY = 0.03  # of the longer side, that the camera goes between the two
CELLS = (12, 16)  # rows and columns of a frame's area in which the background is looked at
AGREE = 1.0  # pixels by which flow there and back may miss
LEAST_GRADIENT = 20.0  # of a pixel (Sobel), without which its flow is a guess
FEWEST_PIXELS, FEWEST_PAIRS = 30, 4  # of a cell that are known
EXPLAINED = 0.5  # of what a cell's flow is, by the camera's way
OWN = 1 / 3  # of that way: what goes by more moves by itself
MOST = 0.9  # of the cells go astray by the figure or by less
NOTABLE = 0.01  # of the longer side: what is told
TOO_FAR = 0.08  # of the longer side: where half goes astray by more, there is no one background


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parallax:
    """How far the background goes astray.

    Attributes:
        pixels: of the clip, by which a tenth of it goes astray from the mosaic, or by more.
        usual: the same of half of it.
        place: where in the frames, in words; "" where nothing does.
    """

    pixels: float = 0.0
    usual: float = 0.0
    place: str = ""

    def remark(self, size: tuple[int, int]) -> str:
        """What to expect in a clip of a size (height, width); "" where it hardly matters."""
        if self.pixels <= NOTABLE * max(size):
            return ""
        return (
            f"parts of the background go astray by up to {self.pixels:.0f} pixels from the rest, most {self.place}: "
            "they are nearer or farther (parallax), or water. They stay restless, and parts of them may be in masks."
        )

    def refusal(self, size: tuple[int, int]) -> str:
        """Why a clip of a size (height, width) has no one background; "" where it has."""
        if self.usual <= TOO_FAR * max(size):
            return ""
        return (
            "no one motion of the camera explains the background; half of it goes astray by "
            f"{self.usual:.0f} pixels and more."
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Sighting:
    """A cell of the background in a pair of frames: its flow, and the way that the camera made it go, [2] in pixels."""

    flow: np.ndarray
    way: np.ndarray
    place: np.ndarray  # in the first frame, normalized


def parallax_of(clip: Clip, camera: Camera) -> Parallax:
    """The parallax of a whole clip: measured once, and remembered as long as the clip's decoded frames are."""
    measured = lambda: dataclasses.asdict(measure_parallax(clip, camera))
    return Parallax(**clip.noted(f"parallax-{VERSION}", measured)) if camera.kind == "travels" else Parallax()


def measure_parallax(clip: Clip, camera: Camera) -> Parallax:
    """Measure the parallax of a clip as it was filmed.

    Args:
        clip: an open clip.
        camera: its own, of all frames.
    """
    size = small_size(clip.size)
    poses, pairs = homogeneous(camera.poses), _pairs(camera, size)
    chosen = sorted({index for pair in pairs for index in pair})
    frames = {k: frame.round().astype(np.uint8) for k, frame in zip(chosen, grey_frames(clip, chosen))}
    cells: dict[tuple[int, int], list[_Sighting]] = {}
    for first, second in pairs:
        for cell, sighting in _sightings(frames[first], frames[second], poses[first], poses[second]):
            cells.setdefault(cell, []).append(sighting)
    known = {cell: seen for cell, seen in cells.items() if len(seen) >= FEWEST_PAIRS}
    share = {cell: _share_of_way(seen) for cell, seen in known.items()}
    still = [cell for cell in known if abs(share[cell]) < OWN]
    if not still:
        return Parallax()
    astray = np.array([abs(share[cell]) * _reach(cell, poses, size) / 2 for cell in still])
    astray /= min(1.0, LONGER_SIDE / max(clip.size))
    pixels, usual = (float(figure) for figure in np.quantile(astray, (MOST, 0.5)))
    places = [np.mean([one.place for one in known[cell]], 0) for cell, far in zip(still, astray) if far >= pixels > 0]
    return Parallax(pixels=pixels, usual=usual, place=_in_words(np.mean(places, 0)) if places else "")


def _pairs(camera: Camera, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Frames between which the camera goes far enough, the second as soon as it has."""
    count, half, poses = len(camera.poses), np.array(size[::-1]) / 2, homogeneous(camera.poses)
    pairs = []
    for first in np.unique(np.linspace(0, count - 1, min(count, PAIRS)).round().astype(int)):
        later = range(first + 1, min(first + LATER + 1, count))
        way = lambda k: np.hypot(*(carry(np.linalg.inv(poses[k]) @ poses[first], np.zeros((1, 2)))[0] * half))
        pairs += [(int(first), k) for k in later if way(k) > LEAST_WAY * max(size)][:1]
    return pairs


def _sightings(
    first: np.ndarray, second: np.ndarray, pose: np.ndarray, pose_later: np.ndarray
) -> Iterator[tuple[tuple[int, int], _Sighting]]:
    """The cells of the background that a pair of frames, uint8 [h, w], shows clearly."""
    size, half = first.shape, np.array(first.shape[::-1]) / 2
    centres = pixel_centres(size)
    later = carry(np.linalg.inv(pose_later) @ pose, centres.reshape(-1, 2)).reshape(centres.shape)
    x, y = np.moveaxis((later + 1) * half - 0.5, -1, 0).astype(np.float32)
    moved = cv2.remap(second, x, y, cv2.INTER_LINEAR)
    seen = (x >= 1) & (y >= 1) & (x < size[1] - 2) & (y < size[0] - 2)
    flow, known = _flow(first, np.where(seen, moved, first))
    known &= seen
    cell = np.floor((carry(pose, centres[known]) + 1) / 2 * CELLS[::-1]).astype(int)
    cells, which, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    pixels = np.split(np.argsort(which.ravel(), kind="stable"), np.cumsum(count)[:-1])
    flow, way, place = flow[known], ((later - centres) * half)[known], centres[known]
    for (column, row), some in zip(cells, pixels):
        if len(some) >= FEWEST_PIXELS:
            of_cell = {"flow": np.median(flow[some], 0), "way": np.median(way[some], 0), "place": place[some].mean(0)}
            yield (int(column), int(row)), _Sighting(**of_cell)


def _flow(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Optical flow between two pictures [h, w], in pixels [h, w, 2], and where it can be believed, bool [h, w]."""
    medium = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    flow, back = optical_flow(first, second, medium), optical_flow(second, first, medium)
    rows, columns = np.indices(first.shape, np.float32)
    returned = cv2.remap(back, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    gradient = sum(np.abs(cv2.Sobel(first, cv2.CV_32F, *order)) for order in ((1, 0), (0, 1)))
    return flow, (np.hypot(*np.moveaxis(flow + returned, -1, 0)) < AGREE) & (gradient > LEAST_GRADIENT)


def _share_of_way(seen: list[_Sighting]) -> float:
    """By which share of the camera's way a cell goes more or less than the camera says; 0 where it moves otherwise."""
    flow, way = np.stack([one.flow for one in seen]), np.stack([one.way for one in seen])
    share = float((flow * way).sum() / max((way**2).sum(), 1e-6))
    explained = 1 - ((flow - share * way) ** 2).sum() / max((flow**2).sum(), 1e-6)
    return share if explained > EXPLAINED else 0.0


def _reach(cell: tuple[int, int], poses: np.ndarray, size: tuple[int, int]) -> float:
    """How far a cell of the background gets within the frames, in pixels of frames of a size."""
    centre = (np.array(cell) + 0.5) / CELLS[::-1] * 2 - 1
    places = np.stack([carry(np.linalg.inv(pose), centre[None])[0] for pose in poses])
    within = places[(np.abs(places) < 1).all(1)]
    return float(np.hypot(*(np.ptp(within, 0) * np.array(size[::-1]) / 2))) if len(within) else 0.0


def _in_words(place: np.ndarray) -> str:
    """Where a place (x, y) in normalized coordinates lies in a frame."""
    vertical = "top" if place[1] < -1 / 3 else "bottom" if place[1] > 1 / 3 else ""
    horizontal = "left" if place[0] < -1 / 3 else "right" if place[0] > 1 / 3 else ""
    return f"at the {' '.join(filter(None, (vertical, horizontal)))}" if vertical or horizontal else "in the middle"
