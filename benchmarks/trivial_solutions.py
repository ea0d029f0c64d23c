"""The wrong answers to the three losses, each with its losses beside those of the right answer: exact, not trained.

A map has seven channels, [c, a, b]: a layer in front with its coverage, and a picture behind; g(z) = c + (1 - a) b.
f and h may write to any of them, so that T f + h is a sum, and each solution is a rule of what they write of a drawn
scene whose layers are known. The right answer pays for resampling; a solution that pays less is no failure of
training: the objective prefers it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

GREY = 255  # losses are said in grey levels
NOTHING = 0.0
OUT = 4.0  # a shift by two frames


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """What is known of a drawn scene: layers [T, H, W, 4] premultiplied, background [H, W, 3], motions [T, T, 2, 3]."""

    layers: np.ndarray
    background: np.ndarray
    motions: np.ndarray

    @classmethod
    def of(cls, scene) -> Layers:
        indices = range(len(scene))
        motions = np.array([[scene.motion(i, j) for j in indices] for i in indices], np.float32)
        layers = np.stack([scene.layer(i) for i in indices]).astype(np.float32)
        return cls(layers, (scene.background / 255).astype(np.float32), motions)

    @property
    def frames(self) -> np.ndarray:
        return self.layers[..., :3] + (1 - self.layers[..., 3:]) * self.background


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """What f and h write of each frame, [T, H, W, 7]; `shift` where T is one to the right, 0 the identity.

    `ahead` says that h has learned by heart which frame follows, which it can where each frame has one partner.
    """

    f: np.ndarray
    h: np.ndarray
    shift: float | None = None
    ahead: bool = False


def _map(layers: Layers, layer=NOTHING, behind=NOTHING) -> np.ndarray:
    """Maps of every frame from a layer in front and a picture behind."""
    shape = layers.frames.shape[:3]
    return np.concatenate([np.broadcast_to(part, (*shape, n)) for part, n in ((layer, 4), (behind, 3))], -1)


def _opaque(picture: np.ndarray, alpha=1.0) -> np.ndarray:
    alpha = np.broadcast_to(np.float32(alpha), (*picture.shape[:-1], 1))
    return np.concatenate([picture * alpha, alpha], -1)


def _resting(layers: Layers) -> np.ndarray:
    """Whether the character rests in a frame, [T, 1, 1, 1]."""
    following = layers.layers[np.minimum(np.arange(len(layers.layers)) + 1, len(layers.layers) - 1)]
    same = np.abs(following - layers.layers).max((1, 2, 3)) < 1e-6
    same[-1] = False
    return np.float32(same | np.roll(same, 1))[:, None, None, None]


def _rim(layers: Layers) -> np.ndarray:
    """Coverage, grown by two pixels."""
    import cv2

    return np.stack([cv2.dilate(a, np.ones((5, 5), np.uint8)) for a in layers.layers[..., 3]])[..., None]


def solutions(layers: Layers) -> dict[str, Solution]:
    """The right answer first, then the wrong ones, by name."""
    make = lambda *parts: _map(layers, *parts)
    layer, b, x, rest = layers.layers, layers.background, layers.frames, _resting(layers)
    return {
        "the right answer": Solution(make(layer), make(NOTHING, b)),
        "f is empty": Solution(make(), make(NOTHING, b)),
        "h carries the character": Solution(make(), make(NOTHING, x)),
        "f carries the background": Solution(make(_opaque(x)), make()),
        "they trade places, T is the identity": Solution(make(NOTHING, b), make(layer), shift=0.0),
        "T carries f out of the frame": Solution(make(layer), make(NOTHING, b), shift=OUT),
        "half of the character in each": Solution(make(layer / 2), make(layer / 2, b)),
        "h has a ghost: the mean of the clip": Solution(make(layer), make(NOTHING, x.mean(0))),
        "the character is in h while it rests": Solution(make((1 - rest) * layer), make(rest * layer, b)),
        "f carries a rim of the background": Solution(make(_opaque(x, _rim(layers))), make(NOTHING, b)),
        "h knows the next frame by heart": Solution(make(), make(NOTHING, x), ahead=True),
    }


def draw(z: np.ndarray) -> np.ndarray:
    """g(z) = c + (1 - a) b."""
    return z[..., :3] + (1 - z[..., 3:4]) * z[..., 4:]


def values(layers: Layers, solution: Solution, gap: int) -> dict[str, float]:
    """L_s, L_c and L_b of all pairs so far from each other, forward, in grey levels."""
    import tensorflow as tf

    from eqvid_tf.core import affine, losses
    from eqvid_tf.core.sampler import validity, warp

    ahead = gap if solution.ahead else 0
    first = np.arange(len(layers.layers) - gap - ahead)
    second = first + gap
    motion = layers.motions[first, second]
    if solution.shift is not None:
        motion = np.tile(np.float32([[1, 0, solution.shift], [0, 1, 0]]), (len(first), 1, 1))
    theta = affine.invert(motion)
    moved, inside = warp(solution.f[first], theta, cubic=True), validity(theta, solution.f.shape[1:3])
    behind, next_behind = solution.h[first + ahead], solution.h[second + ahead]
    terms = {
        "scene": losses.scene_loss(draw(np.asarray(moved) + behind), layers.frames[second]),
        "character": losses.character_loss(moved, tf.constant(solution.f[second]), inside),
        "background": losses.background_loss(behind, next_behind),
    }
    return {name: GREY * float(value) for name, value in terms.items()}


def total(terms: dict[str, float], weights: dict[str, float], *, shrunk: bool = False) -> float:
    """The weighted sum; with maps that are shrunk, and a g that makes up for it, L_c and L_b vanish."""
    names = ("scene",) if shrunk else tuple(terms)
    return sum(weights[name] * terms[name] for name in names)


def table_of(scenes: dict[str, Callable], gaps: dict[str, int], weights: dict[str, float]) -> dict:
    """By scene, by distance of the pairs, by solution: the three losses and both totals."""
    found: dict = {}
    for name, scene in scenes.items():
        layers = Layers.of(scene())
        for distance, gap in gaps.items():
            for solution, rule in solutions(layers).items():
                if rule.ahead and gap > 1:
                    continue  # among frames that are farther apart, each has several partners
                terms = values(layers, rule, gap)
                both = {"total": total(terms, weights), "shrunk": total(terms, weights, shrunk=True)}
                found.setdefault(name, {}).setdefault(distance, {})[solution] = {**terms, **both}
    return found
