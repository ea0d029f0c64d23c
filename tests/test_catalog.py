"""The catalog of motions: the file and what is refused, the operations, taking one from a clip, and the command."""

import dataclasses
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eqvid_tf import cli, model_folder
from eqvid_tf.core import affine
from eqvid_tf.data.images import ClipError
from eqvid_tf.data.output import OutputError
from eqvid_tf.motions import catalog
from eqvid_tf.motions.catalog import Template, TemplateError, available, extract, find, read, to_json, write
from eqvid_tf.motions.previews import preview
from eqvid_tf.pixels.coordinates import chained
from eqvid_tf.separation.motions import MotionEstimates

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SHIPPED = ("figure-of-eight", "grow", "jump", "shake", "spin", "walk-across")
CLOSE = 1e-9  # float64 throughout


def a_template(seed=0, steps=24, fps=12.0, **parts):
    """A wandering, turning, zooming, shearing motion; its centre and its shape are built apart, by affine.build."""
    rng = np.random.default_rng(seed)
    wave = lambda reach, n=1: np.squeeze(reach * np.cumsum(rng.normal(size=(steps, n)), 0), -1 if n == 1 else ())
    reach = {"shift": 0.03, "turn": 0.08, "zoom": 0.02, "shear": 0.02} | parts
    shape = affine.build(turn=wave(reach["turn"]), zoom=np.exp(wave(reach["zoom"])), shear=wave(reach["shear"]))
    poses = np.tile(np.eye(3), (steps + 1, 1, 1))
    poses[1:, :2, :2] = np.asarray(shape, np.float64)[..., :2]
    poses[1:, :2, 2] = wave(reach["shift"], 2)
    return Template(name="a", fps=fps, steps=(poses[1:] @ np.linalg.inv(poses[:-1]))[:, :2], source={"by": "test"})


def same(one, other, atol=CLOSE):
    return one.poses().shape == other.poses().shape and np.allclose(one.poses(), other.poses(), rtol=0, atol=atol)


def centres(template):
    return template.poses()[:, :2, 2]


def own_logs(template):
    """Logarithms of the change of shape, by the package's own affine.log."""
    return np.asarray(affine.log(np.pad(template.steps[:, :, :2], ((0, 0), (0, 0), (0, 1)))))[..., :2]


def test_poses_are_the_products_of_the_steps():
    quarter = [[0, -1, 0], [1, 0, 0.5]]
    poses = Template(name="a", fps=1, steps=[quarter, [[1, 0, 2], [0, 1, 0]], quarter], source={}).poses()
    assert poses[0].tolist() == np.eye(3).tolist()
    assert poses[2, :2].tolist() == [[0, -1, 2], [1, 0, 0.5]]  # first turned, then pushed to the right
    assert poses[3, :2].tolist() == [
        [-1, 0, -0.5],
        [0, -1, 2.5],
    ]  # the last turn is about the start, and swings the centre


seeds = st.integers(0, 10**6)
ways = settings(max_examples=3, deadline=None, derandomize=True)


@ways
@given(seeds)
def test_reverse(seed):
    there = a_template(seed)
    back = there.reversed()
    poses, home = there.poses(), np.eye(3)
    home[:2, 2] = -poses[-1, :2, 2]  # its own start is where the other ended
    assert np.allclose(home @ poses[::-1] @ np.linalg.inv(poses[-1]) @ np.linalg.inv(home), back.poses(), atol=CLOSE)
    assert same(back.reversed(), there) and back.seconds == there.seconds
    assert there.source == {"by": "test"} and back.source["edits"] == ["reverse"]


@ways
@given(seeds, st.floats(-2, 3))
def test_amplify(seed, factor):
    way = a_template(seed)
    assert same(way.amplified(1), way) and same(way.amplified(-1).amplified(-1), way)
    still = way.amplified(0)
    assert np.allclose(still.steps, np.eye(2, 3), atol=CLOSE) and len(still.steps) == len(way.steps)
    more = way.amplified(factor)
    assert np.allclose(centres(more), factor * centres(way), atol=CLOSE)
    assert np.allclose(own_logs(more), factor * own_logs(way), atol=1e-6)


@ways
@given(seeds, st.sampled_from([2, 3, 5]))
def test_resample_up_and_back(seed, times):
    way = a_template(seed)
    fine = way.resampled(way.fps * times)
    assert fine.fps == way.fps * times and fine.seconds == pytest.approx(way.seconds)
    assert np.allclose(fine.poses()[::times], way.poses(), atol=CLOSE)
    assert same(fine.resampled(way.fps), way)
    parts = fine.steps[:times, :, :2]  # of one step: equal parts, in the linear part as in the way
    assert np.allclose(parts, parts[:1], atol=CLOSE)
    assert np.allclose(np.diff(centres(fine), axis=0)[:times], np.diff(centres(way), axis=0)[0] / times, atol=CLOSE)


def test_resample_keeps_duration_and_end_at_any_rate():
    way = find("walk-across")
    for fps in (24, 29.97, 60, 7.3):
        other = way.resampled(fps)
        assert other.fps == fps and abs(other.seconds - way.seconds) <= 0.5 / fps
        assert np.allclose(other.poses()[-1], way.poses()[-1], atol=CLOSE)
    with pytest.raises(TemplateError, match="turns by half a turn a step"):
        find("spin").resampled(1)
    assert centres(way.resampled(60).resampled(25)) == pytest.approx(centres(way), abs=2e-3)


@ways
@given(seeds)
def test_a_loop_ends_where_it_began_and_nothing_jumps(seed):
    way = a_template(seed)
    drift = np.linalg.norm(np.diff(centres(way), axis=0).sum(0)) / len(way.steps)
    turn = np.linalg.norm(np.asarray(affine.log(way.poses()[-1][None, :2]))[0, :, :2]) / len(way.steps)
    loop = way.looped()
    assert np.allclose(loop.poses()[-1], np.eye(3), atol=CLOSE) and loop.loops and not way.loops
    speed = lambda template: np.linalg.norm(np.diff(centres(template), axis=0), axis=1).max()
    assert speed(loop) <= speed(way) + drift + CLOSE
    size = lambda template: np.linalg.norm(own_logs(template), axis=(1, 2)).max()
    assert size(loop) <= size(way) + 1.5 * turn  # the drift is carried along by the shape, which is not quite a turn
    thrice = way.looped(3)
    assert thrice.seconds == pytest.approx(3 * way.seconds)
    assert np.allclose(thrice.poses()[:-1].reshape(3, -1, 3, 3), loop.poses()[:-1], atol=1e-8)


def test_a_loop_brings_a_turn_to_whole_turns():
    spin = find("spin")
    for part, whole in ((0.5, 1), (0.9, 1), (1.2, 1), (-0.7, -1), (1.6, 2), (0.3, 0)):
        turned = own_logs(spin.amplified(part).looped())
        assert (turned[:, 1, 0] - turned[:, 0, 1]).sum() / 2 == pytest.approx(2 * np.pi * whole, abs=1e-6)
    for name in ("spin", "jump", "shake", "figure-of-eight"):
        assert find(name).loops and same(find(name).looped(), find(name), 1e-6)


@ways
@given(seeds)
def test_smooth_calms_the_way_and_keeps_both_ends(seed):
    way = a_template(seed, steps=40)
    calm = way.smoothed(0.25)
    assert np.allclose(calm.poses()[-1], way.poses()[-1], atol=CLOSE)
    rough = lambda template: np.square(np.diff(centres(template), n=2, axis=0)).sum()
    assert rough(calm) < 0.1 * rough(way)
    assert np.square(np.diff(own_logs(calm), axis=0)).sum() < 0.1 * np.square(np.diff(own_logs(way), axis=0)).sum()
    assert np.abs(centres(calm) - centres(way)).max() < 0.1
    assert same(way.smoothed(0), way)


def test_smooth_leaves_an_even_motion_alone():
    for way in (find("spin"), find("spin").then(find("spin"))):
        assert same(way.smoothed(0.3), way, 1e-6)
    assert way.smoothed(way.seconds).loops


@ways
@given(seeds, st.floats(0.1, 0.9))
def test_blend(seed, weight):
    one, other = a_template(seed), a_template(seed + 1, steps=60, fps=24)
    assert same(one.blended(other, 0), one)
    assert same(one.blended(other, 1), other.resampled(one.fps))
    mixed = one.blended(other, weight)
    assert mixed.seconds == pytest.approx((1 - weight) * one.seconds + weight * other.seconds, abs=0.5 / one.fps)
    assert np.allclose(centres(mixed)[-1], (1 - weight) * centres(one)[-1] + weight * centres(other)[-1], atol=CLOSE)
    assert same(one.blended(one, weight), one)


def test_then_goes_on_about_the_character_where_it_is():
    walk, spin = find("walk-across"), find("spin")
    both = walk.then(spin)
    assert both.seconds == walk.seconds + spin.seconds
    assert np.allclose(centres(both)[len(walk.steps) :], centres(walk)[-1], atol=1e-6)  # it spins on the spot
    half = spin.amplified(0.5)
    fall = half.then(find("jump"))
    assert np.allclose(centres(fall)[50:], centres(find("jump")), atol=1e-6)  # upside down, it still jumps upwards
    assert np.allclose(fall.poses()[-1, :2, :2], -np.eye(2), atol=1e-6)
    assert len(walk.then(find("spin").resampled(50)).steps) == 150


def test_edits_are_remembered():
    edited = find("jump").amplified(2).blended(find("spin"), 0.3).looped(2)
    assert catalog.provenance(edited).endswith("stretch; edited: amplify 2, blend spin 0.3, loop 2")
    for _ in range(30):
        edited = edited.reversed()
    assert len(edited.source["edits"]) == 20 and read_back(edited).source == edited.source


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.amplified(1e4),
        lambda t: t.amplified(float("nan")),
        lambda t: t.smoothed(-1),
        lambda t: t.smoothed(1e9),
        lambda t: t.resampled(0),
        lambda t: t.resampled(float("inf")),
        lambda t: t.resampled(1e3).resampled(1e-3),
        lambda t: t.looped(0),
        lambda t: t.looped(1.5),
        lambda t: t.looped(10**6),
        lambda t: t.blended(t, 1.01),
        lambda t: t.blended(t, float("nan")),
        lambda t: dataclasses.replace(t, fps=0.01).then(dataclasses.replace(t, fps=0.001)).resampled(1000),
    ],
)
def test_an_operation_out_of_range_is_refused(call):
    with pytest.raises(TemplateError) as error:
        call(find("spin"))
    assert "\n" not in str(error.value)


def read_back(template):
    return catalog._from_json(json.loads(to_json(template)))


def test_a_file_holds_the_template_exactly(tmp_path):
    template = a_template(3)
    path = write(template, tmp_path / "new")
    assert path == tmp_path / "new" / "a.json" and [p.name for p in path.parent.iterdir()] == ["a.json"]
    found = find("a", [tmp_path / "none", tmp_path / "new"])
    assert (found.name, found.fps, found.source) == (template.name, template.fps, template.source)
    assert np.array_equal(found.steps, template.steps) and not found.steps.flags.writeable
    assert np.array_equal(find(path).steps, read(str(path)).steps)
    with pytest.raises(OutputError, match="is there already"):
        write(template, tmp_path / "new")
    assert write(template.reversed(), tmp_path / "new", overwrite=True) == path and same(
        read(path), template.reversed()
    )
    for folder in (catalog.SHIPPED, catalog.SHIPPED / "sub", tmp_path / "new" / ".." / ".." / catalog.SHIPPED):
        with pytest.raises(TemplateError, match="come with the package"):
            write(template, folder)


def test_find_says_what_there_is(tmp_path):
    assert sorted(available([tmp_path / "none"])) == sorted(SHIPPED)
    write(dataclasses.replace(a_template(), name="jump"), tmp_path)
    assert (
        find("jump", [tmp_path]).source == {"by": "test"} and find("jump").source["by"] == "hand"
    )  # one's own comes first
    with pytest.raises(TemplateError) as error:
        find("jmup", [tmp_path])
    assert all(name in str(error.value) for name in SHIPPED) and "\n" not in str(error.value)
    with pytest.raises(TemplateError, match="there is no such file"):
        find("jump.json", [tmp_path])


STEP = [[1, 0, 0], [0, 1, 0]]
GOOD = {"format": "eqvid-motion", "version": 1, "name": "a", "fps": 25, "steps": [STEP, STEP], "source": {"by": "hand"}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "no motion template"),
        ({"format": None}, "no motion template"),
        ({"version": 2}, "newer"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"version": "1"}, "version"),
        ({"pixels": []}, "unknown key 'pixels'"),
        ({"steps": None}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": STEP}, "steps"),
        ({"steps": [STEP, [[1, 0], [0, 1]]]}, "steps"),
        ({"steps": [[["1", "0", "0"], ["0", "1", "0"]]]}, "steps"),
        ({"steps": [[[True] * 3] * 2]}, "steps"),
        ({"steps": [[[10**400, 0, 0], [0, 1, 0]]]}, "steps"),
        ({"steps": [STEP, [[1, 0, float("nan")], [0, 1, 0]]]}, "step 1 must be finite"),
        ({"steps": [[[float("inf"), 0, 0], [0, 1, 0]]]}, "finite"),
        ({"steps": [[[1, 0, 1e5], [0, 1, 0]]]}, "at most"),
        ({"steps": [[[-1, 0, 0], [0, 1, 0]]]}, "mirrors"),
        ({"steps": [[[0, 0, 0], [0, 1, 0]]]}, "flattens"),
        ({"steps": [[[1e-4, 0, 0], [0, 1e-4, 0]]]}, "scales"),
        ({"steps": [STEP, [[-1, 0, 0], [0, -1, 0]]]}, "step 1 turns by half"),
        ({"steps": [[[0.5, 0, 0], [0, 0.5, 0]]] * 60}, "with those before it"),
        ({"steps": [[[1, 0, 9e3], [0, 1, 0]]] * 2}, "too far"),
        ({"steps": [STEP] * 10_001}, "at most 10000 steps"),
        ({"fps": 0}, "fps"),
        ({"fps": -25}, "fps"),
        ({"fps": "25"}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"fps": True}, "fps"),
        ({"fps": 1e9}, "fps"),
        ({"name": 3}, "name"),
        ({"name": ""}, "name"),
        ({"name": "../a"}, "name"),
        ({"name": ".a"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"name": "a.json"}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a\\b"}, "name"),
        ({"source": "hand"}, "source"),
        ({"source": {"by": {}}}, "source"),
        ({"source": {"by": "x" * 5000}}, "source"),
        ({"source": {"by": "\x1b[2J"}}, "source"),
        ({"source": {"edits": "loop"}}, "source"),
        ({"source": {"n": float("nan")}}, "source"),
    ],
)
def test_a_file_with_something_wrong_is_refused_in_one_line(change, says, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(TemplateError) as error:
        read(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and says in text and "\n" not in text and len(text) < len(str(path)) + 300


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"3",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' * 100_000,
        b" " * (9 << 20),
        json.dumps(GOOD).encode()[:-9],
    ],
)
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(TemplateError) as error:
        read(tmp_path / "a.json")
    assert "\n" not in str(error.value)
    for key in GOOD:
        (tmp_path / "a.json").write_text(json.dumps({name: value for name, value in GOOD.items() if name != key}))
        with pytest.raises(TemplateError, match=f"{key} is missing|version must be|no motion template"):
            read(tmp_path / "a.json")


def test_the_shipped_files_are_what_their_formulas_say():
    made = runpy.run_path(str(BENCHMARKS / "motions.py"))
    assert sorted(path.name for path in catalog.SHIPPED.glob("*")) == [
        f"{name}.json" for name in sorted(made["MOTIONS"])
    ]
    assert sorted(made["MOTIONS"]) == sorted(SHIPPED)
    for name in SHIPPED:
        found, meant = find(name), made["template"](name)
        assert np.allclose(found.steps, meant.steps, rtol=0, atol=2e-9) and found.source == meant.source
        assert found.name == name and found.fps == 25 and 1.5 <= found.seconds <= 4
        assert np.linalg.det(found.poses()[:, :2, :2]).min() > 0.5
        quiet = found.steps if name != "spin" else found.smoothed(0.1).steps
        assert np.abs(np.diff(quiet, axis=0)).max() < 0.3
    assert centres(find("walk-across"))[-1] == pytest.approx([2.4, 0], abs=1e-6)
    assert centres(find("jump"))[:, 1].min() < -0.8 and find("grow").poses()[-1][0, 0] == pytest.approx(1.6, abs=1e-6)


def drawn_layers(aspect, learned=True, confidence=0.9, count=6, hold=1):
    """What a model makes of a drawn clip: its character shifts, and turns about its centre, at (0.4, -0.3) at first.

    Each picture is displayed for `hold` frames.
    """
    height, width = 40, int(40 * aspect)
    start = np.array([0.4 / aspect, -0.3])
    step = affine.build(shift=(0.1 / aspect, 0.05), turn=0.2, zoom=1.1, aspect=aspect, centre=start)
    motion = np.array([np.eye(2, 3) if (k + 1) % hold else step for k in range(count - 1)], np.float64)
    shown = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)[np.arange(count) // hold]
    filmed = SimpleNamespace(
        size=(height, width), count=count, resized=lambda size, indices: (shown[k] for k in indices)
    )
    x, y = (np.arange(width) + 0.5) * 2 / width - 1, (np.arange(height) + 0.5) * 2 / height - 1
    layer = np.zeros((height, width, 4), np.float32)
    layer[..., 3] = np.clip(8 * (0.25 - np.hypot((x - start[0]) * aspect, (y - start[1])[:, None])), 0, 1)
    clip = SimpleNamespace(name="drawn", size=(height, width), fps=10.0, count=count, heights=1.0, at=lambda _: None)
    clip.filmed = filmed
    chain = chained(motion)
    between = lambda pairs: np.stack([chain[b] @ np.linalg.inv(chain[a]) for a, b in pairs])[:, :2]
    return SimpleNamespace(
        clip=clip,
        coverage=np.ones((count, height, width), np.float32),
        motion=motion,
        layer=lambda index, frame: layer,
        model=SimpleNamespace(T=SimpleNamespace(learned=learned)),
        estimate_motions=lambda pairs: MotionEstimates(between(pairs), np.full(len(pairs), confidence)),
    )


@pytest.mark.parametrize("learned", [True, False])
def test_extract_gives_the_same_template_at_any_aspect(learned):
    found = [extract(drawn_layers(aspect, learned), "a", model="m") for aspect in (1.0, 1.5, 0.75)]
    turned = np.array(affine.build(turn=0.2, zoom=1.1), np.float64)
    assert found[0].steps[0, :, :2] == pytest.approx(turned[:, :2], abs=1e-6)
    assert found[0].steps[0, :, 2] == pytest.approx([0.1, 0.05], abs=1e-3)  # the centre is that of pixels
    for other in found[1:]:
        assert other.steps == pytest.approx(found[0].steps, abs=2e-3) and other.fps == 10
    assert found[0].source["clip"] == "drawn" and found[0].source["model"] == "m" and found[0].source["unsure"] == 0


@pytest.mark.parametrize("learned", [True, False])
def test_a_film_of_half_as_many_pictures_gives_no_motion_that_stutters(learned):
    plain, film = drawn_layers(1.5, learned, count=12), drawn_layers(1.5, learned, count=24, hold=2)
    found = extract(film, "a")
    assert found.steps == pytest.approx(extract(plain, "a").steps, abs=1e-6)
    assert (found.fps, found.source["frames"]) == (5, "0:24")


def test_extract_takes_the_frames_that_show_a_character_and_counts_guesses():
    layers = drawn_layers(1.0, confidence=0.1)
    layers.coverage[0] = layers.coverage[4:] = 0
    found = extract(layers, "a")
    assert len(found.steps) == 2 and found.source["frames"] == "1:4" and found.source["unsure"] == 2
    layers.coverage[2:] = 0
    with pytest.raises(TemplateError, match="drawn: fewer than two frames show a character"):
        extract(layers, "a")
    with pytest.raises(TemplateError, match="plain file name"):
        extract(drawn_layers(1.0), "a/b")


def test_a_known_model_needs_the_motion_of_the_clip():
    def no_motion(self):
        raise ClipError("drawn: there is no motion.json.")

    class Layers(SimpleNamespace):
        motion = property(no_motion)

    layers = vars(drawn_layers(1.0, learned=False))
    del layers["motion"]
    with pytest.raises(ClipError, match="no motion.json"):
        extract(Layers(**layers), "a")


def test_the_picture_shows_the_motion():
    spin, walk = preview(find("spin")), preview(find("walk-across"))
    assert spin.dtype == np.uint8 and spin.shape[1:] == walk.shape[1:] == (768, 3)
    assert (
        np.abs(preview(find("spin").reversed())[:400].astype(int) - spin[:400]).mean() > 1
    )  # it can be told which way
    red = np.argwhere((np.abs(walk.astype(int) - (255, 60, 40)) < 12).all(-1)).mean(0)
    assert red[1] > 0.7 * 768  # the end of the path
    one = Template(name="a", fps=1, steps=[STEP], source={})
    assert preview(one).shape[1] == 768


@pytest.fixture
def call(capsys):
    def call(*words):
        try:
            code = cli.main(["motion", *map(str, words)])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_the_command_edits_in_the_order_of_the_words(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("edit", "walk-across", "--fps", 30, "--then", "jump", "--output", "both")
    assert code == 0 and "motions/both.json: both: 181 frames at 30/s, 6.00 s" in out
    assert same(find("motions/both.json"), find("walk-across").resampled(30).then(find("jump")))
    assert sorted(path.name for path in Path("motions").iterdir()) == ["both.json", "both.png"]
    # both is in motions/, which is not the catalog named
    assert call("edit", "both", "--reverse", "--catalog", "mine", "--output", "new")[0] == 2
    words = ("--reverse", "--amplify", "-0.5", "--blend", "spin", "--weight", 0.25, "--smooth", 0.1, "--loop", 2)
    assert call("edit", "motions/both.json", *words, "--catalog", "mine", "--output", "new")[0] == 0
    both = find("motions/both.json")
    assert same(
        find("mine/new.json"), both.reversed().amplified(-0.5).blended(find("spin"), 0.25).smoothed(0.1).looped(2)
    )
    other = (
        "edit",
        "motions/both.json",
        "--loop",
        2,
        "--smooth",
        0.1,
        "--blend",
        "spin",
        "--reverse",
        "--output",
        "mine/other.json",
    )
    assert call(*other)[0] == 0
    assert same(find("mine/other.json"), both.looped(2).smoothed(0.1).blended(find("spin")).reversed())
    code, _, err = call(*other)
    assert code == 2 and "is there already" in err and call(*other, "--overwrite")[0] == 0


def test_the_command_lists_and_shows(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(a_template(), tmp_path / "run" / "motions")
    (tmp_path / "run" / "motions" / "broken.json").write_text("{")
    code, out, _ = call("list", "run")
    assert code == 0 and all(f"| {name} " in out for name in (*SHIPPED, "a", "broken")) and "cannot be read" in out
    assert "| a " not in call("list")[1] and "| a " in call("list", "--catalog", "run/motions")[1]
    code, out, _ = call("show", "a", "--run", "run", "--output", "new/a.png")
    assert code == 0 and "a: 25 frames at 12/s, 2.00 s; by test" in out
    assert np.array_equal(np.asarray(Image.open("new/a.png")), preview(a_template()))
    assert call("show", "jump")[0] == 0 and Path("jump.png").is_file()
    code, _, err = call("show", "jump")
    assert code == 2 and "is there already" in err and call("show", "jump", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "nothing"), "there is no motion 'nothing'"),
        (("show", "nothing.json"), "no such file"),
        ((), "ACTION"),
        (("edit", "spin", "--weight", "0.3", "--output", "a"), "--weight belongs after --blend"),
        (
            ("edit", "spin", "--blend", "jump", "--weight", "1", "--weight", "1", "--output", "a"),
            "--weight belongs after --blend",
        ),
        (("edit", "spin", "--blend", "jmup", "--output", "a"), "there is no motion 'jmup'"),
        (("edit", "spin", "--loop", "0", "--output", "a"), "loop must be"),
        (("edit", "spin", "--fps", "nan", "--output", "a"), "fps must be"),
        (("edit", "spin", "--output", "../a"), "plain file name"),
        (("edit", "spin", "--output", ".json"), "plain file name"),
        (("edit", "spin", "--output", catalog.SHIPPED / "a.json"), "come with the package"),
        (("edit", "spin", "--output", "a", "--catalog", catalog.SHIPPED), "come with the package"),
        (("extract", "run", "clip", "--name", "a/b"), "plain file name"),
        (("extract", "run", "clip", "--name", "a"), "no such file or folder"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, says, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*words)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir()) and not (catalog.SHIPPED / "a.json").exists()


def test_the_page_runs(call, tmp_path, monkeypatch):
    page = (BENCHMARKS.parent / "docs" / "catalog.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^eqvid motion (.*)$", page, re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        if "runs/" not in command:
            assert call(*command.split())[0] == 0, command
    assert Path("eight.png").is_file() and find("whirl", ["motions"]).loops
    names: dict = {}
    exec(compile(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], "catalog.md", "exec"), names)
    assert names["both"].seconds == 6 and names["pixels"].shape[1] == 768
    table = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| .*?( loops)?( \|)$", page, re.MULTILINE)
    assert sorted((name, float(seconds), bool(loops)) for name, seconds, loops, _ in table) == [
        (name, find(name).seconds, find(name).loops) for name in SHIPPED
    ]
    formats = (BENCHMARKS.parent / "docs" / "formats.md").read_text(encoding="utf-8")
    Path("step.json").write_text(re.search(r"## Motion templates.*?```json\n(.*?)```", formats, re.DOTALL)[1])
    assert len(find("step.json").steps) == 2


def test_list_and_show_need_no_tensorflow(tmp_path):
    script = """
import sys
from eqvid_tf import cli
for words in (["list"], ["show", "jump", "--output", sys.argv[1]]):
    assert cli.main(["motion", *words]) == 0
try:
    cli.main(["motion", "edit", "--help"])
finally:
    print("tensorflow" in sys.modules)
"""
    words = [sys.executable, "-c", script, tmp_path / "jump.png"]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[-1]) == (0, "False")


def test_the_command_extracts_what_the_character_did(run, trained, scene, call, tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)  # loaded and traced once
    words = ("extract", run, scene, "--name", "walk", "--catalog", tmp_path, "--frames", "2:20", "--cache", "none")
    code, out, _ = call(*words)
    assert code == 0 and f"{tmp_path}/walk.json: walk: 18 frames at 25/s" in out and "from first by model" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walk.json", "walk.png"]
    found, truth = read(tmp_path / "walk.json"), json.loads((scene / "motion.json").read_text())
    path = np.array(truth["pose_centre"])[2:20] * [1.5, 1]
    wrong, way = (np.linalg.norm(off, axis=1).max() for off in (centres(found) - (path - path[0]), path - path[0]))
    assert wrong < 0.3 * way  # 17 steps of a barely trained model
    assert call(*words)[0] == 2
