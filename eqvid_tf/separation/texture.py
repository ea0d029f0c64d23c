"""The character of a frame as finely as its whole clip shows it: motions, colours and coverage found together from the frames' own pixels.

Why: every frame samples the character at other places, and together they tell what lies between the pixels of each. Sought is a picture
finer than the frames, colour C and coverage A, which, carried into each by the motion there, laid over the background B behind it and
averaged over its pixels, is what that frame shows: C + (1 - A) B. What a frame shows otherwise, a limb that moves by itself, hardly
counts there. T^z's motions are where the search for the motions starts; the coverage is that of the cut-outs as far as no background
passes behind it that tells otherwise.

Source: M. Irani and S. Peleg, Improving Resolution by Image Registration, CVGIP 1991 (iterated back-projection); B. D. Lucas and T. Kanade,
An Iterative Image Registration Technique, IJCAI 1981 (the motions).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from eqvid_tf.camera.stabilization import StabilizedClip, change_frame_coordinates
from eqvid_tf.pixels.coordinates import bounding_box, box_from_frame, homogeneous
from eqvid_tf.pixels.morphology import box_sum, dilate
from eqvid_tf.pixels.resampling import move
from eqvid_tf.pixels.solver import least_squares
from eqvid_tf.separation import background as backgrounds
from eqvid_tf.separation.cutout import extract_layer
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.translucency import reference_frame

FINER = 2  # times, by which the picture is finer than the frames
FINEST = 8  # samples of it a pixel and side at most, where it is drawn smaller
FITS, FEW = (
    3,
    2,
)  # times that the motions are fitted, each to a picture begun anew, of so many passes: one that was told from wrong
# motions through many passes agrees with them
STEP = 1.6  # times the mean of what is left: more leaps, less creeps
PASSES = 8  # over the frames
MOST = 48  # frames that it is told from
KEPT = 64  # textures of a clip that stay at hand
LEAST = 0.05  # trust: a frame below it is left out
ALIKE = 25.0  # grey levels off what a frame shows, at which it counts a third there, ...
SAME = 10.0  # ... and where its motion is fitted
DAMPING = 0.01 / 6  # of the trace of a fit's curvature
CUT = 50.0  # of 255, by which the coverage of a cut-out may be wrong
OUTLINE = 0.03  # coverage from which a pixel is of the character
MARGIN = 4  # pixels around it that are looked at too
AS_GREY = np.array([1, 1, 1, 255], np.float32)  # coverage on the scale of the colours


class View(NamedTuple):
    """A character as a frame shows it, in a box around it.

    Attributes: shown and behind [h, w, 3] in [0, 255], the frame and its background; coverage [h, w, 1] of the cut-out in [0, 255];
        box_from_frame [3, 3], which carries the coordinates of the frame that it is compared with to the box's; trust in [0, 1].
    """

    shown: np.ndarray
    behind: np.ndarray
    coverage: np.ndarray
    box_from_frame: np.ndarray
    trust: float

    @property
    def size(self) -> tuple[int, int]:
        return self.coverage.shape[:2]

    def apart(self, picture: np.ndarray) -> np.ndarray:
        """What the frame shows but a premultiplied RGBA picture [h, w, 4] on its background does not, [h, w, 3]."""
        return self.shown - picture[..., :3] - (1 - picture[..., 3:] / 255) * self.behind


class Texture(NamedTuple):
    """A character finer than its frame: premultiplied RGBA [h, w, 4] in [0, 255], the frames that each place is told from [h, w, 1],
    its own one of them, and what carries the texture's normalized coordinates to the frame's [3, 3].
    """

    picture: np.ndarray
    support: np.ndarray
    frame_from_box: np.ndarray

    def shown(self, motion: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Moved by a forward motion into a frame of `size`: premultiplied RGBA [*size, 4], colour in [0, 255] and coverage in [0, 1],
        and the frames that tell it [*size, 1].
        """
        there = homogeneous(motion) @ self.frame_from_box
        shrunk = (
            self.picture.shape[0] * self.picture.shape[1] / max(abs(np.linalg.det(there)) * size[0] * size[1], 1e-6)
        )  # of the area
        both = area_average(
            np.concatenate([self.picture, self.support], -1),
            there,
            size,
            int(np.clip(np.ceil(shrunk**0.5), FINER, FINEST)),
        )
        return both[..., :4] / AS_GREY, np.maximum(both[..., 4:], 0)

    def cut_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Premultiplied RGBA [h, w, 4], colour in [0, 255] and coverage in [0, 1], and what carries the frame's coordinates to its."""
        return (self.picture / AS_GREY).astype(np.float16), np.linalg.inv(self.frame_from_box)


def super_resolve(own: View, others: list[View]) -> Texture:
    """The picture that a frame and others of its clip show together.

    Args:
        own: the frame's own view; it is trusted everywhere.
        others: with the motion from that frame to theirs in `box_from_frame`, about right.
    """
    height, width = own.size
    wide = (height + 2 * MARGIN, width + 2 * MARGIN)  # a character at the border goes on beyond it in other frames
    box_from_wide = np.diag([wide[1] / width, wide[0] / height, 1])
    frame_from_wide = np.linalg.inv(own.box_from_frame) @ box_from_wide
    layer = extract_layer(own.shown, own.behind, own.coverage[..., 0] / 255)
    start = move(layer * AS_GREY, np.linalg.inv(box_from_wide), (FINER * wide[0], FINER * wide[1]))
    views = [own, *others]
    for _ in range(FITS if others else 0):
        picture = back_project(start, frame_from_wide, views, FEW)[0]
        views = [fit_motion(view, picture, frame_from_wide) for view in views]
        # all others can be off by the same, and the picture with them; then it is the own frame that does not fit
        back = np.linalg.inv(views[0].box_from_frame) @ own.box_from_frame
        views = [view._replace(box_from_frame=view.box_from_frame @ back) for view in views]
    return Texture(*back_project(start, frame_from_wide, views, PASSES), frame_from_wide)


def back_project(
    picture: np.ndarray, frame_from_picture: np.ndarray, views: list[View], passes: int
) -> tuple[np.ndarray, np.ndarray]:
    """A picture premultiplied RGBA [h, w, 4], brought nearer to what all views show, and how many of them tell each place [h, w, 1].

    Coverage is where the residuals e go with the background: C + (1 - A) B + e, and e = s B is a coverage less by s.
    """
    for _ in range(passes):
        total = np.zeros((*picture.shape[:2], 10), np.float32)
        for k, view in enumerate(views):
            there = view.box_from_frame @ frame_from_picture
            seen, b = area_average(picture, there, view.size, FINER), view.behind / 255
            e = view.apart(seen)
            weight = view.trust * (agreement(e, ALIKE) if k else np.ones(view.size, np.float32))[..., None]
            both = np.stack([(e * b).sum(-1), (b * b).sum(-1)], -1)
            told = np.concatenate([e, view.coverage - seen[..., 3:], b, both, np.ones_like(weight)], -1)
            total += move(told * weight, np.linalg.inv(there), picture.shape[:2])
        e, cover, b, covariance, variance, support = np.split(total, [3, 4, 7, 8, 9], -1)
        support = np.maximum(support, 0)
        b = np.clip(b / (support + 1e-3), 0, 1)
        covariance = covariance - (e * b).sum(-1, keepdims=True)
        variance = np.maximum(variance - support * (b * b).sum(-1, keepdims=True), 0)
        off = STEP * cover / (support + 0.5)  # half a frame of nothing: at the edge hardly any holds the picture
        slope = (covariance / ALIKE**2 - off / CUT**2) / (variance / ALIKE**2 + 1 / CUT**2) * support / (support + 0.5)
        picture = np.clip(picture + np.concatenate([STEP * e / (support + 0.5) - slope * b, -slope], -1), 0, 255)
        picture[..., :3] = np.minimum(picture[..., :3], picture[..., 3:])
    return picture, support


def fit_motion(view: View, picture: np.ndarray, frame_from_picture: np.ndarray) -> View:
    """The view with the motion one step of Gauss-Newton from its own, where that lays a picture better over what it shows."""
    near = dilate(view.coverage[..., 0] > 255 * OUTLINE, 1)
    picture = np.concatenate([picture, np.ones((*picture.shape[:2], 1), np.float32)], -1)

    def laid(motion: np.ndarray) -> tuple:
        """How badly the picture lies after a motion, and what tells the way to a better one."""
        seen = area_average(picture, motion @ frame_from_picture, view.size, FINER)
        apart, within = view.apart(seen[..., :4]), near & (seen[..., 4] > 0.99)
        weight = within * agreement(apart, SAME)
        return (within.sum() - weight.sum()) / (within.sum() + 1), seen[..., :4], weight, apart

    cost, seen, weight, apart = laid(view.box_from_frame)
    motion = newton_step(seen, view.behind, weight, apart) @ view.box_from_frame
    return view._replace(box_from_frame=motion) if laid(motion)[0] < cost else view


def newton_step(picture: np.ndarray, behind: np.ndarray, weight: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The motion [3, 3] of a picture [h, w, 4] on its background that takes away most of what is apart [h, w, 3]."""
    height, width = weight.shape
    places = np.stack(
        [
            *np.meshgrid((2 * np.arange(width) + 1) / width - 1, (2 * np.arange(height) + 1) / height - 1),
            np.ones(weight.shape),
        ],
        -1,
    )[:, :, None]
    down, right = (slope[..., :3] - slope[..., 3:] / 255 * behind for slope in np.gradient(picture, axis=(0, 1)))
    slopes = np.concatenate([right[..., None] * places * (width / 2), down[..., None] * places * (height / 2)], -1)
    step = least_squares(slopes.reshape(-1, 6), apart.reshape(-1), np.repeat(weight, 3), DAMPING).reshape(2, 3)
    return np.linalg.inv(homogeneous(np.eye(2, 3) + step))


def agreement(apart: np.ndarray, alike: float) -> np.ndarray:
    """How far what is apart [h, w, 3] is nothing, [h, w] in [0, 1], over 3 x 3 pixels; a third where it is `alike` grey levels."""
    return np.exp(-box_sum(np.square(apart).max(-1)) / (9 * alike**2))


def area_average(picture: np.ndarray, motion: np.ndarray, size: tuple[int, int], samples: int) -> np.ndarray:
    """A picture moved into a frame of `size`, each pixel the mean of samples x samples: [*size, c]."""
    fine = move(picture, motion, (size[0] * samples, size[1] * samples))
    return fine.reshape(size[0], samples, size[1], samples, -1).mean((1, 3))


def crop_view(layer: np.ndarray, frame: np.ndarray, background: np.ndarray) -> View:
    """The box of a frame in which its character lies; all of the frame, where it is nowhere.

    Shapes: layer premultiplied RGBA [H, W, 4] with coverage in [0, 1], frame and background [H, W, 3] in [0, 255].
    """
    size = layer.shape[:2]
    top, left, height, width = box = bounding_box(layer[..., 3] > OUTLINE, MARGIN) or (0, 0, *size)
    parts = (
        array[top : top + height, left : left + width].astype(np.float32)
        for array in (frame, background, 255 * layer[..., 3:])
    )
    return View(*parts, box_from_frame(size, *box), 1.0)


class Textures:
    """The textures of a clip's frames, as filmed: each from up to `MOST` of them; from the frame alone where the model estimates no
    motion, or does not know the clip's background.
    """

    def __init__(self, layers: ClipLayers):
        self.layers, self.views = layers, {}
        self.of = functools.lru_cache(KEPT)(self._of)
        if layers.clip.count > 1 and layers.model.T.learned and layers.background_stored:
            news = reference_frame(layers.canvas_frames, layers.coverage)[
                1
            ]  # a rest shown thirty times is one view, not thirty
            self.views = {int(i): (self.view(i), news[i]) for i in backgrounds.evenly_spaced(layers.clip.count, MOST)}

    def view(self, index: int) -> View:
        frame = self.layers.filmed.at(index)
        return crop_view(self.layers.layer_as_filmed(index, frame), frame, self.layers.background_as_filmed(index))

    def _of(self, index: int) -> Texture:
        """The texture of the character in a frame."""
        others = [k for k in self.views if k != index]
        motions, confidences = self.layers.estimate_motions([(index, k) for k in others]) if others else ((), ())
        views = [
            view._replace(box_from_frame=view.box_from_frame @ self.filmed(motion, index, k), trust=news * confidence)
            for k, motion, confidence in zip(others, motions, confidences)
            for view, news in [self.views[k]]
        ]
        own = self.views[index][0] if index in self.views else self.view(index)
        return super_resolve(own, [view for view in views if view.trust > LEAST])

    def filmed(self, motion: np.ndarray, first: int, second: int) -> np.ndarray:
        """A motion between two frames of the clip [2, 3], as it is between the frames as they were filmed [3, 3]."""
        clip = self.layers.clip
        if not isinstance(clip, StabilizedClip):
            return homogeneous(motion)
        as_filmed = np.linalg.inv(homogeneous(clip.camera.poses[[first, second]]))[:, :2]
        return homogeneous(change_frame_coordinates(as_filmed, motion[None])[0])
