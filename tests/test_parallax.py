"""How far parts of the background go astray from the camera's motion."""

import functools

import numpy as np
import pytest
from conftest import write_clip

from eqvid_tf import cli
from eqvid_tf.camera.measure import CameraTravels, camera_of
from eqvid_tf.camera.parallax import Parallax, parallax_of
from eqvid_tf.data.clips import open_clip
from eqvid_tf.synthetic.backgrounds import draw_background
from eqvid_tf.training import train

SIZE, STEP, COUNT = (96, 144), 4, 25
WAY = STEP * (COUNT - 1)  # of the camera; what it sees stays within the frame for as long


@functools.cache
def wide_background(seed: int) -> np.ndarray:
    return draw_background(seed, (SIZE[0], SIZE[1] + 2 * WAY), "pebbles")


def pan(nearer: float) -> np.ndarray:
    """A pan over a drawn background whose lower third goes by faster by a share, [T, h, w, 3]."""
    wide, near = wide_background(3), wide_background(4)
    frames = []
    for k in range(COUNT):
        first = round(STEP * k * (1 + nearer))
        frames.append(wide[:, STEP * k : STEP * k + SIZE[1]].copy())
        frames[-1][64:] = near[64:, first : first + SIZE[1]]
    return np.stack(frames)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A clip of which the lower third is nearer, with a cache: what one test measures of it, the next one reads."""
    place = write_clip(tmp_path_factory.mktemp("near") / "walk", pan(nearer=0.25))
    return open_clip(place, cache=place.parent / "cache")


@pytest.fixture
def parallax(tmp_path):
    def measured(frames):
        clip = open_clip(write_clip(tmp_path / "clip", frames), cache=None)
        return parallax_of(clip, camera_of(clip))

    return measured


def test_what_is_nearer_goes_astray_by_its_share_of_the_way(walk):
    found = parallax_of(walk, camera_of(walk))
    assert found.pixels == pytest.approx(0.25 * WAY / 2, rel=0.25) and found.place == "at the bottom"
    assert found.usual < found.pixels / 10  # most of the background goes as the camera says


def test_one_plane_has_none(parallax):
    found = parallax(pan(nearer=0))
    assert found.pixels < 0.5 and not found.remark(SIZE)


def test_a_camera_that_stands_still_shows_none(parallax):
    assert parallax(np.repeat(pan(0)[:1], 12, 0)) == Parallax()


def test_it_is_said_by_inspect_and_by_training(walk, capsys):
    assert cli.main(["inspect", str(walk.path), "--cache", str(walk.path.parent / "cache")]) == 0
    told = capsys.readouterr().out
    assert "at the bottom" in told and "(parallax)" in told
    lines = []
    train.prepare([walk], (32, 48), lines.append)
    assert any("(parallax)" in line for line in lines)


def test_where_half_goes_far_astray_there_is_no_one_background(tmp_path, monkeypatch):
    clip = open_clip(write_clip(tmp_path / "walk", pan(0)), cache=None)
    monkeypatch.setattr(train, "parallax_of", lambda *_: Parallax(pixels=30, usual=20, place="at the left"))
    with pytest.raises(CameraTravels, match="half of it goes astray by 20 pixels"):
        train.prepare([clip], (32, 48), lambda line: None)
