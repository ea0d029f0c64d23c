"""A camera whose exposure answers to the character: its light is told from the background, and the background is the empty scene's."""

import numpy as np
import pytest

from eqvid_tf import light


@pytest.fixture
def clip():
    """A room of 24 x 32 in which a dark character of 8 x 8 stands from the fourth to the last but one of 16 frames."""
    room = np.random.default_rng(0).uniform(60, 160, (24, 32, 3)).astype(np.float32)
    frames, masks = np.repeat(room[None], 16, 0), np.zeros((16, 24, 32), np.uint8)
    masks[3:15, 8:16, 10:18] = 255
    frames[masks > 0] = 20
    return room, frames, masks


def test_a_drifting_light_is_told_relative_to_the_empty_scene(clip):
    """Brighter by 12 % while the character is there: gains of 1.12 then and of 1 before and after it, within 0.5 %."""
    room, frames, masks = clip
    true = np.where(masks.any((1, 2)), 1.12, 1.0)[:, None, None, None]
    found = light.drift(np.uint8(frames * true + 0.5), masks, room * 1.12)
    np.testing.assert_allclose(found, np.broadcast_to(true, found.shape), atol=5e-3)


def test_a_light_that_stays_is_left_alone(clip):
    """A dark character that comes and goes is no change of light."""
    room, frames, masks = clip
    assert light.drift(np.uint8(frames + 0.5), masks, room) is None
