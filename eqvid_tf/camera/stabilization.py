"""A clip without its camera's motion: every frame moved onto one view, and what is found there moved back.

Where the camera sways the view is that of one frame; where it travels it is all that the frames see (a mosaic).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from eqvid_tf.camera.cuts import cut_reason
from eqvid_tf.camera.light import Light, measure_light
from eqvid_tf.camera.measure import CORNERS, MOST_LOST, VERSION, Camera, CameraTravels, camera_of
from eqvid_tf.camera.mosaic import ALWAYS, has_staying, make_mosaic
from eqvid_tf.camera.staying import Occupied
from eqvid_tf.config import ModelConfig
from eqvid_tf.data.cache import read_in_turn
from eqvid_tf.data.clips import Clip, Indices
from eqvid_tf.pixels.canvas import bounded_size, fit
from eqvid_tf.pixels.coordinates import affine_near, box_from_frame, carry, frame_from_pixels, homogeneous
from eqvid_tf.pixels.medians import nan_median
from eqvid_tf.pixels.resampling import move_with_validity, resize
from eqvid_tf.progress import no_progress

NOISE, NOISE_FRAMES = 2.5, 8  # medians of the difference that are noise, and frames in which it is measured
RESAMPLED = 6.0  # grey levels of noise that resampling explains: drawn clips have 3 to 4, filmed ones 9 to 17
MOST_VIEWS = 9  # frames whose median shows what a frame did not see: an odd number, spread over the clip
SLIVER = 0.1  # pixels: what sticks out of a mosaic by less adds no row or column to it
FINEST = 0.9  # quantile of the frames' fineness that a mosaic has
CENTRE = np.zeros((1, 2))  # of a frame
LEVELLED = "i"  # of frames laid on a mosaic; changed whenever the same clip would give others
SMALL_SIDE, SMALL_PIXELS = 360, 128 << 20  # pixels: shorter side of frames that are kept small, and all of them at most
BORDER = 4  # pixels: more than the bicubic resampling reaches


def stabilize(
    clip: Clip, progress: Callable[..., Any] = no_progress, *, mosaic: float = ModelConfig.mosaic
) -> StabilizedClip:
    """Measure a clip's camera and take out its motion; where it stands still, every frame is as it was filmed.

    Args:
        clip: an open clip; one that is stabilized stays as it is.
        progress: called as progress(frames, label, total); returns the frames.
        mosaic: frame areas that the background of a camera that travels may have.

    Raises:
        CameraTravels: there is no one background, or it would be larger than `mosaic`.
    """
    if isinstance(clip, StabilizedClip):
        return clip
    if clip.count > 1 and (cut := cut_reason(clip)):
        raise CameraTravels(f"{clip.path}: {cut}")
    camera = camera_of(clip, progress) if clip.count > 1 else Camera.still(clip.count)
    if reason := travel_reason(camera, clip.size, mosaic):
        raise CameraTravels(f"{clip.path}: {reason} eqvid inspect says more.")
    return StabilizedClip(clip, camera, StableView.of(camera, clip.size, mosaic))


def travel_reason(camera: Camera, size: tuple[int, int], mosaic: float = ModelConfig.mosaic) -> str | None:
    """Say why the frames of a travelling camera, of `size` (height, width), make no one background; None: they do."""
    if camera.kind != "travels":
        return None
    if camera.lost > MOST_LOST:
        return (
            f"there is no one background: {camera.lost:.0%} of the frames show another place than the rest. "
            "Cut a part of one place with --frames A:B."
        )
    parts = mosaic_parts(camera.poses, size, mosaic)
    if len(parts) == 1:
        return None
    return (
        f"the camera travels over more than {mosaic:g} frame areas. "
        f"Cut the clip into parts: {', '.join(f'--frames {first}:{end}' for first, end in parts)}; "
        "or train with a larger --mosaic."
    )


def mosaic_parts(poses: np.ndarray, size: tuple[int, int], mosaic: float) -> list[tuple[int, int]]:
    """Ranges of frames (first, end), the longest from the start on, each seen by a mosaic that is not too large."""
    parts, first = [], 0
    for end in range(1, len(poses) + 1):
        if end - first > 1 and _area(poses[first:end], size) > mosaic:
            parts.append((first, end - 1))
            first = end - 1
    return [*parts, (first, len(poses))]


def _area(poses: np.ndarray, size: tuple[int, int]) -> float:
    """The frame areas of what frames at some poses see, at the size of the middle one of them."""
    box = _corners(np.linalg.inv(poses[len(poses) // 2]) @ poses)
    return float(np.prod(np.ptp(box, 0)) / 4)


def _corners(poses: np.ndarray) -> np.ndarray:
    """Where poses [T, 3, 3] carry the corners of a frame, [4 T, 2]."""
    return carry(poses, CORNERS).reshape(-1, 2)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StableView:
    """What a stabilized clip shows.

    Attributes:
        size: (height, width) in pixels.
        from_frame: [T, 3, 3], from the normalized coordinates of each frame as filmed to those of the view.
    """

    size: tuple[int, int]
    from_frame: np.ndarray

    @staticmethod
    def of(camera: Camera, size: tuple[int, int], mosaic: float = ModelConfig.mosaic) -> StableView:
        """The view of a camera whose frames have a size: that of a frame, or where it travels all that they see.

        Of frames that come nearer it is as fine as the nearest, but at most `mosaic` frame areas large.
        """
        poses = homogeneous(camera.poses)
        if camera.kind != "travels":
            return StableView(size=size, from_frame=poses)
        to_pixels = np.linalg.inv(frame_from_pixels(size))
        corners = carry(to_pixels, _corners(poses))
        left, top = np.floor(corners.min(0) + SLIVER)
        right, bottom = np.ceil(corners.max(0) - SLIVER)
        height, width = bottom - top, right - left
        finest = max(1.0, np.quantile(_magnification(poses, size) ** -1, FINEST))
        scale = min(finest, (mosaic * size[0] * size[1] / (height * width)) ** 0.5)
        view_from_reference = box_from_frame(size, top, left, height, width)
        return StableView(size=(round(height * scale), round(width * scale)), from_frame=view_from_reference @ poses)


def _magnification(poses: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The factors by which poses [T, 3, 3] lengthen what is at the centre of a frame, [T]."""
    return np.abs(np.linalg.det(affine_near(poses, np.zeros((len(poses), 2)))[:, :, :2])) ** 0.5


class StabilizedClip(Clip):
    """A clip with its camera: its frames are those of a clip as filmed, moved onto the frame `camera.reference`.

    If the camera stands still they are the frames as filmed, from the same place in the cache, and every method that
    goes between the two is the identity.

    Convention: frames, arrays and motions are in the coordinates of the view: the reference frame's, or the mosaic's.
        What a frame did not see of it shows what other frames saw there (their median), so that nothing in it moves.
        Motions between frames as filmed are affine; where the camera's is a homography they are so at a point.

    Where the camera travels, frames are brought into one light: exposure and vignetting are taken out.

    Attributes:
        filmed: the clip as filmed.
        camera: of that clip.
        moves: whether the camera does.
        travels: whether it goes so far that the view is a mosaic.
        view: what the frames show; `size` is its size.
    """

    def __init__(self, filmed: Clip, camera: Camera, view: StableView | None = None):
        self.filmed, self.camera, self.moves = filmed, camera, camera.kind != "still"
        self.travels = camera.kind == "travels"
        self.view = view or StableView.of(camera, filmed.size)
        self.path, self.name, self.size = filmed.path, filmed.name, self.view.size
        self.fps, self.count = filmed.fps, filmed.count

    def resized(self, size: tuple[int, int], indices: Indices | None = None) -> Iterator[np.ndarray]:
        """The frames, or those of rising indices, brought to another size whatever its aspect, one at a time."""
        if not self.moves:
            return self.filmed.resized(size, indices)
        indices = range(self.count) if indices is None else indices
        frames = zip(indices, self.filmed.native(indices))
        return (resize(self._stabilized(frame, index), size) for index, frame in frames)

    @property
    def small_size(self) -> tuple[int, int]:
        """The size (height, width) of `smaller` frames: its own where that is small."""
        most = (SMALL_PIXELS / self.count * min(self.size) / max(self.size)) ** 0.5
        return bounded_size(self.size, min(SMALL_SIDE, most))

    def smaller(self, size: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
        """All frames at `small_size`, or a smaller one: several stages look at them, so the cache on disk has them.

        Frames whose own size is small are in no cache.
        """
        kept = self.small_size
        if kept == self.size:
            return self.resized(size or kept)
        mark = f"small-{kept[0]}x{kept[1]}{f'-{self._mark}' if self.moves else ''}"
        frames = read_in_turn(self.filmed.cached(mark, (self.count, *kept, 3), lambda: self.resized(kept)))
        if size is None or size == kept:
            return frames
        return (cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames)

    def sampled(self, indices: Indices) -> Iterator[np.ndarray]:
        """As `native` of a few frames, which are decoded once."""
        return (self._stabilized(frame, int(k)) for k, frame in zip(indices, self.filmed.sampled(indices)))

    def at(self, index: int) -> np.ndarray:
        """One frame at the clip's own size, uint8 RGB [H, W, 3]; a negative index counts from the end."""
        return self._stabilized(self.filmed.at(index), index)

    def arrays(self, canvas: tuple[int, int]) -> np.ndarray:
        """All frames fitted on `canvas`, read-only uint8 [count, *canvas, 3], from the cache on disk."""
        if not self.moves:
            return self.filmed.arrays(canvas)
        frames = lambda: (fit(frame, canvas) for frame in self.native())
        return self.filmed.cached(f"{canvas[0]}x{canvas[1]}-{self._mark}", (self.count, *canvas, 3), frames)

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
        return _change_coordinates(motion, self.view.from_frame, CENTRE) if self.moves else motion

    def filmed_alone(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame as filmed, uint8 [H, W, 3], without what this clip hides: here the frame itself."""
        return frame

    def as_filmed(self, picture: np.ndarray, index: int) -> np.ndarray:
        """Move a picture of the view to where frame `index` sees it; its edge goes on where that sees more.

        Shapes: [H, W(, c)] float32 or uint8 -> the same at the size as filmed.
        """
        if not self.moves or np.array_equal(self.view.from_frame[index], np.eye(3)):
            return picture
        margin = BORDER + (0 if self.travels else int(np.ceil(self.camera.pixels)))
        return self.seen_by(np.linalg.inv(self.view.from_frame[index]), picture, margin)

    def mask_as_filmed(self, mask: np.ndarray, index: int) -> np.ndarray:
        """As `as_filmed`, of a mask, bool [H, W]."""
        return self.as_filmed(mask.astype(np.float32), index) > 0.5

    def colours_as_filmed(self, picture: np.ndarray, index: int) -> np.ndarray:
        """As `as_filmed`, of colours in [0, 255]: in the light of that frame, float32 [H, W, 3]."""
        seen = self.as_filmed(picture, index)
        return self.light.apply(seen, index) if self.light else seen

    @functools.cached_property
    def noise(self) -> float:  # type: ignore[override]
        """Grey levels by which frames of a travelling camera differ from the mosaic where they see it; else 0.

        Why: most of a frame that is laid on a mosaic is that mosaic, without any noise. What resampling explains is
        none.
        """
        if not self.travels:
            return 0.0
        spread = np.linspace(0, self.count - 1, min(NOISE_FRAMES, self.count)).round().astype(int)
        mosaic, frames = self.mosaic.astype(np.float32), zip(spread, self.filmed.native(spread))
        differences = (np.abs(self.colours_as_filmed(mosaic, index) - frame).max(-1) for index, frame in frames)
        noise = NOISE * float(np.median([np.median(difference) for difference in differences]))
        return noise if noise > RESAMPLED else 0.0

    @functools.cached_property
    def light(self) -> Light | None:
        """That of the frames as filmed, where the camera travels and it is not even; None: nothing is levelled."""
        if not self.travels:
            return None
        note = self.filmed.noted(
            f"light-{LEVELLED}", lambda: measure_light(self.filmed, self.view.from_frame).to_note()
        )
        light = Light.from_note(note, self.filmed.size)
        return None if light.is_even else light

    def seen_by(self, frame_from_view: np.ndarray, picture: np.ndarray, margin: int) -> np.ndarray:
        """Move a picture of the view into a frame as filmed; its edge goes on for a margin of pixels, then it is black.

        Shapes: frame_from_view [3, 3], picture [H, W(, c)] float32 or uint8 -> the same at the size as filmed.
        """
        wide = np.pad(picture, [(margin, margin)] * 2 + [(0, 0)] * (picture.ndim - 2), mode="edge")
        return move_with_validity(wide, frame_from_view, self.filmed.size, margin)[0]

    def motion_as_filmed(self, motion: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        """Motions of every step, in the view's coordinates, as motions between the frames as filmed.

        Shapes: [count - 1, 2, 3] -> the same.

        Args:
            motion: of every step.
            at: where in the view each is meant, [count - 1, 2]; by default at the centre of the frame.
        """
        if not self.moves:
            return motion
        at = carry(self.view.from_frame[:-1], CENTRE)[:, 0] if at is None else at
        return _change_coordinates(motion, np.linalg.inv(self.view.from_frame), at)

    def motion_in_view(self, motion: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Motions of every step between frames as filmed as motions in the view's coordinates.

        Shapes: [count - 1, 2, 3], at [count - 1, 2], where in the frames each is meant -> [count - 1, 2, 3].
        """
        return _change_coordinates(motion, self.view.from_frame, at)

    def places_as_filmed(self, places: np.ndarray) -> np.ndarray:
        """Places [count, 2] of the view, one for each frame, as that frame has them."""
        return carry(np.linalg.inv(self.view.from_frame), places[:, None])[:, 0]

    def between_as_filmed(self, motion: np.ndarray, first: int, second: int, at: np.ndarray) -> np.ndarray:
        """A motion from one frame to another, in the view's coordinates, as one between these frames as filmed.

        Shapes: [2, 3] or [3, 3], at [2] -> [3, 3], affine.

        Args:
            motion: of the content of a frame.
            first: index of that frame.
            second: index of the other.
            at: where in the view it is meant.
        """
        if not self.moves:
            return homogeneous(motion)
        at = carry(np.linalg.inv(self.view.from_frame[first]), at[None])[0]
        whole = np.linalg.inv(self.view.from_frame[second]) @ homogeneous(motion) @ self.view.from_frame[first]
        return np.vstack([affine_near(whole, at), [0, 0, 1]])

    def into_filmed(self, motion: np.ndarray, index: int, at: np.ndarray) -> np.ndarray:
        """A motion within the view into frame `index`, as one into that frame as filmed: [2, 3], affine.

        Shapes: motion [2, 3] of what is at [2], normalized.
        """
        return affine_near(np.linalg.inv(self.view.from_frame[index]) @ homogeneous(motion), at)

    @property
    def heights(self) -> float:
        """The height of the view in heights of the reference frame."""
        return float(1 / self.view.from_frame[self.camera.reference][1, 1])

    @functools.cached_property
    def shown(self) -> np.ndarray:
        """What any frame shows of the view, bool [H, W]."""
        shown, to_pixels = np.zeros(self.size, np.uint8), np.linalg.inv(frame_from_pixels(self.size))
        for matrix in self.view.from_frame:
            corners = carry(to_pixels @ matrix, CORNERS[[0, 1, 3, 2]])
            cv2.fillConvexPoly(shown, (corners - 0.5).round().astype(np.int32), 1)
        return shown > 0

    @property
    def plain(self) -> bool:
        """Whether its character was tracked on plain ground with shadows on it."""
        return False

    @property
    def tracked_motion(self) -> np.ndarray | None:
        """Motions [count - 1, 2, 3] of its character that are known better than from two frames, else nan."""
        return None

    def tracked_coverage(self, canvas: tuple[int, int]) -> np.ndarray | None:
        """Masks of its character as it was tracked, fitted on a canvas: float32 [count, *canvas]; None: it was not."""
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

    @property
    def _mark(self) -> str:
        """Of what is made from these frames, in the cache."""
        return f"steady{VERSION}{LEVELLED}-{self.size[0]}x{self.size[1]}"

    def _stabilized(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame as filmed on the view; where it saw nothing, what others saw."""
        pose = self.view.from_frame[index]
        if self.size == self.filmed.size and np.array_equal(pose, np.eye(3)):
            return frame
        moved, seen = move_with_validity(self._in_its_light(frame, index), pose, self.size)
        return np.where(seen[..., None], moved, self._unseen[..., :3])

    def _in_its_light(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame as filmed in the light of the view."""
        return self.light.remove(frame, index) if self.light else frame

    @property
    def mosaic(self) -> np.ndarray:
        """Of a camera that travels: all that the frames see, uint8 [H, W, 3]."""
        return self._unseen[..., :3]

    def occupied(self, canvas: tuple[int, int]) -> Occupied | None:
        """Where a body that the camera goes along with hides the background, fitted on a canvas; None: nowhere."""
        if self._ground is None or self._ground[..., 3].max() <= ALWAYS // 2:
            return None
        picture, share = self._ground[..., :3], self._ground[..., 3]
        always = fit(255 * (share == ALWAYS).astype(np.uint8), canvas) > 127
        mostly, shows = (fit(share, canvas) > ALWAYS // 2) | always, np.broadcast_to(always, (self.count, *canvas))
        return Occupied(background=fit(picture, canvas).astype(np.float32), mostly=mostly, shows=shows)

    @functools.cached_property
    def _ground(self) -> np.ndarray | None:
        """The mosaic, uint8 [H, W, 4]; of a camera that sways where a body stays before it, else None."""
        if self.travels or not self.moves:
            return self._unseen if self.travels else None
        view = self.size, self.view.from_frame
        if not self.filmed.noted("staying-1", lambda: {"stays": has_staying(self.filmed, *view)})["stays"]:
            return None
        made = lambda: iter([make_mosaic(self.filmed, *view)])
        return self.filmed.cached(f"ground-{self._mark}", (1, *self.size, 4), made)[0]

    @functools.cached_property
    def _unseen(self) -> np.ndarray:
        """What some frames did not see of the view, uint8 [H, W, 3], or a mosaic [H, W, 4]."""

        def frames() -> Iterator[np.ndarray]:
            if self.travels:
                yield make_mosaic(self.filmed, self.size, self.view.from_frame, self._in_its_light)
            else:
                yield fill_unseen(self.filmed, self.camera)

        shape = (1, *self.size, 4 if self.travels else 3)
        return self.filmed.cached(f"unseen-{self._mark}", shape, frames)[0]


def _change_coordinates(motion: np.ndarray, matrices: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Motions of every step [T - 1, 2, 3] between frames that are each carried on by a matrix [T, 3, 3] of its own.

    They are meant at points [T - 1, 2] or [1, 2] of the frames before that.
    """
    whole = matrices[1:] @ homogeneous(motion) @ np.linalg.inv(matrices[:-1])
    return affine_near(whole, carry(matrices[:-1], at[:, None])[:, 0])


def fill_unseen(clip: Clip, camera: Camera) -> np.ndarray:
    """What some frames did not see of the reference's view: the median of some frames, spread over the clip, that did.

    Shapes: [H, W, 3] uint8, black where every frame saw it.
    """
    spread = np.linspace(0, clip.count - 1, min(MOST_VIEWS, clip.count)).round().astype(int).tolist()
    rim, views = partly_unseen(camera.poses, clip.size), []
    chosen = sorted({*spread, camera.reference})
    for index, frame in zip(chosen, clip.native(chosen)):
        moved, seen = move_with_validity(frame, camera.poses[index], clip.size)
        views.append(np.where(seen[rim][:, None], moved[rim], np.nan).astype(np.float32))
    picture = np.zeros((*clip.size, 3), np.uint8)
    picture[rim] = nan_median(np.stack(views)).round()
    return picture


def partly_unseen(poses: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The rim of the reference's view that not every frame saw: all outside of the largest box that all did.

    Shapes: poses [T, 2, 3] or [T, 3, 3] -> bool [H, W] of `size`.
    """
    x, y = np.moveaxis(carry(poses, CORNERS), -1, 0)  # each [T, corners]
    columns, rows = ((np.arange(n) + 0.5) * 2 / n - 1 for n in size[::-1])
    seen_rows, seen_columns = (
        (at > near.max() + 2 / len(at)) & (at < far.min() - 2 / len(at))  # a pixel less, against rounding
        for at, near, far in ((rows, y[:, ::2], y[:, 1::2]), (columns, x[:, :2], x[:, 2:]))
    )
    return ~(seen_rows[:, None] & seen_columns)
