"""How a file chooses its best model, read from its text: nothing is run.

A best value is kept where one is compared with it in a loop, or is looked for afterwards among the
values of all epochs (``np.argmax(val_acc)``).
"""

from __future__ import annotations

import ast
import re
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
        if not isinstance(node, ast.Call) or _name(node.func) not in _PICKS or not node.args:
            return None
        keys = [one.value for one in node.keywords if one.arg == "key"]
        words = " ".join(self.words(one) for one in [node.args[0], *keys])
        if not re.search("acc|loss|eval|score|curve|hist", words):
            return None
        return _of_values(node, words, _PICKS[_name(node.func)])


def _name(function: ast.expr) -> str:
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
