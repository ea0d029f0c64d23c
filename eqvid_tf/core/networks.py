"""The networks: character encoder f, background encoder h and renderer g.

Two structures share one contract, f and h: frame -> feature map, g: feature map -> frame.

partition   f and h cut the frame in two and write to separate channels of one map, so that T f + h is still a sum:
            f(x) = [c, p, p phi(x), 0] and h(x) = [0, 0, 0, (1 - m) x + m recall(x)], presence p, cover m, and
            the colour c that over the recalled background gives x; g draws the character over the background and adds a
            residual that starts at zero.
plain       bare U-Nets, the hypothesis alone: what the three losses do without a partition.

Convention: frames NHWC in [0, 1]; a cell of a map with stride s is the s x s pixels of the frame that it covers (average
pooling, never a strided convolution of odd kernel), so no stride shifts the lattice.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers, ops

PIXELS = 3


def register(kind):
    """Keras registration under package "eqvid_tf"."""
    return keras.saving.register_keras_serializable("eqvid_tf")(kind)


def resize(x, size):
    """Bilinear resize of [B, h, w, c] to size (H, W), which may be known only at run time; pixel edges aligned."""
    return x if x.shape[1:3] == tuple(size) else tf.cast(tf.image.resize(x, size), x.dtype)


def pool(x, factor: int):
    """Average over factor x factor cells."""
    return x if factor == 1 else ops.average_pool(x, factor, factor, padding="valid")


def unpool(x, factor: int):
    """Bilinear upsampling by an integer factor, pixel edges aligned."""
    height, width = ops.shape(x)[1:3]
    return x if factor == 1 else resize(x, (height * factor, width * factor))


@register
class Trunk(layers.Layer):
    """A small U-Net that keeps the size: convolutions, average pooling down, bilinear up.

    Position enters only through the zero padding at the frame's borders.

    Shapes: [B, H, W, c] -> [B, H, W, width]; any H and W (padded inside to a multiple of 8, and cut off again).

    Args:
        width: channels of the first level; deeper levels have 2, 3 and 4 times as many.
        levels: how many times the map is halved.
    """

    def __init__(self, width: int, levels: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.width, self.levels = width, levels
        sizes = [width * (i + 1) for i in range(levels + 1)]
        conv = lambda n, kernel, **kw: layers.Conv2D(
            n, kernel, padding="same", kernel_initializer="he_normal", dtype=self.dtype_policy, **kw
        )
        self.down = [conv(n, 3, activation="relu") for n in sizes]
        self.deep = conv(sizes[-1], 3, activation="relu")
        self.narrow = [conv(n, 1) for n in sizes[-2::-1]]
        self.up = [conv(n, 3, activation="relu") for n in sizes[-2::-1]]

    def build(self, shape):
        channels = shape[-1]
        for layer in [*self.down, self.deep]:
            layer.build((None, None, None, channels))
            channels = layer.filters
        for narrow, up in zip(self.narrow, self.up):
            narrow.build((None, None, None, channels))
            up.build((None, None, None, up.filters))
            channels = up.filters

    def call(self, x):
        height, width = ops.shape(x)[1:3]
        x = pad_to_multiple(x, 2**self.levels)
        skips = []
        for layer in self.down[:-1]:
            skips.append(layer(x))
            x = pool(skips[-1], 2)
        x = self.deep(self.down[-1](x))
        for narrow, up in zip(self.narrow, self.up):
            x = up(unpool(narrow(x), 2) + skips.pop())  # narrowed before it is enlarged: a third of the cost of joining
        return x[:, :height, :width]

    def compute_output_shape(self, shape):
        return (*shape[:3], self.width)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "levels": self.levels}


class Network(layers.Layer):
    """What f, h and g share: their arguments, kept as attributes and in the config."""

    def __init__(self, width: int = 16, channels: int = 4, stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.width, self.channels, self.stride = width, channels, stride

    def conv(self, filters: int, kernel: int = 3, **kwargs):
        return layers.Conv2D(filters, kernel, padding="same", dtype=self.dtype_policy, **kwargs)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "channels": self.channels, "stride": self.stride}


class Encoder(Network):
    """A frame to a map: pads to the stride, encodes, pools."""

    def call(self, frame, training=False):
        frame = ops.cast(frame, self.compute_dtype)
        return pool(self.encode(pad_to_multiple(frame, self.stride), training), self.stride)

    def compute_output_shape(self, shape):
        size = [None if n is None else -(-n // self.stride) for n in shape[1:3]]
        return (shape[0], *size, self.map_channels)


@register
class CharacterEncoder(Encoder):
    """f of the partition: the part of the frame that is the character, [c, p, p phi(x), 0 0 0].

    Its colour c = x - (1 - p) recall(x), within [0, p], is what gives x when it is laid over the background that h remembers:
    what shows through it, or beside its edge, is not its own. Where h remembers none, c = p x.

    Equivariant by construction but for its trunk; the losses teach the trunk. It sees the frame, and how the frame
    differs from the background that h remembers, where h does; in training now and then without, so that it can do without.

    Shapes: frame [B, H, W, 3] -> [B, H / stride, W / stride, 4 + channels + 3].

    Args:
        recall: `BackgroundEncoder.recall` of the h it works beside; None where nothing is remembered.
    """

    UNTOLD = 0.2  # of the frames in training: shown without the difference
    LAYER = 4  # channels in front: the colour times the presence, and the presence

    def __init__(self, recall=None, **kwargs):
        super().__init__(**kwargs)
        self.recall = recall
        self.random = keras.random.SeedGenerator(0)
        self.map_channels = 4 + self.channels + PIXELS
        self.trunk = Trunk(self.width, dtype=self.dtype_policy)
        self.head = self.conv(1 + self.channels, bias_initializer=keras.initializers.Constant(0.0))

    def build(self, shape):
        self.trunk.build((None, None, None, 2 * PIXELS + 1))
        self.head.build((None, None, None, self.width))

    def encode(self, frame, training):
        recalled, known = self.recall(frame) if self.recall else (frame, ops.zeros(ops.shape(frame)[:1]))
        known = ops.cast(known, self.compute_dtype)[:, None, None, None]
        behind = ops.stop_gradient(
            known * recalled + (1 - known) * frame
        )  # unknown: the presence cuts the frame itself out
        if training:
            known *= ops.cast(
                keras.random.uniform(ops.shape(known), seed=self.random) > self.UNTOLD, self.compute_dtype
            )
        seen = [frame - 0.5, 3 * known * ops.abs(frame - recalled), known * ops.ones_like(frame[..., :1])]
        out = self.head(self.trunk(ops.concatenate(seen, -1)))
        presence = bounded_sigmoid(out[..., :1] - 2)
        colour = ops.minimum(ops.maximum(frame - (1 - presence) * behind, 0), presence)
        return ops.concatenate([colour, presence, presence * ops.tanh(out[..., 1:]), ops.zeros_like(colour)], -1)

    @staticmethod
    def replaced(features, layer):
        """f(x) with colour and presence from a layer cut out of the frame: premultiplied RGBA [B, h', w', 4] in [0, 1]."""
        return ops.concatenate([ops.cast(layer, features.dtype), features[..., 4:]], -1)


@register
class BackgroundEncoder(Encoder):
    """h of the partition: the frame, and where the cover m hides it the background that h remembers.

    The memory holds a picture of each background seen in training. It is recalled by content: the pictures that the frame
    resembles, weighted by a softmax of their clipped distance to it. A frame that resembles none passes as it is (but in
    training, when the memory is still being filled).

    Shapes: frame [B, H, W, 3] -> [B, H / stride, W / stride, 4 + channels + 3], only the last three not zero.

    Args:
        memory: how many backgrounds can be held.
        canvas: height and width of each of them.
        given: they are put there (`eqvid_tf.core.model.remember`), and not learned. Why: medians of the frames are right, and stay so.
    """

    CLIP, SHARPNESS = 0.2, 100.0
    STRANGE, VAGUE = 0.08, 0.01  # mean distance from which a background is none that is remembered, and how gradually

    def __init__(self, memory: int = 1, canvas=(64, 64), given: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.memory, self.canvas, self.given = memory, tuple(canvas), given
        self.map_channels = 4 + self.channels + PIXELS
        self.trunk = Trunk(max(self.width // 2, 4), dtype=self.dtype_policy)
        self.head = self.conv(1)

    def build(self, shape):
        self.trunk.build(shape)
        self.head.build((None, None, None, self.trunk.width))
        self.pictures = self.add_weight(
            shape=(self.memory, *self.canvas, PIXELS),
            name="pictures",
            dtype="float32",
            autocast=False,
            trainable=not self.given,
            initializer=keras.initializers.RandomUniform(0.4, 0.6),
        )

    def recall(self, frame):
        """The remembered background of each frame [B, H, W, 3], in its light, and whether it is one that is remembered [B], in [0, 1]."""
        shares, known = self.recognize(frame)
        recalled = self.mixed(shares, resize(self.pictures, ops.shape(frame)[1:3]))
        return ops.cast(recalled, self.compute_dtype), known

    def recognize(self, frame):
        """By how much each picture, in the frame's light, is the background of frames [B, H, W, 3], [B, K, 3]; and whether that is one
        that is remembered [B], in [0, 1]. Told by every fourth pixel of every fourth row.

        The light has a gradient: as a picture is recalled in the frame's, nothing holds its own, and it would drift.
        """
        few = ops.stop_gradient(ops.cast(frame, "float32")[:, ::4, ::4])
        theirs = resize(self.pictures, ops.shape(frame)[1:3])[:, ::4, ::4]
        lights = exposure_gain(few[:, None], theirs[None])  # [B, K, 1, 1, 3]
        likely = ops.stop_gradient(
            tf.nn.softmax(-self.SHARPNESS * ops.mean(self.apart(few[:, None], lights * theirs), (2, 3, 4)))
        )
        shares = likely[..., None] * lights[:, :, 0, 0]
        strange = ops.mean(self.apart(few, self.mixed(shares, theirs)), (1, 2, 3))
        return shares, ops.sigmoid((self.STRANGE - strange) / self.VAGUE)

    @staticmethod
    def mixed(shares, pictures):
        """Pictures [K, H, W, 3] in shares [B, K, 3]: [B, H, W, 3]."""
        return ops.clip(ops.einsum("bkc,khwc->bhwc", shares, pictures), 0, 1)

    def apart(self, one, other):
        return ops.minimum(ops.abs(one - other), self.CLIP)

    def cover(self, frame):
        """m, where the frame is not background, [B, H, W, 1]."""
        return bounded_sigmoid(self.head(self.trunk(frame - 0.5)))

    def encode(self, frame, training):
        cover, (recalled, known) = self.cover(frame), self.recall(frame)
        cover = cover if training else cover * ops.cast(known, cover.dtype)[:, None, None, None]
        background = (1 - cover) * frame + cover * recalled
        return ops.pad(background, [[0, 0], [0, 0], [0, 0], [4 + self.channels, 0]])

    def get_config(self):
        return {**super().get_config(), "memory": self.memory, "canvas": self.canvas, "given": self.given}


@register
class Renderer(Network):
    """g of the partition: character over background, plus a residual that starts at zero.

    Shapes: features [B, h', w', 4 + channels + 3] -> frame [B, h' stride, w' stride, 3].
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.map_channels = 4 + self.channels + PIXELS
        self.hidden = self.conv(self.width, activation="relu", kernel_initializer="he_normal")
        self.residual = self.conv(PIXELS * self.stride**2, kernel_initializer="zeros")

    def build(self, shape):
        self.hidden.build((None, None, None, self.map_channels))
        self.residual.build((None, None, None, self.width))

    def call(self, features):
        features = ops.cast(features, self.compute_dtype)
        full = unpool(features, self.stride)
        over = full[..., :3] + (1 - full[..., 3:4]) * full[..., -PIXELS:]
        return over + unfold(self.residual(self.hidden(features)), self.stride)

    def mask(self, character, background):
        """Coverage of the character [B, H, W, 1]: the presence that f wrote."""
        del background
        return unpool(character[..., 3:4], self.stride)

    def compute_output_shape(self, shape):
        return (shape[0], *[None if n is None else n * self.stride for n in shape[1:3]], PIXELS)


def unfold(x, factor: int):
    """[B, h, w, c factor^2] -> [B, h factor, w factor, c], each cell's channels laid out as its pixels."""
    if factor == 1:
        return x
    height, width, channels = *ops.shape(x)[1:3], x.shape[-1] // factor**2
    x = ops.reshape(x, (-1, height, width, factor, factor, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height * factor, width * factor, channels))


@register
class PlainEncoder(Encoder):
    """f or h as a bare U-Net: nothing but the losses says which of the two it is.

    Shapes: frame [B, H, W, 3] -> [B, H / stride, W / stride, 4 + channels + 3].
    """

    LAYER = None  # all channels alike

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.map_channels = 4 + self.channels + PIXELS
        self.trunk = Trunk(self.width, dtype=self.dtype_policy)
        self.head = self.conv(self.map_channels)

    def build(self, shape):
        self.trunk.build(shape)
        self.head.build((None, None, None, self.width))

    def encode(self, frame, training):
        return self.head(self.trunk(frame - 0.5))


@register
class PlainRenderer(Renderer):
    """g as bare convolutions of the sum; a mask is what f adds to the frame."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.residual = self.conv(PIXELS * self.stride**2)

    def call(self, features):
        features = ops.cast(features, self.compute_dtype)
        return 0.5 + unfold(self.residual(self.hidden(features)), self.stride)

    def mask(self, character, background):
        """Coverage [B, H, W, 1]: 1 where f changes the frame by 50 grey levels of 255 or more, 0.5 at 25."""
        added = ops.abs(self(character + background) - self(background))
        return ops.clip(ops.max(added, -1, keepdims=True) * (255 / 50), 0, 1)


def build_networks(config, dtype=None):
    """The networks (f, h, g) of a ModelConfig, under a precision policy."""
    shared = {"width": config.width, "channels": config.channels, "stride": config.stride, "dtype": dtype}
    if config.structure == "plain":
        return PlainEncoder(name="f", **shared), PlainEncoder(name="h", **shared), PlainRenderer(name="g", **shared)
    h = BackgroundEncoder(memory=config.memory, canvas=config.canvas, given=config.given, name="h", **shared)
    return CharacterEncoder(recall=h.recall, name="f", **shared), h, Renderer(name="g", **shared)


def pad_to_multiple(x, multiple: int):
    """Pad [B, H, W, c] below and to the right by repeating its edge, up to a multiple in height and width."""
    height, width = ops.shape(x)[1:3]
    below, right = -height % multiple, -width % multiple
    if multiple == 1 or (isinstance(below, int) and isinstance(right, int) and below == right == 0):
        return x

    def padded():
        rows = tf.minimum(tf.range(height + below), height - 1)
        return tf.gather(tf.gather(x, rows, axis=1), tf.minimum(tf.range(width + right), width - 1), axis=2)

    return tf.cond(
        tf.equal(below + right, 0), lambda: x, padded
    )  # of a size known only at run time: mostly there is nothing to pad


def bounded_sigmoid(logits):
    """A sigmoid that stays within [0.0025, 0.9975], and from its ends is still led back: a character that is small is lost within
    the first steps otherwise, and for good.
    """
    return ops.sigmoid(bounded_logits(logits))


@ops.custom_gradient
def bounded_logits(logits):
    """Logits cut at -6 and 6; their gradient passes where it leads inwards, and so that none runs away, not where it leads out."""

    def gradient(upstream):
        return ops.where(ops.sign(upstream) * logits < -6, ops.zeros_like(upstream), upstream)

    return ops.clip(logits, -6, 6), gradient


def exposure_gain(frame, picture, passes: int = 4):
    """The light of frames, by channel, relative to that of pictures of the same scene: [..., H, W, 3] twice -> [..., 1, 1, 3].

    Least squares, in which what differs, a character, counts little, and what is saturated nothing.
    """
    shown = ops.cast(frame < SATURATED, "float32")
    weight, found = shown, 1.0
    for _ in range(1 + passes):
        total = lambda product, weight=weight: ops.sum(weight * product, (-3, -2), keepdims=True)
        found = ops.clip(total(frame * picture) / (total(picture * picture) + 1e-3), *GAINS)
        weight = shown / robust_weight(frame, found * picture)
    return found


def robust_weight(frame, expected):
    """1 where a frame is as expected, and grows with the square of how far it is off."""
    off = (frame - expected) / OUTLIER
    return 1 + off * off


GAINS = 0.7, 1.4  # the range of a gain
SATURATED = 0.995  # from which a pixel may be brighter than it is shown
OUTLIER = 0.05  # difference from which a pixel hardly tells of the light: it is another thing
