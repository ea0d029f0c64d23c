"""The benchmarks of motion measure what they say: ranks, areas, directions, drawn pairs; their pages are up to date."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from eqvid_tf.core import affine
from eqvid_tf.synthetic.scenes import draw_scene

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # as for `python benchmarks/NAME.py`

import equivariance  # noqa: E402
import frame_gap  # noqa: E402
import measured  # noqa: E402
import motion_error  # noqa: E402

STEPS = draw_scene(3, size=(32, 48), frames=12).motions


@pytest.fixture(scope="module")
def truth(scene):
    return motion_error.read_scene(scene)


# -- figures


def test_spearman_by_hand():
    assert measured.spearman([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert measured.spearman([0.9, 0.5, 0.1], [0.2, 3.0, 70.0]) == pytest.approx(-1)
    assert measured.spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(3 / np.sqrt(10))  # ties share a rank
    assert np.isnan(measured.spearman([1, 1, 1], [1, 2, 3]))


def test_auroc_by_hand_and_as_the_area_under_the_curve():
    assert measured.auroc([0.9, 0.8, 0.4], [0.7, 0.3]) == pytest.approx(5 / 6)
    assert measured.auroc([0.5, 0.5], [0.5]) == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    present, absent = rng.integers(2, 9, 60), rng.integers(0, 7, 40)  # many ties
    false, true = measured.roc(present, absent)
    assert false[0] == true[0] == 0 and false[-1] == true[-1] == 1
    area = np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2)
    assert measured.auroc(present, absent) == pytest.approx(area)


def test_motions_between_frames_go_both_ways():
    drawn = draw_scene(3, size=(32, 48), frames=12)
    for i, j in ((2, 9), (9, 2), (4, 4)):
        np.testing.assert_allclose(measured.motion_between(STEPS, i, j), drawn.motion(i, j), atol=1e-12)


def test_pixels_are_those_of_a_frame_64_high():
    shift = [[1, 0, 0.5], [0, 1, 0]]
    assert measured.corner_pixels(np.eye(2, 3), shift, (0.2, 0.1), (64, 64)) == pytest.approx(16)
    assert measured.corner_pixels(np.eye(2, 3), shift, (0.2, 0.1), (128, 256)) == pytest.approx(32)


def one_scene(confidence: float) -> dict:
    """One scene whose estimates are the worse the larger the gap, and whose confidence falls or rises with it."""
    rows = [
        {"gap": gap * sign, "error": float(gap), "confidence": confidence * gap + 0.5, "travel": 5.0 * (gap > 1)}
        for gap in (1, 2, 4, 8)
        for sign in (1, -1)
    ]
    return {"rows": rows, "round_trip": [{"gap": 1, "error": 0.5}], "chain": []}


def test_summary_leaves_resting_pairs_and_missing_gaps_out():
    figures = motion_error.summary({"one": one_scene(-0.01), "other": one_scene(-0.02)})
    assert list(figures["gaps"]) == ["2", "-2", "4", "-4", "8", "-8"]  # gap 1 rests, 16 is not there
    assert figures["gaps"]["4"]["mean of scenes"] == 4 and figures["resting pairs"]["pairs"] == 4
    assert figures["confidence"]["spearman by scene"] == {"one": -1.0, "other": -1.0}
    assert figures["confidence"]["spearman by gap"]["16"] is None
    assert "Spearman" in motion_error.report(figures)
    json.dumps(figures, allow_nan=False)


# -- drawn pairs


def test_drawn_pairs_are_what_their_truth_says(truth):
    frames, truths = motion_error.drawn_pairs(truth, 24, np.random.default_rng(1))
    again, _ = motion_error.drawn_pairs(truth, 24, np.random.default_rng(1))
    np.testing.assert_array_equal(frames, again)
    assert max(t["turn"] for t in truths) > 25 and max(t["turn"] for t in truths) <= 40
    outside = np.array([t["outside"] for t in truths])
    assert np.all(outside <= 1 / 3) and np.sum(outside > 1 / 6) == 8 and np.sum(outside <= 0.02) == 8
    aspect = truth.size[1] / truth.size[0]
    for k, t in enumerate(truths):
        linear = np.asarray(affine.to_square(t["motion"], aspect))[:, :2]
        zoom = np.sqrt(np.linalg.det(linear))
        np.testing.assert_allclose(linear.T @ linear, zoom**2 * np.eye(2), atol=1e-5)  # nothing shears
        turn = np.rad2deg(np.arctan2(linear[1, 0], linear[0, 0]))
        assert abs(turn) == pytest.approx(t["turn"], abs=1e-3) and abs(np.log(zoom)) < 0.11
        if t["outside"] <= 0.02:  # the character of the first frame, carried, is where it is in the second
            first, second = (shown_at(truth, frame) for frame in frames[2 * k : 2 * k + 2])
            carried = t["motion"] @ [*first, 1]
            np.testing.assert_allclose(carried, second, atol=0.06)


def shown_at(truth, frame) -> np.ndarray:
    """Where a frame differs from the background, its centroid."""
    return frame_gap.centroid((np.abs(frame - truth.background).max(-1) > 20).astype(float))


def test_pairs_without_a_character_have_none(truth):
    kinds = motion_error.without_character(truth, 3, np.random.default_rng(0))
    assert {len(frames) for frames in kinds.values()} == {6}
    assert np.abs(kinds["painted out"] - truth.background).max() <= 1
    noise = kinds["noise"].astype(float)
    assert 1 < np.std(noise[0] - noise[1]) < 4  # fresh for each frame
    assert np.ptp(kinds["exposure"].mean((1, 2, 3))) > 3
    assert np.abs(kinds["never trained"][0] - truth.background).mean() > 10


# -- the frame gap


def test_products_of_steps_go_both_ways():
    back = np.asarray(affine.invert(STEPS))
    for i, j in ((1, 6), (6, 1)):
        got = frame_gap.product_of({1: STEPS, -1: back}, i, j)
        np.testing.assert_allclose(got, measured.motion_between(STEPS, i, j), atol=1e-6)


def test_pairs_count_where_the_character_is_in_view_throughout():
    areas = np.array([10, 10, 10, 1, 10, 10, 10])
    assert frame_gap.visible_pairs(areas, 1, 9) == [(0, 1), (1, 2), (4, 5), (5, 6)]
    assert frame_gap.visible_pairs(areas, 2, 9) == [(0, 2), (4, 6)]
    assert frame_gap.visible_pairs(areas, 4, 9) == []
    assert frame_gap.visible_pairs(np.ones(100), 1, 3) == [(0, 1), (49, 50), (98, 99)]


def test_a_clip_too_short_for_a_gap_does_not_bend_the_curve():
    long, short = (
        {str(gap): {"pairs": 4, "error": level * gap} for gap in gaps}
        for level, gaps in ((1.0, (1, 2, 4)), (9.0, (1, 2)))
    )
    mean = frame_gap.mean_of({"long": {"gaps": long}, "short": {"gaps": short}, "other": {"gaps": long}})
    assert {gap: (row["error"], row["clips"], row["pairs"]) for gap, row in mean.items()} == {
        "1": (1, 2, 8),
        "2": (2, 2, 8),
        "4": (4, 2, 8),
    }


# -- the cache of results, and the pages


def test_results_are_cached_until_the_model_or_the_settings_change(tmp_path):
    run, made = tmp_path / "run", []
    run.mkdir()

    def ask(weights: bytes, settings: dict):
        (run / "model.keras").write_bytes(weights)
        return measured.cached(
            tmp_path / "work", "scene", run, settings, lambda: made.append(1) or {"count": len(made)}
        )

    assert ask(b"a", {"seed": 0}) == ask(b"a", {"seed": 0}) == {"count": 1}
    assert ask(b"a", {"seed": 1}) == {"count": 2}
    assert ask(b"b", {"seed": 0}) == {"count": 3}
    assert ask(b"a", {"seed": 0}) == {"count": 1}


@pytest.mark.parametrize(("module", "page"), [(motion_error, "motion"), (frame_gap, "frame_rate")])
def test_pages_hold_the_figures_that_were_written(module, page):
    figures = json.loads((ROOT / f"benchmarks/results/{module.__name__}.json").read_text(encoding="utf-8"))
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    assert measured.page_with(module.table(figures.get("groups", figures)), text) == text
    with pytest.raises(SystemExit, match="<!-- table -->"):
        measured.page_with("", "a page without marks")


def test_equivariance_page_is_what_the_command_writes(tmp_path, monkeypatch):
    def check(*words) -> int:
        monkeypatch.setattr(sys, "argv", ["equivariance.py", "--check", *map(str, words)])
        return equivariance.main()

    assert check() == 0
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs/equivariance.md").read_text(encoding="utf-8").replace("| 0.", "| 1."))
    assert check("--page", page) == 1
