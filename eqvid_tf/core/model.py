"""The model: g(T^z f(x) + h(x)) = x', its three losses and its training step."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from eqvid_tf.config import BEFORE, LossConfig, ModelConfig, from_dict
from eqvid_tf.core import affine, losses
from eqvid_tf.core.alignment import align, confidence
from eqvid_tf.core.augmentation import recompose
from eqvid_tf.core.estimators import build_estimator, character_box, displace_twice, moments
from eqvid_tf.core.networks import build_networks, register, resize
from eqvid_tf.core.sampler import coverage, warp

TERMS = ("scene", "character", "background", "label", "hint")


@register
class EquivariantVideoModel(keras.Model):
    """Takes a video apart into a character (f), a background (h) and a motion (T^z), and renders them again (g).

    Train it with `compile(optimizer)` and `fit(dataset)`; the dataset gives dicts with `frame` and `next_frame`, float32
    [B, H, W, 3] in [0, 1]; optionally `motion` [B, 2, 3] (forward; needed by the `known` estimator), `background_frame`
    (another frame of the same clip, from which h is read), and `hint` and `next_hint` [B, H, W, 1] (a guess at the masks,
    weighted by `hint_strength`, which the trainer sets).

    Args:
        config: a ModelConfig or its dict; keyword-only defaults otherwise.
        loss: a LossConfig or its dict: weights of the terms.
    Source: the equations of docs/math.md.
    """

    def __init__(
        self, config: ModelConfig | dict | None = None, loss: LossConfig | dict | None = None, seed: int = 0, **kwargs
    ):
        super().__init__(**kwargs)
        self.supports_jit = False  # XLA lacks the sampler's kernels; compile would choose it where there is a GPU
        self.config = from_dict(ModelConfig, config) if isinstance(config, dict) else config or ModelConfig()
        self.weights_of = from_dict(LossConfig, loss) if isinstance(loss, dict) else loss or LossConfig()
        self.seed = seed
        self.f, self.h, self.g = build_networks(self.config, self.dtype_policy)
        self.T = build_estimator(self.config, self.dtype_policy)
        self.h.build((None, None, None, 3))  # f asks for what it remembers
        self.random = keras.random.SeedGenerator(seed)
        self.hint_strength = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="hint_strength", dtype="float32"
        )
        self.seconds_trained = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="seconds_trained", dtype="float32"
        )
        self.means = {name: keras.metrics.Mean(name=f"{name}_loss") for name in TERMS}
        self.total = keras.metrics.Mean(name="total")
        frame = ops.zeros((1, *self.config.canvas, 3))
        self({"frame": frame, "next_frame": frame, "motion": affine.identity(1)})

    def build(self, shapes=None):
        self.built = True

    # ---- the equation

    def layers_of(self, pair: dict, training: bool = False) -> dict:
        """Everything that the losses compare, for a batch of pairs."""
        x, x2 = pair["frame"], pair["next_frame"]
        fx, fx2 = self.both(self.f, x, x2, training)
        hx, hx2 = self.both(self.h, pair.get("background_frame", x), x2, training)
        motion = self.T({**pair, "features": fx, "next_features": fx2})
        if "made" in pair:
            motion = ops.where(pair["made"][:, None, None] > 0, pair["motion"], motion)
        theta = affine.invert(motion)
        moved = warp(fx, theta, cubic=self.config.cubic)
        inside = ops.cast(coverage(theta, ops.shape(fx)[1:3]), fx.dtype)
        rendered = self.cut(self.g(moved + hx), x)
        return {
            "fx": fx,
            "fx2": fx2,
            "hx": hx,
            "hx2": hx2,
            "motion": motion,
            "moved": moved,
            "inside": inside,
            "rendered": rendered,
        }

    @staticmethod
    def both(network, a, b, training: bool):
        """network(a), network(b) in one pass, which costs less than two."""
        return ops.split(network(ops.concatenate([a, b], 0), training=training), 2, axis=0)

    @tf.autograph.experimental.do_not_convert
    def call(self, pair: dict):
        """Renders of the next frame, and the motion: {"frame" [B, H, W, 3], "motion" [B, 2, 3]}."""
        out = self.layers_of(pair)
        return {"frame": out["rendered"], "motion": out["motion"]}

    def losses_of(self, pair: dict, training: bool) -> dict:
        """The unweighted terms, by name."""
        if training and "hint" in pair and self.config.structure == "partition":
            pair = recompose(pair, self.h.recall(pair["frame"])[0], self.random)
        out = self.layers_of(pair, training)
        terms = {
            "scene": losses.scene_loss(out["rendered"], pair["next_frame"]),
            "character": losses.character_loss(out["moved"], out["fx2"], out["inside"]),
            "background": losses.background_loss(out["hx"], out["hx2"]),
        }
        if training and self.T.learned:
            terms["label"] = self.label_loss(out["fx"], out["hx"])
            if "made" in pair:
                made = {**pair, "features": out["fx"], "next_features": out["fx2"]}
                made = {
                    key: ops.stop_gradient(value[::2]) for key, value in made.items()
                }  # to please T, f would empty itself
                terms["label"] += self.labelled(self.T.estimates(made), made["motion"], made["features"])
        if training and "hint" in pair:
            made = ops.reshape(pair.get("made", ops.zeros(())), (-1, 1, 1, 1))
            weight = ops.maximum(self.hint_strength, made)  # of a pair made anew the mask is known, not guessed
            masks = (self.cut(self.g.mask(out[f], out[h]), pair["frame"]) for f, h in (("fx", "hx"), ("fx2", "hx2")))
            terms["hint"] = (
                sum(losses.presence_loss(mask, pair[key], weight) for mask, key in zip(masks, ("hint", "next_hint")))
                / 2
            )
        return terms

    def label_loss(self, fx, hx):
        """The estimator on pairs that the model makes and labels itself: T f(x) and T' f(x), apart by T' T^-1."""
        fx, hx = ops.stop_gradient(fx), ops.stop_gradient(hx)
        label, moved, next_moved = displace_twice(self.random, fx)
        pair = {"features": moved, "next_features": next_moved}
        if "frame" in self.T.reads:
            pair |= {"frame": self.g(moved + hx), "next_frame": self.g(next_moved + hx)}
            pair = {key: ops.stop_gradient(value) for key, value in pair.items()}
        return self.labelled(self.T.estimates(pair), label, moved)

    @staticmethod
    def labelled(steps, label, features):
        """The loss of the estimator's steps, a list of [B, 2, 3], against their label."""
        centre, radius, _ = moments(features)
        frame_from_crop = character_box(centre, radius, ops.shape(features)[1:3])
        return sum(losses.motion_loss(motion, label, frame_from_crop) for motion in steps) / len(steps)

    # ---- training

    def make_train_function(self, force=False):
        if not self.optimizer.built:  # variables made within a step would have it traced twice: seconds
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, pair: dict):
        with tf.GradientTape() as tape:
            terms = self.losses_of(pair, training=True)
            loss = self.weighted(terms)
            scaled = self.optimizer.scale_loss(loss / tf.distribute.get_strategy().num_replicas_in_sync)
        self.optimizer.apply(tape.gradient(scaled, self.trainable_weights), self.trainable_weights)
        return self.record(terms, loss)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, pair: dict):
        terms = self.losses_of(pair, training=False)
        return self.record(terms, self.weighted(terms))

    def weighted(self, terms: dict):
        """The one sum: L = sum over terms of weight times loss."""
        return sum(getattr(self.weights_of, name) * value for name, value in terms.items())

    def record(self, terms: dict, loss) -> dict:
        self.total.update_state(loss)
        for name, value in terms.items():
            self.means[name].update_state(value)
        return {"loss": self.total.result(), **{self.means[name].name: self.means[name].result() for name in terms}}

    # ---- faces: what a trained model does with frames

    def render(self, character_frame, background_frame, motion):
        """g(T f(x) + h(x')): the character of one frame, moved, on the background of another.

        Shapes: frames [B, H, W, 3], motion [B, 2, 3] forward -> [B, H, W, 3] in [0, 1].
        """
        return self.render_features(self.f(character_frame), self.h(background_frame), motion, background_frame)

    def render_features(self, character, background, motion, like=None):
        """As `render`, from feature maps encoded before."""
        moved = warp(character, affine.invert(ops.cast(motion, "float32")), cubic=self.config.cubic)
        frame = ops.clip(ops.cast(self.g(moved + background), "float32"), 0, 1)
        return frame if like is None else self.cut(frame, like)

    def estimate_motion(self, frame, next_frame):
        """Forward motion [B, 2, 3] from frame to next_frame, and a confidence [B] in [0, 1].

        The confidence is 0 without a character or before a background that is not remembered, near 1 where the moved features
        lie on those of the next frame and the way back, aligned by itself, leads back; docs/motion.md.
        Raises: ValueError where the estimator is 'known'.
        """
        if not self.T.learned:
            raise ValueError(
                "this model was trained with the 'known' estimator and cannot estimate a motion; "
                "train with --estimator features"
            )
        two = lambda both: ops.split(both, 2, axis=0)
        back = lambda there: ops.concatenate(two(there)[::-1], 0)
        frames = ops.concatenate([frame, next_frame], 0)
        features = self.f(frames)
        fx, fx2 = two(features)
        motion = self.T({"frame": frame, "next_frame": next_frame, "features": fx, "next_features": fx2})
        there_and_back = ops.concatenate([motion, affine.invert(motion)], 0)
        told = features[..., : self.f.LAYER]  # the other channels tell nothing more of the motion, and cost as much
        motion, way_back = two(align(told, back(told), there_and_back))
        known, next_known = two(self.remembers(frames))  # elsewhere masks, and so motions, mean little
        return motion, known * next_known * confidence(*two(told), motion, way_back)

    def transfer(self, frame, next_frame, target_frame):
        """g(T^z(f(x), f(x')) f(x'') + h(x'')): target_frame moved as frame moved to next_frame. Literal, in frame coordinates.

        Shapes: frames [B, H, W, 3] -> frame [B, H, W, 3], motion [B, 2, 3], confidence [B].
        """
        motion, confidence = self.estimate_motion(frame, next_frame)
        return self.render(target_frame, target_frame, motion), motion, confidence

    def separate(self, frame):
        """The layers of frames [B, H, W, 3]: character (on nothing) and background [B, H, W, 3], mask [B, H, W, 1]."""
        fx, hx = self.f(frame), self.h(frame)
        outs = self.g(fx), self.g(hx), self.g.mask(fx, hx)
        return tuple(self.cut(ops.clip(ops.cast(out, "float32"), 0, 1), frame) for out in outs)

    @tf.function(autograph=False, reduce_retracing=True)
    def masks(self, frame):
        """Coverage of the character [B, H, W, 1] in frames [B, H, W, 3]."""
        return self.separate(frame)[2]

    @tf.function(autograph=False, reduce_retracing=True)
    def renders(self, character_frame, background_frame, motion):
        """`render`, compiled."""
        return self.render(character_frame, background_frame, motion)

    @tf.function(autograph=False, reduce_retracing=True)
    def estimates(self, frame, next_frame):
        """`estimate_motion`, compiled."""
        return self.estimate_motion(frame, next_frame)

    def remembers(self, frame):
        """Whether the background of each frame is one of those in memory, [B] in [0, 1]; 1 where h has no such memory."""
        return self.h.recognize(frame)[1] if self.config.structure == "partition" else ops.ones(ops.shape(frame)[:1])

    @staticmethod
    def cut(image, like):
        """Cut off what padding to a multiple of the stride added."""
        height, width = ops.shape(like)[1:3]
        return image[:, :height, :width]

    def get_config(self):
        return {
            **super().get_config(),
            "config": dataclasses.asdict(self.config),
            "loss": dataclasses.asdict(self.weights_of),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": {**BEFORE, **config["config"]}})


def remember(model: EquivariantVideoModel, pictures, first: int = 0) -> None:
    """Put backgrounds into the memory of h, from place `first` on: pictures [K, H, W, 3] in [0, 1], K at most what has room."""
    pictures = resize(ops.convert_to_tensor(pictures, "float32"), model.h.canvas)
    held = model.h.pictures
    model.h.pictures.assign(ops.concatenate([held[:first], pictures, held[first + pictures.shape[0] :]], 0))
