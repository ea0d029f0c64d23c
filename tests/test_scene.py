"""A scene file: what is drawn of it is what it says, and a mistake in it is one line."""

import hashlib
import json

import numpy as np
import pytest
from test_characters import BACKGROUND, BLUE, BLUE_PATH, COUNT, RED, RED_PATH, SIZE, Model, film

from eqvid_tf import cli, model_folder
from eqvid_tf.data.clips import read_image
from eqvid_tf.data.writers import write_png
from eqvid_tf.motions.catalog import write
from eqvid_tf.motions.template import Template
from eqvid_tf.rendering.scene import SceneError, clip_sha256, cover, read_scene, scene_frame, scene_frames
from eqvid_tf.rendering.shots import FrameFinder

PLAYING = [
    {"id": "r", "clip": "two", "character": 0, "play": True},
    {"id": "b", "clip": "two", "character": 1, "play": True},
]
BEHIND = {"clip": "two"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clip of two characters, a template, and a picture."""
    folder = tmp_path_factory.mktemp("scene")
    for index, frame in enumerate(film((RED, RED_PATH), (BLUE, BLUE_PATH))):
        write_png(folder / "two" / "frames" / f"{index:02d}.png", frame)
    write_png(folder / "plain.png", np.full((40, 20, 3), 99, np.uint8))
    steps = np.tile([[1, 0, 0.25], [0, 1, 0]], (4, 1, 1))
    write(Template(name="slide", fps=25, steps=steps, source={"by": "hand"}), folder)
    return folder


@pytest.fixture(scope="module")
def finder():
    """Its clips stay open from test to test."""
    return FrameFinder(Model(), cache=None)


def written(folder, **values):
    clips = [{"name": "two", "path": "two"}]
    values = {"format": 1, "clips": clips, "frames": COUNT, "rate": 25, "background": BEHIND, **values}
    path = folder / "scene.eqvid.json"
    path.write_text(json.dumps(values))
    return path


def drawn(finder, folder, index, **values):
    return scene_frame(finder.model, read_scene(written(folder, **values)), index, finder=finder).astype(int)


def square(path, cut_out, index, shift=(0, 0)):
    """Rows and columns of a character in a frame, moved by pixels (x, y)."""
    (x, y), (height, width) = path[index] + np.array(shift), cut_out.shape[:2]
    return slice(y, y + height), slice(x, x + width)


def test_a_scene_of_a_clip_and_its_characters_is_the_clip(finder, folder):
    truth = film((RED, RED_PATH), (BLUE, BLUE_PATH)).astype(int)
    scene = read_scene(written(folder, characters=PLAYING))
    frames = list(scene_frames(finder.model, scene, finder=finder))
    assert len(frames) == COUNT and np.abs(frames[3].astype(int) - truth[3]).max() <= 2
    assert np.abs(drawn(finder, folder, 5) - truth[5]).max() == 0  # none is taken out: it stays as filmed
    slow = drawn(finder, folder, 6, rate=50, characters=PLAYING)
    np.testing.assert_allclose(slow, frames[3], atol=1)  # twice as many pictures a second: frame 3


def test_who_is_removed_hidden_or_elsewhere_is_taken_out_of_the_background(finder, folder):
    red = film((RED, RED_PATH)).astype(int)
    for values in ({"removed": [1]}, {"characters": [{**PLAYING[1], "hidden": True}]}):
        assert np.abs(drawn(finder, folder, 2, **values) - red[2]).max() <= 2
    moved = drawn(finder, folder, 2, characters=[{**PLAYING[1], "motion": {"translation": [-0.5, 0.25]}}])
    place = square(BLUE_PATH, BLUE, 2, (-16, 6))
    assert np.abs(moved[place] - BLUE).max() <= 6  # of a texture
    assert np.abs(moved[square(BLUE_PATH, BLUE, 2)] - BACKGROUND[square(BLUE_PATH, BLUE, 2)]).max() <= 2


def test_a_frozen_one_stands_still_turned_and_scaled_about_its_centre(finder, folder):
    frozen = {"id": "b", "clip": "two", "character": 1, "frame": 4}
    for index in (0, 9):
        picture = drawn(finder, folder, index, characters=[frozen], removed=[0])
        expected = BACKGROUND.astype(int)
        expected[square(BLUE_PATH, BLUE, 4)] = BLUE
        assert np.abs(picture - expected).max() <= 2
    half = drawn(finder, folder, 0, characters=[{**frozen, "motion": {"rotation": 90, "scale": 2}}], removed=[0])
    x, y = BLUE_PATH[4] + [6, 5]  # its centre; a quarter turn clockwise: what was above is at the right
    np.testing.assert_allclose(half[y - 8, x + 6], BLUE[2, 2], atol=6)
    frozen |= {"motion": {"rotation": 90, "scale": 2}}
    alone = drawn(finder, folder, 0, characters=[frozen], background=None)
    assert alone[..., 3].sum() / 255 == pytest.approx(4 * BLUE[..., 0].size, rel=0.05)


def test_a_template_is_played_and_then_it_rests(finder, folder):
    character = {"id": "r", "clip": "two", "character": 0, "frame": 0, "template": "slide.json"}
    for index, shift in ((0, 0), (2, 12), (9, 24)):  # a quarter of a half-height is 6 pixels
        picture = drawn(finder, folder, index, characters=[character], removed=[1])
        assert np.abs(picture[square(RED_PATH, RED, 0, (shift, 0))] - RED).max() <= 3


def test_who_is_in_front_is_by_order_and_nothing_behind_is_transparent(finder, folder):
    place = square(BLUE_PATH, BLUE, 4)
    red = {"id": "r", "clip": "two", "character": 0, "frame": 0}
    onto = {"translation": ((BLUE_PATH[4] - RED_PATH[0]) / [32, 24]).tolist()}  # its corner where BLUE's is
    for order, front in ((2, RED[:10, :12]), (0, BLUE)):
        both = [
            {**red, "motion": onto, "order": order},
            {"id": "b", "clip": "two", "character": 1, "frame": 4, "order": 1},
        ]
        picture = drawn(finder, folder, 0, characters=both, background=None)
        assert np.median(np.abs(picture[place][..., :3] - front)) <= 3
        assert picture.shape == (*SIZE, 4) and picture[0, -1].tolist() == [0, 0, 0, 0]
    picture = drawn(finder, folder, 0, background={"picture": "plain.png"}, size=[30, 20])
    assert picture.shape == (20, 30, 3) and (picture == 99).all()


def test_a_picture_covers_the_scene_without_shear():
    picture = np.zeros((10, 40, 3), np.uint8)
    picture[:, 10:30] = 200
    np.testing.assert_array_equal(cover(picture, (10, 20)), picture[:, 10:30])
    assert cover(picture, (20, 20)).min() == 200


def test_the_hash_of_a_clip_is_that_of_sha256sum(folder):
    picture = folder / "plain.png"
    assert clip_sha256(picture) == hashlib.sha256(picture.read_bytes()).hexdigest()
    files = sorted((folder / "two" / "frames").iterdir())
    lines = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    assert clip_sha256(folder / "two") == hashlib.sha256(lines.encode()).hexdigest()


WHO = {"id": "r", "clip": "two", "character": 0}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"format": 2}, "its format is 2; this package reads 1"),
        ({"frames": 0}, "frames must be a whole number from 1"),
        ({"rate": "fast"}, "rate must be a number from"),
        ({"size": [64]}, r"size must be \[width, height\]"),
        ({"zoom": 1}, "unknown key 'zoom'"),
        ({"clips": [{"name": "two", "path": "gone.mp4"}]}, "clip 'two': .*gone.mp4 is gone"),
        ({"clips": [{"name": "two", "path": "two", "sha256": "0" * 64}]}, "two has changed since"),
        ({"clips": [{"name": "two", "path": "two"}] * 2}, "two clips are named 'two'"),
        ({"background": {"picture": "gone.png"}}, "background: .*gone.png is gone"),
        ({"background": {"clip": "three"}}, "background: there is no clip 'three' in clips; there are two"),
        ({"background": None, "removed": [0]}, "removed names characters of the background's clip"),
        ({"characters": [WHO, WHO]}, "two characters have the id 'r'"),
        ({"characters": [{**WHO, "template": "no-such"}]}, "character 'r': there is no motion 'no-such'"),
        ({"characters": [{**WHO, "frame": 1, "play": True}]}, "character 'r': it is frozen in a frame, or plays"),
        ({"characters": [{**WHO, "motion": {"scale": 0}}]}, "character 'r': scale must be a number from 0.001"),
        ({"characters": [{**WHO, "motion": {"translation": [0]}}]}, r"character 'r': translation must be \[x, y\]"),
        ({"characters": [{**WHO, "motion": {"rotation": float("nan")}}]}, "character 'r': rotation must be"),
        ({"characters": [{**WHO, "character": 7}]}, "two has no character 7; it has 0"),
        ({"characters": [{**WHO, "frame": 99}]}, "character 'r': two: there is no frame 99"),
        ({"removed": ["nobody"]}, "two has no character nobody"),
        ({"background": None}, "size must be given"),
    ],
)
def test_a_mistake_is_one_line(finder, folder, values, problem):
    with pytest.raises(SceneError, match=problem) as error:
        drawn(finder, folder, 0, **values)
    assert "\n" not in str(error.value)


def test_the_command_draws_what_the_function_draws(finder, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(model_folder, "load", lambda run: finder.model)
    path, out = written(folder, characters=PLAYING, frames=3), tmp_path / "out"
    assert cli.main(["render", str(tmp_path), "--scene", str(path), "--output", str(out), "--cache", "none"]) == 0
    for index in range(3):
        expected = drawn(finder, folder, index, characters=PLAYING, frames=3)
        np.testing.assert_array_equal(read_image(out / f"{index:05d}.png"), expected)
    path = written(folder, background=None, characters=[{**WHO, "frame": 1}])
    words = ["render", str(tmp_path), "--scene", str(path), "--output", str(tmp_path / "a.mp4")]
    assert cli.main(words) == 2 and ".mp4" in capsys.readouterr().err  # which holds nothing transparent
    assert cli.main([*words, "--play"]) == 2 and "goes without --play" in capsys.readouterr().err
