"""The names that `import eqvid_tf` gives: few, pinned, and imported when they are first used."""

import subprocess
import sys

import pytest

import eqvid_tf

NAMES = {
    "BackgroundEncoder",
    "CharacterEncoder",
    "ClipLayers",
    "Config",
    "EquivariantVideoModel",
    "FeatureMotion",
    "FrameMotion",
    "KnownMotion",
    "LossConfig",
    "ModelConfig",
    "Renderer",
    "SpatialTransformer",
    "TrainConfig",
    "__version__",
    "affine",
    "assert_equivariant",
    "catalog",
    "draw_scene",
    "finetune",
    "load",
    "open_clip",
    "pairs",
    "render_shots",
    "warp",
}


def test_public_names():
    assert set(eqvid_tf.__all__) == NAMES and len(NAMES) <= 25
    assert set(dir(eqvid_tf)) >= NAMES
    for name in NAMES:
        assert getattr(eqvid_tf, name) is not None
    assert eqvid_tf.core.affine.build and eqvid_tf.__version__.count(".") == 2
    documented = NAMES - {"__version__"}
    assert not [name for name in documented if not getattr(eqvid_tf, name).__doc__]


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'colour'"):
        _ = eqvid_tf.colour


def test_importing_the_package_does_not_import_tensorflow():
    code = "import sys, eqvid_tf; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
