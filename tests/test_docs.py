"""The documentation is right: names and files exist, links lead somewhere, the README's example and table are true."""

import ast
import functools
import importlib.util
import re
import sys
from pathlib import Path

import pytest
from test_layout import WINGS

import eqvid_tf

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SOURCES = [
    path.relative_to(ROOT).as_posix()
    for part in ("eqvid_tf", "benchmarks", "tests", "saved_models", "serving")
    for path in (ROOT / part).rglob("*.py")
]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def defined(node: ast.Module | ast.ClassDef) -> dict[str, ast.AST]:
    """What a module or a class defines or imports, by name; of a class also what its methods set on `self`."""
    found: dict[str, ast.AST] = {}
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            found[child.name] = child
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            found |= {name.id: child for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(child, ast.ImportFrom):
            found |= {alias.asname or alias.name: child for alias in child.names}
    if isinstance(node, ast.ClassDef):
        found |= {
            at.attr: at for at in ast.walk(node) if isinstance(at, ast.Attribute) and isinstance(at.ctx, ast.Store)
        }
    return found


def holds(node: ast.AST, names: list[str]) -> bool:
    """Whether the names are found one within the other."""
    for name in names:
        if not isinstance(node, ast.Module | ast.ClassDef) or name not in defined(node):
            return False
        node = defined(node)[name]
    return True


def exists(name: str) -> bool:
    """Whether a dotted name of the package exists, from the sources alone: nothing is imported."""
    parts = name.split(".")
    home = eqvid_tf._HOME.get(parts[1])
    if home:
        parts[1:2] = home.split(".") if home.endswith(f".{parts[1]}") else [*home.split("."), parts[1]]
    for split in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:split])
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if module.is_file():
            return holds(parsed(module), parts[split:])
    return False


def wrong_names(text: str) -> list[str]:
    """Dotted names of the package in a page, and what its examples import from there, that do not exist."""
    names = set(re.findall(r"\beqvid_tf(?:\.[A-Za-z_]\w*)+", text))
    for module, imported in re.findall(r"from (eqvid_tf[\w.]*) import ([\w, ]+)", text):
        names |= {f"{module}.{name.strip()}" for name in imported.split(",")}
    return sorted(name for name in names if not exists(name))


def wrong_files(text: str) -> list[str]:
    """Files `path.py`, or names `path.py:name` in them, of a page that do not exist; a path may begin in a wing."""
    wrong = []
    for path, name in re.findall(r"([\w/.]*\w\.py)\b(?::([A-Za-z_][\w.]*))?", text):
        files = [file for file in SOURCES if f"/{file}".endswith(f"/{path}")]
        if not any(holds(parsed(ROOT / file), name.split(".") if name else []) for file in files):
            wrong.append(f"{path}:{name}")
    return wrong


def leads_somewhere(page: Path, path: str, section: str) -> bool:
    """Whether the file of a link exists, and the section in it."""
    target = page.parent / path if path else page
    if not section:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return section in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_and_files_exist_and_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert wrong_names(text) == []
    assert wrong_files(text) == []
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text)
    assert [link for link in links if not leads_somewhere(page, *link)] == []


def test_what_does_not_exist_is_noticed():
    wrong = ["eqvid_tf.core.model.EquivariantVideoModel.no_such", "eqvid_tf.no_such", "eqvid_tf.pixels.canvas.no_such"]
    assert wrong_names(" ".join(wrong)) == sorted(wrong)
    assert wrong_names("from eqvid_tf.core.model import no_such") == ["eqvid_tf.core.model.no_such"]
    assert wrong_files("core/no_such.py core/model.py:no_such") == ["core/no_such.py:", "core/model.py:no_such"]
    page = ROOT / "README.md"
    assert leads_somewhere(page, "docs/math.md", "coordinates") and not leads_somewhere(page, "docs/math.md", "no-such")
    assert leads_somewhere(page, "docs", "") and not leads_somewhere(page, "no_such.md", "")
    assert exists("eqvid_tf.affine.build") and exists("eqvid_tf.load") and exists("eqvid_tf.catalog.find")


def test_math_page_names_every_formula():
    page = (ROOT / "docs/math.md").read_text(encoding="utf-8")
    names = re.findall(r"^\|.*\| `(eqvid_tf[\w.]+)` \|$", page, re.MULTILINE)
    assert len(names) >= 15 and len(set(names)) == len(names)


def test_architecture_page_has_the_imports_between_wings():
    """In its table; and no arrow of its diagram is one that the wings may not take."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([\w, ]*) ?\|$", page, re.MULTILINE))
    stated = {wing: {name.strip() for name in names.split(",") if name.strip()} for wing, names in rows.items()}
    wings = {path.parent.name for path in (ROOT / "eqvid_tf").glob("*/__init__.py")}
    assert wings == set(rows)
    for wing in wings:
        assert stated[wing] == ({"every other wing"} if wing in ("evaluation", "cli") else set(WINGS[wing])), wing
    arrows = re.findall(r"^ +(\w+) --> ([\w &]+)$", page, re.MULTILINE)
    assert all(set(others.split(" & ")) <= set(WINGS[wing]) for wing, others in arrows) and len(arrows) > 8


def test_readme_table_is_what_the_command_writes(monkeypatch):
    spec = importlib.util.spec_from_file_location("readme_table", ROOT / "benchmarks/readme.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    monkeypatch.setattr(sys, "argv", ["readme.py", "--check"])
    assert command.main() == 0


def test_readme_python_runs(untraced):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["picture"].shape == (1, 32, 32, 3)
    assert {"scene_loss", "character_loss", "background_loss"} <= set(names["history"].history)
