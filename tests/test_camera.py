"""The camera: how far it is told from the clip, what is taken out, and that it is put back."""

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from eqvid_tf import cli
from eqvid_tf.camera import measure, registration, stabilization
from eqvid_tf.data.clips import open_clip, read_image
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.scorecard import psnr, score_scene
from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.rendering.shots import render_shots
from eqvid_tf.separation.layers import ClipLayers, write_layers
from eqvid_tf.synthetic.backgrounds import draw_background
from eqvid_tf.synthetic.scenes import draw_scene

FINE = 2  # pixels drawn for each one filmed, so that what is filmed is not resampled twice
EYE = np.eye(2, 3)
BOX = np.array([[-0.7, -0.7, 0.7, 0.7], [-0.7, 0.7, -0.7, 0.7], [1, 1, 1, 1]])


def folder(place, frames):
    for index, frame in enumerate(frames):
        write_png(place / f"{index:05d}.png", frame)
    return place


def filmed(picture, pose, size):
    """What a camera sees of a picture drawn larger: `pose` takes a place in the middle of the picture to the frame."""
    turn, shift = registration.invert(pose)
    centre, half = (np.array(n[::-1]) * FINE / 2 for n in (np.array(picture.shape[:2]) / FINE, size))
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    away = centre + np.array([shift.real, shift.imag]) * half[1] - linear @ half
    way = (*linear[0], away[0], *linear[1], away[1])
    wide = tuple(int(n) * FINE for n in size[::-1])
    return np.asarray(
        Image.fromarray(picture).transform(wide, Image.Transform.AFFINE, way, Image.Resampling.BICUBIC).reduce(FINE)
    )


def swaying(count, height, *, pixels, turn=0.4, zoom=0.004, drift=0.0, seed=0):
    """The poses of a hand that shakes and, with `drift`, sinks."""
    rng, t = np.random.default_rng(seed), np.arange(count) / count
    wave = lambda: sum(
        part * np.sin(2 * math.pi * (t * rate + rng.random())) for rate, part in ((1.3, 0.6), (4.1, 0.3), (9.0, 0.1))
    )
    turns, zooms = np.radians(turn) * wave(), np.exp(zoom * wave())
    shifts = (pixels * wave() + drift * t + 1j * (pixels * wave() + drift * t)) * 2 / height
    return [(complex(z * math.cos(a), z * math.sin(a)), complex(s)) for a, z, s in zip(turns, zooms, shifts)]


def shaken(place, *, count=16, size=(64, 64), seed=3, background=None, rest=0.0, **sway):
    """A folder of frames as filmed by a shaken camera, and its poses."""
    poses, wide = swaying(count, size[0], seed=seed, **sway), [FINE * (side + 16) for side in size]
    scene = draw_scene(seed, size=tuple(wide), frames=count, background=background, rest=rest)
    return folder(place, [filmed(scene.picture(k)[0], pose, size) for k, pose in enumerate(poses)]), poses


def errors(found, poses, size):
    """Pixels by which each frame's pose is off, on the mean over a box about the centre."""
    true = [
        registration.as_motion(
            registration.compose(poses[found.reference], registration.invert(pose)), size[1] / size[0]
        )
        for pose in poses
    ]
    apart = (np.array(true) - found.poses) @ BOX
    return np.hypot(*(apart * np.array([[size[1] / 2], [size[0] / 2]])).swapaxes(0, 1)).mean(-1)


@pytest.mark.parametrize(
    ("size", "sway"),
    [
        ((64, 64), {"pixels": 2.0}),
        ((64, 112), {"pixels": 1.0, "rest": 0.5, "seed": 5}),
        ((64, 64), {"pixels": 0.5, "drift": 4.0, "turn": 0, "zoom": 0, "seed": 4}),
    ],
)
def test_sway_is_found_to_a_fraction_of_a_pixel(size, sway, tmp_path):
    place, poses = shaken(tmp_path / "clip", size=size, **sway)
    found = measure.camera_of(open_clip(place, cache=None))
    off = errors(found, poses, size)
    assert found.kind == "sways" and found.sure and found.pixels > 1
    assert off.mean() < 0.15 and off.max() < 0.4
    np.testing.assert_array_equal(found.poses[found.reference], EYE)


@pytest.mark.parametrize(("background", "rest"), [("hills", 0.0), ("bricks", 0.7), ("room", 0.0)])
def test_a_camera_that_stands_still_is_left_alone(background, rest, tmp_path):
    scene = draw_scene(2, size=(48, 64), frames=12, background=background, rest=rest)
    noise = np.random.default_rng(0).normal(0, 3, (12, 48, 64, 1))
    light = 6 * np.sin(np.arange(12))[:, None, None, None]
    for name, frames in (
        ("clean", scene.frames),
        ("grainy", np.clip(scene.frames + noise + light, 0, 255).astype(np.uint8)),
    ):
        clip = open_clip(folder(tmp_path / name, frames), cache=None)
        found = measure.camera_of(clip)
        assert found.kind == "still" and found.pixels == 0
        np.testing.assert_array_equal(found.poses, np.broadcast_to(EYE, (12, 2, 3)))
        assert stabilization.stabilize(clip) is clip


def test_a_character_on_a_plain_background_is_not_the_camera(tmp_path):
    scene = draw_scene(6, size=(64, 64), frames=16)
    alpha = scene.masks[..., None] / 255
    frames = (scene.frames * alpha + 140 * (1 - alpha)).astype(np.uint8)
    found = measure.camera_of(open_clip(folder(tmp_path / "clip", frames), cache=None))
    assert found.kind == "still" and not found.sure


def panned(place, step, count=24):
    """A window of 64 x 64 that goes over a wide picture."""
    wide = draw_background(3, (64, 64 + step * count), "city")
    return folder(place, [wide[:, step * k : step * k + 64] for k in range(count)])


@pytest.mark.parametrize("step", [1, 6])
def test_a_camera_that_travels_is_refused_in_one_line(step, tmp_path, capsys):
    place = panned(tmp_path / "pan", step)
    with pytest.raises(measure.CameraTravels, match="camera travels|no one background"):
        stabilization.stabilize(open_clip(place, cache=None))
    assert cli.main(["train", str(place), "--output", str(tmp_path / "run"), "--steps", "1", "--cache", "none"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(told) == 1 and "--frames A:B" in told[0]
    assert not (tmp_path / "run").exists()


def test_an_answer_is_remembered(tmp_path, monkeypatch):
    place, _ = shaken(tmp_path / "clip", pixels=2.0, count=12)
    first = measure.camera_of(open_clip(place, cache=tmp_path / "cache"))
    monkeypatch.setattr(measure, "measure", None)
    again = measure.camera_of(open_clip(place, cache=tmp_path / "cache"))
    np.testing.assert_array_equal(first.poses, again.poses)
    assert (first.kind, first.pixels, first.reference) == (again.kind, again.pixels, again.reference)


def test_steadied_frames_lie_on_each_other_and_go_back(tmp_path):
    place, _ = shaken(tmp_path / "clip", pixels=2.0)
    raw = open_clip(place, cache=tmp_path / "cache")
    clip = stabilization.stabilize(raw)
    frames, before = np.stack(list(clip)), np.stack(list(raw))
    unrest = lambda stack: np.median(np.abs(stack - np.median(stack, 0)).mean((1, 2, 3)))
    assert unrest(frames) < 0.5 * unrest(before)
    assert stabilization.stabilize(clip) is clip
    reference = clip.camera.reference
    np.testing.assert_array_equal(frames[reference], before[reference])
    np.testing.assert_array_equal(clip.at(5), frames[5])
    np.testing.assert_array_equal(clip.arrays((64, 64)), frames)
    cut = stabilization.stabilize(open_clip(place, frames=(4, 16), cache=tmp_path / "cache"))
    np.testing.assert_allclose(np.stack(list(cut))[cut.camera.reference], before[4 + cut.camera.reference])
    there = clip.own(clip.own(frames[5], 5) * 0 + np.median(frames, 0).astype(np.uint8), 5)
    inner = np.s_[6:-6, 6:-6]
    assert (
        np.abs(there[inner].astype(float) - before[5][inner]).mean()
        < np.abs(np.median(frames, 0)[inner] - before[5][inner]).mean()
    )


def test_what_a_frame_did_not_see_comes_from_the_others():
    shifts = np.zeros((5, 2, 3)) + EYE
    shifts[:, 0, 2] = np.array([-4, 0, 0, 2, 0]) * 2 / 40  # pixels to the right
    rim = stabilization.partly_unseen(shifts, (30, 40))
    assert rim[:, :2].all() and rim[:, -4:].all() and not rim[5:-5, 6:-6].any()
    picture = np.full((30, 40, 3), 77, np.uint8)
    moved = stabilization.stabilize_frame(picture, shifts[3], np.full_like(picture, 5))
    assert (moved[:, :2] == 5).all() and (moved[:, 2:] == 77).all()


def test_motions_lose_the_camera_and_get_it_back():
    rng = np.random.default_rng(0)
    poses, motion = EYE + rng.normal(0, 0.05, (6, 2, 3)), EYE + rng.normal(0, 0.2, (5, 2, 3))
    there = stabilization.change_frame_coordinates(poses, motion)
    back = stabilization.change_frame_coordinates(np.linalg.inv(homogeneous(poses))[:, :2], there)
    np.testing.assert_allclose(back, motion, atol=1e-12)
    still = stabilization.change_frame_coordinates(
        poses, stabilization.change_frame_coordinates(np.linalg.inv(homogeneous(poses))[:, :2], np.tile(EYE, (5, 1, 1)))
    )
    np.testing.assert_allclose(still, np.tile(EYE, (5, 1, 1)), atol=1e-12)


# -- with a model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jolted(scene, tmp_path_factory):
    """The scene that the model knows, as a camera films it that jumps by whole pixels: a scene with its own truth."""
    place = tmp_path_factory.mktemp("jolted") / "scene"
    shutil.copytree(scene, place, ignore=shutil.ignore_patterns("shots.json", "expected*"))
    clip, rng = open_clip(scene, cache=None), np.random.default_rng(1)
    jumps = rng.integers(-2, 3, (clip.count, 2))
    for index, (down, right) in enumerate(jumps):
        for part in ("frames", "masks"):
            path = place / part / f"{index:05d}.png"
            picture = np.asarray(Image.open(path))
            wide = np.pad(
                picture,
                [(2, 2), (2, 2)] + [(0, 0)] * (picture.ndim - 2),
                mode="edge" if part == "frames" else "constant",
            )
            write_png(path, wide[2 - down : 2 - down + 32, 2 - right : 2 - right + 48])
    poses = np.tile(EYE, (clip.count, 1, 1))
    poses[:, :, 2] = jumps[:, ::-1] * 2 / np.array([48, 32])
    truth = json.loads((place / "motion.json").read_text())
    truth["motion"] = stabilization.change_frame_coordinates(poses, np.array(truth["motion"])).tolist()
    (place / "motion.json").write_text(json.dumps(truth))
    return place


def test_layers_of_a_swaying_clip_are_those_of_its_own_frames(jolted, trained, tmp_path, monkeypatch):
    found = {}
    for name in ("steady", "as filmed"):
        with monkeypatch.context() as patch:
            if name != "steady":
                patch.setattr("eqvid_tf.separation.layers.steadied", lambda clip, progress: clip)
            write_layers(ClipLayers(trained, open_clip(jolted, cache=None)), tmp_path / name)
        found[name] = score_scene(jolted, tmp_path / name)
    with_it, without = found["steady"], found["as filmed"]
    assert with_it["iou"] > max(0.7, without["iou"] + 0.05), found
    assert with_it["bg_psnr"] > 35 > without["bg_psnr"], found
    assert with_it["corner_px"] < without["corner_px"], found


def test_a_shot_is_in_the_coordinates_of_the_frames_that_it_names(jolted, trained, tmp_path):
    clip = open_clip(jolted, cache=None)
    poses = stabilization.stabilize(clip).camera.poses
    index = int(np.abs(poses[:, :, 2]).sum(1).argmax())
    name = str(jolted / "frames" / f"{index:05d}.png")
    shots = [{"name": "same", "character": name, "background": name, "motion": EYE.tolist()}]
    (tmp_path / "shots.json").write_text(json.dumps(shots))
    render_shots(trained, tmp_path / "shots.json", tmp_path, cache=None)
    inner = np.s_[4:-4, 4:-4]
    drawn = read_image(tmp_path / "same.png")[inner] / 255
    level = [psnr(frame[inner] / 255, drawn) for frame in clip]
    assert level[index] > 24 and level[index] == max(level)
