"""Recall of stored pictures by content: which of them a frame resembles.

Of up to `SHORT` pictures all are compared with a frame. Of more, a coarse key of each finds the shortlist of those that
are: the time of an exact comparison with all grows with their number, that of a key hardly does.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
from keras import ops

from eqvid_tf.blocks.exposure import GAINS, exposure_gain
from eqvid_tf.blocks.stacking import fold
from eqvid_tf.blocks.unet import resize_map

SHORT = 16  # pictures of a shortlist
_KEY = 8  # rows and columns of a key
_HIDDEN = 0.12  # sum of squares from which a block shows something else: 0.1 for each of its values
_CLIP, _SHARPNESS = 0.2, 100.0  # of the distance per value, and of the softmax
_STRANGE, _VAGUE = 0.08, 0.01  # mean distance from which a background is none that is stored, and how gradually


class Match(NamedTuple):
    """How frames resemble stored pictures.

    Attributes:
        weights: mixing weights of the pictures that were compared, [B, S, 3].
        known: the probability that a frame shows any of them, [B].
        places: which pictures those are, int32 [B, S]; None: all.
    """

    weights: tf.Tensor
    known: tf.Tensor
    places: tf.Tensor | None

    def of_all(self, count: int) -> tf.Tensor:
        """The weights of all pictures, [B, count, 3]; those that were not compared have none."""
        if self.places is None:
            return self.weights
        return ops.einsum("bsc,bsk->bkc", self.weights, ops.one_hot(self.places, count))

    def recall(self, pictures: tf.Tensor, size: tuple) -> tf.Tensor:
        """The stored pictures [K, h, w, 3] mixed for each frame: [B, *size, 3]."""
        return _mix(self.weights, _chosen(pictures, self.places, size))


def match_pictures(frame: tf.Tensor, pictures: tf.Tensor) -> Match:
    """Match each frame to K stored pictures.

    Compared are every fourth pixel of every fourth row, with each picture in the frame's exposure. The exposure keeps
    its gradient: without it nothing fixes a learned picture's brightness, and it would drift.

    Shapes: frame [B, H, W, 3], pictures [K, h, w, 3], both in [0, 1].
    """
    few = ops.stop_gradient(ops.cast(frame, "float32")[:, ::4, ::4])
    places = None if pictures.shape[0] <= SHORT else shortlist(frame, pictures)
    stored = _chosen(pictures, places, ops.shape(frame)[1:3])[..., ::4, ::4, :]
    compared = stored[None] if places is None else stored
    gains = exposure_gain(few[:, None], compared)  # [B, S, 1, 1, 3]
    distance = ops.mean(_distance(few[:, None], gains * compared), (2, 3, 4))
    likely = ops.stop_gradient(tf.nn.softmax(-_SHARPNESS * distance))
    weights = likely[..., None] * gains[:, :, 0, 0]
    left = ops.mean(_distance(few, _mix(weights, stored)), (1, 2, 3))
    return Match(weights, ops.sigmoid((_STRANGE - left) / _VAGUE), places)


def shortlist(frame: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """The places of the `SHORT` stored pictures with the keys nearest to those of each frame, int32 [B, SHORT].

    A key is an even grid of pixels in blocks. Two blocks differ by the sum of squares that an exposure, in its range,
    leaves between them, which products give for all pictures at once; it is clipped, as a character hides some blocks.

    Shapes: frame [B, H, W, 3], pictures [K, h, w, 3], both in [0, 1].
    """
    own, stored = _keys(resize_map(ops.cast(frame, "float32"), pictures.shape[1:3])), _keys(pictures)
    product, square = ops.einsum("bqnc,kqnc->bkqc", own, stored), ops.sum(stored * stored, 2)
    gain = ops.clip(product / (square + 1e-3), *GAINS)
    left = ops.sum(gain * (gain * square - 2 * product) + ops.sum(own * own, 2)[:, None], -1)  # [B, K, blocks]
    difference = ops.sum(ops.minimum(left, _HIDDEN), -1)
    return ops.stop_gradient(tf.math.top_k(-difference, SHORT).indices)


def _keys(pictures: tf.Tensor) -> tf.Tensor:
    """Pixels of an even grid, in blocks of two by two: [B, blocks, 4, 3]."""
    height, width = pictures.shape[1:3]
    rows, columns = ([(2 * cell + 1) * side // (2 * _KEY) for cell in range(_KEY)] for side in (height, width))
    grid = ops.take(ops.take(pictures, rows, axis=1), columns, axis=2)
    blocks = ops.reshape(grid, (-1, _KEY // 2, 2, _KEY // 2, 2, 3))
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, _KEY * _KEY // 4, 4, 3))


def _chosen(pictures: tf.Tensor, places: tf.Tensor | None, size: tuple) -> tf.Tensor:
    """The pictures at places [B, S] for each frame, [B, S, *size, 3]; without places all, [K, *size, 3]."""
    if places is None:
        return resize_map(pictures, size)
    found = resize_map(fold(ops.take(pictures, places, axis=0)), size)
    return ops.reshape(found, (-1, SHORT, *size, 3))


def _mix(weights: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Pictures [K, H, W, 3], or of each frame its own [B, S, H, W, 3], mixed by weights [B, S, 3]: [B, H, W, 3]."""
    equation = "bkc,khwc->bhwc" if len(pictures.shape) == 4 else "bkc,bkhwc->bhwc"
    return ops.clip(ops.einsum(equation, weights, pictures), 0, 1)


def _distance(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The difference of each value, clipped: beyond, it is the character's."""
    return ops.minimum(ops.abs(one - other), _CLIP)
