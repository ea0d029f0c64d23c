"""What a user can get wrong, and a disk that fills up: one line on stderr, exit code 2, nothing lost or left."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from eqvid_tf import cli, model_folder
from eqvid_tf.data.cache import cache_folder
from eqvid_tf.data.output import check_output, new_folder, put
from eqvid_tf.data.writers import write_png, write_video
from eqvid_tf.serving import saved_model
from eqvid_tf.training.callbacks import Checkpoint, NotFinite

MOVE = [[1, 0, 0.2], [0, 1, 0]]
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def refused(capsys, tmp_path):
    """Runs a command that must be refused: its one line. Nothing in the test's folder may change."""

    def refused(*words) -> str:
        before = tree(tmp_path)
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert tree(tmp_path) == before
        *others, line = err.rstrip("\n").replace("\r", "\n").split("\n")
        assert all(not text.strip() or "%|" in text for text in others)  # nothing but a progress bar
        assert re.match(r"eqvid( \w+)?: error: ", line)
        return line

    return refused


def tree(folder):
    """Every file below a folder, hidden ones too, with its size and time."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def loaded(run, trained, monkeypatch):
    """Commands get the model of `run` as it is loaded: each load would compile it anew, for seconds."""
    load = model_folder.load
    monkeypatch.setattr(model_folder, "load", lambda folder: trained if folder == run else load(folder))


@pytest.fixture(scope="session")
def bad(scene, tmp_path_factory):
    """Clips and scenes, each with something wrong."""
    folder = tmp_path_factory.mktemp("bad")
    frames = [np.asarray(Image.open(path)) for path in sorted((scene / "frames").iterdir())]
    (folder / "text.mp4").write_text("no video\n" * 50)
    write_video(folder / "whole.mp4", frames, 12)
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(folder / "whole.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=12)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuvj420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame).reformat(format="yuvj420p")))
        container.mux(stream.encode())
    whole = (folder / "whole.avi").read_bytes()
    (folder / "cut.avi").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "empty").mkdir()
    write_png(folder / "single" / "0.png", frames[0])
    for k, size in enumerate([(8, 8), (8, 8), (8, 9)]):
        write_png(folder / "sizes" / f"{k}.png", np.zeros((*size, 3), np.uint8))
    for name, change in {
        "short": lambda steps: steps[:-1],
        "singular": lambda steps: [[[0, 0, 0], [0, 1, 0]], *steps[1:]],
        "nan": lambda steps: [[[float("nan"), 0, 0], [0, 1, 0]], *steps[1:]],
        "words": lambda steps: "none",
        "missing": None,
    }.items():
        shutil.copytree(scene, folder / name)
        file = folder / name / "motion.json"
        truth = json.loads(file.read_text())
        file.write_text(json.dumps({**truth, "motion": change(truth["motion"])})) if change else file.unlink()
    (folder / "notes.txt").write_text("kept")
    return folder


@pytest.mark.parametrize(
    "clip, text",
    {
        "nowhere.mp4": "no such file",
        "empty": "no images",
        "text.mp4": "no video",
        "cut.mp4": "cut or damaged",
        "cut.avi": "cut or damaged",
        "single": "1 frame",
        "single/0.png": "1 frame",
        "sizes": "one size",
        "notes.txt": "no video",
    }.items(),
)
def test_a_clip_that_is_none(clip, text, bad, run, tmp_path, refused):
    assert text in refused("separate", run, bad / clip, "--output", tmp_path / "out")
    assert text in refused("train", bad / clip, "--output", tmp_path / "deep" / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, text",
    {
        "short": "a matrix for each step",
        "singular": "step 0",
        "nan": "step 0",
        "words": "none that can be read",
        "missing": "no motion.json",
    }.items(),
)
def test_a_motion_json_that_does_not_fit(name, text, bad, tmp_path, refused):
    words = ("train", bad / name, "--output", tmp_path / "out", "--estimator", "known", "--cache", "none")
    assert text in refused(*words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags, text",
    {
        "--minutes 0": "minutes",
        "--minutes nan": "minutes",
        "--minutes -1": "minutes",
        "--steps -1": "steps",
        "--image-size -1": "image_size",
        "--stride 3": "--stride",
        "--seed text": "--seed",
        "--seed -1": "seed",
        "--batch-size 0": "batch_size",
        "--learning-rate nan": "learning_rate",
        "--weight-scene -1": "scene",
        "--estimator magic": "--estimator",
        "--frames 5:5": "5:5",
        "--frames 3": "A:B",
        "--frames 0:999": "0:999",
        "--walk": "--walk",
        "--resume": "no checkpoint",
    }.items(),
)
def test_a_flag_that_cannot_be(flags, text, scene, tmp_path, refused):
    assert text in refused("train", scene, "--output", tmp_path / "out", *flags.split())
    assert not list(tmp_path.iterdir())


def shot(**changes):
    """A file with one shot, some of its keys changed."""
    keys = {"name": "a", "character": "frames/00001.png", "background": "frames/00002.png", "motion": MOVE, **changes}
    return json.dumps([{key: value for key, value in keys.items() if value is not None}])


@pytest.mark.parametrize(
    "text, message",
    [
        ("[{", "not a JSON file"),
        ("{}", "list of shots"),
        ("[1]", "list of shots"),
        (shot(character="frames/00099.png"), "no frame"),
        (shot(background="frames"), "no frame"),
        (shot(motion=None, motion_from=["frames/00001.png", "frames/00099.png"]), "no frame"),
        (shot(background="motion.json"), "not an image"),
        (shot(motion=[[0, 0, 0], [0, 0, 0]]), "2x3"),
        (shot(motion=[[1, 0], [0, 1]]), "2x3"),
        (shot(motion=[[float("nan"), 0, 0], [0, 1, 0]]), "2x3"),
        (shot(motion="still"), "2x3"),
        (shot(motion=None), "motion_from"),
        (shot(motion=None, motion_from=["frames/00001.png"]), "motion_from"),
        (shot(name="../a"), "without folders"),
        (shot(name="a\0"), "without folders"),
        (shot(pose=3), "pose"),
        (json.dumps(2 * json.loads(shot())), "two shots"),
    ],
)
def test_a_shots_file_with_something_wrong(text, message, scene, run, loaded, tmp_path, refused):
    (tmp_path / "shots.json").write_text(text)
    for name in ("frames", "motion.json"):
        (tmp_path / name).symlink_to(scene / name)
    assert message in refused(
        "render", run, "--shots", tmp_path / "shots.json", "--output", tmp_path / "out", "--cache", "none"
    )
    assert not (tmp_path / "out").exists()


def test_no_shots_file(run, loaded, tmp_path, refused):
    assert "no such file" in refused("render", run, "--shots", tmp_path / "none.json", "--output", tmp_path / "out")


def broken(kind, run, folder):
    """A copy of a model folder with something wrong."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("1", "logs"))
    config, model = folder / "config.json", folder / "model.keras"
    values = json.loads(config.read_text())
    if kind in ("future", "no format", "unknown key"):
        key, value = {"future": ("format", 99), "no format": ("format", None), "unknown key": ("walk", 1)}[kind]
        config.write_text(json.dumps({**values, key: value}))
    elif kind == "cut config":
        config.write_text(config.read_text()[:40])
    elif kind == "no model":
        model.unlink()
    elif kind == "in training":
        config.rename(folder / "checkpoint.json")
    else:
        whole = bytearray(model.read_bytes())
        half = len(whole) // 2
        model.write_bytes(whole[:half] if kind == "cut model" else whole[:half] + bytes(2000) + whole[half + 2000 :])


@pytest.mark.parametrize(
    "kind, text",
    {
        "future": "newer",
        "no format": "no format",
        "unknown key": "walk",
        "cut config": "config.json",
        "no model": "model.keras",
        "in training": "--resume",
        "cut model": "damaged",
        "changed model": "damaged",
    }.items(),
)
def test_a_model_folder_with_something_wrong(kind, text, run, scene, tmp_path, refused):
    broken(kind, run, tmp_path / "run")
    assert text in refused("separate", tmp_path / "run", scene, "--output", tmp_path / "out")
    assert text in refused("export", tmp_path / "run")


def test_no_model_folder_and_no_clip(run, loaded, bad, tmp_path, refused):
    assert "no model folder" in refused("export", bad / "empty")
    assert "no model folder" in refused("export", bad / "text.mp4")
    assert "must be of one size" in refused("evaluate", run, bad / "sizes", "--sheet", tmp_path / "sheet.png")


def test_an_output_that_cannot_be(run, loaded, scene, bad, tmp_path, refused, monkeypatch):
    copy = shutil.copytree(scene, tmp_path / "work" / "scene")
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "file").write_text("kept")
    separate = ("separate", run, copy, "--cache", "none", "--output")
    assert "is a file" in refused(*separate, tmp_path / "file" / "deep" / "out")
    assert "is a file" in refused("train", copy, "--output", tmp_path / "file" / "out")
    assert "is a file" in refused("evaluate", run, copy, "--json", tmp_path / "file" / "one.json")
    for command in (separate, ("train", copy, "--output"), ("render", run, "--shots", copy / "shots.json", "--output")):
        assert "--overwrite" in refused(*command, copy)
        assert ("is a file" if "train" in command else "--overwrite") in refused(*command, tmp_path / "file")
    assert "--overwrite" in refused("demo", "--output", copy)
    assert "--overwrite" in refused("evaluate", run, copy, "--json", tmp_path / "file")
    # what it is made from, the working folder and what holds them are not overwritten
    for place in (copy, copy.parent, tmp_path / "work" / ".." / "work"):
        assert "holds" in refused(*separate, place, "--overwrite")
    assert "holds" in refused("render", run, "--shots", copy / "shots.json", "--output", copy / "frames", "--overwrite")
    assert "decoded frames cannot be kept" in refused(
        "separate", run, copy, "--output", "out", "--cache", tmp_path / "file"
    )


def test_a_place_that_is_write_protected_is_found_at_the_door(run, loaded, scene, tmp_path, refused, monkeypatch):
    clip, out, there = tmp_path / "walk.mp4", tmp_path / "out", tmp_path / "there"
    there.mkdir()
    video = ("render", run, "--clip", clip, "--remove", "0", "--output", tmp_path / "out.mp4")
    play = ("render", run, "--character", clip, "--background", clip, "--motion", "jump", "--output", there)
    opened = []
    with monkeypatch.context() as protected:
        protected.setattr(os, "access", lambda *_: False)
        protected.setattr("eqvid_tf.data.clips.open_clip", opened.append)
        for words in (
            *(("separate", run, clip, "--output", place) for place in (out, there, there / "deep" / "out")),
            *(("train", clip, "--output", place) for place in (out, there)),
            ("inspect", clip, "--json", tmp_path / "report.json"),
            ("finetune", run, clip, "--in-place"),
            ("motion", "extract", run, clip, "--name", "stroll"),
            ("motion", "show", "jump", "--output", tmp_path / "jump.png"),
            ("motion", "edit", "jump", "--reverse", "--output", tmp_path / "back.json"),
            ("cast", run, "--name", "0=dancer"),
            ("demo", "--output", out),
            ("export", run),
            ("evaluate", run, scene),
            ("render", run, "--shots", scene / "shots.json", "--output", out),
            video,
            play,
        ):
            assert "write-protected" in refused(*words), words
    assert not opened and not out.exists()
    with monkeypatch.context() as mounted:  # as a volume of a container is: its content can be made anew, it cannot
        mounted.setattr(Path, "is_mount", lambda self: True)
        assert "mounted there" in refused("separate", run, scene, "--output", there)
        assert check_output(there, inside=True) == there


def test_a_user_without_a_home(scene, tmp_path, monkeypatch):
    """As in a container that runs under any number: the cache is left out, and nothing is written to a folder "~"."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    monkeypatch.chdir(tmp_path)
    assert cache_folder("auto") is None
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("goes")
    with new_folder(tmp_path / "out", overwrite=True) as draft:
        (draft / "new").write_text("stays")
    assert cli.main(["inspect", str(scene)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def after(count, error, write):
    """`write`, which fails at the call after `count` good ones."""
    calls = iter(range(count))

    def wrapped(*args, **options):
        if next(calls, None) is None:
            raise error
        return write(*args, **options)

    return wrapped


def test_a_disk_that_fills_up_keeps_the_old_output(run, loaded, scene, tmp_path, refused, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "background.png").write_text("the old one")
    options = ("--network-only", "--output", out, "--overwrite")
    separate = ("separate", run, scene, "--frames", "0:4", *options)
    render = ("render", run, "--shots", scene / "shots.json", *options)
    for module, words in (("eqvid_tf.separation.folder", separate), ("eqvid_tf.rendering.shots", render)):
        with monkeypatch.context() as full:
            full.setattr(f"{module}.write_png", after(1, FULL, write_png))
            line = refused(*words, "--cache", "none")
        assert "the disk is full" in line and "Make room" in line
    with monkeypatch.context() as full:
        full.setattr("eqvid_tf.data.cache.atomic", after(0, FULL, None))
        assert "--cache" in refused(*separate, "--cache", tmp_path / "cache")
    assert (out / "background.png").read_text() == "the old one"


def test_an_export_that_fails_keeps_the_old_one(run, trained, tmp_path, refused, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "run")
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)

    def full(model, path, *_, **__):
        os.makedirs(path)
        raise tf.errors.ResourceExhaustedError(None, None, f"{path}/saved_model.pb; No space left on device")

    every = saved_model.endpoints
    monkeypatch.setattr(saved_model, "endpoints", lambda model: {"decode": every(model)["decode"]})
    monkeypatch.setattr(tf.saved_model, "save", full)
    assert "the disk is full" in refused("export", folder)


class Unsaved:
    """A model whose file comes out half."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def get_weights(self):
        return [np.array([self.weight])]

    def save(self, path):
        path.write_bytes(b"half")
        raise FULL


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_whole_one(tmp_path):
    path, lines = tmp_path / "checkpoint.keras", []
    checkpoint = Checkpoint(None, path, lines.append)
    checkpoint.set_model(Unsaved())
    checkpoint.save()
    assert "there is none yet" in lines[0] and not list(tmp_path.iterdir())
    path.write_bytes(b"whole")
    checkpoint.save()
    assert "the one before stays" in lines[1] and "No space left" in lines[1]
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_a_nan_never_gets_into_a_checkpoint(tmp_path):
    class Clock:
        step = 7

    (tmp_path / "checkpoint.keras").write_bytes(b"whole")
    checkpoint = Checkpoint(Clock(), tmp_path / "checkpoint.keras", print)
    checkpoint.set_model(Unsaved(float("nan")))
    with pytest.raises(NotFinite, match="at step 7.*--resume"):
        checkpoint.save()
    assert (tmp_path / "checkpoint.keras").read_bytes() == b"whole"


def test_a_rename_that_fails_puts_the_old_one_back(tmp_path, monkeypatch):
    for name in ("old", "draft"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    real = os.replace

    def replace(source, target):
        if source == tmp_path / "draft":
            raise FULL
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError):
        put(tmp_path / "draft", tmp_path / "old")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["draft", "draft", "old", "old"]


def test_a_mistake_is_all_that_stderr_says(tmp_path):
    words = [sys.executable, "-m", "eqvid_tf.cli", "export", str(tmp_path)]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "none"}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
