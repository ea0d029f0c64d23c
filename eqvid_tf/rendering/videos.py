"""Videos: a motion template played by a character on a background, frozen in one pose or with its own walk cycle."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.motions.template import Template, frame_from_template
from eqvid_tf.parallel import in_threads, trim_heaps
from eqvid_tf.pixels.coordinates import affine_near, bounding_box, box_from_frame, carry, centroid, homogeneous
from eqvid_tf.pixels.resampling import move, over, resize
from eqvid_tf.progress import no_progress
from eqvid_tf.rendering.shots import render_by_networks
from eqvid_tf.rendering.walk_cycle import best_pose, frame_order, longest_run, loops, own_motion, visibility
from eqvid_tf.separation.cutout import straight_alpha
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.texture import Textures

MOST_SHRUNK = 1.5  # factor by which bicubic resampling alone may shrink a picture; beyond, it is made smaller before
LEAST_ZOOM, MOST_ZOOM = 1e-3, 1e3  # of a character, relative to its own clip


class PlayError(ValueError):
    """A video that cannot be made: one line, with the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MovingBackground:
    """A background as a moving camera sees it.

    Attributes:
        picture: gives that of each picture of the video, [H, W, 3] in [0, 255], by its index.
        from_still: [T, 3, 3], for each picture the motion of still content from where a still camera sees it.
        size: (height, width).
    """

    picture: Callable[[int], np.ndarray]
    from_still: np.ndarray
    size: tuple[int, int]

    @staticmethod
    def as_filmed(layers: ClipLayers, count: int, rate: float) -> MovingBackground:
        """The background of a clip as its camera saw it, for `count` pictures, `rate` frames each, to and fro."""
        clip, order = layers.clip, frame_order(count, layers.clip.count, rate, False)
        from_still = np.linalg.inv(clip.view.from_frame[order]) @ clip.view.from_frame[clip.camera.reference]
        picture = lambda index: layers.background_as_filmed(int(order[index]))
        return MovingBackground(picture=picture, from_still=from_still, size=clip.filmed.size)

    @staticmethod
    def along(layers: ClipLayers, steps: np.ndarray, count: int) -> MovingBackground:
        """The background of a clip as a camera sees it that starts at the reference frame and then takes its own steps.

        Shapes: steps [N, 2, 3], how still content moves in the frame; after the last one the camera stands still.
        """
        clip, from_still = layers.clip, [np.eye(3)]
        for index in range(count - 1):
            from_still.append((homogeneous(steps[index]) if index < len(steps) else np.eye(3)) @ from_still[-1])
        frames = np.stack(from_still) @ np.linalg.inv(clip.view.from_frame[clip.camera.reference])
        margin = max(clip.filmed.size)
        picture = lambda index: clip.seen_by(frames[index], layers.background, margin)
        return MovingBackground(picture=picture, from_still=np.stack(from_still), size=clip.filmed.size)


def play(
    character: ClipLayers,
    template: Template,
    background: np.ndarray | MovingBackground | None = None,
    *,
    size: tuple[int, int] | None = None,
    at: tuple[float, float] | None = None,
    zoom: float = 1.0,
    pose: int | None = None,
    playing: bool = False,
    progress: Callable = no_progress,
) -> Iterator[np.ndarray]:
    """The frames of a new video: a character plays a template on a background, at the template's fps.

    One matrix a frame takes the character from its own frame back to the start (its own motion taken out), to its place
    and size, through the template's pose and into the background's frame, by one resampling. Frames are made as they
    are asked for.

    Convention: the template's unit is half the height of the background; `at` is in its normalized coordinates.
    Shapes: T + 1 frames for T steps: uint8 [H, W, 3], without a background [H, W, 4] with straight alpha.

    Args:
        character: the layers of its clip; with `network_only` the networks draw everything.
        template: the motion.
        background: a picture [H, W, 3] in [0, 255], or one that a camera moves over, on which the character stays in
            its place; None for transparent frames.
        size: (height, width) of transparent frames; by default that of the character's clip.
        at: where the character's centre starts; by default the same x, y as in its own clip.
        zoom: how large it is by how large it was in its own clip, both relative to the frame's height.
        pose: the frame that it is frozen in; by default the one that shows it best, see `best_pose`.
        playing: it keeps its own walk cycle: its clip goes on with the video, its own motion taken out. Played is the
            longest run of frames that show it whole: over and over where its ends join, else back and forth.
        progress: see `ClipLayers`.

    Raises:
        PlayError: at once, where an argument is out of its range, or the model finds no character.
    """
    if size is None and background is not None:
        size = _size_of(background)
    how: dict = {"size": size, "at": at, "zoom": zoom, "pose": pose, "playing": playing, "progress": progress}
    performance = perform(character, template, transparent=background is None, **how)
    pictures, motions = performance.pictures(), performance.motions
    if background is None:
        return _draw_transparent(pictures, motions, performance.size)
    behind: Iterable[np.ndarray]
    if isinstance(background, MovingBackground):
        behind = map(background.picture, range(len(motions)))
        motions = seen_by_camera(background.from_still, motions)
    else:
        behind = itertools.repeat(background)
    if character.network_only:
        return _draw_by_networks(character.model, pictures, motions, behind)
    return _draw_cutouts(pictures, motions, behind)


def perform(
    character: ClipLayers,
    template: Template,
    *,
    size: tuple[int, int] | None = None,
    at: tuple[float, float] | None = None,
    zoom: float = 1.0,
    pose: int | None = None,
    playing: bool = False,
    transparent: bool = True,
    shift: tuple[float, float] = (0.0, 0.0),
    turn: float = 0.0,
    actor: Actor | None = None,
    progress: Callable = no_progress,
) -> Performance:
    """What `play` draws, before it is drawn: a picture and a motion for each frame.

    Args:
        character: this and the others are those of `play`.
        template: the motion.
        size: (height, width) of the frames.
        at: where the character's centre starts.
        zoom: how large it is.
        pose: the frame that it is frozen in.
        playing: it keeps its own walk cycle.
        transparent: whether it is drawn on nothing.
        shift: how far from `at` it starts, in normalized coordinates (x, y) of the frames.
        turn: by how many radians it is turned from the start, clockwise on the screen.
        actor: what `cast_actor` made of the same arguments before.
        progress: see `ClipLayers`.

    Raises:
        PlayError: at once, where an argument is out of its range, or the model finds no character.
    """
    check_play(character, at=at, zoom=zoom, pose=pose, playing=playing, transparent=transparent)
    count = len(template.steps) + 1
    actor = actor or cast_actor(character, count, template.fps, pose=pose, playing=playing, progress=progress)
    start, clip = actor.poses.centres[actor.home], character.clip
    size = size or clip.filmed.size
    growth = zoom * clip.heights
    template_from_home = turned_and_scaled(turn, growth) @ np.linalg.inv(frame_from_template(clip.size, start))
    seen_at = carry(np.linalg.inv(clip.view.from_frame[actor.home]), start[None])[0]
    target_from_template = frame_from_template(size, np.add(seen_at if at is None else at, shift))
    motions = [
        target_from_template @ pose_now @ template_from_home @ actor.home_from_frame[index]
        for index, pose_now in zip(actor.order, template.poses())
    ]
    return Performance(actor=actor, motions=motions, size=size, fps=template.fps)


def turned_and_scaled(turn: float, scale: float) -> np.ndarray:
    """A turn in radians, clockwise on the screen, and a scale about the origin of square coordinates: [3, 3]."""
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def seen_by_camera(from_still: np.ndarray, motions: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Motions in the frame of a camera that stands still, as a camera sees them that moves: [3, 3] each, affine.

    Shapes: from_still [T, 3, 3], see `MovingBackground`; T motions [3, 3].
    """
    pairs = zip(from_still, motions)
    return [homogeneous(affine_near(camera @ motion, np.zeros(2))) for camera, motion in pairs]


def _size_of(background: np.ndarray | MovingBackground) -> tuple[int, int]:
    return background.size if isinstance(background, MovingBackground) else background.shape[:2]


def check_play(
    character: ClipLayers,
    *,
    at: tuple[float, float] | None = None,
    zoom: float = 1.0,
    pose: int | None = None,
    playing: bool = False,
    transparent: bool = False,
) -> None:
    """Check the arguments of `play`, before anything takes long.

    Raises:
        PlayError: one is out of its range.
    """
    name, count = character.clip.name, character.clip.count
    if not LEAST_ZOOM <= zoom <= MOST_ZOOM:
        raise PlayError(f"zoom must be from {LEAST_ZOOM:g} to {MOST_ZOOM:g}; received {zoom:g}.")
    if at is not None and not (np.shape(at) == (2,) and np.isfinite(at).all()):
        raise PlayError(f"at must be two finite numbers x, y; received {at!r}.")
    if pose is not None and not 0 <= pose < count:
        raise PlayError(f"{name}: there is no frame {pose} for a pose; it has frames 0 to {count - 1}.")
    if pose is not None and playing:
        raise PlayError("a character is frozen in a pose, or plays its own walk cycle; leave one of them out.")
    if transparent and character.network_only:
        raise PlayError(
            "what the networks alone draw is not transparent; give a background, or let the frame's own pixels in."
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Actor:
    """A character that is ready to play.

    Attributes:
        poses: its pictures.
        order: for each picture of the video the index of the frame that it is taken from.
        home_from_frame: for each of these frames the matrix [3, 3] that takes the character's own motion out.
        home: the index of the frame in which it stands as it starts.
    """

    poses: PoseStore
    order: Sequence[int]
    home_from_frame: dict[int, np.ndarray]
    home: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Performance:
    """A character that plays a template.

    Attributes:
        actor: the character.
        motions: for each frame of the video, what takes its picture's frame there: [3, 3], in normalized coordinates.
        size: (height, width) of the video.
        fps: frames per second of it.
    """

    actor: Actor
    motions: Sequence[np.ndarray]
    size: tuple[int, int]
    fps: float

    def pictures(self) -> Iterator[StoredPicture]:
        """The picture that each frame of the video is drawn from."""
        return map(self.actor.poses.read, self.actor.order)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StoredPicture:
    """What is drawn of a frame.

    Attributes:
        picture: the cut-out, premultiplied RGBA [h, w, 4] float16; for the networks the frame, uint8 [H, W, 3].
        picture_from_frame: [3, 3], from normalized coordinates of the frame to the picture's.
    """

    picture: np.ndarray
    picture_from_frame: np.ndarray


class PoseStore:
    """The character cut out of some frames of a clip, in an unnamed file on disk, as a clip may be long.

    Its centre in each frame stays in memory. Where the networks see the clip at its own size, the cut-out is a texture,
    as fine as all frames together show it. With `network_only` the frames themselves are stored.

    Attributes:
        centres: (x, y) of the character by the index of the frame, normalized.

    Raises:
        PlayError: none of the frames shows a character.
    """

    def __init__(self, character: ClipLayers, indices: Iterable[int], progress: Callable = no_progress):
        self.centres: dict[int, np.ndarray] = {}
        self._offsets: dict[int, int] = {}
        self._file = tempfile.TemporaryFile()
        weakref.finalize(self, self._file.close)
        wanted, found = set(map(int, indices)), False
        character.prepare()
        trim_heaps()
        fine = character.at_canvas_size and not character.clip.moves and not character.network_only
        textures = Textures(character) if fine else None

        def cut(numbered: tuple[int, np.ndarray]) -> tuple[int, np.ndarray, StoredPicture]:
            index, frame = numbered
            layer = character.layer(index, frame)
            if character.network_only:
                return index, layer, StoredPicture(picture=frame, picture_from_frame=np.eye(3))
            return index, layer, _texture_of(textures, index) if textures else _crop(layer)

        for index, layer, stored in in_threads(cut, _frames(character, wanted, progress)):
            found |= bool(layer[..., 3].max() > 0.5)
            self.centres[index] = centroid(layer)
            self._write(index, stored)
        if not found:
            where = f"in frame {min(wanted)}" if len(wanted) == 1 else "in this clip"
            name = character.clip.name
            raise PlayError(f"{name}: the model finds no character {where}. Take another, or train on this one.")

    def read(self, index: int) -> StoredPicture:
        """Read what was stored of a frame."""
        self._file.seek(self._offsets[int(index)])
        picture, matrix = (np.load(self._file, allow_pickle=False) for _ in range(2))
        return StoredPicture(picture=picture, picture_from_frame=matrix)

    def _write(self, index: int, stored: StoredPicture) -> None:
        self._offsets[index] = self._file.tell()
        for array in (stored.picture, stored.picture_from_frame):
            np.save(self._file, array)


def _texture_of(textures: Textures, index: int) -> StoredPicture:
    picture, picture_from_frame = textures.of(index).cut_out()
    return StoredPicture(picture=picture, picture_from_frame=picture_from_frame)


def _crop(layer: np.ndarray) -> StoredPicture:
    """The part of a layer [H, W, 4] that holds something."""
    box = bounding_box(layer[..., 3] != 0) or (0, 0, 1, 1)
    top, left, height, width = box
    crop = layer[top : top + height, left : left + width].astype(np.float16)
    return StoredPicture(picture=crop, picture_from_frame=box_from_frame(layer.shape[:2], *box))


def move_into(layer: np.ndarray, motion: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Move a layer into a frame of `size`: the part that lies in it, premultiplied RGBA, and its rows and columns.

    Why: only the part of the frame that is touched is drawn. And where the layer shrinks, it is made smaller first,
    without aliasing, to no less than bicubic resampling can take on from there.
    """
    corners = motion @ [[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]]
    pixels = (corners[1::-1].T + 1) / 2 * size  # y, x of the edges
    edges = np.floor(pixels.min(0)) - 2, np.ceil(pixels.max(0)) + 2
    (top, left), (bottom, right) = (np.clip(edge, 0, size).astype(int) for edge in edges)
    if top >= bottom or left >= right:
        return np.zeros((0, 0, 4), np.float32), (slice(0, 0), slice(0, 0))
    length = np.hypot(motion[0, :2] * size[1], motion[1, :2] * size[0])  # of the layer's width and height in the frame
    least = np.ceil(length[::-1] * MOST_SHRUNK).clip(1).astype(int)
    layer = resize(layer.astype(np.float32), tuple(np.minimum(layer.shape[:2], least).tolist()), "bicubic")
    box = (top, left, bottom - top, right - left)
    moved = move(layer, box_from_frame(size, *box) @ motion, (bottom - top, right - left))
    alpha = np.clip(moved[..., 3:], 0, 1)
    part = np.concatenate([np.clip(moved[..., :3], 0, 255 * alpha), alpha], -1)
    return part, (slice(top, bottom), slice(left, right))


def cast_actor(
    character: ClipLayers,
    count: int,
    fps: float,
    *,
    pose: int | None = None,
    playing: bool = False,
    progress: Callable = no_progress,
) -> Actor:
    """Make a character ready to play any template of a length: what takes long of `perform`.

    Args:
        character: the layers of its clip.
        count: number of frames of the video.
        fps: frames per second of it.
        pose: see `play`.
        playing: see `play`.
        progress: see `ClipLayers`.

    Raises:
        PlayError: the model finds no character.
    """
    if playing:
        return _walking(character, count, fps, progress)
    pose = best_pose(character) if pose is None else pose
    return Actor(poses=PoseStore(character, [pose]), order=[pose] * count, home_from_frame={pose: np.eye(3)}, home=pose)


def _walking(character: ClipLayers, count: int, fps: float, progress: Callable) -> Actor:
    found = visibility(character)
    first, last = longest_run(found.whole if found.whole.any() else found.visible)
    rate = character.clip.fps / fps
    last = min(last, first + int(frame_order(count, last, rate, False).max()) + 1) if last else 0
    if first == last:
        raise PlayError(
            f"{character.clip.name}: the model finds no character in this clip. Take another, or train on this one."
        )
    motions = own_motion(character, first, last)
    order = (first + frame_order(count, last - first, rate, loops(character, first, motions))).tolist()
    poses, home_from_frame = PoseStore(character, order, progress), {}
    for index in set(order):
        motion = motions[index - first].copy()
        if found.whole[index]:  # by the centroid its centre is 0.05 px off, by the estimate 0.24 (rigid, 64 px)
            motion[:2, 2] = poses.centres[index] - motion[:2, :2] @ poses.centres[first]
        home_from_frame[index] = np.linalg.inv(motion)
    return Actor(poses=poses, order=order, home_from_frame=home_from_frame, home=first)


def _frames(character: ClipLayers, wanted: set[int], progress: Callable) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames of a clip with their index."""
    indices = sorted(wanted)
    yield from zip(indices, progress(character.clip.native(indices), "cutting it out", len(indices)))


def _draw_cutouts(
    pictures: Iterable[StoredPicture], motions: Iterable[np.ndarray], backgrounds: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Move each cut-out and composite it over its background, on all cores."""

    def draw(one: tuple[StoredPicture, np.ndarray, np.ndarray]) -> np.ndarray:
        stored, motion, background = one
        moved, place = move_into(
            stored.picture, motion @ np.linalg.inv(stored.picture_from_frame), background.shape[:2]
        )
        frame = np.clip(background, 0, 255).round().astype(np.uint8)
        frame[place] = over(moved, background[place])
        return frame

    return in_threads(draw, zip(pictures, motions, backgrounds))


def _draw_transparent(
    pictures: Iterable[StoredPicture], motions: Iterable[np.ndarray], size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Move each cut-out over nothing."""
    for stored, motion in zip(pictures, motions):
        moved, place = move_into(stored.picture, motion @ np.linalg.inv(stored.picture_from_frame), size)
        frame = np.zeros((*size, 4), np.uint8)
        frame[place] = straight_alpha(moved)
        yield frame


def _draw_by_networks(
    model: EquivariantVideoModel,
    pictures: Iterable[StoredPicture],
    motions: Iterable[np.ndarray],
    backgrounds: Iterable[np.ndarray],
) -> Iterator[np.ndarray]:
    """What the networks alone draw of each frame."""
    for stored, motion, background in zip(pictures, motions, backgrounds):
        behind = np.clip(background, 0, 255).round().astype(np.uint8)
        yield render_by_networks(model, stored.picture, behind, motion)
