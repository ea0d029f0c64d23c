"""Model folders and SavedModels: the signatures, stock ops, and whole folders or none."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from eqvid_tf.config import FORMAT, Config, ModelConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.output import OutputError
from eqvid_tf.model_folder import load, read_config, write_model
from eqvid_tf.serving import saved_model
from eqvid_tf.serving.character_set import CharacterSet
from eqvid_tf.serving.saved_model import export

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


def check_signatures(specs, expected):
    """Signature -> (specs of its inputs by name, specs of its outputs by name) is as expected."""
    assert set(specs) == set(expected)
    for name, (inputs, outputs) in expected.items():
        given, made = specs[name]
        assert {key: (tuple(spec.shape), spec.dtype) for key, spec in given.items()} == {
            key: (shape, tf.string if shape == FILE else tf.float32) for key, shape in inputs.items()
        }, name
        if made is None:  # not traced
            continue
        assert set(made) == outputs, name
        for key, spec in made.items():
            assert spec.dtype == (tf.string if key.endswith("_bytes") else tf.float32), name


def specs_in(saved):
    """Signature -> specs, as a server reads them in the SavedModel."""
    graph = SavedModel.FromString((saved / "saved_model.pb").read_bytes()).meta_graphs[0]
    spec = lambda info: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
    specs = lambda infos: {name: spec(info) for name, info in infos.items()}
    return {
        name: (specs(signature.inputs), specs(signature.outputs))
        for name, signature in graph.signature_def.items()
        if name != "__saved_model_init_op"
    }


def specs_of(model, traced):
    """Signature -> specs, as a model offers them; the outputs of those that are to be traced."""
    offered = saved_model.endpoints(model)
    return {
        name: ({spec.name: spec for spec in signature.inputs}, offered[name].traced().structured_outputs)
        if name in traced
        else ({spec.name: spec for spec in signature.inputs}, None)
        for name, signature in offered.items()
    }


# -- the SavedModel ------------------------------------------------------------------------------------------------


def test_signatures(run):
    check_signatures(specs_in(run / "1"), {**SIGNATURES, **LEARNED, "serving_default": TRANSFER})


def test_bare_networks_that_estimate_have_the_same_signatures():
    bare = EquivariantVideoModel(ModelConfig(structure="plain", width=4))
    check_signatures(specs_of(bare, ("transfer", "separate", "encode_background")), {**SIGNATURES, **LEARNED})


def test_stock_ops_alone(run):
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


def test_several_characters_have_an_axis_of_their_own(untraced):
    """And `CharacterSet` gives what the signatures promise: masks that share f's, and only those that are shown."""
    keras.utils.set_random_seed(0)
    model = EquivariantVideoModel(ModelConfig(width=4, canvas=(16, 24)).with_clips([0, 0, 1]))
    offered = {name: {spec.name: spec.shape for spec in of.inputs} for name, of in saved_model.endpoints(model).items()}
    assert set(offered) == {*SIGNATURES, *LEARNED}
    assert offered["render"]["motion"] == [None, 3, 2, 3] and offered["render"]["shown"] == [None, 3]
    assert offered["render_features"]["character_features"] == [None, 3, None, None, 11]
    frame = np.random.default_rng(0).uniform(size=(2, 16, 24, 3)).astype("float32")
    characters = CharacterSet(model)
    character, background, mask, order, shown = characters.separate(frame)
    assert character.shape == (2, 3, 16, 24, 3) and background.shape == frame.shape
    np.testing.assert_allclose(np.sum(mask, 1), model.g.mask(model.f(frame), None), atol=1e-5)
    assert sorted(order[0].numpy().tolist()) == [0, 1, 2] and shown.numpy().tolist() == [[1, 1, 1]] * 2
    still = np.broadcast_to(np.eye(2, 3, dtype="float32"), (2, 3, 2, 3))
    nobody = characters.render(frame, frame, still, np.zeros((2, 3), "float32"))
    np.testing.assert_allclose(nobody, background, atol=1e-5)
    everybody = characters.render(frame, frame, still, np.ones((2, 3), "float32"))
    np.testing.assert_allclose(everybody, model.render(frame, frame, still[:, 0]), atol=1e-4)
    motion, confidence = characters.estimate_motion(frame, frame)
    assert motion.shape == (2, 3, 2, 3) and confidence.shape == (2, 3)
    alone, _ = model.estimate_motion(frame, frame, tf.constant(1))
    np.testing.assert_allclose(motion[:, 1], alone, atol=1e-4)


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
    check_signatures(specs_of(known, ("render",)), SIGNATURES)
    assert next(iter(saved_model.endpoints(known))) == "render"  # which becomes serving_default
    monkeypatch.setattr(saved_model, "endpoints", few(known))
    export(known, tmp_path)
    (tmp_path / "1" / "old").touch()
    before = listing(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(tf.saved_model, "save", Full.after(tf.saved_model.save))
        with pytest.raises(Full):
            export(known, tmp_path)
        assert listing(tmp_path) == before  # the old one is still there, and no half of a new one
    assert export(known, tmp_path) == tmp_path / "1"
    assert listing(tmp_path) == [name for name in before if name != "1/old"]
    decode = SIGNATURES["decode"]
    check_signatures(specs_in(tmp_path / "1"), {"decode": decode, "serving_default": decode})


def few(model):
    """One endpoint, which is exported in a moment."""
    one = {"decode": saved_model.endpoints(model)["decode"]}
    return lambda model: one


METRICS = {"steps": 3, "seconds": 1.0, "device": "CPU", "losses": {"loss": 1.0}, "verdict": []}


def test_a_folder_is_whole_when_model_keras_is_there(known, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "endpoints", few(known))
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
