"""The losses, on 2 x 2 cases worked out by hand."""

import ast
import inspect
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from eqvid_tf.core import affine, losses

FLOAT32 = 5e-6
A = np.float32([[0.0, 0.5], [1.0, 0.25]]).reshape(1, 2, 2, 1)
B = np.float32([[0.25, 0.5], [0.0, 0.75]]).reshape(1, 2, 2, 1)  # |A - B| = .25, 0, 1, .5
LEFT = np.float32([[1.0, 0.0], [1.0, 0.0]]).reshape(1, 2, 2, 1)


def close(value, expected):
    assert keras.backend.standardize_dtype(value.dtype) == "float32" and value.shape == ()
    assert float(value) == pytest.approx(expected, abs=FLOAT32)


def test_scene_loss():
    close(losses.scene_loss(A, B), 1.75 / 4)
    close(losses.scene_loss(B, B), 0.0)


def test_background_loss():
    close(losses.background_loss(A, B), 1.75 / 4)


def test_character_loss_counts_what_is_inside():
    close(losses.character_loss(A, B, np.ones_like(A)), 1.75 / 4)
    close(losses.character_loss(A, B, LEFT), (0.25 + 1.0) / 2)
    close(losses.character_loss(A, B, 1 - LEFT), 0.5 / 2)
    close(losses.character_loss(A, B, 0 * LEFT), 0.0)


def test_character_loss_of_a_batch_is_the_mean_of_its_parts():
    """So that the two halves that two devices see add up to what one device sees."""
    two = [np.concatenate(pair) for pair in ((A, A), (B, B), (LEFT, np.ones_like(A)))]
    close(losses.character_loss(*two), ((0.25 + 1.0) / 2 + 1.75 / 4) / 2)


def test_coverage_loss_is_the_cross_entropy():
    close(losses.coverage_loss(np.full_like(A, 0.5), B), math.log(2))
    coverage, hint = (np.float32(values).reshape(1, 1, 2, 1) for values in ([0.9, 0.2], [1.0, 0.5]))
    close(losses.coverage_loss(coverage, hint), -(math.log(0.9) + 0.5 * math.log(0.2) + 0.5 * math.log(0.8)) / 2)
    ends = np.float32([0, 1]).reshape(1, 1, 2, 1)
    assert np.isfinite(losses.coverage_loss(ends, 1 - ends))
    two = np.stack([coverage, coverage], 1)  # of a set: the sum over its characters
    close(losses.coverage_loss(two, np.stack([hint, hint], 1)), 2 * float(losses.coverage_loss(coverage, hint)))


def test_motion_loss_is_in_units_of_the_characters_box():
    box = affine.build(shift=(0.3, -0.2), zoom=0.25)[None]
    still = affine.identity(1)
    close(losses.motion_loss(still, still, box), math.sqrt(1e-8))
    close(losses.motion_loss(affine.build(shift=(0.5, 0.0))[None], still, box), 0.5 / 0.25)
    close(losses.motion_loss(affine.build(shift=(0.3, -0.4))[None], still, box), 0.5 / 0.25)
    quarter = affine.build(turn=math.pi / 2, centre=(0.3, -0.2))[None]
    close(losses.motion_loss(quarter, still, box), 2.0)  # each corner of the box goes to the next one


@pytest.mark.parametrize("loss", [losses.scene_loss, losses.background_loss])
def test_half_precision_is_summed_in_full(loss):
    many = tf.fill([1, 256, 256, 1], tf.constant(1e-4, tf.float16))
    assert float(loss(many, 0 * many)) == pytest.approx(float(many[0, 0, 0, 0]), rel=1e-4)


def test_they_are_pure_functions():
    source = ast.parse(inspect.getsource(losses))
    imported = [node for node in ast.walk(source) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {name.name: getattr(node, "module", None) for node in imported for name in node.names}
    assert names == {"annotations": "__future__", "tensorflow": None, "ops": "keras"}
    attributes = [node for node in ast.walk(source) if isinstance(node, ast.Attribute)]
    of_tensorflow = {node.attr for node in attributes if getattr(node.value, "id", None) == "tf"}
    assert of_tensorflow == {"Tensor"}  # for the types alone
    assert not [node for node in ast.walk(source) if isinstance(node, (ast.ClassDef, ast.Global))]
    assert losses.scene_loss(A, B) == losses.scene_loss(A, B)
