"""Does equivariance disentangle a video? The hypothesis alone, and what has to be added: docs/does_it_disentangle.md.

    PYTHONPATH=. python benchmarks/question.py run [--block NAME...] [--seeds 3]   trains, a JSON for each in --work
    PYTHONPATH=. python benchmarks/question.py page       writes the figures, and tables and pictures of the page
    PYTHONPATH=. python benchmarks/question.py check      exits with 1 if the page does not have these figures

A variant is one choice of the losses, the motion's domain and what is added to them; each seed of it is a training of a
bare loop, made of the package's own layers, with nothing else of the recipe: no masks, no medians, no pairs made anew
unless the variant says so. Budgets are steps, so a training that is paused is the same. What was predicted of a variant
was written here before it ran.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import question_page
from measured import ROOT, rounded

from eqvid_tf.data.output import write_text

SIZE, FRAMES = (32, 32), 32
SCENES = {
    "textured": {"seed": 26, "cells": 1},
    "room": {"seed": 33, "cells": 1},
    "plain": {"seed": 29, "cells": 1},
    "walker": {"seed": 27},
    "rests": {"seed": 30, "cells": 1, "rest": 0.5},
}
SHOTS = 6
GROUPS, ORDER = 4, range(3)  # groups of three frames of a clip; each makes six pairs
RATE = 2e-3
WEIGHTS = {"scene": 10.0, "character": 2.0, "background": 2.0, "label": 0.3, "whole": 2.0, "swap": 0.5, "hint": 1.0}
ALL = ("scene", "character", "background")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """One training: what is given, which losses, what is added."""

    predicted: str
    estimator: str = "known"
    losses: tuple[str, ...] = ALL
    stride: int = 1
    over: bool = False  # alpha of f instead of the sum
    bounded: bool = False  # what f and h say is in [0, 1], as a picture is: no size of f hides what is behind it
    gap: int = 2  # the most frames between the two of a pair
    closer: bool = False  # the gap grows from 2 on, in the first half of the time that f has
    relative: bool = False  # L_c and L_b over the size of their maps
    pixels: bool = False  # L_b on what g makes of h alone
    other: bool = False  # h reads a third frame of the clip
    unit: bool = False  # T sees the map of f at a fixed size
    added: tuple[str, ...] = ()  # helpers: label, whole, swap, hint
    width: int = 12
    channels: int = 4
    first: float = 0.0  # share of the steps in which h and g learn alone
    late: float = 0.0  # share of the steps before which L_c, and swap, do not count
    taught: bool = False  # T learns from its labels alone
    from_zero: bool = False  # f begins at zero
    structure: str = "plain"
    muon: bool = False  # the recipe's optimizer instead of Adam
    steps: int = 700


# What variants of a learned motion share: the background first, then pairs whose frames move apart.
LED: dict[str, Any] = {
    "estimator": "features",
    "losses": ("scene", "background"),
    "gap": 16,
    "first": 0.35,
    "closer": True,
}

# What variants of bounded layers share, and those of them that learn for longer.
BOUNDED: dict[str, Any] = {"gap": 16, "over": True, "bounded": True}
LONGER: dict[str, Any] = {"late": 0.4, "muon": True}

# Block by block, in the order in which they ran. Two pilots of one seed came before "alone": known motion and all three
# losses left f empty within 1,200 steps, of close frames and of frames up to 16 apart.
VARIANTS: dict[str, dict[str, Variant]] = {
    "alone": {
        "known, L_s": Variant(
            losses=("scene",),
            predicted="iou 0.2 to 0.5: between close frames most of a character lies where it lay, so h may draw it",
        ),
        "known, L_s + L_c": Variant(
            losses=("scene", "character"),
            predicted="f is empty, iou below 0.1: L_c is least where f is 0, and f has no use yet when it acts",
        ),
        "known, L_s + L_b": Variant(
            losses=("scene", "background"),
            predicted="the best of the four, iou 0.4 to 0.6: L_b forbids that h draws what moves, so f must",
        ),
        "known, all three": Variant(predicted="f is empty, iou below 0.1, as in the pilot"),
        "frames, all three": Variant(
            estimator="frames", predicted="f is empty; the motion stays the identity (corner_px as without any motion)"
        ),
        "features, all three": Variant(
            estimator="features", predicted="f is empty, so that there is nothing to estimate a motion from"
        ),
        "features, L_s + L_b": Variant(
            estimator="features",
            losses=("scene", "background"),
            predicted="T is the identity, f and h share the frame: iou below 0.3, f_on_background above 0.5",
        ),
        "known, all three, a quarter": Variant(
            stride=2, predicted="f is empty; a map of a quarter of the cells changes nothing in why"
        ),
        "known, all three, over": Variant(
            over=True, predicted="f is empty: its alpha starts low, and L_c pulls it lower; iou below 0.1"
        ),
    },
    "far": {
        "known, L_s, far": Variant(
            gap=16,
            losses=("scene",),
            predicted="iou 0.7, as in a pilot: h cannot know where among sixteen places the character will be",
        ),
        "known, L_s + L_b, far": Variant(
            gap=16, losses=("scene", "background"), predicted="a little above L_s alone: iou 0.75, bg_frame 1 dB better"
        ),
        "known, all three, far, L_c late": Variant(
            gap=16, late=0.4, predicted="iou 0.75: f has a use by the time that L_c acts, and keeps it"
        ),
        "known, L_s, far, over": Variant(
            gap=16,
            over=True,
            losses=("scene",),
            predicted="iou as with the sum, swap_char 3 dB higher: alpha hides any h",
        ),
        "known, all three, far, over, L_c late": Variant(
            gap=16, over=True, late=0.4, predicted="the best so far: iou 0.8, swap_char 23 dB"
        ),
        "known, all three, far, over, L_c late, Muon": Variant(
            gap=16,
            over=True,
            late=0.4,
            muon=True,
            predicted="iou 0.05 and swap_char 2 dB above the same with Adam: it learns more in as many steps",
        ),
        "known, all three, far, L_c late, Muon, 2,000 steps": Variant(
            gap=16,
            late=0.4,
            muon=True,
            width=16,
            steps=2000,
            predicted="iou 0.77, swap_char 22 dB: what is missing in 700 steps is sharpness, which time brings",
        ),
        "known, all three, far": Variant(gap=16, predicted="f is empty, as in the pilot"),
    },
    "learned": {
        "features, L_s + L_b, unit": Variant(
            estimator="features",
            losses=("scene", "background"),
            unit=True,
            predicted="iou 0.3 to 0.5: L_b leaves f the character, blurred, at its old place; its centre then moves T",
        ),
        "features, L_s + L_b, unit, background first, closer": Variant(
            **LED,
            unit=True,
            predicted="iou 0.5 to 0.65: the last variant's pictures have texture in f, where it holds T still; here h "
            "has it by the time that f begins",
        ),
        "features, L_s + L_b, unit, background first, closer, label": Variant(
            **LED,
            unit=True,
            added=("label",),
            predicted="corner_px half of that without labels, iou 0.05 better: turns and zooms are learned, too",
        ),
        "features, L_s + L_b, unit, background first, closer, label, taught, from zero": Variant(
            **LED,
            unit=True,
            added=("label",),
            taught=True,
            from_zero=True,
            predicted="iou 0.6: T cannot throw f out of the frame, as it did when f began as noise on a good "
            "background, and f has nothing to take but the character",
        ),
        "features, L_s + L_b, background first, closer, label, taught, from zero": Variant(
            **LED,
            added=("label",),
            taught=True,
            from_zero=True,
            predicted="iou 0.4: the last variant showed T noise at a fixed size, which punished all that f drew; of a "
            "faint map T is the identity, and f can begin between close frames",
        ),
        "features, all three, partition, closer, label": Variant(
            estimator="features",
            structure="partition",
            gap=16,
            closer=True,
            added=("label",),
            predicted="iou 0.7: the partition gives f a coverage, and L_c cannot shrink it without losing the picture",
        ),
    },
    "bounded": {
        "known, L_s, far, over, bounded": Variant(
            **BOUNDED,
            losses=("scene",),
            predicted="iou 0.7, swap_char 3 dB above the same without bounds: only alpha can hide what is behind",
        ),
        "known, all three, far, over, bounded": Variant(
            **BOUNDED, predicted="f is empty, as without bounds: its alpha begins low, and L_c pulls it lower"
        ),
        "known, all three, far, over, bounded, L_c late, Muon, 2,000 steps": Variant(
            **BOUNDED,
            **LONGER,
            width=16,
            steps=2000,
            predicted="iou 0.85, swap_char 25 dB: an alpha that has to hide the background hides any",
        ),
        "known, all three, far, over, bounded, L_c late, Muon, 6,000 steps": Variant(
            **BOUNDED,
            **LONGER,
            width=24,
            steps=6000,
            predicted="iou 0.83, which is the read-off's ceiling, swap_char 25 dB: it was still getting sharper",
        ),
        "features, L_s + L_b, over, bounded, background first, closer, label": Variant(
            **LED,
            over=True,
            bounded=True,
            added=("label",),
            predicted="iou 0.5: an f that cannot hide by size has texture only where it has an alpha",
        ),
    },
    "more": {
        "known, L_s, far, other": Variant(
            gap=16, losses=("scene",), other=True, predicted="no difference: far pairs say what another frame would say"
        ),
        "known, all three, far, relative": Variant(
            gap=16, relative=True, predicted="worse: f and h grow, and say which clip a frame is of"
        ),
        "known, all three, far, pixels": Variant(
            gap=16, pixels=True, predicted="f is empty: in the picture, too, saying nothing costs nothing"
        ),
        "known, all three, far, L_c late, swap": Variant(
            gap=16,
            late=0.4,
            added=("swap",),
            predicted="swap_char 2 dB better: g sees characters before other backgrounds",
        ),
        "features, L_s + L_b, whole": Variant(
            estimator="features",
            losses=("scene", "background"),
            added=("whole",),
            predicted="no better: the texture of a background can be equivariant as well as a character",
        ),
        "features, L_s + L_b, closer, label, hint": Variant(
            estimator="features",
            losses=("scene", "background"),
            gap=16,
            closer=True,
            added=("label", "hint"),
            predicted="iou 0.6: hints tell f from h, and T has something to follow",
        ),
    },
}


def scene_of(name: str):
    """The drawn scene of a name; of the plain one the background is one colour."""
    from eqvid_tf.synthetic.scenes import draw_scene

    scene = draw_scene(**SCENES[name], size=SIZE, frames=FRAMES)
    if name == "plain":
        flat = np.broadcast_to(scene.background.mean((0, 1)), scene.background.shape)
        scene = dataclasses.replace(scene, background=flat.round().astype(np.uint8))
    return scene


@dataclasses.dataclass(frozen=True, eq=False)
class Clips:
    """Frames [S, T, H, W, 3], motions between any two frames [S, T, T, 2, 3], hints [S, T, H, W, 1]."""

    frames: np.ndarray
    motions: np.ndarray
    hints: np.ndarray


@functools.cache
def clips() -> Clips:
    scenes = [scene_of(name) for name in SCENES]
    frames = np.stack([scene.frames for scene in scenes]).astype(np.float32) / 255
    motions = np.stack([[[s.motion(i, j) for j in range(FRAMES)] for i in range(FRAMES)] for s in scenes])
    differs = np.abs(frames - np.median(frames, 1, keepdims=True)).max(-1, keepdims=True)
    return Clips(frames, motions.astype(np.float32), np.clip(differs * 255 / 50, 0, 1))


class Trial:
    """The networks of a variant and one step of their training."""

    def __init__(self, variant: Variant, seed: int):
        import keras

        from eqvid_tf.config import ModelConfig
        from eqvid_tf.core.estimators import build_estimator
        from eqvid_tf.core.networks import build_networks
        from eqvid_tf.training.optimizer import Muon

        keras.utils.set_random_seed(seed)
        config = ModelConfig(
            estimator=variant.estimator,
            structure=variant.structure,
            stride=variant.stride,
            width=variant.width,
            channels=variant.channels,
            canvas=SIZE,
            memory=len(SCENES),
        )
        self.variant, self.random = variant, keras.random.SeedGenerator(seed)
        self._f, self._h, self.g = build_networks(config)
        self.T = build_estimator(config)
        self._h.build((None, None, None, 3))
        if variant.from_zero:
            self._f.build((None, None, None, 3))
            self._f.head.kernel.assign(0 * self._f.head.kernel)
        rate = keras.optimizers.schedules.CosineDecay(0.0, variant.steps, warmup_target=RATE, warmup_steps=50)
        self.optimizer = (Muon if variant.muon else keras.optimizers.Adam)(rate, global_clipnorm=1.0)

    def f(self, frame, training: bool = False):
        """What f says of a frame; of "over" its colours are within an alpha of its own."""
        import tensorflow as tf

        seen = self._f(frame, training=training)
        if not self.variant.over:
            return seen
        alpha = tf.sigmoid(seen[..., 3:4] - 2)
        seen = tf.sigmoid(seen) if self.variant.bounded else seen
        return tf.concat([alpha * seen[..., :3], alpha, alpha * seen[..., 4:]], -1)

    def h(self, frame, training: bool = False):
        """What h says of a frame."""
        import tensorflow as tf

        seen = self._h(frame, training=training)
        return tf.sigmoid(seen) if self.variant.bounded else seen

    def composed(self, character, background):
        """T f(x) + h(x), or one over the other."""
        return character + (1 - character[..., 3:4] * self.variant.over) * background

    def motion(self, pair: dict, fx, fx2):
        return self.T({**pair, "features": self.for_motion(fx), "next_features": self.for_motion(fx2)})

    def for_motion(self, features):
        """The map that T sees: of `unit` its mean square over a batch is 0.1, whatever its size."""
        import tensorflow as tf

        if not self.variant.unit:
            return features
        return features * tf.math.rsqrt(10 * tf.reduce_mean(tf.reduce_sum(features**2, -1)) + 1e-8)

    def layers(self, group: dict, alone) -> dict:
        """What the losses compare of a group of frames: each pair's maps, its render, and where the warp knows."""
        import tensorflow as tf

        from eqvid_tf.core import affine
        from eqvid_tf.core.sampler import validity, warp

        seen, hints, (first, second, third) = group["frames"], group["hints"], group["pairs"]
        f, h = (1 - alone) * self.f(seen, training=True), self.h(seen, training=True)
        fx, fx2, hx, hx2 = (tf.gather(z, at) for z, at in ((f, first), (f, second), (h, first), (h, second)))
        x, x2 = tf.gather(seen, first), tf.gather(seen, second)
        motion = self.motion({"frame": x, "next_frame": x2, "motion": group["motion"]}, fx, fx2)
        theta = affine.invert(tf.stop_gradient(motion) if self.variant.taught else motion)
        moved, inside = warp(fx, theta, cubic=True), validity(theta, fx.shape[1:3])
        behind = tf.gather(h, third) if self.variant.other else hx
        rendered = self.g(self.composed(moved, behind))
        return locals()

    def terms(self, group: dict, alone) -> dict:
        """The losses of a group of frames; `alone` is 1 while f is left out."""
        from eqvid_tf.core import losses

        z = self.layers(group, alone)
        terms = {"scene": losses.scene_loss(z["rendered"], z["x2"])}
        if self.variant.pixels:  # the same two statements, said of what g makes of the maps
            now, then = (self.g(self.composed(z["fx2"], z[key])) for key in ("behind", "hx2"))
            terms["character"] = losses.scene_loss(z["rendered"], now)
            terms["background"] = losses.scene_loss(now, then)
            return terms | self.helpers(z)
        sizes = [self.spread(z["f"]), self.spread(z["h"])] if self.variant.relative else [1, 1]
        terms["character"] = losses.character_loss(z["moved"], z["fx2"], z["inside"]) / sizes[0]
        terms["background"] = losses.background_loss(z["hx"], z["hx2"]) / sizes[1]
        return terms | self.helpers(z)

    def helpers(self, z: dict) -> dict:
        """What is added to the three losses."""
        return {name: getattr(self, name)(z) for name in self.variant.added}

    def label(self, z: dict):
        """T against the motion by which f's own map was moved."""
        import tensorflow as tf

        from eqvid_tf.blocks.energy import energy_box
        from eqvid_tf.core import losses
        from eqvid_tf.core.estimators import displace_twice

        f, h = tf.stop_gradient(z["f"]), tf.stop_gradient(z["h"])
        label, *moved = displace_twice(self.random, f)
        pair = dict(zip(("features", "next_features"), map(self.for_motion, moved)))
        if "frame" in self.T.reads:
            frames = [tf.stop_gradient(self.g(self.composed(one, h))) for one in moved]
            pair |= dict(zip(("frame", "next_frame"), frames))
        motions, box = self.T.refinements(pair), energy_box(moved[0]).frame_from_crop
        return sum(losses.motion_loss(motion, label, box) for motion in motions) / len(motions)

    def whole(self, z: dict):
        """Equivariance for free: f of a frame that is moved as a whole is the moved map."""
        import tensorflow as tf

        from eqvid_tf.core import affine, losses
        from eqvid_tf.core.sampler import validity, warp

        count = len(ORDER) * GROUPS
        shift, turn = tf.random.uniform((count, 2), -0.3, 0.3), tf.random.uniform((count,), -0.4, 0.4)
        theta = affine.invert(affine.build(shift=shift, turn=turn))
        moved, inside = warp(z["f"], theta, cubic=True), validity(theta, z["f"].shape[1:3])
        return losses.character_loss(moved, self.f(warp(z["seen"], theta), training=True), inside) / self.spread(z["f"])

    def swap(self, z: dict):
        """A character on the background of another clip must be found there again, and the background, too."""
        import tensorflow as tf

        from eqvid_tf.core import losses

        few = slice(None, None, 3)
        moved, behind = z["moved"][few], tf.roll(z["hx"], 6, 0)[few]
        made = tf.stop_gradient(tf.clip_by_value(self.g(self.composed(moved, behind)), 0, 1))
        character = losses.background_loss(self.f(made, training=True), tf.stop_gradient(moved)) / self.spread(z["f"])
        return character + losses.background_loss(self.h(made, training=True), tf.stop_gradient(behind)) / self.spread(
            z["h"]
        )

    def hint(self, z: dict):
        """Coverage against what differs from the clip's median."""
        from eqvid_tf.core import losses

        return losses.coverage_loss(self.g.mask(z["f"], z["h"]), z["hints"])

    @staticmethod
    def spread(features):
        """How far the maps of a batch differ at a place: mean absolute deviation from their mean."""
        import tensorflow as tf

        return tf.reduce_mean(tf.abs(features - tf.reduce_mean(features, 0))) + 1e-4

    @property
    def weights(self) -> list:
        return [w for part in (self._f, self._h, self.g, self.T) for w in part.trainable_weights]

    def group(self, step) -> dict:
        """Three frames of each of four clips, within `gap` of each other, and the pairs that they make."""
        import tensorflow as tf

        data, variant = clips(), self.variant
        reach = variant.gap
        if variant.closer:  # far for h alone, then from two frames on
            part = (step / variant.steps - variant.first) / (1 - variant.first)
            part = tf.where(part < 0, 1.0, tf.minimum(2 * part, 1.0))
            reach = 2 + tf.cast((variant.gap - 2) * part, tf.int32)
        scene = tf.random.uniform((GROUPS,), 0, len(SCENES), tf.int32)
        start = tf.random.uniform((GROUPS, 1), 0, FRAMES - reach, tf.int32)
        at = start + tf.argsort(tf.random.uniform((GROUPS, reach + 1)))[:, : len(ORDER)]
        where = tf.stack([tf.repeat(scene, len(ORDER)), tf.reshape(at, [-1])], 1)
        base = len(ORDER) * tf.range(GROUPS)[:, None]
        pairs = [tf.reshape(base + tf.constant(each), [-1]) for each in zip(*itertools.permutations(ORDER))]
        between = tf.concat([tf.gather(where, pairs[0]), tf.gather(where[:, 1:], pairs[1])], 1)
        return {
            "frames": tf.gather_nd(tf.constant(data.frames), where),
            "hints": tf.gather_nd(tf.constant(data.hints), where),
            "pairs": pairs,
            "motion": tf.gather_nd(tf.constant(data.motions), between),
        }

    def step(self, step):
        import tensorflow as tf

        share = tf.cast(step, tf.float32)
        alone = tf.cast(share < self.variant.first * self.variant.steps, tf.float32)
        group = self.group(share)
        with tf.GradientTape() as tape:
            terms = self.terms(group, alone)
            counts = dict.fromkeys(
                ("character", "swap"), tf.cast(share >= self.variant.late * self.variant.steps, tf.float32)
            )
            used = (*self.variant.losses, *self.variant.added)
            loss = sum(WEIGHTS[name] * counts.get(name, 1.0) * terms[name] for name in used)
        gradients = tape.gradient(loss, self.weights, unconnected_gradients="zero")
        self.optimizer.apply(gradients, self.weights)
        return terms


def trained(variant: Variant, seed: int, chunk: int = 50) -> tuple[Trial, list]:
    """The networks of a variant after its steps, and the losses on the way."""
    import tensorflow as tf

    tf.random.set_seed(seed)
    trial = Trial(variant, seed)
    trial.terms(trial.group(tf.constant(0.0)), 0.0)  # builds the layers
    trial.optimizer.build(trial.weights)

    @tf.function(autograph=False)
    def several(first):
        """A chunk of steps in one call: on a busy machine each call waits for its turn."""
        zero = {name: tf.zeros(()) for name in (*ALL, *variant.added)}
        more = lambda step, _: step < first + chunk
        return tf.while_loop(more, lambda step, _: (step + 1, trial.step(step)), (first, zero))[1]

    curve = []
    for first in range(0, variant.steps, chunk):
        terms = several(tf.constant(first))
        curve.append({name: round(float(value), 5) for name, value in terms.items()})
    return trial, curve


def shots() -> Path:
    """The folder of the scenes, with shots and their exact answers; drawn at the first use."""
    from eqvid_tf.synthetic.scenes import write_scene

    root, names = ROOT / "build/question/scenes", list(SCENES)
    for k, name in enumerate(names):
        if not (root / name / "shots.json").is_file():
            other = names[(k + 1) % len(names)]
            write_scene(
                root / name, scene_of(name), other=(other, scene_of(other)), shots=SHOTS, seed=k, overwrite=True
            )
    return root


def measure(trial: Trial) -> dict:
    """The figures of each scene."""
    root = shots()
    return {
        name: rounded({**layers_measured(trial, k), **shots_measured(trial, root / name)})
        for k, name in enumerate(SCENES)
    }


def layers_measured(trial: Trial, index: int) -> dict:
    """Background, masks, motions, and where f and h put character and background."""
    from eqvid_tf.core import affine
    from eqvid_tf.core.sampler import warp
    from eqvid_tf.evaluation.scorecard import mask_iou, motion_error, psnr

    data, scene = clips(), scene_of(list(SCENES)[index])
    x, true = data.frames[index], scene.masks[..., None] / 255
    background = scene.background / 255
    fx, hx = trial.f(x), trial.h(x)
    still, both = np.asarray(trial.g(hx)), np.asarray(trial.g(trial.composed(fx, hx)))
    added = np.abs(both - still).max(-1, keepdims=True)
    on, off = true > 0.5, true < 0.02
    differs = lambda a, b: float(np.abs(a - b).max(-1, keepdims=True)[on].mean())
    steps = np.asarray(trial.motion(_pair(x[:-1], x[1:], data.motions[index], trial), fx[:-1], fx[1:]))
    given = data.motions[index, np.arange(FRAMES), (np.arange(FRAMES) + 8) % FRAMES]
    moved = warp(fx, affine.invert(given), cubic=True)
    then = np.asarray(fx)[(np.arange(FRAMES) + 8) % FRAMES]
    alone = {"iou_alpha": mask_iou(true, np.asarray(fx)[..., 3:4])} if trial.variant.over else {}
    return {
        **alone,
        "bg_psnr": psnr(background, np.median(still, 0)),
        "bg_frame": psnr(np.broadcast_to(background, still.shape), still),
        "iou": mask_iou(true, np.clip(added * 255 / 50, 0, 1)),
        "corner_px": motion_error(scene.motions, steps, scene.centre, SIZE),
        "h_has_character": differs(still, background) / differs(x, background),
        "f_on_background": float(added[off].sum() / (added.sum() + 1e-6)),
        "equivariance": float(np.abs(moved - then).mean() / (np.abs(then).mean() + 1e-6)),
        "f_size": float(np.abs(fx).mean()),
        "h_size": float(np.abs(hx).mean()),
    }


def _pair(x, x2, motions, trial: Trial) -> dict:
    steps = np.stack([motions[i, i + 1] for i in range(len(x))])
    return {"frame": x, "next_frame": x2, "motion": steps}


def shots_measured(trial: Trial, folder: Path) -> dict:
    """Renders of the scene's shots, in dB within the character's box."""
    from eqvid_tf.core import affine
    from eqvid_tf.core.sampler import warp
    from eqvid_tf.evaluation.scorecard import character_box, psnr, read_picture

    jobs, found = json.loads((folder / "shots.json").read_text()), {}
    read = lambda name: np.float32(read_picture(folder / name, "RGB"))[None]
    for job in jobs:
        x, behind = read(job["character"]), read(job["background"])
        if "motion" in job:
            motion = np.float32(job["motion"])[None]
        elif trial.T.learned:
            first, second = (read(name) for name in job["motion_from"])
            motion = trial.motion({"frame": first, "next_frame": second}, trial.f(first), trial.f(second))
        else:
            continue
        moved = warp(trial.f(x), affine.invert(motion), cubic=True)
        made = np.clip(trial.g(trial.composed(moved, trial.h(behind))), 0, 1)[0]
        true = read(f"expected/{job['name']}.png")[0]
        box = character_box(read_picture(folder / f"expected_masks/{job['name']}.png", "L"))
        if box:
            found.setdefault(f"{job['name'].split('-')[0]}_char", []).append(psnr(true[box], made[box]))
    return {name: float(np.mean(values)) for name, values in found.items()}


class Perfect:
    """What the true layers of a scene would get by the same measures: the ceiling of a variant."""

    def __init__(self, name: str):
        from trivial_solutions import Layers

        self.layers = Layers.of(scene_of(name))

    def iou(self) -> float:
        """Of masks that are read off what the character adds to the picture, as those of bare networks are."""
        from eqvid_tf.evaluation.scorecard import mask_iou

        added = np.abs(self.layers.frames - self.layers.background).max(-1)
        return mask_iou(self.layers.layers[..., 3], added * 255 / 50)

    def shot(self, job: dict, behind: np.ndarray) -> np.ndarray:
        """The render of a shot: one frame's true layer, warped, over the true background."""
        from eqvid_tf.core import affine
        from eqvid_tf.core.sampler import warp

        layer = self.layers.layers[int(Path(job["character"]).stem)][None]
        moved = np.asarray(warp(layer, affine.invert(np.float32(job["motion"])[None]), cubic=True))[0]
        return np.clip(moved[..., :3] + (1 - moved[..., 3:]) * behind, 0, 1)


def ceiling() -> dict:
    """By scene: iou, dB in the character's box of shots whose motion is given, and the error of no motion at all."""
    from eqvid_tf.evaluation.scorecard import character_box, motion_error, psnr, read_picture

    root, names, found = shots(), list(SCENES), {}
    for k, name in enumerate(names):
        perfect, figures = Perfect(name), {}
        for job in json.loads((root / name / "shots.json").read_text()):
            kind = job["name"].split("-")[0]
            box = character_box(read_picture(root / name / f"expected_masks/{job['name']}.png", "L"))
            if "motion" in job and box:
                behind = scene_of(name if kind == "move" else names[(k + 1) % len(names)]).background / 255
                true = read_picture(root / name / f"expected/{job['name']}.png", "RGB")
                figures.setdefault(f"{kind}_char", []).append(psnr(true[box], perfect.shot(job, behind)[box]))
        scene, still = scene_of(name), np.tile(np.eye(2, 3), (FRAMES - 1, 1, 1))
        no_motion = motion_error(scene.motions, still, scene.centre, SIZE)
        means = {key: float(np.mean(db)) for key, db in figures.items()}
        found[name] = rounded({"iou": perfect.iou(), "no_motion_px": no_motion, **means})
    return found


def run(args: argparse.Namespace) -> None:
    """Trains what is asked for and was not trained yet, seed by seed; a JSON each."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    part, parts = map(int, args.share.split("/"))
    named = [(block, name, variant) for block in args.block or VARIANTS for name, variant in VARIANTS[block].items()]
    named = [job for job in named if not args.variant or job[1] in args.variant]
    jobs = [(seed, *job) for seed in range(args.seeds) for job in named]
    for seed, block, name, variant in jobs[part::parts]:
        path = args.work / block / f"{question_page.file_of(name)}-{seed}.json"
        if not path.is_file():
            train_variant(variant, seed, path)
            print(
                path.stem, {key: mean_of(json.loads(path.read_text()), key) for key in ("iou", "swap_char")}, flush=True
            )


def train_variant(variant: Variant, seed: int, path: Path) -> None:
    """One training and its figures, and what f, h and g make of a few frames."""
    import keras

    keras.backend.clear_session()
    began = time.process_time()
    trial, curve = trained(variant, seed)
    found = {"variant": dataclasses.asdict(variant), "seed": seed, "scenes": measure(trial), "curve": curve}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path.with_suffix(".npz"), **pictures_of(trial))
    write_text(path, json.dumps({**found, "processor_s": round(time.process_time() - began)}))


def pictures_of(trial: Trial) -> dict[str, np.ndarray]:
    """Three frames of each scene: the frame, what h is drawn as, what both are, and what f adds; uint8."""
    found = {}
    for index, name in enumerate(SCENES):
        x = clips().frames[index][[0, FRAMES // 3, 2 * FRAMES // 3]]
        fx, hx = trial.f(x), trial.h(x)
        still, both = np.asarray(trial.g(hx)), np.asarray(trial.g(trial.composed(fx, hx)))
        added = np.repeat(np.abs(both - still).max(-1, keepdims=True) * 2.5, 3, -1)
        found[name] = np.uint8(255 * np.clip(np.stack([x, still, both, added]), 0, 1))
    return found


def mean_of(result: dict, key: str) -> float | None:
    """The mean over the scenes that have a figure."""
    values = [scene[key] for scene in result["scenes"].values() if scene.get(key) is not None]
    return round(float(np.mean(values)), 4) if values else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page", "check"))
    parser.add_argument("--block", nargs="*", choices=VARIANTS, help="of variants (default: all)")
    parser.add_argument("--variant", nargs="*", metavar="NAME", help="of the blocks (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", default="0/1", metavar="K/N", help="every N-th training from the K-th on")
    parser.add_argument("--work", type=Path, default=ROOT / "build/question")
    args = parser.parse_args()
    if args.what == "check":
        return question_page.check()
    (run if args.what == "run" else lambda args: question_page.make(args.work))(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
