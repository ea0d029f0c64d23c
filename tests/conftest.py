"""What many tests share: a drawn scene, and a model really trained on it. Both are small and made once."""

import gc
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# In the tests and in what they start: a second thread takes half as much processor time again for tensors this small.
os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
# What XLA compiles here runs once; without its emitters in 6 s what takes 11. At a flag that it does not know it ends.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + " --xla_cpu_use_fusion_emitters=false" * version("tensorflow").startswith("2.21."),
)

import eqvid_tf  # noqa: F401, I001 - before TensorFlow, which reads what it sets once, when it is imported
import keras
import numpy as np
import pytest
import tensorflow as tf

from eqvid_tf.config import Config, LossConfig, ModelConfig, ScheduleConfig, TrainConfig
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import write_png
from eqvid_tf.separation import motions, texture
from eqvid_tf.synthetic.scenes import write_scenes
from eqvid_tf.training import callbacks
from eqvid_tf.training.train import configure, train

RECIPE = {
    "first": {"seed": 3, "size": [32, 48], "frames": 24, "resolution": 64},
    "second": {"seed": 4, "size": [32, 48], "frames": 24, "resolution": 64},
}
# The training that many tests share: short, so the warm-up is, too, and T's labels count more.
SHARED = Config(
    model=ModelConfig(width=8),
    loss=LossConfig(label=1.0),
    train=TrainConfig(steps=128, batch_size=4, learning_rate=8e-3, keep_frames=True),
    schedule=ScheduleConfig(warm_up=10),
)

HEALTHY = {"share": 0.1, "ghost": 0.1, "travel": 1.0, "agreement": 1.0, "f_scale": 1.0, "h_scale": 1.0}  # symptoms
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = Path(__file__).parent / "npm"

gc.set_threshold(100_000, 20, 100)  # graphs are many small objects: looking through them all takes seconds
# TensorFlow's graph rewrites take 5 of the 20 seconds that a training step needs to start, and gain nothing for tensors
# this small. Commands that run in a process of their own have them.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_sessionfinish():
    gc.freeze()  # pytest has all that is left looked through five times at its end


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


def trace_faces(model):
    """Trace what a model does with frames once, for any number and size of them, and use that for few frames, too.

    Each new size would cost seconds, and a few frames step by step take a second each time.
    """
    frame, motion = tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 2, 3])
    graph = lambda face: face.__wrapped__.__get__(model, type(model))  # behind the look at its arguments
    graph(type(model).coverage).get_concrete_function(frame)  # and within it `separate`
    graph(type(model).render).get_concrete_function(frame, frame, motion)
    faces = ["coverage"]
    if model.T.learned:
        graph(type(model).estimate_motion).get_concrete_function(frame, frame)
        faces.append("estimate_motion")
    for name in faces:
        setattr(model, name, as_graph(getattr(model, name)))
    return model


def as_graph(face):
    """A face of a model that uses its graph even where functions are called step by step."""

    def traced(*frames):
        eager = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(False)
        try:
            return face(*frames)
        finally:
            tf.config.run_functions_eagerly(eager)

    return traced


class Keep(keras.callbacks.Callback):
    """Keeps hold of the model that is trained; its faces are traced before the training uses them."""

    kept = None

    def on_train_begin(self, logs=None):
        if not self.kept:
            self.kept = trace_faces(self.model)


@pytest.fixture(scope="session")
def training_run(scene, tmp_path_factory):
    """A model trained on `scene` until its masks and motions are of use, and its folder; log.txt is beside that."""
    folder, lines, keep = tmp_path_factory.mktemp("run") / "model", [], Keep()
    clip = open_clip(scene)
    train(configure(SHARED, [clip]), [clip], folder, callbacks=[keep], log=lines.append)
    (folder.parent / "log.txt").write_text("\n".join(lines))
    return keep.kept, folder


@pytest.fixture(scope="session")
def run(training_run):
    """The folder of the trained model. Not to be written to: copy it first."""
    return training_run[1]


@pytest.fixture(scope="session")
def trained(training_run):
    """The trained model; test_train.py says that its folder holds the same."""
    return training_run[0]


@pytest.fixture
def lent(trained):
    """The trained model, for a test that changes it; it is given back as it was."""
    weights, optimizer, steps = trained.get_weights(), trained.optimizer, trained.T.steps
    yield trained
    trained.optimizer, trained.run_eagerly, trained.T.steps = optimizer, False, steps
    trained.set_weights(weights)


@pytest.fixture
def few_frames(monkeypatch):
    """A walk cycle of a few pairs of frames, and textures from two of them: from all of a clip they take seconds."""
    monkeypatch.setattr(motions, "REFERENCES", 2)
    monkeypatch.setattr(texture, "MOST_FRAMES", 2)


@pytest.fixture
def untraced():
    """A model's faces run as they are written: to trace one takes longer than to use it once."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def write_clip(folder, frames):
    """A folder of frames, [T, h, w, 3] in [0, 255]."""
    for index, frame in enumerate(frames):
        write_png(folder / f"{index:05d}.png", np.clip(frame, 0, 255).astype(np.uint8))
    return folder


def step_by_step(monkeypatch, module):
    """Has a module compile its models to run without a graph: to trace a step takes longer than to do a few."""
    compile_model = module.compile_model
    monkeypatch.setattr(module, "compile_model", lambda model, train: briefly(compile_model(model, train)))


def undiagnosed(monkeypatch):
    """Has every model seem healthy while it is trained: to measure its symptoms takes longer than a step."""
    monkeypatch.setattr(callbacks, "symptoms", lambda *_: HEALTHY)


def briefly(model):
    """The model, to be trained for a few steps: without a graph, and with one refinement of each motion."""
    model.run_eagerly = True
    if model.T.learned:
        model.T.steps = 1
    return model


def until(page, expression, seconds=5):
    """Wait until it is true; by small steps from here, as the page lets no text be run as code."""
    for _ in range(round(seconds / 0.01)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"never true: {expression}")


def absent(reason: str) -> NoReturn:
    stop = pytest.fail if os.environ.get("EQVID_BROWSER_TESTS") == "required" else pytest.skip
    stop(reason)


def program(*names: str) -> str:
    return next(filter(None, map(shutil.which, names)), None) or absent(f"none of {', '.join(names)} is installed")


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory):
    """The packages of tests/npm, as their lock file has them."""
    npm, folder = program("npm"), tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        absent(f"npm cannot install what the test loads: {done.stderr.strip()}")
    return folder / "node_modules"


@pytest.fixture(scope="module")  # while it is open, its thread has an event loop
def chromium():
    """The Chromium that is installed, without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed: python -m pip install '.[browser-test]'")
    path = program(*BROWSERS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
