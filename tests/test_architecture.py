"""Which module imports which: one way through the layers, and never in a circle.

Read from the source, so that imports inside functions and for type checkers count as well.
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import fmnist_cli

PACKAGE = Path(fmnist_cli.__file__).parent
ROOT = PACKAGE.name

# A part imports from the layers above its own line in this list, and from its own folder.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"version", "errors", "epoch", "formatting", "host"}),
    frozenset({"files", "tables"}),
    frozenset({"engine", "registry"}),
    frozenset({"analysis"}),
    frozenset({"runner", "plots"}),
    frozenset({"studies"}),
    frozenset({"report", "progress"}),
    frozenset({"api", "usercode"}),
    frozenset({"__init__"}),
    frozenset({"commands"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
GROUND = LAYERS[0]  # its parts may use each other

# Of programs for terminals, notebooks and pages, the runner and what is below it know nothing.
FOREIGN = frozenset({"typer", "rich", "tqdm", "click"})
WITHOUT_FOREIGN = frozenset().union(*LAYERS[:5])

# How a run is typed again is the matter of the first; the others' flags are other programs'.
MAY_NAME_FLAGS = tuple(
    f"{ROOT}.{name}" for name in ("runner.command_line", "registry.provenance", "runner.programs")
)

# What does not hold yet; it may only become shorter.
KNOWN_UPWARD: frozenset[str] = frozenset()
KNOWN_CYCLES: frozenset[frozenset[str]] = frozenset()
KNOWN_TYPED: frozenset[str] = frozenset()
KNOWN_DUPLICATES: frozenset[str] = frozenset()


def modules(package: Path) -> dict[str, Path]:
    """Every module's file, by its dotted name; a package's is its ``__init__``."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that a module imports anywhere in its source, those of this package whole."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield whole if whole in known else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            (argument, *_) = node.args
            if isinstance(argument, ast.Constant):
                yield str(argument.value)


def graph(package: Path) -> dict[str, set[str]]:
    """What each module imports of this package."""
    known = modules(package)
    return {
        name: {one for one in imports(name, path, known) if one in known} - {name}
        for name, path in known.items()
    }


@functools.cache
def real() -> dict[str, set[str]]:
    """The package as it is."""
    return graph(PACKAGE)


def part(module: str) -> str:
    """The part of the package that a module belongs to, as ``LAYERS`` names it."""
    return module.split(".")[1] if "." in module else "__init__"


def layer(module: str) -> int:
    (found,) = (i for i, parts in enumerate(LAYERS) if part(module) in parts)
    return found


def upward(edges: Mapping[str, set[str]]) -> set[str]:
    """The imports that do not point down, as ``a -> b``."""
    return {
        f"{name} -> {other}"
        for name, others in edges.items()
        for other in others
        if part(name) != part(other)
        and layer(other) >= layer(name)
        and not {part(name), part(other)} <= GROUND
    }


def cycles(edges: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that reach each other, by Tarjan's algorithm."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in edges[name]:
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            at = stack.index(name)
            component = frozenset(stack[at:])
            del stack[at:]
            if len(component) > 1:
                found.add(component)

    for name in edges:
        if name not in number:
            visit(name)
    return found


def test_every_module_has_a_layer() -> None:
    listed = frozenset().union(*LAYERS)
    assert {part(module) for module in modules(PACKAGE)} <= listed
    assert sum(map(len, LAYERS)) == len(listed)


def test_imports_point_down() -> None:
    assert upward(real()) == KNOWN_UPWARD


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycles(real()) == KNOWN_CYCLES


def test_only_the_commands_and_the_cli_import_a_command() -> None:
    outside = {
        f"{name} -> {other}"
        for name, others in real().items()
        for other in others
        if part(other) == "commands" and part(name) not in ("commands", "cli")
    }
    assert outside == KNOWN_UPWARD


def test_what_does_the_work_knows_no_terminal() -> None:
    known = modules(PACKAGE)
    found = {
        f"{name} -> {other}"
        for name, path in known.items()
        if part(name) in WITHOUT_FOREIGN
        for other in imports(name, path, known)
        if other.partition(".")[0] in FOREIGN
    }
    assert found == set()


def test_a_public_class_name_has_one_meaning() -> None:
    places: dict[str, set[str]] = {}
    for name, path in modules(PACKAGE).items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, set()).add(name)
    assert {name for name, where in places.items() if len(where) > 1} == KNOWN_DUPLICATES


def words(path: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


def typed_words(package: Path) -> set[str]:
    """The flags and commands that stand in what engine, registry, analysis and runner say."""
    known = modules(package)
    commands = "|".join(sorted(name.rpartition(".")[2] for name in known if ".commands." in name))
    flag = re.compile(rf"(?<![\w-])--[a-z][a-z-]*|\bfmnist (?:{commands.replace('_', '-')})\b")
    return {
        f"{name}: {found}"
        for name, path in known.items()
        if part(name) in ("engine", "registry", "analysis", "runner") and name not in MAY_NAME_FLAGS
        for text in words(path)
        for found in flag.findall(text)
    }


def test_what_does_the_work_names_no_flag_and_no_command() -> None:
    assert typed_words(PACKAGE) == KNOWN_TYPED


def test_a_flag_in_a_message_is_found(copy: Path) -> None:
    plant(copy, "runner.run", "text = f'{1} is wrong; use --epochs, or: fmnist train'")
    assert typed_words(copy) - typed_words(PACKAGE) == {
        "fmnist_cli.runner.run: --epochs",
        "fmnist_cli.runner.run: fmnist train",
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package in a folder of its own, to plant imports in."""
    return Path(shutil.copytree(PACKAGE, tmp_path / ROOT))


def plant(package: Path, module: str, line: str) -> None:
    path = modules(package)[f"{ROOT}.{module}"]
    path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{line}\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "line", "edge"),
    [
        ("api", "import fmnist_cli.commands.train", "api -> commands.train"),
        ("api", "def f():\n    from fmnist_cli.commands import train", "api -> commands.train"),
        ("engine.config", "from fmnist_cli.registry import run", "engine.config -> registry.run"),
        (
            "registry.values",
            "if TYPE_CHECKING:\n    from fmnist_cli.engine.backend import Split",
            "registry.values -> engine.backend",
        ),
        ("runner.run", "from ..plots import style", "runner.run -> plots.style"),
        (
            "analysis.result",
            "import importlib\nimportlib.import_module('fmnist_cli.runner.jobs')",
            "analysis.result -> runner.jobs",
        ),
        ("errors", "from fmnist_cli.files import replace_file", "errors -> files"),
        ("runner.jobs", "from fmnist_cli import TrainConfig", "runner.jobs -> "),
    ],
)
def test_an_upward_import_is_found(copy: Path, module: str, line: str, edge: str) -> None:
    plant(copy, module, line)
    name, other = edge.split(" -> ")
    whole = f"{ROOT}.{name} -> {f'{ROOT}.{other}'.rstrip('.')}"
    assert upward(graph(copy)) - upward(real()) == {whole}


def test_a_circle_is_found(copy: Path) -> None:
    plant(copy, "engine.config", "def f():\n    from fmnist_cli.engine.training import train")
    (found,) = cycles(graph(copy)) - cycles(real())
    assert {f"{ROOT}.engine.config", f"{ROOT}.engine.training"} <= found
