"""The camera: how it is measured, that its sway is taken out, and that it is put back."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from eqvid_tf import cli
from eqvid_tf.camera import cuts, following, measure, registration, stabilization
from eqvid_tf.camera.registration import Homography, KeyFrame, Pose, Reference
from eqvid_tf.data.clips import open_clip, read_image
from eqvid_tf.data.writers import write_png
from eqvid_tf.evaluation.scorecard import psnr, score_scene
from eqvid_tf.motions.template import Template
from eqvid_tf.pixels.coordinates import carry, homogeneous
from eqvid_tf.pixels.resampling import move
from eqvid_tf.rendering.scene import parse_scene, scene_frames
from eqvid_tf.rendering.shots import FrameFinder, render_shots
from eqvid_tf.rendering.videos import MovingBackground, play
from eqvid_tf.separation.cast import Cast, CastEntry
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.separation.folder import write_layers
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
    scale, shift = pose.inverse().scale, pose.inverse().shift
    centre, half = (np.array(n[::-1]) * FINE / 2 for n in (np.array(picture.shape[:2]) / FINE, size))
    linear = np.array([[scale.real, -scale.imag], [scale.imag, scale.real]])
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
    return [Pose(complex(z * math.cos(a), z * math.sin(a)), complex(s)) for a, z, s in zip(turns, zooms, shifts)]


def shaken(place, *, count=12, size=(64, 64), seed=3, background="pebbles", rest=0.0, **sway):
    """A folder of frames as filmed by a shaken camera, and its poses."""
    poses, wide = swaying(count, size[0], seed=seed, **sway), [FINE * (side + 16) for side in size]
    scene = draw_scene(seed, size=tuple(wide), frames=count, background=background, rest=rest)
    return folder(place, [filmed(scene.picture(k)[0], pose, size) for k, pose in enumerate(poses)]), poses


def errors(found, poses, size):
    """The error of each frame's pose in pixels, the mean over a box about the centre."""
    true = [(poses[found.reference] @ pose.inverse()).motion(size) for pose in poses]
    difference = (np.array(true) - found.poses) @ BOX
    return np.hypot(*(difference * np.array([[size[1] / 2], [size[0] / 2]])).swapaxes(0, 1)).mean(-1)


@pytest.mark.parametrize(
    ("size", "sway"),
    [
        ((64, 112), {"pixels": 1.0, "rest": 0.5, "seed": 5}),
        ((64, 64), {"pixels": 0.5, "drift": 4.0, "turn": 0, "zoom": 0, "seed": 4}),
    ],
)
def test_sway_is_measured_to_a_fraction_of_a_pixel(size, sway, tmp_path):
    place, poses = shaken(tmp_path / "clip", size=size, **sway)
    found = measure.camera_of(open_clip(place, cache=None))
    error = errors(found, poses, size)
    assert found.kind == "sways" and found.sure and found.pixels > 1
    assert error.mean() < 0.15 and error.max() < 0.4
    np.testing.assert_array_equal(found.poses[found.reference], EYE)


@pytest.mark.parametrize(("background", "rest"), [("hills", 0.0), ("bricks", 0.7), ("room", 0.0)])
def test_where_the_camera_stands_still_nothing_changes(background, rest, tmp_path):
    scene = draw_scene(2, size=(48, 64), frames=12, background=background, rest=rest)
    noise = np.random.default_rng(0).normal(0, 3, (12, 48, 64, 1))
    light = 6 * np.sin(np.arange(12))[:, None, None, None]
    for name, frames in (
        ("clean", scene.frames),
        ("grainy", np.clip(scene.frames + noise + light, 0, 255).astype(np.uint8)),
    ):
        cache = tmp_path / f"{name}-cache"
        filmed_clip = open_clip(folder(tmp_path / name, frames), cache=cache)
        clip = stabilization.stabilize(filmed_clip)
        assert clip.camera.kind == "still" and clip.camera.pixels == 0 and not clip.moves
        np.testing.assert_array_equal(clip.camera.poses, np.broadcast_to(EYE, (12, 2, 3)))
        np.testing.assert_array_equal(np.stack(list(clip)), frames)
        np.testing.assert_array_equal(clip.at(-1), frames[-1])
        np.testing.assert_array_equal(clip.arrays((32, 32)), filmed_clip.arrays((32, 32)))
        assert len(list(cache.glob("*.npy"))) == 1  # one decode, one entry
        picture = frames[3]
        assert clip.as_filmed(picture, 3) is picture
        steps = EYE + np.random.default_rng(0).normal(0, 0.1, (11, 2, 3))
        np.testing.assert_array_equal(clip.motion_as_filmed(steps), steps)
        np.testing.assert_array_equal(clip.between_as_filmed(steps[0], 2, 7, np.zeros(2)), homogeneous(steps[0]))


def test_a_character_on_a_plain_background_is_not_the_camera(tmp_path):
    scene = draw_scene(6, size=(64, 64), frames=16)
    alpha = scene.masks[..., None] / 255
    frames = (scene.frames * alpha + 140 * (1 - alpha)).astype(np.uint8)
    found = measure.camera_of(open_clip(folder(tmp_path / "clip", frames), cache=None))
    assert found.kind == "still" and not found.sure


def falling(*, size, count, solids, marks=0, sway=0.0, seed=0):
    """Frames of checkered solids that fall on a plain floor, turn and throw shadows, and the camera's poses.

    The floor has a soft light, and marks of its own.
    """
    rng, wide = np.random.default_rng(seed), 2 * size
    y, x = np.mgrid[:wide, :wide] / wide - 0.5
    world = np.repeat((110 + 30 * np.exp(-8 * (x**2 + y**2)))[..., None], 3, -1).astype(np.float32)
    for place in rng.uniform(0.28, 0.72, (marks, 2)) * wide:
        _stamp(world, place, rng.uniform(4, 7), rng.uniform(0, 3), rng.uniform(40, 230, 3))
    shapes = [(rng.uniform(6, 14), rng.uniform(40, 230, 3), rng.uniform(-0.2, 0.2)) for _ in range(solids)]
    start, ground = rng.uniform(0.2, 0.8, (solids, 2)) * size * [1, 0.3], rng.uniform(0.55, 0.85, solids) * size
    speed, fall = rng.uniform(-3, 3, solids), rng.uniform(0.3, 0.6, solids)
    poses = swaying(count, size, pixels=sway) if sway else [Pose()] * count
    frames = []
    for k, pose in enumerate(poses):
        view = world.copy()
        height = np.minimum(start[:, 1] + fall * k**2, ground)
        at = np.stack([start[:, 0] + speed * k, height], 1) + size / 2
        for (radius, _, _), (column, row), floor in zip(shapes, at, ground + size / 2):
            _stamp(view, (column + (floor - row) / 4, floor + radius), radius, 0, None)
        for (radius, colour, turn), place in zip(shapes, at):
            _stamp(view, place, radius, turn * k, colour)
        view = (view + rng.normal(0, 1, view.shape)).clip(0, 255).astype(np.uint8)
        frames.append(_seen(view, pose, size))
    return frames, poses


def _stamp(picture, place, radius, turn, colour):
    """Draw a checkered disk, or the shadow of one without a colour."""
    left, top = (max(0, int(at - 2 * radius)) for at in place)
    picture = picture[top : top + int(4 * radius), left : left + int(4 * radius)]
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    x, y = x + left - place[0], y + top - place[1]
    if colour is None:
        picture *= (1 - 0.4 / (1 + np.exp(np.hypot(x, 2 * y) - radius)))[..., None]
        return
    alpha = (1 / (1 + np.exp(2 * (np.hypot(x, y) - radius))))[..., None]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    checks = 1 + 0.3 * np.tanh(2 * np.sin(along * 4 / radius) * np.sin(across * 4 / radius))
    picture[:] = picture * (1 - alpha) + np.array(colour, np.float32) * checks[..., None] * alpha


def _seen(world, pose, size):
    """The middle of a picture of twice the size, as a camera at a pose sees it."""
    scale, shift = pose.inverse().scale, pose.inverse().shift * size / 2
    linear, middle = np.array([[scale.real, -scale.imag], [scale.imag, scale.real]]), size / 2
    away = size + np.array([shift.real, shift.imag]) - linear @ [middle, middle]
    way = (*linear[0], away[0], *linear[1], away[1])
    seen = Image.fromarray(world).transform((size, size), Image.Transform.AFFINE, way, Image.Resampling.BICUBIC)
    return np.asarray(seen)


@pytest.mark.parametrize(("solids", "seed"), [(3, 0), (7, 2)])
def test_solids_that_fall_on_a_plain_floor_are_not_the_camera(solids, seed, tmp_path):
    frames, _ = falling(size=96, count=20, solids=solids, seed=seed)
    found = measure.camera_of(open_clip(folder(tmp_path / "clip", frames), cache=None))
    assert found.kind == "still" and found.pixels == 0
    np.testing.assert_array_equal(found.poses, np.broadcast_to(EYE, (20, 2, 3)))


def test_an_arm_that_reaches_into_the_frame_is_not_the_camera_of_a_plain_wall(tmp_path):
    rng, frames = np.random.default_rng(0), []
    wall = np.full((192, 192, 3), 200, np.float32)
    for place in ((60, 128), (84, 134), (112, 130), (70, 62)):
        _stamp(wall, place, 3, 0, np.array([90, 90, 100]))
    for k in range(24):
        view = wall.copy()
        column, row = 84 + 16 * np.sin(k / 3), 92 + 8 * np.cos(k / 4)
        for along in range(0, 110, 8):  # from the hand over the right border
            _stamp(view, (column + along, row + along / 8), 9, 0.05 * k, np.array([190, 140, 110]))
        _stamp(view, (column, row), 14, 0.05 * k, np.array([40, 40, 50]))
        view = view[48:144, 48:144] + rng.normal(0, 1, (96, 96, 3))
        frames.append(view.clip(0, 255).astype(np.uint8))
    found = measure.camera_of(open_clip(folder(tmp_path / "clip", frames), cache=None))
    assert found.kind == "still" and found.pixels == 0


def test_a_sway_is_measured_on_plain_ground_with_a_few_marks(tmp_path):
    frames, poses = falling(size=96, count=20, solids=3, marks=14, sway=2.0, seed=3)
    found = measure.camera_of(open_clip(folder(tmp_path / "clip", frames), cache=None))
    error = errors(found, poses, (96, 96))
    assert found.kind == "sways" and found.sure
    assert error.mean() < 0.15 and error.max() < 0.4


def test_a_pan_before_a_plain_sky_is_followed_though_the_character_has_most_of_the_edges(tmp_path):
    y, x = np.mgrid[:192, :192].astype(np.float32)
    hills, clouds = 122 + 4 * np.sin(x / 9), 84 + 3 * np.abs(np.sin(x / 7))
    world = np.where((y > clouds)[..., None], np.array([226, 248, 252]), np.array([208, 240, 247])).astype(np.float32)
    world[(y > hills) | ((y > 105) & ((x * 7) // 20 % 9 == 0))] = (195, 228, 236)  # and trees
    world = world.astype(np.uint8)
    poses = [Pose(1 + 0j, (k - 10) * (0.03 + 0.006j)) for k in range(20)]
    frames = []
    for k, pose in enumerate(poses):
        view = _seen(world, pose, 96).astype(np.float32)
        _stamp(view, (48 + 24 * np.sin(k / 3), 40 + 8 * np.cos(k / 2)), 12, 0.1 * k, np.array([200, 60, 30]))
        frames.append(view.clip(0, 255).astype(np.uint8))
    clip = open_clip(folder(tmp_path / "clip", frames), cache=None)
    found = measure.camera_of(clip)
    truth = np.stack([homogeneous(pose.inverse().motion((96, 96))) for pose in poses])
    error = np.abs(carry(found.poses, BOX[:2].T) - carry(np.linalg.inv(truth[10]) @ truth, BOX[:2].T)).max() * 48
    assert found.kind == "travels" and found.sure
    assert error < 0.3
    assert stabilization.stabilize(clip).light is None  # a sky that is nearly white tells of no other


def test_a_frame_far_from_the_reference_is_found_by_its_features():
    world = draw_background(5, (256, 256), "pebbles")
    grey = lambda pose: _seen(world, pose, 128).astype(np.float32) @ measure.LUMA
    pose = Pose(complex(math.cos(0.5), math.sin(0.5)), 0.5 - 0.3j)
    found = Reference(grey(Pose())).register(grey(pose), [Pose()])
    assert (found.pose @ pose.inverse()).travel((128, 128)) < 0.5


def panned(place, step, count=16):
    """A window of 64 x 64 that goes over a wide picture."""
    wide = draw_background(3, (64, 64 + step * count), "pebbles")
    return folder(place, [wide[:, step * k : step * k + 64] for k in range(count)])


@pytest.mark.parametrize("poses", ["similar", "sparse", "projective"])
def test_a_key_frame_finds_the_pose_of_another(poses):
    wide, middle = draw_background(3, (192, 192), "pebbles"), np.diag([1.5, 1.5, 1.0])
    grey = lambda matrix: move(wide, matrix @ middle, (128, 128)).mean(-1)
    bent = np.array([[1, 0, 0], [0, 1, 0], [0.03, 0.02, 1]]) if poses == "projective" else np.eye(3)
    true = homogeneous(Pose(1.05 + 0.03j, 0.06 - 0.04j).motion((128, 128))) @ bent
    pose, unlike, residual = KeyFrame(grey(np.eye(3)), poses).register(grey(true), [Homography(np.eye(3))])
    corners = 0.6 * BOX[:2].T
    assert np.abs(carry(pose.motion((128, 128)), corners) - carry(true, corners)).max() * 64 < 0.1
    assert unlike < 0.4 and residual < 0.3


def test_homographies_that_bend_a_frame_away_are_not_taken(monkeypatch):
    """On few edges, a pose that shrinks a frame into the other's plain middle leaves no residual."""
    wide, follow_kind = draw_background(3, (64, 160), "pebbles").astype(np.float32).mean(-1), following._follow
    frames = [wide[:, 6 * k : 6 * k + 64] for k in range(16)]
    away = Homography.normalized(np.array([[0.1, 0, 0], [0, 0.1, 0], [0.9, 0, 1]]))

    def bent(frames, kind, progress):
        found = follow_kind(frames, kind, progress)
        a_little = Homography.normalized(
            np.array([[1, 0, 0.02], [0, 1, 0], [0, 0, 1.0]])
        )  # so that the others fit better
        poses = [*found.poses[:12], *[away] * 4] if kind == "projective" else [a_little @ pose for pose in found.poses]
        return dataclasses.replace(found, poses=poses, projective=kind == "projective")

    monkeypatch.setattr(following, "_follow", bent)
    found = following.follow(frames)
    assert not found.projective
    shift = [pose.motion((64, 64))[0, 2] * 32 for pose in found.poses]
    np.testing.assert_allclose(np.diff(shift), -6, atol=0.2)


def test_a_camera_that_travels_is_followed_and_its_background_is_one_picture(tmp_path):
    clip = open_clip(panned(tmp_path / "pan", 6), cache=None)
    stable = stabilization.stabilize(clip)
    shift = (stable.camera.poses[:, 0, 2] - stable.camera.poses[0, 0, 2]) * 32
    assert stable.camera.kind == "travels" and stable.moves
    np.testing.assert_allclose(shift, 6 * np.arange(16), atol=0.1)
    assert stable.size == (64, 154) and stable.shown.mean() > 0.98
    wide = draw_background(3, (64, 64 + 6 * 16), "pebbles")[:, :154]
    for index in (0, 8, 15):  # what a frame does not see is what others saw, and it sees the same again
        assert psnr(stable.at(index) / 255, wide / 255) > 30
        assert psnr(stable.as_filmed(stable.at(index), index) / 255, clip.at(index) / 255) > 30
    camera = stable.motion_as_filmed(np.tile(EYE, (15, 1, 1)))
    np.testing.assert_allclose(camera[:, :, 2] * 32, np.tile([-6.0, 0], (15, 1)), atol=0.1)


def test_exposure_and_vignetting_of_a_travelling_camera_are_taken_out_and_put_back(tmp_path):
    """Much less light in the corners, exposures from -10 % to 10 %, and a tone curve that is flat where bright."""
    wide, step, shade = draw_background(3, (64, 64 + 6 * 16), "pebbles"), 6, np.linspace(-1, 1, 64) ** 2
    corners = np.log(0.7) * (shade[:, None] + shade)[..., None] / 2
    slope = np.interp(wide, [0, 128, 255], [1.5, 1.0, 0.5])
    window = lambda picture, k: picture[:, step * k : step * k + 64].astype(float)
    light = lambda k: window(slope, k) * (corners + 0.2 * (k / 15 - 0.5))
    frames = [np.clip(window(wide, k) * np.exp(light(k)), 0, 255).round().astype(np.uint8) for k in range(16)]
    clip = open_clip(folder(tmp_path / "pan", frames), cache=None)
    stable = stabilization.stabilize(clip)
    assert stable.light is not None and stable.light.slope[0] > 1.2 > 0.9 > stable.light.slope[3]
    for index in (0, 8, 15):  # all show the same picture, and go back to what was filmed
        assert psnr(stable.at(index) / 255, stable.mosaic / 255) > 30
        assert psnr(stable.colours_as_filmed(stable.at(index), index) / 255, clip.at(index) / 255) > 30
        assert psnr(stable.as_filmed(stable.mosaic, index) / 255, clip.at(index) / 255) < 28
    even = stabilization.stabilize(open_clip(panned(tmp_path / "even", 6), cache=None))
    assert even.light is None and even.noise == 0 and stable.noise < 20


def test_what_a_mosaic_does_not_hold_is_to_be_cut_where_it_says(tmp_path, capsys):
    place = panned(tmp_path / "pan", 24)
    command = f"train {place} --output {tmp_path}/run --steps 1 --cache {tmp_path}/cache"
    assert cli.main(command.split()) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and "--frames 0:14, --frames 14:16" in lines[0]
    assert not (tmp_path / "run").exists()


def test_frames_of_other_places_have_no_one_background(tmp_path):
    places = [draw_background(k, (64, 64), name) for k, name in enumerate(("bricks", "pebbles", "room", "hills") * 3)]
    with pytest.raises(measure.CameraTravels, match="no one background.*--frames A:B"):
        stabilization.stabilize(open_clip(folder(tmp_path / "clip", places), cache=None))


@pytest.fixture(scope="module")
def with_a_cut(tmp_path_factory):
    """Twelve frames of a scene, then ten of another."""
    scenes = draw_scene(1, size=(32, 48), frames=12), draw_scene(2, size=(32, 48), frames=10)
    return folder(tmp_path_factory.mktemp("film") / "film", [frame for scene in scenes for frame in scene.frames])


def test_a_cut_is_found_and_light_flashes_pans_and_jumps_in_time_are_none(with_a_cut, tmp_path):
    film = open_clip(with_a_cut, cache=None)
    assert cuts.find_cuts(film) == [12]
    frames = np.stack(list(film))[:12]
    light = np.concatenate([frames[:6] // 3, frames[6:]])
    flash = np.concatenate([frames[:6], np.full_like(frames[:1], 255), frames[6:]])
    for name, shown in (("light", light), ("flash", flash), ("jump", frames[[0, 1, 2, 3, 4, 11, 10, 9, 8]])):
        assert cuts.find_cuts(open_clip(folder(tmp_path / name, shown), cache=None)) == []
    assert cuts.find_cuts(open_clip(panned(tmp_path / "pan", 20), cache=None)) == []


def test_parts_between_cuts_are_clips_of_their_own(with_a_cut, trained, tmp_path, capsys):
    film = open_clip(with_a_cut, cache=None)
    parts = cuts.split_at_cuts([film])
    assert [(part.name, part.start, part.count) for part in parts] == [("film@0-12", 0, 12), ("film@12-22", 12, 10)]
    np.testing.assert_array_equal(parts[1].at(3), film.at(15))
    with pytest.raises(measure.CameraTravels, match="at frame 12 .*--frames 0:12, --frames 12:22"):
        stabilization.stabilize(film)
    assert cli.main(f"inspect {with_a_cut} --cache none --json {tmp_path / 'film.json'}".split()) == 0
    assert "film@12-22: 10 frames" in capsys.readouterr().out
    found = json.loads((tmp_path / "film.json").read_text())
    assert found["cuts"] == [12] and [part["frames"] for part in found["parts"]] == [12, 10]
    cast = Cast((CastEntry(clip="film@12-22", number=0, name="hero", frames=10),))
    part = open_clip(with_a_cut, frames=(12, None), cache=None)  # what --frames 12: gives is that part
    assert ClipCharacters(trained, part, cast=cast).names == {0: "hero"}
    there, index = FrameFinder(trained, cast=cast, cache=None).find(with_a_cut / "00014.png")
    assert (there.names, there.clip.count, index) == ({0: "hero"}, 10, 2)


@pytest.fixture(scope="module")
def handheld(tmp_path_factory):
    """A swaying clip with a cache, and its true poses."""
    place, poses = shaken(tmp_path_factory.mktemp("handheld") / "clip", pixels=2.0)
    return open_clip(place, cache=place.parent / "cache"), poses


def test_an_answer_is_remembered(handheld, monkeypatch):
    clip, poses = handheld
    first = measure.camera_of(clip)
    error = errors(first, poses, clip.size)
    assert first.kind == "sways" and error.mean() < 0.15 and error.max() < 0.4
    monkeypatch.setattr(measure, "measure", None)
    again = measure.camera_of(clip)
    np.testing.assert_array_equal(first.poses, again.poses)
    assert (first.kind, first.pixels, first.reference) == (again.kind, again.pixels, again.reference)


def test_stabilized_frames_agree_and_go_back(handheld):
    filmed_clip, _ = handheld
    clip = stabilization.stabilize(filmed_clip)
    frames, before = np.stack(list(clip)), np.stack(list(filmed_clip))
    unrest = lambda stack: np.median(np.abs(stack - np.median(stack, 0)).mean((1, 2, 3)))
    assert clip.moves and unrest(frames) < 0.5 * unrest(before)
    reference = clip.camera.reference
    np.testing.assert_array_equal(frames[reference], before[reference])
    np.testing.assert_array_equal(clip.at(5), frames[5])
    np.testing.assert_array_equal(clip.at(-1), frames[-1])
    np.testing.assert_array_equal(clip.arrays((64, 64)), frames)
    np.testing.assert_array_equal(np.stack(list(clip.resized((64, 64), range(0, len(frames), 3)))), frames[::3])
    background, inner = np.median(frames, 0), np.s_[6:-6, 6:-6]
    gone_back = clip.as_filmed(background.astype(np.uint8), 5)
    difference = lambda picture: np.abs(picture[inner].astype(float) - before[5][inner]).mean()
    assert difference(gone_back) < difference(background)


def test_a_cut_is_a_clip_of_its_own(handheld):
    whole, _ = handheld
    cut = stabilization.stabilize(open_clip(whole.path, frames=(3, 12), cache=whole.path.parent / "cache"))
    reference = cut.camera.reference
    np.testing.assert_array_equal(cut.at(reference), whole.at(3 + reference))


def test_what_a_frame_did_not_see_comes_from_the_others(tmp_path):
    shifts = np.zeros((5, 2, 3)) + EYE
    shifts[:, 0, 2] = np.array([-4, 0, 0, 2, 0]) * 2 / 40  # pixels to the right
    rim = stabilization.partly_unseen(shifts, (30, 40))
    assert rim[:, :2].all() and rim[:, -4:].all() and not rim[5:-5, 6:-6].any()
    frames = np.full((5, 30, 40, 3), 77, np.uint8)
    frames[:3] = 5
    moved = stabilization.StabilizedClip(
        open_clip(folder(tmp_path, frames), cache=None), swaying_camera(shifts, reference=2)
    ).at(3)
    assert (moved[:, :2] == 5).all() and (moved[:, 2:] == 77).all()


def swaying_camera(poses, reference=0):
    return measure.Camera(kind="sways", poses=poses, reference=reference, pixels=4.0, lost=0.0, sure=True)


def test_motions_lose_the_camera_and_get_it_back(tmp_path):
    rng = np.random.default_rng(0)
    poses, motion = EYE + rng.normal(0, 0.05, (6, 2, 3)), EYE + rng.normal(0, 0.2, (5, 2, 3))
    place = folder(tmp_path / "frames", np.zeros((6, 8, 8, 3), np.uint8))
    (tmp_path / "motion.json").write_text(json.dumps({"motion": motion.tolist()}))
    clip = stabilization.StabilizedClip(open_clip(tmp_path, cache=None), swaying_camera(poses))
    without = clip.motion()
    for k in range(5):  # a place that the character covers, in the reference's coordinates before and after a step
        expected = homogeneous(poses[k + 1]) @ homogeneous(motion[k]) @ np.linalg.inv(homogeneous(poses[k]))
        np.testing.assert_allclose(without[k], expected[:2], atol=1e-12)
        back = clip.between_as_filmed(without[k], k, k + 1, np.zeros(2))
        np.testing.assert_allclose(back, homogeneous(motion[k]), atol=1e-12)
    np.testing.assert_allclose(clip.motion_as_filmed(without), motion, atol=1e-12)
    assert clip.has_motion and clip.path == tmp_path and place.is_dir()


# -- with a model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jolted(scene, tmp_path_factory):
    """The scene that the model knows, as a camera films it that jumps by whole pixels: a scene with its own truth."""
    place = tmp_path_factory.mktemp("jolted") / "scene"
    shutil.copytree(scene, place, ignore=shutil.ignore_patterns("shots.json", "expected*"))
    clip, rng = open_clip(scene), np.random.default_rng(1)
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
    frame_from_still, motion = homogeneous(poses), homogeneous(truth["motion"])
    truth["motion"] = (frame_from_still[1:] @ motion @ np.linalg.inv(frame_from_still[:-1]))[:, :2].tolist()
    (place / "motion.json").write_text(json.dumps(truth))
    return place


def test_layers_of_a_swaying_clip_are_those_of_its_own_frames(jolted, trained, tmp_path, monkeypatch):
    found, still = {}, lambda clip, progress, **_: stabilization.StabilizedClip(clip, measure.Camera.still(clip.count))
    for name in ("stabilized", "as filmed"):
        with monkeypatch.context() as patch:
            if name == "as filmed":
                patch.setattr("eqvid_tf.separation.characters.stabilize", still)
            write_layers(ClipCharacters(trained, open_clip(jolted, cache=None)), tmp_path / name)
        found[name] = score_scene(jolted, tmp_path / name)
    stabilized, filmed_scores = found["stabilized"], found["as filmed"]
    assert stabilized["iou"] > max(0.7, filmed_scores["iou"] + 0.05), found
    assert stabilized["bg_psnr"] > 35 > filmed_scores["bg_psnr"], found
    assert stabilized["corner_px"] < filmed_scores["corner_px"], found


def test_a_shot_is_in_the_coordinates_of_the_frames_that_it_names(jolted, trained, tmp_path, few_frames):
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


def test_a_video_goes_along_with_the_camera_of_its_background(jolted, trained, few_frames):
    layers = ClipCharacters(trained, open_clip(jolted, cache=None)).first
    stay = Template(name="stay", fps=layers.clip.fps, steps=np.tile(EYE, (5, 1, 1)), source={})
    still = list(play(layers, stay, layers.background_as_filmed(layers.clip.camera.reference), pose=4))
    path = np.tile(EYE + [[0, 0, 1 / 12], [0, 0, 0]], (2, 1, 1))  # two pixels to the right, twice
    for background in (MovingBackground.as_filmed(layers, 6, 1.0), MovingBackground.along(layers, path, 6)):
        moving, inner = list(play(layers, stay, background, pose=4)), np.s_[6:-6, 6:-6]
        assert np.ptp(background.from_still[:, :, 2], axis=0).max() > 0.05 and len(moving) == 6
        for frame, first, matrix in zip(moving, still, background.from_still):
            assert psnr(frame[inner] / 255, move(first, matrix)[inner] / 255) > 30


def test_who_is_frozen_in_a_scene_stays_in_its_place_before_a_moving_background(jolted, trained, few_frames):
    clips, finder = [{"name": "c", "path": str(jolted)}], FrameFinder(trained, cache=None)
    scene = {"format": 1, "frames": 6, "rate": 25, "clips": clips, "background": {"clip": "c"}}
    frozen = {"id": "a", "clip": "c", "character": 0, "frame": 0}
    pictures = list(scene_frames(trained, parse_scene({**scene, "characters": [frozen]}, jolted), finder=finder))
    view, inner = finder.clip(jolted).clip.view.from_frame, np.s_[6:-6, 6:-6]
    for index, picture in enumerate(pictures):
        expected = move(pictures[0], np.linalg.inv(view[index]) @ view[0])
        assert psnr(picture[inner] / 255, expected[inner] / 255) > 26
    assert np.abs(view[:6, :2, 2]).max() > 0.05


class Creeping(registration._Level):
    """A search whose every step goes a tenth of the way that is left, as robust weights make it."""

    def __init__(self):
        self.taken = 0

    def residual(self, smooth, pose):
        return registration._Residual(np.zeros(1), np.ones(1))

    def step(self, smooth, pose, residual, start, reach=1.0):
        self.taken += 1
        step = 0.1 * (10 - pose.shift.real)  # pixels
        parameters = np.array([0, 0, step, 0])
        return registration._Step(registration.Pose(shift=pose.shift + reach * step), residual, abs(step), parameters)


def test_steps_that_all_go_the_same_way_reach_farther():
    level = Creeping()
    found = level.search(np.zeros((2, 2), np.float32), registration.STILL, 30)
    assert abs(found.shift - 10) < 0.1 and level.taken < 25  # 0.9 ** 25 of the way would be left: 0.7 pixels
