"""The documentation says what is there: names resolve, Python examples run, links lead somewhere."""

import importlib
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def resolve(name: str):
    """The object that a dotted name means."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[split:], module)
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_resolve_and_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`(eqvid_tf(?:\.\w+)+)`", text):
        assert resolve(name) is not None, name
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_math_page_names_every_formula():
    names = re.findall(
        r"^\|.*\| `(eqvid_tf[\w.]+)` \|$", (ROOT / "docs/math.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(names) >= 15 and len(set(names)) == len(names)


def test_a_name_that_is_not_there_is_noticed():
    with pytest.raises((AttributeError, ModuleNotFoundError)):
        resolve("eqvid_tf.core.model.EquivariantVideoModel.no_such_method")


def test_readme_table_is_what_the_command_writes():
    assert (
        subprocess.run([sys.executable, ROOT / "benchmarks/readme.py", "--check"], cwd=ROOT, check=False).returncode
        == 0
    )


def test_readme_python_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["picture"].shape == (1, 32, 32, 3)
    assert {"scene_loss", "character_loss", "background_loss"} <= set(names["history"].history)
