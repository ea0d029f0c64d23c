"""A template played: the character is where the template says, at all sizes; errors are one line."""

import functools
import itertools
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from eqvid_tf import cli, model_folder
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import write_png
from eqvid_tf.motions.template import Template
from eqvid_tf.pixels.coordinates import centroid, homogeneous
from eqvid_tf.pixels.resampling import over
from eqvid_tf.rendering import videos, walk_cycle
from eqvid_tf.rendering.videos import PlayError, move_into, play
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.synthetic.scenes import draw_scene

STILL = np.eye(2, 3)


class Layers:
    """What `ClipLayers` gives, from true layers [T, H, W, 4] in [0, 1] and true motions [T - 1, 2, 3]."""

    network_only = at_canvas_size = False

    def __init__(self, layers, motions=None, *, fps=10.0, learned=True, noise=0.0):
        self.layers = np.asarray(layers, np.float32) * [255, 255, 255, 1]
        self.canvas_frames = np.rint(self.layers[..., :3]).astype(np.uint8)
        self.coverage = self.layers[..., 3]
        self.canvas = self.layers.shape[1:3]
        self.clip = SimpleNamespace(
            name="drawn",
            fps=fps,
            size=self.canvas,
            count=len(layers),
            moves=False,
            travels=False,
            heights=1.0,
            filmed=SimpleNamespace(size=self.canvas),
            view=SimpleNamespace(from_frame=np.tile(np.eye(3), (len(layers), 1, 1))),
            native=lambda indices: iter(self.canvas_frames[list(indices)]),
            at=lambda index: self.canvas_frames[index],
        )
        self.model = SimpleNamespace(T=SimpleNamespace(learned=learned))
        self.motion = np.tile(STILL, (len(layers) - 1, 1, 1)) if motions is None else motions
        self.noise, self.random = noise, np.random.default_rng(0)

    def prepare(self):
        """All is there."""

    def layer(self, index, frame):
        return self.layers[index].astype(np.float32)

    def estimate_motions(self, pairs, once=False):
        chain = [np.eye(3), *itertools.accumulate(homogeneous(self.motion), lambda done, step: step @ done)]
        exact = np.stack([chain[b] @ np.linalg.inv(chain[a]) for a, b in pairs])[:, :2]
        return exact + self.noise * self.random.standard_normal(exact.shape), np.ones(len(pairs))


def disc(size, x, y, radius):
    """A soft white disc about (x, y) in normalized coordinates, its radius in half-heights: [H, W, 4]."""
    height, width = size
    across, down = np.meshgrid((np.arange(width) + 0.5) * 2 / width - 1, (np.arange(height) + 0.5) * 2 / height - 1)
    far = np.hypot((across - x) * width / height, down - y)
    return np.repeat(np.clip((radius - far) * height / 8 + 0.5, 0, 1)[..., None], 4, -1)


@functools.cache
def walker(cells=1):
    """A drawn scene of 24 frames, 96 x 64, and its exact layers."""
    scene = draw_scene(2, size=(64, 96), frames=24, resolution=128, cells=cells)
    masks = np.asarray(scene.masks, np.float32)[..., None] / (255 if scene.masks.dtype == np.uint8 else 1)
    colour = np.clip(np.asarray(scene.frames) / 255 - (1 - masks) * (scene.background / 255), 0, masks)
    return scene, np.concatenate([colour, masks], -1)


def template(*steps, fps=10.0):
    return Template(name="test", fps=fps, steps=np.array(steps, np.float64), source={"by": "hand"})


def pixels(alpha):
    """Centroid (x, y) of coverage, in pixels from the frame's corner."""
    y, x = np.mgrid[: alpha.shape[0], : alpha.shape[1]] + 0.5
    return np.array([(alpha * x).sum(), (alpha * y).sum()]) / alpha.sum()


GO = template([[1, 0, 0.3], [0, 1, 0.1]], [[0.8, -0.3, 0.1], [0.3, 0.8, -0.2]], [[1.2, 0, -0.5], [0.1, 1.1, 0]])


@pytest.mark.parametrize("size", [(60, 80), (101, 75), (40, 171)])
@pytest.mark.parametrize("zoom", [1.0, 0.6])
def test_the_centre_is_where_the_pose_says(size, zoom):
    actor, at = Layers([disc((60, 80), 0.4, -0.2, 0.3)] * 2), (-0.25, 0.1)
    frames = list(play(actor, GO, size=size, at=at, zoom=zoom, pose=0))
    assert len(frames) == len(GO.steps) + 1 and {frame.shape for frame in frames} == {(*size, 4)}
    middle = np.array(size[::-1]) / 2
    own = pixels(actor.layers[0][..., 3]) / [40, 30] - 1  # not quite what was asked for: it is sampled
    for frame, pose in zip(frames, GO.poses(), strict=True):
        expected = middle * (1 + np.array(at)) + pose[:2, 2] * size[0] / 2  # half-heights
        np.testing.assert_allclose(pixels(frame[..., 3] / 255), expected, atol=0.1)
        area = np.linalg.det(pose[:2, :2]) * zoom**2 * (size[0] / 60) ** 2
        assert (frame[..., 3] / 255).sum() == pytest.approx(actor.layers[0][..., 3].sum() * area, rel=0.02)
    start = next(play(actor, GO, size=size, pose=0, zoom=zoom))  # by default the same x, y as in its own clip
    np.testing.assert_allclose(pixels(start[..., 3] / 255), middle * (1 + own), atol=0.1)


def test_no_motion_gives_the_frame_back():
    scene, layers = walker()
    frames = list(play(Layers(layers), template(STILL), scene.background, pose=2))
    assert len(frames) == 2 and frames[0].dtype == np.uint8
    assert np.abs(frames[1].astype(int) - over(Layers(layers).layer(2, None), scene.background)).max() <= 1
    rgba = next(play(Layers(layers), template(STILL), pose=2))
    assert np.abs(rgba[..., 3] / 255 - layers[2, ..., 3]).max() < 0.01
    opaque = layers[2, ..., 3] > 0.99
    assert np.abs(rgba[..., :3].astype(int) - np.asarray(scene.frames)[2])[opaque].mean() < 1  # straight alpha


@pytest.mark.parametrize("learned", [True, False])
def test_its_own_motion_is_taken_out_before_the_template_is_put_in(learned):
    scene, layers = walker()
    actor = Layers(layers, scene.motions, learned=learned, noise=0.02 if learned else 0)
    steps = [[[1, 0, 0.01], [0, 1, -0.02]]] * 23
    frames = np.stack(list(play(actor, template(*steps), at=(0, 0), playing=True)))[..., 3] / 255
    raw = np.stack([pixels(layer[..., 3]) for layer in layers])
    assert np.ptp(raw, axis=0).max() > 15  # it does go somewhere by itself
    for alpha, pose in zip(frames, template(*steps).poses(), strict=True):
        np.testing.assert_allclose(pixels(alpha), [48 + pose[0, 2] * 32, 32 + pose[1, 2] * 32], atol=0.5)
    still = np.stack(list(play(actor, template(*[STILL] * 23), playing=True)))[..., 3] / 255
    from_start = lambda coverage: (np.abs(coverage - layers[0, ..., 3]).sum((1, 2)) / layers[0, ..., 3].sum()).max()
    assert from_start(still) < 0.2 and from_start(layers[..., 3]) > 1  # turn and size, too, are the start's


def test_a_clip_that_plays_its_own_motion_is_itself_again():
    scene, layers = walker(cells=6)
    aspect = 96 / 64
    actor = Layers(layers, scene.motions)
    start = centroid(layers[0]) * [aspect, 1]
    home = np.array([[1, 0, -start[0]], [0, 1, -start[1]], [0, 0, 1]]) @ np.diag([aspect, 1, 1])
    steps = (home @ homogeneous(scene.motions) @ np.linalg.inv(home))[:, :2]
    frames = np.stack(list(play(actor, template(*steps), scene.background, playing=True)))
    error = frames.astype(float) - np.asarray(scene.frames)
    assert 10 * np.log10(255**2 / (error**2).mean()) > 40


def test_own_motion_does_not_drift_where_a_chain_does():
    scene, layers = walker()
    actor = Layers(layers, scene.motions, noise=0.01)
    exact = Layers(layers, scene.motions).estimate_motions([(0, t) for t in range(24)])[0]
    steps, chain = homogeneous(actor.estimate_motions([(t, t + 1) for t in range(23)])[0]), [np.eye(3)]
    for step in steps:
        chain.append(step @ chain[-1])
    found = walk_cycle.own_motion(actor, 0, 24)
    error = lambda motions: np.abs(motions[:, :2] - exact).mean()
    assert error(found) < 0.5 * error(np.stack(chain)) and error(found) < 0.01
    np.testing.assert_allclose(found[0], np.eye(3), atol=1e-12)


def test_the_clip_goes_on_where_its_ends_join_and_else_turns_back():
    turning = [disc((40, 60), 0, 0, 0.5 + 0.2 * np.sin(turn)) for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
    growing = [disc((40, 60), 0, 0, radius) for radius in np.linspace(0.3, 0.7, 12)]
    steps = [STILL] * 29
    for layers, joins in ((turning, True), (growing, False)):
        actor = Layers(layers)
        assert walk_cycle.loops(actor, 0, np.tile(np.eye(3), (12, 1, 1))) == joins
        areas = [frame[..., 3].sum() for frame in play(actor, template(*steps), playing=True)]
        own = 255 * actor.coverage.sum((1, 2))
        order = np.arange(30) % 12 if joins else [*range(12), *range(10, -1, -1), *range(1, 8)]
        np.testing.assert_allclose(areas, own[order], rtol=0.02)
        slow = template(*steps, fps=30.0)  # a third as fast
        slower = [frame[..., 3].sum() for frame in play(actor, slow, playing=True)]
        np.testing.assert_allclose(slower[::3], own[:10], rtol=0.02)


def test_the_pose_is_one_that_shows_it_whole_and_large():
    places = [(-1.4, 0.3), (-0.9, 0.5), (-0.5, 0.3), (0, 0.4), (0.4, 0.38), (0.9, 0.6)]  # outside, cut, whole, ..., cut
    actor = Layers([disc((40, 60), x, 0, radius) for x, radius in places])
    assert walk_cycle.best_pose(actor) == 3
    found = walk_cycle.visibility(actor)
    assert found.visible.tolist() == [False, True, True, True, True, True]
    assert found.whole.tolist() == [False, False, True, True, True, False]
    assert walk_cycle.best_pose(Layers([disc((40, 60), -1, 0, 0.4), disc((40, 60), -1.2, 0, 0.4)])) == 0  # never whole
    order = []
    actor.layer = lambda index, frame: order.append(index) or actor.layers[index].astype(np.float32)
    list(play(actor, template(*[STILL] * 9), playing=True))
    assert sorted(set(order)) == [2, 3, 4]  # those that show it whole, alone


def test_a_character_that_shrinks_does_not_alias(monkeypatch):
    stripes = np.ones((96, 96, 4), np.float32)
    stripes[:, 1::2, :3] = 0  # a pixel white, a pixel black
    stripes *= [255, 255, 255, 1]
    motion = np.diag([0.23, 0.23, 1.0])

    def aliasing():
        layer, (rows, columns) = move_into(stripes, motion, (96, 96))
        assert (rows.start, columns.start) > (30, 30)  # the part that is touched, no more
        inside = layer[4:-4, 4:-4, 0]
        assert inside.mean() == pytest.approx(127.5, abs=6)
        return inside.std()

    assert aliasing() < 6
    monkeypatch.setattr(videos, "MOST_SHRUNK", 100.0)
    assert aliasing() > 20


def test_what_leaves_the_frame_is_gone_and_what_is_far_too_large_is_drawn():
    scene, layers = walker()
    far = template([[1, 0, 50], [0, 1, 0]], [[1, 0, -50], [0, 1, 0]], [[900, 0, 0], [0, 900, 0]])
    away, back, large = list(play(Layers(layers), far, scene.background, pose=0))[1:]
    np.testing.assert_array_equal(away, scene.background)
    assert np.abs(back.astype(int) - scene.background).max() > 30 and large.shape == scene.background.shape


def test_frames_are_made_as_they_are_asked_for():
    actor = Layers([disc((240, 427), 0, 0, 0.3)] * 2)
    long = template(*[[[1, 0, 1e-5], [0, 1, 0]]] * 2000)
    frames = play(actor, long, np.zeros((240, 427, 3), np.uint8), pose=0)
    tracemalloc.start()
    assert sum(1 for _ in itertools.islice(frames, 40)) == 40
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 240 * 427 * 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"pose": 2}, "no frame 2 for a pose; it has frames 0 to 1"),
        ({"pose": -1}, "frames 0 to 1"),
        ({"zoom": 0.0}, "zoom must be from"),
        ({"zoom": float("nan")}, "zoom must be"),
        ({"at": (0, float("inf"))}, "finite"),
        ({"pose": 0, "playing": True}, "leave one of them out"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options, match):
    with pytest.raises(PlayError, match=match):
        play(Layers([disc((40, 60), 0, 0, 0.3)] * 2), GO, **options)


def test_a_clip_without_a_character_is_refused():
    nobody = Layers(np.zeros((3, 40, 60, 4)))
    for options, match in (({}, "no character in frame 0"), ({"playing": True}, "no character in this clip")):
        with pytest.raises(PlayError, match=match):
            play(nobody, GO, **options)


def test_a_trained_model_plays_a_scene(trained, scene, few_frames):
    """The whole way with what a model finds: the centre stays where it is put, at every fourth frame of the clip."""
    layers = ClipLayers(trained, open_clip(scene))
    frames = list(play(layers, template(*[STILL] * 5, fps=25 / 4), at=(0, 0), playing=True))
    assert len(frames) == 6 and frames[0].shape == (32, 48, 4)
    centres = np.stack([pixels(frame[..., 3] / 255) for frame in frames])
    own = np.stack([pixels(layer[..., 3]) for _, _, layer in layers.frames()])
    assert np.abs(centres - [24, 16]).max() < 0.5 < np.ptp(own, axis=0).max() / 4


@pytest.fixture
def call(capsys, run, trained, scene, tmp_path, monkeypatch, few_frames):
    """`eqvid render RUN --character SCENE ...`, in an empty folder with a picture in it: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)  # loaded and traced once
    write_png("odd.png", np.full((51, 35, 3), 99, np.uint8))

    def call(*words):
        try:
            code = cli.main([str(word) for word in ("render", run, "--character", scene, *words)])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_the_command_makes_videos(call, scene, tmp_path):
    jump = ("--frames", "0:8", "--motion", "jump")
    code, out, err = call(*jump, "--background", "odd.png", "--pose", 3, "--at", "-0.5,0.2", "--output", "new/a.mp4")
    assert (code, out) == (0, "new/a.mp4: first in the pose of frame 3 plays jump; 51 frames of 35 x 51 at 25/s\n")
    assert "drawing" in err
    clip = open_clip("new/a.mp4", cache=None)
    assert (clip.count, clip.size, clip.fps) == (51, (52, 36), 25)  # H.264 has even sides; nothing is cut off
    frame = clip.at(0).astype(int)
    found = np.abs(frame - 99).max(-1) > 25
    np.testing.assert_allclose(pixels(found), [0.25 * 35, 0.6 * 51], atol=3)
    assert call(*jump, "--background", "odd.png", "--output", "new/a.mp4")[0] == 2  # it is there
    code, out, _ = call(*jump, "--background", scene, "--play", "--overwrite", "--output", "new/a.mp4")
    assert code == 0 and "with its own walk cycle" in out and open_clip("new/a.mp4", cache=None).size == (32, 48)
    code, *_ = call(*jump, "--background", "odd.png", "--transparent", "--pose", 3, "--output", "new/b.webp")
    with Image.open("new/b.webp") as image:
        assert (code, image.size, image.mode) == (0, (35, 51), "RGBA")
        alpha = np.asarray(image)[..., 3]
        assert alpha.max() == 255 and alpha.min() == 0
    assert call(*jump, "--transparent", "--pose", 3, "--output", "new/frames")[0] == 0
    names = sorted(path.name for path in (tmp_path / "new" / "frames").iterdir())
    assert names == [f"{index:05d}.png" for index in range(51)]
    with Image.open("new/frames/00000.png") as image:
        assert image.mode == "RGBA" and image.size == (48, 32)
    code, *_ = call(*jump, "--background", scene, "--network-only", "--pose", 3, "--output", "c.gif")
    assert code == 0 and open_clip("c.gif", cache=None).count == 51
    assert {path.name for path in tmp_path.iterdir()} == {"odd.png", "new", "c.gif"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.mp4", "b.webp", "frames"}


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (
            "--shots shots.json --motion jump --output a",
            "--shots draws pictures and goes without --character, --motion",
        ),
        ("--background odd.png --output a.mp4", "a video needs --motion too"),
        ("--motion jump --output a.mp4", "a video needs --background too"),
        ("--motion jumpy --background odd.png --output a.mp4", "no motion 'jumpy'. There are: figure-of-eight"),
        (
            "--motion jump --background odd.png --output a.mpg",
            "must end in .mp4, .mov, .mkv, .webm, .gif, .webp or .apng",
        ),
        ("--motion jump --transparent --output a.gif", ".gif holds no transparency. Write .webm, .mov, .webp or .apng"),
        ("--motion jump --transparent --output a.mp4", ".mp4 holds no transparency. Write .webm, .mov, .webp or .apng"),
        ("--motion jump --transparent --network-only --output a.webp", "is not transparent"),
        (
            "--motion jump --background odd.png --pose 24 --output a.mp4",
            "no frame 24 for a pose; it has frames 0 to 23",
        ),
        ("--motion jump --background odd.png --pose 1 --play --output a.mp4", "not allowed with argument --pose"),
        ("--motion jump --background odd.png --at 1 --output a.mp4", "expected X,Y, as in 0.5,-0.2; received '1'"),
        ("--motion jump --background odd.png --zoom -1 --output a.mp4", "zoom must be from 0.001 to 1000; received -1"),
        ("--motion jump --background none.png --output a.mp4", "none.png: there is no such file"),
        ("--motion jump --background odd.png --output odd.png --overwrite", "the video is made from this file"),
    ],
)
def test_a_mistake_is_one_line(words, match, call, tmp_path):
    code, out, err = call(*words.split())
    assert (code, out) == (2, "") and match in err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["odd.png"]
