"""What is exported works in programs that were not written for it: PixiJS, lottie-web, axe-core, and a browser.

A test is skipped, with the reason, where a program is missing. With EQVID_BROWSER_TESTS=required it fails.
"""

import base64
import json
import subprocess

import numpy as np
import pytest
from conftest import program, until
from PIL import Image
from test_exports import COUNT, FPS, NAMES, SHEAR, SIZE, layers_in
from test_videos import Layers, disc, template
from test_writers import discs

from eqvid_tf.batch.report import write_report
from eqvid_tf.batch.work import Outcome
from eqvid_tf.data.writers import write_png, write_video
from eqvid_tf.exports.lottie import write_lottie
from eqvid_tf.exports.page import write_page
from eqvid_tf.exports.sprite_sheet import write_sheet
from eqvid_tf.rendering.videos import perform, play

RED, BLUE = [230, 26, 26], [26, 51, 230]
PIXI = """
globalThis.navigator ??= {userAgent: ''};
const {Spritesheet, Texture, TextureSource} = require('pixi.js'), data = require(process.argv[2]);
const source = new TextureSource({width: data.meta.size.w, height: data.meta.size.h});
const sheet = new Spritesheet(new Texture({source}), data);
const box = r => [r.x, r.y, r.width, r.height];
const said = t => ({frame: box(t.frame), trim: box(t.trim), size: box(t.orig).slice(2), anchor: t.defaultAnchor});
sheet.parse().then(() => {
  const found = Object.entries(sheet.animations).map(([name, textures]) => [name, textures.map(said)]);
  console.log(JSON.stringify(Object.fromEntries(found)));
});
"""
READ = """selector => {
    const canvas = document.querySelector(selector), {width, height} = canvas;
    const bytes = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    let text = '';
    for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
    return {width, height, bytes: btoa(text)};
}"""
SHOW = """async bytes => {
    const video = Object.assign(document.createElement('video'), {src: 'data:video/webm;base64,' + bytes, muted: true});
    const displayed = new Promise(done => video.requestVideoFrameCallback(done));
    await video.play();
    await displayed;
    video.pause();
    await new Promise(done => {  // until frame 2 is displayed: on a busy machine that is after `seeked`
        const look = () => video.requestVideoFrameCallback(
            (_, frame) => Math.abs(frame.mediaTime - 0.08) < 0.02 ? done() : look());
        look();
        video.onseeked = () => setTimeout(done, 1000);  // it may have been there before
        video.currentTime = 0.1;
    });
    document.querySelector('canvas').getContext('2d').drawImage(video, 0, 0);
}"""
PLAY = """data => new Promise(done => {
    const how = {renderer: 'canvas', loop: false, autoplay: false, animationData: data};
    window.film = lottie.loadAnimation({container: document.getElementById('film'), ...how});
    film.addEventListener('loaded_images', done);
})"""


@pytest.fixture
def open_page(chromium):
    """Opens a page; at the end nothing was asked of the network, and nothing was wrong."""
    wrong, pages = [], []

    def open_page(url, **options):
        page = chromium.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        inside = ("file:", "data:", "blob:", "about:")
        page.on("request", lambda request: None if request.url.startswith(inside) else wrong.append(request.url))
        page.goto(url)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []


def pixels_of(page, canvas: str) -> np.ndarray:
    """What a canvas of a page shows, found by its selector: straight RGBA, int [h, w, 4]."""
    found = page.evaluate(READ, canvas)
    read = np.frombuffer(base64.b64decode(found["bytes"]), np.uint8)
    return read.reshape(found["height"], found["width"], 4).astype(int)


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    return layers_in(tmp_path_factory.mktemp("layers"))


def test_pixi_loads_a_sprite_sheet(layers, node_modules, tmp_path):
    node = program("node", "nodejs")
    write_sheet(tmp_path / "a.png", {name: layers.cut_outs(number) for number, name in NAMES.items()}, FPS)
    script = node_modules.parent / "sheet.cjs"
    script.write_text(PIXI)
    done = subprocess.run([node, script, tmp_path / "a.json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded, sheet = json.loads(done.stdout), np.asarray(Image.open(tmp_path / "a.png"))
    assert list(loaded) == list(NAMES.values())
    for number, name in NAMES.items():
        for found, frame in zip(loaded[name], layers.cut_outs(number), strict=True):
            (x, y, width, height), (left, top, *trimmed) = found["frame"], found["trim"]
            assert found["size"] == [SIZE[1], SIZE[0]] and trimmed == [width, height]
            alpha = np.zeros(SIZE, np.uint8)
            alpha[top : top + height, left : left + width] = sheet[y : y + height, x : x + width, 3]
            np.testing.assert_array_equal(alpha, frame[..., 3])
            assert 0 < found["anchor"]["x"] < 1


def test_a_browser_shows_what_is_behind_a_transparent_video(open_page, tmp_path):
    written = discs()
    write_video(tmp_path / "a.webm", written, 25)
    page = open_page("about:blank")
    page.set_content("<canvas width='58' height='42'></canvas>")
    page.evaluate(SHOW, base64.b64encode((tmp_path / "a.webm").read_bytes()).decode())
    alpha = pixels_of(page, "canvas")[:41, :57, 3]
    assert np.abs(alpha - written[2, ..., 3]).max() <= 12


@pytest.mark.parametrize("playing", [False, True])
def test_lottie_web_plays_what_we_draw(playing, node_modules, open_page, tmp_path):
    """Turned, sheared, scaled and moved, in each frame; between two frames it is between them."""
    shape = np.maximum(
        disc((60, 90), -0.2, 0, 0.5) * [1, 0.2, 0.1, 1], disc((60, 90), 0.2, 0.2, 0.4) * [0.1, 0.9, 1, 1]
    )
    actor = Layers([shape, shape[:, ::-1]])
    how = {"size": (96, 144), "at": (0, 0.1), "zoom": 1.3, "playing": playing}
    moves = template(*[SHEAR] * 7)
    write_lottie(tmp_path / "a.json", perform(actor, moves, **how), "two discs")
    page = open_page("about:blank", viewport={"width": 144, "height": 96})
    page.set_content("<body style='margin:0'><div id='film' style='width:144px;height:96px'></div>")
    page.add_script_tag(path=node_modules / "lottie-web/build/player/lottie_canvas.min.js")
    page.evaluate(PLAY, json.loads((tmp_path / "a.json").read_text()))

    def at(time):
        page.evaluate("time => film.goToAndStop(time, true)", time)
        return premultiplied(pixels_of(page, "#film canvas"))

    ours = [premultiplied(frame) for frame in play(actor, moves, **how)]
    for k, frame in enumerate(ours):
        assert psnr(at(k), frame) > 33
        assert psnr(np.roll(at(k), 1, axis=1), frame) < 30  # a pixel beside
    if not playing:
        centre = lambda layer: np.average(
            np.argwhere(layer[..., 3] > 0), axis=0, weights=layer[layer[..., 3] > 0][:, 3]
        )
        np.testing.assert_allclose(centre(at(0.5)), (centre(ours[0]) + centre(ours[1])) / 2, atol=0.3)


def premultiplied(frame):
    frame = np.asarray(frame, np.float64)
    return np.concatenate([frame[..., :3] * frame[..., 3:] / 255, frame[..., 3:]], -1)


def psnr(a, b):
    """Of the pixels that either shows."""
    seen = (a[..., 3] > 0) | (b[..., 3] > 0)
    return 10 * np.log10(255**2 / np.square(a - b)[seen].mean())


@pytest.fixture
def scene_page(layers, open_page, tmp_path):
    """The page of a scene with two characters, at its frame 4, with a background besides its own."""
    green = np.full((30, 30, 3), (10, 180, 40), np.uint8)
    write_page(tmp_path / "scene.html", layers, "a & b", {"meadow": green})
    page = open_page((tmp_path / "scene.html").as_uri(), viewport={"width": 1280, "height": 800})
    page.wait_for_selector("body[data-ready]")
    page.get_by_label("Frame").fill("4")
    return page


def where(page, colour):
    """The centre (x, y) of what has a colour on the stage, and how many pixels that is."""
    stage = pixels_of(page, "#stage")
    found = (np.abs(stage[..., :3] - colour).max(-1) < 60) & (stage[..., 3] > 128)
    return (np.argwhere(found).mean(0)[::-1] + 0.5 if found.any() else None), found.sum()


def on_screen(page, point):
    """Where a point of the scene is on the page."""
    box = page.locator("#handles").bounding_box()
    return box["x"] + point[0] * box["width"] / SIZE[1], box["y"] + point[1] * box["height"] / SIZE[0]


def drag(page, start, end):
    page.mouse.move(*on_screen(page, start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, (np.array(start) + end) / 2))
    page.mouse.move(*on_screen(page, end))
    page.mouse.up()


def test_a_page_plays_and_is_dragged_turned_and_scaled(scene_page):
    page = scene_page
    red, area = where(page, RED)
    blue = where(page, BLUE)[0]
    drag(page, red, red + [20, 12])
    np.testing.assert_allclose(where(page, RED)[0], red + [20, 12], atol=0.6)
    np.testing.assert_allclose(where(page, BLUE)[0], blue, atol=0.1)
    assert [page.get_by_label(name).input_value() for name in ("Right", "Down")] == ["20", "12"]
    page.get_by_role("button", name="As filmed").click()
    corner = page.evaluate("sizer(chosen)")
    drag(page, (corner["x"], corner["y"]), red + 1.5 * (np.array([corner["x"], corner["y"]]) - red))
    centre, larger = where(page, RED)
    assert larger == pytest.approx(area * 1.5**2, rel=0.1) and page.get_by_label("Size").input_value() == "150"
    np.testing.assert_allclose(centre, red, atol=0.6)
    handle = page.evaluate("turner(chosen)")
    drag(page, (handle["x"], handle["y"]), (red[0] + 30, red[1]))  # from above to the right: a quarter
    assert abs(int(page.get_by_label("Turn").input_value()) - 90) <= 2
    assert page.get_by_role("button", name="Play", exact=True).is_visible()  # it stands still while it is changed
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, "frame !== 4")
    page.get_by_role("button", name="Pause").click()
    assert [button.inner_text() for button in page.locator("#characters button").all()] == list(NAMES.values())


def test_a_page_is_worked_by_keys_alone(scene_page):
    page = scene_page
    red, area = where(page, RED)
    page.locator("#handles").focus()
    for key in ("2", "ArrowLeft", "1", "Shift+ArrowRight", "ArrowDown", "]", "+", "."):
        page.keyboard.press(key)
    moved, larger = where(page, RED)
    step = 0.1 * SIZE[1] / 2  # of the clip, by one frame
    np.testing.assert_allclose(moved, red + [10 + step, 1], atol=0.6)
    assert area < larger < 1.2 * area and page.locator("#count").inner_text() == f"6 / {COUNT}"
    assert page.get_by_label("Turn").input_value() == "2"
    page.keyboard.press("h")
    assert where(page, RED)[1] == 0 and not page.get_by_label("Show red one").is_checked()


def test_a_page_is_for_all_who_use_it(scene_page, node_modules):
    """Labels on all controls, contrast, order: axe-core finds nothing, light or dark."""
    for scheme in ("light", "dark"):
        scene_page.emulate_media(color_scheme=scheme)
        scene_page.add_script_tag(path=node_modules / "axe-core/axe.min.js")
        found = scene_page.evaluate("axe.run()")
        assert len(found["passes"]) > 20 and [wrong["id"] for wrong in found["violations"]] == []


def test_a_page_has_other_backgrounds_and_gives_its_picture(scene_page, tmp_path):
    page = scene_page

    def downloaded():
        with page.expect_download() as waited:
            page.get_by_role("button", name="Download").click()
        waited.value.save_as(tmp_path / waited.value.suggested_filename)
        return waited.value.suggested_filename, np.asarray(Image.open(tmp_path / waited.value.suggested_filename))

    backgrounds = page.get_by_role("combobox", name="Background")
    backgrounds.select_option("meadow")
    until(page, "backdrop[0].naturalWidth === 30")
    assert np.abs(pixels_of(page, "#stage")[2, 2, :3] - [10, 180, 40]).max() < 12
    name, picture = downloaded()
    assert name == "a & b-00004.png" or name == "a _ b-00004.png"
    np.testing.assert_array_equal(picture, pixels_of(page, "#stage"))
    backgrounds.select_option("None")
    until(page, "backdrop.length === 0")
    assert downloaded()[1][2, 2, 3] == 0  # transparent
    write_png(tmp_path / "own.png", np.full((20, 40, 3), (250, 240, 20), np.uint8))
    with page.expect_file_chooser() as chooser:
        backgrounds.select_option("A picture of your own …")
    chooser.value.set_files(tmp_path / "own.png")
    until(page, "backdrop.length === 1")
    assert pixels_of(page, "#stage")[2, 2].tolist() == [250, 240, 20, 255]
    (tmp_path / "text.png").write_text("no picture")
    page.get_by_label("A picture of your own").set_input_files(tmp_path / "text.png")
    page.get_by_text("text.png: is no picture that this browser reads. Take another.").wait_for()
    assert pixels_of(page, "#stage")[2, 2].tolist() == [250, 240, 20, 255]


def test_the_report_of_a_batch_needs_nothing_but_itself(open_page, tmp_path):
    name = "so #1 <b> 100%"
    write_png(tmp_path / "good/masked.png", np.full((*SIZE, 3), 200, np.uint8))
    (tmp_path / "good/layers").mkdir()
    failed = [Outcome(name=name, path="a.mp4", done=False, stage="train", why="<i>", attempts={"train": 3})]
    write_report([Outcome(name="good", path="b.mp4", done=True, suits="suits", trained=[])] + 40 * failed, tmp_path)
    page = open_page(f"file://{tmp_path}/report.html")
    assert page.locator("tbody tr").count() == 41 and "1 done · 40 failed" in page.inner_text("header")
    assert page.evaluate("[...document.images].map(one => one.naturalWidth)") == [SIZE[1]]
    assert page.locator("td a").first.evaluate("link => link.href") == f"file://{tmp_path}/good/layers"
    page.locator("header a").first.click()
    assert page.locator("tr:target .name").inner_text() == name
