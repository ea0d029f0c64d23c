"""SavedModels in real parts: TensorFlow's C API in a process without Python, saved_model_cli, the warm-up file, pictures.

Of a model trained here, and of every one that ships.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from eqvid_tf.model_folder import CHECKOUT, folders_on, read_config
from eqvid_tf.serving.client import png

SOURCE = Path(__file__).parent / "saved_model.c"
LIBRARIES = Path(tf.sysconfig.get_lib())
FLOAT32 = 1e-5
RUN_LIMIT_S = 120
STILL = np.eye(2, 3, dtype=np.float32)


@pytest.fixture(
    scope="module", params=[None, *folders_on(CHECKOUT)], ids=lambda folder: folder.name if folder else "trained here"
)
def folder(request):
    """A model folder."""
    return request.param or request.getfixturevalue("run")


@pytest.fixture(scope="module")
def signatures(folder):
    """The signatures of the SavedModel, in this process."""
    return tf.saved_model.load(str(folder / "1")).signatures


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled C program."""
    if not shutil.which("gcc"):
        pytest.skip("there is no gcc to build the C program with")
    if not (LIBRARIES / "libtensorflow_cc.so.2").is_file():
        pytest.skip("this TensorFlow has no libtensorflow_cc.so.2 to link against")
    path = tmp_path_factory.mktemp("c") / "saved_model"
    fast = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []  # 2 s for a library of 1 GB, where ld takes 10
    built = subprocess.run(
        [
            "gcc",
            *fast,
            "-std=gnu11",
            "-O1",
            "-Wall",
            "-Werror",
            SOURCE,
            "-o",
            path,
            f"-I{tf.sysconfig.get_include()}",
            f"-L{LIBRARIES}",
            "-l:libtensorflow_cc.so.2",
            "-l:libtensorflow_framework.so.2",
            f"-Wl,-rpath,{LIBRARIES}",
            "-Wl,--allow-shlib-undefined",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return path


def job(signature, values: dict, folder: Path, number: int) -> tuple[str, dict]:
    """The lines of one run, and output name -> the file its numbers go to."""
    lines, files = [], {}
    for name, info in signature.inputs.items():
        operation, index = info.name.split(":")
        file = folder / f"{number}-in-{name}"
        values[name].tofile(file)
        lines.append(f"in {operation} {index} {file} {values[name].ndim} {' '.join(map(str, values[name].shape))}")
    for name, info in signature.outputs.items():
        operation, index = info.name.split(":")
        files[name] = folder / f"{number}-out-{name}"
        lines.append(f"out {operation} {index} {files[name]}")
    return "\n".join([*lines, "run"]), files


def inputs_of(signature, rng) -> dict:
    """Two frames, maps or motions for each input."""
    values = {}
    for name, info in signature.inputs.items():
        channels = info.tensor_shape.dim[-1].size
        shape = (2, 2, 3) if name == "motion" else (2, 32, 48, channels)
        values[name] = rng.random(shape, np.float32)
        if name == "motion":
            values[name] = np.float32(0.2) * values[name] + np.eye(2, 3, dtype=np.float32)
    return values


def test_the_c_api_gives_the_numbers_of_python_and_survives_a_wrong_request(program, folder, signatures, tmp_path):
    graph = SavedModel.FromString((folder / "1/saved_model.pb").read_bytes()).meta_graphs[0]
    of_tensors = {
        name: signature
        for name, signature in graph.signature_def.items()
        if signature.inputs and all(info.dtype == tf.float32 for info in signature.inputs.values())
    }
    assert set(graph.signature_def) - set(of_tensors) == {"render_image", "__saved_model_init_op"}
    rng = np.random.default_rng(0)
    values = {name: inputs_of(signature, rng) for name, signature in sorted(of_tensors.items())}
    jobs = [job(of_tensors[name], values[name], tmp_path, number) for number, name in enumerate(values)]
    wrong, _ = job(of_tensors["separate"], {"frame": np.full((1, 32, 48, 3), np.nan, np.float32)}, tmp_path, len(jobs))
    (tmp_path / "jobs").write_text("\n".join([jobs[0][0], wrong, *(text for text, _ in jobs[1:])]))
    with subprocess.Popen(
        [program, folder / "1", tmp_path / "jobs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        python = {
            name: signatures[name](**{key: tf.constant(value) for key, value in values[name].items()})
            for name in values
        }
        stdout, stderr = process.communicate(timeout=RUN_LIMIT_S)
    assert process.returncode == 0, stderr[-3000:]
    assert stdout == "10 runs, 1 failed\n" and "frame must be finite" in stderr
    for name, (_, files) in zip(values, jobs):
        for key, value in python[name].items():
            made = np.fromfile(files[key], np.float32).reshape(value.shape)
            np.testing.assert_allclose(made, value, atol=FLOAT32, rtol=FLOAT32, err_msg=f"{name}/{key}")


def test_the_warm_up_file_replays(folder, signatures):
    logs = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="tensorflow-serving-api is not installed"
    )
    seen, canvas = set(), read_config(folder).model.canvas
    for record in tf.data.TFRecordDataset(
        str(folder / "1/assets.extra/tf_serving_warmup_requests")
    ).as_numpy_iterator():
        log = logs.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log" and not log.FindInitializationErrors() and len(record) < 2000
        request = log.predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        outputs = signatures[request.model_spec.signature_name](**inputs)
        assert all(len(value) == 1 for value in outputs.values())
        if "frame" in inputs:
            assert inputs["frame"].shape == (1, *canvas, 3)
        seen.add(request.model_spec.signature_name)
    assert seen == set(signatures) - {"serving_default"}


BOTH = """
import contextlib, sys
from tensorflow.python.tools import saved_model_cli
for line in sys.stdin.read().splitlines():
    sys.argv = ["saved_model_cli", *line.split()]
    with contextlib.suppress(SystemExit):
        saved_model_cli.main()
"""


def test_saved_model_cli_shows_and_runs_it(folder, signatures, tmp_path):
    frame = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    np.save(tmp_path / "frame.npy", frame)
    lines = f"""show --dir {folder / "1"} --all
        run --dir {folder / "1"} --tag_set serve --signature_def separate --inputs frame={tmp_path}/frame.npy --outdir {tmp_path}/out"""
    done = subprocess.run(
        [sys.executable, "-c", BOTH], input=lines, check=True, capture_output=True, text=True, timeout=RUN_LIMIT_S
    )
    for name in (*signatures, "serving_default"):
        assert f"signature_def['{name}']" in done.stdout
    assert "shape: (-1, -1, -1, 3)" in done.stdout and "DT_STRING" in done.stdout
    for name, value in signatures["separate"](frame=tf.constant(frame)).items():
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}.npy"), value, atol=FLOAT32)


def test_render_image_takes_png_and_jpeg(signatures):
    frame, file = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8), io.BytesIO()
    Image.fromarray(np.tile(np.arange(0, 192, 4, dtype=np.uint8), (32, 1))).save(file, "JPEG", quality=95)
    with Image.open(file) as image:
        jpeg = np.asarray(image.convert("RGB"))
    twice = np.tile(STILL, (2, 1, 1))
    made = signatures["render_image"](
        character_frame_bytes=tf.constant([png(frame)] * 2),
        motion=tf.constant(twice),
        background_frame_bytes=tf.constant([png(frame), file.getvalue()]),
    )["frame_bytes"].numpy()
    unit = lambda *frames: tf.constant(np.stack(frames) / np.float32(255))
    expected = signatures["render"](
        character_frame=unit(frame, frame), background_frame=unit(frame, jpeg), motion=tf.constant(twice)
    )["frame"]
    for one, value in zip(made, expected.numpy()):
        with Image.open(io.BytesIO(one)) as image:
            assert image.format == "PNG" and image.mode == "RGB"
            np.testing.assert_allclose(np.asarray(image), value * 255, atol=3)  # JPEG decoders differ by a level or two
    sizes = tf.constant([png(frame), png(frame[:16])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected pictures of one size"):
        signatures["render_image"](character_frame_bytes=sizes, background_frame_bytes=sizes, motion=tf.constant(twice))
