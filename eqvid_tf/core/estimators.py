"""Motion estimators T^z: three of them behind one contract, from what a pair of frames offers to a forward motion."""

from __future__ import annotations

import keras
from keras import layers, ops

from eqvid_tf.core import affine
from eqvid_tf.core.networks import Trunk, bounded_sigmoid, pool, register
from eqvid_tf.core.sampler import coverage, warp

CROP = 24  # cells of the square that the residual head looks at
STEEPEST = 0.45  # of the linear part of one refinement, per entry: its determinant stays above 0.1, it can be inverted
FAINT = 1e-3  # mean energy of a map that may as well be empty; a character on 1 % of the frame has some 0.02
CORNERS = 1.75  # half side of that square, in standard deviations of the character's energy


class MotionEstimator(layers.Layer):
    """The contract: `call(pair)` gives the forward motion [B, 2, 3] of a pair of frames.

    A pair is a dict with `frame` and `next_frame` [B, H, W, 3], `features` and `next_features` [B, h', w', c'] of f, and,
    where it is known, `motion` [B, 2, 3]. An estimator takes what it needs.

    `learned` says whether it can estimate at all; `reads` names the two keys it looks at.
    """

    learned = True
    reads = ("features", "next_features")

    def estimates(self, pair) -> list:
        """Every step of a refinement, the last the answer: what the label loss looks at. Here there is one step."""
        return [self(pair)]

    def compute_output_shape(self, shapes):
        return (shapes["frame"][0], 2, 3)


@register
class KnownMotion(MotionEstimator):
    """R^6 -> R^6: the motion that was applied to the character is given."""

    learned = False
    reads = ()

    def call(self, pair):
        if pair.get("motion") is None:
            raise ValueError(
                "the 'known' estimator needs the motion of each pair; "
                "give a dataset with \"motion\" [batch, 2, 3], or train with 'features'"
            )
        return pair["motion"]


@register
class FeatureMotion(MotionEstimator):
    """(f(x), f(x')) -> R^6: from the energy of the maps, then refined by a small head.

    The start is closed-form: the centroids of |f|^2 give the shift. Then both maps are cut out in the character's own square
    (centre and size from the first map's moments), the second along the motion found so far, and a head that starts at zero
    says what is left; `steps` times, always on the original maps.

    Shapes: maps [B, h', w', c'] -> motion [B, 2, 3], forward, in normalized coordinates.

    Args:
        width: channels of the head's first level.
        steps: refinements with the same head.
    """

    TAUGHT = 1  # the first step that a label can teach: here the start has nothing to learn

    def __init__(self, width: int = 16, steps: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.width, self.steps = width, steps
        conv = lambda n: layers.Conv2D(
            n, 3, padding="same", activation="relu", kernel_initializer="he_normal", dtype=self.dtype_policy
        )
        self.convs = [conv(width), conv(width * 2), conv(width * 2)]
        self.dense = layers.Dense(64, activation="relu", dtype=self.dtype_policy)
        self.out = layers.Dense(6, kernel_initializer="zeros", dtype="float32")

    def build(self, shapes):
        self.build_head(shapes["features"][-1])

    def build_head(self, channels: int):
        for layer, n in zip(self.convs, (2 * channels + 2, self.width, self.width * 2)):
            layer.build((None, None, None, n))
        self.dense.build((None, (CROP // 8) ** 2 * self.width * 2))
        self.out.build((None, 64))

    def maps(self, pair):
        """The two maps that are compared."""
        return pair["features"], pair["next_features"]

    def call(self, pair):
        return self.estimates(pair)[-1]

    def estimates(self, pair) -> list:
        return self.refined(*self.maps(pair))[self.TAUGHT :]

    def refined(self, a, b) -> list:
        """The closed-form start, then every refinement of it."""
        centre, radius, mass = moments(a)
        next_centre, _, next_mass = moments(b)
        here = present(mass, next_mass)[:, None, None]
        frame_from_crop = character_box(centre, radius, ops.shape(a)[1:3])
        crop = ops.concatenate(cut_square(a, frame_from_crop, CROP), -1)
        motion = affine.build(shift=here[:, 0] * (next_centre - centre))
        motions = [motion]
        for _ in range(self.steps):
            along = affine.compose(ops.stop_gradient(motion), frame_from_crop)
            left = self.residual(crop, ops.concatenate(cut_square(b, along, CROP), -1))
            left = affine.identity() + here * left
            motion = affine.compose(along, affine.compose(left, affine.invert(frame_from_crop)))
            motions.append(motion)
        return motions

    def residual(self, crop, next_crop):
        """What is left of the motion, [B, 2, 3], in the square's own coordinates."""
        x = ops.concatenate([crop, next_crop], -1)
        for layer in self.convs:
            x = pool(layer(x), 2)
        x = self.dense(ops.reshape(x, (-1, (CROP // 8) ** 2 * self.width * 2)))
        return bound_step(ops.reshape(ops.cast(self.out(x), "float32"), (-1, 2, 3)))

    def get_config(self):
        return {**super().get_config(), "width": self.width, "steps": self.steps}


@register
class FrameMotion(FeatureMotion):
    """(x, x') -> R^6: its own small encoder looks at both frames, then as `FeatureMotion` on what it sees.

    The encoder sees each frame beside the other, so that it can find what moved, and says where with a presence.

    Shapes: frames [B, H, W, 3] -> motion [B, 2, 3], forward, in normalized coordinates.
    """

    reads = ("frame", "next_frame")
    TAUGHT = 0  # the start is that of its own maps: without a label for it the presence finds nothing

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.trunk = Trunk(self.width, dtype=self.dtype_policy)
        self.head = layers.Conv2D(1 + 8, 3, padding="same", dtype=self.dtype_policy)

    def build(self, shapes):
        self.trunk.build((None, None, None, 9))
        self.head.build((None, None, None, self.width))
        self.build_head(9)

    def maps(self, pair):
        x, x2 = pair["frame"], pair["next_frame"]
        return self.encode(x, x2), self.encode(x2, x)

    def encode(self, x, other):
        out = self.head(self.trunk(ops.concatenate([x - 0.5, other - 0.5, ops.abs(x - other)], -1)))
        presence = bounded_sigmoid(out[..., :1] - 2)
        return presence * ops.concatenate([ops.ones_like(presence), ops.tanh(out[..., 1:])], -1)


def moments(features):
    """Centroid, spread and mass of a map's energy |f|^2.

    Shapes: [B, h, w, c] -> centre [B, 2] (normalized), radius [B] (standard deviation in units of half the height), mass [B]
    (mean energy).
    """
    energy = ops.sum(ops.square(ops.cast(features, "float32")), -1)
    height, width = ops.shape(energy)[1:3]
    y = (2 * ops.arange(height, dtype="float32") + 1) / ops.cast(height, "float32") - 1
    x = (2 * ops.arange(width, dtype="float32") + 1) / ops.cast(width, "float32") - 1
    along_x, along_y = ops.mean(energy, 1), ops.mean(energy, 2)  # [B, w], [B, h]
    mass = ops.mean(along_x, 1)
    total = mass + 1e-6
    cx, cy = ops.mean(along_x * x, 1) / total, ops.mean(along_y * y, 1) / total
    aspect = ops.cast(width, "float32") / ops.cast(height, "float32")
    spread_x = ops.mean(along_x * ops.square(x - cx[:, None]), 1) / total * aspect**2
    spread_y = ops.mean(along_y * ops.square(y - cy[:, None]), 1) / total
    return ops.stack([cx, cy], -1), ops.sqrt((spread_x + spread_y) / 2 + 1e-6), mass


def present(mass, next_mass):
    """Whether there is a character in both maps, [B] in [0, 1], from their masses [B]: where there is none, nothing moves."""
    least = ops.square(ops.minimum(mass, next_mass))
    return least / (least + FAINT**2)


def character_box(centre, radius, size):
    """frame_from_crop [B, 2, 3]: carries [-1, 1]^2 to the square of the character at `centre`."""
    half = CORNERS * ops.clip(radius, 0.05, 0.6)
    aspect = ops.cast(size[1], "float32") / ops.cast(size[0], "float32")
    zero = ops.zeros_like(half)
    return ops.stack([ops.stack([half / aspect, zero, centre[:, 0]], -1), ops.stack([zero, half, centre[:, 1]], -1)], 1)


def random_motions(key, batch: int, centre, aspect, *, turn=0.7, zoom=0.3, stretch=0.12, landing=0.7):
    """Motions of a character at `centre` to anywhere in the frame: what the estimators are labelled with.

    Shapes: centre [B, 2] -> [B, 2, 3].

    Args:
        key: a keras.random.SeedGenerator.
        turn, zoom, stretch: half ranges of the turn (radians), log zoom and the other linear parts.
        landing: half range of where the character's centre lands; 1 is the frame's edge.
    """
    uniform = lambda reach, *shape: keras.random.uniform((batch, *shape), -reach, reach, seed=key)
    turned = affine.build(turn=uniform(turn), zoom=ops.exp(uniform(zoom)), aspect=aspect)[..., :2]
    linear = ops.matmul(turned, ops.eye(2) + uniform(stretch, 2, 2))
    shift = uniform(landing, 2) - ops.matmul(linear, centre[..., None])[..., 0]
    return ops.concatenate([linear, shift[..., None]], -1)


def displace(key, features, cubic: bool = False, **reach) -> tuple:
    """Maps [B, h', w', c'] with their characters moved at random, as `random_motions` says: the motions [B, 2, 3], and the maps."""
    batch, height, width, _ = ops.shape(features)
    aspect = ops.cast(width, "float32") / ops.cast(height, "float32")
    motion = random_motions(key, batch, moments(features)[0], aspect, **reach)
    return motion, warp(features, affine.invert(motion), cubic=cubic)


def displace_twice(key, features, **reach) -> tuple:
    """Maps [B, h', w', c'] with their characters moved to two places: the motion from the first to the second, and both maps."""
    (first, moved), (second, next_moved) = (displace(key, features, **reach) for _ in range(2))
    return affine.compose(second, affine.invert(first)), moved, next_moved


def bound_step(left):
    """What a refinement adds to the identity [B, 2, 3], its linear part bounded so that the motion can be inverted."""
    return ops.concatenate([STEEPEST * ops.tanh(left[..., :2] / STEEPEST), left[..., 2:]], -1)


def cut_square(features, frame_from_crop, cells: int):
    """A square of a map [B, cells, cells, c'], and how much of each of its cells lies within the frame [B, cells, cells, 1]."""
    inside = coverage(frame_from_crop, ops.shape(features)[1:3], (cells, cells))
    return warp(features, frame_from_crop, (cells, cells)), ops.cast(inside, features.dtype)


def build_estimator(config, dtype=None) -> MotionEstimator:
    """The estimator that a ModelConfig names, under a precision policy."""
    kinds = {"known": KnownMotion, "frames": FrameMotion, "features": FeatureMotion}
    return kinds[config.estimator](name="motion_estimator", dtype=dtype)
