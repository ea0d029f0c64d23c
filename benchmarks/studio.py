"""How quick the studio is, and how long a newcomer's way takes who only clicks and drags.

    PYTHONPATH=. python benchmarks/studio.py [--newcomer [--film FILE]] [--work DIR] [--json FILE] [--page FILE]
                                             [--check]

Needs '.[studio,browser-test]' and a chromium. Measured are the time from `eqvid studio CLIP` to the first picture;
frames per second of a drag with four characters on 1280 x 720; the time from letting go to the picture as it is
rendered, at 64 pixels and at 1280 x 720, the first time on a frame and again. The model is trained for a few steps: it
is the time that is measured, not what is drawn. With --newcomer that way, too: the clip of `eqvid demo` is dropped,
trained on for two minutes, a character removed and brought back, given walk-across before the background of another
scene, and exported as a transparent WebM.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measured import on_a_page
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from eqvid_tf.data.writers import write_png, write_video
from eqvid_tf.evaluation.demo import SCENES
from eqvid_tf.pixels.resampling import resize
from eqvid_tf.synthetic.scenes import draw_scene

BROWSER = "/usr/bin/chromium"
LARGE, SMALL = (720, 1280), (64, 112)  # the second is the canvas of a model that is trained on both
FRAMES = 16
CHARACTERS = 4  # that are on the stage, one of them twice where the clip shows three
STEPS = 30  # enough for masks
SECONDS = 3.0  # of a drag
REPEATS = 5
FILM_RATE = 6  # pictures a second of the film of a newcomer's way
FILM_SIZE = (880, 550)
LONGEST_WAIT = 0.4  # seconds in it without a new picture
WATCHED = 2.0  # seconds in which the character walks before the other background, and before none
HELD = 1.2  # seconds for which the end of a step stays in it
LAPSE = 4.0  # seconds between two pictures of it while the page is waited for
LIMITS = {  # what is to be reached
    "first_picture_s": 5.0,
    "drag_fps": 50.0,
    "let_go_64_ms": 300.0,
    "let_go_720_ms": 1500.0,
    "newcomer_s": 240.0,
}
PRESS = """
    const {app, stage} = studio, handles = document.getElementById('handles');
    const centre = app.stand(app.entry).centre, box = handles.getBoundingClientRect();
    const send = (kind, by) => handles.dispatchEvent(new PointerEvent(kind, {
        pointerId: 1, buttons: 1, bubbles: true,
        clientX: box.left + centre.x * stage.zoom + by, clientY: box.top + centre.y * stage.zoom}));
    handles.setPointerCapture = () => undefined;
    send('pointerdown', 0);
"""
DRAGGED = """
    const began = performance.now(), drawn = stage.drawn;
    requestAnimationFrame(function next(now) {
        send('pointermove', 60 * Math.sin(now / 200));
        if (now - began < 1000 * given) return requestAnimationFrame(next);
        const frames = (stage.drawn - drawn) / (performance.now() - began) * 1000;
        send('pointerup', 0);
        done(frames);
    });
"""
LET_GO_AT = """
    send('pointermove', given);
    const began = performance.now();
    send('pointerup', given);
    requestAnimationFrame(function look() {
        if (!app.final) return requestAnimationFrame(look);
        done(performance.now() - began);
    });
"""
DRAG, LET_GO = (f"given => new Promise(done => {{{PRESS}{work}}})" for work in (DRAGGED, LET_GO_AT))


def draw_clip(path: Path, seeds: list[int], size: tuple[int, int], frames: int = FRAMES, enlarged: int = 1) -> Path:
    """A video of several drawn characters before the background of the first; enlarged, as large ones take long."""
    drawn, hues = (size[0] // enlarged, size[1] // enlarged), np.linspace(0.05, 0.85, len(seeds))
    scenes = [draw_scene(seed, size=drawn, frames=frames, hue=float(hue), pace=0.6) for seed, hue in zip(seeds, hues)]
    pictures = scenes[0].frames.astype(np.float32)
    for other in scenes[1:]:
        mask = other.masks[..., None] / np.float32(255)
        pictures = mask * other.frames + (1 - mask) * pictures
    write_video(path, (resize(frame, size) for frame in pictures.round().astype(np.uint8)), 12)
    return path


@contextlib.contextmanager
def served(*words: str | Path) -> Iterator[str]:
    """The address of a studio that runs in a process of its own."""
    command = [sys.executable, "-m", "eqvid_tf.cli", "studio", *map(str, words), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def until(page: Page, expression: str, seconds: float = 600.0, each: Callable[[], None] = lambda: None) -> None:
    """Wait until an expression of the page is true; meanwhile do something, again and again."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        each()
        if time.monotonic() > end:
            raise TimeoutError(expression)
        page.wait_for_timeout(20)


def first_picture(page: Page, clip: Path, home: Path) -> float:
    """Seconds from the command to the first frame on the stage."""
    began = time.monotonic()
    with served(clip, "--home", home) as address:
        page.goto(address)
        until(page, "globalThis.studio?.app.frames?.nearest(0) !== undefined && studio.stage.drawn > 0")
        return time.monotonic() - began


def open_scene(page: Page, address: str, run: str, clip: str) -> None:
    """Open a scene, and wait until its layers and its first rendered picture are there."""
    page.goto(f"{address}#run={run}&clip={clip}")
    page.reload()
    until(page, "globalThis.studio?.app.scene && studio.app.final && document.body.dataset.ready")
    until(page, "studio.app.inOrder().length > 0 && studio.app.stand(studio.app.inOrder()[0]) !== null")
    page.locator("#characters button").first.click()


def letting_go(page: Page) -> dict[str, list[float]]:
    """Milliseconds from letting go to the rendered picture, the first time on some frames, and again on them."""
    found: dict[str, list[float]] = {"first": [], "again": []}
    for picture in range(2, 2 + REPEATS):
        page.evaluate("picture => studio.app.go(picture)", picture)
        until(page, "studio.app.final !== null")
        for kind, way in (("first", 9), ("again", -6)):
            found[kind].append(round(page.evaluate(LET_GO, way), 1))
    return found


def measure(work: Path) -> dict:
    """All figures but the newcomer's."""
    large = draw_clip(work / "large.mp4", [3, 7, 11, 15], LARGE, enlarged=4)
    small = draw_clip(work / "small.mp4", [4], SMALL, frames=24)
    run = work / "run"
    if not (run / "model.keras").exists():
        words = ["train", str(large), str(small), "--output", str(run), f"--steps={STEPS}", "--image-size=64"]
        subprocess.run([sys.executable, "-m", "eqvid_tf.cli", *words, "--overwrite"], check=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        figures: dict = {
            "first_picture_s": [round(first_picture(page, large, work / f"home-{k}"), 2) for k in range(3)]
        }
        with served(run, large, small, "--home", work / "home") as address:
            open_scene(page, address, "run", "large.mp4")
            while page.evaluate("studio.app.scene.characters.length") < CHARACTERS:
                page.evaluate("studio.app.duplicate()")
            figures["characters"] = page.evaluate("studio.app.scene.characters.length")
            figures["drag_fps"] = [round(page.evaluate(DRAG, SECONDS), 1) for _ in range(3)]
            until(page, "studio.app.final !== null")
            figures["let_go_720_ms"] = letting_go(page)
            open_scene(page, address, "run", "small.mp4")
            figures["let_go_64_ms"] = letting_go(page)
        browser.close()
    return figures


def newcomer(work: Path, film: Path | None) -> dict:
    """A newcomer's way: seconds until each step was done."""
    clip, meadow = work / "demo.mp4", work / "meadow.png"
    write_video(clip, draw_scene(**SCENES["demo"]).frames, 12)
    write_png(meadow, draw_scene(**SCENES["stage"]).background)
    with sync_playwright() as playwright, served("--home", work / "home") as address:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        recorder = _Recorder(page)
        steps = walk(page, clip, meadow, work / "shots", recorder)
        recorder.stop()
        browser.close()
    if film:
        recorder.write(film)
    return {"seconds": steps, "newcomer_s": list(steps.values())[-1], "wrong": wrong}


def walk(page: Page, clip: Path, background: Path, shots: Path, recorder: _Recorder) -> dict[str, float]:
    """The clicks and drags, with a picture of the page after each step."""
    began, steps = time.monotonic(), {}
    shots.mkdir(exist_ok=True)

    def waited(expression: str) -> None:
        recorder.apart = LAPSE
        until(page, expression, each=recorder.go_on)
        recorder.apart = 1 / FILM_RATE

    def watched() -> None:
        end = time.monotonic() + WATCHED
        while time.monotonic() < end:
            recorder.go_on()
            page.wait_for_timeout(20)

    def done(name: str) -> None:
        steps[name] = round(time.monotonic() - began, 1)
        page.screenshot(path=shots / f"{len(steps)}-{name.replace(' ', '-')}.png")
        recorder.hold()

    page.get_by_label("Choose a file").set_input_files(clip)
    waited("document.getElementById('verdict').textContent.includes('suits')")
    done("looked at")
    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Minutes").fill("2")
    page.get_by_role("button", name="Train", exact=True).click()
    waited("document.getElementById('live').hidden === false")
    done("training")
    waited("studio.app.scene !== null && studio.app.entry === null && studio.app.inOrder().length > 0")
    waited("studio.app.stand(studio.app.inOrder()[0]) !== null")
    done("trained")
    page.locator("#characters button").first.click()
    page.get_by_role("button", name="Remove", exact=True).click()
    done("removed")
    page.get_by_role("button", name="Bring back").click()
    page.get_by_title("walk-across").drag_to(page.locator("#handles"), target_position=_at_character(page))
    waited("studio.app.entry?.template === 'walk-across' && studio.app.stand(studio.app.entry) !== null")
    page.get_by_label("A picture of your own").set_input_files(background)
    waited("studio.app.scene.background?.picture && studio.app.final !== null")
    done("on another background with walk-across")
    page.get_by_role("button", name="Play").click()
    watched()
    page.get_by_title("No background").click()
    watched()
    page.get_by_role("button", name="Export …").click()
    page.locator("#export-what").select_option("webm")
    page.get_by_role("button", name="Export", exact=True).click()
    waited("document.querySelector('#exports a') !== null")
    done("exported")
    return steps


class _Recorder:
    """What a page shows, a few pictures a second."""

    def __init__(self, page: Page):
        self.apart = 1 / FILM_RATE  # seconds between two pictures, at least
        self.taken: list[tuple[float, bytes]] = []  # seconds, JPEG
        self.held: list[int] = []  # the pictures at which a step ends
        self.acknowledge: list[int] = []
        self.session = page.context.new_cdp_session(page)
        self.session.on("Page.screencastFrame", self._take)
        self.session.send("Page.startScreencast", {"format": "jpeg", "quality": 80})

    def _take(self, event: dict) -> None:
        at = event["metadata"]["timestamp"]
        if not self.taken or at - self.taken[-1][0] > self.apart:
            self.taken.append((at, base64.b64decode(event["data"])))
        self.acknowledge.append(event["sessionId"])

    def go_on(self) -> None:
        """Ask for more: a handler of an event may not itself wait for an answer."""
        while self.acknowledge:
            self.session.send("Page.screencastFrameAck", {"sessionId": self.acknowledge.pop()})

    def hold(self) -> None:
        """A step ends with the latest picture."""
        self.go_on()
        self.held.append(max(len(self.taken) - 1, 0))

    def stop(self) -> None:
        """Take no more."""
        self.session.send("Page.stopScreencast")
        self.session.detach()

    def write(self, path: Path) -> None:
        """A film on which nobody waits for longer than a moment."""
        waits = np.minimum(np.diff([at for at, _ in self.taken]), LONGEST_WAIT)
        waits[[k for k in self.held if k < len(waits)]] = HELD
        pictures = (Image.open(io.BytesIO(jpeg)).convert("RGB") for _, jpeg in self.taken)
        frames = (np.asarray(picture.resize(FILM_SIZE, Image.Resampling.LANCZOS)) for picture in pictures)
        write_video(path, frames, FILM_RATE, times=[0.0, *np.cumsum(waits).tolist()])


def _at_character(page: Page) -> dict[str, float]:
    x, y = page.evaluate(
        "(({x, y}) => [x * studio.stage.zoom, y * studio.stage.zoom])(studio.app.stand(studio.app.entry).centre)"
    )
    return {"x": x, "y": y}


def table(figures: dict) -> str:
    """The figures as a table of Markdown: what is asked, what was measured."""
    go = lambda key, kind: f"{statistics.median(figures[key][kind]):.0f} ms, at most {max(figures[key][kind]):.0f}"
    rows = [
        (
            "from `eqvid studio CLIP` to the first picture",
            "5 s",
            f"{statistics.median(figures['first_picture_s']):.1f} s",
        ),
        (
            f"a drag, {figures['characters']} characters on 1280 x 720",
            "50 frames/s",
            f"{statistics.median(figures['drag_fps']):.0f} frames/s",
        ),
        ("from letting go to the rendered picture, 64 pixels, first on a frame", "300 ms", go("let_go_64_ms", "first")),
        ("the same, again", "300 ms", go("let_go_64_ms", "again")),
        ("the same, 1280 x 720, first on a frame", "1500 ms", go("let_go_720_ms", "first")),
        ("the same, again", "1500 ms", go("let_go_720_ms", "again")),
    ]
    if "newcomer_s" in figures:
        rows.append(("a newcomer's way, two minutes of it training", "240 s", f"{figures['newcomer_s']:.0f} s"))
    head = [f"| | asked | measured, at a load of {figures['load']:g} |", "| --- | ---: | ---: |"]
    return "".join(f"{line}\n" for line in [*head, *(f"| {' | '.join(row)} |" for row in rows)])


def run(args: argparse.Namespace) -> dict:
    """Everything, one after the other."""
    args.work.mkdir(parents=True, exist_ok=True)
    figures = {"limits": LIMITS, **measure(args.work), "load": round(os.getloadavg()[0], 1)}
    return figures | newcomer(args.work, args.film) if args.newcomer else figures


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--newcomer", action="store_true", help="time a newcomer's way, too, which trains a model")
    options.add_argument("--film", type=Path, metavar="FILE", help="of the newcomer's way, .webp or .webm")
    sys.exit(on_a_page(options, "studio", run, table))
