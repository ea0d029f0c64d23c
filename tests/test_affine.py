"""Geometry by exact cases, and the laws of the group as properties."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from eqvid_tf.core import affine

FLOAT32 = 2e-5
FLOAT64 = 1e-11
few = settings(max_examples=12, derandomize=True, deadline=None)

part = st.floats(-0.5, 0.5)
parts = st.fixed_dictionaries(
    {
        "shift": st.tuples(part, part),
        "turn": st.floats(-2.5, 2.5),
        "zoom": st.floats(0.4, 2.5),
        "shear": part,
        "aspect": st.floats(0.5, 2.0),
        "centre": st.tuples(part, part),
    }
)


@st.composite
def motions(draw, dtype="float64"):
    return affine.build(**{name: np.asarray(value, dtype) for name, value in draw(parts).items()})


def close(one, other, tolerance=FLOAT64):
    assert one.dtype == other.dtype
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


# -- exact cases --------------------------------------------------------------------------------------------------


def test_identity_has_a_batch_if_asked():
    assert affine.identity().numpy().tolist() == [[1, 0, 0], [0, 1, 0]]
    assert affine.identity(3).shape == (3, 2, 3)


def test_shift_moves_right_and_down():
    moved = affine.transform_points(affine.build(shift=(0.5, 0.25)), [[0.0, 0.0], [-1.0, 0.5]])
    assert moved.numpy().tolist() == [[0.5, 0.25], [-0.5, 0.75]]


def test_quarter_turn_is_clockwise_on_the_screen():
    """y is down: what pointed right points down, what pointed down points left."""
    quarter = affine.build(turn=math.pi / 2)
    close(affine.transform_points(quarter, [[1.0, 0.0], [0.0, 1.0]]), tf.constant([[0.0, 1.0], [-1.0, 0.0]]), 1e-6)


def test_quarter_turn_on_a_wide_frame_keeps_lengths_in_pixels():
    """On 40x20 pixels, 5 pixels to the right of the centre become 5 pixels below it."""
    quarter = affine.build(turn=math.pi / 2, aspect=2.0)
    close(affine.transform_points(quarter, [[5 / 20, 0.0]]), tf.constant([[0.0, 5 / 10]]), 1e-6)


def test_centre_stays_but_for_the_shift():
    motion = affine.build(turn=1.0, zoom=2.0, shear=0.3, aspect=1.7, centre=(0.3, -0.2), shift=(0.1, 0.0))
    close(affine.transform_points(motion, [[0.3, -0.2]]), tf.constant([[0.4, -0.2]]), 1e-6)


def test_build_broadcasts_its_parts():
    motion = affine.build(shift=np.zeros((4, 1, 2)), turn=np.zeros(3), aspect=1.5)
    assert motion.shape == (4, 3, 2, 3)


def test_compose_does_the_first_first():
    shift, zoom = affine.build(shift=(1.0, 0.0)), affine.build(zoom=2.0)
    assert affine.compose(zoom, shift).numpy().tolist() == [[2, 0, 2], [0, 2, 0]]
    assert affine.compose(shift, zoom).numpy().tolist() == [[2, 0, 1], [0, 2, 0]]


def test_square_coordinates_are_units_of_half_the_height():
    shift = affine.to_square(affine.build(shift=(0.5, 0.5)), 3.0)
    assert shift[:, 2].numpy().tolist() == [1.5, 0.5]


def test_a_turn_goes_between_aspects_without_shear():
    turned = affine.build(turn=0.7, zoom=1.2, aspect=1.5)
    close(affine.to_square(turned, 1.5), affine.build(turn=0.7, zoom=1.2), 1e-6)
    close(affine.from_square(affine.to_square(turned, 1.5), 0.6), affine.build(turn=0.7, zoom=1.2, aspect=0.6), 1e-6)


def test_lists_arrays_and_half_floats_come_out_as_float32():
    for motion in ([[1, 0, 0], [0, 1, 0]], np.eye(2, 3, dtype="float16"), tf.eye(2, 3, dtype=tf.bfloat16)):
        assert affine.invert(motion).dtype == tf.float32
    assert affine.compose(np.eye(2, 3), affine.identity()).dtype == tf.float64


# -- laws of the group ----------------------------------------------------------------------------------------------


@few
@given(motions(), motions(), motions())
def test_compose_is_associative(a, b, c):
    close(affine.compose(affine.compose(a, b), c), affine.compose(a, affine.compose(b, c)))


@few
@given(motions())
def test_inverse_takes_back_from_both_sides(a):
    nothing = tf.cast(affine.identity(), tf.float64)
    close(affine.compose(affine.invert(a), a), nothing)
    close(affine.compose(a, affine.invert(a)), nothing)


@few
@given(motions(), motions())
def test_points_follow_the_composition(a, b):
    points = np.array([[0.0, 0.0], [1.0, -1.0], [0.3, 0.7]])
    close(
        affine.transform_points(affine.compose(a, b), points),
        affine.transform_points(a, affine.transform_points(b, points)),
    )


@few
@given(motions(), motions())
def test_square_is_a_change_of_coordinates(a, b):
    aspect = 1.6
    close(affine.from_square(affine.to_square(a, aspect), aspect), a)
    close(
        affine.to_square(affine.compose(a, b), aspect),
        affine.compose(affine.to_square(a, aspect), affine.to_square(b, aspect)),
    )


# -- logarithm, exponential, powers -----------------------------------------------------------------------------------


def rooted(draw_parts):
    """A motion that has a logarithm: some strong shears on top of a strong turn have none."""
    return affine.build(**{name: np.float64(value) for name, value in (draw_parts | {"shear": 0.1}).items()})


@few
@given(parts, st.floats(-1.0, 2.0))
def test_exp_takes_back_log(drawn, t):
    motion = rooted(drawn)
    close(affine.exp(affine.log(motion)), motion)
    close(affine.power(motion, 1.0), motion)
    close(affine.power(motion, -1.0), affine.invert(motion))
    half = affine.power(motion, 0.5)
    close(affine.compose(half, half), motion)
    close(affine.compose(affine.power(motion, t), affine.power(motion, 1.0 - t)), motion, 1e-9)


@few
@given(parts)
def test_log_takes_back_exp(drawn):
    log_motion = affine.log(rooted(drawn))
    close(affine.log(affine.exp(log_motion)), log_motion)


def test_half_of_a_turn_about_a_centre_is_about_that_centre():
    whole = affine.build(turn=2.0, zoom=4.0, centre=(0.3, 0.1))
    close(affine.power(whole, 0.5), affine.build(turn=1.0, zoom=2.0, centre=(0.3, 0.1)), FLOAT32)


def test_power_takes_a_batch_of_times():
    path = affine.power(affine.build(shift=(1.0, 0.0)), np.linspace(0, 1, 5))
    np.testing.assert_allclose(path[:, 0, 2], np.linspace(0, 1, 5), atol=FLOAT32)


@pytest.mark.parametrize(
    "linear",
    [
        [[1, 0], [0, 1]],  # a shift alone
        [[1, 0.5], [0, 1]],  # a shear: equal eigenvalues, not diagonal
        [[2, 0], [0, 1]],  # one eigenvalue of 1
        [[2, 0], [0, 2]],
        [[1 + 1e-9, 1e-9], [-1e-9, 1 - 1e-9]],  # near the identity
        [[1, 1e-7], [1e-9, 1]],  # eigenvalues that nearly coincide
        [[0, -1], [1, 0]],  # a quarter turn: no trace
        [[math.cos(3.141), -math.sin(3.141)], [math.sin(3.141), math.cos(3.141)]],  # close to a half turn
        [[1e-2, 0], [0, 50]],
    ],
    ids=["shift", "shear", "stretch", "zoom", "small", "near", "quarter", "nearly half", "strong"],
)
def test_log_is_right_where_its_formula_is_delicate(linear):
    motion = tf.constant(np.concatenate([linear, [[0.3], [-0.2]]], axis=1))
    log_motion = affine.log(motion)
    outside = by_definition(np.vstack([log_motion, np.zeros(3)]))[:2]
    np.testing.assert_allclose(outside, motion, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(affine.exp(log_motion), motion, rtol=1e-11, atol=1e-12)


def by_definition(matrix):
    """The exponential of a matrix as the sum of its series, of a 256th of it, squared eight times; no library's."""
    term = total = np.eye(len(matrix))
    for order in range(1, 20):
        term = term @ matrix / 256 / order
        total = total + term
    return np.linalg.matrix_power(total, 256)


def test_small_motions_keep_their_digits_in_float32():
    log_motion = affine.log(affine.build(shift=(1e-6, 0.0)))
    np.testing.assert_allclose(affine.exp(log_motion)[0, 2], 1e-6, rtol=1e-6)


def test_exp_has_the_right_gradient_in_a_graph_also_at_the_identity():
    for start in (np.zeros((2, 3)), np.array([[0.1, -0.9, 0.3], [0.8, 0.2, -0.4]])):
        step, upstream = np.random.default_rng(1).normal(size=(2, 2, 3))

        @tf.function
        def slope(at, upstream=upstream):
            with tf.GradientTape() as tape:
                tape.watch(at)
                value = tf.reduce_sum(affine.exp(at) * upstream)
            return tape.gradient(value, at)

        numeric = np.sum(upstream * (affine.exp(start + 1e-6 * step) - affine.exp(start - 1e-6 * step))) / 2e-6
        np.testing.assert_allclose(np.sum(slope(tf.constant(start)) * step), numeric, rtol=1e-7)


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("motion", "why"),
    [
        (affine.build(turn=math.pi), "half turn"),
        ([[-2.0, 0.0, 0.0], [0.0, -1.0, 0.0]], "half turn"),
        ([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "orientation"),
        ([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]], "orientation"),
        ([[math.nan, 0.0, 0.0], [0.0, 1.0, 0.0]], "nan"),
    ],
    ids=["half turn", "uneven half turn", "reflection", "singular", "nan"],
)
def test_log_refuses_in_one_line(motion, why):
    with pytest.raises(ValueError, match=why) as refusal:
        affine.log(motion)
    assert "\n" not in str(refusal.value)
