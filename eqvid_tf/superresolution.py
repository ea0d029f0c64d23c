"""The character of a frame as finely as its whole clip shows it: multi-frame super-resolution by iterated back-projection.

Why: every frame samples the character at other places, and together they tell what lies between the pixels of each. Sought is a picture
finer than the frames which, carried into each by the motion there and averaged over its pixels, is what that frame shows. What a frame
shows otherwise, a limb that moves by itself, hardly counts there.

Source: M. Irani and S. Peleg, Improving Resolution by Image Registration, CVGIP 1991.
"""
from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from eqvid_tf.data.fitting import homogeneous
from eqvid_tf.evidence import witnesses
from eqvid_tf.matting import box_from_frame, box_of, move, window_sum
from eqvid_tf.plate import spread
from eqvid_tf.separate import ClipLayers
from eqvid_tf.steady import SteadyClip, between

FINER = 2               # times, by which the picture is finer than the frames
FINEST = 8              # samples of it a pixel and side at most, where it is drawn smaller
STEP = 1.6              # times the mean of what is left: more leaps, less creeps
PASSES = 8              # over the frames
MOST = 48               # frames that it is told from
KEPT = 64               # textures of a clip that stay at hand
LEAST = 0.05            # trust: a frame below it is left out
ALIKE = 25.0            # grey levels off what a frame shows, at which it counts a third there
OUTLINE = 0.03          # coverage from which a pixel is of the character
MARGIN = 4              # pixels around it that are looked at too
AS_GREY = np.array([1, 1, 1, 255], np.float32)      # coverage on the scale of the colours


class View(NamedTuple):
    """A character as a frame shows it: premultiplied RGBA of its box [h, w, 4] in [0, 255], what carries the coordinates of the frame it
    is compared with to those of the box [3, 3], and how far that can be trusted, in [0, 1]."""

    part: np.ndarray
    box_from_frame: np.ndarray
    trust: float


class Texture(NamedTuple):
    """A character finer than its frame: premultiplied RGBA [h, w, 4] in [0, 255], the frames that each place is told from [h, w, 1],
    its own one of them, and what carries the texture's normalized coordinates to the frame's [3, 3]."""

    picture: np.ndarray
    support: np.ndarray
    frame_from_box: np.ndarray

    def shown(self, motion: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Moved by a forward motion into a frame of `size`: premultiplied RGBA [*size, 4], colour in [0, 255] and coverage in [0, 1],
        and the frames that tell it [*size, 1]."""
        there = homogeneous(motion) @ self.frame_from_box
        shrunk = self.picture.shape[0] * self.picture.shape[1] / max(abs(np.linalg.det(there)) * size[0] * size[1], 1e-6)   # of the area
        both = pixels(np.concatenate([self.picture, self.support], -1), there, size, int(np.clip(np.ceil(shrunk ** 0.5), FINER, FINEST)))
        return both[..., :4] / AS_GREY, np.maximum(both[..., 4:], 0)

    def cut_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Premultiplied RGBA [h, w, 4], colour in [0, 255] and coverage in [0, 1], and what carries the frame's coordinates to its."""
        return (self.picture / AS_GREY).astype(np.float16), np.linalg.inv(self.frame_from_box)


def texture(own: View, others: list[View]) -> Texture:
    """The picture that a frame and others of its clip show together.

    Args:
        own: the frame's own view; it is trusted everywhere.
        others: with the motion from that frame to theirs in `box_from_frame`.
    """
    height, width = own.part.shape[:2]
    wide = (height + 2 * MARGIN, width + 2 * MARGIN)            # a character at the border goes on beyond it in other frames
    part_from_box = np.diag([wide[1] / width, wide[0] / height, 1])
    frame_from_box = np.linalg.inv(own.box_from_frame) @ part_from_box
    finer = (FINER * wide[0], FINER * wide[1])
    picture = move(own.part, np.linalg.inv(part_from_box), finer)
    for _ in range(PASSES):
        total = np.zeros((*finer, 5), np.float32)
        for view in (own, *others):
            there = view.box_from_frame @ frame_from_box
            apart = view.part - pixels(picture, there, view.part.shape[:2], FINER)
            off = window_sum(np.square(apart).max(-1)) / 9
            weight = (view.trust * (np.exp(-off / ALIKE ** 2) if view is not own else np.ones_like(off)))[..., None]
            total += move(np.concatenate([apart * weight, weight], -1), np.linalg.inv(there), finer)
        support = np.maximum(total[..., 4:], 0)
        picture = np.clip(picture + STEP * total[..., :4] / (support + 0.5), 0, 255)
        picture[..., :3] = np.minimum(picture[..., :3], picture[..., 3:])
    return Texture(picture, support, frame_from_box)


def pixels(picture: np.ndarray, motion: np.ndarray, size: tuple[int, int], samples: int) -> np.ndarray:
    """A picture moved into a frame of `size`, each pixel the mean of samples x samples: [*size, c]."""
    fine = move(picture, motion, (size[0] * samples, size[1] * samples))
    return fine.reshape(size[0], samples, size[1], samples, -1).mean((1, 3))


def cut(layer: np.ndarray) -> View:
    """The box of a frame in which its character lies, within the frame; all of the frame, where it is nowhere."""
    size = layer.shape[:2]
    top, left, height, width = box = box_of(layer[..., 3] > OUTLINE, MARGIN) or (0, 0, *size)
    return View(layer[top:top + height, left:left + width] * AS_GREY, box_from_frame(size, *box), 1.0)


class Textures:
    """The textures of a clip's frames, as filmed: each from up to `MOST` of them; from the frame alone where the model estimates no
    motion, or does not know the clip's background."""

    def __init__(self, layers: ClipLayers):
        self.layers, self.views = layers, {}
        self.of = functools.lru_cache(KEPT)(self._of)
        if layers.clip.count > 1 and layers.model.T.learned and layers.remembered:
            news = witnesses(layers.small, layers.presence)[1]      # a rest shown thirty times is one view, not thirty
            self.views = {int(i): (self.view(i), news[i]) for i in spread(layers.clip.count, MOST)}

    def view(self, index: int) -> View:
        return cut(self.layers.own_layer(index, self.layers.filmed.at(index)))

    def _of(self, index: int) -> Texture:
        """The texture of the character in a frame."""
        others = [k for k in self.views if k != index]
        motions, confidences = self.layers.estimate([(index, k) for k in others]) if others else ((), ())
        views = [View(view.part, view.box_from_frame @ self.filmed(motion, index, k), news * confidence)
                 for k, motion, confidence in zip(others, motions, confidences) for view, news in [self.views[k]]]
        own = self.views[index][0] if index in self.views else self.view(index)
        return texture(own, [view for view in views if view.trust > LEAST])

    def filmed(self, motion: np.ndarray, first: int, second: int) -> np.ndarray:
        """A motion between two frames of the clip [2, 3], as it is between the frames as they were filmed [3, 3]."""
        clip = self.layers.clip
        if not isinstance(clip, SteadyClip):
            return homogeneous(motion)
        as_filmed = np.linalg.inv(homogeneous(clip.camera.poses[[first, second]]))[:, :2]
        return homogeneous(between(as_filmed, motion[None])[0])
