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
import itertools
from collections.abc import Iterable

import cv2
import numpy as np

from eqvid_tf.parallel import in_threads
from eqvid_tf.pixels.coordinates import bounding_box, box_from_frame, homogeneous, source_from_target_pixels
from eqvid_tf.pixels.morphology import dilate
from eqvid_tf.pixels.resampling import CUBIC, LINEAR, move, opencv_matrix, read_quickly
from eqvid_tf.pixels.solver import least_squares
from eqvid_tf.separation.background import evenly_spaced
from eqvid_tf.separation.cutout import extract_layer
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.motions import frame_weights

FINER = 2  # texture pixels per frame pixel, along each side
MOST_SAMPLES = 8  # per frame pixel and side, where the texture is drawn smaller
MOTION_FITS = 3  # each to a texture begun anew: one made with wrong motions agrees with them after many passes ...
FIT_PASSES = 2  # ... so it gets few ...
FIT_STEP = 2.0  # ... and long ones, which many passes would not bear
PASSES = 10  # over all frames, for the final texture
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
        fine = size[0] * samples, size[1] * samples
        source = source_from_target_pixels(target_from_texture, (height, width), fine)
        moved = cv2.resize(read_quickly(planes, source, fine, cubic=True), size[::-1], interpolation=cv2.INTER_AREA)
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
        self.motions: dict[tuple[int, int], tuple[np.ndarray, float]] = {}  # from a frame to a later one
        self.of = functools.lru_cache(CACHED)(self._of)
        if layers.clip.count > 1 and layers.model.T.learned and layers.background_stored:
            weights = frame_weights(layers.canvas_frames)
            chosen = evenly_spaced(layers.clip.count, affordable_views(layers)).tolist()
            self.views = {k: dataclasses.replace(self._view(k), trust=weights[k]) for k in chosen}

    def make(self, indices: Iterable[int]) -> None:
        """Make the textures of some frames, at most `CACHED`, on all cores."""
        wanted = sorted(set(indices))
        self._estimate([(index, k) for index in wanted for k in self.views])
        collections.deque(in_threads(self.of, wanted), 0)

    def _of(self, index: int) -> Texture:
        """The texture of the character in a frame."""
        others = [k for k in self.views if k != index]
        self._estimate([(index, k) for k in others])
        views = []
        for k in others:
            view, (motion, confidence) = self.views[k], self.motions[min(index, k), max(index, k)]
            forward = motion if index < k else np.linalg.inv(homogeneous(motion))
            box_from_own = view.box_from_frame @ self.layers.clip.between_as_filmed(
                forward[:2], index, k, self.layers.centres[index]
            )
            views.append(dataclasses.replace(view, box_from_frame=box_from_own, trust=view.trust * confidence))
        own = dataclasses.replace(self.views[index], trust=1.0) if index in self.views else self._view(index)
        return super_resolve(own, [view for view in views if view.trust > LEAST_TRUST])

    def _estimate(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Estimate the motions between pairs of frames, each once: from the earlier to the later one."""
        unknown = sorted({(min(pair), max(pair)) for pair in pairs if len(set(pair)) > 1} - self.motions.keys())
        if unknown:
            self.motions.update(zip(unknown, zip(*self.layers.estimate_motions(unknown))))

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
    views = _Views.of([own, *others])
    for _ in range(MOTION_FITS if others else 0):
        picture = _back_project(start, frame_from_wide, views, FIT_PASSES, FIT_STEP).picture
        fitted = fit_motions(views, picture, frame_from_wide)
        # All others can be wrong by the same, and the picture with them; then it is the own frame that does not fit.
        to_own = np.linalg.inv(fitted.box_from_frame[0]) @ own.box_from_frame
        views = dataclasses.replace(fitted, box_from_frame=fitted.box_from_frame @ to_own)
    return _back_project(start, frame_from_wide, views, PASSES, STEP)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Views:
    """Views of N frames with all pixels P of their boxes in one row, so that a step over them is one of numpy's.

    Attributes: as of `View`, planes first.
        sizes: (height, width) of each box.
        frame, background: [3, P].
        coverage, visible, trust: [P]; the trust is that of the pixel's frame.
        near: where its motion is fitted, bool [P].
        box_from_frame: [N, 3, 3].
    """

    sizes: list[tuple[int, int]]
    frame: np.ndarray
    background: np.ndarray
    coverage: np.ndarray
    visible: np.ndarray
    trust: np.ndarray
    near: np.ndarray
    box_from_frame: np.ndarray

    @staticmethod
    def of(views: list[View]) -> _Views:
        row = lambda name, *shape: np.concatenate([getattr(view, name).reshape(-1, *shape) for view in views])
        near = [dilate(view.coverage[..., 0] > 255 * OUTLINE, 1) & (view.visible > 0) for view in views]
        return _Views(
            sizes=[view.size for view in views],
            frame=np.ascontiguousarray(row("frame", 3).T),
            background=np.ascontiguousarray(row("background", 3).T),
            coverage=row("coverage"),
            visible=row("visible"),
            trust=np.concatenate([np.full(view.visible.size, view.trust, np.float32) for view in views]),
            near=np.concatenate([plane.ravel() for plane in near]),
            box_from_frame=np.stack([view.box_from_frame for view in views]),
        )

    def apart(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The boxes [h, w(, c)] of pixels [P(, c)]; views into them."""
        ends = itertools.accumulate(height * width for height, width in self.sizes)
        shapes = ((*size, *pixels.shape[1:]) for size in self.sizes)
        return [pixels[end - shape[0] * shape[1] : end].reshape(shape) for end, shape in zip(ends, shapes)]

    def ways(self, frame_from_picture: np.ndarray, size: tuple[int, int]) -> list[_Way]:
        """From a picture of `size` into the boxes."""
        boxes = zip(self.box_from_frame, self.sizes)
        return [_Way.between(box_from_frame @ frame_from_picture, size, box) for box_from_frame, box in boxes]

    def seen(self, picture: np.ndarray, ways: list[_Way]) -> np.ndarray:
        """A premultiplied RGBA picture [h, w, 4] as the boxes show it, [4, P]."""
        pixels = np.empty((self.visible.size, 4), np.float32)
        for box, way in zip(self.apart(pixels), ways):
            fine = cv2.warpAffine(picture, way.picture_from_fine, way.fine[::-1], flags=CUBIC)
            cv2.resize(fine, way.size[::-1], dst=box, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(pixels.T)

    def residual(self, seen: np.ndarray) -> np.ndarray:
        """Frames minus a picture as it is seen [4, P], composited over the background, [3, P]."""
        return self.frame - seen[:3] - (1 - seen[3] / 255) * self.background

    def agreement(self, residual: np.ndarray, tolerance: float) -> np.ndarray:
        """Weights [P] from residuals [3, P] over 3 x 3 pixels: e^-1 where they are `tolerance` grey levels."""
        total = np.square(residual).max(0)
        for box in self.apart(total):
            cv2.boxFilter(box, -1, (3, 3), dst=box, normalize=False, borderType=cv2.BORDER_CONSTANT)
        return np.exp(total / np.float32(-9 * tolerance**2))


def fit_motions(views: _Views, picture: np.ndarray, frame_from_picture: np.ndarray) -> _Views:
    """The views with their motions after one step of Gauss-Newton, each if the picture fits its frame better with it.

    Shapes: picture premultiplied RGBA [h, w, 4] in [0, 255], frame_from_picture [3, 3].
    """
    start = _compare(views, picture, frame_from_picture)
    steps = [
        _newton_step(seen, background, weight, residual)
        for seen, background, weight, residual in zip(
            *(views.apart(pixels) for pixels in (start.seen.T, views.background.T, start.weight, start.residual.T))
        )
    ]
    fitted = dataclasses.replace(views, box_from_frame=steps @ views.box_from_frame)
    better = _compare(fitted, picture, frame_from_picture).cost < start.cost
    chosen = np.where(better[:, None, None], fitted.box_from_frame, views.box_from_frame)
    return dataclasses.replace(views, box_from_frame=chosen)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Comparison:
    """A picture as views see it [4, P], residual [3, P], weights [P], and the cost of each view [N] in [0, 1]."""

    seen: np.ndarray
    residual: np.ndarray
    weight: np.ndarray
    cost: np.ndarray


def _compare(views: _Views, picture: np.ndarray, frame_from_picture: np.ndarray) -> _Comparison:
    size = picture.shape[:2]
    ways, whole = views.ways(frame_from_picture, size), np.ones(size, np.float32)
    seen = views.seen(picture, ways)
    inside = [cv2.warpAffine(whole, way.picture_from_box, way.size[::-1], flags=LINEAR).ravel() > 0.99 for way in ways]
    residual, within = views.residual(seen), views.near & np.concatenate(inside)
    weight = within * views.agreement(residual, FIT_TOLERANCE)
    count, agreeing = (np.array([box.sum() for box in views.apart(a)]) for a in (within, weight))
    return _Comparison(seen=seen, residual=residual, weight=weight, cost=(count - agreeing) / (count + 1))


def _back_project(
    picture: np.ndarray, frame_from_picture: np.ndarray, views: _Views, passes: int, step: float
) -> Texture:
    """Bring a premultiplied RGBA picture [h, w, 4] nearer to what all views show, by back-projecting their residuals.

    The first view counts everywhere. Coverage is wrong where the residuals e go with the background: in
    C + (1 - A) B + e, e = s B is a coverage that is less by s.
    """
    size = picture.shape[:2]
    ways = views.ways(frame_from_picture, size)
    for _ in range(passes):
        total = [np.zeros((*size, 4), np.float32) for _ in range(3)]
        for sums, planes in zip(total, _residual_planes(views, views.seen(picture, ways))):
            for box, way in zip(views.apart(planes), ways):
                sums += cv2.warpAffine(box, way.box_from_picture, size[::-1], flags=LINEAR)
        e, cover, b, support, covariance, variance, _ = np.split(np.concatenate(total, -1), [3, 4, 7, 8, 9, 10], -1)
        b = np.clip(b / (support + 1e-3), 0, 1)
        covariance = covariance - (e * b).sum(-1, keepdims=True)
        variance = np.maximum(variance - support * (b * b).sum(-1, keepdims=True), 0)
        cut = step * cover / (support + 0.5)  # half a frame of nothing: at the edge hardly any frame holds the picture
        slope = (covariance / TOLERANCE**2 - cut / CUTOUT_ERROR**2) / (variance / TOLERANCE**2 + 1 / CUTOUT_ERROR**2)
        slope = slope * support / (support + 0.5)
        picture = np.clip(picture + np.concatenate([step * e / (support + 0.5) - slope * b, -slope], -1), 0, 255)
        picture[..., :3] = np.minimum(picture[..., :3], picture[..., 3:])
    return Texture(picture=picture, support=support, frame_from_texture=frame_from_picture)


def _residual_planes(views: _Views, seen: np.ndarray) -> list[np.ndarray]:
    """What views say of a picture as it is seen in them [4, P], times their weights: three times [P, 4].

    The residual e, that of the coverage; the background B, 1; e B, B B, 0, 0 (OpenCV reads four planes faster than
    two). The first view counts everywhere.
    """
    e, b = views.residual(seen), views.background / 255
    weight = views.agreement(e, TOLERANCE)
    views.apart(weight)[0][:] = 1
    weight *= views.trust * views.visible
    none = np.zeros_like(weight)
    first, second = [*e, views.coverage - seen[3]], [*b, np.ones_like(weight)]
    parts = first, second, [(e * b).sum(0), (b * b).sum(0), none, none]
    return [np.stack([weight * plane for plane in planes], -1) for planes in parts]


def _newton_step(picture: np.ndarray, background: np.ndarray, weight: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """The motion [3, 3] of a picture [h, w, 4] over its background that removes most of a residual [h, w, 3]."""
    height, width = weight.shape
    rows, columns = np.nonzero(weight)
    x, y = (2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1
    points = np.stack([x, y, np.ones(x.shape)], -1).astype(np.float32)[:, None]
    behind = background[rows, columns] / 255
    slopes = (slope[rows, columns] for slope in np.gradient(picture, axis=(0, 1)))
    down, right = (slope[:, :3] - slope[:, 3:] * behind for slope in slopes)
    jacobian = np.concatenate([right[..., None] * points * (width / 2), down[..., None] * points * (height / 2)], -1)
    values, weights = residual[rows, columns].ravel(), np.repeat(weight[rows, columns], 3)
    step = least_squares(jacobian.reshape(-1, 6), values, weights, DAMPING).reshape(2, 3)
    return np.linalg.inv(homogeneous(np.eye(2, 3) + step))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Way:
    """The way from a picture into a box and back, as OpenCV takes it (`opencv_matrix`).

    Attributes:
        size: (height, width) of the box.
        fine: that of the samples of its pixels.
        picture_from_fine, picture_from_box, box_from_picture: [2, 3].
    """

    size: tuple[int, int]
    fine: tuple[int, int]
    picture_from_fine: np.ndarray
    picture_from_box: np.ndarray
    box_from_picture: np.ndarray

    @staticmethod
    def between(box_from_picture: np.ndarray, size: tuple[int, int], box: tuple[int, int]) -> _Way:
        """From the matrix between normalized coordinates and the sizes of picture and box."""
        back = source_from_target_pixels(box_from_picture, size, box)
        return _Way(
            size=box,
            fine=(FINER * box[0], FINER * box[1]),
            picture_from_fine=opencv_matrix(back @ np.diag([1 / FINER, 1 / FINER, 1])),
            picture_from_box=opencv_matrix(back),
            box_from_picture=opencv_matrix(np.linalg.inv(back)),
        )
