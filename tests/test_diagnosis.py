"""Each trivial solution is brought about, and noticed by its name in the training log; a healthy model gets none."""

import json

import keras
import numpy as np
import pytest

from eqvid_tf.config import Config, DiagnosisConfig, LossConfig, ModelConfig, TrainConfig
from eqvid_tf.data.clips import open_clip
from eqvid_tf.training import callbacks, diagnosis
from eqvid_tf.training import train as training

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
    """Trains on the scene at 16 px, without an export; gives the metrics (None if it collapsed) and the log."""
    monkeypatch.setattr(training, "write_model", lambda *_: None)
    clip = open_clip(scene, cache=None)

    def learn(model, loss=None, callbacks=(), diagnosis=None, **settings):
        lines, metrics = [], None
        config = Config(
            model=ModelConfig(**{"width": 8, **model}),
            loss=loss or LossConfig(),
            train=TrainConfig(batch_size=4, image_size=16, **settings),
            diagnosis=diagnosis or DiagnosisConfig(),
        )
        try:
            metrics = training.train(
                training.configure(config, [clip]), [clip], tmp_path / "run", callbacks=callbacks, log=lines.append
            )
        except training.Collapsed as error:
            lines.append(f"collapsed: {error}")
        return metrics, lines

    return learn


def named(lines, name):
    return any(f": {name} (" in line for line in lines)


class Spoil(keras.callbacks.Callback):
    """Puts a model, once, where a training that went wrong would have left it."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def on_train_begin(self, logs=None):
        if self.spoil:
            self.spoil(self.model)
        self.spoil = None


BAD = {  # a bad configuration: (names, of the model, losses, spoil, settings)
    "losses that are not balanced": (
        (diagnosis.F_EMPTY, diagnosis.SCALE_DRIFT, diagnosis.H_CARRIES_CHARACTER),
        {"width": 4, "estimator": "known", "structure": "plain"},
        LossConfig(character=100.0, background=0.0, hint=0.0),
        None,
        {"learning_rate": 1e-2},
    ),
    "no hints, and f begins with everything": (
        (diagnosis.F_CARRIES_BACKGROUND,),
        {"estimator": "known"},
        LossConfig(hint=0.0, scene=0.0),
        lambda model: model.f.head.bias.assign([20.0, 0, 0, 0, 0]),
        {},
    ),
    "no hints, and f begins with nothing": (
        (diagnosis.F_EMPTY,),
        {"estimator": "known"},
        LossConfig(hint=0.0, scene=0.0),
        lambda model: model.f.head.bias.assign([-20.0, 0, 0, 0, 0]),
        {},
    ),
    "no labels, and T begins elsewhere": (
        (diagnosis.MOTION_UNRELATED,),
        {},
        LossConfig(label=0.0, scene=0.0, character=0.0),
        lambda model: model.T.out.bias.assign([0.0, 0, 5, 0, 0, -5]),
        {},
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_configuration_is_noticed_and_recovered_from(bad, learn):
    names, model, loss, spoil, settings = BAD[bad]
    metrics, lines = learn(model, loss, callbacks=[Spoil(spoil)], steps=400, **settings)
    for name in names:
        assert named(lines, name), lines
    line = next(line for line in lines if names[0] in line)
    assert line.startswith("step ") and "share " in line  # when, and what was measured
    assert any("remedy: hints in full" in line for line in lines)
    assert metrics and metrics["verdict"] == [], (metrics, lines)


SPOILT = {
    diagnosis.F_CARRIES_BACKGROUND: ("known", lambda model: model.f.head.bias.assign([20.0, 0, 0, 0, 0])),
    diagnosis.F_EMPTY: ("known", lambda model: model.f.head.bias.assign([-20.0, 0, 0, 0, 0])),
    diagnosis.H_CARRIES_CHARACTER: ("known", lambda model: model.h.head.bias.assign([-20.0])),
    diagnosis.MOTION_IDENTITY: ("features", lambda model: model.f.head.bias.assign([-20.0, 0, 0, 0, 0])),
    diagnosis.MOTION_UNRELATED: ("features", lambda model: model.T.out.bias.assign([0.0, 0, 5, 0, 0, -5])),
}


@pytest.mark.parametrize("name", SPOILT)
def test_each_trivial_solution_has_its_name(name, learn, monkeypatch):
    estimator, spoil = SPOILT[name]
    start = training.new_model

    def eagerly(*args):
        model = start(*args)
        model.run_eagerly = True  # one step: to trace it takes longer
        return model

    monkeypatch.setattr(training, "new_model", eagerly)
    at_once = DiagnosisConfig(least_steps=0)
    metrics, lines = learn(
        {"estimator": estimator}, callbacks=[Spoil(spoil)], diagnosis=at_once, steps=1, learning_rate=1e-6
    )
    assert named(lines, name), lines
    collapsed = name in (diagnosis.MOTION_IDENTITY, diagnosis.MOTION_UNRELATED)
    assert (metrics is None) == collapsed
    if collapsed:
        assert f": {name}: " in lines[-1] and "Train longer" in lines[-1]
    else:
        assert name in metrics["verdict"]


def test_a_healthy_model_gets_no_name(run):
    log = (run.parent / "log.txt").read_text()
    assert not [name for name in NAMES if name in log], log
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["verdict"] == []
    symptoms = metrics["symptoms"]
    assert 0.01 < symptoms["share"] < 0.3 and symptoms["ghost"] < 0.2
    assert 0.6 < symptoms["travel"] < 1.5 and symptoms["agreement"] > 0.6


HEALTHY = {"share": 0.1, "ghost": 0.1, "travel": 1.0, "agreement": 1.0, "f_scale": 1.0, "h_scale": 1.0}


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
        trained, step, progress = None, 0, 0.0

    found, lines = [HEALTHY, {**HEALTHY, "share": 0.9}, {**HEALTHY, "share": 0.8}, HEALTHY, HEALTHY], []
    monkeypatch.setattr(callbacks, "symptoms", lambda *_: found.pop(0))
    rounds = callbacks.Diagnosis(Clock, {}, lines.append, Config())
    for Clock.step, Clock.progress in enumerate(np.linspace(0.1, 0.7, 7)):
        rounds.on_train_batch_end(0)
    assert [line.partition(" (")[0] for line in lines] == [
        f"step 3: {diagnosis.F_CARRIES_BACKGROUND}",
        f"step 5: no longer: {diagnosis.F_CARRIES_BACKGROUND}",
    ]
