"""The studio: what it lets through, what it keeps, and the page in a browser.

The browser's tests are skipped as those of test_browser.py. Long work is a stand-in that takes no time.
"""

import base64
import errno
import filecmp
import functools
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import conftest
import numpy as np
import pytest
from conftest import absent, program
from PIL import Image

from eqvid_tf import cli, model_folder
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import write_png, write_video
from eqvid_tf.motions.catalog import find
from eqvid_tf.rendering.scene import scene_frame
from eqvid_tf.rendering.shots import FrameFinder
from eqvid_tf.separation.cast import Cast
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.separation.folder import write_layers
from eqvid_tf.studio import places as places_module
from eqvid_tf.studio import scene_file
from eqvid_tf.studio.artist import Artist
from eqvid_tf.studio.commands import FILMS, Commands
from eqvid_tf.studio.drawn_paths import save_path
from eqvid_tf.studio.jobs import Jobs
from eqvid_tf.studio.places import Places
from eqvid_tf.studio.scene_file import checked_scene

uvicorn = pytest.importorskip("uvicorn", reason="the studio's packages are not installed: pip install '.[studio]'")
TOKEN = "a-token"
PAGE = Path(cli.__file__).parents[1] / "studio"
# What a command does that the tests do not wait for: it says how far it is, stops when it is told to, and writes files.
STAND_IN = """
import json, pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
words = sys.argv[1:]
after = lambda flag: pathlib.Path(words[words.index(flag) + 1])
try:
    if words[0] == "train":
        for percent in range(10, 100):
            print(f"training  {percent}%|##", end="\\r", flush=True)
            time.sleep(0.1)
    if words[0] == "inspect":
        sys.exit("eqvid inspect: error: no clip")
    if words[0] == "correct" and "--show" in words:
        after("--show").write_bytes(after("--mask").read_bytes())
    if words[0] == "render":
        after("--output").write_bytes(b"GIF89a" + bytes(94))
        sys.exit(print(f"{after('--output')}: 24 frames"))
    print("done")
except KeyboardInterrupt:
    print("eqvid train: stopped.")
    sys.exit(130)
"""


class Served:
    """A studio that is served in a thread of the test."""

    def __init__(self, places, command):
        from eqvid_tf.studio.guard import Guard
        from eqvid_tf.studio.server import Studio, new_app

        self.places, self.jobs = places, Jobs(places.folder("jobs"), command)
        self.artist = Artist(places)
        app = Guard(new_app(Studio(places, self.jobs, self.artist)), token=TOKEN)
        config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def close(self):
        for job in self.jobs.every():
            self.jobs.stop(job.id)
        self.server.should_exit = True
        self.thread.join(10)
        self.artist.close()

    def ask(self, path, method="GET", body=None, headers=None, token=TOKEN):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, f"/{token}/{path}", data, headers or {})
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        return answer.status, json.loads(read) if answer.getheader("content-type") == "application/json" else read

    def wait(self, job, *states):
        for _ in range(600):
            if (found := self.jobs.find(job)).state in states:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{found.state}: {found.line}")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    path = tmp_path_factory.mktemp("command") / "stand_in.py"
    path.write_text(STAND_IN)
    return sys.executable, str(path)


@pytest.fixture(scope="module")
def layers(trained, run, scene, tmp_path_factory):
    """The layers of the scene, as `eqvid separate` writes them."""
    folder = tmp_path_factory.mktemp("layers") / "layers"
    folder.mkdir()
    write_layers(ClipCharacters(trained, open_clip(scene), cast=Cast.read(run)), folder)
    return folder


@pytest.fixture
def served(run, scene, layers, trained, stand_in, tmp_path, monkeypatch, few_frames):
    """A studio of the trained model and its clip, which is taken apart already."""
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)
    places = Places(tmp_path / "home", [run, scene])
    served = Served(places, stand_in)
    shutil.copytree(layers, Commands(places, served.jobs).layers(run.name, scene.name))
    yield served
    served.close()


def scene_of(run, scene, **changes):
    """A scene of the clip's character, as the page makes it."""
    still = {"translation": [0.0, 0.0], "rotation": 0.0, "scale": 1.0}
    entry = {"id": "c1", "clip": scene.name, "character": 0, "play": True, "motion": still}
    entry |= {"template": None, "hidden": False, "order": 0}
    return {
        "format": 1,
        "run": str(run),
        "clips": [{"name": scene.name, "path": str(scene), "sha256": None}],
        "size": [48, 32],
        "background": {"clip": scene.name},
        "frames": 24,
        "rate": 25,
        "characters": [{**entry, **changes}],
        "removed": [],
        "corrections": [],
    }


# ---- what is let through


def test_only_the_own_page_with_the_token_is_answered(served):
    assert served.ask("state")[0] == 200
    for token in ("", "x", TOKEN[:-1], TOKEN + "x"):
        status, said = served.ask("state", token=token)
        assert status == 403 and b"token" in said and TOKEN.encode() not in said
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1.evil.example", ""):
        assert served.ask("state", headers={"Host": host})[0] == 403
    assert served.ask("state", headers={"Host": f"localhost:{served.port}"})[0] == 200
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{served.port + 1}"):
        assert served.ask("jobs", "POST", {"kind": "inspect"}, {"Origin": origin})[0] == 403
    assert served.ask("state", headers={"Origin": f"http://127.0.0.1:{served.port}"})[0] == 200


def test_nothing_outside_what_was_given_is_read_or_written(served, run, scene, tmp_path):
    (tmp_path / "secret.mp4").write_text("secret")
    for path in (
        "clips/..%2F..%2Fsecret.mp4",
        "clips/%2Fetc%2Fpasswd",
        "pictures/..%2F..%2Fsecret.png",
        "scenes/..%2Fx",
        "..%2Fserver.py",
        "jobs/..%2F..%2Fhome/log",
        "jobs/20200101-000000-000-abcdef/..%2F..%2Flog.txt",
    ):
        assert served.ask(path)[0] == 404, path
    job = served.jobs.start("export", "x", ["render", "--output", "{job}/out/a.gif"])
    served.wait(job, "done")
    assert served.ask(f"jobs/{job}/a.gif")[1].startswith(b"GIF89a")
    assert served.ask(f"jobs/{job}/..%2Flog.txt")[0] == served.ask(f"jobs/{job}/..%2F..%2F..%2Fsecret.mp4")[0] == 404
    right = scene_of(run, scene)
    for wrong in (
        {**right, "run": str(tmp_path)},
        {**right, "clips": [{**right["clips"][0], "path": str(tmp_path / "secret.mp4")}]},
        {**right, "background": {"picture": str(tmp_path / "secret.mp4")}},
        scene_of(run, scene, template=str(tmp_path / "secret.json")),
    ):
        for path, body in (("draw", {"run": run.name, "scene": wrong}), ("scenes/a", {"scene": wrong})):
            status, said = served.ask(path, "PUT" if path == "scenes/a" else "POST", body)
            assert status == 400 and "secret" not in said["error"].replace("secret.mp4", "").replace("secret.json", "")
    assert not list(served.places.folder("scenes").iterdir())


def test_uploads_are_bounded_named_safely_and_not_doubled(served, monkeypatch):
    folder = served.places.folder("uploads")
    put = lambda name, body: served.ask(f"uploads/{name}", "PUT", body)
    assert put("..%2F..%2F.hidden.png", b"abc")[0] == 404
    assert put("..%5C..%5C.hidden.png", b"abc")[1] == {"clip": None, "picture": "hidden.png"}
    assert put("hidden.png", b"abc")[1]["picture"] == "hidden.png"
    assert put("hidden.png", b"other")[1]["picture"] == "hidden-2.png"
    assert sorted(path.name for path in folder.iterdir()) == ["hidden-2.png", "hidden.png"]
    monkeypatch.setattr(places_module, "MOST_BYTES", 1000)
    for name, body, problem in (
        ("a.exe", b"x", "neither a video nor a picture"),
        ("a.png", b"", "is empty"),
        ("a.png", bytes(1001), "larger than"),
        ("a.png", iter([bytes(600), bytes(600)]), "larger than"),  # its length is not said before
    ):
        status, said = put(name, body)
        assert status == 400 and problem in said["error"], (name, said)
    assert len(list(folder.iterdir())) == 2


def test_a_hostile_file_is_the_line_of_the_command_line(tmp_path, capsys):
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"no film" * 100)
    assert cli.main(["inspect", str(path)]) == 2
    line = capsys.readouterr().err.strip().removeprefix("eqvid inspect: error: ")
    places = Places(tmp_path / "home", [path])
    jobs = Jobs(places.folder("jobs"))
    commands = Commands(places, jobs)
    job = commands.inspect("bad.mp4")
    while jobs.find(job).state == "running":
        time.sleep(0.05)
    assert commands.report("bad.mp4") == (jobs.find(job), {})
    assert (jobs.find(job).state, jobs.find(job).line) == ("failed", line)


def test_the_command_prints_an_address_that_answers_and_ends_at_once(tmp_path, capsys, monkeypatch):
    words = [sys.executable, "-m", "eqvid_tf.cli", "studio", "--no-browser", "--home", str(tmp_path / "home")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}state", timeout=30) as answer:
            assert json.load(answer)["home"] == str(tmp_path / "home")
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}events", timeout=30) as listening:  # as a page does that is open
            assert listening.readline().startswith(b"data: ")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        assert process.stderr.read() == "eqvid studio: stopped.\n"
    for wrong, problem in ((["nowhere.mp4"], "there is no such file"), (["--host", "256.0.0.1"], "another --host")):
        assert cli.main(["studio", *wrong, "--no-browser", "--home", str(tmp_path / "home")]) == 2
        assert problem in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main(["studio", "--no-browser"]) == 2 and "pip install" in capsys.readouterr().err


# ---- what is kept


def test_jobs_go_on_without_the_studio_and_are_found_again(stand_in, tmp_path):
    first = Jobs(tmp_path, stand_in)
    name = first.start("train", "Training", ["train"], {"run": "a"})
    again = Jobs(tmp_path, stand_in)  # of a studio that was killed, and started again
    while again.find(name).percent is None:
        time.sleep(0.02)
    assert again.running("train", {"run": "a"}).id == name and again.find(name).line == "training"
    again.stop(name)
    for _ in range(200):
        if again.find(name).state != "running":
            break
        time.sleep(0.05)
    assert again.find(name).state == "stopped"
    failed = first.start("inspect", "Looking", ["inspect"])
    while first.find(failed).state == "running":
        time.sleep(0.02)
    assert (again.find(failed).state, again.find(failed).line) == ("failed", "no clip")
    again.remove(failed)
    film = first.start("export", "Drawing", ["render", "--output", "{job}/out/film.gif"])
    while first.find(film).state == "running":
        time.sleep(0.02)
    assert (again.find(film).state, again.find(film).line) == ("done", "film.gif: 24 frames")
    again.remove(film)
    assert [job.id for job in again.every()] == [job.id for job in first.every()] == [name]


def test_a_scene_is_saved_whole_and_never_over_another_tabs(served, run, scene, monkeypatch):
    save = lambda value, revision: served.ask("scenes/a", "PUT", {"scene": value, "revision": revision})
    document = scene_of(run, scene)
    status, saved = save(document, None)
    assert status == 200
    status, found = served.ask("scenes/a")
    assert found["revision"] == saved["revision"] and found["scene"]["characters"] == document["characters"]
    other = scene_of(run, scene, hidden=True)
    assert save(other, None)[0] == 409 and save(other, "00")[0] == 409
    status, newer = save(other, saved["revision"])
    assert status == 200 and save(document, saved["revision"])[0] == 409

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scene_file, "write_text", full)
    status, said = save(document, newer["revision"])
    assert status == 507 and "disk is full" in said["error"]
    assert served.ask("scenes/a")[1]["scene"]["characters"][0]["hidden"] is True


def test_a_picture_of_the_studio_is_that_of_the_command_line(served, run, scene, trained):
    motion = {"translation": [0.2, -0.1], "rotation": 20.0, "scale": 1.2}
    document = scene_of(run, scene, motion=motion)
    status, png = served.ask("draw", "POST", {"run": run.name, "scene": document, "index": 5})
    finder = FrameFinder(trained, cast=Cast.read(run))
    expected = scene_frame(trained, checked_scene(document, served.places), 5, finder=finder)
    assert status == 200
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), expected)


def test_a_drawn_path_becomes_a_smooth_template(tmp_path):
    times = np.linspace(0, 1.2, 60)
    shake = 0.5 * np.where(np.arange(60) % 2, 1, -1)
    points = np.stack([40 * times, shake, times], -1)
    template = find(str(save_path(tmp_path, "stroke", points.tolist(), [48, 32])))
    path = template.poses()[:, :2, 2]
    np.testing.assert_allclose(path[-1] - path[0], [48 / 16, 0], atol=0.07)  # half-heights of 16 pixels
    assert np.abs(np.diff(path[:, 1], 2)).max() < 0.01 and template.seconds == pytest.approx(1.2)
    for wrong in ([[0, 0, 0]], [[0, 0, 0]] * 3, [["a", 0, 0]] * 9, [[0, 0, 1], [1, 1, 0.5], [2, 2, 2]]):
        with pytest.raises(ValueError):
            save_path(tmp_path, "wrong", wrong, [48, 32])


def test_a_motion_is_not_written_over_another(served):
    points = [[2 * k, 0, 0.1 * k] for k in range(8)]
    save = lambda name: served.ask("motions", "POST", {"name": name, "points": points, "size": [48, 32]})
    status, listed = save("stroke")
    assert status == 200 and next(one for one in listed if one["name"] == "stroke")["own"]
    for name in ("stroke", "jump"):
        status, said = save(name)
        assert status == 400 and "another name" in said["error"]
    assert save("../x")[0] == 400


def test_a_training_leaves_its_last_picture(run):
    """Of four frames: frame, character, mask, background, drawn, next frame."""
    assert np.asarray(Image.open(run / "logs/picture.png")).shape == (4 * 32, 6 * 48, 3)


def test_every_job_is_a_command_that_the_command_line_takes(tmp_path, run, scene):
    places = Places(tmp_path / "home", [run, scene])
    started = []

    class Listed(Jobs):
        def start(self, kind, title, words, about=None, files=None):
            started.append(words)
            return "id"

    commands, clip = Commands(places, Listed(places.folder("jobs"))), scene.name
    entry = {"character": 0, "template": "jump", "play": True, "motion": {"scale": 1.0}}
    commands.inspect(clip)
    commands.train([clip], 2.0, "new")
    commands.separate(run.name, clip)
    mask = base64.b64encode(b"a picture").decode()
    for name in (None, "new"):
        commands.correct(run.name, clip, 0, 3, mask, name)
    commands.cast(run.name, [["rename", "first:0=hero"], ["split", "0"]])
    commands.sheet(run.name, clip, 0)
    commands.lottie(run.name, clip, entry)
    commands.page(run.name, clip)
    for kind in FILMS:
        commands.film(run.name, scene_of(run, scene), kind, "film")
    for words in started:
        assert cli._parser().parse_args(words).command == words[0]
    for wrong in (
        lambda: commands.train([clip], 0, "new"),
        lambda: commands.train([clip], 1, "../a"),
        lambda: commands.train([clip], 1, run.name),
        lambda: commands.correct(run.name, clip, 0, 3, "no base64!", None),
    ):
        with pytest.raises(ValueError):
            wrong()
    assert len(started) == 9 + len(FILMS)


# ---- the page


@pytest.fixture
def wrong():
    return []


@pytest.fixture
def open_studio(chromium, served, wrong):
    """Opens the page; at the end nothing was asked of any other machine, and nothing was wrong."""
    pages = []

    def open_studio(address="", **options):
        page = chromium.new_page(**{"viewport": {"width": 1280, "height": 800}, **options})
        pages.append(page)
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        inside = (served.url, "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(inside) else wrong.append(request.url))
        page.goto(served.url + address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_studio
    for page in pages:
        page.close()
    assert wrong == []


@pytest.fixture
def page(open_studio):
    """The scene of the trained model, with its character chosen."""
    page = open_studio()
    until(page, "studio.app.final !== null")
    page.locator("#characters button").first.click()
    page.locator("#handles").focus()
    return page


until = functools.partial(conftest.until, seconds=30)


def entries(page):
    return page.evaluate("studio.app.scene.characters")


def centre(page):
    """Where the chosen character's centre is, in pixels of the stage."""
    return np.array(page.evaluate("(({x, y}) => [x, y])(studio.app.stand(studio.app.entry).centre)"))


def on_screen(page, point):
    box, (width, height) = page.locator("#handles").bounding_box(), page.evaluate("studio.app.scene.size")
    return box["x"] + point[0] * box["width"] / width, box["y"] + point[1] * box["height"] / height


def drag(page, start, end):
    page.mouse.move(*on_screen(page, start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, (np.array(start) + end) / 2))
    page.mouse.move(*on_screen(page, end))
    page.mouse.up()


def stage_pixels(page, final):
    """What the stage shows: the preview, or the picture as it is rendered; premultiplied [h, w, 4]."""
    until(page, "studio.app.final !== null")
    if not final:
        page.evaluate("studio.app.final = null, studio.stage.soon()")
    page.wait_for_timeout(60)
    url = page.evaluate("document.getElementById('stage').toDataURL()")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"), np.float64)
    return np.concatenate([picture[..., :3] * picture[..., 3:] / 255, picture[..., 3:]], -1)


def test_a_character_lights_up_is_dragged_turned_scaled_and_all_is_undone(page):
    at = centre(page)
    page.keyboard.press("Escape")
    page.mouse.move(*on_screen(page, at))
    assert page.evaluate("studio.app.hovered") == entries(page)[0]["id"]
    drag(page, at, at + [6, 4])
    np.testing.assert_allclose(centre(page), at + [6, 4], atol=0.3)
    np.testing.assert_allclose(entries(page)[0]["motion"]["translation"], [2 * 6 / 48, 2 * 4 / 32], atol=0.02)
    corner = page.evaluate("(({x, y}) => [x, y])(studio.stage.sizer(studio.app.stand(studio.app.entry)))")
    drag(page, corner, centre(page) + 1.3 * (np.array(corner) - centre(page)))
    assert entries(page)[0]["motion"]["scale"] == pytest.approx(1.3, abs=0.03)
    page.keyboard.press("]")
    page.keyboard.press("ArrowLeft")
    assert entries(page)[0]["motion"]["rotation"] == 2
    for _ in range(4):
        page.keyboard.press("Control+z")
    assert entries(page)[0]["motion"] == {"translation": [0, 0], "rotation": 0, "scale": 1}
    for _ in range(4):
        page.keyboard.press("Control+Shift+z")
    assert entries(page)[0]["motion"]["rotation"] == 2
    page.get_by_label("Turn, °").fill("45")
    page.get_by_label("Turn, °").blur()
    assert entries(page)[0]["motion"]["rotation"] == 45


@pytest.mark.parametrize("kind", ["as filmed", "frozen", "template"])
def test_the_preview_is_what_is_rendered(page, kind):
    """Of a character that is moved, turned and scaled: to the pixel, and not one beside."""
    if kind == "frozen":
        page.keyboard.press("w")
    if kind == "template":
        page.get_by_title("figure-of-eight").click()
        until(page, "studio.app.stand(studio.app.entry) !== null")
        page.locator("#handles").focus()
    page.evaluate(
        "studio.app.changeChosen(one => { one.motion = {translation: [0.1, -0.15], rotation: 25, scale: 1.3}; })"
    )
    for _ in range(5):
        page.keyboard.press(".")
    rendered, preview = stage_pixels(page, True), stage_pixels(page, False)
    error = np.square(rendered - preview).mean()
    shifted = min(
        np.square(rendered - np.roll(preview, way, (0, 1))).mean() for way in ((0, 1), (1, 0), (0, -1), (-1, 0))
    )
    assert 10 * np.log10(255**2 / error) > 24 and error < 0.6 * shifted


def test_characters_are_doubled_restacked_frozen_removed_and_brought_back(page, open_studio):
    page.keyboard.press("Control+d")
    first, second = entries(page)
    assert second["motion"]["translation"] == [0.15, 0] and second["order"] > first["order"]
    page.keyboard.press("b")
    first, second = entries(page)
    assert second["order"] < first["order"]
    page.keyboard.press("w")
    assert "play" not in entries(page)[1] and entries(page)[1]["frame"] == 0
    page.get_by_role("button", name="Walk", exact=True).click()
    assert entries(page)[1]["play"] is True
    page.locator("#handles").focus()
    page.keyboard.press("h")
    assert entries(page)[1]["hidden"] is True
    page.keyboard.press("Delete")
    page.keyboard.press("1")
    page.keyboard.press("Delete")
    assert entries(page) == [] and page.evaluate("studio.app.scene.removed") == [0]
    page.get_by_role("button", name="Bring back").click()
    assert len(entries(page)) == 1 and page.evaluate("studio.app.scene.removed") == []
    until(page, "studio.app.saved === 'saved'")
    page.reload()
    until(page, "document.body.dataset.ready && studio.app.scene && studio.app.scene.characters.length === 1")


def test_motions_are_dropped_on_a_character_drawn_and_taken_from_two_frames(page, served):
    page.keyboard.press("Escape")
    box = page.locator("#handles").bounding_box()
    page.keyboard.press("1")
    x, y = on_screen(page, centre(page))
    page.keyboard.press("Escape")
    at = {"x": x - box["x"], "y": y - box["y"]}
    page.get_by_title("walk-across").drag_to(page.locator("#handles"), target_position=at)
    assert entries(page)[0]["template"] == "walk-across" and page.evaluate("studio.app.scene.frames") > 24
    page.get_by_role("button", name="Draw a path").click()
    page.mouse.move(*on_screen(page, (8, 8)))
    page.mouse.down()
    for k in range(12):
        page.mouse.move(*on_screen(page, (8 + 2 * k, 8 + k)))
        page.wait_for_timeout(40)
    page.mouse.up()
    page.get_by_role("dialog").get_by_label("Name").fill("stroke")
    page.get_by_role("button", name="Save").click()
    until(page, "studio.app.scene.characters[0].template === 'stroke'")
    path = find("stroke", [served.places.folder("motions")]).poses()[-1, :2, 2]
    np.testing.assert_allclose(path, [22 / 16, 11 / 16], atol=0.15)
    page.get_by_role("button", name="From two frames").click()
    page.get_by_role("dialog").get_by_label("Later frame").fill("6")
    page.get_by_role("dialog").get_by_label("Name").fill("taken")
    page.get_by_role("button", name="Take it").click()
    until(page, "studio.app.scene.characters[0].template === 'taken'")
    assert len(find("taken", [served.places.folder("motions")]).steps) == 6


def test_a_mask_is_painted_and_rubbed_out_looked_at_and_learned(page, served, run):
    page.keyboard.press("m")
    page.get_by_label("Brush").fill("4")
    drag(page, (10, 10), (20, 10))
    page.keyboard.press("x")
    drag(page, (10, 24), (20, 24))
    page.get_by_role("button", name="Show the change").click()
    page.get_by_alt_text("Masks of some frames").wait_for()
    job = next(job for job in served.jobs.every() if job.kind == "correct")
    painted = np.asarray(Image.open(served.jobs.file(job.id, "change.png")))
    assert painted.shape == (32, 48, 4) and job.about["frame"] == 0 and job.about["name"] is None
    assert (
        painted[10, 15].tolist() == [255] * 4 and painted[24, 15].tolist() == [0, 0, 0, 255] and not painted[17].any()
    )
    page.get_by_role("button", name="Learn it").click()
    until(page, f"studio.app.state.jobs.some(job => job.about.name === '{run.name}-2')")


def test_backgrounds_are_a_picture_of_ones_own_and_none(page, tmp_path):
    write_png(tmp_path / "green.png", np.full((40, 40, 3), (10, 180, 40), np.uint8))
    page.get_by_label("A picture of your own").set_input_files(tmp_path / "green.png")
    until(page, "studio.app.scene.background?.picture?.endsWith('green.png')")
    assert np.abs(stage_pixels(page, True)[1, 1] - [10, 180, 40, 255]).max() <= 2
    page.get_by_title("No background").click()
    assert page.evaluate("studio.app.scene.background") is None
    assert stage_pixels(page, True)[1, 1, 3] == 0 and stage_pixels(page, False)[1, 1, 3] == 0


def test_a_film_is_exported_with_its_size(page):
    page.get_by_role("button", name="Play").click()
    page.keyboard.press("e")
    assert not page.evaluate("studio.app.playing")
    page.locator("#export-what").select_option("gif")
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_role("link", name="Download").wait_for()
    page.get_by_text("1 kB").wait_for()
    with page.expect_download() as waited:
        page.get_by_role("link", name="Download").click()
    assert Path(waited.value.path()).read_bytes().startswith(b"GIF89a")
    page.evaluate("studio.app.final = null, studio.app.settle(0)")  # what is exported has the processor for itself
    page.wait_for_timeout(300)
    assert page.evaluate("studio.app.final === null")
    page.keyboard.press("Escape")
    until(page, "studio.app.final !== null")


def test_a_video_is_dropped_trained_stopped_and_found_again(open_studio, served, stand_in, tmp_path):
    write_video(tmp_path / "walk.mp4", np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8), 25)
    page = open_studio("#")
    page.evaluate("studio.app.openHome()")
    page.get_by_label("Choose a file").set_input_files(tmp_path / "walk.mp4")
    page.get_by_text("This cannot be read").wait_for()  # the stand-in says so of every clip
    page.get_by_text("No clip").wait_for()
    served.jobs.start("train", "Training walk", ["train"], {"run": "walk", "clips": ["walk.mp4"], "minutes": 2})
    page.get_by_text("Training walk").first.wait_for()
    page.reload()
    until(page, "document.querySelector('#jobs progress')?.value > 10")
    assert "left" in page.locator("#jobs time").inner_text()
    page.get_by_role("button", name="Stop: Training walk").click()
    until(page, "studio.app.state.jobs.find(job => job.kind === 'train').state === 'stopped'")
    page.evaluate("studio.app.facts = null; studio.app.changed()")  # as while a scene is being opened


def test_one_edit_after_another_is_saved_on_a_slow_disk(page, served, run, scene, monkeypatch):
    until(page, "studio.app.saved === 'saved'")
    write = scene_file.write_text
    monkeypatch.setattr(scene_file, "write_text", lambda path, text: [time.sleep(0.6), write(path, text)])
    for _ in range(3):
        page.keyboard.press("]")
        page.wait_for_timeout(350)
    until(page, "studio.app.saved === 'saved'")
    kept = served.ask(f"scenes/{run.name}%20{scene.name}")[1]["scene"]["characters"][0]["motion"]
    assert kept["rotation"] == 6 and page.locator("#trouble").inner_text() == ""


def test_a_second_tab_overwrites_nothing(page, open_studio, wrong):
    until(page, "studio.app.saved === 'saved'")
    other = open_studio()
    until(other, "studio.app.scene !== null")
    page.keyboard.press("]")
    until(page, "studio.app.saved === 'saved'")
    other.locator("#characters button").first.click()
    other.locator("#handles").focus()
    other.keyboard.press("[")
    other.get_by_text("This scene was changed in another tab.").wait_for()
    assert entries(other)[0]["motion"]["rotation"] == -2
    other.get_by_role("button", name="Take that one").click()
    until(other, "studio.app.scene.characters[0].motion.rotation === 2")
    other.keyboard.press("Control+z")  # and back to its own
    until(other, "studio.app.scene.characters[0].motion.rotation === -2")
    assert [text for text in wrong if "409" not in text] == []
    wrong.clear()  # the browser reports the refusal as an error of the page


def test_the_page_is_for_all_who_use_it(open_studio, served, node_modules):
    """Labels on all controls, contrast, order: axe-core finds nothing, at home and on the stage, light or dark."""
    axe = (node_modules / "axe-core/axe.min.js").read_text()
    for address in ("", "#"):
        for scheme, size in (("light", (1280, 800)), ("dark", (1920, 1080))):
            page = open_studio(address, color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
            if address:
                page.evaluate("studio.app.openHome()")
            else:
                until(page, "studio.app.final !== null")
                page.locator("#characters button").first.click()
            page.evaluate(axe)
            found = page.evaluate("axe.run()")
            assert len(found["passes"]) > 15
            assert [(wrong["id"], [node["html"] for node in wrong["nodes"]]) for wrong in found["violations"]] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_built_page_is_that_of_its_sources(tmp_path):
    npm, page = program("npm"), tmp_path / "page"
    shutil.copytree(PAGE / "page", page, ignore=shutil.ignore_patterns("node_modules"))
    words = [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(words, cwd=page, capture_output=True, text=True, timeout=300)
    if done.returncode:
        absent(f"npm cannot install what builds the page: {done.stderr.strip()}")
    for script in ("check", "build"):
        environment = {**os.environ, "OUT": str(tmp_path / "studio.js")}
        done = subprocess.run([npm, "run", "-s", script], cwd=page, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    assert filecmp.cmp(tmp_path / "studio.js", PAGE / "static/studio.js", shallow=False)
