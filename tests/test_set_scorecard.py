"""The figures of scenes with a set of characters: by hand, and against the reference where it is at hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_characters import BACKGROUND, BLUE, BLUE_PATH, COUNT, MEETING, RED, RED_PATH, SIZE, Model, centre, film

from eqvid_tf.data.clips import ClipError
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation import scorecard, set_scorecard
from eqvid_tf.evaluation.comparison import evaluate
from eqvid_tf.evaluation.tracked_baseline import track_parts, write_tracked_predictions

REFERENCE = Path(__file__).parents[2] / "shared" / "scorecard"
CAST = ((RED, RED_PATH), (BLUE, BLUE_PATH))


def visible_masks() -> list[np.ndarray]:
    """Of RED and BLUE, which is in front: bool [T, H, W] each."""
    blank = [np.zeros((COUNT, *SIZE), bool), np.zeros((COUNT, *SIZE), bool)]
    for mask, (cut_out, path) in zip(blank, CAST):
        for frame, (x, y) in zip(mask, path):
            frame[y : y + cut_out.shape[0], x : x + cut_out.shape[1]] = True
    return [blank[0] & ~blank[1], blank[1]]


def write_layers(folder: Path, masks, motions, **truth) -> None:
    write_png(folder / "background.png", BACKGROUND)
    for number, (mask, motion) in enumerate(zip(masks, motions)):
        for index, one in enumerate(mask):
            write_png(folder / f"characters/{number}/masks/{index:05d}.png", 255 * one.astype(np.uint8))
        values = {"motion": np.asarray(motion).tolist(), **{key: value[number] for key, value in truth.items()}}
        (folder / f"characters/{number}/motion.json").write_text(json.dumps({"size": SIZE, **values}))


def true_motion(path: np.ndarray) -> np.ndarray:
    motion = np.repeat(np.eye(2, 3)[None], COUNT - 1, 0)
    motion[:, :, 2] = 2 * np.diff(path, axis=0) / np.array(SIZE[::-1])
    return motion


MASKS, MOTIONS = visible_masks(), [true_motion(path) for _, path in CAST]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """RED goes right, BLUE left before it; a shot of each kind."""
    folder = tmp_path_factory.mktemp("scenes") / "two"
    for index, frame in enumerate(film(*CAST)):
        write_png(folder / f"frames/{index:05d}.png", frame)
    middles = [[centre(path, cut_out, index) for index in range(COUNT)] for cut_out, path in CAST]
    shown = [(mask.sum((1, 2)) / mask.sum((1, 2)).max()).tolist() for mask in MASKS]
    write_layers(folder, MASKS, MOTIONS, pose_centre=middles, visible=shown, half_side=[0.3, 0.25])
    still, frame = [[1, 0, 0], [0, 1, 0]], "frames/00000.png"
    red, blue = ({"character": frame, "point": middle[0], "motion": still} for middle in middles)
    remove = {"frame": f"frames/{MEETING:05d}.png", "remove": [middles[1][MEETING]]}
    shots = {
        "remove-000": (remove, film(CAST[0])[MEETING], MASKS[1][MEETING]),
        "move-000": ({"background": frame, **red}, film(CAST[0])[0], MASKS[0][0]),
        "cast-000": ({"background": frame, "layers": [red, blue]}, film(*CAST)[0], MASKS[0][0] | MASKS[1][0]),
    }
    for name, (_, picture, mask) in shots.items():
        write_png(folder / f"expected/{name}.png", picture)
        write_png(folder / f"expected_masks/{name}.png", 255 * mask.astype(np.uint8))
    (folder / "shots.json").write_text(json.dumps([{"name": name, **job} for name, (job, *_) in shots.items()]))
    return folder


def figures(scene, folder, masks, motions):
    write_layers(folder / scene.name, masks, motions)
    return set_scorecard.score_sets([scene], folder).rows[scene.name]


def test_the_truth_is_right_whatever_the_numbers_are(scene, tmp_path):
    expected = {"bg_psnr": 60, "count": 0, "iou": 1, "ari": 1, "corner_px": 0}
    assert figures(scene, tmp_path / "same", MASKS, MOTIONS) == pytest.approx(expected)
    assert figures(scene, tmp_path / "other", MASKS[::-1], MOTIONS[::-1]) == pytest.approx(expected)


def test_one_that_is_missing_counts_as_nothing_that_stands_still(scene, tmp_path):
    found = figures(scene, tmp_path, MASKS[:1], MOTIONS[:1])
    assert (found["count"], found["iou"]) == (1, pytest.approx(0.5))
    steps = np.hypot(*np.diff(BLUE_PATH, axis=0).T)
    assert found["corner_px"] == pytest.approx(steps.mean() / 2)


def test_exchanged_identities_cost_as_much_as_missing_ones(scene, tmp_path):
    half = np.arange(COUNT)[:, None, None] < COUNT // 2
    exchanged = [np.where(half, MASKS[0], MASKS[1]), np.where(half, MASKS[1], MASKS[0])]
    found = figures(scene, tmp_path, exchanged, MOTIONS)
    assert found["count"] == 0 and 0.5 <= found["iou"] < 0.6 and found["ari"] < 0.1


def test_adjusted_rand_by_hand():
    """Of 6 pairs of pixels those that both, that each has in one label: 1, 2 and 3, or 1, 1 and 3."""
    assert set_scorecard.adjusted_rand(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])) == pytest.approx(
        (1 - 2 * 3 / 6) / (2.5 - 1)
    )
    assert set_scorecard.adjusted_rand(np.array([0, 0, 1, 2]), np.array([3, 3, 3, 4])) == pytest.approx(
        (1 - 1 * 3 / 6) / (2 - 0.5)
    )


def test_parts_are_tracked_one_to_one():
    apart = np.zeros((6, 20, 40), bool)
    for index in range(6):
        apart[index, 2:8, 3 * index : 3 * index + 6] = True
        apart[index, 12:16, 30 - 3 * index : 34 - 3 * index] = True
    first, second = track_parts(apart)
    np.testing.assert_array_equal(first, apart & (np.arange(20) < 10)[:, None])
    np.testing.assert_array_equal(second, apart & (np.arange(20) >= 10)[:, None])


def test_a_model_and_the_tracked_scissors_side_by_side(scene, tmp_path):
    shutil.copytree(scene, tmp_path / "two", ignore=shutil.ignore_patterns("shots.json"))  # a shot takes two seconds
    cards, sheet = evaluate(Model(), [tmp_path / "two"], tmp_path / "made", cache=None)
    ours, theirs = cards["eqvid"].mean, cards["scissors"].mean
    assert set(ours) == set(theirs) == set(set_scorecard.FIGURES) and sheet.ndim == 3
    assert ours["count"] == 0 and ours["iou"] > 0.95 > theirs["iou"]
    assert scorecard.table(cards).splitlines()[0].split() == list(set_scorecard.COLUMNS)


def test_scenes_of_both_kinds_are_refused(scene, tmp_path):
    shutil.copytree(scene, tmp_path / "one", ignore=shutil.ignore_patterns("characters"))
    with pytest.raises(ClipError, match="two has a truth for each character, one has one for all together"):
        evaluate(Model(), [scene, tmp_path / "one"], tmp_path, cache=None)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference scorecard is not at hand")
def test_agrees_with_the_reference(scene, tmp_path):
    write_tracked_predictions([scene], tmp_path / "ours")
    shutil.copytree(tmp_path / "ours", tmp_path / "gaps")
    (tmp_path / "gaps/two/shots/cast-000.png").unlink()
    (tmp_path / "gaps/two/characters/0/motion.json").write_text("{}")
    score = [sys.executable, REFERENCE / "score_several.py", scene.parent]
    subprocess.run([sys.executable, REFERENCE / "baselines_several.py", scene.parent, tmp_path / "theirs"], check=True)
    methods = [tmp_path / "ours", tmp_path / "gaps", tmp_path / "theirs/median"]
    subprocess.run([*score, *methods, "--json", tmp_path / "json"], check=False, capture_output=True)
    reference = json.loads((tmp_path / "json").read_text())
    found = scorecard.figures({method.name: set_scorecard.score_sets([scene], method) for method in methods})
    assert found.keys() == reference.keys()
    for name, row in found.items():
        assert row == pytest.approx(reference[name], abs=1e-9)
    assert found["ours/two"] == pytest.approx(found["median/two"], abs=0.02)
    assert not {"corner_px", "cast_psnr", "cast_char"} & set(found["gaps/MEAN"])
