"""A clip without its camera's sway: every frame laid on one of them, and pictures laid back on every frame."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from eqvid_tf.camera.measure import VERSION, Camera, CameraTravels, camera_of
from eqvid_tf.data.cache import remembered
from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.coordinates import homogeneous, source_from_target_pixels
from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.pixels.resampling import resize
from eqvid_tf.progress import no_progress

ENOUGH = 9  # frames that what a frame did not see is taken from
BORDER = 4  # pixels: how far the resampling reaches


def stabilize(clip: Clip, progress: Callable = no_progress) -> Clip:
    """The clip as it is where its camera stands still, else the same clip without the sway.

    Raises: CameraTravels where there is no one background.
    """
    if clip.count < 2 or isinstance(clip, StabilizedClip):
        return clip
    camera = camera_of(clip, progress)
    if camera.kind == "travels":
        raise CameraTravels(
            f"{clip.path}: {travel_reason(camera, clip.size)} Cut a part where the camera holds still with --frames A:B, "
            "or film from a tripod; eqvid inspect says more."
        )
    return StabilizedClip(clip, camera) if camera.kind == "sways" else clip


def travel_reason(camera: Camera, size: tuple[int, int]) -> str:
    """What was measured of a camera that travels, in a sentence."""
    if camera.pixels > 0 and not camera.lost > 0.5:
        return f"the camera travels: the background moves by {camera.pixels:.0f} pixels on frames of {size[1]} x {size[0]}."
    return f"there is no one background: {camera.lost:.0%} of the frames show another place than the rest."


class StabilizedClip(Clip):
    """A clip whose frames are those of another one, laid on its frame `camera.reference`.

    Convention: frames, arrays and motions are in the coordinates of the reference frame, which is as it was. What a frame did not
        see of the reference's view shows what other frames saw there (their median), so that nothing in it moves.
    Attributes: `raw`, the clip as it was; `camera`.
    """

    def __init__(self, clip: Clip, camera: Camera):
        vars(self).update(vars(clip))
        self.raw, self.camera = clip, camera
        self._mark = f"-steady{VERSION}"
        self._reader = StabilizedReader(clip._reader, clip._start, camera.poses, lambda: self.unseen)

    @functools.cached_property
    def unseen(self) -> np.ndarray:
        """What some frames did not see of the reference's view, uint8 [H, W, 3]."""
        name = f"unseen-{self._start}-{self._stop}{self._mark}"
        return remembered(
            self._cache, self._files, name, (1, *self.size, 3), lambda: [fill_unseen(self.raw, self.camera)]
        )[0]

    def motion(self) -> np.ndarray:
        """The clip's own motion of each step, as it is without the camera's; see `Clip.motion`."""
        return change_frame_coordinates(self.camera.poses, self.raw.motion())

    def own_motion(self, motion: np.ndarray) -> np.ndarray:
        """Motions of each step [T - 1, 2, 3] in the reference's coordinates as motions from each frame to the next as filmed."""
        return change_frame_coordinates(homogeneous(np.linalg.inv(homogeneous(self.camera.poses)))[:, :2], motion)

    def own(self, picture: np.ndarray, index: int) -> np.ndarray:
        """A picture of the reference's view as frame `index` sees it; its edge goes on where that sees more.

        Shapes: [H, W(, c)] float32 or uint8 -> the same.
        """
        pose = self.camera.poses[index]
        if np.array_equal(pose, np.eye(2, 3)):
            return picture
        margin = int(np.ceil(self.camera.pixels)) + BORDER
        wide = np.pad(picture, [(margin, margin)] * 2 + [(0, 0)] * (picture.ndim - 2), mode="edge")
        return move_with_validity(wide, np.linalg.inv(homogeneous(pose))[:2], self.size, margin)[0]


def change_frame_coordinates(poses: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Motions of each step between frames that are each moved by a pose of its own."""
    there = homogeneous(poses)
    return (there[1:] @ homogeneous(motion) @ np.linalg.inv(there[:-1]))[:, :2]


def move_with_validity(
    picture: np.ndarray, motion: np.ndarray, size: tuple[int, int], margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A picture moved by a forward motion in normalized coordinates, by one bicubic resampling, and where it lies.

    Shapes: picture [H + 2 margin, W + 2 margin(, c)] uint8 or float32, motion [2, 3] -> [H, W(, c)], bool [H, W], `size` = (H, W).
    """
    source = source_from_target_pixels(motion, size, size)
    source[:2, 2] += margin
    way = size[::-1], Image.Transform.AFFINE, source[:2].ravel(), Image.Resampling.BICUBIC
    move = lambda plane: np.asarray(Image.fromarray(np.ascontiguousarray(plane)).transform(*way))
    seen = np.asarray(Image.new("L", picture.shape[1::-1], 255).transform(*way)) > 0
    whole = picture.ndim == 2 or (picture.dtype == np.uint8 and picture.shape[2] == 3)
    return move(picture) if whole else np.stack([move(plane) for plane in np.moveaxis(picture, 2, 0)], -1), seen


class StabilizedReader:
    """A reader (see `eqvid_tf.data.readers`) whose frames are laid on one of them."""

    def __init__(self, reader, first: int, poses: np.ndarray, unseen: Callable[[], np.ndarray]):
        self.reader, self.first, self.poses, self.unseen = reader, first, poses, unseen
        self.size, self.fps, self.count = reader.size, reader.fps, reader.count

    def read(self, size: tuple[int, int], start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        unseen = self.unseen()
        for index, frame in zip(range(start, stop, step), self.reader.read(self.size, start, stop, step)):
            yield resize(stabilize_frame(frame, self.poses[index - self.first], unseen), size)


def stabilize_frame(frame: np.ndarray, pose: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """A frame laid on the reference; where it saw nothing, `unseen`."""
    if np.array_equal(pose, np.eye(2, 3)):
        return frame
    moved, seen = move_with_validity(frame, pose, frame.shape[:2])
    return np.where(seen[..., None], moved, unseen)


def fill_unseen(clip: Clip, camera: Camera) -> np.ndarray:
    """What some frames did not see of the reference's view: the median of those, of some spread over the clip, that did.

    Shapes: [H, W, 3] uint8, black where every frame saw it.
    """
    chosen = {*np.linspace(0, clip.count - 1, min(ENOUGH, clip.count)).round().astype(int).tolist(), camera.reference}
    rim, views = partly_unseen(camera.poses, clip.size), []
    for index, frame in enumerate(clip.native()):
        if index in chosen:
            moved, seen = move_with_validity(frame, camera.poses[index], clip.size)
            views.append(np.where(seen[rim][:, None], moved[rim], np.nan).astype(np.float32))
    out = np.zeros((*clip.size, 3), np.uint8)
    out[rim] = nan_median(np.stack(views)).round()
    return out


def partly_unseen(poses: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The rim of the reference's view, bool [H, W], that not every frame saw: all outside the largest box that all did."""
    x, y = (poses @ np.array([[-1, -1, 1, 1], [-1, 1, -1, 1], [1, 1, 1, 1]])).swapaxes(0, 1)  # each [T, corners]
    columns, rows = ((np.arange(n) + 0.5) * 2 / n - 1 for n in size[::-1])
    shown = [
        (at > near.max() + 2 / len(at)) & (at < far.min() - 2 / len(at))  # a pixel less, against rounding
        for at, near, far in ((rows, y[:, ::2], y[:, 1::2]), (columns, x[:, :2], x[:, 2:]))
    ]
    return ~(shown[0][:, None] & shown[1])
