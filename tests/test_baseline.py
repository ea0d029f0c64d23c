"""The scissors: each part on exact cases, then against OpenCV and the reference where they are at hand."""

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

REFERENCE = Path(__file__).parents[2] / "shared" / "scorecard" / "baselines.py"


def moving_square(count=6, size=(20, 30)):
    """A bright 6 x 6 square that goes 3 pixels right and 1 down a step, over noise."""
    background = np.random.default_rng(0).integers(0, 100, (*size, 3), dtype=np.uint8)
    frames = np.stack([background] * count)
    for t in range(count):
        frames[t, 2 + t : 8 + t, 2 + 3 * t : 8 + 3 * t] = 250
    return background, frames


def test_cutting_out_a_moving_square():
    background, frames = moving_square()
    layers = baseline.separate_by_median(frames)
    np.testing.assert_array_equal(layers.background, background)
    square = np.zeros((20, 30), bool)
    square[4:10, 8:14] = True
    corners = [(4, 8), (4, 13), (9, 8), (9, 13)]
    for corner in corners:  # a 3x3 median takes a corner off, and closing does not bring it back
        square[corner] = False
    np.testing.assert_array_equal(layers.masks[2], square)
    step = [[1, 0, 3 * 2 / 30], [0, 1, 1 * 2 / 20]]
    np.testing.assert_allclose(layers.motions(refine=False), [step] * 5, atol=1e-12)


def test_specks_go_and_gaps_close():
    background, speck = np.zeros((9, 9, 3)), np.zeros((9, 9, 3), np.uint8)
    speck[4, 4] = 250
    assert not baseline.character_mask(speck, background).any()
    square = np.zeros((9, 9, 3), np.uint8)
    square[2:7, 2:7] = 250
    gap = square.copy()
    gap[4, 4] = 0
    expected = baseline.character_mask(square, background)
    assert expected[3:6, 3:6].all()
    np.testing.assert_array_equal(baseline.character_mask(gap, background), expected)


def test_an_empty_mask_has_no_motion():
    frame, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool)
    np.testing.assert_array_equal(baseline.estimate_motion(frame, mask, frame, ~mask), np.eye(2, 3))


def test_pasting_is_forward_and_exact():
    frame = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:4] = True
    background = np.full((6, 8, 3), 7.0)
    expected = np.full((6, 8, 3), 7, np.uint8)
    expected[2:4, 5:7] = frame[1:3, 2:4]
    right_and_down = np.array([[1, 0, 3 * 2 / 8], [0, 1, 1 * 2 / 6]])
    np.testing.assert_array_equal(baseline.paste(frame, mask, right_and_down, background), expected)
    half_turn = baseline.paste(frame, mask, -np.eye(2, 3), background)  # about the frame's centre, not a pixel's
    np.testing.assert_array_equal(half_turn[3:5, 4:6], frame[2:0:-1, 3:1:-1])
    wide = baseline.paste(frame, mask, right_and_down, np.full((6, 12, 3), 7.0))  # keeps its place about the centre
    np.testing.assert_array_equal(wide[:, 2:10], expected)
    with pytest.raises(ValueError, match="motion must be invertible"):
        baseline.paste(frame, mask, np.zeros((2, 3)), background)


def test_refinement_finds_a_turn():
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(60, 256, (8, 8, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[12:28, 8:32] = True
    turned = np.array([[np.cos(0.1), -np.sin(0.1), 0.1], [np.sin(0.1), np.cos(0.1), 0.0]])
    after = baseline.paste(texture, mask, turned, np.zeros((40, 40, 3)))
    pair = (texture, mask, after, after.max(-1) > 25)
    refined, shift = (baseline.estimate_motion(*pair, refine=refine) for refine in (True, False))
    errors = [scorecard.corner_error(turned, got, (0, 0), (40, 40)) for got in (refined, shift)]
    assert errors[0] < 0.3 and errors[1] > 1


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    recipe = {
        name: {"seed": seed, "frames": 8, "size": [40, 56], "pace": 0.4} for name, seed in (("one", 1), ("two", 3))
    }
    write_scenes(root, recipe, shots=2)
    return root


def test_predictions_of_one_scene_may_need_another(scenes, tmp_path):
    (folder,) = baseline.write_predictions([scenes / "one"], tmp_path, refine=False)
    assert len(list((folder / "shots").iterdir())) == 6
    assert not scorecard.score([scenes / "one"], tmp_path).problems


def test_a_clip_without_shots_is_cut_too(scenes, tmp_path):
    shutil.copytree(scenes / "one/frames", tmp_path / "bare/frames")
    (folder,) = baseline.write_predictions([tmp_path / "bare"], tmp_path / "out", refine=False)
    assert np.shape(json.loads((folder / "motion.json").read_text())["motion"]) == (7, 2, 3)
    assert not (folder / "shots").exists()


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference scissors are not at hand")
def test_agrees_with_the_reference(scenes, tmp_path):
    subprocess.run([sys.executable, REFERENCE, scenes, tmp_path / "reference"], check=True)
    baseline.write_predictions(sorted(scenes.iterdir()), tmp_path / "ours", refine=True)
    reference = tmp_path / "reference" / "median"
    for path in sorted(reference.rglob("*.png")):
        theirs, ours = (np.asarray(Image.open(p), int) for p in (path, tmp_path / "ours" / path.relative_to(reference)))
        atol = 12 if path.parent.name == "shots" else 0  # positions in steps of 1/32 pixel there, exact here
        np.testing.assert_allclose(ours, theirs, atol=atol, err_msg=str(path))
    for name in ("one", "two"):
        theirs, ours = (
            json.loads((r / name / "motion.json").read_text())["motion"] for r in (reference, tmp_path / "ours")
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    means = [scorecard.score(scenes, folder).mean for folder in (reference, tmp_path / "ours")]
    assert means[1] == pytest.approx(means[0], abs=0.02)
