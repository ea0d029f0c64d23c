"""A camera whose exposure answers to the character: its light is told from the background, and the background is the empty scene's."""

import numpy as np
import pytest

from eqvid_tf.separation import background as backgrounds
from eqvid_tf.separation import exposure


@pytest.fixture
def clip():
    """A room of 24 x 32 in which a dark character of 8 x 8 stands from the fourth to the last but one of 16 frames."""
    room = np.random.default_rng(0).uniform(60, 160, (24, 32, 3)).astype(np.float32)
    frames, masks = np.repeat(room[None], 16, 0), np.zeros((16, 24, 32), np.uint8)
    masks[3:15, 8:16, 10:18] = 255
    frames[masks > 0] = 20
    return room, frames, masks


def test_a_drifting_light_is_told_relative_to_the_empty_scene(clip):
    """Brighter by 12 %, and 10 levels lifted, while the character is there: that then, and nothing before and after it."""
    room, frames, masks = clip
    there = masks.any((1, 2))[:, None, None, None]
    found = exposure.exposure_drift(np.uint8(frames * (1 + 0.12 * there) + 10 * there + 0.5), room * 1.12 + 10)
    np.testing.assert_allclose(found[0], np.broadcast_to(1 + 0.12 * there, found[0].shape), atol=0.01)
    np.testing.assert_allclose(found[1], np.broadcast_to(10.0 * there, found[1].shape), atol=1.0)
    np.testing.assert_allclose(
        exposure.remove_exposure(exposure.apply_exposure(room, found), found),
        np.broadcast_to(room, frames.shape),
        atol=1e-3,
    )


def test_a_light_that_stays_is_left_alone(clip):
    """A dark character that comes and goes is no change of light."""
    room, frames, _ = clip
    assert exposure.exposure_drift(np.uint8(frames + 0.5), room) is None


def test_the_background_is_that_of_frames_in_its_own_light(clip):
    """Twelve frames of sixteen with a bent tone curve, levelled by a line: the four others decide, but for what they do not show."""
    room, frames, masks = clip
    bent = 255 * (frames / 255) ** 0.7
    there = masks.any((1, 2))
    filmed = np.uint8(np.where(there[:, None, None, None], bent, frames) + 0.5)
    masks = np.where(there[:, None, None], masks, 0).astype(np.uint8)
    found = exposure.exposure_drift(filmed, 255 * (room / 255) ** 0.7)
    masks[~there, :4] = 255  # never shown in the room's own light
    even = np.uint8(np.clip(exposure.remove_exposure(filmed, found) + 0.5, 0, 255))
    made = backgrounds.median_background(even, masks, exposure.exposure_trust(found))
    assert np.abs(made - room)[4:].max() <= 1
    assert 2 < np.abs(made - room)[:4].max() < 12  # as good as a line can tell it
