"""The sampler: exact cases, both gradients against numbers and against an outside sampler, dtypes and shapes."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from eqvid_tf.core import affine
from eqvid_tf.core.sampler import SpatialTransformer, validity, warp
from eqvid_tf.testing import run_layer_test

FLOAT32 = 1e-5
GOLDEN = np.load(pathlib.Path(__file__).with_name("golden") / "resampler.npz")
CASES = sorted({key.split("/")[0] for key in GOLDEN.files if "/" in key})


def random_case(seed, size=(6, 9), batch=2, channels=3, dtype="float64"):
    """Features, theta and an upstream gradient; parts of the target lie outside."""
    rng = np.random.default_rng(seed)
    features, upstream = rng.normal(size=(2, batch, *size, channels))
    theta = np.eye(2, 3) + rng.normal(scale=0.3, size=(batch, 2, 3))
    return [tf.constant(value, dtype) for value in (features, theta, upstream)]


def gradients(features, theta, upstream, size=None, watch=(True, True), cubic=False):
    with tf.GradientTape() as tape:
        tape.watch([value for value, watched in zip((features, theta), watch) if watched])
        values = warp(features, theta, size, cubic)
    return tape.gradient(values, [features, theta], upstream)


def moved(features, motion):
    return warp(features, affine.invert(motion)[None]).numpy()


# -- exact cases ----------------------------------------------------------------------------------------------------

FRAME = np.random.default_rng(0).normal(size=(1, 6, 8, 3)).astype("float32")
SQUARE = FRAME[:, :, :6]


def test_no_motion_changes_nothing():
    for cubic in (False, True):
        np.testing.assert_allclose(warp(FRAME, affine.identity(1), cubic=cubic), FRAME, atol=FLOAT32)
    exact = FRAME.astype("float64")
    np.testing.assert_array_equal(warp(exact, affine.identity(1)), exact)


def test_forward_shift_by_two_pixels_moves_content_right_and_brings_in_zeros():
    carried = moved(FRAME, affine.build(shift=(2 * 2 / 8, 0.0)))
    np.testing.assert_allclose(carried[:, :, 2:], FRAME[:, :, :-2], atol=FLOAT32)
    np.testing.assert_array_equal(carried[:, :, :2], 0.0)


def test_forward_shift_by_one_pixel_moves_content_down():
    carried = moved(FRAME, affine.build(shift=(0.0, 2 / 6)))
    np.testing.assert_allclose(carried[:, 1:], FRAME[:, :-1], atol=FLOAT32)
    np.testing.assert_array_equal(carried[:, :1], 0.0)


def test_quarter_turn_is_clockwise():
    carried = moved(SQUARE, affine.build(turn=np.pi / 2))
    np.testing.assert_allclose(carried, np.rot90(SQUARE, k=-1, axes=(1, 2)), atol=FLOAT32)


def test_quarter_turn_of_a_wide_frame_turns_its_middle_square():
    carried = moved(FRAME, affine.build(turn=np.pi / 2, aspect=8 / 6))
    middle = np.rot90(FRAME[:, :, 1:7], k=-1, axes=(1, 2))
    np.testing.assert_allclose(carried[:, :, 1:7], middle, atol=FLOAT32)
    np.testing.assert_allclose(carried[:, :, [0, 7]], 0.0, atol=FLOAT32)


def test_half_a_pixel_over_the_edge_reads_half():
    """The outside is 0 from half a pixel beyond the last centre on, as in grid_sample with zero padding."""
    ones = tf.ones([1, 4, 4, 1])
    read = warp(ones, affine.build(shift=(2 * 0.25 / 4, 0.0))[None])[0, 1, :, 0]
    np.testing.assert_allclose(read, [1.0, 1.0, 1.0, 0.75], atol=FLOAT32)


def test_half_a_pixel_on_a_cubic_weighs_four_pixels():
    carried = warp(FRAME, affine.build(shift=(1 / 8, 0.0))[None], cubic=True)
    row = np.pad(FRAME, [[0, 0], [0, 0], [1, 2], [0, 0]])
    weighed = sum(weight * row[:, :, k : k + 8] for k, weight in enumerate((-1 / 16, 9 / 16, 9 / 16, -1 / 16)))
    np.testing.assert_allclose(carried, weighed, atol=FLOAT32)


def test_a_cubic_keeps_more_detail():
    """A fine wave, moved forth and back by a fraction of a pixel: what is left of it."""
    wave = np.sin(np.arange(48) * 2 * np.pi / 4.5)[None, None, :, None] * np.ones((1, 8, 1, 1), "float32")
    shift = affine.build(shift=(2 * 0.4 / 48, 0.0))[None]
    left = {}
    for cubic in (False, True):
        again = warp(warp(wave, shift, cubic=cubic), affine.invert(shift), cubic=cubic)
        left[cubic] = float(np.std(again[:, 3, 8:-8]) / np.std(wave[:, 3, 8:-8]))
    assert 1 - left[True] < 0.5 * (1 - left[False]), left


def test_doubling_the_size_reads_between_the_centres():
    ramp = np.arange(4.0, dtype="float32")[None, None, :, None] * np.ones((1, 4, 1, 1), "float32")
    read = warp(ramp, affine.identity(1), size=(8, 8))[0, 3, :, 0]
    np.testing.assert_allclose(read, [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 2.25], atol=FLOAT32)


def test_odd_size_reads_where_the_formula_says():
    """A ramp in x reads back its own coordinate, whatever the size of the target."""
    centres = (np.arange(16) + 0.5) * 2 / 16 - 1
    ramp = np.tile(centres[None, None, :, None], (1, 5, 1, 1))
    theta = affine.build(zoom=np.float64(0.5), shift=(0.1, 0.0))[None]
    read = warp(ramp, theta, size=(3, 7))[0, 1, :, 0]
    np.testing.assert_allclose(read, 0.5 * ((np.arange(7) + 0.5) * 2 / 7 - 1) + 0.1, atol=1e-12)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(st.integers(-4, 4), st.integers(-4, 4), st.integers(-4, 4), st.integers(-4, 4))
def test_two_warps_are_one_by_the_product(x1, y1, x2, y2):
    """warp(warp(z, a), b) = warp(z, a @ b), exactly so for whole pixels with room around the content."""
    frame = np.pad(FRAME, [[0, 0], [8, 8], [8, 8], [0, 0]])
    height, width = frame.shape[1:3]
    first, second = (affine.build(shift=(2 * x / width, 2 * y / height)) for x, y in ((x1, y1), (x2, y2)))
    twice = warp(warp(frame, first[None]), second[None])
    np.testing.assert_allclose(twice, warp(frame, affine.compose(first, second)[None]), atol=1e-4)


# -- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cubic", [False, True], ids=["bilinear", "cubic"])
@pytest.mark.parametrize("size", [None, (4, 11)], ids=["same size", "other size"])
@pytest.mark.parametrize("seed", range(3))
def test_both_gradients_are_those_of_small_differences(seed, size, cubic):
    features, theta, _ = random_case(seed)
    rng = np.random.default_rng(seed)
    upstream = rng.normal(size=warp(features, theta, size).shape)
    of_features, of_theta = gradients(features, theta, upstream, size, cubic=cubic)
    for of_value, at, other in ((of_features, features, theta), (of_theta, theta, features)):
        step = rng.normal(size=at.shape)
        order = slice(None) if at is features else slice(None, None, -1)
        up, down = (warp(*(at + sign * 1e-6 * step, other)[order], size, cubic) for sign in (1, -1))
        numeric = np.sum(upstream * (up - down)) / 2e-6
        np.testing.assert_allclose(np.sum(of_value * step), numeric, rtol=2e-7)


def test_features_gradient_is_the_exact_adjoint():
    features, theta, upstream = random_case(7)
    of_features, _ = gradients(features, theta, upstream)
    np.testing.assert_allclose(np.sum(of_features * features), np.sum(upstream * warp(features, theta)), rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 5, 32, 40])
def test_float32_agrees_with_float64(channels):
    """The forward pass has two forms, by dtype; and wide maps are spread in strips."""
    double = random_case(3, size=(16, 12), channels=channels)
    single = [tf.cast(value, tf.float32) for value in double]
    np.testing.assert_allclose(warp(*single[:2]), warp(*double[:2]), atol=FLOAT32)
    for one, other in zip(gradients(*single), gradients(*double)):
        np.testing.assert_allclose(one, other, rtol=FLOAT32, atol=FLOAT32 * np.abs(other).max())


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
def test_gradient_of_one_input_alone(compiled):
    case = random_case(5, dtype="float32")
    of_one = tf.function(gradients) if compiled else gradients
    of_features, of_theta = gradients(*case)
    features_alone, nothing = of_one(*case, watch=(True, False))
    np.testing.assert_array_equal(features_alone, of_features)
    assert nothing is None
    nothing, theta_alone = of_one(*case, watch=(False, True))
    np.testing.assert_array_equal(theta_alone, of_theta)
    assert nothing is None


def test_outside_gives_no_gradient():
    features, _, upstream = random_case(0)
    theta = affine.build(shift=np.full((2, 2), 9.0))
    for gradient in gradients(features, theta, upstream):
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize(("size", "cubic"), [(None, False), ((4, 11), True)], ids=["bilinear", "cubic, other size"])
def test_what_xla_compiles_gives_the_same(size, cubic):
    """It has neither kernel of the fast form: there are gathers and a segment sum instead."""
    features, theta, _ = random_case(2)
    upstream = tf.random.stateless_normal(warp(features, theta, size).shape, [0, 1], dtype=tf.float64)
    both = lambda *case: (warp(*case[:2], size, cubic), *gradients(*case, size, cubic=cubic))
    compiled = tf.function(both, jit_compile=True, autograph=False)(features, theta, upstream)
    for value, expected in zip(compiled, both(features, theta, upstream), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-12)


def test_same_inputs_give_the_same_bits():
    case = random_case(1, size=(32, 32), channels=20, dtype="float32")
    for one, other in zip(gradients(*case), gradients(*case)):
        np.testing.assert_array_equal(one, other)


# -- an outside sampler ---------------------------------------------------------------------------------------------


def golden(name):
    return {key.split("/")[1]: GOLDEN[key] for key in GOLDEN.files if key.startswith(name + "/")}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree_with_resampler(name):
    case = golden(name)
    size = case["values"].shape[1:3]
    features, theta = tf.constant(case["features"]), tf.constant(case["theta"])
    np.testing.assert_allclose(warp(features, theta, size), case["values"], atol=FLOAT32)
    of_features, of_theta = gradients(features, theta, case["upstream"], size)
    np.testing.assert_allclose(of_features, case["of_features"], atol=FLOAT32)
    np.testing.assert_allclose(of_theta, case["of_theta"], atol=FLOAT32 * np.abs(case["of_theta"]).max())


@pytest.mark.parametrize("key", ["bilinear", "dense"])
@pytest.mark.parametrize("name", CASES)
def test_interior_agrees_with_the_samplers_that_clamp(name, key):
    case = golden(name)
    if key in case:
        values = warp(case["features"], case["theta"], case["values"].shape[1:3]).numpy()
        np.testing.assert_allclose(values[case["interior"]], case[key][case["interior"]], atol=FLOAT32)


# -- dtypes and shapes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(6, 9), (4, 11)], ids=["same size", "other size"])
@pytest.mark.parametrize("seed", range(3))
def test_coverage_is_the_warp_of_ones_and_so_is_its_gradient(seed, size):
    features, theta, _ = random_case(seed)
    ones, upstream = (
        tf.ones_like(features[..., :1]),
        tf.random.stateless_normal([2, *size, 1], [seed, 1], dtype=tf.float64),
    )
    _, expected = gradients(ones, theta, upstream, size)
    with tf.GradientTape() as tape:
        tape.watch(theta)
        covered = validity(theta, (6, 9), size)
    np.testing.assert_allclose(covered, warp(ones, theta, size), atol=1e-12)
    np.testing.assert_allclose(tape.gradient(covered, theta, upstream), expected, atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_half_features_keep_their_dtype_and_whole_geometry(dtype, tolerance):
    frame = tf.cast(np.random.default_rng(2).uniform(size=(1, 4, 512, 2)), dtype)
    theta = affine.build(shift=(2 * 200.5 / 512, 0.0))[None]
    read = warp(frame, theta)
    assert read.dtype == dtype
    np.testing.assert_allclose(tf.cast(read, tf.float32), warp(tf.cast(frame, tf.float32), theta), atol=tolerance)
    of_features, of_theta = gradients(frame, theta, tf.ones_like(frame))
    assert (of_features.dtype, of_theta.dtype) == (dtype, tf.float32)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_layer_keeps_theta_in_float32_under_a_mixed_policy(policy):
    frame = np.random.default_rng(2).uniform(size=(1, 4, 512, 2)).astype("float32")
    theta = affine.build(shift=(2 * 200.5 / 512, 0.0))[None]
    read = SpatialTransformer(dtype=policy)(frame, theta)
    assert read.dtype == keras.DTypePolicy(policy).compute_dtype
    np.testing.assert_allclose(tf.cast(read, tf.float32), warp(frame, theta), atol=2e-2)


@pytest.mark.parametrize("cubic", [False, True], ids=["bilinear", "cubic"])
def test_all_sizes_may_be_free(cubic):
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 2, 3]), tf.TensorSpec([2], tf.int32)]

    @tf.function(input_signature=signature)
    def free(features, theta, size):
        with tf.GradientTape() as tape:
            tape.watch([features, theta])
            values = warp(features, theta, tf.unstack(size), cubic)
        return values, *tape.gradient(values, [features, theta])

    for batch, size, target in ((2, (5, 7), (5, 7)), (1, (8, 3), (4, 9)), (0, (4, 4), (2, 2)), (1, (1, 1), (3, 3))):
        features, theta, _ = random_case(0, size, batch, dtype="float32")
        values, *slopes = free(features, theta, tf.constant(target))
        assert values.shape == (batch, *target, 3)
        for slope, expected in zip(slopes, gradients(features, theta, tf.ones_like(values), target, cubic=cubic)):
            np.testing.assert_allclose(slope, expected, atol=1e-4)


def test_static_shape_is_known():
    @tf.function(input_signature=[tf.TensorSpec([None, 6, 8, 3]), tf.TensorSpec([None, 2, 3])])
    def partly_free(features, theta):
        values = warp(features, theta)
        assert values.shape.as_list() == [None, 6, 8, 3]
        return values

    partly_free(FRAME, affine.identity(1))


def test_saved_model_takes_any_size(tmp_path):
    module = tf.Module()
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 2, 3])]
    module.warp = tf.function(warp, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path))
    revived = tf.saved_model.load(str(tmp_path))
    for size in ((5, 7), (8, 4)):
        features, theta, _ = random_case(0, size, dtype="float32")
        np.testing.assert_allclose(revived.warp(features, theta), module.warp(features, theta), atol=FLOAT32)
        np.testing.assert_allclose(revived.warp(features, theta), warp(features, theta), atol=FLOAT32)


def test_diverged_theta_gives_nan_and_no_error():
    for value in (np.nan, np.inf):
        theta = affine.identity(1) * tf.constant([[value, 1.0, 1.0], [1.0, 1.0, 1.0]])
        assert np.all(np.isnan(warp(FRAME, theta)))


def test_layer_passes_the_suite():
    theta = affine.build(shift=[[0.1, 0.2]] * 2, turn=0.3).numpy()
    frames = np.random.default_rng(0).uniform(size=(2, 6, 8, 3)).astype("float32")
    run_layer_test(SpatialTransformer, {}, (frames, theta), expected_output_shape=(2, 6, 8, 3))
    run_layer_test(
        SpatialTransformer, {"size": (5, 4), "cubic": True}, (frames, theta), expected_output_shape=(2, 5, 4, 3)
    )


@pytest.mark.parametrize(
    ("features", "theta", "message"),
    [
        (FRAME[0], np.zeros((1, 2, 3)), r"^features must be \[batch, height, width, channels\]; received \(6, 8, 3\)"),
        (FRAME, np.zeros((1, 6)), r"^theta must be \[batch, 2, 3\] .*; received \(1, 6\)"),
        (FRAME, np.zeros((2, 2, 3)), r"^theta must be \[batch, 2, 3\] .*; received \(2, 2, 3\)"),
    ],
    ids=["no batch", "flat theta", "other batch"],
)
def test_wrong_shapes_are_refused_in_one_line(features, theta, message):
    with pytest.raises(ValueError, match=message) as refusal:
        warp(features, theta)
    assert "\n" not in str(refusal.value)
