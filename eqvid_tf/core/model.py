"""The model: g(sum over k of T_k f_k(x) + h(x)) = x', its three losses and its training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.batch import checked, read_pair
from eqvid_tf.blocks.checked_model import CheckedModel
from eqvid_tf.blocks.energy import energy_box
from eqvid_tf.blocks.identity import Identity, clip_likelihood, shares
from eqvid_tf.blocks.stacking import by_character, each, fold, in_front, others, repeat, stack
from eqvid_tf.blocks.unet import pad_to_multiple, pool, register
from eqvid_tf.config import LossConfig, ModelConfig, from_dict
from eqvid_tf.core import affine, losses
from eqvid_tf.core.alignment import confidence, refine_motion
from eqvid_tf.core.augmentation import count_made, recompose
from eqvid_tf.core.estimators import build_estimator, displace_twice
from eqvid_tf.core.networks import build_networks
from eqvid_tf.core.sampler import validity, warp

graph = tf.function(autograph=False, reduce_retracing=True)  # compiled at the first use: a clip calls it often
TERMS = ("scene", "character", "background", "label", "hint")


@register
class EquivariantVideoModel(CheckedModel):
    """Separate a video into a character (f), a background (h) and a motion (T^z), and render them again (g).

    Train it with `compile(optimizer)` and `fit(dataset)`; the dataset gives dicts with `frame` and `next_frame`,
    float32 [B, H, W, 3] in [0, 1]; optionally `motion` [B, 2, 3] (forward; needed by the `known` estimator),
    `background_frame` (another frame of the same clip, from which h is read), and `hint` and `next_hint` [B, H, W, 1]
    (a guess at the coverage, weighted by `hint_strength`, which the trainer sets).

    A model whose clips show several characters each (`ModelConfig.clip_of`) takes `places` int32 [B, K] beside them:
    the places in memory of the characters of each pair's clip, -1 for none; hints are [B, H, W, K] then, motions
    [B, K, 2, 3]. Without `places` its characters are those that have a name (`ModelConfig.name_of`).

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
        self.config = from_dict(ModelConfig, config) if isinstance(config, dict) else config or ModelConfig()
        self.weights_of = from_dict(LossConfig, loss) if isinstance(loss, dict) else loss or LossConfig()
        self.seed = seed
        self.f, self.h, self.g = build_networks(self.config, self.dtype_policy)
        self.T = build_estimator(self.config, self.dtype_policy)
        frame = (None, None, None, 3)
        self.h.build(frame)  # f asks for what it remembers
        several = bool(self.config.clip_of)
        self.identity = Identity(self.config.memory, name="identity", dtype=self.dtype_policy) if several else None
        self.random = keras.random.SeedGenerator(seed)
        scalar = {"shape": (), "trainable": False, "dtype": "float32"}
        self.hint_strength = self.add_weight(name="hint_strength", initializer="ones", **scalar)
        self.seconds_trained = self.add_weight(name="seconds_trained", initializer="zeros", **scalar)
        self.means = {name: keras.metrics.Mean(name=f"{name}_loss") for name in TERMS}
        self.total = keras.metrics.Mean(name="total")
        features = (None, None, None, self.f.map_channels)
        for layer in (self.f, self.identity) if self.identity else (self.f,):
            layer.build(frame)
        self.T.build({"features": features})
        self.g.build(features)
        self.build()

    def build(self, shapes: Any = None) -> None:
        self.built = True

    # ---- the equation

    def layers_of(self, pair: dict, training: bool = False) -> dict:
        """Everything that the losses compare, for a batch of pairs."""
        x, x2 = pair["frame"], pair["next_frame"]
        fx, fx2 = self._both(self.f, x, x2, training)
        fx, fx2 = (self.characters_in(*seen, pair.get("places")) for seen in ((x, fx), (x2, fx2)))
        hx, hx2 = self._both(self.h, pair.get("background_frame", x), x2, training)
        maps = {"fx": fx, "fx2": fx2, "hx": hx, "hx2": hx2}
        motion, taught = self._motions(pair, maps, training)
        theta = affine.invert(motion)
        moved = each(lambda z, theta: warp(z, theta, cubic=self.config.cubic), fx, theta)
        inside = each(lambda theta: ops.cast(validity(theta, ops.shape(fx)[2:4]), fx.dtype), theta)
        front = None  # of one character
        if fx.shape[1] > 1:
            front = in_front(self.f.coverage(moved), self.f.coverage(fx2))
            inside *= self._both_show(fx, fx2, theta)
        rendered = self._crop(self.g(stack(moved, self.f.coverage(moved), front) + hx), x)
        return {**maps, "motion": motion, "taught": taught, "moved": moved, "inside": inside, "rendered": rendered}

    def characters_in(self, frame: tf.Tensor, features: tf.Tensor, places: tf.Tensor | None = None) -> tf.Tensor:
        """f_k(x): of what f sees in a frame the share of each character, as many maps as a model has names.

        Shapes: frame [B, H, W, 3], features [B, h', w', c'] -> [B, K, h', w', c'].

        Args:
            frame: in [0, 1].
            features: f of it.
            places: int [B, K]; characters that are asked for by their place in memory instead.
        """
        if not self.identity:
            return features[:, None]
        if places is None:
            wanted = ops.repeat(self.config.places_of_names()[None], ops.shape(frame)[0], 0)
            prior = self.present(frame)
        else:
            wanted = ops.one_hot(places, self.config.memory)
            prior = ops.sum(wanted, 1)
        cells = pool(pad_to_multiple(ops.cast(frame, features.dtype), self.config.stride), self.config.stride)
        scores = self.identity(cells, ops.stop_gradient(self.f.coverage(features)))
        share = ops.einsum("bhwp,bkp->bkhw", shares(scores, prior), wanted)
        return ops.cast(share, features.dtype)[..., None] * features[:, None]

    def present(self, frame: tf.Tensor) -> tf.Tensor:
        """How likely the clip of each character is that of a frame, [B, places], told by the background."""
        return clip_likelihood(self.h.match(frame).of_all(self.config.memory), self.config.clip_of)

    def _motions(self, pair: dict, maps: dict, training: bool) -> tuple[tf.Tensor, list[tuple]]:
        """T_k of each character, [B, K, 2, 3], as it is given where the pair was recomposed; and see `_estimated`."""
        count = maps["fx"].shape[1]
        seen = self._seen_by_T(pair, maps)
        given = pair.get("motion")
        if given is not None:
            given = given[:, None] if len(given.shape) == 3 else given
            seen["motion"] = fold(given)
        labelled = self._labelled_pairs(pair, maps) if training and self.T.learned else []
        motion, taught = self._estimated(seen, labelled) if labelled else (self.T(seen), [])
        motion = ops.reshape(motion, (-1, count, 2, 3))
        return motion if "made" not in pair else ops.where(pair["made"][:, None, None, None] > 0, given, motion), taught

    def _seen_by_T(self, pair: dict, maps: dict) -> dict:
        """The maps of each character of a pair, and where T reads them the frames."""
        seen = {"features": fold(maps["fx"]), "next_features": fold(maps["fx2"])}
        if "frame" in self.T.reads:
            seen["frame"] = self.alone(pair["frame"], maps["fx"], maps["hx"])
            seen["next_frame"] = self.alone(pair["next_frame"], maps["fx2"], maps["hx2"])
        return seen

    def _estimated(self, seen: dict, labelled: list[tuple]) -> tuple[tf.Tensor, list[tuple]]:
        """The motions of pairs, and of each kind of labelled pairs T's refinements, the label and the first map."""
        parts = [seen, *(part for part, _ in labelled)]
        alike = lambda key: ops.concatenate([ops.cast(part[key], self.compute_dtype) for part in parts])
        sizes = [ops.shape(part["features"])[0] for part in parts]
        refinements = self.T.refinements({key: alike(key) for key in self.T.reads})  # one batch: less to trace
        found, *taught = zip(*(tf.split(one, sizes) for one in refinements))
        return found[-1], [(those, label, part["features"]) for those, (part, label) in zip(taught, labelled)]

    def alone(self, frame: tf.Tensor, fx: tf.Tensor, hx: tf.Tensor) -> tf.Tensor:
        """Frames that show one character each, [B K, H, W, 3]: the frame itself where it has one."""
        if not self.identity:
            return frame
        return fold(each(lambda features: self._crop(self.g(features), frame), fx + hx[:, None]))

    def _both_show(self, fx: tf.Tensor, fx2: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Where no other character hides this one, neither in the frame nor in the next, [B, K, h', w', 1]."""
        hidden, next_hidden = others(self.f.coverage(fx)), others(self.f.coverage(fx2))
        return ops.stop_gradient(ops.clip((1 - each(warp, hidden, theta)) * (1 - next_hidden), 0, 1))

    @tf.autograph.experimental.do_not_convert
    def call(self, pair: dict) -> dict:
        """Renders of the next frame, and the motion: {"frame" [B, H, W, 3], "motion" [B, 2, 3] or [B, K, 2, 3]}."""
        out = self.layers_of(pair)
        return {"frame": out["rendered"], "motion": out["motion"] if self.identity else out["motion"][:, 0]}

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
        if out["taught"]:
            terms["label"] = sum(self._label_loss(*one) for one in out["taught"])
        if "hint" in pair:
            terms["hint"] = self._hint_loss(pair, out)
        return terms

    def _labelled_pairs(self, pair: dict, maps: dict) -> list[tuple]:
        """Pairs for T^z whose motion is known, each kind with labels [B, 2, 3]; to please T, f would empty itself."""
        first = {**maps, "fx": maps["fx"][:, :1], "fx2": maps["fx2"][:, :1]}  # of a pair; it is a random one
        made = [self._displaced(first)]
        if "made" in pair:  # the first half, whose motion is known
            half = count_made(ops.shape(pair["frame"])[0])
            recomposed = {key: value[:half] for key, value in self._seen_by_T(pair, first).items()}
            made.append((recomposed, pair["motion"][:half, 0]))
        return [({key: ops.stop_gradient(value) for key, value in seen.items()}, label) for seen, label in made]

    def _displaced(self, maps: dict) -> tuple[dict, tf.Tensor]:
        """Pairs that the model makes and labels itself: T f(x) and T' f(x), with T' T^-1 between them."""
        fx, hx = ops.stop_gradient(maps["fx"][:, 0]), ops.stop_gradient(maps["hx"])
        label, moved, next_moved = displace_twice(self.random, fx)
        frames = {"frame": self.g(moved + hx), "next_frame": self.g(next_moved + hx)} if "frame" in self.T.reads else {}
        return {"features": moved, "next_features": next_moved, **frames}, label

    @staticmethod
    def _label_loss(refinements: Sequence[tf.Tensor], label: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The loss of the estimator's refinements, each [B, 2, 3], against their label."""
        box = energy_box(features).frame_from_crop
        return sum(losses.motion_loss(motion, label, box) for motion in refinements) / len(refinements)

    def _hint_loss(self, pair: dict, out: dict) -> tf.Tensor:
        """Coverage against hints; of a recomposed pair the coverage is known, not guessed, and counts in full."""
        made = ops.reshape(pair.get("made", ops.zeros(())), (-1, 1, 1, 1, 1))
        weight, count = ops.maximum(self.hint_strength, made), out["fx"].shape[1]
        hx, hx2 = (fold(repeat(out[key], count)) for key in ("hx", "hx2"))

        def loss(features: tf.Tensor, background: tf.Tensor, hint: tf.Tensor) -> tf.Tensor:
            mask = each(lambda features: self._crop(self.g.mask(features, background), hint), features)
            return losses.coverage_loss(mask, by_character(hint), weight)

        return (loss(out["fx"], hx, pair["hint"]) + loss(out["fx2"], hx2, pair["next_hint"])) / 2

    # ---- training

    @property
    def needs(self) -> tuple[str, ...]:
        return ("frame", "next_frame") if self.T.learned else ("frame", "next_frame", "motion")

    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: Any) -> dict:
        pair = read_pair(data, self.needs)
        with tf.GradientTape() as tape:
            terms = self.losses_of(pair, training=True)
            loss = self.weighted(terms)
            scaled = self.optimizer.scale_loss(loss / tf.distribute.get_strategy().num_replicas_in_sync)
        self.optimizer.apply(tape.gradient(scaled, self.trainable_weights), self.trainable_weights)
        return self._record(terms, loss)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data: Any) -> dict:
        terms = self.losses_of(read_pair(data, self.needs), training=False)
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

    @checked
    @graph
    def render(
        self, character_frame: tf.Tensor, background_frame: tf.Tensor, motion: tf.Tensor, name: tf.Tensor | None = None
    ) -> tf.Tensor:
        """g(T f(x) + h(x')): the character of one frame, moved, on the background of another.

        Shapes: frames [B, H, W, 3], motion [B, 2, 3] forward -> [B, H, W, 3] in [0, 1].

        Args:
            character_frame: x.
            background_frame: x'.
            motion: T.
            name: the number of the character's name; by default all that f sees moves together.
        """
        frame = self.render_features(self.encode(character_frame, name), self.h(background_frame), motion)
        return self._crop(frame, background_frame)

    @checked
    def encode(self, frame: tf.Tensor, name: tf.Tensor | None = None) -> tf.Tensor:
        """f(x) of frames [B, H, W, 3], or the share in it of the character whose name has this number."""
        features = self.f(frame)
        return features if name is None else ops.take(self.characters_in(frame, features), name, axis=1)

    def render_features(self, character: tf.Tensor, background: tf.Tensor, motion: tf.Tensor) -> tf.Tensor:
        """As `render`, from feature maps encoded before."""
        moved = warp(character, affine.invert(ops.cast(motion, "float32")), cubic=self.config.cubic)
        return ops.clip(ops.cast(self.g(moved + background), "float32"), 0, 1)

    @checked
    @graph
    def estimate_motion(
        self, frame: tf.Tensor, next_frame: tf.Tensor, name: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Forward motion [B, 2, 3] from frame to next_frame, and a confidence [B] in [0, 1].

        The confidence is 0 without a character or before a background that is not remembered. It is near 1 where the
        moved features fit those of the next frame, and the motion back, aligned by itself, leads back; docs/motion.md.

        Args:
            frame: [B, H, W, 3].
            next_frame: the same.
            name: as in `render`.

        Raises:
            ValueError: where the estimator is 'known'.
        """
        frames = ops.concatenate([frame, next_frame], 0)
        fx, fx2 = ops.split(self.encode(frames, name), 2, axis=0)
        pair = {"frame": frame, "next_frame": next_frame, "features": fx, "next_features": fx2}
        motion, certainty = self.motion_between(pair)
        known, next_known = ops.split(self.remembers(frames), 2)  # elsewhere masks, and so motions, mean little
        return motion, known * next_known * certainty

    def motion_between(self, pair: dict) -> tuple[tf.Tensor, tf.Tensor]:
        """T^z of a pair (see `MotionEstimator`), refined: the motion [B, 2, 3], and its confidence [B]."""
        if not self.T.learned:
            known = "this model was trained with the 'known' estimator and cannot estimate a motion"
            raise ValueError(f"{known}; train with --estimator features")
        start = self.T(pair)
        first, second = (pair[key][..., : self.f.motion_channels] for key in ("features", "next_features"))
        both, swapped = ops.concatenate([first, second], 0), ops.concatenate([second, first], 0)
        motions = refine_motion(both, swapped, ops.concatenate([start, affine.invert(start)], 0))
        motion, motion_back = ops.split(motions, 2, axis=0)
        return motion, confidence(first, second, motion, motion_back)

    @checked
    def transfer(self, frame: tf.Tensor, next_frame: tf.Tensor, target_frame: tf.Tensor) -> tuple:
        """g(T^z(f(x), f(x')) f(x'') + h(x'')): target_frame moved as frame moved to next_frame, in frame coordinates.

        Shapes: frames [B, H, W, 3] -> frame [B, H, W, 3], motion [B, 2, 3], confidence [B].
        """
        motion, certainty = self.estimate_motion(frame, next_frame)
        return self.render(target_frame, target_frame, motion), motion, certainty

    @checked
    @graph
    def separate(self, frame: tf.Tensor, name: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The layers of frames [B, H, W, 3]: character (on nothing) and background [B, H, W, 3], mask [B, H, W, 1]."""
        fx, hx = self.encode(frame, name), self.h(frame)
        outs = self.g(fx), self.g(hx), self.g.mask(fx, hx)
        return tuple(self._crop(ops.clip(ops.cast(out, "float32"), 0, 1), frame) for out in outs)

    @checked
    @graph
    def coverage(self, frame: tf.Tensor, name: tf.Tensor | None = None) -> tf.Tensor:
        """The mask of `separate` alone [B, H, W, 1]: in a graph, layers that it does not need are not computed."""
        return self.separate(frame, name)[2]

    @checked
    def remembers(self, frame: tf.Tensor) -> tf.Tensor:
        """The probability that the background of each frame is stored, [B]; 1 where h has no memory."""
        return self.h.match(frame).known if self.h.remembers else ops.ones(ops.shape(frame)[:1])

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
