"""What classical code around the networks is worth without them: it must not beat the scissors."""

from eqvid_tf.config import Config
from eqvid_tf.data.frames import open_clip
from eqvid_tf.evaluate import evaluate
from eqvid_tf.train import configure, look_at, start


def test_untrained_weights_lose_to_the_scissors(scene, tmp_path):
    """With the clips' medians in memory, as at the start of training: masks, motions and renders are the networks' to learn."""
    scenes = [scene, scene.parent / "second"]
    clips = [open_clip(folder, cache=None) for folder in scenes]
    model = start(configure(Config(), clips), look_at(clips, (32, 48), print).plates)
    cards, _ = evaluate(model, scenes, tmp_path, cache=None)
    ours, theirs = cards["eqvid"].mean, cards["scissors"].mean
    assert ours["iou"] < theirs["iou"] and ours["move_char"] < theirs["move_char"], (ours, theirs)
    assert ours["corner_px"] > theirs["corner_px"], (ours, theirs)
