"""Figures of scenes that a moving camera sees, and the scissors on stabilized frames."""

import json
import shutil

import numpy as np
import pytest

from eqvid_tf.data.clips import ClipError
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.comparison import evaluate
from eqvid_tf.evaluation.moving_scorecard import COLUMNS, has_moving_camera, score_moving
from eqvid_tf.evaluation.stabilized_baseline import write_stabilized_predictions
from eqvid_tf.synthetic.backgrounds import draw_background

SIZE, COUNT, STEP = (48, 64), 12, 2  # pixels that the camera pans each frame


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A disc that goes to the right in the frame, before a camera that pans."""
    scene = tmp_path_factory.mktemp("scenes") / "pan"
    wide = draw_background(3, (SIZE[0], SIZE[1] + STEP * COUNT), "pebbles")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for k in range(COUNT):
        plate, mask = wide[:, STEP * k :][:, : SIZE[1]], np.hypot(x - 12 - 3 * k, y - 24) < 7
        colour = np.where((x - 3 * k + y) % 6 < 3, 250, 20)[..., None] * np.array([1, 0.2, 0.2])
        frame = np.where(mask[..., None], colour, plate).astype(np.uint8)
        for name, picture in (("frames", frame), ("plates", plate), ("masks", 255 * mask.astype(np.uint8))):
            write_png(scene / name / f"{k:05d}.png", picture)
    steps = lambda pixels: np.tile([[1, 0, 2 * pixels / SIZE[1]], [0, 1, 0]], (COUNT - 1, 1, 1)).tolist()
    centres = [[2 * (12.5 + 3 * k) / SIZE[1] - 1, 0.0] for k in range(COUNT)]
    (scene / "camera.json").write_text(json.dumps({"size": SIZE, "motion": steps(-STEP)}))
    (scene / "motion.json").write_text(json.dumps({"size": SIZE, "motion": steps(3), "pose_centre": centres}))
    return scene.parent


def test_the_truth_itself_is_perfect(scenes):
    found = score_moving(scenes, scenes)
    perfect = {"plate_psnr": 60, "hidden_psnr": 60, "camera_px": 0, "iou": 1, "corner_px": 0}
    assert has_moving_camera(scenes / "pan") and found.mean == pytest.approx(perfect)
    assert tuple(found.columns) == COLUMNS


def test_a_camera_that_stands_still_misses_by_its_steps(scenes, tmp_path):
    shutil.copytree(scenes / "pan", tmp_path / "pan")
    still = np.tile(np.eye(2, 3), (COUNT - 1, 1, 1)).tolist()
    (tmp_path / "pan/camera.json").write_text(json.dumps({"motion": still}))
    shutil.rmtree(tmp_path / "pan/plates")
    found = score_moving(scenes, tmp_path)
    assert found.mean["camera_px"] == pytest.approx(STEP)
    assert {"plate_psnr", "hidden_psnr"} <= found.incomplete and len(found.problems) == 2


def test_scissors_on_stabilized_frames_find_camera_and_disc(scenes, tmp_path):
    write_stabilized_predictions([scenes / "pan"], tmp_path)
    found = score_moving(scenes, tmp_path).mean
    assert found["camera_px"] < 0.5 and found["iou"] > 0.8 and found["plate_psnr"] > 25


def test_scenes_of_two_kinds_are_refused(scenes, scene, trained, tmp_path):
    with pytest.raises(ClipError, match="truth for its moving camera.*Evaluate them apart"):
        evaluate(trained, [scenes / "pan", scene], tmp_path, cache=None)
