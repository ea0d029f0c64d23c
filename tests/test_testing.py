"""The assertions that other tests lean on: they pass what is right, and above all fail what is wrong."""

import keras
import numpy as np
import pytest
from keras import ops

from eqvid_tf.core import affine
from eqvid_tf.testing import assert_equivariant, run_layer_test

FRAME = np.random.default_rng(0).uniform(size=(2, 40, 48, 3)).astype("float32")
SMOOTH = ops.convert_to_numpy(ops.image.resize(FRAME[:, ::8, ::8], (40, 48), interpolation="bicubic"))
MOVED = affine.build(shift=[[0.25, 0.0], [-0.1, 0.2]], turn=[0.3, -0.2], zoom=1.1, aspect=48 / 40)


def blur(frame):
    kernel = np.outer([1, 2, 1], [1, 2, 1])[:, :, None, None] / 16.0
    return ops.depthwise_conv(frame, ops.cast(ops.tile(kernel, (1, 1, 3, 1)), "float32"), padding="same")


def test_identity_is_equivariant_to_the_last_bit():
    assert assert_equivariant(lambda frame: frame, FRAME, MOVED, border=0.0, atol=0.0) == 0.0


@pytest.mark.parametrize("fn", [blur, lambda frame: ops.average_pool(blur(frame), 2)], ids=["blur", "blur and pool"])
def test_local_filter_is_equivariant(fn, capsys):
    error = assert_equivariant(fn, SMOOTH, MOVED, border=0.1, atol=0.02)
    assert 0.0 < error <= 0.02
    assert f"equivariance error {error:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "fn",
    [
        lambda frame: frame * ops.linspace(0.0, 1.0, 48)[None, None, :, None],  # knows where it is
        lambda frame: ops.flip(frame, axis=2),  # moves the other way
        lambda frame: frame[:, :1, :1] + ops.zeros_like(frame),  # looks at one place
        lambda frame: 0.0 * frame,  # a trivial solution
    ],
    ids=["position", "mirror", "one place", "nothing"],
)
def test_what_is_not_equivariant_fails(fn):
    with pytest.raises(AssertionError):
        assert_equivariant(fn, SMOOTH, MOVED, border=0.1, atol=0.05)


def test_motion_out_of_view_is_refused():
    with pytest.raises(ValueError, match="in view"):
        assert_equivariant(blur, FRAME, affine.build(shift=[[3.0, 0.0]] * 2), border=0.1, atol=1.0)


@keras.saving.register_keras_serializable(package="eqvid_tf_tests")
class Scale(keras.layers.Layer):
    """A right layer, with switches that each make one thing wrong."""

    def __init__(self, start=1.0, fault=None, **kwargs):
        super().__init__(**kwargs)
        self.start, self.fault = start, fault

    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer=keras.initializers.Constant(self.start))
        self.idle = self.add_weight(shape=()) if self.fault == "idle" else None

    def call(self, x):
        if self.fault == "nan":
            return self.factor * x / 0.0 * 0.0
        if self.fault == "half":
            return ops.cast(self.factor * x, "float16")
        if self.fault == "mixed" and self.compute_dtype != "float32":
            return 2.0 * self.factor * x
        return self.factor * x

    def compute_output_shape(self, shape):
        return shape[:-1] if self.fault == "shape" else shape

    def get_config(self):
        config = {**super().get_config(), "fault": self.fault}
        return config if self.fault == "config" else {**config, "start": self.start}


INPUT = np.linspace(0.5, 1.0, 24, dtype="float32").reshape(2, 4, 3)


def test_right_layer_passes():
    layer = run_layer_test(Scale, {"start": 2.0}, INPUT, expected_output_shape=(2, 4, 3))
    assert isinstance(layer, Scale)
    run_layer_test(keras.layers.Add, {}, ([INPUT, INPUT],), expected_output_shape=(2, 4, 3))


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("idle", "no gradient reaches"),
        ("nan", "not finite"),
        ("half", "symbolic|under mixed|off by"),
        ("mixed", "off by"),
        ("shape", "compute_output_shape says"),
        ("config", "leaves out"),
    ],
)
def test_wrong_layer_fails(fault, message):
    with pytest.raises(AssertionError, match=message):
        run_layer_test(Scale, {"start": 2.0, "fault": fault}, INPUT)


def test_wrong_shape_fails():
    with pytest.raises(AssertionError, match="expected"):
        run_layer_test(Scale, {}, INPUT, expected_output_shape=(2, 4, 4))
