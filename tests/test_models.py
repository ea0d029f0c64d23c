"""Models by path and by name."""

import shutil

import pytest

from eqvid_tf import models
from eqvid_tf.export import load
from eqvid_tf.output import OutputError


@pytest.fixture
def shelf(run, tmp_path, monkeypatch):
    """A folder that EQVID_MODELS names, with the model `walk` in it; of a checkout's own there is none."""
    shutil.copytree(run, tmp_path / "shelf" / "walk", ignore=shutil.ignore_patterns("logs", "kept"))
    monkeypatch.setenv("EQVID_MODELS", str(tmp_path / "shelf"))
    monkeypatch.setattr(models, "CHECKOUT", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "shelf"


def test_a_model_is_found_by_name_and_a_path_goes_first(shelf, tmp_path):
    assert models.model_folder("walk") == shelf / "walk" and load("walk").config.canvas == (32, 48)
    (tmp_path / "walk").mkdir()
    assert str(models.model_folder("walk")) == "walk"
    assert models.model_folder(shelf / "walk") == shelf / "walk"


def test_the_first_shelf_goes_first(shelf, tmp_path, monkeypatch):
    for name in ("walk", "jump"):
        (tmp_path / "checkout" / name).mkdir(parents=True)
        (tmp_path / "checkout" / name / "config.json").touch()
    monkeypatch.setattr(models, "CHECKOUT", tmp_path / "checkout")
    assert models.on_the_shelf() == {"walk": shelf / "walk", "jump": tmp_path / "checkout/jump"}


def test_a_name_that_is_not_there_lists_what_is(shelf):
    with pytest.raises(OutputError, match="nowhere: this is no model folder.*or name one of these: walk"):
        load("nowhere")


def test_the_newest_version(shelf):
    assert models.version_of(shelf / "walk") == 1 and models.version_of(shelf) == 0
    (shelf / "walk" / "12").mkdir()
    assert models.version_of(shelf / "walk") == 12
