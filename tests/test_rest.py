"""The first background where a character rests for most of a clip, and a median believes it."""

import numpy as np

from eqvid_tf.pixels.resampling import resize
from eqvid_tf.separation.background import median_background
from eqvid_tf.separation.rest import first_background

SIZE, COUNT = (48, 64), 24


def smooth_picture(seed: int, size: tuple[int, int], least: int, most: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(least, most, (4, 5, 3)).astype(np.float32)
    return resize(coarse, size).clip(0, 255).astype(np.uint8)


BACKGROUND = smooth_picture(0, SIZE, 90, 150)
RED, BLUE = smooth_picture(1, (12, 12), 180, 255), smooth_picture(2, (8, 10), 0, 50)


def film(red_path, blue_path) -> np.ndarray:
    frames = np.repeat(BACKGROUND[None], COUNT, 0).copy()
    for frame, red, blue in zip(frames, red_path, blue_path):
        for picture, (x, y) in ((RED, red), (BLUE, blue)):
            frame[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return frames


def error(background: np.ndarray) -> float:
    """Grey levels, the largest."""
    return float(np.abs(background - BACKGROUND).max())


def path(*points) -> np.ndarray:
    """Straight lines between (frame, x, y)."""
    frames, xs, ys = zip(*points)
    return np.stack([np.interp(range(COUNT), frames, at).round().astype(int) for at in (xs, ys)], -1)


def test_what_comes_to_rest_while_another_moves_is_no_background():
    frames = film(path((0, 2, 2), (6, 40, 24), (23, 40, 24)), path((0, 4, 38), (23, 50, 4)))
    assert error(median_background(frames)) > 50
    assert error(first_background(frames)) < 6


def test_what_rests_first_and_goes_away_is_no_background():
    frames = film(path((0, 40, 24), (16, 40, 24), (23, 2, 2)), path((0, 4, 38), (23, 50, 4)))
    assert error(median_background(frames)) > 50
    assert error(first_background(frames)) < 6


def test_where_a_median_is_right_it_is_kept():
    frames = film(path((0, 2, 2), (23, 50, 30)), path((0, 50, 2), (23, 2, 38)))
    noisy = np.clip(frames + np.random.default_rng(1).normal(0, 2, frames.shape), 0, 255).round().astype(np.uint8)
    median = median_background(noisy)
    np.testing.assert_array_equal(first_background(noisy), median)
    assert error(median) < 6
