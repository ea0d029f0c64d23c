"""The models that ship: as good as they say, small, and of every format that a folder ever had readable today."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import trace_faces

from eqvid_tf.config import FORMAT
from eqvid_tf.evaluation.comparison import evaluate
from eqvid_tf.model_folder import CHECKOUT, folders_on, load, read_config, read_metrics

ROOT = Path(__file__).parents[1]
FLOAT32 = 1e-5
FOLDERS = folders_on(CHECKOUT)


def maker():
    """saved_models/make.py as a module."""
    spec = importlib.util.spec_from_file_location("make", CHECKOUT / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_or_three_models_ship():
    assert [folder.name for folder in FOLDERS] == sorted(maker().MODELS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_is_as_good_as_its_metrics_say(folder, tmp_path, monkeypatch):
    """Measured again where that takes seconds, on two brief scenes; the table is of whole ones, from the same run."""
    make, metrics = maker(), read_metrics(folder)
    monkeypatch.setattr(make, "load", lambda folder: trace_faces(load(folder)))
    cached = lambda *words, **_: evaluate(*words, cache=tmp_path / "cache")  # camera and tracks are found once a scene
    monkeypatch.setattr(make, "evaluate", cached)
    found, said = make.quick_figures(folder, metrics["scenes"], tmp_path), metrics["quick"]
    off = {
        (row, column): (value, said[row][column])
        for row in said
        for column, value in found[row].items()
        if abs(value - said[row][column]) > metrics["spread"][row][column] + 0.01
    }
    assert not off and set(found["eqvid"]) == set(said["eqvid"])
    for figures in (found, metrics["figures"]):
        better = {
            column
            for column, value in figures["eqvid"].items()
            if (value < figures["scissors"][column]) == (column == "corner_px")
        }
        assert better >= {"iou", "corner_px", "move_char", "swap_char", "transfer_char"}
    assert make.table(metrics).strip() in (folder / "README.md").read_text(encoding="utf-8")
    assert metrics["verdict"] == [] and sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 10e6


def test_every_format_that_ever_shipped_is_read():
    folders = [*FOLDERS, *(ROOT / "tests/formats").glob("*/")]  # one is kept there when the format is raised
    formats = {json.loads((folder / "config.json").read_text())["format"]: folder for folder in folders}
    assert set(formats) == set(range(1, FORMAT + 1))
    for folder in formats.values():
        assert load(folder).config == read_config(folder).model


def test_a_folder_saved_before_the_modules_moved_loads_and_renders_the_same(untraced):
    folder = ROOT / "tests/golden/model_before_wings"
    with np.load(folder / "render.npz") as golden:
        frames, motion, expected = (golden[name] for name in ("frames", "motion", "render"))
    np.testing.assert_allclose(load(folder).render(frames[:1], frames[1:], motion), expected, rtol=0, atol=FLOAT32)
    assert read_metrics(folder)["verdict"] == []
