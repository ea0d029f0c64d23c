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
