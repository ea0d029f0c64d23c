"""The model: g(T^z f(x) + h(x)) = x', its three losses and its training step."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.unet import register
from eqvid_tf.config import LossConfig, ModelConfig, from_dict
from eqvid_tf.core import affine, losses
from eqvid_tf.core.alignment import confidence, refine_motion
from eqvid_tf.core.augmentation import recompose
from eqvid_tf.core.estimators import build_estimator, displace_twice, energy_box
from eqvid_tf.core.networks import build_networks
from eqvid_tf.core.sampler import validity, warp

graph = tf.function(autograph=False, reduce_retracing=True)  # compiled at the first use: a clip calls it often
TERMS = ("scene", "character", "background", "label", "hint")


@register
class EquivariantVideoModel(keras.Model):
    """Separate a video into a character (f), a background (h) and a motion (T^z), and render them again (g).

    Train it with `compile(optimizer)` and `fit(dataset)`; the dataset gives dicts with `frame` and `next_frame`,
    float32 [B, H, W, 3] in [0, 1]; optionally `motion` [B, 2, 3] (forward; needed by the `known` estimator),
    `background_frame` (another frame of the same clip, from which h is read), and `hint` and `next_hint` [B, H, W, 1]
    (a guess at the coverage, weighted by `hint_strength`, which the trainer sets).

    Args:
        config: a ModelConfig or its dict; keyword-only defaults otherwise.
        loss: a LossConfig or its dict: weights of the terms.
        seed: of the random motions in training.

    Source: the equations of docs/math.md.
    """

    def __init__(
        self,
        config: ModelConfig | dict | None = None,
        loss: LossConfig | dict | None = None,
        seed: int = 0,
        **kwargs: Any,
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
        scalar = {"shape": (), "trainable": False, "dtype": "float32"}
        self.hint_strength = self.add_weight(name="hint_strength", initializer="ones", **scalar)
        self.seconds_trained = self.add_weight(name="seconds_trained", initializer="zeros", **scalar)
        self.means = {name: keras.metrics.Mean(name=f"{name}_loss") for name in TERMS}
        self.total = keras.metrics.Mean(name="total")
        frame = ops.zeros((1, *self.config.canvas, 3))
        self({"frame": frame, "next_frame": frame, "motion": affine.identity(1)})

    def build(self, shapes: Any = None) -> None:
        self.built = True

    # ---- the equation

    def layers_of(self, pair: dict, training: bool = False) -> dict:
        """Everything that the losses compare, for a batch of pairs."""
        x, x2 = pair["frame"], pair["next_frame"]
        fx, fx2 = self._both(self.f, x, x2, training)
        hx, hx2 = self._both(self.h, pair.get("background_frame", x), x2, training)
        motion = self.T({**pair, "features": fx, "next_features": fx2})
        if "made" in pair:
            motion = ops.where(pair["made"][:, None, None] > 0, pair["motion"], motion)
        theta = affine.invert(motion)
        moved = warp(fx, theta, cubic=self.config.cubic)
        inside = ops.cast(validity(theta, ops.shape(fx)[1:3]), fx.dtype)
        rendered = self._crop(self.g(moved + hx), x)
        maps = {"fx": fx, "fx2": fx2, "hx": hx, "hx2": hx2}
        return {**maps, "motion": motion, "moved": moved, "inside": inside, "rendered": rendered}

    @tf.autograph.experimental.do_not_convert
    def call(self, pair: dict) -> dict:
        """Renders of the next frame, and the motion: {"frame" [B, H, W, 3], "motion" [B, 2, 3]}."""
        out = self.layers_of(pair)
        return {"frame": out["rendered"], "motion": out["motion"]}

    def losses_of(self, pair: dict, training: bool) -> dict:
        """The unweighted terms, by name: the three losses, and in training their helpers."""
        if training and "hint" in pair and self.h.remembers:
            recalled, _ = self.h.recall(pair["frame"])
            pair = recompose(pair, recalled, self.random)
        out = self.layers_of(pair, training)
        terms = {
            "scene": losses.scene_loss(out["rendered"], pair["next_frame"]),
            "character": losses.character_loss(out["moved"], out["fx2"], out["inside"]),
            "background": losses.background_loss(out["hx"], out["hx2"]),
        }
        return {**terms, **self._helpers(pair, out)} if training else terms

    # ---- helpers of the losses: labels teach T^z, hints teach f in the first minutes

    def _helpers(self, pair: dict, out: dict) -> dict:
        terms = {}
        if self.T.learned:
            terms["label"] = self._displaced_label_loss(out)
            if "made" in pair:
                terms["label"] += self._recomposed_label_loss(pair, out)
        if "hint" in pair:
            terms["hint"] = self._hint_loss(pair, out)
        return terms

    def _displaced_label_loss(self, out: dict) -> tf.Tensor:
        """T^z on pairs that the model makes and labels itself: T f(x) and T' f(x), with T' T^-1 between them."""
        fx, hx = ops.stop_gradient(out["fx"]), ops.stop_gradient(out["hx"])
        label, moved, next_moved = displace_twice(self.random, fx)
        pair = {"features": moved, "next_features": next_moved}
        if "frame" in self.T.reads:
            frames = {"frame": self.g(moved + hx), "next_frame": self.g(next_moved + hx)}
            pair |= {key: ops.stop_gradient(value) for key, value in frames.items()}
        return self._label_loss(self.T.refinements(pair), label, moved)

    def _recomposed_label_loss(self, pair: dict, out: dict) -> tf.Tensor:
        """T^z on the recomposed pairs, every second one, whose motion is known."""
        pair = {**pair, "features": out["fx"], "next_features": out["fx2"]}
        pair = {key: ops.stop_gradient(value[::2]) for key, value in pair.items()}  # to please T, f would empty itself
        return self._label_loss(self.T.refinements(pair), pair["motion"], pair["features"])

    @staticmethod
    def _label_loss(refinements: list, label: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The loss of the estimator's refinements, a list of [B, 2, 3], against their label."""
        box = energy_box(features).frame_from_crop
        return sum(losses.motion_loss(motion, label, box) for motion in refinements) / len(refinements)

    def _hint_loss(self, pair: dict, out: dict) -> tf.Tensor:
        """Coverage against hints; of a recomposed pair the coverage is known, not guessed, and counts in full."""
        made = ops.reshape(pair.get("made", ops.zeros(())), (-1, 1, 1, 1))
        weight = ops.maximum(self.hint_strength, made)
        mask, next_mask = self.g.mask(out["fx"], out["hx"]), self.g.mask(out["fx2"], out["hx2"])
        loss = lambda mask, hint: losses.coverage_loss(self._crop(mask, hint), hint, weight)
        return (loss(mask, pair["hint"]) + loss(next_mask, pair["next_hint"])) / 2

    # ---- training

    def make_train_function(self, force: bool = False) -> Any:
        if not self.optimizer.built:  # variables made within a step would have it traced twice: seconds
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, pair: dict) -> dict:
        with tf.GradientTape() as tape:
            terms = self.losses_of(pair, training=True)
            loss = self.weighted(terms)
            scaled = self.optimizer.scale_loss(loss / tf.distribute.get_strategy().num_replicas_in_sync)
        self.optimizer.apply(tape.gradient(scaled, self.trainable_weights), self.trainable_weights)
        return self._record(terms, loss)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, pair: dict) -> dict:
        terms = self.losses_of(pair, training=False)
        return self._record(terms, self.weighted(terms))

    def weighted(self, terms: dict) -> tf.Tensor:
        """The one sum: L = sum over terms of weight times loss."""
        return sum(getattr(self.weights_of, name) * value for name, value in terms.items())

    def _record(self, terms: dict, loss: tf.Tensor) -> dict:
        self.total.update_state(loss)
        for name, value in terms.items():
            self.means[name].update_state(value)
        return {"loss": self.total.result(), **{self.means[name].name: self.means[name].result() for name in terms}}

    # ---- faces: what a trained model does with frames

    @graph
    def render(self, character_frame: tf.Tensor, background_frame: tf.Tensor, motion: tf.Tensor) -> tf.Tensor:
        """g(T f(x) + h(x')): the character of one frame, moved, on the background of another.

        Shapes: frames [B, H, W, 3], motion [B, 2, 3] forward -> [B, H, W, 3] in [0, 1].
        """
        frame = self.render_features(self.f(character_frame), self.h(background_frame), motion)
        return self._crop(frame, background_frame)

    def render_features(self, character: tf.Tensor, background: tf.Tensor, motion: tf.Tensor) -> tf.Tensor:
        """As `render`, from feature maps encoded before."""
        moved = warp(character, affine.invert(ops.cast(motion, "float32")), cubic=self.config.cubic)
        return ops.clip(ops.cast(self.g(moved + background), "float32"), 0, 1)

    @graph
    def estimate_motion(self, frame: tf.Tensor, next_frame: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Forward motion [B, 2, 3] from frame to next_frame, and a confidence [B] in [0, 1].

        The confidence is 0 without a character or before a background that is not remembered. It is near 1 where the
        moved features fit those of the next frame, and the motion back, aligned by itself, leads back; docs/motion.md.

        Raises:
            ValueError: where the estimator is 'known'.
        """
        if not self.T.learned:
            known = "this model was trained with the 'known' estimator and cannot estimate a motion"
            raise ValueError(f"{known}; train with --estimator features")
        halves = lambda both: ops.split(both, 2, axis=0)
        swap = lambda both: ops.concatenate(halves(both)[::-1], 0)
        frames = ops.concatenate([frame, next_frame], 0)
        features = self.f(frames)
        fx, fx2 = halves(features)
        start = self.T({"frame": frame, "next_frame": next_frame, "features": fx, "next_features": fx2})
        both_ways = ops.concatenate([start, affine.invert(start)], 0)
        compared = features[..., : self.f.motion_channels]
        motion, motion_back = halves(refine_motion(compared, swap(compared), both_ways))
        known, next_known = halves(self.remembers(frames))  # elsewhere masks, and so motions, mean little
        first, second = halves(compared)
        return motion, known * next_known * confidence(first, second, motion, motion_back)

    def transfer(self, frame: tf.Tensor, next_frame: tf.Tensor, target_frame: tf.Tensor) -> tuple:
        """g(T^z(f(x), f(x')) f(x'') + h(x'')): target_frame moved as frame moved to next_frame, in frame coordinates.

        Shapes: frames [B, H, W, 3] -> frame [B, H, W, 3], motion [B, 2, 3], confidence [B].
        """
        motion, certainty = self.estimate_motion(frame, next_frame)
        return self.render(target_frame, target_frame, motion), motion, certainty

    @graph
    def separate(self, frame: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The layers of frames [B, H, W, 3]: character (on nothing) and background [B, H, W, 3], mask [B, H, W, 1]."""
        fx, hx = self.f(frame), self.h(frame)
        outs = self.g(fx), self.g(hx), self.g.mask(fx, hx)
        return tuple(self._crop(ops.clip(ops.cast(out, "float32"), 0, 1), frame) for out in outs)

    @graph
    def coverage(self, frame: tf.Tensor) -> tf.Tensor:
        """The mask of `separate` alone [B, H, W, 1]: in a graph, layers that it does not need are not computed."""
        return self.separate(frame)[2]

    def remembers(self, frame: tf.Tensor) -> tf.Tensor:
        """The probability that the background of each frame is stored, [B]; 1 where h has no memory."""
        return self.h.match(frame)[1] if self.h.remembers else ops.ones(ops.shape(frame)[:1])

    @staticmethod
    def _both(network: Any, a: tf.Tensor, b: tf.Tensor, training: bool) -> list:
        """network(a), network(b) in one pass, which costs less than two."""
        return ops.split(network(ops.concatenate([a, b], 0), training=training), 2, axis=0)

    @staticmethod
    def _crop(image: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Cut off what padding to a multiple of the stride added."""
        height, width = ops.shape(like)[1:3]
        return image[:, :height, :width]

    def get_config(self) -> dict:
        config, loss = dataclasses.asdict(self.config), dataclasses.asdict(self.weights_of)
        return {**super().get_config(), "config": config, "loss": loss, "seed": self.seed}
