"""Each trivial solution is brought about, and noticed by its name in the training log; a healthy model gets none."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import HEALTHY, briefly

from eqvid_tf.config import Config, DiagnosisConfig, LossConfig, ModelConfig, ScheduleConfig, TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.pairs import pairs
from eqvid_tf.training import callbacks, diagnosis
from eqvid_tf.training import train as training
from eqvid_tf.training.workers import Workers

NAMES = (
    diagnosis.F_CARRIES_BACKGROUND,
    diagnosis.F_EMPTY,
    diagnosis.H_CARRIES_CHARACTER,
    diagnosis.MOTION_IDENTITY,
    diagnosis.MOTION_UNRELATED,
    diagnosis.SCALE_DRIFT,
)


@pytest.fixture
def learn(scene, tmp_path, monkeypatch):
    """Trains on the scene at 16 px, without an export; gives the metrics and the log.

    Hints count in full all along, so that a first diagnosis can come early.
    """
    monkeypatch.setattr(training, "write_model", lambda *_: None)
    clip = open_clip(scene)

    def learn(model, loss, first, interval, callbacks=(), **settings):
        lines = []
        config = Config(
            model=ModelConfig(**model),
            loss=loss,
            train=TrainConfig(batch_size=4, image_size=16, **settings),
            schedule=ScheduleConfig(warm_up=5, hints_full=0.0, hints_faded=first, hint_reminder=1.0, refreshes=()),
            diagnosis=DiagnosisConfig(interval=interval),
        )
        folder = tmp_path / "run"
        metrics = training.train(
            training.configure(config, [clip]), [clip], folder, callbacks=callbacks, log=lines.append
        )
        return metrics, lines

    return learn


def with_bias(layer, values):
    """Puts a layer where a training that went wrong would have left it."""
    layer.bias.assign(values)


SPOIL = {
    diagnosis.F_CARRIES_BACKGROUND: lambda model: with_bias(model.f.head, [20.0, 0, 0, 0, 0]),
    diagnosis.F_EMPTY: lambda model: with_bias(model.f.head, [-20.0, 0, 0, 0, 0]),
    diagnosis.H_CARRIES_CHARACTER: lambda model: with_bias(model.h.head, [-20.0]),
    diagnosis.MOTION_IDENTITY: lambda model: with_bias(model.f.head, [-20.0, 0, 0, 0, 0]),
    diagnosis.MOTION_UNRELATED: lambda model: with_bias(model.T.out, [0.0, 0, 5, 0, 0, -5]),
}


class Spoil(keras.callbacks.Callback):
    """Spoils a model from within its training: {step: name of a trivial solution}."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_train_begin(self, logs=None):
        self.on_train_batch_end(0)

    def on_train_batch_end(self, batch, logs=None):
        if name := self.at.pop(int(self.model.optimizer.iterations), None):
            SPOIL[name](self.model)


def check_recovered(name, lines):
    """It was noticed, with when and what was measured, treated, and then gone."""
    noticed = next(k for k, line in enumerate(lines) if f": {name} (" in line)
    assert lines[noticed].startswith("step ") and "share " in lines[noticed]
    treated = next(k for k, line in enumerate(lines) if k > noticed and "remedy: hints in full" in line)
    assert any(line.endswith(f"no longer: {name}") for line in lines[treated:]), lines


def test_losses_that_are_not_balanced_are_noticed_and_recovered_from(learn):
    """Diagnosed at 0.3 and 0.6, in time for two remedies: which one helps depends on how a processor rounds."""
    loss = LossConfig(character=100.0, background=0.0, hint=0.0)
    model = {"width": 4, "estimator": "known", "structure": "plain"}
    metrics, lines = learn(model, loss, 0.3, 0.15, steps=220, learning_rate=1e-2)
    for name in (diagnosis.F_EMPTY, diagnosis.SCALE_DRIFT, diagnosis.H_CARRIES_CHARACTER):
        check_recovered(name, lines)
    assert metrics["verdict"] == [], (metrics, lines)


def test_trivial_solutions_are_noticed_and_recovered_from(learn, monkeypatch):
    """Without hints f begins with everything; once that is treated, T is put elsewhere."""
    start, treat = training.new_model, callbacks.treat

    def treated(model, names):
        model.run_eagerly = False  # up to the first remedy there are few steps
        return treat(model, names)

    monkeypatch.setattr(training, "new_model", lambda *args: briefly(start(*args)))
    monkeypatch.setattr(callbacks, "treat", treated)
    at = {0: diagnosis.F_CARRIES_BACKGROUND, 64: diagnosis.MOTION_UNRELATED}
    loss = LossConfig(hint=0.0, scene=0.0)
    metrics, lines = learn({"width": 8}, loss, 0.01, 0.15, [Spoil(dict(at))], steps=140)
    for name in at.values():
        check_recovered(name, lines)
    assert metrics["verdict"] == [], (metrics, lines)


@pytest.fixture(scope="module")
def models(scene):
    """An untrained model of each estimator, and pairs that its symptoms are measured on."""
    clip, found = open_clip(scene), {}
    for estimator in ("known", "features"):
        config = Config(model=ModelConfig(width=8, estimator=estimator), train=TrainConfig(image_size=16))
        config = training.configure(config, [clip])
        material = training.prepare([clip], config.model.canvas, print)
        model = training.new_model(config, material.backgrounds)
        pair = next(iter(pairs(material.clips, config.model.canvas, batch_size=4, known=estimator == "known", seed=1)))
        found[estimator] = model, pair, model.get_weights()
    return found


@pytest.mark.parametrize("name", SPOIL)
def test_each_trivial_solution_has_its_name(name, models):
    model, pair, weights = models["features" if "motion" in name else "known"]
    model.set_weights(weights)
    start = diagnosis.symptoms(model, pair)
    SPOIL[name](model)
    assert name in diagnosis.verdict(diagnosis.symptoms(model, pair), start, DiagnosisConfig())


@pytest.fixture
def finish(tmp_path, monkeypatch):
    """Ends a training of so many steps with a verdict; gives what is said then, after the folder is written."""
    written = []
    monkeypatch.setattr(training, "write_model", lambda model, config, metrics, *_: written.append(metrics))

    def finish(name, done, **settings):
        learned = SimpleNamespace(
            clock=SimpleNamespace(step=done, seconds=1.0, losses={}),
            diagnosis=SimpleNamespace(examine=lambda: (HEALTHY, [name])),
        )
        lines, config = [], Config(train=TrainConfig(**settings))
        try:
            training.finish(None, config, training.TrainingClips(), tmp_path, learned, log=lines.append)
        finally:
            assert written.pop()["verdict"] == [name]
        return lines

    return finish


@pytest.mark.parametrize("name", NAMES)
def test_a_training_that_ends_useless_says_so_and_fails(name, finish):
    """Its folder is written all the same, and metrics.json names what is wrong with it."""
    if name in (diagnosis.H_CARRIES_CHARACTER, diagnosis.SCALE_DRIFT):
        assert finish(name, 100) == []
        return
    for settings in ({"minutes": 1.0}, {"steps": 100}):
        with pytest.raises(training.Collapsed, match=rf": {name}: .*[\d%]+.*\. Train longer, or on a clip"):
            finish(name, 100, **settings)


def test_a_short_training_that_ends_empty_fails_unless_its_steps_were_asked_for(finish):
    with pytest.raises(
        training.Collapsed, match=r"f is empty: .* 10.00% of the frame\. Too short: 2 steps\. Train longer"
    ):
        finish(diagnosis.F_EMPTY, 2, minutes=0.5)
    (line,) = finish(diagnosis.F_EMPTY, 2, steps=2)
    assert "f is empty" in line and "Too short: 2 steps" in line and "\n" not in line


def test_a_healthy_model_gets_no_name(run):
    log = (run.parent / "log.txt").read_text()
    assert not [name for name in NAMES if name in log], log
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["verdict"] == []
    symptoms = metrics["symptoms"]
    assert 0.01 < symptoms["share"] < 0.3 and symptoms["ghost"] < 0.2
    assert 0.6 < symptoms["travel"] < 1.5 and symptoms["agreement"] > 0.6


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"share": 0.9}, [diagnosis.F_CARRIES_BACKGROUND]),
        ({"share": 0.0}, [diagnosis.F_EMPTY]),
        ({"ghost": 0.8}, [diagnosis.H_CARRIES_CHARACTER]),
        ({"travel": 0.1, "agreement": 0.0}, [diagnosis.MOTION_IDENTITY]),
        ({"agreement": -0.9}, [diagnosis.MOTION_UNRELATED]),
        ({"h_scale": 11.0}, [diagnosis.SCALE_DRIFT]),
        ({"f_scale": 0.05, "share": 0.0}, [diagnosis.F_EMPTY, diagnosis.SCALE_DRIFT]),
    ],
)
def test_verdict(change, names):
    found, empty = {**HEALTHY, **change}, {**HEALTHY, "f_scale": 0.0, "h_scale": 0.0}
    without_drift = [name for name in names if name != diagnosis.SCALE_DRIFT]
    assert diagnosis.verdict(found, HEALTHY, DiagnosisConfig()) == names
    assert diagnosis.verdict(found, empty, DiagnosisConfig())[:1] == without_drift[:1]


def test_a_name_is_logged_when_it_comes_and_when_it_goes(monkeypatch):
    class Clock:
        trained, step, progress, workers = None, 0, 0.0, Workers()

    found, lines = [HEALTHY, {**HEALTHY, "share": 0.9}, {**HEALTHY, "share": 0.8}, HEALTHY, HEALTHY], []
    monkeypatch.setattr(callbacks, "symptoms", lambda *_: found.pop(0))
    rounds = callbacks.Diagnosis(Clock, {}, lines.append, Config())
    for Clock.step, Clock.progress in enumerate(np.linspace(0.1, 0.7, 7)):
        rounds.on_train_batch_end(0)
    assert [line.partition(" (")[0] for line in lines] == [
        f"step 3: {diagnosis.F_CARRIES_BACKGROUND}",
        f"step 5: no longer: {diagnosis.F_CARRIES_BACKGROUND}",
    ]


def test_characters_that_are_not_told_apart_are_named():
    """Of a model that has learned nothing each share is even; the verdict reads a table of shares."""
    keras.utils.set_random_seed(0)
    model = EquivariantVideoModel(ModelConfig(width=4, canvas=(16, 24)).with_clips([0, 0]))
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 24, 3), np.uint8)
    hints = np.zeros((3, 16, 24, 2), np.float32)
    hints[:, :8, :, 0], hints[:, 8:, :, 1] = 1, 1
    shared = diagnosis.confusion(model, frames, hints, [0, 1])
    coverage = np.asarray(model.f.coverage(model.f(frames / np.float32(255))))
    np.testing.assert_allclose(shared.sum(1), [coverage[:, :8].mean(), coverage[:, 8:].mean()], atol=1e-4)
    names, limits = ["a", "b", "c"], DiagnosisConfig()
    assert diagnosis.set_verdict(np.eye(3), names, limits) == []
    found = np.array([[0.1, 0.05, 0], [0.9, 0.1, 0], [0, 0.4, 0.6]])
    assert diagnosis.set_verdict(found, names, limits) == [
        "a is empty",
        "b is one with a",
        "c is split between itself and b",
    ]
