"""How a file chooses its best model, read from its text: nothing is run.

A best value is kept where one is compared with it in a loop, or is looked for afterwards among the
values of all epochs (``np.argmax(val_acc)``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.results import Diagnosis

BEST = re.compile(r"best|highest|top|max|peak|lowest")
_PICKS = {"argmax": True, "max": True, "argmin": False, "min": False}
_SETS = {"val": r"(?<!e)val(?!u)|xva|dev", "test": r"test|te_|_te\b|xte", "train": "train"}


def wrong_choice(tree: ast.Module) -> Diagnosis | None:
    """What is wrong with the choice of the best model; None where nothing is seen to be."""
    text = _Text(tree)
    for scope in (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)):
        for loop in (node for node in ast.walk(scope) if isinstance(node, ast.For | ast.While)):
            for node in ast.walk(loop):
                if isinstance(node, ast.If) and (wrong := _compared(text, node, loop)):
                    return wrong
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and (wrong := _picked(text, node)):
                return wrong
    return None


class _Text:
    """What the names of a file stand for."""

    def __init__(self, tree: ast.Module) -> None:
        self.made: dict[str, list[ast.expr]] = {}  # what is assigned to a name
        self.rows: dict[str, ast.Tuple] = {}  # the tuples that a list gets
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self.made.setdefault(ast.unparse(target), []).append(node.value)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "append"
                and isinstance(node.args[0], ast.Tuple)
            ):
                self.rows[ast.unparse(node.func.value)] = node.args[0]

    def words(self, node: ast.expr) -> str:
        """The text of an expression; where its names do not say of which images it is, with what
        they stand for."""
        said = ast.unparse(node).lower()
        for name in _names(node):
            if name in self.rows:
                columns = [one.slice.value for one in ast.walk(node)
                           if isinstance(one, ast.Subscript)
                           and isinstance(one.slice, ast.Constant)
                           and isinstance(one.slice.value, int)]  # fmt: skip
                row = self.rows[name].elts
                said = " ".join(self.words(row[i]) for i in columns if -len(row) <= i < len(row))
            elif len(self.made.get(name, ())) == 1 and not _sets(said):
                said += " " + ast.unparse(self.made[name][0]).lower()
        return said


def _sets(words: str) -> set[str]:
    """Which of the three sets of images some words name."""
    return {name for name, pattern in _SETS.items() if re.search(pattern, words)}


def _names(node: ast.AST) -> Iterator[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _compared(text: _Text, node: ast.If, loop: ast.AST) -> Diagnosis | None:
    """``if value > best: best = value`` in a loop."""
    tests = [one for one in ast.walk(node.test) if isinstance(one, ast.Compare)]
    for test in tests:
        sides = [test.left, test.comparators[0]]
        kept = [BEST.search(ast.unparse(side).lower()) is not None for side in sides]
        op = test.ops[0]
        if kept[0] == kept[1] or not isinstance(op, ast.Gt | ast.GtE | ast.Lt | ast.LtE):
            continue
        value, best = (sides[1], sides[0]) if kept[0] else (sides[0], sides[1])
        if isinstance(value, ast.Constant) or not isinstance(best, ast.Name | ast.Attribute):
            continue
        what, words = ast.unparse(best), text.words(value)
        if not {"val", "test"} & _sets(words + what.lower()):
            continue
        stored = [ast.unparse(one) for one in ast.walk(loop)
                  if isinstance(getattr(one, "ctx", None), ast.Store)]  # fmt: skip
        if what not in stored:
            return _at(test.lineno, "loop-best-not-kept", best=what)
        larger = isinstance(op, ast.Gt | ast.GtE) != kept[0]
        if wrong := _of_values(test.lineno, words, larger):
            return wrong
    return None


def _picked(text: _Text, node: ast.Call) -> Diagnosis | None:
    """``np.argmax(values)``, ``max(epochs, key=...)``."""
    name = ast.unparse(node.func).rpartition(".")[2]
    if name not in _PICKS or not node.args:
        return None
    keys = [one.value for one in node.keywords if one.arg == "key"]
    words = " ".join(text.words(one) for one in [*node.args[:1], *keys])
    if not re.search("acc|loss|eval|score|curve|hist", words):
        return None
    return _of_values(node.lineno, words, _PICKS[name])


def _of_values(line: int, words: str, larger: bool) -> Diagnosis | None:
    """What is wrong with taking the largest, or else the smallest, of these values."""
    if _sets(words) == {"test"}:
        return _at(line, "loop-best-by-test")
    if ("acc" in words) != ("loss" in words) and larger != ("acc" in words):
        return _at(line, "loop-best-is-worst",
                   which="largest loss" if larger else "smallest accuracy")  # fmt: skip
    return None


def _at(line: int, mistake: str, **values: Any) -> Diagnosis:
    return Place(f"line {line}", line).diagnosis(mistake, **values)
