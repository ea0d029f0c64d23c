"""What leaves for other programs is what was separated: videos, sprite sheets, Lottie files; read back from files."""

import json

import av
import numpy as np
import pytest
from PIL import Image
from test_videos import Layers, disc, template
from test_writers import decoded, with_sound

from eqvid_tf import cli, model_folder
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import to_uint8, write_png
from eqvid_tf.exports.backgrounds import trained_backgrounds
from eqvid_tf.exports.layer_folder import LayerFolder
from eqvid_tf.exports.layer_videos import write_layer_videos
from eqvid_tf.exports.lottie import decompose, write_lottie
from eqvid_tf.exports.page import write_page
from eqvid_tf.exports.sprite_sheet import SheetError, write_sheet
from eqvid_tf.rendering.videos import perform

SIZE, COUNT, FPS = (60, 96), 8, 30000 / 1001
NAMES = {0: "red one", 2: "blue</script><b>"}  # a name may be anything; number 1 was joined to another
SHEAR = [[0.93, -0.2, 0.04], [0.1, 0.95, 0.02]]


def red_and_blue(index):
    """The cut-outs of a frame, by number: a red disc that goes right, and a blue one that comes after two frames."""
    red = disc(SIZE, -0.6 + 0.1 * index, 0, 0.3) * [0.9, 0.1, 0.1, 1]
    blue = disc(SIZE, 0.5, -0.4 + 0.05 * index, 0.2) * [0.1, 0.2, 0.9, index > 1]
    return {0: straight(red), 2: straight(blue)}


def straight(layer):
    """Black under alpha 0, as cut-outs are written."""
    colour = layer[..., :3].max((0, 1)) * (layer[..., 3:] > 0)
    return to_uint8(np.concatenate([colour, layer[..., 3:]], -1))


def layers_in(folder) -> LayerFolder:
    """A folder as `eqvid separate --plates` writes it, of 8 frames, 96 x 60, with two characters."""
    write_png(folder / "background.png", np.full((*SIZE, 3), (90, 140, 90), np.uint8))
    for index in range(COUNT):
        cut_outs = red_and_blue(index)
        for number, picture in cut_outs.items():
            write_png(folder / f"characters/{number}/character/{index:05d}.png", picture)
            write_png(folder / f"characters/{number}/masks/{index:05d}.png", picture[..., 3])
        together = np.maximum(*cut_outs.values())  # they do not touch
        write_png(folder / f"character/{index:05d}.png", together)
        write_png(folder / f"masks/{index:05d}.png", together[..., 3])
    listed = [{"number": number, "name": name} for number, name in NAMES.items()]
    (folder / "characters.json").write_text(json.dumps(listed))
    return LayerFolder(folder, FPS)


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    return layers_in(tmp_path_factory.mktemp("layers"))


def test_layers_as_videos(layers, tmp_path):
    """Of all characters together and of each alone, at the clip's rate; the plate only where there are plates."""
    written = [path.relative_to(tmp_path).as_posix() for path in write_layer_videos(layers, tmp_path)]
    names = ["character.webm", "mask.mp4"]
    assert written == [*names, *(f"characters/{number}/{name}" for number in NAMES for name in names)]
    for number, place in {None: tmp_path, 2: tmp_path / "characters/2"}.items():
        alpha = np.stack(layers.masks(number)).astype(int)
        kind, read = decoded(place / "character.webm", "libvpx-vp9")
        assert kind == "yuva420p" and np.abs(read[..., 3] - alpha).max() <= 12
        masks = open_clip(place / "mask.mp4", cache=None)
        assert masks.fps == pytest.approx(FPS, rel=1e-3) and np.abs(np.stack(list(masks))[..., 0] - alpha).max() <= 25
    for index in range(COUNT):
        write_png(tmp_path / "in/plates" / f"{index:05d}.png", layers.background()[0])
    (tmp_path / "in/characters.json").write_text("[]")
    for kind in ("masks", "character"):
        (tmp_path / "in" / kind).symlink_to(layers.path / kind)
    paths = write_layer_videos(LayerFolder(tmp_path / "in", 10), tmp_path / "out", ".mov")
    assert [path.name for path in paths] == ["character.mov", "mask.mp4", "plate.mp4"]
    with av.open(str(paths[0])) as container:
        assert (container.streams.video[0].codec.name, container.streams.video[0].profile) == ("prores", "4444")
    assert np.abs(open_clip(paths[2], cache=None).at(3).astype(int) - layers.background()[0]).max() <= 4


def test_layers_as_videos_have_the_clips_own_times_and_its_sound(tmp_path):
    with_sound(tmp_path / "talk.mp4")
    sound = open_clip(tmp_path / "talk.mp4", frames=(0, COUNT), cache=None).sound
    times = [0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.32, 0.36]
    layers_in(tmp_path / "in")
    for kind in (".mov", ".webm"):
        for path in write_layer_videos(
            LayerFolder(tmp_path / "in", 25, times=times, sound=sound), tmp_path / kind, kind
        ):
            with av.open(str(path)) as container:
                assert bool(container.streams.audio) == (path.suffix != ".webm")
            np.testing.assert_allclose(open_clip(path, cache=None).times, times, atol=2e-3)


def drawn_from(sheet, entry):
    """The frame that an entry of a sheet's file describes: RGBA."""
    at, trim, size = entry["frame"], entry["spriteSourceSize"], entry["sourceSize"]
    frame = np.zeros((size["h"], size["w"], 4), np.uint8)
    part = sheet[at["y"] : at["y"] + at["h"], at["x"] : at["x"] + at["w"]]
    frame[trim["y"] : trim["y"] + trim["h"], trim["x"] : trim["x"] + trim["w"]] = part
    return frame


@pytest.mark.parametrize("layout", ["hash", "array"])
def test_a_sprite_sheet_holds_each_frame_and_its_place(layers, layout, tmp_path):
    animations = {name: layers.cut_outs(number) for number, name in NAMES.items()}
    size = write_sheet(tmp_path / "a.png", animations, FPS, layout=layout, power_of_two=layout == "hash")
    sheet, text = np.asarray(Image.open(tmp_path / "a.png")), json.loads((tmp_path / "a.json").read_text())
    assert sheet.shape[:2] == size and text["meta"]["size"] == {"w": size[1], "h": size[0]}
    if layout == "hash":
        assert all(side & (side - 1) == 0 for side in size)
    frames = text["frames"] if layout == "hash" else {entry["filename"]: entry for entry in text["frames"]}
    assert text["animations"] == {name: [f"{name}/{k:05d}" for k in range(COUNT)] for name in NAMES.values()}
    assert [(tag["from"], tag["to"]) for tag in text["meta"]["frameTags"]] == [(0, 7), (8, 15)]
    for number, name in NAMES.items():
        entries = [frames[key] for key in text["animations"][name]]
        assert sum(entry["duration"] for entry in entries) == round(1000 * COUNT / FPS)
        for entry, frame in zip(entries, layers.cut_outs(number), strict=True):
            drawn, seen = drawn_from(sheet, entry), frame[..., 3] > 0
            np.testing.assert_array_equal(drawn[..., 3], frame[..., 3])
            np.testing.assert_array_equal(drawn[seen], frame[seen])
            assert entry["trimmed"] and entry["pivot"] == entries[0]["pivot"]
        first = next(frame for frame in layers.cut_outs(number) if frame[..., 3].any())[..., 3]
        x, y = (np.average(np.arange(n) + 0.5, weights=first.sum(1 - k)) / n for k, n in ((1, SIZE[1]), (0, SIZE[0])))
        assert entries[0]["pivot"] == {"x": pytest.approx(x, abs=1e-4), "y": pytest.approx(y, abs=1e-4)}
    hidden = frames[f"{NAMES[2]}/00000"]
    assert hidden["frame"] == frames[f"{NAMES[2]}/00001"]["frame"]  # equal frames share a place
    near = frames["red one/00000"]["frame"]
    row = sheet[near["y"] + near["h"] // 2, near["x"] - 2 : near["x"]]
    assert row[:, 3].max() == 0 and row[:, 0].min() > 200  # red under alpha 0, beyond what was trimmed


def test_a_sheet_that_no_hardware_takes_is_refused_with_a_scale_that_fits(layers, tmp_path, monkeypatch):
    monkeypatch.setattr("eqvid_tf.exports.sprite_sheet.LARGEST", 64)
    with pytest.raises(SheetError, match=r"at most 64 fit on graphics hardware.*--sheet-scale 0\.\d+") as refused:
        write_sheet(tmp_path / "a.png", {"a": layers.cut_outs()}, 25)
    assert not list(tmp_path.iterdir())
    scale = float(str(refused.value).split("--sheet-scale ")[1].rstrip("."))
    assert max(write_sheet(tmp_path / "a.png", {"a": layers.cut_outs()}, 25, scale=scale)) <= 64


def test_affine_motions_are_a_turn_a_skew_and_a_scale():
    random = np.random.default_rng(0)
    linear = np.eye(2) + 0.4 * random.standard_normal((50, 2, 2))
    linear = linear[np.linalg.det(linear) > 0.1]
    turn, scale, skew = decompose(linear)
    cos, sin, one, none = np.cos(turn), np.sin(turn), np.ones_like(turn), np.zeros_like(turn)
    turned = np.moveaxis(np.array([[cos, -sin], [sin, cos]]), -1, 0)
    skewed = np.moveaxis(np.array([[one, -np.tan(skew)], [none, one]]), -1, 0)
    np.testing.assert_allclose(turned @ skewed * scale[:, None], linear, atol=1e-12)
    angles = np.linspace(0, 9, 40)  # more than a whole turn, and none of it back
    spun = np.moveaxis(np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]), -1, 0)
    np.testing.assert_allclose(decompose(spun)[0], angles)


def test_a_lottie_file_has_a_layer_for_each_picture_while_it_is_displayed(tmp_path):
    actor = Layers([disc((40, 60), 0, 0, radius) for radius in (0.3, 0.4, 0.5)])
    for name, playing in (("frozen", False), ("walking", True)):
        write_lottie(tmp_path / "a.json", perform(actor, template(*[SHEAR] * 5), playing=playing), name)
        text = json.loads((tmp_path / "a.json").read_text())
        assert (text["fr"], text["ip"], text["op"], text["w"], text["h"]) == (10, 0, 6, 60, 40)
        times = [(layer["ip"], layer["op"]) for layer in text["layers"]]
        assert times == ([(k, k + 1) for k in range(6)] if playing else [(0, 6)])
        assert {layer["refId"] for layer in text["layers"]} == {asset["id"] for asset in text["assets"]}
        assert len(text["assets"]) == (3 if playing else 1)


def test_a_page_stays_small_and_says_what_it_left_out(layers, tmp_path, monkeypatch):
    whole = write_page(tmp_path / "a.html", layers, "a")
    assert (whole.step, whole.scale) == (1, 1.0)
    monkeypatch.setattr("eqvid_tf.exports.page.LIMIT", 3000)
    monkeypatch.setattr("eqvid_tf.exports.page.SHORTEST", 60)
    less = write_page(tmp_path / "b.html", layers, "b")
    assert less.step > 1 and less.scale < 1
    assert f"every {less.step}. of 8 frames" in (tmp_path / "b.html").read_text()


def test_the_backgrounds_that_a_model_remembers(trained, scene):
    """At the canvas's size, without the black above and below."""
    found = trained_backgrounds(trained, ["first"])
    picture = found["first"].astype(int)
    truth = np.asarray(Image.open(scene / "background.png").convert("RGB")).astype(int)
    assert list(found) == ["first"] and picture.shape == truth.shape
    assert np.abs(picture - truth).mean() < 8


@pytest.fixture
def call(capsys, run, trained, tmp_path, monkeypatch, few_frames):
    """A command of `eqvid`, in an empty folder: exit code, stdout, the last line of stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)

    def call(command, *words):
        code = cli.main([command, str(run), *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err.rstrip().rsplit("\n", 1)[-1]

    return call


def test_the_commands_write_for_other_programs(call, scene, tmp_path):
    code, out, _ = call("separate", scene, "--frames", "0:8", "--video", "v", "--sheet", "s.png")
    assert code == 0 and out.splitlines()[0] == "v: character.webm, mask.mp4, plate.mp4 at 25/s"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "s.png", "v"]
    assert len(json.loads((tmp_path / "s.json").read_text())["frames"]) == 8
    actor = ("--character", scene, "--frames", "0:8", "--pose", 3, "--motion", "jump", "--transparent")
    for name, codec in (("a.webm", "libvpx-vp9"), ("a.mov", None)):
        assert call("render", *actor, "--output", name)[0] == 0
        alpha = decoded(name, codec)[1][..., 3]
        assert len(alpha) == 51 and alpha.min() == 0 and alpha.max() > 250
    assert call("render", *actor, "--output", "a.json")[0] == 0
    assert json.loads((tmp_path / "a.json").read_text())["op"] == 51
    assert call("render", *actor, "--sheet", "j.png", "--sheet-layout", "array", "--power-of-two")[0] == 0
    assert len(json.loads((tmp_path / "j.json").read_text())["frames"]) == 51
    code, out, _ = call("export", "--html", "p.html", "--clip", scene, "--frames", "0:8")
    assert code == 0 and out == f"p.html: {(tmp_path / 'p.html').stat().st_size / 1e6:.1f} MB\n"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("separate SCENE", "nothing is asked for; give --output DIR, --video DIR or --sheet FILE.png"),
        ("separate SCENE --video v --plates", "--plates is a part of --output"),
        ("separate SCENE --output v --alpha mov", "--alpha is of --video DIR; give that too"),
        ("separate SCENE --output v --video v", "v: is --output, too"),
        ("separate SCENE --sheet s.jpg", "s.jpg: a sheet must end in .png"),
        ("separate SCENE --sheet s.png --sheet-scale 2", "--sheet-scale must be above 0 and at most 1; received 2"),
        ("separate SCENE --output v --power-of-two", "go with --sheet FILE.png; give it too"),
        ("render --character SCENE --motion jump --transparent", "there is no place to write to; give --output PATH"),
        ("render --character SCENE --motion jump --background SCENE --output a.json", "give --transparent too"),
        ("render --character SCENE --motion jump --transparent --output a --sheet a.png", "instead of --output"),
        ("render --clip SCENE --remove 0 --output a.json", "video must end in"),
        ("export --html p.html", "give --clip with the path of one of"),
        ("export --clip SCENE", "give --html FILE.html, too"),
        ("export --clip SCENE --html p.txt", "p.txt: a page must end in .html"),
    ],
)
def test_a_mistake_is_one_line(words, match, call, scene, tmp_path):
    code, out, line = call(*words.replace("SCENE", str(scene)).split())
    assert (code, out) == (2, "") and match in line
    assert not list(tmp_path.iterdir())
