"""The line of the user's file where an array is made, as far as its text tells."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fmnist_cli.usercode.mistakes.seen import SEEN
from fmnist_cli.usercode.parts import GRADIENT_NAMES
from fmnist_cli.usercode.results import Diagnosis
from fmnist_cli.usercode.structure import parsed

_OVER_ENTRIES = ("range", "ndindex", "nditer", "ndenumerate")
Finder = Callable[[ast.AST], int | None]


@dataclass(frozen=True)
class Place:
    """A place in the file: in words, and its line where it can be known."""

    text: str
    line: int | None

    def says(self, what: str, question: str, *, mistake: str = "") -> Diagnosis:
        """What is wrong here; ``mistake`` is empty where it has no name."""
        return Diagnosis(mistake, what, self.text, question, self.line)

    def diagnosis(self, mistake: str, **values: Any) -> Diagnosis:
        """A mistake that was seen here, in the words of ``SEEN`` with the values put in."""
        what, question = (text.format(**values) for text in SEEN[mistake])
        what = f"T{what[1:]}" if what.startswith("the ") else what
        return self.says(what, question, mistake=mistake)


class Sources:
    """A file's text, asked for lines; an empty or broken text has none."""

    def __init__(self, text: str, found_as: Mapping[str, str]) -> None:
        self._found_as = found_as
        self.tree = parsed(text)

    def _scope(self, part: str, method: str) -> ast.AST | None:
        """A part, or a method of it where it has that; None where the text has no such part."""
        name = self._found_as.get(part, part)
        for top in (node for node in self.tree.body if getattr(node, "name", None) == name):
            inner = (node for node in ast.walk(top) if isinstance(node, ast.FunctionDef))
            return next((node for node in inner if node.name == method), top)
        return None

    def place(self, check: str) -> Place:
        """Where the array of a check is made."""
        part, method, finder = _WHERE[check]
        scope, name = self._scope(part, method), self._found_as.get(part, part)
        text = f"{name}.{method}" if method else name
        if scope is None:
            return Place(text, None)
        line = finder(scope) or int(getattr(scope, "lineno", 1))
        return Place(f"{text}, line {line}", line)

    def has_loop(self, part: str, method: str) -> bool:
        """Whether a method has a loop of its own, or a comprehension."""
        loops = ast.For | ast.While | ast.ListComp | ast.GeneratorExp
        scope = self._scope(part, method)
        return scope is not None and any(isinstance(node, loops) for node in ast.walk(scope))

    def loops_over_entries(self, part: str) -> bool:
        """Whether a part has a loop over a range or over the indices of an array."""
        scope = self._scope(part, "") or ast.Module([], [])
        heads = (node.iter for node in ast.walk(scope) if isinstance(node, ast.For))
        calls = (one for head in heads for one in ast.walk(head) if isinstance(one, ast.Call))
        return any(ast.unparse(call.func).endswith(_OVER_ENTRIES) for call in calls)


def _assignments(scope: ast.AST) -> Iterator[tuple[ast.expr, int]]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                inner = target.elts if isinstance(target, ast.Tuple) else [target]
                yield from ((one, node.lineno) for one in inner)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            yield node.target, node.lineno


def _returned(scope: ast.AST) -> int | None:
    """The line that makes what is returned: the last assignment to its name, or the return."""
    returns = [n for n in ast.walk(scope) if isinstance(n, ast.Return) and n.value is not None]
    if not returns:
        return None
    last = max(returns, key=lambda node: node.lineno)
    if isinstance(last.value, ast.Name):
        lines = [line for target, line in _assignments(scope) if _base(target) == last.value.id]
        return max(lines, default=last.lineno)
    return last.lineno


def _base(target: ast.expr) -> str | None:
    while isinstance(target, ast.Subscript | ast.Starred):
        target = target.value
    return target.id if isinstance(target, ast.Name) else None


def _stored(key: str, holders: tuple[str, ...], attributes: tuple[str, ...]) -> Finder:
    targets = re.compile(
        rf"\.({'|'.join(holders)})\[['\"]{key}['\"]\]|\.({'|'.join(attributes)})(\[|$)"
    )

    def find(scope: ast.AST) -> int | None:
        lines = (line for one, line in _assignments(scope) if targets.search(ast.unparse(one)))
        return max(lines, default=None)

    return find


def _gradient(key: str) -> Finder:
    return _stored(key, GRADIENT_NAMES, (f"d{key}", f"grad_{key}", f"{key}_grad"))


def _compared(scope: ast.AST) -> int | None:
    lines = [node.lineno for node in ast.walk(scope) if isinstance(node, ast.Compare)]
    return max(lines, default=_returned(scope))


def _last_assignment(scope: ast.AST) -> int | None:
    kinds = ast.Subscript | ast.Attribute
    lines = (line for target, line in _assignments(scope) if isinstance(target, kinds))
    return max(lines, default=None)


def _nothing(scope: ast.AST) -> int | None:
    return None


_WHERE: dict[str, tuple[str, str, Finder]] = {
    "linear_init": ("linear", "__init__", _stored("W", ("params",), ("W",))),
    "linear_forward": ("linear", "forward", _returned),
    "linear_dW": ("linear", "backward", _gradient("W")),
    "linear_db": ("linear", "backward", _gradient("b")),
    "linear_dX": ("linear", "backward", _returned),
    "relu_forward": ("relu", "forward", _returned),
    "relu_backward": ("relu", "backward", _returned),
    "relu_at_zero": ("relu", "", _compared),
    "linear_backward": ("linear", "backward", _nothing),
    "update": ("update", "", _last_assignment),
    "second_update": ("update", "", _last_assignment),
    "forward_pass": ("forward_pass", "", _nothing),
    "backward_pass": ("backward_pass", "", _nothing),
    "gradient_checker": ("gradient_checker", "", _nothing),
    "training_loop": ("main", "", _nothing),
    "magnitude_checker": ("magnitude_checker", "", _nothing),
    "loss_forward": ("loss", "forward", _returned),
    "loss_backward": ("loss", "backward", _returned),
}
