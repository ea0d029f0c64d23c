"""The commands, called as an outside script calls them: flags, files, streams, exit codes.

They run in this process, all of them with one loaded model, where it is not a process of its own that is tested.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import undiagnosed
from PIL import Image
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from eqvid_tf import cli, model_folder
from eqvid_tf.config import Config, ModelConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.writers import write_png, write_video
from eqvid_tf.evaluation import demo
from eqvid_tf.serving import saved_model
from eqvid_tf.synthetic.scenes import write_scenes
from eqvid_tf.training import train

FLAGS = {
    "demo": ["--output"],
    "train": "--output --estimator --image-size --minutes --steps --seed --resume --frames --cache".split(),
    "separate": ["--output", "--video", "--sheet", "--frames", "--cache"],
    "render": (
        "--shots --scene --output --character --background --motion --at --zoom --pose --play --transparent".split()
    ),
    "evaluate": ["--json"],
    "export": ["--html", "--clip", "--background"],
    "studio": ["--home", "--host", "--port", "--no-browser"],
    "correct": "--frame --mask --of --output --in-place --show --minutes --cache".split(),
    "cast": "--name --merge --split --drop --show".split(),
    "inspect": ["--json", "--frames", "--cache"],
    "batch": ["--output", "--jobs", "--ray"],
}
STILL = [[1, 0, 0], [0, 1, 0]]


@pytest.fixture
def call(capsys):
    """Runs a command: exit code, stdout, stderr."""

    def call(*words) -> tuple[int, str, str]:
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def loaded(trained, monkeypatch):
    """Commands get the model of `run` as it is loaded: each load would compile it anew, for seconds."""
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)
    monkeypatch.setattr(demo, "load", lambda folder: trained)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A model folder of the `known` estimator, untrained."""
    folder = tmp_path_factory.mktemp("known")
    config = Config(model=ModelConfig(estimator="known", width=4, canvas=(16, 24)))
    (folder / "config.json").write_text(config.to_json())
    EquivariantVideoModel(config.model).save(folder / "model.keras")
    return folder


def picture(path):
    """(size as (height, width), mode) of an image file."""
    with Image.open(path) as image:
        return (image.height, image.width), image.mode


@pytest.mark.parametrize("command", FLAGS)
def test_help_has_an_example_and_every_flag(command, call):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert f"example: eqvid {command}" in " ".join(out.split())
    assert all(flag in out for flag in FLAGS[command])
    assert ("--overwrite" in out) == (command not in ("cast", "batch", "studio"))  # which change only what is their own


WITHOUT_TENSORFLOW = """
import sys
from eqvid_tf import cli

def code_of(words):
    try:
        return cli.main(words)
    except SystemExit as stop:
        return stop.code

codes = [code_of(words) for words in (["--help"], ["train", "nowhere.mp4", "--output", "x"], ["walk"])]
print(codes, [name for name in ("tensorflow", "keras") if name in sys.modules])
"""


def test_help_and_a_wrong_word_are_answered_without_tensorflow():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TENSORFLOW], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[0, 2, 2] []"


def test_separate(run, loaded, scene, tmp_path, call):
    layers = tmp_path / "new" / "layers"
    words = ("separate", run, scene, "--frames", "2:8", "--output", layers)
    code, out, err = call(*words)
    assert code == 0 and str(layers) in out
    assert "finding the character" in err and "finding" not in out
    files = ["background.json", "background.png", "character", "characters", "characters.json"]
    files += ["masks", "motion.json", "unseen.png"]
    assert sorted(path.name for path in layers.iterdir()) == files
    assert "1 character;" in out and [path.name for path in (layers / "characters").iterdir()] == ["0"]
    names = [f"{index:05d}.png" for index in range(6)]
    for folder, mode in (("masks", "L"), ("character", "RGBA")):
        assert sorted(path.name for path in (layers / folder).iterdir()) == names
        assert picture(layers / folder / names[-1]) == ((32, 48), mode)
    assert picture(layers / "background.png") == ((32, 48), "RGB")
    motion = np.array(json.loads((layers / "motion.json").read_text())["motion"])
    assert motion.shape == (5, 2, 3) and np.isfinite(motion).all()
    assert list(layers.parent.iterdir()) == [layers]

    assert call(*words)[0] == 2
    (layers / "masks" / "00006.png").write_text("of a longer clip, before")
    assert call(*words, "--overwrite", "--network-only")[0] == 0
    assert sorted(path.name for path in (layers / "masks").iterdir()) == names
    code, _, err = call(*words, "--overwrite", "--of", "3")
    assert code == 2 and "first has no character 3; it has 0" in err and layers.is_dir()


def clip_of(kind, folder):
    """A clip unlike those that the model was trained on, and its size."""
    random = np.random.default_rng(0)
    if kind == "upright video":
        frames = [random.integers(0, 255, (90, 40, 3), dtype=np.uint8) for _ in range(3)]
        write_video(folder / "upright.mp4", frames, 10)
        return folder / "upright.mp4", (90, 40)
    size = {"tiny": (4, 4), "odd": (9, 7), "very wide": (8, 400)}.get(kind, (20, 30))
    for k in range(3):
        grey = random.integers(0, 65535, size, dtype=np.uint16)
        modes = {"grey": Image.fromarray((grey // 257).astype(np.uint8)), "16-bit": Image.fromarray(grey)}
        rgba = Image.fromarray(random.integers(0, 255, (*size, 4), dtype=np.uint8))
        (folder / kind).mkdir(exist_ok=True)
        modes.get(kind, rgba if kind == "alpha" else rgba.convert("RGB")).save(folder / kind / f"{k}.png")
    return folder / kind, size


@pytest.mark.parametrize("kind", ["upright video", "tiny", "odd", "very wide", "grey", "16-bit", "alpha"])
def test_separate_gives_any_clip_back_at_its_own_size(kind, known, tmp_path, call):
    clip, size = clip_of(kind, tmp_path)
    code, out, _ = call("separate", known, clip, "--output", tmp_path / "layers", "--cache", "none")
    assert code == 0
    assert "no motion.json" in out  # known, and the clip has none
    assert not (tmp_path / "layers" / "motion.json").exists()
    for name, mode in (("background.png", "RGB"), ("masks/00002.png", "L"), ("character/00002.png", "RGBA")):
        assert picture(tmp_path / "layers" / name) == (size, mode)


@pytest.fixture(scope="module")
def stage(scene, tmp_path_factory):
    """A folder with shots.json, and clips and pictures of three sizes."""
    folder = tmp_path_factory.mktemp("stage")
    wide = write_scenes(folder, {"wide": {"seed": 5, "size": [24, 60], "frames": 6, "resolution": 64}}, shots=1)[0]
    write_png(folder / "still.png", np.full((40, 20, 3), 99, np.uint8))
    ours = os.path.relpath(scene / "frames", folder)
    shots = [
        {"name": "same", "character": f"{ours}/00003.png", "background": f"{ours}/00009.png", "motion": STILL},
        {
            "name": "wide",
            "character": f"{ours}/00003.png",
            "background": "wide/frames/00001.png",
            "motion_from": ["wide/frames/00000.png", "wide/frames/00004.png"],
        },
        {
            "name": "still",
            "character": f"{ours}/00003.png",  # in the middle: of wider frames the narrow picture shows no more
            "background": str(folder / "still.png"),
            "motion_from": [f"{ours}/00016.png", f"{ours}/00003.png"],
            "about": "character",
        },
        {"name": "scene", "character": "still.png", "background": "wide/background.png", "motion": STILL},
    ]
    (folder / "shots.json").write_text(json.dumps(shots))
    assert wide == folder / "wide"
    return folder


def test_render(run, loaded, stage, tmp_path, call, monkeypatch, few_frames):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("render", run, "--shots", os.path.relpath(stage / "shots.json"), "--output", "pictures")
    assert (code, out) == (0, "pictures: 4 pictures\n") and "rendering" in err
    sizes = {path.name: picture(path) for path in (tmp_path / "pictures").iterdir()}
    assert sizes == {
        "same.png": ((32, 48), "RGB"),
        "wide.png": ((24, 60), "RGB"),
        "still.png": ((40, 20), "RGB"),
        "scene.png": ((24, 60), "RGB"),
    }
    plain = np.full((40, 20, 3), 99)
    assert np.abs(np.array(Image.open("pictures/still.png")) - plain).max() > 20  # the character stands before it


def test_a_known_model_renders_what_it_is_given_and_refuses_the_rest(known, scene, stage, tmp_path, call):
    code, _, err = call("render", known, "--shots", stage / "shots.json", "--output", tmp_path / "out")
    assert code == 2 and "known" in err and "motion_from" in err and not (tmp_path / "out").exists()
    given = [shot for shot in json.loads((stage / "shots.json").read_text()) if "motion" in shot]
    (stage / "given.json").write_text(json.dumps(given))
    assert call("render", known, "--shots", stage / "given.json", "--output", tmp_path / "out")[0] == 0
    code, out, _ = call("evaluate", known, scene, "--sheet", tmp_path / "sheet.png")
    assert code == 0 and "transfer" in out


def test_evaluate(run, loaded, scene, tmp_path, call, few_frames):
    folder, found = shutil.copytree(run, tmp_path / "run"), tmp_path / "figures" / "one.json"
    code, out, err = call("evaluate", folder, scene, "--json", found)
    assert code == 0 and "move_char" in out and "evaluating" in err
    figures = json.loads(found.read_text())
    assert {"eqvid/first", "scissors/first", "eqvid/MEAN"} <= set(figures)
    assert {"bg_psnr", "iou", "corner_px", "move_psnr", "move_char"} <= set(figures["eqvid/first"])
    assert picture(folder / "evaluation.png")[1] == "RGB"
    assert call("evaluate", folder, scene, "--json", found)[0] == 2
    assert json.loads(found.read_text()) == figures


@pytest.fixture
def one_endpoint(monkeypatch):
    """Of a SavedModel one endpoint is written: the others take seconds."""
    every = saved_model.endpoints
    monkeypatch.setattr(saved_model, "endpoints", lambda model: {"decode": every(model)["decode"]})


def test_export_rewrites_the_saved_model(run, tmp_path, call, one_endpoint):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "1" / "saved_model.pb").write_bytes(b"damaged")
    code, out, _ = call("export", folder)
    assert (code, out) == (0, f"{folder}/1: written\n")
    saved = SavedModel.FromString((folder / "1" / "saved_model.pb").read_bytes())
    assert "decode" in saved.meta_graphs[0].signature_def
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in run.iterdir())


def test_demo_writes_everything_and_says_where(run, loaded, tmp_path, call, monkeypatch, few_frames):
    small = {name: {**scene, "size": (32, 48), "frames": 12, "resolution": 64} for name, scene in demo.SCENES.items()}
    monkeypatch.setattr(demo, "SCENES", small)
    monkeypatch.setattr(demo, "LENGTH", 4)
    monkeypatch.setattr(demo, "train", lambda config, clips, folder, **_: shutil.copytree(run, folder))
    code, out, err = call("demo", "--output", tmp_path / "demo")
    assert code == 0 and "training" in err
    for name in ("sheet.png", "new.gif", "new.mp4", "model", "results/eqvid/demo", "scenes", "figures.json"):
        assert (tmp_path / "demo" / name).exists() and str(tmp_path / "demo" / name) in out
    assert "move_char" in out and "scissors" in out
    assert call("demo", "--output", tmp_path / "demo")[0] == 2


TRAIN_FOREVER = """
from eqvid_tf import cli, config
config.TrainConfig.__init__.__kwdefaults__["checkpoint_seconds"] = 0.2
cli.main()
"""
RESUME = "--resume goes on from the checkpoint."


def until(condition, seconds=300):
    """Waits for a condition that another process or thread brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def steps_of(checkpoint):
    """The optimizer's steps in a checkpoint, which holds the optimizer's state."""
    optimizer = keras.saving.load_model(checkpoint).optimizer
    moments = [variable for variable in optimizer.variables if "velocity" in variable.path]
    assert any(np.any(np.asarray(moment)) for moment in moments)
    return int(optimizer.iterations)


@pytest.fixture
def resumed_eagerly(monkeypatch):
    """A training that goes on does so step by step: to trace one takes longer than to do a few."""
    load = train.load_checkpoint

    def loaded(folder):
        model = load(folder)
        model.run_eagerly = True
        return model

    monkeypatch.setattr(train, "load_checkpoint", loaded)
    undiagnosed(monkeypatch)


def test_a_training_survives_kill_ctrl_c_and_a_full_disk(
    scene, run, tmp_path, call, monkeypatch, one_endpoint, resumed_eagerly
):
    folder = shutil.copytree(run, tmp_path / "run")  # over a model that is there: it stays until the new one is whole
    (folder / "2").mkdir()
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    checkpoint = folder / "checkpoint.keras"
    written = lambda: checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    words = ["train", scene, "--output", folder, "--cache", "none"]
    tiny = ["--estimator", "known", "--structure", "plain", "--width", 4, "--image-size", 16]
    tiny += ["--batch-size", 2, "--steps", 10**6]

    # killed, in a process of its own, which starts quietly
    command = [sys.executable, "-c", TRAIN_FOREVER, *map(str, [*words, *tiny, "--overwrite"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: written() or process.poll() is not None)
        first = written()
        until(lambda: written() > first or process.poll() is not None)
        process.kill()
        out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL and out == "", err
    assert "training on " in err and "cuInit" not in err and "oneDNN" not in err
    killed = steps_of(checkpoint)
    assert killed > 0
    assert {path: path.read_bytes() for path in before} == before and model_folder.load(folder)

    # stopped by Ctrl-C
    words.append("--resume")
    first = written()
    ctrl_c = threading.Thread(target=lambda: (until(lambda: written() > first), os.kill(os.getpid(), signal.SIGINT)))
    ctrl_c.start()
    code, out, err = call(*words)
    ctrl_c.join()
    assert code == 130 and out == "" and "stopped at step" in err
    assert err.splitlines()[-1] == f"eqvid train: stopped. {RESUME}"
    stopped = steps_of(checkpoint)
    assert stopped > killed

    # done, but there is no room for the model
    def no_room(model, path, *_, **__):
        os.makedirs(os.path.join(path, "variables"))
        raise tf.errors.ResourceExhaustedError(None, None, f"{path}/saved_model.pb; No space left on device")

    with monkeypatch.context() as full:
        full.setattr(tf.saved_model, "save", no_room)
        code, _, err = call(*words, "--steps", stopped + 1)
    assert code == 2
    full_disk = "the disk is full. Make room, or choose another place."
    assert err.splitlines()[-1] == f"eqvid train: error: {full_disk} {RESUME}"
    assert {path: path.read_bytes() for path in before} == before
    assert steps_of(checkpoint) == stopped + 1
    assert not list(folder.glob(".*"))

    for wrong in (["--estimator", "frames"], ["--image-size", "24"]):
        code, _, err = call(*words, *wrong)
        assert code == 2 and "cannot go on with" in err

    code, out, _ = call(*words, "--steps", stopped + 1, "--estimator", "known")
    assert code == 0 and f"{stopped + 2} steps" in out
    names = {"config.json", "model.keras", "metrics.json", "README.md", "1", "logs", "cast", "cast.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert model_folder.load(folder).config.width == 4
    code, _, err = call(*words)
    assert code == 2 and "no checkpoint to resume from" in err
    assert call(*words[:-1])[0] == 2
