"""The texture of a character: a picture finer than the frames, from all frames of its clip together.

Why: every frame samples the character at other places, and together they show what lies between the pixels of each.
Multi-frame super-resolution: sought are colour C and coverage A on a finer grid. Carried into each frame by the motion
to it, composited over the background B behind it as C + (1 - A) B, and averaged over the frame's pixels, they give what
that frame shows. Where a frame shows something else, a limb that moves by itself, it hardly counts. The model's motions
are where the search for exact ones starts. The coverage is that of the cut-outs, except where the background that
passes behind it says otherwise.

Source: M. Irani and S. Peleg, Improving Resolution by Image Registration, CVGIP 1991 (iterated back-projection);
B. D. Lucas and T. Kanade, An Iterative Image Registration Technique, IJCAI 1981 (the motions).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable

import cv2
import numpy as np

from eqvid_tf.parallel import in_threads
from eqvid_tf.pixels.colours import largest_channel
from eqvid_tf.pixels.coordinates import bounding_box, box_from_frame, homogeneous, source_from_target_pixels
from eqvid_tf.pixels.morphology import dilate
from eqvid_tf.pixels.resampling import move, read_quickly
from eqvid_tf.pixels.solver import least_squares
from eqvid_tf.separation.background import evenly_spaced
from eqvid_tf.separation.cutout import extract_layer
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.motions import frame_weights

FINER = 2  # texture pixels per frame pixel, along each side
MOST_SAMPLES = 8  # per frame pixel and side, where the texture is drawn smaller
MOTION_FITS = 3  # each to a texture begun anew: one made with wrong motions agrees with them after many passes ...
FIT_PASSES = 2  # ... so it gets few
PASSES = 8  # over all frames, for the final texture
STEP = 1.6  # times the mean residual: larger diverges, smaller takes more passes
MOST_FRAMES = 48  # that a texture is made from ...
MOST_PIXELS = MOST_FRAMES * 96**2  # ... with boxes of so many pixels in all, which takes seconds
FEWEST_FRAMES = 6  # with fewer the frame's own pixels say as much
CACHED = 64  # textures of a clip that are held in memory
LEAST_TRUST = 0.05  # of a frame: below it the frame is left out
TOLERANCE = 25.0  # grey levels of residual at which a frame counts e^-1 at a place ...
FIT_TOLERANCE = 10.0  # ... and where its motion is fitted
DAMPING = 0.01 / 6  # of the trace of the normal matrix
CUTOUT_ERROR = 50.0  # grey levels of 255, by which the coverage of a cut-out may be wrong
OUTLINE = 0.03  # coverage from which a pixel is the character's
MARGIN = 4  # pixels around it that are looked at too
BYTES = np.array([1, 1, 1, 255], np.float32)  # brings coverage in [0, 1] to the scale of the colours


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A character as one frame shows it, in a box around it.

    Attributes:
        frame: [h, w, 3] float32 in [0, 255].
        background: behind it, the same.
        coverage: of the cut-out, [h, w, 1] in [0, 255].
        box_from_frame: [3, 3], from the coordinates of the frame that it is compared with to the box's.
        trust: what the frame counts, in [0, 1].
        visible: where it shows what is there, float32 [h, w]: 1, or 0 where another character is.
    """

    frame: np.ndarray
    background: np.ndarray
    coverage: np.ndarray
    box_from_frame: np.ndarray
    visible: np.ndarray
    trust: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the box."""
        return self.coverage.shape[:2]

    def residual(self, picture: np.ndarray) -> np.ndarray:
        """Frame minus a premultiplied RGBA picture [h, w, 4] composited over the background, [h, w, 3]."""
        return self.frame - picture[..., :3] - (1 - picture[..., 3:] / 255) * self.background


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Texture:
    """A character finer than its frame.

    Attributes:
        picture: premultiplied RGBA [h, w, 4] in [0, 255].
        support: [h, w, 1], the number of frames that show each place, the own one among them.
        frame_from_texture: [3, 3], normalized coordinates.
    """

    picture: np.ndarray
    support: np.ndarray
    frame_from_texture: np.ndarray

    def render(self, motion: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The character moved by a forward motion into a frame of `size`, and its support.

        Shapes: motion [2, 3] or [3, 3] -> premultiplied RGBA [*size, 4], colour in [0, 255], coverage in [0, 1];
            support [*size, 1].
        """
        target_from_texture = homogeneous(motion) @ self.frame_from_texture
        height, width, _ = self.picture.shape
        area = max(abs(np.linalg.det(target_from_texture)) * size[0] * size[1], 1e-6)
        samples = int(np.clip(np.ceil((height * width / area) ** 0.5), FINER, MOST_SAMPLES))
        planes = np.concatenate([self.picture, self.support], -1)
        moved = _Way.between(target_from_texture, (height, width), size).seen(planes, samples)
        return moved[..., :4] / BYTES, np.maximum(moved[..., 4:], 0)

    def cut_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Premultiplied RGBA [h, w, 4], coverage in [0, 1], and texture_from_frame [3, 3]."""
        return (self.picture / BYTES).astype(np.float16), np.linalg.inv(self.frame_from_texture)


class Textures:
    """The textures of a clip's frames as filmed, each made from up to `MOST_FRAMES` of them.

    From the frame alone where the model estimates no motion, or does not know the clip's background.
    """

    def __init__(self, layers: ClipLayers):
        self.layers, self.views = layers, {}
        self.of = functools.lru_cache(CACHED)(self._of)
        if layers.clip.count > 1 and layers.model.T.learned and layers.background_stored:
            weights = frame_weights(layers.canvas_frames)
            chosen = evenly_spaced(layers.clip.count, affordable_views(layers)).tolist()
            self.views = {k: dataclasses.replace(self._view(k), trust=weights[k]) for k in chosen}

    def make(self, indices: Iterable[int]) -> None:
        """Make the textures of some frames, at most `CACHED`, on all cores."""
        collections.deque(in_threads(self.of, sorted(set(indices))), 0)

    def _of(self, index: int) -> Texture:
        """The texture of the character in a frame."""
        others = [k for k in self.views if k != index]
        estimates = zip(*self.layers.estimate_motions([(index, k) for k in others])) if others else ()
        views = []
        for k, (motion, confidence) in zip(others, estimates):
            view = self.views[k]
            box_from_own = view.box_from_frame @ self.layers.clip.between_as_filmed(
                motion, index, k, self.layers.centres[index]
            )
            views.append(dataclasses.replace(view, box_from_frame=box_from_own, trust=view.trust * confidence))
        own = dataclasses.replace(self.views[index], trust=1.0) if index in self.views else self._view(index)
        return super_resolve(own, [view for view in views if view.trust > LEAST_TRUST])

    def _view(self, index: int) -> View:
        clip, background = self.layers.clip, self.layers.background_as_filmed(index)
        frame, hidden = clip.filmed.at(index), clip.hidden(index)
        if hidden is not None:
            hidden = clip.as_filmed(hidden.astype(np.float32), index) > 0
        return crop_view(self.layers.layer_as_filmed(index, frame), frame, background, hidden)


def is_textured(layers: ClipLayers) -> bool:
    """Whether shots draw a character from its texture: always at the canvas's size, else where that takes seconds."""
    return layers.at_canvas_size or affordable_views(layers) >= min(FEWEST_FRAMES, layers.clip.count)


def affordable_views(layers: ClipLayers) -> int:
    """How many frames a texture is made from: fewer of a character that is large in pixels."""
    boxes = [bounding_box(mask > 0.5) for mask in layers.coverage]
    areas = [height * width for _, _, height, width in filter(None, boxes)]
    scale = np.prod(layers.clip.size) / np.prod(layers.canvas)
    return int(min(MOST_FRAMES, MOST_PIXELS / (scale * np.median(areas)))) if areas else MOST_FRAMES


def crop_view(layer: np.ndarray, frame: np.ndarray, background: np.ndarray, hidden: np.ndarray | None = None) -> View:
    """The box of a frame that holds its character; the whole frame, where there is none.

    Shapes: layer premultiplied RGBA [H, W, 4] with coverage in [0, 1], frame and background [H, W, 3] in [0, 255],
        hidden [H, W] bool, where another character is.
    """
    size = layer.shape[:2]
    box = bounding_box(layer[..., 3] > OUTLINE, MARGIN) or (0, 0, *size)
    top, left, height, width = box
    crop = lambda plane: plane[top : top + height, left : left + width].astype(np.float32)
    return View(
        frame=crop(frame),
        background=crop(background),
        coverage=crop(255 * layer[..., 3:]),
        visible=crop(np.ones(size) if hidden is None else ~dilate(hidden, 1)),
        box_from_frame=box_from_frame(size, *box),
    )


def super_resolve(own: View, others: list[View]) -> Texture:
    """The texture that a frame and others of its clip show together.

    Args:
        own: the frame's own view; it is trusted everywhere.
        others: with the approximate motion from that frame to theirs in `box_from_frame`.
    """
    height, width = own.size
    wide = (height + 2 * MARGIN, width + 2 * MARGIN)  # a character at the border goes on beyond it in other frames
    box_from_wide = np.diag([wide[1] / width, wide[0] / height, 1])
    frame_from_wide = np.linalg.inv(own.box_from_frame) @ box_from_wide
    layer = extract_layer(own.frame, own.background, own.coverage[..., 0] / 255)
    start = move(layer * BYTES, np.linalg.inv(box_from_wide), (FINER * wide[0], FINER * wide[1]))
    views = [own, *others]
    for _ in range(MOTION_FITS if others else 0):
        picture = _back_project(start, frame_from_wide, views, FIT_PASSES).picture
        views = [fit_motion(view, picture, frame_from_wide) for view in views]
        # All others can be wrong by the same, and the picture with them; then it is the own frame that does not fit.
        to_own = np.linalg.inv(views[0].box_from_frame) @ own.box_from_frame
        views = [dataclasses.replace(view, box_from_frame=view.box_from_frame @ to_own) for view in views]
    return _back_project(start, frame_from_wide, views, PASSES)


def fit_motion(view: View, picture: np.ndarray, frame_from_picture: np.ndarray) -> View:
    """The view with its motion after one step of Gauss-Newton, if the picture fits the frame better with it.

    Shapes: picture premultiplied RGBA [h, w, 4] in [0, 255], frame_from_picture [3, 3].
    """
    near = dilate(view.coverage[..., 0] > 255 * OUTLINE, 1) & (view.visible > 0)
    start = _compare(view, picture, view.box_from_frame @ frame_from_picture, near)
    motion = _newton_step(start.picture, view.background, start.weight, start.residual) @ view.box_from_frame
    end = _compare(view, picture, motion @ frame_from_picture, near)
    return dataclasses.replace(view, box_from_frame=motion) if end.cost < start.cost else view


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Comparison:
    """A picture in a view's box: as it lies in it [h, w, 4], the residual [h, w, 3], weights [h, w], cost in [0, 1]."""

    picture: np.ndarray
    residual: np.ndarray
    weight: np.ndarray
    cost: float


def _compare(view: View, picture: np.ndarray, box_from_picture: np.ndarray, near: np.ndarray) -> _Comparison:
    way = _Way.between(box_from_picture, picture.shape[:2], view.size)
    moved = way.seen(picture)
    whole = read_quickly(np.ones((*picture.shape[:2], 1), np.float32), way.picture_from_box, view.size)[..., 0]
    residual, within = view.residual(moved), near & (whole > 0.99)
    weight = within * _agreement(residual, FIT_TOLERANCE)
    cost = (within.sum() - weight.sum()) / (within.sum() + 1)
    return _Comparison(picture=moved, residual=residual, weight=weight, cost=cost)


def _back_project(picture: np.ndarray, frame_from_picture: np.ndarray, views: list[View], passes: int) -> Texture:
    """Bring a premultiplied RGBA picture [h, w, 4] nearer to what all views show, by back-projecting their residuals.

    The first view counts everywhere. Coverage is wrong where the residuals e go with the background: in
    C + (1 - A) B + e, e = s B is a coverage that is less by s.
    """
    size = picture.shape[:2]
    ways = [_Way.between(view.box_from_frame @ frame_from_picture, size, view.size) for view in views]
    for _ in range(passes):
        total = np.zeros((*size, 10), np.float32)
        for k, (view, way) in enumerate(zip(views, ways)):
            planes = _residual_planes(view, way.seen(picture), trusted=k == 0)
            total += read_quickly(planes, way.box_from_picture, size, cubic=True)
        e, cover, b, support, covariance, variance = np.split(total, [3, 4, 7, 8, 9], -1)
        support = np.maximum(support, 0)
        b = np.clip(b / (support + 1e-3), 0, 1)
        covariance = covariance - (e * b).sum(-1, keepdims=True)
        variance = np.maximum(variance - support * (b * b).sum(-1, keepdims=True), 0)
        cut = STEP * cover / (support + 0.5)  # half a frame of nothing: at the edge hardly any frame holds the picture
        slope = (covariance / TOLERANCE**2 - cut / CUTOUT_ERROR**2) / (variance / TOLERANCE**2 + 1 / CUTOUT_ERROR**2)
        slope = slope * support / (support + 0.5)
        picture = np.clip(picture + np.concatenate([STEP * e / (support + 0.5) - slope * b, -slope], -1), 0, 255)
        picture[..., :3] = np.minimum(picture[..., :3], picture[..., 3:])
    return Texture(picture=picture, support=support, frame_from_texture=frame_from_picture)


def _residual_planes(view: View, seen: np.ndarray, trusted: bool) -> np.ndarray:
    """What a view says of a picture as it is seen in it [h, w, 4], times its weight: [h, w, 10].

    The residual e, that of the coverage, the background B, 1, e B and B B. A trusted view counts everywhere.
    """
    e, b = view.residual(seen), view.background / 255
    planes = np.empty((*view.size, 10), np.float32)
    planes[..., :3], planes[..., 3:4], planes[..., 4:7], planes[..., 7] = e, view.coverage - seen[..., 3:], b, 1
    for k, other in ((8, e), (9, b)):
        np.einsum("ijk,ijk->ij", other, b, out=planes[..., k])
    weight = view.visible if trusted else view.visible * _agreement(e, TOLERANCE)
    planes *= (view.trust * weight)[..., None]
    return planes


def _newton_step(picture: np.ndarray, background: np.ndarray, weight: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """The motion [3, 3] of a picture [h, w, 4] over its background that removes most of a residual [h, w, 3]."""
    height, width = weight.shape
    x, y = np.meshgrid((2 * np.arange(width) + 1) / width - 1, (2 * np.arange(height) + 1) / height - 1)
    points = np.stack([x, y, np.ones(weight.shape)], -1)[:, :, None]
    down, right = (slope[..., :3] - slope[..., 3:] / 255 * background for slope in np.gradient(picture, axis=(0, 1)))
    slopes = np.concatenate([right[..., None] * points * (width / 2), down[..., None] * points * (height / 2)], -1)
    step = least_squares(slopes.reshape(-1, 6), residual.reshape(-1), np.repeat(weight, 3), DAMPING).reshape(2, 3)
    return np.linalg.inv(homogeneous(np.eye(2, 3) + step))


def _agreement(residual: np.ndarray, tolerance: float) -> np.ndarray:
    """Weights [h, w] from residuals [h, w, 3] over 3 x 3 pixels: e^-1 where they are `tolerance` grey levels."""
    largest = largest_channel(np.square(residual))
    total = cv2.boxFilter(largest, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.exp(-total / (9 * tolerance**2))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Way:
    """The way from a picture into a box and back, in pixels.

    Attributes:
        picture_from_box: [3, 3].
        box_from_picture: [3, 3].
        size: of the box.
    """

    picture_from_box: np.ndarray
    box_from_picture: np.ndarray
    size: tuple[int, int]

    @staticmethod
    def between(box_from_picture: np.ndarray, size: tuple[int, int], box: tuple[int, int]) -> _Way:
        """From the matrix between normalized coordinates and the sizes of picture and box."""
        back = source_from_target_pixels(box_from_picture, size, box)
        return _Way(picture_from_box=back, box_from_picture=np.linalg.inv(back), size=box)

    def seen(self, picture: np.ndarray, samples: int = FINER) -> np.ndarray:
        """The picture [h, w, c] as the box shows it, each pixel the mean of samples x samples: [*size, c]."""
        fine = self.size[0] * samples, self.size[1] * samples
        read = read_quickly(picture, self.picture_from_box @ np.diag([1 / samples, 1 / samples, 1]), fine, cubic=True)
        return cv2.resize(read, self.size[::-1], interpolation=cv2.INTER_AREA).reshape(*self.size, -1)
