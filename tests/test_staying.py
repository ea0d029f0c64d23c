"""A body that the camera goes along with and that goes less than its own length: no median is free of it."""

import functools
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from eqvid_tf.camera.mosaic import ALWAYS, make_mosaic
from eqvid_tf.camera.staying import Occupied
from eqvid_tf.pixels.coordinates import box_from_frame
from eqvid_tf.separation.solo import moving_pixels
from eqvid_tf.synthetic.backgrounds import draw_background
from eqvid_tf.training.hints import first_hints

SIZE, COUNT = (72, 112), 24  # pixels, and frames
AXES = (26, 18)  # of a body, pixels: half its length and height


@functools.cache
def _filmed(step: float, sea: bool = False) -> SimpleNamespace:
    """A textured body that walks by a step of pixels a frame, in the middle of what the camera sees, on stones.

    Beside the frames, as a clip, and their matrices: the wide picture without the body, and the masks in it.
    """
    rng = np.random.default_rng(5)
    texture = lambda size, *range_: cv2.GaussianBlur(rng.uniform(*range_, (*size, 3)).astype(np.float32), (5, 5), 0)
    width = SIZE[1] + round(step * COUNT)
    ground, skin, waves = (texture((SIZE[0], width), *values) for values in ((0, 255), (60, 250), (0, 255)))
    skin[..., 2] *= 0.4
    frames, masks, lefts = [], [], [round(step * k) for k in range(COUNT)]
    for index, left in enumerate(lefts):
        mask = np.zeros(ground.shape[:2], np.uint8)
        cv2.ellipse(mask, (left + SIZE[1] // 2, SIZE[0] // 2), AXES, 0, 0, 360, 1, -1)
        moved = np.roll(skin, left, axis=1)
        behind = np.vstack([np.roll(waves, 5 * index * (-1) ** index, axis=1)[:40], ground[40:]]) if sea else ground
        whole = np.where(mask[..., None] > 0, moved, behind)
        frames.append((whole + rng.normal(0, 3, whole.shape))[:, left : left + SIZE[1]].clip(0, 255).astype(np.uint8))
        masks.append(mask > 0)
    clip = SimpleNamespace(count=COUNT, size=SIZE, native=lambda chosen: (frames[k] for k in chosen))
    matrices = np.stack([box_from_frame((SIZE[0], width), 0, left, *SIZE) for left in lefts])
    return SimpleNamespace(
        clip=clip, frames=frames, masks=np.stack(masks), ground=ground, matrices=np.linalg.inv(matrices)
    )


def _mosaic(film: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """The picture, float32, and the share of the frames in which a body hides a place."""
    mosaic = make_mosaic(film.clip, film.ground.shape[:2], film.matrices)
    return mosaic[..., :3].astype(np.float32), mosaic[..., 3]


def test_a_body_that_goes_less_than_its_length_leaves_the_mosaic_and_is_found_in_every_frame():
    film = _filmed(0.8)
    picture, share = _mosaic(film)
    always, hidden = share == ALWAYS, film.masks.all(0)
    assert _overlap(always, hidden) > 0.7
    assert np.median(np.abs(picture - film.ground)[~always & film.masks.any(0)]) < 5  # not the body's ghost
    frames = np.stack([_laid(frame, picture, round(0.8 * k)) for k, frame in enumerate(film.frames)])
    shows = np.broadcast_to(always, film.masks.shape)
    occupied = Occupied(background=picture, mostly=share > ALWAYS // 2, shows=shows)
    clip = SimpleNamespace(noise=6.0, travels=True, occupied=lambda canvas: occupied)
    moving = moving_pixels(clip, frames, picture)
    assert np.mean([_overlap(*pair) for pair in zip(moving, film.masks)]) > 0.85
    hints = first_hints(frames, 6.0, occupied)  # whose own background would be the body
    assert np.mean([_overlap(*pair) for pair in zip(hints.coverage > 0.5, film.masks)]) > 0.85


def test_a_body_that_leaves_its_place_stays_nowhere_and_neither_does_the_sea():
    assert not (_mosaic(_filmed(3.0))[1] == ALWAYS).any()
    film = _filmed(3.0, sea=True)
    picture, share = _mosaic(film)
    assert not (share == ALWAYS).any()
    assert np.median(np.abs(picture - film.ground)[44:]) < 5


def test_a_body_that_rests_for_most_of_a_pan_leaves_the_mosaic():
    ground = draw_background(3, (SIZE[0], SIZE[1] + COUNT), "hills").astype(np.float32)
    body = np.zeros(ground.shape[:2], np.uint8)
    cv2.ellipse(body, (70, 40), (8, 18), 0, 0, 360, 1, -1)
    there = np.where(body[..., None] > 0, (230, 40, 60), ground)
    rng = np.random.default_rng(6)
    rests = [4 <= k < 20 for k in range(COUNT)]
    whole = [(there if at_rest else ground) + rng.normal(0, 3, ground.shape) for at_rest in rests]
    frames = [picture[:, k : k + SIZE[1]].clip(0, 255).astype(np.uint8) for k, picture in enumerate(whole)]
    clip = SimpleNamespace(count=COUNT, size=SIZE, native=lambda chosen: (frames[k] for k in chosen))
    matrices = np.stack([box_from_frame(ground.shape[:2], 0, k, *SIZE) for k in range(COUNT)])
    mosaic = make_mosaic(clip, ground.shape[:2], np.linalg.inv(matrices))
    assert np.abs(mosaic[..., :3] - ground)[body > 0].mean() < 4
    share = mosaic[..., 3] / ALWAYS
    assert share[body > 0].mean() == pytest.approx(np.mean(rests), abs=0.05) and share[:, :40].max() == 0


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def _laid(frame: np.ndarray, picture: np.ndarray, left: int) -> np.ndarray:
    """A frame on the wide picture, as a stabilized clip shows it."""
    whole = picture.round().astype(np.uint8)
    whole[:, left : left + frame.shape[1]] = frame
    return whole
