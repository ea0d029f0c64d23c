"""The layout of the package: imports point one way, modules and functions stay short, only the commands print."""

import ast
import graphlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "eqvid_tf"
# affine <- layers <- {networks, motion, alignment, recompose} <- model <- the rest <- __init__ <- commands <- cli; a module not named here is of the rest.
RANKS = {"affine": 0, "config": 0, "losses": 0, "light": 0, "layers": 1, "networks": 2, "motion": 2, "alignment": 2, "recompose": 2, "model": 3, "data": 4}
RANKS |= {"__init__": 6, "commands": 7, "cli": 8}
REST = 5
ALONE = {"affine", "config", "losses"}  # import nothing of ours
MODULE, FUNCTION = 250, 40  # lines; a docstring is no part of a function's
LONGER = {  # what may be longer, and how long: one table or one family of networks each, in one place
    "networks": 335, "export.endpoints": 45,
}


def sources(package: Path = PACKAGE) -> dict[str, str]:
    """Dotted module name inside the package -> source."""
    paths = {".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")}
    return {name: path.read_text(encoding="utf-8") for name, path in sorted(paths.items())}


def imports(source: str, modules: set[str]) -> set[str]:
    """The package's own modules that a source imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            assert not name.startswith("."), f"line {node.lineno}: a relative import; name the module in full"
            if name.split(".")[0] == "eqvid_tf":
                found.add(module_of(name.removeprefix("eqvid_tf").strip("."), modules))
    return found


def module_of(name: str, modules: set[str]) -> str:
    """data.frames.open_clip -> data.frames; what is in no module is a name of the package itself."""
    while name and name not in modules and f"{name}.__init__" not in modules:
        name = name.rpartition(".")[0]
    return name if name in modules else f"{name}.__init__" if name else "__init__"


def rank(module: str) -> int:
    return RANKS.get(module.split(".")[0], REST)


def wrong_imports(package: dict[str, str]) -> list[str]:
    graph = {name: imports(source, set(package)) for name, source in package.items()}
    wrong = []
    for name, needs in graph.items():
        for need in sorted(needs):
            own = name.startswith("data.") and (need.startswith("data.") or need == "affine")
            foreign = name.startswith("data.") and not own
            if foreign or name in ALONE or rank(need) > rank(name):
                wrong.append(f"{name} imports {need}")
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        wrong.append("a circle: " + " <- ".join(error.args[1]))
    return wrong


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if text else 0)


def lengths(package: dict[str, str]) -> dict[str, tuple[int, int]]:
    """module or module.function -> (its lines, the most it should have)."""
    found = {}
    for name, source in package.items():
        found[name] = source.count("\n"), MODULE
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{name}.{node.name}"] = max(found.get(f"{name}.{node.name}", (0, 0))[0], length(node)), FUNCTION
    return found


def too_long(package: dict[str, str], longer: dict[str, int]) -> list[str]:
    found = lengths(package)
    wrong = [f"{name}: {lines} lines" for name, (lines, most) in found.items() if lines > longer.get(name, most)]
    wrong += [f"{name}: may not be longer any more" for name in longer if found[name][0] <= found[name][1]]
    return wrong


def prints(package: dict[str, str]) -> list[str]:
    wrong = []
    for name, source in package.items():
        tree = ast.parse(source)
        if name == "testing":  # it prints the error that it measured
            tree.body = [node for node in tree.body if getattr(node, "name", None) != "assert_equivariant"]
        called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        lines = [func.lineno for func in called if isinstance(func, ast.Name) and func.id == "print"]
        wrong += [f"{name}, line {line}: only a command prints" for line in lines if not name.startswith("commands.")]
    return wrong


def test_imports_point_one_way():
    assert wrong_imports(sources()) == []


def test_modules_and_functions_are_short():
    assert too_long(sources(), LONGER) == []


def test_only_the_command_line_prints():
    assert prints(sources()) == []


def test_a_wrong_import_is_noticed():
    package = {
        "__init__": "",
        "affine": "",
        "losses": "from eqvid_tf import affine",
        "layers": "import eqvid_tf.affine",
        "networks": "def f():\n    from eqvid_tf.model import Model",
        "motion": "from eqvid_tf import networks, load",
        "model": "from eqvid_tf.motion import T\nfrom eqvid_tf.data.pairs import pairs",
        "train": "from eqvid_tf.model import Model\nfrom eqvid_tf.data.pairs import pairs\nimport keras",
        "data.__init__": "",
        "data.pairs": "from eqvid_tf.data import frames\nfrom eqvid_tf import affine",
        "data.frames": "from eqvid_tf.train import train",
    }
    *wrong, circle = wrong_imports(package)
    assert wrong == [
        "losses imports affine",
        "networks imports model",
        "motion imports __init__",
        "model imports data.pairs",
        "data.frames imports train",
    ]
    assert circle.startswith("a circle: ")


def test_what_is_too_long_is_noticed():
    package = {
        "a": "x = 1\n" * 250,
        "b": "x = 1\n" * 251,
        "c": "def f():\n" + "    x = 1\n" * 40,
        "d": 'def f():\n    """' + "text\n" * 60 + '    """\n    return 1\n',
    }
    assert too_long(package, {}) == ["b: 251 lines", "c.f: 41 lines"]
    assert too_long(package, {"b": 251, "c.f": 40}) == ["c.f: 41 lines"]
    assert too_long(package, {"b": 251, "c.f": 41, "d.f": 50}) == ["d.f: may not be longer any more"]


def test_a_print_is_noticed():
    source = "def assert_equivariant():\n    print(1)\n"
    assert prints({"commands.demo": source, "testing": source}) == []
    assert prints({"train": source}) == ["train, line 2: only a command prints"]
    assert prints({"testing": source + "print(2)"}) == ["testing, line 3: only a command prints"]
