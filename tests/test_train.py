"""Training a model folder: the schedule, checkpoints and going on from them, seeds, NaN, a full disk, TensorBoard."""

import dataclasses
import errno
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SHARED, briefly, undiagnosed

from eqvid_tf.camera.measure import Camera
from eqvid_tf.camera.stabilization import StabilizedClip
from eqvid_tf.config import Config, LossConfig, ModelConfig, ScheduleConfig, TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.output import OutputError
from eqvid_tf.model_folder import load, read_config, read_metrics
from eqvid_tf.training import callbacks
from eqvid_tf.training import train as training
from eqvid_tf.training.callbacks import Checkpoint, Clock, NotFinite, Schedule
from eqvid_tf.training.hints import Hints
from eqvid_tf.training.material import TrainingClips

BARE = {"estimator": "known", "structure": "plain"}


class Note(keras.callbacks.Callback):
    """Notes the loss of each step, and the weights at the end; may break in at one step."""

    def __init__(self, at=0, do=None):
        super().__init__()
        self.at, self.do, self.losses = at, do, []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        if int(self.model.optimizer.iterations) == self.at:
            self.do(self.model)

    def on_train_end(self, logs=None):
        self.weights = [np.array(weight) for weight in self.model.trainable_weights]


@pytest.fixture
def learn(scene, monkeypatch):
    """Trains on the scene at 16 px, step by step, without an export, a diagnosis and pictures for TensorBoard."""
    monkeypatch.setattr(training, "write_model", lambda *_: None)
    undiagnosed(monkeypatch)
    monkeypatch.setattr(callbacks.TensorBoard, "_picture", lambda board: tf.zeros((1, 1, 1, 3)))
    clip = open_clip(scene)  # with the cache of the tests: what moves in it is found once

    for make in (training.new_model, training.load_checkpoint):
        monkeypatch.setattr(training, make.__name__, lambda *args, make=make: briefly(make(*args)))

    def learn(
        folder, model, *, note=None, loss=None, refreshes=(0.3,), resume=False, log=lambda line: None, **settings
    ):
        note = note or Note()
        config = Config(
            model=ModelConfig(width=4, **model),
            loss=loss or LossConfig(),
            train=TrainConfig(batch_size=4, image_size=16, **settings),
            schedule=ScheduleConfig(refreshes=refreshes),
        )
        training.train(training.configure(config, [clip]), [clip], folder, resume=resume, callbacks=[note], log=log)
        return note

    return learn


# -- going on, and the same again ------------------------------------------------------------------------------------


def test_a_resumed_training_ends_where_an_unbroken_one_does(learn, tmp_path):
    """Pairs, schedule and the optimizer's state go on. Seen equal to the last bit; threads may cost that."""
    settings, lines, half = {"steps": 2, "seed": 3, "loss": LossConfig(hint=0.0), "doctor": "watch"}, [], []

    def interrupt(model):
        half.extend(np.array(weight) for weight in model.trainable_weights)
        raise KeyboardInterrupt

    whole, folder = learn(tmp_path / "whole", BARE, **settings), tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        learn(folder, BARE, **settings, note=Note(1, interrupt), log=lines.append)
    assert lines[-1] == "stopped at step 1"
    assert {path.name for path in folder.iterdir()} == {"checkpoint.keras", "checkpoint.json", "logs"}
    rest = learn(folder, BARE, **settings, resume=True)
    assert len(rest.losses) == 1 and not list(folder.glob("checkpoint*"))
    for a, b in zip(whole.weights, rest.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(half, rest.weights)) > 1e-5


def test_the_same_seed_gives_the_same_losses(learn, tmp_path):
    """With --steps, labels, hints and all. Seen equal to the last bit, too."""
    once = {"steps": 1, "refreshes": ()}
    one, same = (learn(tmp_path / name, {}, seed=1, **once) for name in ("one", "same"))
    np.testing.assert_allclose(one.losses, same.losses, rtol=1e-6)
    for a, b in zip(one.weights, same.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert abs(one.losses[0] - learn(tmp_path / "other", {}, seed=2, **once).losses[0]) > 1e-4


def test_hints_made_anew_reach_the_next_step(learn, tmp_path, monkeypatch):
    """A dataset holds a copy of the hints, so training needs another one whenever they change."""
    seen, losses_of = [], EquivariantVideoModel.losses_of

    def refresh(model, frames, former, hidden, noise, occupied):
        assert hidden is None and occupied is None  # of a clip of one character
        return Hints(background=former, coverage=np.ones(frames.shape[:3], np.float32))

    def spy(self, pair, training):
        seen.append(float(np.mean(pair["hint"])))
        return losses_of(self, pair, training)

    monkeypatch.setattr(callbacks, "refresh_hints", refresh)
    monkeypatch.setattr(EquivariantVideoModel, "losses_of", spy)
    losses = learn(tmp_path / "run", {"estimator": "known"}, steps=2).losses
    assert len(losses) == len(seen) == 2  # the refresh is due after the first step
    assert seen[0] < 0.5 and seen[1] == 1


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(OutputError, match="no checkpoint.keras to resume from"):
        training.load_checkpoint(tmp_path)


# -- checkpoints that go wrong -------------------------------------------------------------------------------------


def poison(model):
    model.g.weights[0].assign(np.nan * model.g.weights[0])


def test_nan_stops_with_the_last_good_weights_kept(learn, tmp_path):
    with pytest.raises(NotFinite) as caught:
        learn(tmp_path, BARE, steps=9, checkpoint_seconds=1e-6, note=Note(1, poison))
    message = str(caught.value)
    assert "\n" not in message and "nan at step 2" in message and "--resume" in message and "--learning-rate" in message
    assert f"the last good weights are in {tmp_path / 'checkpoint.keras'}" in message
    kept = keras.saving.load_model(tmp_path / "checkpoint.keras")
    assert int(kept.optimizer.iterations) == 1
    assert all(np.isfinite(weight).all() for weight in kept.get_weights())


@pytest.fixture
def checkpoint(tmp_path):
    """The callback on a small model, and what it logs."""
    model, lines = EquivariantVideoModel(ModelConfig(**BARE, width=4, canvas=(16, 16))), []
    checkpoint = Checkpoint(
        SimpleNamespace(step=7, losses={"loss": 1.0}), tmp_path / "checkpoint.keras", lines.append, 60.0
    )
    checkpoint.set_model(model)
    return checkpoint, lines


def test_a_full_disk_leaves_the_last_whole_checkpoint(checkpoint, monkeypatch):
    checkpoint, lines = checkpoint
    save = EquivariantVideoModel.save

    def no_room(model, path):
        save(model, path)
        path.write_bytes(path.read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(EquivariantVideoModel, "save", no_room)
        checkpoint.save()
        assert lines == ["the checkpoint could not be written (No space left on device); there is none yet"]
    checkpoint.save()
    whole = checkpoint.path.read_bytes()
    monkeypatch.setattr(EquivariantVideoModel, "save", no_room)
    checkpoint.save()
    assert lines[1:] == ["the checkpoint could not be written (No space left on device); the one before stays"]
    assert checkpoint.path.read_bytes() == whole and list(checkpoint.path.parent.iterdir()) == [checkpoint.path]


def test_weights_that_became_nan_are_not_kept(checkpoint):
    """Also where the loss of that step was still finite."""
    checkpoint, _ = checkpoint
    checkpoint.save()
    whole = checkpoint.path.read_bytes()
    poison(checkpoint.model)
    with pytest.raises(NotFinite, match="weights became NaN at step 7; the last good weights are in"):
        checkpoint.save()
    assert checkpoint.path.read_bytes() == whole


def test_a_checkpoint_every_minute(checkpoint, monkeypatch):
    checkpoint, _ = checkpoint
    now, saved = [checkpoint.saved], []
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint.model, "save", lambda path: (path.touch(), saved.append(now[0])))
    for _ in range(500):
        now[0] += 0.5
        checkpoint.on_train_batch_end(0)
    np.testing.assert_allclose(np.diff([now[0] - 250, *saved]), 60.0, atol=0.5)
    assert len(saved) == 4


# -- the schedule --------------------------------------------------------------------------------------------------


def rates(steps, first=0, strength=1.0, restart=None):
    """Learning rate and hint strength before each step, from the first on."""
    noted, hint = [], tf.Variable(strength)
    model = SimpleNamespace(optimizer=SimpleNamespace(), hint_strength=hint)
    clock = SimpleNamespace(trained=model, progress=first / steps)
    schedule = Schedule(clock, Config())
    schedule.set_model(model)
    for clock.step in range(first, steps):
        clock.progress = clock.step / steps
        if clock.step == restart:
            schedule.restart()
        schedule.on_train_batch_begin(0)
        noted.append((model.optimizer.learning_rate, float(hint)))
    return np.array(noted).T


def test_schedule():
    rate, hint = rates(1000)
    assert rate[0] == pytest.approx(2e-3 / 50, rel=0.01) and (np.diff(rate[:50]) > 0).all()
    assert rate.max() == pytest.approx(2e-3, rel=0.02) and (np.diff(rate[60:]) < 0).all()
    assert rate[500] == pytest.approx(1e-3, rel=0.03) and 1e-5 < rate[-1] < 4e-5
    assert hint[100] == 1 and 0.1 < hint[300] < 1 and (np.diff(hint[:500]) <= 0).all()
    assert hint[450] == pytest.approx(Config().schedule.hint_reminder)
    assert 1 < hint[600] < 8 and (np.diff(hint[500:]) >= 0).all() and (hint[700:] == 8).all()


def test_hints_fade_on_where_they_were():
    _, hint = rates(1000, restart=200)  # a remedy, and the training is stopped after it
    assert hint[199] < 1 and hint[200:350].min() == 1 and hint[500] < hint[400] < 1
    for stop in (400, 500, 900):
        np.testing.assert_allclose(rates(1000, stop, hint[stop - 1])[1], hint[stop:], atol=0.005)


@pytest.fixture
def ticking(monkeypatch):
    """A model that has been trained for 30 steps and 45 seconds, and the time, which goes on where a test says so."""
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    model = SimpleNamespace(
        seconds_trained=tf.Variable(45.0),
        optimizer=SimpleNamespace(iterations=tf.Variable(30)),
        stop_training=False,
        weights_of="some",
    )
    return model, now


def test_time_goes_on_from_run_to_run(ticking):
    model, now = ticking
    clock = Clock(model, TrainConfig(minutes=1.0))
    clock.set_model(model)
    now[0] += 50  # preparing is not training
    clock.on_train_begin()
    now[0] += 20  # nor is tracing the step
    clock.on_train_batch_end(0, {"loss": 2.0})
    assert clock.progress == pytest.approx(0.75)
    now[0] += 3
    clock.on_train_batch_end(1, {"loss": 1.0})
    assert clock.progress == pytest.approx(0.8) and float(model.seconds_trained) == 48 and not model.stop_training
    now[0] += 12
    clock.on_train_batch_end(2, {"loss": 0.5})
    assert clock.progress == 1 and model.stop_training and clock.losses == {"loss": 0.5}
    assert Clock(model, TrainConfig(steps=40)).progress == 0.75


def test_only_a_step_that_is_traced_is_left_out_of_the_time(ticking):
    """After a refresh the step is one that is traced already; after a remedy it may be another."""
    model, now = ticking
    clock = Clock(model, TrainConfig(minutes=1.0))
    clock.set_model(model)
    for model.weights_of, seconds in (("some", 45), ("some", 52), ("others", 52)):
        clock.on_train_begin()
        now[0] += 7
        clock.on_train_batch_end(0)
        clock.on_train_end()
        assert float(model.seconds_trained) == seconds


@pytest.mark.parametrize(
    ("settings", "done"),
    [
        ({"minutes": 0.5}, []),
        ({"minutes": 1.0}, [30]),
        ({"minutes": 10.0}, [90, 180, 300, 420, 510]),
        ({"steps": 30}, [5, 9, 15, 21, 26]),
    ],
)
def test_refreshes_leave_a_short_training_its_time(settings, done):
    """A step takes a second, and a refresh 6; of steps that were asked for none depends on the time."""
    train, material = TrainConfig(batch_size=12, **settings), TrainingClips(frames=[np.zeros((72, 1, 1, 3), np.uint8)])
    clock = SimpleNamespace(seconds=0.0, limit=60 * train.minutes, steps=train.steps, progress=0.0, renew=lambda: None)
    clock.look = lambda: None
    refresh, at = callbacks.Refresh(clock, Config(train=train), material), []

    def take_time():
        at.append(clock.step)
        clock.seconds += 6

    refresh.refresh = take_time
    count = train.steps or round(60 * train.minutes)
    for clock.step in range(1, count + 1):
        clock.progress, clock.seconds = clock.step / count, clock.seconds + 1
        refresh.on_train_batch_end(0)
    assert at == done


@pytest.mark.parametrize(
    ("losses", "minutes"),
    [([1.0, 0.95], 4), ([1.0, 0.8, 0.75], 8), ([1.0, 0.8, 0.6, 0.5], 16)],
    ids=["twice the time gains little", "four times does", "longer than the longest"],
)
def test_a_training_for_which_no_time_is_given_ends_when_longer_gains_little(ticking, losses, minutes):
    """Rounds of 2, 4, 8 and 16 minutes in all; each goes on within the schedule, with the refreshes of its half."""
    model, now = ticking
    model.seconds_trained.assign(0)
    model.losses_of, model.weighted = lambda pair, training: losses.pop(0), lambda loss: loss
    clock = Clock(model, TrainConfig(minutes="auto"))
    material = TrainingClips(frames=[np.zeros((72, 1, 1, 3), np.uint8)])
    refresh = callbacks.Refresh(clock, Config(), material)
    rounds = callbacks.Rounds(clock, [{}], lambda line: None, [refresh])
    for callback in (clock, rounds):
        callback.set_model(model)
    clock.on_train_begin()
    clock.on_train_batch_end(0)  # in which the step is traced
    while True:
        now[0] += 60
        clock.on_train_batch_end(0)
        rounds.on_train_batch_end(0)
        if model.stop_training and not clock.renewed:
            break
        if clock.renewed:
            assert clock.progress == 0.5 and refresh.due == [0.5, 0.7, 0.85]
            clock.renewed = model.stop_training = False
    assert clock.seconds == 60 * minutes and not losses
    again = Clock(model, TrainConfig(minutes="auto"))
    assert (again.limit, again.progress) == (60 * minutes, 1.0)  # resumed at its end, it is at the end


# -- what the clips decide, and what is written ---------------------------------------------------------------------


def stable(name, size, camera=None):
    clip = SimpleNamespace(path=name, name=name, size=size, fps=25, count=9)
    return StabilizedClip(clip, camera or Camera.still(9))


def test_the_canvas_of_a_mosaic_shows_a_frame_as_large_as_the_canvas_of_a_frame():
    poses = np.tile(np.eye(3), (9, 1, 1))
    poses[:, 0, 2] = np.linspace(0, 1.5, 9)  # a pan by three quarters of a frame
    pan = Camera(kind="travels", poses=poses, reference=4, pixels=480.0, lost=0.0, sure=True)
    assert stable("pan", (480, 640), pan).size == (480, 1120)
    found = training.configure(Config(), [stable("pan", (480, 640), pan)])
    assert found.model.canvas == (64, 152)
    far = dataclasses.replace(pan, poses=np.concatenate([poses[:1], poses[1:] + [[0, 0, 6], [0, 0, 0], [0, 0, 0]]]))
    found = training.configure(Config(), [stable("far", (480, 640), far)])
    assert np.prod(found.model.canvas) < 1.2 * training.MOST_CANVAS * 64 * 88


def test_configure():
    walk, wide = stable("walk", (480, 640)), stable("wide", (60, 120))
    config = training.configure(Config(), [walk])
    height, width = config.model.canvas
    assert height == training.LARGEST and width / height == pytest.approx(4 / 3, rel=0.05)
    assert config.model.memory == 1 and config.model.given and config.clips == ("walk",)
    both = training.configure(Config(train=TrainConfig(image_size=32)), [walk, wide])
    assert both.model.memory == 2 and both.clips == ("walk", "wide") and both.model.canvas[0] >= 32
    small = training.configure(Config(), [wide])
    assert small.model.canvas[0] == 60 or small.model.canvas[0] % 4 == 0


def test_a_model_folder(run, trained, scene):
    assert {path.name for path in run.iterdir()} == {
        "1",
        "README.md",
        "cast",
        "cast.json",
        "config.json",
        "kept",
        "logs",
        "metrics.json",
        "model.keras",
    }
    config, metrics = read_config(run), json.loads((run / "metrics.json").read_text())
    assert config.clips == ("first",) and config.model.canvas == (32, 48)
    assert config.train.batch_size == SHARED.train.batch_size
    assert metrics["steps"] == config.train.steps and metrics["seconds"] > 0 and metrics["device"] == training.device()
    assert metrics["versions"]["tensorflow"] == tf.__version__
    assert {"scene_loss", "character_loss", "background_loss", "loss"} <= set(metrics["losses"])
    assert all(np.isfinite(value) for value in metrics["losses"].values())
    loaded = load(run)
    assert loaded.config == config.model
    for ours, theirs in zip(trained.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert read_metrics(run) == metrics


def test_tensorboard_gets_the_losses_and_a_picture(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "logs"), size_guidance={"tensors": 0})  # all of them
    events.Reload()
    steps = read_config(run).train.steps
    tags = events.Tags()["tensors"]
    for name in ("scene_loss", "character_loss", "background_loss", "loss"):
        values = [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]
        assert [step for step, _ in values] == list(range(20, steps + 1, 20)), name
        assert name == "character_loss" or values[-1][1] < values[0][1], name  # at first f is nearly nothing
    (title,) = (tag for tag in tags if "character" in tag and "render" in tag)
    width, height, *pictures = tf.make_ndarray(events.Tensors(title)[0].tensor_proto)
    picture = tf.io.decode_image(pictures[0]).numpy()
    assert (int(width), int(height)) == (6 * 48, 32) and picture.shape == (32, 6 * 48, 3)  # x, layers, mask, render, x'
    assert picture.std() > 10 and len(pictures) == 4
