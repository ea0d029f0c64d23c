"""Model folders and SavedModels: the signatures, the numbers without this package, and whole folders or none."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from eqvid_tf.config import FORMAT, Config, ModelConfig
from eqvid_tf.core import affine
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.output import OutputError
from eqvid_tf.model_folder import load, read_config, write_model
from eqvid_tf.serving.saved_model import export

FLOAT32 = 1e-5
FRAME, MOTION, FEATURES = (None, None, None, 3), (None, 2, 3), (None, None, None, 11)
FILE = (None,)  # encoded pictures, a string each; every other tensor is float32
TRANSFER = ({"frame": FRAME, "next_frame": FRAME, "target_frame": FRAME}, {"frame", "motion", "confidence"})
RENDER = ({"character_frame": FRAME, "background_frame": FRAME, "motion": MOTION}, {"frame"})
SIGNATURES = {
    "render": RENDER,
    "render_image": (
        {"character_frame_bytes": FILE, "background_frame_bytes": FILE, "motion": MOTION},
        {"frame_bytes"},
    ),
    "render_features": ({"character_features": FEATURES, "background_features": FEATURES, "motion": MOTION}, {"frame"}),
    "separate": ({"frame": FRAME}, {"character", "background", "mask"}),
    "encode_character": ({"frame": FRAME}, {"features"}),
    "encode_background": ({"frame": FRAME}, {"features"}),
    "decode": ({"features": FEATURES}, {"frame"}),
}
LEARNED = {"transfer": TRANSFER, "estimate_motion": ({"frame": FRAME, "next_frame": FRAME}, {"motion", "confidence"})}


def check_signatures(folder, expected, default):
    signatures = tf.saved_model.load(str(folder)).signatures
    assert set(signatures) == {*expected, "serving_default"}
    for name, (inputs, outputs) in {**expected, "serving_default": default}.items():
        arguments, given = signatures[name].structured_input_signature
        assert not arguments
        assert {key: (tuple(spec.shape), spec.dtype) for key, spec in given.items()} == {
            key: (shape, tf.string if shape == FILE else tf.float32) for key, shape in inputs.items()
        }, name
        assert set(signatures[name].structured_outputs) == outputs, name
        for key, spec in signatures[name].structured_outputs.items():
            assert spec.dtype == (tf.string if key.endswith("_bytes") else tf.float32), name


# -- the SavedModel ------------------------------------------------------------------------------------------------


def test_signatures(run):
    check_signatures(run / "1", {**SIGNATURES, **LEARNED}, TRANSFER)


def test_bare_networks_that_estimate_have_the_same_signatures(tmp_path):
    check_signatures(
        export(EquivariantVideoModel(ModelConfig(structure="plain", width=4)), tmp_path),
        {**SIGNATURES, **LEARNED},
        TRANSFER,
    )


STRANGER = """
import json, sys

for name in ("eqvid_tf", "keras", "tf_keras"):
    sys.modules[name] = None        # from now on `import` of it raises ImportError
import numpy as np
import tensorflow as tf
folder, work = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
made = {}
for key, inputs in json.load(open(work + "/jobs.json")).items():
    arrays = np.load(work + "/inputs.npz")
    outputs = signatures[key.split(":")[0]](**{name: tf.constant(arrays[entry]) for name, entry in inputs.items()})
    made |= {key + "/" + name: value.numpy() for name, value in outputs.items()}
np.savez(work + "/outputs.npz", **made)
assert sys.modules["eqvid_tf"] is sys.modules["keras"] is None
"""


def answers(model, arrays):
    """What the Python model gives for each job: of one batch at the canvas's size, and of another at an odd size."""
    jobs, expected = {}, {}

    def ask(signature, place, outputs, **inputs):
        key = f"{signature}:{place}"
        jobs[key] = inputs
        expected.update({f"{key}/{name}": np.asarray(value) for name, value in outputs.items()})

    for place in ("whole", "odd"):
        x, x2, motion = (arrays[f"{place}_{name}"] for name in ("frame", "next", "motion"))
        for name, value in (("fx", model.f(x)), ("hx", model.h(x2))):
            arrays[f"{place}_{name}"] = np.asarray(value)
        x_, x2_, motion_, fx, hx = (f"{place}_{name}" for name in ("frame", "next", "motion", "fx", "hx"))
        transfer = dict(zip(("frame", "motion", "confidence"), model.transfer(x, x2, x2)))
        for signature in ("transfer", "serving_default"):
            ask(signature, place, transfer, frame=x_, next_frame=x2_, target_frame=x2_)
        ask(
            "estimate_motion",
            place,
            dict(zip(("motion", "confidence"), model.estimate_motion(x, x2))),
            frame=x_,
            next_frame=x2_,
        )
        ask(
            "render",
            place,
            {"frame": model.render(x, x2, motion)},
            character_frame=x_,
            background_frame=x2_,
            motion=motion_,
        )
        ask(
            "render_features",
            place,
            {"frame": model.render_features(arrays[fx], arrays[hx], motion)},
            character_features=fx,
            background_features=hx,
            motion=motion_,
        )
        ask("separate", place, dict(zip(("character", "background", "mask"), model.separate(x))), frame=x_)
        ask("encode_character", place, {"features": model.f(x)}, frame=x_)
        ask("encode_background", place, {"features": model.h(x)}, frame=x_)
        ask("decode", place, {"frame": np.clip(model.g(arrays[fx]), 0, 1)}, features=fx)
    return jobs, expected


def test_a_process_without_this_package_gives_the_same_numbers(run, trained, tmp_path):
    rng, arrays = np.random.default_rng(0), {}
    for place, shape in (("whole", (3, 32, 48, 3)), ("odd", (1, 27, 21, 3))):
        arrays[f"{place}_frame"], arrays[f"{place}_next"] = rng.uniform(size=(2, *shape)).astype("float32")
        arrays[f"{place}_motion"] = np.asarray(
            affine.build(shift=rng.uniform(-0.3, 0.3, (shape[0], 2)), turn=0.3), "float32"
        )
    jobs, expected = answers(trained, arrays)
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    np.savez(tmp_path / "inputs.npz", **arrays)
    paths = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, run / "1", tmp_path],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=paths,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = np.load(tmp_path / "outputs.npz")
    assert set(made.files) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(made[key], value, atol=FLOAT32, rtol=FLOAT32, err_msg=key)


def test_stock_ops_alone(run):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.python.framework import op_def_registry

    graph = SavedModel.FromString((run / "1" / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    ops = {node.op for node in nodes} - functions
    assert len(ops) > 20
    python = {op for op in ops if "PyFunc" in op or "Python" in op or "Xla" in op}
    assert not python, python
    unknown = {op for op in ops if op_def_registry.get(op) is None}
    assert not unknown, unknown


# -- known motion, and writing over what is there ------------------------------------------------------------------


@pytest.fixture(scope="module")
def known():
    keras.utils.set_random_seed(0)
    return EquivariantVideoModel(ModelConfig(estimator="known", width=4, canvas=(16, 24)))


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class Full(OSError):
    """A disk that fills up in the middle of writing."""

    @classmethod
    def after(cls, write):
        def failing(*args, **kwargs):
            write(*args, **kwargs)
            raise cls(28, "No space left on device")

        return failing


def test_a_known_model_has_nothing_to_estimate_and_is_replaced_whole(known, tmp_path, monkeypatch):
    export(known, tmp_path)
    check_signatures(tmp_path / "1", SIGNATURES, RENDER)
    (tmp_path / "1" / "old").touch()
    before = listing(tmp_path)
    monkeypatch.setattr("eqvid_tf.serving.saved_model.endpoints", few(known))
    with monkeypatch.context() as patch:
        patch.setattr(tf.saved_model, "save", Full.after(tf.saved_model.save))
        with pytest.raises(Full):
            export(known, tmp_path)
        assert listing(tmp_path) == before  # the old one is still there, and no half of a new one
    assert export(known, tmp_path) == tmp_path / "1"
    assert listing(tmp_path) == [name for name in before if name != "1/old"]
    assert set(tf.saved_model.load(str(tmp_path / "1")).signatures) == {"decode", "serving_default"}


def few(model):
    """One endpoint, which is exported in a moment."""
    from eqvid_tf.serving.saved_model import endpoints

    one = {"decode": endpoints(model)["decode"]}
    return lambda model: one


METRICS = {"steps": 3, "seconds": 1.0, "device": "CPU", "losses": {"loss": 1.0}, "verdict": []}


def test_a_folder_is_whole_when_model_keras_is_there(known, tmp_path, monkeypatch):
    monkeypatch.setattr("eqvid_tf.serving.saved_model.endpoints", few(known))
    config = Config(model=known.config, clips=("walk",))
    with monkeypatch.context() as patch:
        patch.setattr(EquivariantVideoModel, "save", Full.after(EquivariantVideoModel.save))
        with pytest.raises(Full):
            write_model(known, config, METRICS, tmp_path)
    assert not [name for name in listing(tmp_path) if name.startswith(".")], "a draft was left"
    with pytest.raises(OutputError, match="there is no model.keras"):
        load(tmp_path)
    write_model(known, config, METRICS, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "metrics.json",
        "README.md",
        "1",
        "model.keras",
    }
    assert read_config(tmp_path) == config and json.loads((tmp_path / "metrics.json").read_text()) == METRICS
    card = (tmp_path / "README.md").read_text()
    assert "walk" in card and "3 steps" in card and "`known`" in card
    again = load(tmp_path)
    for a, b in zip(known.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)


# -- folders that are refused ----------------------------------------------------------------------------------------


def test_what_is_no_model_folder_is_refused_in_one_line(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "model", ignore=shutil.ignore_patterns("1", "logs"))
    config, model = folder / "config.json", folder / "model.keras"
    whole = json.loads(config.read_text())

    def refusal():
        with pytest.raises(OutputError) as caught:
            load(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    config.write_text(json.dumps({**whole, "format": FORMAT + 1}))
    assert f"format {FORMAT + 1} is newer than this package reads" in refusal()
    config.write_text(json.dumps({**whole, "colour": 1}))
    assert "has no colour" in refusal()
    config.write_text("{")
    assert "config.json" in refusal()
    config.write_text(json.dumps(whole))
    model.write_bytes(model.read_bytes()[:1000])
    assert "model.keras: " in refusal()
    model.unlink()
    assert "there is no model.keras" in refusal()
    config.rename(folder / "checkpoint.json")
    assert "Go on with eqvid train --resume" in refusal()
    (folder / "checkpoint.json").unlink()
    assert "this is no model folder" in refusal()
