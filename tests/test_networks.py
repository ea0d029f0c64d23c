"""f, h and g: any size, no shift of the lattice, no position but from the borders; every layer in the Keras suite."""

import importlib
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import eqvid_tf
from eqvid_tf.blocks import identity, memory, plain, unet
from eqvid_tf.config import ModelConfig
from eqvid_tf.core import affine, estimators, model, networks, sampler
from eqvid_tf.data.clips import open_clip, read_image
from eqvid_tf.testing import assert_equivariant, run_layer_test
from eqvid_tf.training import optimizer

FLOAT32 = 2e-5
RNG = np.random.default_rng(0)
SETTINGS = {"width": 4, "channels": 2}
KINDS = [(structure, stride) for structure in ("partition", "plain") for stride in (1, 2, 4)]


def frames(height, width, batch=2):
    return RNG.uniform(size=(batch, height, width, 3)).astype("float32")


def make(structure, stride, seed=0):
    """f, h and g with random weights everywhere, also where training starts at zero."""
    keras.utils.set_random_seed(seed)
    made = networks.build_networks(ModelConfig(**SETTINGS, structure=structure, stride=stride, canvas=(16, 24)))
    for network, channels in zip(made, (3, 3, made[2].map_channels)):
        network.build((None, None, None, channels))
        for weight in network.trainable_weights:
            if not np.any(weight):
                weight.assign(0.1 * RNG.normal(size=weight.shape))
    return made


# -- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("structure", "stride"), KINDS)
def test_any_size_is_accepted(structure, stride):
    f, h, g = make(structure, stride)
    for height, width in ((16, 24), (17, 23), (5, 3)):
        frame, cells = frames(height, width), (-(-height // stride), -(-width // stride))
        character, background = f(frame), h(frame)
        assert character.shape == background.shape == (2, *cells, g.map_channels)
        assert tuple(f.compute_output_shape(frame.shape)) == character.shape
        for picture in (g(character + background), g.mask(character, background)):
            assert picture.shape[1:3] == (cells[0] * stride, cells[1] * stride)
            assert np.isfinite(picture).all()
        mask = g.mask(character, background)
        assert mask.shape[-1] == 1 and 0 <= np.min(mask) and np.max(mask) <= 1


def test_sizes_may_be_known_only_at_run_time():
    f, h, g = make("partition", 4)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    def decoded(frame):
        return g(f(frame) + h(frame))

    for frame in (frames(17, 22), frames(8, 8, 1)):
        np.testing.assert_allclose(decoded(frame), g(f(frame) + h(frame)), atol=FLOAT32)


def test_padding_repeats_the_edge():
    x = np.arange(6.0, dtype="float32").reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(unet.pad_to_multiple(x, 2)[0, :, :, 0], [[0, 1, 2, 2], [3, 4, 5, 5]])
    np.testing.assert_array_equal(unet.pad_to_multiple(x, 1), x)


def test_a_cells_channels_are_its_pixels():
    g = networks.Renderer(width=4, stride=2)
    g(np.zeros((1, 2, 3, g.map_channels), "float32"))
    kernel = np.zeros(g.residual.kernel.shape, "float32")
    g.residual.kernel.assign(kernel)
    g.residual.bias.assign(np.arange(12.0))
    picture = ops.convert_to_numpy(g.draw(np.zeros((1, 2, 3, g.map_channels), "float32")))
    assert picture.shape == (1, 4, 6, 3)
    np.testing.assert_array_equal(picture[0, 2:4, 4:6].reshape(-1), np.arange(12))


# -- the partition -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_f_and_h_write_to_separate_channels(stride):
    f, h, g = make("partition", stride)
    frame = frames(16, 24)
    character, background = ops.convert_to_numpy(f(frame)), ops.convert_to_numpy(h(frame))
    assert not character[..., -3:].any() and not background[..., :-3].any()
    coverage = character[..., 3:4]
    assert 0 < coverage.min() and coverage.max() < 1
    assert 0 <= character[..., :3].min() and (character[..., :3] <= coverage + FLOAT32).all()
    g.residual.kernel.assign(0 * g.residual.kernel)
    g.residual.bias.assign(0 * g.residual.bias)
    cells = character[..., :3] + (1 - coverage) * background[..., -3:]
    if stride == 1:
        np.testing.assert_allclose(g(character + background), cells, atol=FLOAT32)


def test_h_fills_what_is_hidden_with_the_background_that_the_frame_resembles():
    h = networks.BackgroundEncoder(memory=3, canvas=(16, 24), **SETTINGS)
    h.build((None, None, None, 3))
    pictures = frames(16, 24, 3)
    h.pictures.assign(pictures)
    h.head.bias.assign([50.0])  # all is covered
    known, unknown = pictures[[2, 0]], frames(16, 24)
    known[:, 4:9, 6:12] = 0.5  # a character before it
    np.testing.assert_allclose(h(known)[..., -3:], pictures[[2, 0]], atol=0.03)
    np.testing.assert_allclose(h(unknown)[..., -3:], unknown, atol=0.03)
    h.head.bias.assign([-50.0])  # nothing is
    np.testing.assert_allclose(h(known)[..., -3:], known, atol=0.01)


def test_the_exposure_of_a_stored_picture_is_not_learned():
    """It is recalled in the exposure of the frame, so its own changes no loss; such a gradient would add up."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0.2, 0.8, (2, 32, 48, 3)).astype("float32")
    h = networks.BackgroundEncoder(memory=2, canvas=(32, 48), width=4, channels=2, stride=1)
    h.build((None, None, None, 3))
    h.pictures.assign(true * np.array([1.1, 0.9])[:, None, None, None])
    frames = true[[0, 1, 0, 1]] + rng.normal(0, 0.01, (4, 32, 48, 3)).astype("float32")
    frames[:, 10:20, 10:20] = 0.1
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(h.recall(tf.constant(frames))[0] - frames))
    slope = tape.gradient(loss, h.pictures.value) * h.pictures.value
    assert np.abs(tf.reduce_sum(slope, (1, 2, 3))).max() < 1e-3 * np.abs(slope).sum((1, 2, 3)).min()


@pytest.mark.parametrize("size", [(32, 48), (64, 96)])
def test_of_many_pictures_the_own_is_on_the_shortlist_and_is_recalled(size):
    """With a character before a third of it, in another exposure; and what is none of them is not known."""
    rng = np.random.default_rng(0)
    rough = rng.uniform(0.1, 0.7, (60, 4, 6, 3)).astype("float32")
    pictures, strange = np.split(tf.image.resize(rough, (32, 48)).numpy(), [50])
    frames = 1.2 * tf.image.resize(pictures, size).numpy()
    frames[:, : size[0] // 2, : size[1] * 2 // 3] = rng.uniform(0, 1, (50, 1, 1, 3))
    match = memory.match_pictures(tf.constant(frames), tf.constant(pictures))
    assert match.places.shape == (50, memory.SHORT)
    assert (match.places.numpy() == np.arange(50)[:, None]).any(1).all()
    recalled = match.recall(tf.constant(pictures), size).numpy()
    assert np.abs(recalled - frames)[:, size[0] // 2 :].mean() < 0.01  # two pictures differ by 0.15
    weights = match.of_all(50).numpy()
    assert weights.shape == (50, 50, 3) and (weights.mean(-1).argmax(1) == np.arange(50)).all()
    np.testing.assert_allclose(weights.sum(1), 1.2, atol=0.1)  # a character shifts a gain that much
    assert match.known.numpy().min() > 0.5
    assert memory.match_pictures(tf.constant(strange), tf.constant(pictures)).known.numpy().max() < 0.5


def test_from_the_ends_the_way_leads_back_and_no_further():
    """A lost logit is led back by its loss as strongly as any; one that is at the right end is not pushed on."""
    logits = tf.constant([-20.0, -20.0, 0.0, 20.0, 20.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        bounded = unet.bounded_logits(logits)
        loss = tf.reduce_sum(bounded * [-1.0, 1, 1, 1, -1])
    np.testing.assert_array_equal(bounded, [-6, -6, 0, 6, 6])
    np.testing.assert_array_equal(tape.gradient(loss, logits), [-1, 0, 1, 1, 0])


def test_coverage_is_never_quite_0_or_1():
    logits = tf.Variable([-50.0, 0.0, 50.0])
    with tf.GradientTape() as tape:
        coverage = unet.bounded_sigmoid(logits)
    np.testing.assert_allclose(coverage, [0.0025, 0.5, 0.9975], atol=1e-4)
    assert tape.gradient(coverage, logits)[1] > 0.2


# -- no lattice shift, no position ---------------------------------------------------------------------------------


def half_turned(network):
    """The same network, with every kernel, every picture and every cell of pixels turned by 180 degrees."""
    for weight in network.weights:
        if weight.name == "kernel":
            weight.assign(weight[::-1, ::-1])
        if weight.name == "pictures":
            weight.assign(weight[:, ::-1, ::-1])
    if isinstance(network, plain.PlainRenderer):
        for weight in network.residual.weights:
            shape = (*weight.shape[:-1], network.stride, network.stride, plain.PIXELS)
            weight.assign(ops.reshape(ops.reshape(weight, shape)[..., ::-1, ::-1, :], weight.shape))


@pytest.mark.parametrize(("structure", "stride"), KINDS)
def test_the_lattice_does_not_shift(structure, stride):
    """A half turn of the input is a half turn of the output: there is no left or right, up or down in the networks.

    A convolution of kernel 3 and stride 2 would fail, by half a pixel.
    """
    for network in make(structure, stride):
        if isinstance(network, networks.CharacterEncoder):
            network.recall = None  # the backgrounds that h remembers are not turned
        if isinstance(network, networks.BackgroundEncoder):
            network.recall = lambda frame: (ops.full_like(frame, 0.5), ops.ones(len(frame)))
        encoder = not isinstance(network, plain.PlainRenderer)
        x = frames(16, 24) if encoder else RNG.normal(size=(2, 8, 8, network.map_channels)).astype("float32")
        before = network(x)
        half_turned(network)
        np.testing.assert_allclose(network(x[:, ::-1, ::-1]), before[:, ::-1, ::-1], atol=FLOAT32)


def test_a_lattice_that_shifts_is_noticed():
    odd = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)
    x = frames(16, 24)
    before = odd(x)
    half_turned(odd)
    assert np.abs(odd(x[:, ::-1, ::-1]) - before[:, ::-1, ::-1]).max() > 0.1


@pytest.mark.parametrize(("structure", "stride"), [("partition", 1), ("partition", 4), ("plain", 2)])
def test_away_from_the_borders_f_does_not_know_where_it_is(structure, stride):
    f = make(structure, stride)[0]
    f.recall = None  # it knows where it is from the background that h remembers, and from nothing else
    frame = frames(144, 160, 1)  # f sees 45 pixels each way
    for right, down in ((8, 0), (-16, 24)):
        shift = affine.build(shift=(right * 2 / 160, down * 2 / 144))[None]
        assert assert_equivariant(f, frame, shift, border=0.33, atol=FLOAT32) < FLOAT32


def test_what_shows_through_a_character_is_not_its_own():
    """Over the stored background f(x) gives x, and over any other what a half-transparent character would give."""
    f, (own, background) = make("partition", 1)[0], frames(16, 24)
    f.recall = lambda frame: (ops.broadcast_to(background, ops.shape(frame)), ops.ones(len(frame)))
    f.head.kernel.assign(ops.zeros_like(f.head.kernel))
    f.head.bias.assign([2.0, 0, 0])  # half its coverage everywhere
    layer = f((0.5 * own + 0.5 * background)[None])[0]
    np.testing.assert_allclose(layer[..., :3], 0.5 * own, atol=FLOAT32)
    f.recall = lambda frame: (ops.broadcast_to(background, ops.shape(frame)), ops.zeros(len(frame)))  # it knows none
    np.testing.assert_allclose(f(own[None])[0, ..., :3], 0.5 * own, atol=FLOAT32)


def test_training_makes_f_equivariant(trained, scene, capsys):
    """f(x') = T f(x) where the character moves and the background stays, before training and after it.

    Of colour and coverage. What f may add beside them is not equivariant after so short a training; and an f that has
    learned nothing finds a little of a character everywhere, which is equivariant whatever f does.
    """
    clip = open_clip(scene)
    frame = clip.arrays(clip.size)[::4].astype("float32") / 255
    background = read_image(scene / "background.png").astype("float32") / 255
    cover = np.stack([read_image(path)[..., :1] for path in sorted((scene / "masks").iterdir())[::4]]) / np.float32(255)
    layer = np.concatenate([frame - (1 - cover) * background, cover], -1)
    keras.utils.set_random_seed(1)
    new = model.EquivariantVideoModel(trained.config)
    errors = {}
    for kind, parts in {"shift": {"shift": (0.2, -0.1)}, "turn": {"turn": 0.4}, "zoom": {"zoom": 1.2}}.items():
        move = ops.tile(affine.build(**parts, aspect=clip.size[1] / clip.size[0])[None], (len(frame), 1, 1))
        for name, f in (("new", new.f), ("trained", trained.f)):
            composed = lambda layer, f=f: f(layer[..., :3] + (1 - layer[..., 3:]) * background)[
                ..., : f.motion_channels
            ]
            errors[kind, name] = assert_equivariant(composed, layer, move, border=0.05, atol=np.inf)
    with capsys.disabled():
        for (kind, name), error in errors.items():
            print(f"\nequivariance error of a {name} f, {kind}: {error:.2f}", end="")
    kinds = ("shift", "turn", "zoom")
    assert all(errors[kind, "trained"] < errors[kind, "new"] for kind in kinds), errors
    assert sum(errors[kind, "trained"] for kind in kinds) < 0.85 * sum(errors[kind, "new"] for kind in kinds), errors


# -- the Keras suite, for every layer that is registered ------------------------------------------------------------

MAP = RNG.normal(size=(2, 8, 12, 9)).astype("float32")
PAIR = {
    "frame": frames(16, 24),
    "next_frame": frames(16, 24),
    "features": MAP,
    "next_features": MAP[::-1].copy(),
    "motion": np.tile(np.eye(2, 3, dtype="float32"), (2, 1, 1)),
}
DESCRIPTORS = {
    unet.Trunk: ({"width": 4, "levels": 2}, frames(16, 24), (2, 16, 24, 4)),
    networks.CharacterEncoder: ({**SETTINGS, "stride": 2}, frames(16, 24), (2, 8, 12, 9)),
    networks.BackgroundEncoder: ({**SETTINGS, "memory": 2, "canvas": (16, 24)}, frames(16, 24), (2, 16, 24, 9)),
    networks.Renderer: ({**SETTINGS, "stride": 2}, MAP, (2, 16, 24, 3)),
    plain.PlainEncoder: ({**SETTINGS, "stride": 4}, frames(16, 24), (2, 4, 6, 9)),
    plain.PlainRenderer: ({**SETTINGS, "stride": 2}, MAP, (2, 16, 24, 3)),
    estimators.KnownMotion: ({}, PAIR, (2, 2, 3)),
    estimators.FeatureMotion: ({"width": 4, "steps": 1}, PAIR, (2, 2, 3)),
    estimators.FrameMotion: ({"width": 4, "steps": 1}, PAIR, (2, 2, 3)),
    sampler.SpatialTransformer: ({"size": (5, 6)}, (MAP, PAIR["motion"]), (2, 5, 6, 9)),
}
ELSEWHERE = {
    identity.Identity: "test_model.py",
    model.EquivariantVideoModel: "test_model.py",
    estimators.MotionEstimator: "the contract alone",
    optimizer.Muon: "test_optimizer.py",
}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # an estimator does not read all of a pair
@pytest.mark.parametrize("layer", DESCRIPTORS, ids=lambda layer: layer.__name__)
def test_layer_passes_the_suite(layer):
    settings, inputs, shape = DESCRIPTORS[layer]
    run_layer_test(layer, settings, inputs, expected_output_shape=shape)


def test_every_registered_class_has_a_descriptor():
    for found in pkgutil.walk_packages(eqvid_tf.__path__, "eqvid_tf."):
        studio = found.name.startswith("eqvid_tf.studio.") and not importlib.util.find_spec("starlette")
        if found.name != "eqvid_tf.data.tfio_reader" and not studio:  # they need TensorFlow 2.17, and an extra
            importlib.import_module(found.name)
    registered = {kind for name, kind in keras.saving.get_custom_objects().items() if name.startswith("eqvid_tf>")}
    assert registered >= set(DESCRIPTORS)
    assert not registered - set(DESCRIPTORS) - set(ELSEWHERE), "a registered class has no descriptor"
