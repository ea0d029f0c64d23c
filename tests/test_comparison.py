"""The comparison with the scissors: what classical code around the networks is worth without them."""

from eqvid_tf.config import Config, ModelConfig
from eqvid_tf.data.clips import open_clip
from eqvid_tf.evaluation.comparison import evaluate
from eqvid_tf.training.train import configure, new_model, prepare


def test_untrained_weights_lose_to_the_scissors(scene, tmp_path):
    """With the clips' medians in memory, as at the start of training: the rest is the networks' to learn."""
    clips = [open_clip(folder, cache=None) for folder in (scene, scene.parent / "second")]
    config = configure(Config(model=ModelConfig(width=4)), clips)
    model = new_model(config, prepare(clips, (32, 48), print).backgrounds)
    cards, _ = evaluate(model, [scene], tmp_path, cache=None)
    ours, theirs = cards["eqvid"].mean, cards["scissors"].mean
    assert ours["iou"] < theirs["iou"] and ours["move_char"] < theirs["move_char"], (ours, theirs)
    assert ours["corner_px"] > theirs["corner_px"], (ours, theirs)
