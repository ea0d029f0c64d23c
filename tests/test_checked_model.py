"""The door of the Python API: what a model of pairs takes, and the line with which it refuses the rest."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_model import a_batch, make

from eqvid_tf.blocks.unet import Trunk

PAIR = a_batch()
FRAMES = ("frame", "next_frame")
WHOLE = "Divide by 255"
batches = tf.data.Dataset.from_tensors


def with_frames(function, pair=PAIR):
    return {name: function(value) if name in FRAMES else value for name, value in pair.items()}


UINT8, WIDE = with_frames(lambda x: (255 * x).astype("uint8")), with_frames(lambda x: 255 * x)


@pytest.fixture(scope="module")
def model():
    """Run as it is written: of most that it is given here nothing is computed."""
    model = make("known")
    model.compile(optimizer="sgd", run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def learned():
    return make("features")


def taking(model, name):
    """`fit`, `evaluate` or `predict`, without a word of theirs."""
    options = {"verbose": 0, "shuffle": False} if name == "fit" else {"verbose": 0}
    return functools.partial(getattr(model, name), **options)


def fit(model, x, **options):
    return taking(model, "fit")(x, **options).history


def loss_of(model, source):
    return float(model.evaluate(source, steps=1, verbose=0, return_dict=True)["loss"])


def refused(call, *args, match, **options):
    with pytest.raises(ValueError, match=match) as refusal:
        call(*args, **options)
    assert "\n" not in str(refusal.value)


def generator(*items):
    yield from items


# -- frames that are not in [0, 1] ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize(
    "source", [batches, dict, lambda pair: generator((pair,))], ids=["dataset", "dict", "generator"]
)
def test_frames_of_another_range_are_refused(model, name, source):
    call = taking(model, name)
    refused(call, source(UINT8), match=rf"^frame must be float32 .* received uint8 \[4, 16, 24, 3\]. {WHOLE}")
    refused(call, source(WIDE), match=rf"^frame must be float32 .* received values from 0.0\d+ to 25\d.*. {WHOLE}")


@pytest.mark.parametrize("name", ["train_on_batch", "test_on_batch", "predict_on_batch", "__call__"])
def test_one_batch_of_another_range_is_refused(model, name):
    refused(getattr(model, name), UINT8, match=f"^frame must be .* received uint8 .*{WHOLE}")
    refused(getattr(model, name), WIDE, match=f"^frame must be .* received values .*{WHOLE}")


@pytest.mark.parametrize(
    "name", ["render", "separate", "estimate_motion", "transfer", "coverage", "encode", "remembers"]
)
def test_faces_refuse_frames_that_are_none(learned, name):
    frame, motion = PAIR["frame"], PAIR["motion"]
    before = {"render": (frame,), "estimate_motion": (frame,), "transfer": (frame, frame)}.get(name, ())
    after = (motion,) if name == "render" else ()
    for wrong, received in (
        (UINT8["frame"], rf"received uint8 .*{WHOLE}"),
        (WIDE["frame"], rf"received values from .*{WHOLE}"),
        (WIDE["frame"].astype(int).tolist(), rf"received values from .*{WHOLE}"),
        (frame[0], r"received \[16, 24, 3\]\. Add a batch axis"),
        (np.pad(frame, [[0, 0]] * 3 + [[0, 1]]), r"received \[4, 16, 24, 4\]\. Drop alpha"),
        (frame * np.nan, "received values that are not finite"),
        (None, "received NoneType"),
    ):
        refused(getattr(learned, name), *before, wrong, *after, match=rf"^\w*frame must be float32 .*{received}")


def test_frames_of_another_size_or_a_wrong_motion_are_refused(learned):
    frame, motion = PAIR["frame"], PAIR["motion"]
    refused(
        learned.estimate_motion, frame, frame[:, :8], match=r"^next_frame must be of the size of frame, \[4, 16, 24"
    )
    refused(
        learned.render, frame, frame[:, :8], motion, match="^background_frame must be of the size of character_frame"
    )
    refused(
        learned.render, frame, frame, motion[0], match=r"^motion must be \[batch, 2, 3\], forward; received \[2, 3\]"
    )
    refused(learned.render, frame, frame, motion[:2], match="^motion must be as many as character_frame, 4; received 2")
    refused(learned.render, frame, frame, np.nan * motion, match="^motion must be finite")


def test_what_resizing_overshoots_is_taken(model):
    assert np.isfinite(fit(model, batches(with_frames(lambda x: 1.3 * x - 0.15)))["loss"]).all()


def test_floats_of_any_precision_are_taken(model):
    exact = loss_of(model, PAIR)
    for dtype, tolerance in (("float64", 1e-6), ("float16", 0.01)):
        given = {name: value.astype(dtype) for name, value in PAIR.items()}
        assert loss_of(model, batches(given)) == pytest.approx(exact, rel=tolerance)


# -- frames of any size ---------------------------------------------------------------------------------------------


def test_frames_of_any_size_are_trained_on():
    """The size is no multiple of the stride, whether it is known when the step is traced or not."""
    trunk = Trunk(4)
    trunk.build((None, None, None, 3))
    frame = np.random.default_rng(0).uniform(size=(1, 30, 28, 3)).astype("float32")
    for compiled, known in ((False, frame.shape), (True, (None, None, None, 3))):
        traced = tf.function(trunk, [tf.TensorSpec(known)], autograph=False, jit_compile=compiled)(frame)
        np.testing.assert_allclose(traced, trunk(frame), atol=1e-5)
    model = make("known", stride=4)
    model.compile(optimizer="sgd")
    assert np.isfinite(fit(model, batches(a_batch(2, (30, 28))))["loss"]).all()


# -- datasets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [lambda: batches((PAIR,)), lambda: generator((PAIR,)), lambda: generator(PAIR), lambda: PAIR, lambda: (PAIR,)],
    ids=["dataset of a tuple", "generator of a tuple", "generator", "arrays", "tuple of arrays"],
)
def test_pairs_come_in_any_form(model, source):
    assert loss_of(model, source()) == pytest.approx(loss_of(model, batches(PAIR)), rel=1e-6)
    assert model.predict(source(), steps=1, verbose=0)["frame"].shape == PAIR["frame"].shape
    logged = fit(model, source(), steps_per_epoch=1, validation_data=source(), validation_steps=1)
    assert np.isfinite(logged["loss"] + logged["val_loss"]).all()


@pytest.mark.parametrize("name", ["fit", "evaluate"])
def test_targets_and_weights_are_refused(model, name):
    call, weight = taking(model, name), np.ones(4, "float32")
    frames = tuple(PAIR[key] for key in FRAMES)
    named = r"^a batch must be one dict .* received a tuple of 2\. Name the frames: dataset\.map"
    none = r"^a batch must be one dict .* received a tuple of [23]\. A pair has no target and no weight"
    for source in (batches, lambda item: generator(item)):
        refused(call, source(frames), match=named)
        refused(call, source((PAIR, weight)), match=none)
        refused(call, source((PAIR, weight, weight)), match=none)
    refused(call, *frames, match="^y must be left at None")
    refused(call, PAIR["frame"], match="^a batch must be one dict .* received ndarray")
    refused(call, None, match="^a batch must be one dict .* received NoneType")
    refused(call, batches(PAIR), sample_weight=weight, match="^sample_weight must be left at None")
    refused(fit, model, batches(PAIR), class_weight={0: 1.0}, match="^class_weight must be left at None")


@pytest.mark.parametrize("name", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"next_frame": None}, "the keys of a batch must be .*next_frame.*; received no next_frame. Name both frames"),
        ({"motion": None}, "the keys of a batch must be .*; received no motion. The 'known' estimator needs"),
        ({"hints": PAIR["frame"]}, "the keys of a batch must be .*; received hints. Leave the others out"),
        ({"hint": PAIR["frame"][..., :1]}, "hints must be hint and next_hint; received hint alone"),
        (
            {"hint": PAIR["frame"]},
            r"hint must be .* 1\] in \[0, 1\]; received \[4, 16, 24, 3\]. Give one channel, or one",
        ),
        ({"places": np.zeros((4, 1))}, r"places must be int32 \[batch, characters\]; received float64 \[4, 1\]"),
        ({"frame": np.pad(PAIR["frame"], [[0, 0]] * 3 + [[0, 1]])}, r"frame must be .* \[4, 16, 24, 4\]. Drop alpha"),
        ({"frame": PAIR["frame"][..., :1]}, r"frame must be .* received \[4, 16, 24, 1\]. Repeat the grey"),
        ({"frame": np.moveaxis(PAIR["frame"], 3, 1)}, r"frame must be .* received \[4, 3, 16, 24\]. Move the channels"),
        ({name: PAIR[name][0] for name in PAIR}, r"frame must be .* received \[16, 24, 3\]. Add a batch axis"),
        (
            {"next_frame": PAIR["frame"][:, :8]},
            r"next_frame must be of the size of frame, .*; received \[4, 8, 24, 3\]",
        ),
        ({"motion": np.ones((4, 6), "float32")}, r"motion must be \[batch, 2, 3\], forward; received \[4, 6\]"),
        ({"motion": np.ones((4, 2, 3), int)}, r"motion must be float32 \[batch, 2, 3\]; received int64"),
        ({"motion": np.nan * PAIR["motion"]}, "motion must be finite"),
        ({"next_frame": np.nan * PAIR["frame"]}, "next_frame must be .*; received values that are not finite"),
        ({"frame": 2 * PAIR["frame"] - 1}, r"frame must be .* received values from -0\.99.* Bring them to"),
    ],
)
def test_a_batch_that_is_no_pair_is_refused(model, name, change, message):
    pair = {key: value for key, value in {**PAIR, **change}.items() if value is not None}
    refused(taking(model, name), batches(pair), match=f"^{message}")


def test_an_empty_dataset_is_refused(model):
    known = batches(PAIR).take(0)
    for empty in (known, tf.data.Dataset.from_generator(generator, output_signature=known.element_spec)):
        for name in ("fit", "evaluate"):
            refused(taking(model, name), empty, match="^x must hold at least one batch")


def test_validation_data_are_looked_at_before_the_first_epoch(model):
    before = int(model.optimizer.iterations)
    for wrong, message in (
        (batches(UINT8), f"frame must be .*{WHOLE}"),
        (tuple(PAIR[key] for key in FRAMES), "a batch must be one dict"),
        ((PAIR, None, np.ones(4)), "a batch must be one dict .* A pair has no target and no weight"),
    ):
        refused(fit, model, batches(PAIR), validation_data=wrong, match=f"^{message}")
    assert int(model.optimizer.iterations) == before


# -- compile, callbacks, Keras's own settings -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "loss_weights", "metrics", "weighted_metrics"])
def test_losses_and_metrics_of_keras_are_refused(learned, name):
    value = "mse" if name == "loss" else ["mse"]
    refused(
        learned.compile, "sgd", **{name: value}, match=f"^{name} must be left at None: .* would ignore it; received"
    )


def test_callbacks_know_that_a_loss_is_minimized(model, tmp_path):
    """A checkpoint keeps the least of each loss that the model logs; the others stop at what is no better."""
    names = [f"val_{name}" for name in ("loss", "scene_loss", "character_loss", "background_loss")]
    keep = [
        keras.callbacks.ModelCheckpoint(tmp_path / f"{name}.keras", monitor=name, save_best_only=True) for name in names
    ]
    slow = [keras.callbacks.ReduceLROnPlateau(monitor=name, patience=0, min_delta=1e3) for name in names]
    stop = [keras.callbacks.EarlyStopping(monitor=name, patience=1, min_delta=1e3) for name in names]
    rate = float(model.optimizer.learning_rate)
    logged = fit(model, batches(PAIR), validation_data=batches(PAIR), epochs=3, callbacks=[*keep, *slow, *stop])
    assert len(logged["loss"]) == 2 and float(model.optimizer.learning_rate) < rate, "the second was no better by 1000"
    for name, callback in zip(names, keep, strict=True):
        assert callback.best == pytest.approx(min(logged[name])) and (tmp_path / f"{name}.keras").is_file()


def test_a_saved_model_comes_back_compiled(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.compiled and int(again.optimizer.iterations) == int(model.optimizer.iterations)


def test_channels_first_changes_nothing():
    expected = make("frames", stride=2)(PAIR)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        found = make("frames", stride=2)(PAIR)
    finally:
        keras.config.set_image_data_format(before)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
