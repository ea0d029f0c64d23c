"""A camera whose exposure reacts to the character: it is fitted, and the background is that of the empty scene."""

import numpy as np
import pytest

from eqvid_tf.separation.background import median_background
from eqvid_tf.separation.exposure import clip_exposure


@pytest.fixture
def clip():
    """A room of 24 x 32 in which a dark character of 8 x 8 stands from the fourth to the last but one of 16 frames."""
    room = np.random.default_rng(0).uniform(60, 160, (24, 32, 3)).astype(np.float32)
    frames, coverage = np.repeat(room[None], 16, 0), np.zeros((16, 24, 32), np.float32)
    coverage[3:15, 8:16, 10:18] = 1
    frames[coverage > 0] = 20
    return room, frames, coverage


def test_an_exposure_that_drifts_is_relative_to_the_empty_scene(clip):
    """Brighter by 12 %, and 10 levels lifted, while the character is present; nothing before and after."""
    room, frames, coverage = clip
    present = coverage.any((1, 2))[:, None, None, None]
    found = clip_exposure(np.uint8(frames * (1 + 0.12 * present) + 10 * present + 0.5), room * 1.12 + 10)
    assert found.drifts
    np.testing.assert_allclose(found.gain, np.broadcast_to(1 + 0.12 * present, found.gain.shape), atol=0.01)
    np.testing.assert_allclose(found.offset, np.broadcast_to(10.0 * present, found.offset.shape), atol=1.0)
    for index in (0, 8):
        np.testing.assert_allclose(found.remove(found.apply(room, index), index), room, atol=1)
    assert found.trust[0] > 0.9 and found.trust[8] < 0.01


def test_an_exposure_that_stays_is_left_alone(clip):
    """A dark character that comes and goes is no change of exposure."""
    room, frames, _ = clip
    found = clip_exposure(np.uint8(frames + 0.5), room)
    assert not found.drifts and (found.trust == 1).all() and len(found.trust) == len(frames)
    frame = frames[4]
    assert found.remove(frame, 4) is frame and found.apply(room, 4) is room


def test_frames_in_the_exposure_of_the_background_decide(clip):
    """Twelve frames of sixteen have a bent tone curve, which a line removes roughly: the others decide."""
    room, frames, coverage = clip
    bent = 255 * (frames / 255) ** 0.7
    present = coverage.any((1, 2))
    filmed = np.uint8(np.where(present[:, None, None, None], bent, frames) + 0.5)
    found = clip_exposure(filmed, 255 * (room / 255) ** 0.7)
    coverage[~present, :4] = 1  # never visible in the room's own exposure
    even = np.stack([found.remove(frame, index) for index, frame in enumerate(filmed)])
    made = median_background(even, coverage, found.trust)
    assert np.abs(made - room)[4:].max() <= 1
    assert 2 < np.abs(made - room)[:4].max() < 12  # as exact as a line is
