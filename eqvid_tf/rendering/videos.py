"""A motion template played by a character on a background: frozen in one pose, or with its own walk cycle."""

from __future__ import annotations

import itertools
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from eqvid_tf.motions.template import Template
from eqvid_tf.pixels.coordinates import bounding_box, box_from_frame, centroid
from eqvid_tf.pixels.resampling import move, over, resize
from eqvid_tf.progress import no_progress
from eqvid_tf.rendering import walk_cycle
from eqvid_tf.rendering.shots import decode_with_networks
from eqvid_tf.separation.cutout import straight_alpha
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.texture import Textures

MOST_SHRUNK = 1.5  # times by which bicubic resampling alone may shrink a picture; past that it is made smaller before
LEAST_ZOOM, MOST_ZOOM = 1e-3, 1e3


class PlayError(ValueError):
    """A video that cannot be made: one line, with the remedy."""


def play(
    character: ClipLayers,
    template: Template,
    background: np.ndarray | None = None,
    *,
    size: tuple[int, int] | None = None,
    at: tuple[float, float] | None = None,
    zoom: float = 1.0,
    pose: int | None = None,
    playing: bool = False,
    progress: Callable = no_progress,
) -> Iterator[np.ndarray]:
    """The frames of a new video: a character plays a template on a background, at the template's fps.

    One matrix a frame takes the character from its own frame back to the start (its own motion taken out), to its place and size,
    through the template's pose and into the background's frame, by one resampling. Frames are made as they are asked for.

    Convention: the template's unit is half the height of the background; `at` is in the background's normalized coordinates.
    Shapes: T + 1 frames for T steps: uint8 [H, W, 3], without a background [H, W, 4] with straight alpha.

    Args:
        character: the layers of its clip; with `network_only` the networks draw everything.
        background: a picture [H, W, 3] in [0, 255]; None for transparent frames.
        size: (height, width) of transparent frames; by default that of the character's clip.
        at: where the character's centre starts; by default the same x, y as in its own clip.
        zoom: how large it is by how large it was in its own clip, both in terms of the frame's height.
        pose: the frame that it is frozen in; by default the one that shows it best, see `eqvid_tf.rendering.walk_cycle.best_pose`.
        playing: it keeps its own walk cycle: its clip goes on with the video, its own motion taken out. Played is the longest run
            of frames that show it whole: over and over where its ends join, else back and forth.

    Raises:
        PlayError: at once, where an argument is out of its range, or the model finds no character.
    """
    clip = character.clip
    check_play(character, at=at, zoom=zoom, pose=pose, playing=playing, transparent=background is None)
    if playing:
        actor = _walking(character, template, progress)
    else:
        pose = walk_cycle.best_pose(character) if pose is None else pose
        actor = Actor(PoseStore(character, [pose]), [pose] * (len(template.steps) + 1), {pose: np.eye(3)}, pose)
    start = actor.kept.centres[actor.home]
    size = clip.size if background is None and size is None else size or background.shape[:2]
    own, new = _square(clip.size), _square(size)
    here = np.diag([zoom, zoom, 1]) @ _shift(-own[:2, :2] @ start) @ own  # square, about the character's centre
    there = np.linalg.inv(new) @ _shift(new[:2, :2] @ (start if at is None else at))
    motions = ((index, there @ posed @ here @ actor.back[index]) for index, posed in zip(actor.order, template.poses()))
    return (
        _decoded(character.model, actor.kept, motions, background)
        if character.network_only
        else _drawn(actor.kept, motions, size, background)
    )


def check_play(
    character: ClipLayers,
    *,
    at=None,
    zoom: float = 1.0,
    pose: int | None = None,
    playing: bool = False,
    transparent: bool = False,
) -> None:
    """Raises: PlayError where the arguments of `play` are out of their range, before anything takes long."""
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


class Actor(NamedTuple):
    """What plays: the frame that each picture takes it from, and what carries it from there back to how it stands at `home`."""

    kept: PoseStore
    order: Iterable[int]
    back: dict[int, np.ndarray]
    home: int


def _walking(character: ClipLayers, template: Template, progress: Callable) -> Actor:
    shown, whole = walk_cycle.visible_frames(character)
    first, last = walk_cycle.longest_run(whole if whole.any() else shown)
    rate, count = character.clip.fps / template.fps, len(template.steps) + 1
    last = min(last, first + walk_cycle.frame_order(count, last, rate, False).max() + 1) if last else 0
    if first == last:
        raise PlayError(
            f"{character.clip.name}: the model finds no character in this clip. Take another, or train on this one."
        )
    motions = walk_cycle.own_motion(character, first, last)
    order = first + walk_cycle.frame_order(count, last - first, rate, walk_cycle.loops(character, first, motions))
    kept, back = PoseStore(character, order, progress), {}
    for index in set(order.tolist()):
        motion = motions[index - first]
        if whole[index]:  # by the centroid its centre is 0.05 px off, by the estimate 0.24 (rigid, 64 px)
            motion[:2, 2] = kept.centres[index] - motion[:2, :2] @ kept.centres[first]
        back[index] = np.linalg.inv(motion)
    return Actor(kept, order, back, first)


class PoseStore:
    """The character cut out of some frames of a clip, or with `network_only` these frames, in an unnamed file on disk, for a clip
    may be long. Its centre in each stays at hand. Where the networks see the clip at its own size, it is as fine as all frames tell.

    Raises: PlayError where none of the frames shows a character.
    """

    def __init__(self, character: ClipLayers, indices: Iterable[int], progress: Callable = no_progress):
        self.centres, self.places, self.file = {}, {}, tempfile.TemporaryFile()
        weakref.finalize(self, self.file.close)
        wanted, clip, found = set(map(int, indices)), character.clip, False
        one, end = min(wanted), max(wanted) + 1
        character.prepare()
        textures = (
            Textures(character)
            if character.at_canvas_size and character.clip is character.filmed and not character.network_only
            else None
        )
        frames = progress(enumerate(itertools.islice(clip.native(), end)), "cutting it out", end)
        for index, frame in [(one, clip.at(one))] if len(wanted) == 1 else frames:
            if index in wanted:
                layer = character.layer(index, frame)
                found |= bool(layer[..., 3].max() > 0.5)
                self.centres[index], self.places[index] = centroid(layer), self.file.tell()
                for array in (
                    [frame]
                    if character.network_only
                    else textures.of(index).cut_out()
                    if textures
                    else crop_layer(layer)
                ):
                    np.save(self.file, array)
        if not found:
            where = f"in frame {one}" if len(wanted) == 1 else "in this clip"
            raise PlayError(f"{clip.name}: the model finds no character {where}. Take another, or train on this one.")

    def of(self, index: int, arrays: int) -> list[np.ndarray]:
        """What was kept of a frame, so many arrays."""
        self.file.seek(self.places[int(index)])
        return [np.load(self.file, allow_pickle=False) for _ in range(arrays)]


def crop_layer(layer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a layer that holds something, and what carries the frame's coordinates to those of that box."""
    top, left, height, width = box = bounding_box(layer[..., 3] != 0) or (0, 0, 1, 1)
    return layer[top : top + height, left : left + width].astype(np.float16), box_from_frame(layer.shape[:2], *box)


def move_into(layer: np.ndarray, motion: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[slice, slice]]:
    """A layer moved into a frame of `size`: what comes to lie in it, premultiplied RGBA, and where.

    Why: only the part of the frame that is touched is drawn; and where the layer shrinks, it is made smaller first, without
    aliasing, to no less than bicubic resampling can take on from there.
    """
    corners = motion @ [[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]]
    pixels = (corners[1::-1].T + 1) / 2 * size  # y, x of the edges
    (top, left), (bottom, right) = (
        np.clip(edge, 0, size).astype(int) for edge in (np.floor(pixels.min(0)) - 2, np.ceil(pixels.max(0)) + 2)
    )
    if top >= bottom or left >= right:
        return np.zeros((0, 0, 4), np.float32), (slice(0, 0), slice(0, 0))
    length = np.hypot(motion[0, :2] * size[1], motion[1, :2] * size[0])  # of the layer's width and height in the frame
    least = np.ceil(length[::-1] * MOST_SHRUNK).clip(1).astype(int)
    layer = resize(layer.astype(np.float32), tuple(np.minimum(layer.shape[:2], least).tolist()), "bicubic")
    moved = move(
        layer, box_from_frame(size, top, left, bottom - top, right - left) @ motion, (bottom - top, right - left)
    )
    alpha = np.clip(moved[..., 3:], 0, 1)
    return np.concatenate([np.clip(moved[..., :3], 0, 255 * alpha), alpha], -1), (
        slice(top, bottom),
        slice(left, right),
    )


def _drawn(kept: PoseStore, motions, size, background) -> Iterator[np.ndarray]:
    """The cut-out moved onto the background, or onto nothing."""
    plain = np.zeros((*size, 4), np.uint8) if background is None else over(np.zeros((*size, 4), np.float32), background)
    for index, motion in motions:
        layer, from_frame = kept.of(index, 2)
        moved, place = move_into(layer, motion @ np.linalg.inv(from_frame), size)
        frame = plain.copy()
        frame[place] = straight_alpha(moved) if background is None else over(moved, background[place])
        yield frame


def _decoded(model, kept: PoseStore, motions, background) -> Iterator[np.ndarray]:
    """What the networks alone make of it."""
    background = np.clip(background, 0, 255).round().astype(np.uint8)
    for index, motion in motions:
        yield decode_with_networks(model, *kept.of(index, 1), background, motion)


def _square(size: tuple[int, int]) -> np.ndarray:
    """[3, 3]: a frame's normalized coordinates to square ones, in units of half its height."""
    return np.diag([size[1] / size[0], 1.0, 1.0])


def _shift(by: np.ndarray) -> np.ndarray:
    return np.array([[1, 0, by[0]], [0, 1, by[1]], [0, 0, 1]])
