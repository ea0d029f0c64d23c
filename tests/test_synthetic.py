"""Drawn characters, backgrounds and scenes, and the shipped recipe."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eqvid_tf.evaluation import scorecard
from eqvid_tf.synthetic.backgrounds import BACKGROUNDS, draw_background
from eqvid_tf.synthetic.compose import frame_from_sprite, rasterize
from eqvid_tf.synthetic.scenes import draw_scene, write_scene, write_scenes
from eqvid_tf.synthetic.sprites import CHARACTERS, draw_character

DRAWN = Path(__file__).parents[1] / "datasets" / "drawn"
RECIPE = {
    "one": {"seed": 1, "frames": 7, "size": [24, 32], "resolution": 48},
    "odd": {"seed": 2, "frames": 6, "size": [20, 20], "resolution": 48},
    "two": {"seed": 3, "frames": 6, "size": [24, 32], "resolution": 48, "pace": 0.5},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, RECIPE, shots=3)
    return root


def read(path):
    return np.asarray(Image.open(path), np.float64) / 255


@pytest.mark.parametrize("kind", CHARACTERS)
def test_a_character_walks_inside_its_cell(kind):
    cells = draw_character(5, kind, cells=4, resolution=32)
    assert cells.shape == (4, 32, 32, 4)
    alpha = cells[..., 3]
    assert 0.15 < (alpha > 127).mean() < 0.8
    assert max(edge.max() for edge in (alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1])) == 0
    assert np.any((alpha > 0) & (alpha < 255))
    assert min(np.abs(cells[k] - cells[k - 1].astype(int)).mean() for k in range(4)) > 0.5


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_a_background_has_edges_and_grain_everywhere(kind):
    picture = draw_background(5, (24, 32), kind).astype(float)
    assert picture.shape == (24, 32, 3)
    assert picture.std() > 15
    quarters = [half for rows in np.split(picture, 2) for half in np.split(rows, 2, axis=1)]
    assert min(np.abs(np.diff(quarter, axis=1)).mean() for quarter in quarters) > 1
    bigger = draw_background(5, (48, 64), kind).reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(picture - bigger).mean() < 6


def test_the_seed_decides():
    one, same, other = (draw_scene(seed, frames=3, size=(16, 16), resolution=32) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.frames, same.frames)
    assert np.abs(one.frames.astype(int) - other.frames).mean() > 10


@pytest.mark.parametrize("draw", [draw_character, lambda seed, kind: draw_background(seed, (8, 8), kind)])
def test_an_unknown_kind_names_those_there_are(draw):
    with pytest.raises(ValueError, match="kind must be one of .*; received 'dog'"):
        draw(0, kind="dog")


@pytest.mark.parametrize("wrong", [{"rest": 1.0}, {"frames": 1}, {"rest_at": "never"}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="received"):
        draw_scene(0, **wrong)


def test_a_cell_on_the_whole_frame_keeps_its_pixels():
    """A ramp is what averaging and bilinear reading leave as it is, away from the cell's edge."""
    cell = np.add.outer(np.arange(6.0), 10 * np.arange(8.0))[..., None].repeat(4, -1)
    np.testing.assert_allclose(rasterize(cell, np.eye(3), (6, 8))[1:-1, 1:-1], cell[1:-1, 1:-1], atol=1e-9)
    right_and_down = np.array([[1, 0, 2 * 2 / 8], [0, 1, 2 * 1 / 6], [0, 0, 1]])
    layer = rasterize(cell, right_and_down, (6, 8))
    np.testing.assert_allclose(layer[2:, 3:], cell[1:-1, 1:-2], atol=1e-9)
    assert not layer[:, :1].any()


def test_a_pose_on_a_wide_frame_does_not_shear():
    pose, half = frame_from_sprite(np.array([0.2, -0.1]), 0.7, 0.5, aspect=2.0), np.array([64, 32])
    across, down = pose[:2, 0] * half, pose[:2, 1] * half
    np.testing.assert_allclose([across @ across, down @ down, across @ down], [256, 256, 0], atol=1e-9)
    assert across[1] > 0  # a positive turn goes from x (right) towards y (down)


def test_motion_is_forward():
    scene = draw_scene(3, frames=12, size=(24, 40), cells=1, resolution=48)
    for start, end in ((0, 1), (2, 11), (9, 4)):
        moved = scene.layer(start, scene.motion(start, end))
        np.testing.assert_allclose(moved, scene.layer(end), atol=1e-9)
    centre = scene.motion(2, 7) @ np.append(scene.centre[2], 1)
    np.testing.assert_allclose(centre, scene.centre[7], atol=1e-12)


@pytest.mark.parametrize("place, still", [("start", range(6)), ("middle", range(3, 9)), ("end", range(5, 11))])
def test_rest_is_real_rest(place, still):
    frames = draw_scene(3, frames=12, size=(16, 16), rest=0.5, rest_at=place, resolution=32).frames
    assert [t for t in range(11) if np.array_equal(frames[t], frames[t + 1])] == list(still)


def test_shots_carry_the_character_forward(scenes):
    """From the files alone: an affine motion carries the mask's centroid to the answer's centroid."""
    checked = 0
    for folder in scenes.iterdir():
        for job in json.loads((folder / "shots.json").read_text()):
            masks = [
                read(folder / job["character"].replace("frames", "masks")),
                read(folder / "expected_masks" / f"{job['name']}.png"),
            ]
            if "motion" not in job or any(m[[0, -1]].any() or m[:, [0, -1]].any() for m in masks):
                continue  # a character that is cut off has another centroid
            height, width = masks[0].shape
            centroids = []
            for mask in masks:
                y, x = (np.arange(n) for n in mask.shape)
                weights = mask / mask.sum()
                centroids.append(
                    [((2 * x + 1) / width - 1) @ weights.sum(0), ((2 * y + 1) / height - 1) @ weights.sum(1)]
                )
            np.testing.assert_allclose(np.array(job["motion"]) @ [*centroids[0], 1], centroids[1], atol=0.02)
            checked += 1
    assert checked >= 4


def test_only_scenes_of_one_size_are_neighbours(scenes):
    kinds = {
        folder.name: {job["name"].split("-")[0] for job in json.loads((folder / "shots.json").read_text())}
        for folder in scenes.iterdir()
    }
    assert kinds == {"one": {"move", "swap", "transfer"}, "two": {"move", "swap", "transfer"}, "odd": {"move"}}


def test_a_scene_is_its_own_perfect_prediction(scenes, tmp_path):
    for name in RECIPE:
        shutil.copytree(scenes / name, tmp_path / name)
        shutil.copytree(scenes / name / "expected", tmp_path / name / "shots")
    card = scorecard.score(scenes, tmp_path)
    assert card.mean == {column: {"iou": 1.0, "corner_px": 0.0}.get(column, 60.0) for column in scorecard.COLUMNS}


def test_part_of_a_set_comes_out_as_in_the_whole(scenes, tmp_path):
    (folder,) = write_scenes(tmp_path, RECIPE, only=["two"], shots=3)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    assert files == sorted(path.relative_to(scenes / "two") for path in (scenes / "two").rglob("*.*"))
    assert all((folder / file).read_bytes() == (scenes / "two" / file).read_bytes() for file in files)


def test_a_scene_is_not_overwritten_unasked(tmp_path):
    scene = draw_scene(0, frames=3, size=(8, 8), resolution=16)
    write_scene(tmp_path / "s", scene, shots=1)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_scene(tmp_path / "s", scene)
    write_scene(tmp_path / "s", draw_scene(0, frames=2, size=(8, 8), resolution=16), shots=1, overwrite=True)
    assert len(list((tmp_path / "s" / "frames").iterdir())) == 2


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_drawn", DRAWN / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_recipe_gives_what_the_manifest_says(build, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build.py", str(tmp_path), "--only", "brief"])
    build.main()  # ends with SystemExit where a pixel differs
    assert capsys.readouterr().out == f"1 scenes in {tmp_path}\n"


def test_the_shipped_sample_is_small_and_as_in_the_manifest(build):
    expected = json.loads((DRAWN / "manifest.json").read_text())["sha256 of pixels"]
    assert expected.keys() == {"sample", *json.loads((DRAWN / "recipe.json").read_text())["scenes"]}
    assert build.fingerprint(DRAWN / "sample") == expected["sample"]
    assert sum(path.stat().st_size for path in (DRAWN / "sample").rglob("*.*")) < 300_000


def test_a_changed_pixel_changes_the_fingerprint(build, tmp_path):
    scene = shutil.copytree(DRAWN / "sample", tmp_path / "sample")
    pixels = np.array(Image.open(scene / "frames/00003.png"))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(scene / "frames/00003.png")
    before, after = build.fingerprint(DRAWN / "sample"), build.fingerprint(scene)
    assert [part for part in before if before[part] != after[part]] == ["frames"]
