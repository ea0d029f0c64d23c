"""Fine-tuning: the frames kept for it, what a grown model knows, a new folder, the next version, failures."""

import shutil

import keras
import numpy as np
import pytest
from conftest import step_by_step, undiagnosed

from eqvid_tf.cli import main
from eqvid_tf.config import Config, ModelConfig, ScheduleConfig, TrainConfig
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.pairs import canvas_motion
from eqvid_tf.model_folder import load, read_config
from eqvid_tf.separation.cast import Cast
from eqvid_tf.serving import saved_model
from eqvid_tf.training import callbacks, finetuning, material
from eqvid_tf.training.hints import first_hints
from eqvid_tf.training.train import prepare

SHORT = TrainConfig(steps=1, batch_size=4, keep_frames=True)


@pytest.fixture
def second(scene):
    return open_clip(scene.parent / "second", cache=None)


@pytest.fixture
def quick(monkeypatch):
    """A step without a trace, hints as at the start, and of a SavedModel one endpoint (see test_export.py)."""
    endpoints = saved_model.endpoints
    step_by_step(monkeypatch, finetuning)
    undiagnosed(monkeypatch)
    monkeypatch.setattr(callbacks, "refresh_hints", lambda model, frames, *_: first_hints(frames))
    monkeypatch.setattr(saved_model, "endpoints", lambda model: {"decode": endpoints(model)["decode"]})


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_kept(run, scene):
    """All of a clip of 24 frames, with masks that find the character; a kept clip is a clip."""
    found = material.read_material(run, read_config(run).model.canvas)
    (clip,), (array,), (hint,) = found.clips, found.frames, found.hints
    np.testing.assert_array_equal(array, open_clip(scene).arrays((32, 48)))
    assert clip.count == 24 and hint.shape == (24, 32, 48) and 0.01 < (hint > 0.5).mean() < 0.3
    assert sum(path.stat().st_size for path in (run / "kept").rglob("*.png")) < 400_000


def test_a_long_clip_is_thinned_and_its_known_motion_composed(scene, tmp_path):
    clip, model = open_clip(scene), ModelConfig(estimator="known", canvas=(32, 48))
    config = Config(model=model, schedule=ScheduleConfig(kept_frames=3))
    material.write_material(prepare([clip], (32, 48), print), config, tmp_path / "kept", first=10)
    (found,) = material.read_material(tmp_path, model.canvas).clips
    assert found.name == "10" and found.count == 3
    steps = canvas_motion(clip, (32, 48))
    whole = np.eye(3)
    for step in steps:
        whole = step @ whole
    first, last = canvas_motion(found, (32, 48))
    np.testing.assert_allclose(last @ first, whole, atol=1e-6)


def test_a_grown_model_knows_what_it_knew(trained, scene, second):
    x = open_clip(scene).arrays((32, 48))[:4].astype(np.float32) / 255
    backgrounds = prepare([second], (32, 48), print).backgrounds
    larger = finetuning.grow(trained, trained.config.with_clips([0], known=1), backgrounds)
    assert larger.config.memory == trained.config.memory + 1 == 2
    for ours, theirs in zip(larger.separate(x), trained.separate(x)):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)  # the recall weighs one picture more, by nearly nothing
    new = second.arrays((32, 48))[:4].astype(np.float32) / 255
    assert np.min(larger.remembers(new)) > 0.5 > np.max(trained.remembers(new))


def test_into_a_new_folder(run, second, tmp_path, quick):
    before, lines = files(run), []
    metrics = finetuning.finetune(run, [second], tmp_path / "new", train=SHORT, log=lines.append)
    assert files(run) == before and not lines
    assert metrics["finetuned_from"] == run.name and metrics["steps"] == SHORT.steps
    config = read_config(tmp_path / "new")
    assert config.clips == ("first", "second") and config.model.memory == 2
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "1",
        "README.md",
        "cast",
        "cast.json",
        "config.json",
        "kept",
        "metrics.json",
        "model.keras",
    }
    assert sorted(path.name for path in (tmp_path / "new" / "kept").iterdir()) == ["0", "1"]
    assert Cast.read(tmp_path / "new").names() == ["first-0", "second-0"]
    assert {path.name for path in (tmp_path / "new" / "cast").iterdir()} == {"first-0.png", "second-0.png"}
    assert run.name in (tmp_path / "new" / "README.md").read_text()
    new = second.arrays((32, 48))[:4].astype(np.float32) / 255
    assert np.min(load(tmp_path / "new").remembers(new)) > 0.5


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_in_place_the_next_version_appears_when_it_is_whole(run, second, tmp_path, capsys, quick):
    folder, lines = tmp_path / "model", []
    shutil.copytree(run, folder)
    shutil.rmtree(folder / "kept")
    before = files(folder)
    with pytest.raises(KeyboardInterrupt):
        finetuning.finetune(folder, [second], train=SHORT, callbacks=[Stop()])
    assert files(folder) == before
    finetuning.finetune(folder, [second], train=SHORT, log=lines.append)
    assert lines == ["model keeps no frames of its clips (eqvid train --keep-frames); it may forget them"]
    assert {path: data for path, data in files(folder).items() if path.parts[0] == "1"} == {
        path: data for path, data in before.items() if path.parts[0] == "1"
    }
    assert (folder / "2" / "saved_model.pb").is_file() and load(folder).config.memory == 2
    assert [path.name for path in (folder / "kept").iterdir()] == ["1"]  # of the first clip there were none
    assert main(["export", str(folder)]) == 0 and capsys.readouterr().out == f"{folder / '2'}: written\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of the arguments --output --in-place is required"),
        (["--output", "RUN"], "Pass --in-place"),
        (["--in-place", "--steps", "-1"], "steps must be at least 0"),
        (["--in-place", "--output", "x"], "not allowed with"),
    ],
)
def test_mistakes(arguments, said, run, scene, capsys):
    before = files(run)
    arguments = [str(run) if word == "RUN" else word for word in arguments]
    try:
        code = main(["finetune", str(run), str(scene.parent / "second"), "--overwrite", *arguments])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2 and said in capsys.readouterr().err and files(run) == before


def test_the_config_of_a_grown_model():
    before = Config(train=TrainConfig(image_size=48, precision="mixed_bfloat16"), clips=("walk",))
    clip = type("Clip", (), {"name": "jump"})
    after = finetuning.grow_config(
        before, [clip], material.TrainingClips(clips=[clip], clip_of=[0]), TrainConfig(minutes=2.0)
    )
    assert after.clips == ("walk", "jump") and after.model.memory == 2 and after.model.characters == 1
    pair = material.TrainingClips(
        clips=[clip, clip], clip_of=[0, 0]
    )  # two characters of one clip join the one that is known
    model = finetuning.grow_config(before, [clip], pair, TrainConfig(minutes=2.0)).model
    assert (model.clip_of, model.name_of, model.characters) == ((0, 1, 1), (0, 1, 2), 3)
    assert (after.train.image_size, after.train.precision, after.train.minutes) == (48, "mixed_bfloat16", 2.0)
