"""The comparison with the scissors: what classical code around the networks is worth without them."""

import pytest

from eqvid_tf.data.clips import open_clip
from eqvid_tf.evaluation.comparison import evaluate
from eqvid_tf.model_folder import read_config
from eqvid_tf.training.train import new_model, prepare


@pytest.fixture
def untrained(run, lent, scene):
    """The trained model with weights as at the start of its training, and the clip's median in memory."""
    backgrounds = prepare([open_clip(scene)], (32, 48), print).backgrounds
    lent.set_weights(new_model(read_config(run), backgrounds).get_weights())
    return lent


def test_untrained_weights_lose_to_the_scissors(untrained, scene, tmp_path):
    """The rest is the networks' to learn."""
    cards, _ = evaluate(untrained, [scene], tmp_path, cache=None)
    ours, theirs = cards["eqvid"].mean, cards["scissors"].mean
    assert ours["iou"] < theirs["iou"] and ours["move_char"] < theirs["move_char"], (ours, theirs)
    assert ours["corner_px"] > theirs["corner_px"], (ours, theirs)
