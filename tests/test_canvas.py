"""The canvas: aspect kept, edges exact, the identity where nothing is to be done."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqvid_tf.pixels.canvas import canvas_for, canvas_from_clip, fit, fit_box, unfit
from eqvid_tf.pixels.resampling import resize

SIDES = st.integers(1, 700)
SIZES = st.tuples(SIDES, SIDES)


@settings(max_examples=50)
@given(SIZES, st.integers(8, 256), st.sampled_from([1, 8, 16]))
def test_canvas_follows_the_aspect(size, image_size, multiple):
    canvas = canvas_for(size, image_size, multiple)
    assert all(side % multiple == 0 and side >= multiple for side in canvas)
    assert abs(min(canvas) - image_size) <= multiple / 2
    assert (canvas[0] <= canvas[1]) == (size[0] <= size[1]) or canvas[0] == canvas[1]
    wanted = min(max(size) / min(size), 2.5)
    assert abs(max(canvas) - wanted * image_size) <= multiple / 2 + 1e-6


@settings(max_examples=50)
@given(SIZES, st.tuples(st.integers(8, 200), st.integers(8, 200)))
def test_box_keeps_the_aspect_inside_the_canvas(size, canvas):
    top, left, height, width = fit_box(size, canvas)
    assert height == canvas[0] or width == canvas[1]  # no smaller than need be
    assert 0 <= top <= canvas[0] - height - top <= top + 1  # centred
    assert 0 <= left <= canvas[1] - width - left <= left + 1
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    assert abs(height - scale * size[0]) <= 1 and abs(width - scale * size[1]) <= 1


@settings(max_examples=50)
@given(SIZES, st.tuples(st.integers(8, 200), st.integers(8, 200)))
def test_canvas_coordinates_put_edges_on_edges(size, canvas):
    top, left, height, width = fit_box(size, canvas)
    corners = canvas_from_clip(size, canvas) @ np.array([[-1, 1], [-1, 1], [1, 1]])
    pixels = (corners[:2] + 1) / 2 * np.array([[canvas[1]], [canvas[0]]])
    np.testing.assert_allclose(pixels, [[left, left + width], [top, top + height]], atol=1e-9)


@pytest.mark.parametrize("channels", [(), (1,), (3,), (5,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_same_size_is_the_identity(channels, dtype):
    array = (np.random.default_rng(0).random((40, 56, *channels)) * 255).astype(dtype)
    fitted = fit(array, (40, 56))
    assert fitted.dtype == dtype
    np.testing.assert_array_equal(fitted, array)
    np.testing.assert_array_equal(unfit(array, (40, 56), (40, 56)), array)
    np.testing.assert_array_equal(canvas_from_clip((40, 56), (40, 56)), np.eye(3))


@pytest.mark.parametrize("channels", [(), (1,), (3,), (5,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_fit_and_unfit_of_any_channels(channels, dtype):
    y, x = np.mgrid[:60, :90] / 90
    smooth = 0.5 + 0.4 * np.sin(3 * x) * np.cos(2 * y)
    array = np.broadcast_to(smooth.reshape(60, 90, *[1] * len(channels)), (60, 90, *channels))
    array = np.rint(array * 255).astype(np.uint8) if dtype == np.uint8 else array.astype(np.float32)
    fitted = fit(array, (48, 48))
    assert fitted.shape == (48, 48, *channels) and fitted.dtype == dtype
    assert not fitted[:8].any() and not fitted[40:].any() and (fitted[8:40] > 0).all()
    back = unfit(fitted, (60, 90), (48, 48))
    assert back.shape == array.shape and back.dtype == dtype
    np.testing.assert_allclose(back / np.float32(1), array, atol=2 if dtype == np.uint8 else 2 / 255)


def test_whole_pixels_average_and_masks_stay_in_range():
    checks = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((8, 8))).astype(np.float32)
    assert np.abs(resize(checks, (4, 4)) - 0.5).max() < 0.02  # antialiased
    large = resize(checks, (100, 100), "bicubic")
    assert large.min() >= 0 and large.max() <= 1  # cubic overshoot is cut off
    half = resize(np.float64(checks), (32, 32), "box")
    np.testing.assert_array_equal(half, checks[::2, ::2])


def test_unfit_wants_the_canvas():
    with pytest.raises(ValueError, match=r"array must be \[64, 64\] high and wide; received \(64, 32\)"):
        unfit(np.zeros((64, 32)), (10, 10), (64, 64))
