"""The figures, on cases computed by hand and against the independent reference where it is at hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eqvid_tf.evaluation import baseline, scorecard
from eqvid_tf.synthetic.scenes import write_scenes

REFERENCE = Path(__file__).parents[2] / "shared" / "scorecard" / "score.py"
RECIPE = {
    "first": {"seed": 1, "frames": 8, "size": [24, 32], "pace": 0.4},
    "second": {"seed": 3, "frames": 8, "size": [24, 32], "pace": 0.4},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, RECIPE, shots=2)
    return root


@pytest.fixture(scope="module")
def predictions(scenes, tmp_path_factory):
    """A method that is complete, and one with a gap in a background, the masks, the motion and a shot."""
    root = tmp_path_factory.mktemp("predictions")
    baseline.write_predictions(sorted(scenes.iterdir()), root / "whole", refine=False)
    shutil.copytree(root / "whole", root / "gaps")
    (root / "gaps/first/background.png").unlink()
    Image.new("L", (31, 24)).save(root / "gaps/second/masks/00003.png")
    (root / "gaps/first/motion.json").write_text(json.dumps({"motion": [[[1, 0, 0], [0, 1, float("nan")]]] * 7}))
    (root / "gaps/second/shots/swap-001.png").unlink()
    return root


def test_psnr_of_a_known_error():
    black, grey = np.zeros((2, 2, 3)), np.full((2, 2, 3), 0.01)
    assert scorecard.psnr(black, grey) == pytest.approx(40, abs=1e-6)
    half = np.concatenate([black, grey])  # half the error power is 10 log10(2) dB better
    assert scorecard.psnr(np.zeros_like(half), half) == pytest.approx(40 + 3.0103, abs=1e-4)
    assert scorecard.psnr(black, black) == 60


def test_iou_leaves_out_frames_where_both_are_empty():
    a, b, empty = np.array([[1, 1, 0, 0]]), np.array([[0, 1, 1, 0.5]]), np.zeros((1, 4))
    assert scorecard.mask_iou([a], [b]) == pytest.approx(1 / 3)
    assert scorecard.mask_iou([a, a, empty, empty], [b, a, a, empty]) == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert np.isnan(scorecard.mask_iou([empty], [empty]))


def test_corner_error_is_in_pixels():
    still = np.eye(2, 3)
    down = np.array([[1, 0, 0], [0, 1, 0.25]])
    assert scorecard.corner_error(still, down, (0, 0), (40, 80)) == pytest.approx(5)
    twice = np.array([[2, 0, 0], [0, 2, 0]])  # corners of a 20 px box: (10, 10) px from the centre, moved as far again
    assert scorecard.corner_error(still, twice, (0, 0), (40, 80)) == pytest.approx(np.hypot(10, 10))
    about = np.array([[2, 0, -0.5], [0, 2, -0.25]])  # the same about (.5, .25)
    assert scorecard.corner_error(still, about, (0.5, 0.25), (40, 80)) == pytest.approx(np.hypot(10, 10))


def test_motion_error_counts_moving_steps_alone():
    still, right = np.eye(2, 3), np.array([[1, 0, 0.1], [0, 1, 0]])
    centre = np.zeros((4, 2))
    assert scorecard.motion_error([still, right, right], [right, still, right], centre, (20, 20)) == pytest.approx(0.5)
    assert np.isnan(scorecard.motion_error([still], [right], centre, (20, 20)))


def test_character_box_is_two_pixels_wider_and_stays_inside():
    mask = np.zeros((10, 12))
    mask[1:4, 5:7] = 0.6
    mask[9, 11] = 0.5  # not mostly character
    assert scorecard.character_box(mask) == (slice(0, 6), slice(3, 9))
    assert scorecard.character_box(np.zeros((3, 3))) is None


def test_a_scene_computed_by_hand(tmp_path):
    """One frame, one shot: 10 x 10, the character is one pixel; the render is wrong by 51/255 = .2 in it."""
    truth, got = tmp_path / "scenes/s", tmp_path / "got/s"
    for folder in (
        truth / "frames",
        truth / "masks",
        truth / "expected",
        truth / "expected_masks",
        got / "masks",
        got / "shots",
    ):
        folder.mkdir(parents=True)
    black, wrong, mask = np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10), np.uint8)
    wrong[5, 5], mask[5, 5] = 51, 255
    for path, picture in (
        (truth / "masks/00000.png", mask),
        (got / "masks/00000.png", mask),
        (truth / "expected/move-000.png", black),
        (got / "shots/move-000.png", wrong),
        (truth / "expected_masks/move-000.png", mask),
    ):
        Image.fromarray(picture).save(path)
    (truth / "shots.json").write_text(json.dumps([{"name": "move-000"}]))
    row = scorecard.score_scene(truth, got)
    assert row == pytest.approx(
        {"iou": 1, "move_psnr": -10 * np.log10(0.04 / 100), "move_char": -10 * np.log10(0.04 / 25)}
    )
    assert scorecard.score(tmp_path / "scenes", tmp_path / "got").mean == row


def test_incomplete_columns_are_named_and_get_no_mean(scenes, predictions):
    card = scorecard.score(scenes, predictions / "gaps")
    assert [problem.rsplit(": ", 1)[0] for problem in card.problems] == [
        "first: bg_psnr",
        "first: corner_px",
        "second: iou",
        "second: swap",
    ]
    assert card.mean.keys() == {"move_psnr", "move_char", "transfer_psnr", "transfer_char"}
    assert "bg_psnr" in card.rows["second"] and "bg_psnr" not in card.rows["first"]
    text = scorecard.table({"gaps": card})
    assert "incomplete: gaps/second: swap: no swap-001.png" in text
    assert text.splitlines()[3].split()[:4] == ["gaps/MEAN", "-", "-", "-"]


def test_scenes_and_predictions_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="scenes must"):
        scorecard.score(tmp_path, tmp_path)
    (tmp_path / "a/frames").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="predictions must"):
        scorecard.score(tmp_path, tmp_path / "nowhere")


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference scorecard is not at hand")
def test_agrees_with_the_reference(scenes, predictions, tmp_path):
    command = [
        sys.executable,
        REFERENCE,
        scenes,
        predictions / "whole",
        predictions / "gaps",
        "--json",
        tmp_path / "json",
    ]
    printed = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()
    cards = {method: scorecard.score(scenes, predictions / method) for method in ("whole", "gaps")}
    lines = scorecard.table(cards).splitlines()
    assert lines[:7] == printed[:7]
    named = [[":".join(line.split(":")[:3]) for line in some[7:]] for some in (lines, printed)]
    assert named[0] == named[1] and len(named[0]) == 4
    reference, ours = json.loads((tmp_path / "json").read_text()), scorecard.figures(cards)
    assert ours.keys() == reference.keys()
    for name, row in ours.items():
        assert row == pytest.approx(reference[name], abs=1e-9)
