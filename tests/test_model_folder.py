"""Models by path and by name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eqvid_tf import model_folder
from eqvid_tf.data.output import OutputError
from eqvid_tf.model_folder import load


@pytest.fixture
def shelf(run, tmp_path, monkeypatch):
    """A folder that EQVID_MODELS names, with the model `walk` in it; of a checkout's own there is none."""
    shutil.copytree(run, tmp_path / "shelf" / "walk", ignore=shutil.ignore_patterns("logs", "kept"))
    monkeypatch.setenv("EQVID_MODELS", str(tmp_path / "shelf"))
    monkeypatch.setattr(model_folder, "CHECKOUT", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "shelf"


def test_a_model_is_found_by_name_and_a_path_goes_first(shelf, tmp_path):
    assert model_folder.find_model_folder("walk") == shelf / "walk" and load("walk").config.canvas == (32, 48)
    (tmp_path / "walk").mkdir()
    assert str(model_folder.find_model_folder("walk")) == "walk"
    assert model_folder.find_model_folder(shelf / "walk") == shelf / "walk"


def test_the_first_shelf_goes_first(shelf, tmp_path, monkeypatch):
    for name in ("walk", "jump"):
        (tmp_path / "checkout" / name).mkdir(parents=True)
        (tmp_path / "checkout" / name / "config.json").touch()
    monkeypatch.setattr(model_folder, "CHECKOUT", tmp_path / "checkout")
    assert model_folder.models_by_name() == {"walk": shelf / "walk", "jump": tmp_path / "checkout/jump"}


def test_a_name_that_is_not_there_lists_what_is(shelf):
    with pytest.raises(OutputError, match="nowhere: this is no model folder.*or name one of these: walk"):
        load("nowhere")


def test_the_newest_version(shelf):
    assert model_folder.version_of(shelf / "walk") == 1 and model_folder.version_of(shelf) == 0
    (shelf / "walk" / "12").mkdir()
    assert model_folder.version_of(shelf / "walk") == 12


def test_the_card_says_how_keras_loads_the_model(run):
    """In a process that has not imported the package."""
    (code,) = re.findall(r"```python\n(.*?)```", (run / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    code += "assert type(model).__name__ == 'EquivariantVideoModel' and model.optimizer.iterations > 0"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        done = subprocess.run([sys.executable, "-c", code], cwd=run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
