"""The three estimators behind their contract, their closed-form start, and the motions they are labelled with."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from eqvid_tf.config import ModelConfig
from eqvid_tf.core import affine
from eqvid_tf.core.estimators import (
    FeatureMotion,
    FrameMotion,
    KnownMotion,
    MotionEstimator,
    build_estimator,
    energy_box,
    presence,
    random_motions,
)

FLOAT32 = 1e-5
SIZE = (24, 36)
ASPECT = SIZE[1] / SIZE[0]


def blobs(places, size=SIZE, channels=4):
    """Maps with a blob of unequal channels around each of `places` (x, y), empty elsewhere."""
    y, x = np.meshgrid(*((np.arange(n) + 0.5) * 2 / n - 1 for n in size), indexing="ij")
    near = [np.exp(-(((x - cx) * size[1] / size[0]) ** 2 + (y - cy) ** 2) / 0.03) for cx, cy in places]
    return np.float32(np.array(near)[..., None] * np.linspace(0.5, 1.5, channels))


def a_pair(places, next_places):
    count = len(places)
    frames = [0.8 * blobs(at, channels=3) / 1.5 + 0.1 for at in (places, next_places)]
    return {
        "frame": frames[0],
        "next_frame": frames[1],
        "features": blobs(places),
        "next_features": blobs(next_places),
        "motion": np.tile(np.eye(2, 3, dtype="float32"), (count, 1, 1)),
    }


# -- the contract --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "learned"),
    [("known", KnownMotion, False), ("frames", FrameMotion, True), ("features", FeatureMotion, True)],
)
def test_one_contract(name, kind, learned):
    estimator = build_estimator(ModelConfig(estimator=name))
    assert type(estimator) is kind and isinstance(estimator, MotionEstimator) and estimator.learned is learned
    pair = a_pair([(0.1, 0.2), (-0.3, 0.0)], [(0.3, 0.2), (0.0, 0.1)])
    motion = estimator(pair)
    assert motion.shape == (2, 2, 3) and keras.backend.standardize_dtype(motion.dtype) == "float32"
    needed = {key: value for key, value in pair.items() if key in estimator.reads or not learned}
    np.testing.assert_array_equal(estimator(needed), motion)  # it looks at nothing else
    if learned:
        np.testing.assert_array_equal(estimator.refinements(pair)[-1], motion)
        assert np.any(np.abs(estimator({**needed, estimator.reads[1]: needed[estimator.reads[0]]}) - motion) > 1e-4)


def test_known_motion_must_be_given():
    pair = a_pair([(0.0, 0.0)], [(0.0, 0.0)])
    without, none = {key: value for key, value in pair.items() if key != "motion"}, {**pair, "motion": None}
    for ask in (lambda T: T(without), lambda T: T.call(none)):  # older Keras takes no None through a layer's door
        with pytest.raises(ValueError, match="'known' estimator needs the motion of each pair"):
            ask(KnownMotion())


# -- where learning starts -----------------------------------------------------------------------------------------


def test_a_shifted_blob_gives_its_shift():
    places, moved = [(0.1, 0.2), (-0.3, 0.0), (0.0, -0.4)], [(0.35, 0.2), (-0.5, 0.1), (0.0, 0.2)]
    motion = ops.convert_to_numpy(FeatureMotion()(a_pair(places, moved)))
    np.testing.assert_allclose(motion[:, :, :2], np.tile(np.eye(2), (3, 1, 1)), atol=FLOAT32)
    np.testing.assert_allclose(motion[:, :, 2], np.subtract(moved, places), atol=2e-3)
    assert motion[0, 0, 2] > 0.2  # forward: what went right has a positive x


@pytest.mark.parametrize("empty", [("features", "next_features"), ("features",), ("next_features",)], ids=len)
def test_without_a_character_there_is_no_motion(empty):
    pair = a_pair([(0.1, 0.2)], [(0.4, 0.2)])
    motion = FeatureMotion()({**pair, **{key: 0 * pair[key] for key in empty}})
    np.testing.assert_allclose(motion, affine.identity(1), atol=FLOAT32)


def test_a_faint_haze_is_no_character():
    """A map of an empty frame is not quite empty: its coverage is never quite 0."""
    haze = np.float32(np.random.default_rng(1).uniform(0, 0.005, (2, *SIZE, 4)))
    pair = {"features": haze[:1], "next_features": haze[1:]}
    np.testing.assert_allclose(FeatureMotion()(pair), affine.identity(1), atol=1e-4)
    small = np.zeros((1, *SIZE, 4), "float32")
    small[0, 10:13, 14:17] = 0.9  # 1 % of the frame
    mass = energy_box(small).mass
    assert float(presence(mass, mass)[0]) > 0.99


def test_the_frames_estimator_starts_near_the_identity():
    keras.utils.set_random_seed(0)
    estimator = FrameMotion(width=8)
    still = a_pair([(0.1, 0.2)], [(0.1, 0.2)])
    np.testing.assert_allclose(estimator(still), affine.identity(1), atol=FLOAT32)
    np.testing.assert_allclose(estimator(a_pair([(0.1, 0.2)], [(0.4, 0.2)])), affine.identity(1), atol=0.2)


def test_what_the_head_finds_is_in_the_characters_own_square():
    """A head that always says `half a box to the right` moves by half a box, three times over."""
    estimator, pair = FeatureMotion(steps=1), a_pair([(0.1, 0.2)], [(0.1, 0.2)])
    estimator(pair)
    estimator.out.bias.assign([0, 0, 0.5, 0, 0, 0])
    motion = ops.convert_to_numpy(estimator(pair))
    square = ops.convert_to_numpy(energy_box(pair["features"]).frame_from_crop)
    np.testing.assert_allclose(motion[0, 0, 2], 0.5 * square[0, 0, 0], rtol=0.01)
    np.testing.assert_allclose(motion[0, 1, 2], 0.0, atol=1e-4)


# -- where the energy is, and motions to learn from ----------------------------------------------------------------


def test_the_energy_of_one_cell_and_of_a_known_spread():
    cell = np.zeros((1, *SIZE, 2), "float32")
    cell[0, 5, 8] = (3, 4)
    centre, radius, mass, _ = energy_box(cell)
    np.testing.assert_allclose(centre[0], [17 / 36 - 1, 11 / 24 - 1], atol=1e-4)
    assert float(radius[0]) < 2e-3 and float(mass[0]) == pytest.approx(25 / (24 * 36), rel=1e-4)
    cell[0, 5, 20], cell[0, 5, 8] = (5, 0), (3, 4)  # the same energy 12 cells to the right
    centre, radius, _, _ = energy_box(cell)
    np.testing.assert_allclose(centre[0], [29 / 36 - 1, 11 / 24 - 1], atol=1e-4)
    assert float(radius[0]) == pytest.approx(6 * 2 / 24 / 2**0.5, rel=1e-3)  # in units of half the height


def test_random_motions_land_in_the_frame():
    centre = np.float32(np.random.default_rng(0).uniform(-0.9, 0.9, (500, 2)))
    key = keras.random.SeedGenerator(3)
    motions = random_motions(key, centre, ASPECT)
    landed = ops.convert_to_numpy(affine.transform_points(motions, centre[:, None]))[:, 0]
    assert np.abs(landed).max() <= 0.7 + FLOAT32 and np.abs(landed).max() > 0.65
    linear = ops.convert_to_numpy(affine.to_square(motions, ASPECT))[:, :, :2]
    size = np.sqrt(np.linalg.det(linear))
    turn = np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    assert 0.6 < size.min() < 0.8 and 1.2 < size.max() < 1.6
    assert turn.min() < -0.55 and turn.max() > 0.55 and abs(turn.mean()) < 0.1
    again = random_motions(keras.random.SeedGenerator(3), centre, ASPECT)
    np.testing.assert_array_equal(again, motions)
    assert np.abs(random_motions(key, centre, ASPECT) - motions).max() > 0.1


# -- learning ------------------------------------------------------------------------------------------------------


def test_the_features_estimator_learned_from_its_labels(run, trained, scene):
    """What training on the drawn scene made of it: the label loss, and motions that no label showed it."""
    from eqvid_tf.data.clips import open_clip

    history = label_losses(run)
    assert history[-1] < 0.5 * history[0], history
    clip = open_clip(scene)
    frames = clip.arrays(trained.config.canvas).astype("float32") / 255
    found = ops.convert_to_numpy(trained.estimate_motion(frames[:-4], frames[4:])[0])
    true = np.tile(np.eye(3), (len(found), 1, 1))
    steps = np.concatenate([clip.motion(), np.tile([[[0, 0, 1]]], (len(frames) - 1, 1, 1))], 1)
    for k in range(4):
        true = steps[k : k + len(found)] @ true
    true = true[:, :2]
    assert np.abs(found - true).mean() < 0.4 * np.abs(true - np.eye(2, 3)).mean()
    for axis in (0, 1):
        assert np.corrcoef(found[:, axis, 2], true[:, axis, 2])[0, 1] > 0.9


def label_losses(run):
    """The label loss that TensorBoard shows, in order."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "logs"))
    events.Reload()
    return [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("label_loss")]
