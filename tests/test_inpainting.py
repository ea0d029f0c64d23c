"""A hole in a picture is filled in with its texture."""

import numpy as np

from eqvid_tf.pixels.inpainting import inpaint

SIZE = (64, 64)


def bricks() -> np.ndarray:
    picture = np.full((*SIZE, 3), 180, np.uint8)
    for row, top in enumerate(range(0, SIZE[0], 8)):
        for left in range(-8 * (row % 2), SIZE[1], 16):
            picture[top + 1 : top + 8, max(left + 1, 0) : left + 16] = (150, 80, 60)
    return picture


def test_a_texture_goes_on_in_a_hole():
    picture, hole = bricks().astype(np.float32), np.zeros(SIZE, bool)
    hole[20:44, 24:40] = True
    spoilt = np.where(hole[..., None], 0, picture)
    filled = inpaint(spoilt, hole)
    np.testing.assert_array_equal(filled[~hole], picture[~hole])
    assert np.mean(np.abs(filled - picture).max(-1)[hole] < 20) > 0.9
    np.testing.assert_array_equal(inpaint(spoilt, ~hole & hole), spoilt)
    np.testing.assert_array_equal(inpaint(spoilt, hole | ~hole), spoilt)


def test_patches_of_another_tone_leave_no_edges():
    y, x, noise = *np.mgrid[:96, :128], np.random.default_rng(0).normal(0, 3, (96, 128))
    waves = 120 + 60 * np.sin(x / 17) + 40 * np.cos(y / 13) + noise
    picture = np.repeat(waves[..., None], 3, -1).astype(np.float32)
    hole = np.zeros(picture.shape[:2], bool)
    hole[24:72, 30:98] = True  # so large that patches are found on a smaller picture
    filled = inpaint(np.where(hole[..., None], 0, picture), hole)
    steps = lambda values: np.abs(np.diff(values[..., 0], axis=1))[25:71, 31:96]
    assert steps(filled).max() < 1.5 * steps(picture).max()
