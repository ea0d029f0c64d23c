"""Which wrong answers the three losses prefer to the right one, and which they do not: docs/does_it_disentangle.md."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from eqvid_tf.config import LossConfig
from eqvid_tf.synthetic.scenes import draw_scene

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # as for `python benchmarks/NAME.py`

import question_page  # noqa: E402
import trivial_solutions  # noqa: E402

WEIGHTS = {name: getattr(LossConfig(), name) for name in ("scene", "character", "background")}
TEXTURED = draw_scene(26, size=(32, 32), frames=12, cells=1, resolution=64)
PLAIN = dataclasses.replace(TEXTURED, background=np.full_like(TEXTURED.background, 90))


@pytest.fixture(scope="module")
def table():
    scenes = {"textured": lambda: TEXTURED, "plain": lambda: PLAIN}
    return trivial_solutions.table_of(scenes, {"close": 1, "far": 4}, WEIGHTS)


@pytest.mark.parametrize("scene", ["textured", "plain"])
@pytest.mark.parametrize("distance", ["close", "far"])
def test_the_objective_prefers_the_right_answer_to_every_other_but_one(table, scene, distance):
    """To that of frames known by heart it does not, which only pairs of neighbours allow."""
    found = {name: terms["total"] for name, terms in table[scene][distance].items()}
    right, by_heart = found["the right answer"], found.pop("h knows the next frame by heart", None)
    assert min(found, key=found.get) in ("the right answer", "the character is in h while it rests")  # it never rests
    assert found["f is empty"] > 2 * right and found["h carries the character"] > 2 * right
    assert found["half of the character in each"] > 1.5 * right
    assert (by_heart is None) == (distance == "far") and (by_heart is None or by_heart < right)


def test_maps_that_shrink_leave_only_the_scene_loss_to_tell_answers(table):
    """L_c and L_b say nothing then; on a plain background a rim costs no more than the right answer."""
    scene, plain = ({name: terms["shrunk"] for name, terms in table[kind]["close"].items()} for kind in table)
    assert scene["h carries the character"] == pytest.approx(scene["they trade places, T is the identity"], rel=1e-4)
    assert plain["f carries a rim of the background"] == pytest.approx(plain["the right answer"], rel=0.02)
    assert scene["f carries a rim of the background"] > 1.5 * scene["the right answer"]


def test_the_terms_are_those_of_the_solution(table):
    """f that is empty has no L_c, an h that is one picture no L_b; the whole frame in h is off by what moved."""
    close = table["textured"]["close"]
    layers = trivial_solutions.Layers.of(TEXTURED)
    moved = 255 * np.abs(np.diff(layers.frames, axis=0)).mean()
    assert close["f is empty"]["character"] == close["f is empty"]["background"] == 0
    assert close["h carries the character"]["scene"] == pytest.approx(moved, rel=1e-4)
    assert close["h carries the character"]["background"] == pytest.approx(moved * 3 / 7, rel=1e-4)  # of 7 channels
    out = close["T carries f out of the frame"]
    assert out["character"] == 0 and out["scene"] == pytest.approx(close["f is empty"]["scene"], rel=1e-4)
    assert close["the right answer"]["background"] == 0 < close["the right answer"]["character"]


def test_the_page_has_the_figures_and_another_has_not(monkeypatch, tmp_path):
    assert question_page.check() == 0
    page = tmp_path / "page.md"
    page.write_text(question_page.PAGE.read_text(encoding="utf-8").replace("| 0.", "| 1."), encoding="utf-8")
    monkeypatch.setattr(question_page, "PAGE", page)
    assert question_page.check() == 1
