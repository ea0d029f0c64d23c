"""The layout of the package: imports between wings point one way, functions and `core` stay short, one wing prints."""

import ast
import graphlib
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "eqvid_tf"
WINGS = {  # what each may import; a module at the top level counts as a wing of its own
    "config": (),
    "progress": (),
    "parallel": (),
    "pixels": ("parallel",),
    "blocks": (),
    "core": ("blocks", "config", "pixels"),
    "data": ("pixels", "core", "progress"),
    "synthetic": ("data", "pixels"),
    "tracking": ("pixels",),
    "camera": ("config", "data", "pixels", "progress"),
    "serving": ("blocks", "core", "data", "pixels"),
    "model_folder": ("config", "core", "data", "serving"),
    "separation": ("blocks", "camera", "core", "data", "parallel", "pixels", "progress", "tracking"),
    "training": ("camera", "config", "core", "data", "model_folder", "pixels", "progress", "separation"),
    "motions": ("core", "data", "pixels", "separation"),
    "rendering": ("camera", "core", "data", "motions", "parallel", "pixels", "progress", "separation"),
    "exports": ("core", "data", "pixels", "rendering", "separation"),
    "batch": ("config", "data", "exports", "model_folder", "separation"),
    "studio": ("batch", "data", "exports", "model_folder", "motions", "pixels", "rendering", "separation"),
    "testing": ("core", "pixels"),
}
WINGS["evaluation"] = tuple(WINGS)
WINGS["cli"] = tuple(WINGS)
CORE, FUNCTION = (
    1300,
    40,
)  # lines: of all of core, which is to be read in one sitting; of a function without its docstring


def sources(package: Path = PACKAGE) -> dict[str, str]:
    """Dotted module name inside the package -> source; a sub-package's `__init__` has the sub-package's name."""
    paths = {".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")}
    return {name.removesuffix(".__init__"): path.read_text(encoding="utf-8") for name, path in sorted(paths.items())}


def wing(module: str) -> str:
    return module.split(".")[0]


def imports(source: str) -> set[str]:
    """The package's own modules and names that a source imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; name the module in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("eqvid_tf.") for name in names if name.startswith("eqvid_tf.")}
    return found


def wrong_imports(package: dict[str, str]) -> list[str]:
    """Imports that no arrow between the wings allows; `__init__` names every wing and is imported by none."""
    wrong = []
    for module, source in package.items():
        for name in sorted(imports(source)):
            same = wing(name) == wing(module)
            if module != "__init__" and not same and wing(name) not in WINGS[wing(module)]:
                wrong.append(f"{module} imports {name}")
    return wrong


def circles(allowed: dict[str, tuple[str, ...]]) -> list[str]:
    try:
        list(graphlib.TopologicalSorter(allowed).static_order())
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if text else 0)


def functions(package: dict[str, str]) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [(name, node) for name, source in package.items() for node in ast.walk(ast.parse(source))]
    return {f"{name}:{node.lineno} {node.name}": node for name, node in nodes if isinstance(node, kinds)}


def too_long(package: dict[str, str]) -> list[str]:
    lengths = {name: length(function) for name, function in functions(package).items()}
    return [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > FUNCTION]


def defined_twice(package: dict[str, str]) -> list[str]:
    """Public functions and classes that two modules define; commands share one contract."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names = [
        node.name
        for module, source in package.items()
        if wing(module) != "cli"
        for node in ast.parse(source).body
        if isinstance(node, kinds) and not node.name.startswith("_")
    ]
    return sorted(name for name, count in Counter(names).items() if count > 1)


def prints(package: dict[str, str]) -> list[str]:
    wrong = []
    for name, source in package.items():
        tree = ast.parse(source)
        if name == "testing":  # it prints the error that it measured
            tree.body = [node for node in tree.body if getattr(node, "name", None) != "assert_equivariant"]
        called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        lines = [func.lineno for func in called if isinstance(func, ast.Name) and func.id == "print"]
        wrong += [f"{name}, line {line}: only a command prints" for line in lines if wing(name) != "cli"]
    return wrong


def test_imports_between_wings_point_one_way():
    package = sources()
    assert {wing(module) for module in package} - {"__init__"} == set(WINGS)
    assert circles(WINGS) == []
    assert wrong_imports(package) == []


def test_functions_are_short_and_core_is_readable():
    package = sources()
    assert too_long(package) == []
    assert sum(source.count("\n") for module, source in package.items() if wing(module) == "core") <= CORE


def test_a_public_name_is_defined_once():
    assert defined_twice(sources()) == []


def test_only_the_command_line_prints():
    assert prints(sources()) == []


def test_what_is_wrong_is_noticed():
    function = "def f():\n" + "    x = 1\n" * 40
    package = {
        "core.model": "from eqvid_tf.training import train\n" + function,
        "pixels.sheets": "def f():\n    print(1)",
    }
    assert wrong_imports(package) == ["core.model imports training.train"]
    assert circles({"a": ("b",), "b": ("a",)})
    assert too_long(package) == ["core.model:2 f: 41 lines"]
    documented = function.replace("    x = 1\n", '    """Text.\n\n    More.\n    """\n', 1)
    assert too_long({"core.model": documented}) == []
    assert defined_twice(package) == ["f"]
    assert prints({"cli.demo": "print(1)", **package}) == ["pixels.sheets, line 2: only a command prints"]
