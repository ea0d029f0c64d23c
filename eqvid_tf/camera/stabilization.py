"""A clip without its camera's sway: every frame moved onto one of them, and what is found there moved back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from eqvid_tf.camera.measure import VERSION, Camera, CameraTravels, camera_of
from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.canvas import fit
from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.pixels.resampling import move_with_validity, resize
from eqvid_tf.progress import no_progress

MOST_VIEWS = 9  # frames whose median shows what a frame did not see: an odd number, spread over the clip
BORDER = 4  # pixels: more than the bicubic resampling reaches
MARK = f"steady{VERSION}"  # of stabilized frames in the cache


def stabilize(clip: Clip, progress: Callable[..., Any] = no_progress) -> StabilizedClip:
    """Measure a clip's camera and take out its sway; where it stands still, every frame is as it was filmed.

    Raises:
        CameraTravels: there is no one background.
    """
    if isinstance(clip, StabilizedClip):
        return clip
    camera = camera_of(clip, progress) if clip.count > 1 else Camera.still(clip.count)
    if camera.kind == "travels":
        raise CameraTravels(
            f"{clip.path}: {travel_reason(camera, clip.size)} Cut a part where the camera holds still with "
            "--frames A:B, or film from a tripod; eqvid inspect says more."
        )
    return StabilizedClip(clip, camera)


def travel_reason(camera: Camera, size: tuple[int, int]) -> str:
    """Say in a sentence what was measured of a camera that travels, on frames of `size` (height, width)."""
    if camera.pixels > 0 and not camera.lost > 0.5:
        distance = f"{camera.pixels:.0f} pixels on frames of {size[1]} x {size[0]}"
        return f"the camera travels: the background moves by {distance}."
    return f"there is no one background: {camera.lost:.0%} of the frames show another place than the rest."


class StabilizedClip(Clip):
    """A clip with its camera: its frames are those of a clip as filmed, moved onto the frame `camera.reference`.

    If the camera stands still they are the frames as filmed, from the same place in the cache, and every method that
    goes between the two is the identity.

    Convention: frames, arrays and motions are in the coordinates of the reference frame. What a frame did not see of
        the reference's view shows what other frames saw there (their median), so that nothing in it moves.

    Attributes:
        filmed: the clip as filmed.
        camera: of that clip; it does not travel.
        sways: whether the camera does.
    """

    def __init__(self, filmed: Clip, camera: Camera):
        self.filmed, self.camera, self.sways = filmed, camera, camera.kind == "sways"
        self.path, self.name, self.size = filmed.path, filmed.name, filmed.size
        self.fps, self.count = filmed.fps, filmed.count

    def resized(self, size: tuple[int, int], step: int = 1) -> Iterator[np.ndarray]:
        """The frames, or every step-th, brought to another size (height, width) whatever its aspect, one at a time."""
        if not self.sways:
            return self.filmed.resized(size, step)
        frames = zip(range(0, self.count, step), self.filmed.resized(self.size, step))
        return (resize(self._stabilized(frame, index), size) for index, frame in frames)

    def at(self, index: int) -> np.ndarray:
        """One frame at the clip's own size, uint8 RGB [H, W, 3]; a negative index counts from the end."""
        return self._stabilized(self.filmed.at(index), index)

    def arrays(self, canvas: tuple[int, int]) -> np.ndarray:
        """All frames fitted on `canvas`, read-only uint8 [count, *canvas, 3], from the cache on disk."""
        if not self.sways:
            return self.filmed.arrays(canvas)
        frames = lambda: (fit(frame, canvas) for frame in self.native())
        return self.filmed.cached(f"{canvas[0]}x{canvas[1]}-{MARK}", (self.count, *canvas, 3), frames)

    @property
    def has_motion(self) -> bool:
        """Whether there is a motion.json."""
        return self.filmed.has_motion

    @property
    def given_characters(self) -> list[int]:
        """As of `Clip`."""
        return self.filmed.given_characters

    def motion(self, number: int = 0) -> np.ndarray:
        """The motion of every step from the scene's motion.json without the camera's, [count - 1, 2, 3]."""
        motion = self.filmed.motion(number)
        return _change_coordinates(motion, homogeneous(self.camera.poses)) if self.sways else motion

    def as_filmed(self, picture: np.ndarray, index: int) -> np.ndarray:
        """Move a picture of the reference's view to where frame `index` sees it; its edge goes on where that sees more.

        Shapes: [H, W(, c)] float32 or uint8 -> the same.
        """
        pose = self.camera.poses[index]
        if np.array_equal(pose, np.eye(2, 3)):
            return picture
        margin = int(np.ceil(self.camera.pixels)) + BORDER
        wide = np.pad(picture, [(margin, margin)] * 2 + [(0, 0)] * (picture.ndim - 2), mode="edge")
        return move_with_validity(wide, np.linalg.inv(homogeneous(pose)), self.size, margin)[0]

    def motion_as_filmed(self, motion: np.ndarray) -> np.ndarray:
        """Motions of every step, in the reference's coordinates, as motions between the frames as filmed.

        Shapes: [count - 1, 2, 3] -> the same.
        """
        if not self.sways:
            return motion
        return _change_coordinates(motion, np.linalg.inv(homogeneous(self.camera.poses)))

    def between_as_filmed(self, motion: np.ndarray, first: int, second: int) -> np.ndarray:
        """A motion from one frame to another, in the reference's coordinates, as one between these frames as filmed.

        Shapes: [2, 3] or [3, 3] -> [3, 3].
        """
        reference_from_first, reference_from_second = homogeneous(self.camera.poses[[first, second]])
        return np.linalg.inv(reference_from_second) @ homogeneous(motion) @ reference_from_first

    @property
    def tracked_motion(self) -> np.ndarray | None:
        """Motions [count - 1, 2, 3] of its character that are known better than from two frames, else nan."""
        return None

    def hidden(self, index: int) -> np.ndarray | None:
        """Where a frame does not show what is there, bool [H, W], in the reference's coordinates; None: nowhere."""
        return None

    def hidden_arrays(self, canvas: tuple[int, int]) -> np.ndarray | None:
        """As `hidden`, of all frames fitted on `canvas`: bool [count, *canvas]."""
        return None

    def noted(self, name: str, make: Callable[[], dict]) -> dict:
        """Not of these frames: what is noted of a clip is noted of its frames as filmed."""
        return self.filmed.noted(name, make)

    def _stabilized(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame as filmed on the reference; where it saw nothing, what others saw."""
        pose = self.camera.poses[index]
        if np.array_equal(pose, np.eye(2, 3)):
            return frame
        moved, seen = move_with_validity(frame, pose, self.size)
        return np.where(seen[..., None], moved, self._unseen)

    @functools.cached_property
    def _unseen(self) -> np.ndarray:
        """What some frames did not see of the reference's view, uint8 [H, W, 3]."""
        frames = lambda: iter([fill_unseen(self.filmed, self.camera)])
        return self.filmed.cached(f"unseen-{MARK}", (1, *self.size, 3), frames)[0]


def _change_coordinates(motion: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Motions of every step [T - 1, 2, 3] between frames that are each carried on by a matrix [T, 3, 3] of its own."""
    return (matrices[1:] @ homogeneous(motion) @ np.linalg.inv(matrices[:-1]))[:, :2]


def fill_unseen(clip: Clip, camera: Camera) -> np.ndarray:
    """What some frames did not see of the reference's view: the median of some frames, spread over the clip, that did.

    Shapes: [H, W, 3] uint8, black where every frame saw it.
    """
    spread = np.linspace(0, clip.count - 1, min(MOST_VIEWS, clip.count)).round().astype(int).tolist()
    rim, views = partly_unseen(camera.poses, clip.size), []
    for index, frame in enumerate(clip.native()):
        if index in {*spread, camera.reference}:
            moved, seen = move_with_validity(frame, camera.poses[index], clip.size)
            views.append(np.where(seen[rim][:, None], moved[rim], np.nan).astype(np.float32))
    picture = np.zeros((*clip.size, 3), np.uint8)
    picture[rim] = nan_median(np.stack(views)).round()
    return picture


def partly_unseen(poses: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The rim of the reference's view that not every frame saw: all outside of the largest box that all did.

    Shapes: poses [T, 2, 3] -> bool [H, W] of `size`.
    """
    x, y = (poses @ np.array([[-1, -1, 1, 1], [-1, 1, -1, 1], [1, 1, 1, 1]])).swapaxes(0, 1)  # each [T, corners]
    columns, rows = ((np.arange(n) + 0.5) * 2 / n - 1 for n in size[::-1])
    seen_rows, seen_columns = (
        (at > near.max() + 2 / len(at)) & (at < far.min() - 2 / len(at))  # a pixel less, against rounding
        for at, near, far in ((rows, y[:, ::2], y[:, 1::2]), (columns, x[:, :2], x[:, 2:]))
    )
    return ~(seen_rows[:, None] & seen_columns)
