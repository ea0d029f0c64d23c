"""`eqvid inspect`: what it measures on clips of which the truth is known, and that it needs no TensorFlow."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import write_clip

from eqvid_tf import cli
from eqvid_tf.camera.stabilization import stabilize
from eqvid_tf.data.clips import open_clip, read_image
from eqvid_tf.evaluation import clip_check
from eqvid_tf.evaluation.movers import find_movers
from eqvid_tf.separation.levelling import level_switched
from eqvid_tf.synthetic.backgrounds import draw_background
from eqvid_tf.synthetic.scenes import draw_scene

SCENE = draw_scene(3, size=(64, 96), frames=24, background="bricks")
FRAMES, MASKS = SCENE.frames, SCENE.masks


@pytest.fixture
def check(tmp_path):
    """The report on frames."""
    return lambda frames: clip_check.check_clip(open_clip(write_clip(tmp_path / "clip", frames), cache=None))


def test_a_clip_that_suits(check):
    found = check(FRAMES)
    assert found.verdict == "suits" and found.reasons == ()
    assert (found.camera, found.camera_pixels, found.size, found.frames) == ("still", 0, (64, 96), 24)
    assert found.movers == 1 and found.at_border == 0 and found.rest < 0.1 and found.reach > 0.75
    assert found.mover_area == pytest.approx(MASKS.mean() / 255, rel=0.2)
    assert found.largest_area == pytest.approx(MASKS.mean((1, 2)).max() / 255, rel=0.2)
    assert found.seen_often > 0.98 and found.seen_ever > 0.99
    assert max(found.drift, found.flicker, found.noise) < 0.5


def test_a_rest_is_timed(check):
    scene = draw_scene(3, size=(64, 96), frames=24, rest=0.6, background="bricks")
    found = check(scene.frames)
    assert found.rest == pytest.approx(0.6, abs=0.1) and found.rest_seconds == pytest.approx(found.rest * 24 / 25)
    assert found.verdict == "suits with care" and any("rests" in reason for reason in found.reasons)


def test_movers_are_counted_and_the_border_is_noticed(check):
    second = draw_scene(8, size=(64, 96), frames=24, background="bricks", character=None)
    apart = np.pad(FRAMES, ((0, 0), (0, 0), (0, 96), (0, 0)))
    apart[:, :, 96:] = second.frames
    found = check(apart)
    assert found.movers == 2 and any("2 things move apart" in reason for reason in found.reasons)


def test_what_moves_out_of_the_frame_touches_its_border(check):
    cut = slice(int(np.flatnonzero(MASKS.any((0, 2))).mean()), None)
    found = check(FRAMES[:, cut])
    assert found.at_border > 0.4


def test_light_and_noise_are_measured(check):
    rng = np.random.default_rng(0)
    light = np.linspace(0, 12, 24)[:, None, None, None]
    found = check(20 + 0.8 * FRAMES + light + rng.normal(0, 4, (24, 64, 96, 1)))
    assert found.drift == pytest.approx(12, abs=3) and found.flicker < 2
    assert found.noise == pytest.approx(4, rel=0.25)
    assert found.movers == 1 and found.camera == "still"


def test_what_is_restless_is_boxed(tmp_path):
    flickering = FRAMES.copy()
    flickering[10:13, 4:16, 60:84] //= 2  # in three frames: too few for a character
    clip = open_clip(write_clip(tmp_path / "clip", flickering), cache=None)
    found = find_movers(stabilize(clip))
    assert found.unowned == pytest.approx(12 * 24 / (64 * 96), rel=0.2) and len(found.characters) == 1
    assert found.unowned_box == pytest.approx((60, 4, 84, 16), abs=2)
    never_still = FRAMES.copy()
    never_still[:, 4:16, 60:84] += (10 * (-1) ** np.arange(24)).astype(np.uint8)[:, None, None, None]
    report = clip_check.check_clip(open_clip(write_clip(tmp_path / "clip", never_still), cache=None))
    assert report.restless_box == pytest.approx((60, 4, 84, 16), abs=2)


def test_a_light_that_is_switched_is_no_character(tmp_path):
    switched = FRAMES.astype(np.float32)
    switched[:12] *= 0.55
    clip = open_clip(write_clip(tmp_path / "clip", switched.round().astype(np.uint8)), cache=None)
    report, found = clip_check.check_clip(clip), find_movers(stabilize(clip))
    assert (report.movers, len(found.characters)) == (1, 1) and report.drift > 20
    assert report.largest_area < 2 * MASKS.mean((1, 2)).max() and found.unowned < 0.01
    np.testing.assert_array_equal(level_switched(FRAMES), FRAMES)


def test_a_clock_is_named_and_no_character(tmp_path, capsys):
    """Digits that change in a fixed place: strokes, one pixel apart."""
    clock, rng = FRAMES.copy(), np.random.default_rng(0)
    digits = rng.integers(0, 2, (24, 5, 6)).astype(np.uint8).repeat(2, 1).repeat(2, 2)
    clock[:, 4:14, 70:82] = 255 * digits[..., None]
    clip = open_clip(write_clip(tmp_path / "clip", clock), cache=None)
    found = find_movers(stabilize(clip))
    assert len(found.characters) == 1 and found.unowned_box == pytest.approx((70, 4, 82, 14), abs=2)
    assert cli.main(["inspect", str(tmp_path / "clip"), "--cache", "none"]) == 0
    assert re.search(r"within \d+..\d+ across and \d+..\d+ down: a clock", capsys.readouterr().out)


def test_where_nothing_moves_there_is_nothing_to_learn(check):
    found = check(np.tile(draw_background(2, (64, 96), "room"), (12, 1, 1, 1)))
    assert found.verdict == "does not suit" and "nothing moves" in found.reasons[0]


def test_over_a_pan_nothing_moves_but_the_camera(check):
    wide = draw_background(3, (64, 174), "city")
    found = check(np.stack([wide[:, 6 * k : 6 * k + 96] for k in range(13)]))
    assert found.camera == "travels" and found.camera_pixels == pytest.approx(36, abs=1)
    assert found.verdict == "does not suit" and "nothing moves" in found.reasons[0]


def test_a_long_clip_is_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_check, "MOST_FRAMES", 8)
    clip, read = open_clip(write_clip(tmp_path / "clip", FRAMES), cache=None), []
    monkeypatch.setattr(
        "eqvid_tf.data.readers.read_image",
        lambda path, real=open_clip.__globals__["read_image"]: read.append(path) or real(path),
    )
    found = clip_check.check_clip(clip)
    assert found.frames == 24 and found.movers == 1 and found.step == 0
    assert len(read) <= 3 * 8 + clip_check.NOISE_PAIRS + 1


def test_the_command_says_it_in_lines_and_in_json(tmp_path, capsys):
    words = [
        "inspect",
        str(write_clip(tmp_path / "clip", FRAMES)),
        "--json",
        str(tmp_path / "found.json"),
        "--cache",
        "none",
    ]
    assert cli.main(words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "clip: 24 frames of 96 x 64 at 25/s"
    first_words = ["camera", "movers", "characters", "0:", "background", "restless", "rest", "light", "verdict"]
    assert [line.split()[0] for line in out[1:]] == first_words
    report = json.loads((tmp_path / "found.json").read_text())
    (character,) = report["characters"]
    assert report["verdict"] == "suits" and (character["number"], character["first"], character["last"]) == (0, 0, 23)
    rows, columns = np.flatnonzero(MASKS.any((0, 2))), np.flatnonzero(MASKS.any((0, 1)))
    assert character["box"] == pytest.approx([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], abs=2)
    assert character["share"] == pytest.approx(MASKS.mean() / 255, rel=0.2)
    picture = read_image(tmp_path / character["picture"])
    assert character["picture"] == "found/0.png" and max(picture.shape[:2]) < max(character["box"])
    assert cli.main(words) == 2 and "--overwrite" in capsys.readouterr().err
    assert cli.main(["inspect", str(tmp_path / "nowhere.mp4")]) == 2


def test_tensorflow_is_not_needed(tmp_path):
    script = """if True:
        import sys
        from eqvid_tf import cli
        code = cli.main(sys.argv[1:])
        print(code, "tensorflow" in sys.modules, "keras" in sys.modules)"""
    words = ["inspect", str(write_clip(tmp_path / "clip", FRAMES[:6])), "--cache", "none"]
    done = subprocess.run([sys.executable, "-c", script, *words], check=False, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 False False", done.stderr
