"""What a trained model of several characters does with frames, all characters at a time: the axis K of its signatures.

K counts the model's names; a character that a frame does not show has an empty mask there.
"""

from __future__ import annotations

import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.stacking import each, fold, lower_in_front, order, repeat, stack
from eqvid_tf.core import affine
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.core.sampler import warp

SHOWN = 1e-3  # share of the frame: a character that covers less is not shown


class CharacterSet:
    """The faces of a model, with an axis K after the batch wherever something is of one character.

    Convention: who reaches lower in a frame is in front of who does not, for it stands nearer on the ground.
    """

    def __init__(self, model: EquivariantVideoModel):
        self.model = model

    def encode(self, frame: tf.Tensor) -> tf.Tensor:
        """f_k(x): frames [B, H, W, 3] -> [B, K, h', w', c']."""
        return self.model.characters_in(frame, self.model.f(frame))

    def separate(self, frame: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The layers of frames [B, H, W, 3].

        Returns:
            character [B, K, H, W, 3], background [B, H, W, 3], mask [B, K, H, W, 1], order int32 [B, K], the characters
            from the back to the front, and shown [B, K], 1 where the frame shows it.
        """
        fx, hx = self.encode(frame), self.model.h(frame)
        behind = fold(repeat(hx, fx.shape[1]))
        mask = each(lambda z: _crop(self.model.g.mask(z, behind), frame), fx)
        character, background = each(lambda z: _crop(self.model.g(z), frame), fx), _crop(self.model.g(hx), frame)
        shown = ops.cast(ops.mean(mask, (2, 3, 4)) > SHOWN, "float32")
        return character, background, mask, order(lower_in_front(mask)), shown

    def render(
        self, character_frame: tf.Tensor, background_frame: tf.Tensor, motion: tf.Tensor, shown: tf.Tensor
    ) -> tf.Tensor:
        """g(sum over k of T_k f_k(x) + h(x')), of the characters that are to be shown.

        Shapes: frames [B, H, W, 3], motion [B, K, 2, 3] forward, shown [B, K], 1 or 0 -> [B, H, W, 3] in [0, 1].
        """
        features = self.encode(character_frame), self.model.h(background_frame)
        return _crop(self.render_features(*features, motion, shown), background_frame)

    def render_features(
        self, characters: tf.Tensor, background: tf.Tensor, motion: tf.Tensor, shown: tf.Tensor
    ) -> tf.Tensor:
        """As `render`, from feature maps encoded before: [B, K, h', w', c'] and [B, h', w', c']."""
        cubic = self.model.config.cubic
        shown = ops.cast(shown, characters.dtype)[..., None, None, None]
        moved = shown * each(lambda z, theta: warp(z, theta, cubic=cubic), characters, each(affine.invert, motion))
        coverage = self.model.f.coverage(moved)
        return _unit(self.model.g(stack(moved, coverage, lower_in_front(coverage)) + background))

    def estimate_motion(self, frame: tf.Tensor, next_frame: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Forward motions [B, K, 2, 3] between frames [B, H, W, 3], and a confidence [B, K] in [0, 1], 0 if absent."""
        fx, fx2 = self.encode(frame), self.encode(next_frame)
        pair = {"features": fold(fx), "next_features": fold(fx2)}
        if "frame" in self.model.T.reads:
            pair["frame"] = self.model.alone(frame, fx, self.model.h(frame))
            pair["next_frame"] = self.model.alone(next_frame, fx2, self.model.h(next_frame))
        motion, certainty = self.model.motion_between(pair)
        known = self.model.remembers(frame) * self.model.remembers(next_frame)
        count = fx.shape[1]
        return ops.reshape(motion, (-1, count, 2, 3)), known[:, None] * ops.reshape(certainty, (-1, count))

    def transfer(self, frame: tf.Tensor, next_frame: tf.Tensor, target_frame: tf.Tensor) -> tuple:
        """Each character of target_frame moved as it moved from frame to next_frame: frame, motion, confidence."""
        motion, certainty = self.estimate_motion(frame, next_frame)
        return self.render(target_frame, target_frame, motion, ops.ones_like(certainty)), motion, certainty


def _unit(picture: tf.Tensor) -> tf.Tensor:
    return ops.clip(ops.cast(picture, "float32"), 0, 1)


def _crop(picture: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """A picture in [0, 1], without what padding to a multiple of the stride added."""
    height, width = ops.shape(like)[1:3]
    return _unit(picture)[:, :height, :width]
