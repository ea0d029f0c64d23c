"""Motion estimators T^z: three of them behind one contract, from a pair of frames to a forward motion."""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import tensorflow as tf
from keras import layers, ops

from eqvid_tf.blocks.energy import energy_box, presence
from eqvid_tf.blocks.replicas import uniform
from eqvid_tf.blocks.unet import NHWC, Trunk, bounded_sigmoid, pool, register
from eqvid_tf.config import ModelConfig
from eqvid_tf.core import affine
from eqvid_tf.core.sampler import validity, warp

_CELLS = 24  # of the side of the square that a refinement looks at
_STEEPEST = 0.45  # the most per entry of a refinement's linear part: its determinant stays above 0.1
_TURN, _ZOOM, _STRETCH = 0.7, 0.3, 0.12  # half ranges of random motions: radians, log zoom, other linear parts
_LANDING = 0.7  # half range of where a character's centre lands; 1 is the frame's edge
Key: TypeAlias = keras.random.SeedGenerator


class MotionEstimator(layers.Layer):
    """The contract: `call(pair)` gives the forward motion [B, 2, 3] of a pair of frames.

    A pair is a dict with `frame` and `next_frame` [B, H, W, 3], `features` and `next_features` [B, h', w', c'] of f,
    and, where it is known, `motion` [B, 2, 3]. An estimator takes what it needs.

    `learned` says whether it can estimate at all; `reads` names the two keys it looks at.
    """

    learned = True
    reads: tuple = ("features", "next_features")

    def compute_output_shape(self, shapes: dict) -> tuple:
        return (shapes["frame"][0], 2, 3)


@register
class KnownMotion(MotionEstimator):
    """R^6 -> R^6: the motion that was applied to the character is given."""

    learned = False
    reads = ()

    def call(self, pair: dict) -> tf.Tensor:
        if pair.get("motion") is None:
            remedy = "give a dataset with \"motion\" [batch, 2, 3], or train with 'features'"
            raise ValueError(f"the 'known' estimator needs the motion of each pair; {remedy}")
        return pair["motion"]


@register
class FeatureMotion(MotionEstimator):
    """(f(x), f(x')) -> R^6: from the energy of the maps, then refined by a small head.

    The start is closed-form: the centroids of |f|^2 give the shift. Then both maps are cut out in the character's own
    square (from the first map's moments), the second along the motion found so far, and a head that starts at zero
    gives the rest; `steps` times, always on the original maps.

    Shapes: maps [B, h', w', c'] -> motion [B, 2, 3], forward, in normalized coordinates.

    Args:
        width: channels of the head's first level.
        steps: refinements with the same head.
    """

    TAUGHT = 1  # the first refinement that a label can teach: here the start has nothing to learn

    def __init__(self, width: int = 16, steps: int = 3, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.steps = width, steps
        common = {"padding": "same", "kernel_initializer": "he_normal", "dtype": self.dtype_policy, **NHWC}
        self.convs = [layers.Conv2D(n, 3, activation="relu", **common) for n in (width, width * 2, width * 2)]
        self.dense = layers.Dense(64, activation="relu", dtype=self.dtype_policy)
        self.out = layers.Dense(6, kernel_initializer="zeros", dtype="float32")

    def build(self, shapes: dict) -> None:
        self.build_head(shapes["features"][-1])

    def build_head(self, channels: int) -> None:
        """Build the head for two maps of so many channels, each with its validity."""
        for layer, n in zip(self.convs, (2 * channels + 2, self.width, self.width * 2)):
            layer.build((None, None, None, n))
        self.dense.build((None, (_CELLS // 8) ** 2 * self.width * 2))
        self.out.build((None, 64))

    def maps(self, pair: dict) -> tuple[tf.Tensor, tf.Tensor]:
        """The two maps that are compared."""
        return pair["features"], pair["next_features"]

    def call(self, pair: dict) -> tf.Tensor:
        return self.refinements(pair)[-1]

    def refinements(self, pair: dict) -> list:
        """Every refinement that the label loss looks at, the last the answer: a list of [B, 2, 3]."""
        a, b = self.maps(pair)
        first, second = energy_box(a), energy_box(b)
        both = presence(first.mass, second.mass)[:, None, None]
        crop = ops.concatenate(cut_square(a, first.frame_from_crop, _CELLS), -1)
        motions = [affine.build(shift=both[:, 0] * (second.centre - first.centre))]
        for _ in range(self.steps):
            next_frame_from_crop = affine.compose(ops.stop_gradient(motions[-1]), first.frame_from_crop)
            rest = self.rest(crop, ops.concatenate(cut_square(b, next_frame_from_crop, _CELLS), -1))
            rest = affine.compose(affine.identity() + both * rest, affine.invert(first.frame_from_crop))
            motions.append(affine.compose(next_frame_from_crop, rest))
        return motions[self.TAUGHT :]

    def rest(self, crop: tf.Tensor, next_crop: tf.Tensor) -> tf.Tensor:
        """The rest of the motion beside the identity, [B, 2, 3], in the square's own coordinates."""
        x = ops.concatenate([crop, next_crop], -1)
        for layer in self.convs:
            x = pool(layer(x), 2)
        x = self.dense(ops.reshape(x, (-1, (_CELLS // 8) ** 2 * self.width * 2)))
        return bound_step(ops.reshape(ops.cast(self.out(x), "float32"), (-1, 2, 3)))

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "steps": self.steps}


@register
class FrameMotion(FeatureMotion):
    """(x, x') -> R^6: its own small encoder looks at both frames, then as `FeatureMotion` on what it sees.

    The encoder sees each frame beside the other, so that it can find what moved, and gives it a coverage.

    Shapes: frames [B, H, W, 3] -> motion [B, 2, 3], forward, in normalized coordinates.
    """

    reads = ("frame", "next_frame")
    TAUGHT = 0  # the start is that of its own maps: without a label for it the coverage finds nothing

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.trunk = Trunk(self.width, dtype=self.dtype_policy)
        self.head = layers.Conv2D(1 + 8, 3, padding="same", dtype=self.dtype_policy, **NHWC)

    def build(self, shapes: dict) -> None:
        self.trunk.build((None, None, None, 9))
        self.head.build((None, None, None, self.width))
        self.build_head(9)

    def maps(self, pair: dict) -> tuple[tf.Tensor, tf.Tensor]:
        x, x2 = pair["frame"], pair["next_frame"]
        return self.encode(x, x2), self.encode(x2, x)

    def encode(self, x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        """The map of a frame, seen beside the other: coverage, and features within it."""
        out = self.head(self.trunk(ops.concatenate([x - 0.5, other - 0.5, ops.abs(x - other)], -1)))
        coverage = bounded_sigmoid(out[..., :1] - 2)
        return coverage * ops.concatenate([ops.ones_like(coverage), ops.tanh(out[..., 1:])], -1)


def random_motions(key: Key, centre: tf.Tensor, aspect: tf.Tensor | float, *, landing: float = _LANDING) -> tf.Tensor:
    """Random motions of a character at `centre` to anywhere in the frame: the labels of the estimators.

    Shapes: centre [B, 2] -> [B, 2, 3].

    Args:
        key: of the draw.
        centre: of the characters.
        aspect: width / height of the frame.
        landing: half range of where the character's centre lands; 1 is the frame's edge.
    """
    batch = ops.shape(centre)[0]
    drawn = lambda reach, *shape: uniform(key, (batch, *shape), -reach, reach)
    turned = affine.build(turn=drawn(_TURN), zoom=ops.exp(drawn(_ZOOM)), aspect=aspect)[..., :2]
    linear = ops.matmul(turned, ops.eye(2) + drawn(_STRETCH, 2, 2))
    shift = drawn(landing, 2) - ops.matmul(linear, centre[..., None])[..., 0]
    return ops.concatenate([linear, shift[..., None]], -1)


def displace(key: Key, features: tf.Tensor, *, cubic: bool = False, landing: float = _LANDING) -> tuple:
    """Move the characters of maps [B, h', w', c'] at random (`random_motions`): the motions [B, 2, 3], and the maps."""
    height, width = ops.shape(features)[1:3]
    aspect = ops.cast(width, "float32") / ops.cast(height, "float32")
    motion = random_motions(key, energy_box(features).centre, aspect, landing=landing)
    return motion, warp(features, affine.invert(motion), cubic=cubic)


def displace_twice(key: Key, features: tf.Tensor, **options: Any) -> tuple:
    """Move the characters of maps to two random places: the motion from the first to the second, and both maps."""
    (first, moved), (second, next_moved) = (displace(key, features, **options) for _ in range(2))
    return affine.compose(second, affine.invert(first)), moved, next_moved


def bound_step(step: tf.Tensor) -> tf.Tensor:
    """A step beside the identity [B, 2, 3], its linear part bounded so that the motion can be inverted."""
    return ops.concatenate([_STEEPEST * ops.tanh(step[..., :2] / _STEEPEST), step[..., 2:]], -1)


def cut_square(features: tf.Tensor, frame_from_crop: tf.Tensor, cells: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A square of a map [B, cells, cells, c'], and the share of each cell within the frame [B, cells, cells, 1]."""
    inside = validity(frame_from_crop, ops.shape(features)[1:3], (cells, cells))
    return warp(features, frame_from_crop, (cells, cells)), ops.cast(inside, features.dtype)


def build_estimator(config: ModelConfig, dtype: Any = None) -> MotionEstimator:
    """The estimator that a ModelConfig names, under a precision policy."""
    kinds = {"known": KnownMotion, "frames": FrameMotion, "features": FeatureMotion}
    return kinds[config.estimator](name="motion_estimator", dtype=dtype)
