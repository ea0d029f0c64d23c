"""What no frame shows of a background: found where someone moves on the spot, and filled in with its texture."""

import cv2
import numpy as np
import pytest

from eqvid_tf.pixels.inpainting import inpaint
from eqvid_tf.separation.rest import first_background
from eqvid_tf.separation.unseen import without_unseen
from eqvid_tf.synthetic.backgrounds import draw_background

SIZE, COUNT = (64, 64), 24
SHIRT = 230, 40, 160


def bricks() -> np.ndarray:
    picture = np.full((*SIZE, 3), 180, np.uint8)
    for row, top in enumerate(range(0, SIZE[0], 8)):
        for left in range(-8 * (row % 2), SIZE[1], 16):
            picture[top + 1 : top + 8, max(left + 1, 0) : left + 16] = (150, 80, 60)
    return picture


def swinging(background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames [T, H, W, 3] of someone who swings his arms on the spot, and where he is in every one, [H, W]."""
    frames, masks = [], []
    for angle in np.sin(np.linspace(0, 4 * np.pi, COUNT)):
        frame, lean = background.copy(), int(round(2 * angle))
        for side in (-1, 1):
            hand = 32 + side * 18, int(28 + 14 * angle * side)
            cv2.line(frame, (32 + side * 5, 24), hand, SHIRT, 5)
        cv2.rectangle(frame, (26 + lean, 20), (38 + lean, 50), SHIRT, -1)
        frames.append(frame)
        masks.append((frame != background).any(-1))
    return np.stack(frames), np.all(masks, 0)


@pytest.mark.parametrize("background", [bricks(), np.full((*SIZE, 3), 120, np.uint8)], ids=["bricks", "plain"])
def test_who_moves_on_the_spot_is_no_background(background):
    frames, hidden = swinging(background)
    found = first_background(frames)
    wrong = np.abs(found - background).max(-1)
    assert wrong[~hidden].max() < 12
    assert np.mean(wrong[hidden] < 40) > 0.9
    assert np.abs(found - SHIRT).max(-1).min() > 60  # not a trace of him


def test_where_everything_was_seen_nothing_is_unseen():
    background = draw_background(3, SIZE)
    frames = np.repeat(background[None], COUNT, 0)
    for frame, x in zip(frames, np.linspace(2, 50, COUNT).astype(int)):
        frame[24:40, x : x + 10] = SHIRT
    found = first_background(frames)
    assert without_unseen(frames, found) is found
    assert np.abs(found - background).max() < 1


def test_a_texture_goes_on_in_a_hole():
    picture, hole = bricks().astype(np.float32), np.zeros(SIZE, bool)
    hole[20:44, 24:40] = True
    spoilt = np.where(hole[..., None], 0, picture)
    filled = inpaint(spoilt, hole)
    np.testing.assert_array_equal(filled[~hole], picture[~hole])
    assert np.mean(np.abs(filled - picture).max(-1)[hole] < 20) > 0.9
    np.testing.assert_array_equal(inpaint(spoilt, ~hole & hole), spoilt)
    np.testing.assert_array_equal(inpaint(spoilt, hole | ~hole), spoilt)
