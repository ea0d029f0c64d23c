"""What many tests share: a drawn scene, and a model really trained on it. Both are small and made once."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import eqvid_tf  # noqa: F401, I001 - before TensorFlow, which reads what it sets once, when it is imported
import keras
import pytest
import tensorflow as tf

from eqvid_tf.config import Config, ModelConfig, TrainConfig
from eqvid_tf.data.clips import open_clip
from eqvid_tf.synthetic.scenes import write_scenes
from eqvid_tf.model_folder import load
from eqvid_tf.training.train import configure, train

RECIPE = {
    "first": {"seed": 3, "size": [32, 48], "frames": 24, "resolution": 64},
    "second": {"seed": 4, "size": [32, 48], "frames": 24, "resolution": 64},
}


gc.set_threshold(100_000, 20, 100)  # graphs are many small objects: looking through them all takes seconds
# TensorFlow's graph rewrites take 5 of the 20 seconds that a training step needs to start, and gain nothing at the sizes
# of these tests. Commands that run in a process of their own have them.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing is read from, or written to, the cache folder of the user who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_policy():
    """A precision policy that a test sets ends with it."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """A scene folder of 24 frames, 48 x 32, with shots; beside it its neighbour, `second`. Not to be written to."""
    return write_scenes(tmp_path_factory.mktemp("scenes"), RECIPE, shots=2)[0]


@pytest.fixture(scope="session")
def run(scene, tmp_path_factory):
    """A model folder trained on `scene` until its masks and motions are of use; the log is in log.txt beside it.

    Not to be written to: copy it first.
    """
    folder, lines = tmp_path_factory.mktemp("run") / "model", []
    clip = open_clip(scene, cache=None)
    settings = Config(model=ModelConfig(width=8), train=TrainConfig(steps=360, batch_size=6, keep_frames=True))
    train(configure(settings, [clip]), [clip], folder, log=lines.append)
    (folder.parent / "log.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def trained(run):
    """The model of `run`."""
    return load(run)
