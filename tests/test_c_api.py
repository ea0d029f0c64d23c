"""SavedModels in other hands: TensorFlow without this package, its C API, saved_model_cli, the warm-up file, pictures.

Of a model trained here every signature is tried, of each one that ships those that render.
"""

import contextlib
import functools
import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.tools import saved_model_cli

from eqvid_tf.core import affine
from eqvid_tf.model_folder import CHECKOUT, folders_on, read_config
from eqvid_tf.serving.client import encode_png

SOURCE = Path(__file__).parent / "saved_model.c"
LIBRARIES = Path(tf.sysconfig.get_lib())
FLOAT32 = 1e-5
RUN_LIMIT_S = 120
STILL = np.eye(2, 3, dtype=np.float32)
SHIPPED = pytest.mark.parametrize("shipped", folders_on(CHECKOUT), ids=lambda folder: folder.name)
INPUTS = {  # signature -> input -> which of the arrays it gets
    "transfer": {"frame": "frame", "next_frame": "next", "target_frame": "next"},
    "estimate_motion": {"frame": "frame", "next_frame": "next"},
    "render": {"character_frame": "frame", "background_frame": "next", "motion": "motion"},
    "render_features": {"character_features": "fx", "background_features": "hx", "motion": "motion"},
    "separate": {"frame": "frame"},
    "encode_character": {"frame": "frame"},
    "encode_background": {"frame": "frame"},
    "decode": {"features": "fx"},
}


@functools.cache
def signatures_of(folder: Path):
    """The signatures of a model folder's SavedModel in this process."""
    return tf.saved_model.load(str(folder / "1")).signatures


def signature_defs(folder: Path) -> dict:
    """Signature -> the names of its tensors in the graph."""
    return SavedModel.FromString((folder / "1/saved_model.pb").read_bytes()).meta_graphs[0].signature_def


def warm_up_requests(folder: Path) -> dict:
    """Signature -> its request in the warm-up file, arrays by input name."""
    logs = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="tensorflow-serving-api is not installed"
    )
    file, requests = folder / "1/assets.extra/tf_serving_warmup_requests", {}
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = logs.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log" and not log.FindInitializationErrors() and len(record) < 2000
        inputs = log.predict_log.request.inputs
        signature = log.predict_log.request.model_spec.signature_name
        requests[signature] = {name: tf.make_ndarray(value) for name, value in inputs.items()}
    return requests


# -- without this package ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arrays(trained):
    """The inputs of two places: one frame of the canvas's size, and a batch of an odd size."""
    rng, arrays = np.random.default_rng(0), {}
    for place, shape in (("whole", (1, 32, 48, 3)), ("odd", (2, 27, 21, 3))):
        frame, next_frame = rng.uniform(size=(2, *shape)).astype("float32")
        motion = np.asarray(affine.build(shift=rng.uniform(-0.3, 0.3, (shape[0], 2)), turn=0.3), "float32")
        maps = {"fx": np.asarray(trained.f(frame)), "hx": np.asarray(trained.h(next_frame))}
        arrays[place] = {"frame": frame, "next": next_frame, "motion": motion, **maps}
    return arrays


def estimates_of(model, frame, next, **_) -> dict:
    """What the Python model gives for the signatures that estimate a motion."""
    return {
        "transfer": dict(zip(("frame", "motion", "confidence"), model.transfer(frame, next, next))),
        "estimate_motion": dict(zip(("motion", "confidence"), model.estimate_motion(frame, next))),
    }


def inputs_of(signature: str, values: dict) -> dict:
    """A signature's inputs, of the arrays of a place."""
    return {name: values[key] for name, key in INPUTS[signature].items()}


def answers_of(model, frame, next, motion, fx, hx) -> dict:
    """What it gives for the others."""
    return {
        "render": {"frame": model.render(frame, next, motion)},
        "render_features": {"frame": model.render_features(fx, hx, motion)},
        "separate": dict(zip(("character", "background", "mask"), model.separate(frame))),
        "encode_character": {"features": model.f(frame)},
        "encode_background": {"features": model.h(frame)},
        "decode": {"frame": np.clip(model.g(fx), 0, 1)},
    }


STRANGER = """
import json, pickle, sys

for name in ("eqvid_tf", "keras", "tf_keras"):
    sys.modules[name] = None        # from now on `import` of it raises ImportError
import tensorflow as tf
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # see conftest.py
folder, work = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
with open(work + "/jobs", "rb") as file:
    jobs = pickle.load(file)
made = {}
for key, inputs in jobs.items():
    outputs = signatures[key[0]](**{name: tf.constant(value) for name, value in inputs.items()})
    made[key] = {name: value.numpy() for name, value in outputs.items()}
with open(work + "/outputs", "wb") as file:
    pickle.dump(made, file)
assert sys.modules["eqvid_tf"] is sys.modules["keras"] is None
"""


@pytest.fixture(scope="module")
def stranger(run, arrays, tmp_path_factory):
    """(signature, place) -> outputs, made by a process that has neither this package nor Keras."""
    jobs = {(name, place): inputs_of(name, values) for place, values in arrays.items() for name in INPUTS}
    jobs |= {(signature, "warm-up"): inputs for signature, inputs in warm_up_requests(run).items()}
    work = tmp_path_factory.mktemp("stranger")
    (work / "jobs").write_bytes(pickle.dumps(jobs))
    command = [sys.executable, "-c", STRANGER, run / "1", work]
    paths = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=work, env=paths)
    assert done.returncode == 0, done.stderr[-3000:]
    return pickle.loads((work / "outputs").read_bytes())


def near(made: dict, expected: dict, name: str) -> None:
    assert set(made) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(made[key], value, atol=FLOAT32, rtol=FLOAT32, err_msg=f"{name}/{key}")


def test_a_process_without_this_package_gives_the_same_numbers(trained, arrays, stranger):
    expected = {place: answers_of(trained, **values) for place, values in arrays.items()}
    expected["odd"] |= estimates_of(trained, **arrays["odd"])  # of frames of the canvas's size in test_serving
    assert set(expected["odd"]) == set(INPUTS)
    for place, answers in expected.items():
        for signature, outputs in answers.items():
            near(stranger[signature, place], outputs, f"{signature}, {place}")


# -- without Python ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled C program."""
    if not shutil.which("gcc"):
        pytest.skip(reason="there is no gcc to build the C program with")
    if not (LIBRARIES / "libtensorflow_cc.so.2").is_file():
        pytest.skip(reason="this TensorFlow has no libtensorflow_cc.so.2 to link against")
    path = tmp_path_factory.mktemp("c") / "saved_model"
    fast = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []  # 2 s for a library of 1 GB, where ld takes 10
    words = ["gcc", *fast, "-std=gnu11", "-O1", "-Wall", "-Werror", SOURCE, "-o", path]
    words += [f"-I{tf.sysconfig.get_include()}", f"-L{LIBRARIES}", f"-Wl,-rpath,{LIBRARIES}"]
    words += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", "-Wl,--allow-shlib-undefined"]
    built = subprocess.run(words, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return path


def job(signature, values: dict, place: Path, number: int) -> tuple[str, dict]:
    """The lines of one run, and output name -> the file its numbers go to."""
    lines, files = [], {}
    for name, info in signature.inputs.items():
        operation, index = info.name.split(":")
        file, value = place / f"{number}-in-{name}", values[name]
        value.tofile(file)
        lines.append(f"in {operation} {index} {file} {value.ndim} {' '.join(map(str, value.shape))}")
    for name, info in signature.outputs.items():
        operation, index = info.name.split(":")
        files[name] = place / f"{number}-out-{name}"
        lines.append(f"out {operation} {index} {files[name]}")
    return "\n".join([*lines, "run"]), files


def check_c_api(program, folder: Path, inputs: dict, expected: dict, place: Path) -> None:
    """The C program gives the expected numbers for signature -> inputs, and serves them after a wrong request."""
    defs = signature_defs(folder)
    jobs = {signature: job(defs[signature], values, place, k) for k, (signature, values) in enumerate(inputs.items())}
    wrong, _ = job(defs["separate"], {"frame": np.full((1, 32, 48, 3), np.nan, np.float32)}, place, len(jobs))
    (place / "jobs").write_text("\n".join([wrong, *(text for text, _ in jobs.values())]))
    command = [program, folder / "1", place / "jobs"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=RUN_LIMIT_S)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"{len(jobs) + 1} runs, 1 failed\n" and "frame must be finite" in done.stderr
    for signature, (_, files) in jobs.items():
        values = {key: np.asarray(value) for key, value in expected[signature].items()}
        made = {key: np.fromfile(file, np.float32).reshape(values[key].shape) for key, file in files.items()}
        near(made, values, signature)


def test_the_c_api_gives_the_same_numbers_and_survives_a_wrong_request(program, run, arrays, stranger, tmp_path):
    of_tensors = {
        name
        for name, signature in signature_defs(run).items()
        if signature.inputs and all(info.dtype == tf.float32 for info in signature.inputs.values())
    }
    assert of_tensors == {*INPUTS, "serving_default"}
    assert set(signature_defs(run)) - of_tensors == {"render_image", "__saved_model_init_op"}
    aliases = {"serving_default": "transfer"} | {name: name for name in set(INPUTS) - {"transfer", "estimate_motion"}}
    inputs = {name: inputs_of(alias, arrays["odd"]) for name, alias in aliases.items()}  # transfer estimates, too
    check_c_api(program, run, inputs, {name: stranger[alias, "odd"] for name, alias in aliases.items()}, tmp_path)


@SHIPPED
def test_the_c_api_serves_what_ships(program, shipped, arrays, tmp_path):
    inputs = inputs_of("render", arrays["whole"])
    expected = signatures_of(shipped)["render"](**{name: tf.constant(value) for name, value in inputs.items()})
    check_c_api(program, shipped, {"render": inputs}, {"render": expected}, tmp_path)


# -- TensorFlow Serving's own files and tools ----------------------------------------------------------------------


def check_warm_up(folder: Path) -> None:
    """The warm-up file holds a request for each signature that fits it, of frames of the canvas's size."""
    defs, requests, canvas = signature_defs(folder), warm_up_requests(folder), read_config(folder).model.canvas
    assert set(requests) == set(defs) - {"serving_default", "__saved_model_init_op"}
    for signature, inputs in requests.items():
        assert set(inputs) == set(defs[signature].inputs)
        for name, value in inputs.items():
            info = defs[signature].inputs[name]
            spec = tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
            assert len(value) == 1 and spec.is_compatible_with(tf.constant(value)), name
            assert name != "frame" or value.shape == (1, *canvas, 3)


def test_the_warm_up_requests_fit_and_are_answered(run, stranger):
    check_warm_up(run)
    answers = {signature: outputs for (signature, place), outputs in stranger.items() if place == "warm-up"}
    assert set(answers) == set(warm_up_requests(run))
    assert all(len(value) == 1 for outputs in answers.values() for value in outputs.values())


@SHIPPED
def test_the_warm_up_requests_of_what_ships_fit(shipped):
    check_warm_up(shipped)


def test_saved_model_cli_shows_and_runs_it(run, arrays, stranger, tmp_path, monkeypatch, capsys):
    def cli(*words):
        monkeypatch.setattr(sys, "argv", ["saved_model_cli", *map(str, words)])
        with contextlib.suppress(SystemExit):
            saved_model_cli.main()
        return capsys.readouterr().out

    np.save(tmp_path / "frame.npy", arrays["whole"]["frame"])
    text = cli("show", "--dir", run / "1", "--all")
    for name in (*INPUTS, "render_image", "serving_default"):
        assert f"signature_def['{name}']" in text
    assert "shape: (-1, -1, -1, 3)" in text and "DT_STRING" in text
    words = ("--tag_set", "serve", "--signature_def", "separate", "--inputs", f"frame={tmp_path}/frame.npy")
    cli("run", "--dir", run / "1", *words, "--outdir", tmp_path / "out")
    for name, value in stranger["separate", "whole"].items():
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}.npy"), value, atol=FLOAT32)


@pytest.mark.parametrize(
    "folder", [None, *folders_on(CHECKOUT)], ids=lambda folder: folder.name if folder else "trained here"
)
def test_render_image_takes_png_and_jpeg(folder, request):
    signatures = signatures_of(folder or request.getfixturevalue("run"))
    frame, file = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8), io.BytesIO()
    Image.fromarray(np.tile(np.arange(0, 192, 4, dtype=np.uint8), (32, 1))).save(file, "JPEG", quality=95)
    with Image.open(file) as image:
        jpeg = np.asarray(image.convert("RGB"))
    png, twice = encode_png(frame), tf.constant(np.tile(STILL, (2, 1, 1)))
    made = signatures["render_image"](
        character_frame_bytes=tf.constant([png] * 2),
        motion=twice,
        background_frame_bytes=tf.constant([png, file.getvalue()]),
    )["frame_bytes"].numpy()
    unit = lambda *frames: tf.constant(np.stack(frames) / np.float32(255))
    expected = signatures["render"](
        character_frame=unit(frame, frame), background_frame=unit(frame, jpeg), motion=twice
    )["frame"]
    for one, value in zip(made, expected.numpy()):
        with Image.open(io.BytesIO(one)) as image:
            assert image.format == "PNG" and image.mode == "RGB"
            np.testing.assert_allclose(np.asarray(image), value * 255, atol=3)  # JPEG decoders differ by a level or two
    sizes = tf.constant([png, encode_png(frame[:16])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected pictures of one size"):
        signatures["render_image"](character_frame_bytes=sizes, background_frame_bytes=sizes, motion=twice)
