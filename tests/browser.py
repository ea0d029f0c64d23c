"""Other people's programs that exported files are tried in: a browser, Node, and two packages of the npm registry.

A test is skipped, with the reason, where one of them is missing. Where EQVID_BROWSER_TESTS is `required` it fails.
"""

import base64
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = Path(__file__).parent / "npm"


def absent(reason: str) -> NoReturn:
    stop = pytest.fail if os.environ.get("EQVID_BROWSER_TESTS") == "required" else pytest.skip
    stop(reason)


def program(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    return found or absent(f"none of {', '.join(names)} is installed")


@pytest.fixture(scope="session")
def browser():
    """Chromium as it is installed, without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed: pip install '.[browser-test]'")
    path = program(*BROWSERS)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory):
    """The packages of tests/npm, as their lock file has them."""
    npm, folder = program("npm"), tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=180)
    if done.returncode:
        absent(f"npm cannot install what the test loads: {done.stderr.strip().splitlines()[-1]}")
    return folder / "node_modules"


def pixels_of(page, canvas: str) -> np.ndarray:
    """What a canvas of a page shows, found by its selector: straight RGBA uint8 [h, w, 4]."""
    script = """selector => {
        const canvas = document.querySelector(selector), {width, height} = canvas;
        const bytes = canvas.getContext('2d').getImageData(0, 0, width, height).data;
        let text = '';
        for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
        return {width, height, bytes: btoa(text)};
    }"""
    found = page.evaluate(script, canvas)
    read = np.frombuffer(base64.b64decode(found["bytes"]), np.uint8)
    return read.reshape(found["height"], found["width"], 4)
