"""What a user's file tells by its text: where an array is made, and how the best model is chosen.

A best value is kept where one is compared with it in a loop, or is looked for afterwards among the
values of all epochs (``np.argmax(val_acc)``). Nothing is run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fmnist_cli.usercode.mistakes.seen import SEEN
from fmnist_cli.usercode.parts import KEPT
from fmnist_cli.usercode.results import Diagnosis
from fmnist_cli.usercode.structure import parsed

_OVER_ENTRIES = ("range", "ndindex", "nditer", "ndenumerate")
Finder = Callable[[ast.AST], int | None]
BEST = re.compile(r"best|highest|top|max|peak|lowest")
_PICKS = {"argmax": True, "max": True, "argmin": False, "min": False}
_SETS = {"val": r"(?<!e)val(?!u)|xva|dev", "test": r"test|te_|_te\b|xte", "train": "train"}


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
        part, method, finder = _WHERE.get(check, (check, "", _nowhere))
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


def _stored(what: str, key: str) -> Finder:
    holders, attributes = KEPT[what]
    names = "|".join(attribute.format(key) for attribute in attributes)
    targets = re.compile(rf"\.({'|'.join(holders)})\[['\"]{key}['\"]\]|\.({names})(\[|$)")

    def find(scope: ast.AST) -> int | None:
        lines = (line for one, line in _assignments(scope) if targets.search(ast.unparse(one)))
        return max(lines, default=None)

    return find


def _compared(scope: ast.AST) -> int | None:
    lines = [node.lineno for node in ast.walk(scope) if isinstance(node, ast.Compare)]
    return max(lines, default=_returned(scope))


def _last_assignment(scope: ast.AST) -> int | None:
    kinds = ast.Subscript | ast.Attribute
    lines = (line for target, line in _assignments(scope) if isinstance(target, kinds))
    return max(lines, default=None)


def _nowhere(scope: ast.AST) -> int | None:
    return None


# where a check's array is made; of a check that is not here the part has its name
_WHERE: dict[str, tuple[str, str, Finder]] = {
    "linear_init": ("linear", "__init__", _stored("params", "W")),
    "linear_forward": ("linear", "forward", _returned),
    "linear_dW": ("linear", "backward", _stored("gradient", "W")),
    "linear_db": ("linear", "backward", _stored("gradient", "b")),
    "linear_dX": ("linear", "backward", _returned),
    "relu_forward": ("relu", "forward", _returned),
    "relu_backward": ("relu", "backward", _returned),
    "relu_at_zero": ("relu", "", _compared),
    "linear_backward": ("linear", "backward", _nowhere),
    "update": ("update", "", _last_assignment),
    "second_update": ("update", "", _last_assignment),
    "training_loop": ("main", "", _nowhere),
    "loss_forward": ("loss", "forward", _returned),
    "loss_backward": ("loss", "backward", _returned),
}


def wrong_choice(tree: ast.Module) -> Diagnosis | None:
    """What is wrong with the choice of the best model; None where nothing is seen to be."""
    text = _Text(tree)
    for scope in (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)):
        nodes = list(ast.walk(scope))
        loops = [node for node in nodes if isinstance(node, ast.For | ast.While)]
        found = [text.compared(node, loop) for loop in loops for node in ast.walk(loop)]
        found += [text.picked(node) for node in nodes]
        for wrong in found:
            if wrong is not None:
                return wrong
    return None


class _Text:
    """A file's expressions, and what the names in them stand for."""

    def __init__(self, tree: ast.Module) -> None:
        self.made: dict[str, list[ast.expr]] = {}  # what is assigned to a name
        self.rows: dict[str, list[ast.expr]] = {}  # the tuples that a list gets
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self.made.setdefault(ast.unparse(target), []).append(node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".append"):
                rows = ast.unparse(node.func).removesuffix(".append")
                self.rows.update(
                    (rows, one.elts) for one in node.args if isinstance(one, ast.Tuple)
                )

    def words(self, node: ast.expr) -> str:
        """The text of an expression; where its names do not say of which images it is, with what
        they stand for."""
        said, inner = ast.unparse(node).lower(), list(ast.walk(node))
        for name in (one.id for one in inner if isinstance(one, ast.Name)):
            if name in self.rows:
                row = dict(enumerate(self.rows[name]))
                columns = (getattr(one.slice, "value", None) for one in inner
                           if isinstance(one, ast.Subscript))  # fmt: skip
                said = " ".join(self.words(row[i]) for i in columns if i in row)
            elif len(self.made.get(name, ())) == 1 and not _sets(said):
                said += " " + ast.unparse(self.made[name][0]).lower()
        return said

    def compared(self, node: ast.AST, loop: ast.AST) -> Diagnosis | None:
        """``if value > best: best = value`` in a loop."""
        for test in ast.walk(node.test) if isinstance(node, ast.If) else ():
            if not isinstance(test, ast.Compare):
                continue
            sides = {bool(BEST.search(ast.unparse(side).lower())): side
                     for side in (test.left, test.comparators[0])}  # fmt: skip
            if len(sides) < 2 or not isinstance(test.ops[0], ast.Gt | ast.GtE | ast.Lt | ast.LtE):
                continue
            best, words = ast.unparse(sides[True]), self.words(sides[False])
            if isinstance(sides[False], ast.Constant) or not (
                isinstance(sides[True], ast.Name | ast.Attribute)
                and {"val", "test"} & _sets(words + best.lower())
            ):
                continue
            stored = [ast.unparse(one) for one in ast.walk(loop)
                      if isinstance(getattr(one, "ctx", None), ast.Store)]  # fmt: skip
            if best not in stored:
                return _at(test, "loop-best-not-kept", best=best)
            larger = isinstance(test.ops[0], ast.Gt | ast.GtE) == (sides[False] is test.left)
            if wrong := _of_values(test, words, larger):
                return wrong
        return None

    def picked(self, node: ast.AST) -> Diagnosis | None:
        """``np.argmax(values)``, ``max(epochs, key=...)``."""
        if not isinstance(node, ast.Call) or _called(node.func) not in _PICKS or not node.args:
            return None
        keys = [one.value for one in node.keywords if one.arg == "key"]
        words = " ".join(self.words(one) for one in [node.args[0], *keys])
        if not re.search("acc|loss|eval|score|curve|hist", words):
            return None
        return _of_values(node, words, _PICKS[_called(node.func)])


def _called(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def _sets(words: str) -> set[str]:
    """Which of the three sets of images some words name."""
    return {name for name, pattern in _SETS.items() if re.search(pattern, words)}


def _of_values(node: ast.expr, words: str, larger: bool) -> Diagnosis | None:
    """What is wrong with taking the largest, or else the smallest, of these values."""
    if _sets(words) == {"test"}:
        return _at(node, "loop-best-by-test")
    if ("acc" in words) != ("loss" in words) and larger != ("acc" in words):
        return _at(node, "loop-best-is-worst", which="largest loss" if larger else
                   "smallest accuracy")  # fmt: skip
    return None


def _at(node: ast.expr, mistake: str, **values: Any) -> Diagnosis:
    return Place(f"line {node.lineno}", node.lineno).diagnosis(mistake, **values)
