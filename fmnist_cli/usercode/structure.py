"""Parts that a file has under names of its own, found by what they do.

The assignment leaves the names of the backward pass and of the gradient checker free. A backward
pass calls the layers' ``backward``; a gradient checker has them called too, and divides a
difference of two losses. Read from the text: nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parsed(source: str | bytes) -> ast.Module:
    """The text's tree; an empty one where the text is no Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.parse("")


def imported(source: bytes) -> set[str]:
    """Every top-level module that an import statement anywhere in the text names."""
    found = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def find_by_structure(tree: ast.Module, known: Mapping[str, str]) -> dict[str, str]:
    """The names of ``backward_pass`` and ``gradient_checker``, as far as they can be told.

    Parameters
    ----------
    known : mapping
        The name of every part that was found by its name; those are no candidates.
    """
    tops = {n.name: n for n in tree.body if isinstance(n, Definition)}
    layers = {known.get(part) for part in ("linear", "relu", "loss")}
    reached = {name: _reached(name, tops, layers) for name in tops}
    candidates = [
        name
        for name in tops
        if name not in known.values()
        and known.get("update") not in _called(reached[name])
        and "backward" in _called(reached[name])
    ]
    checkers = [name for name in candidates if any(map(_is_quotient, _walk(reached[name])))]
    passes = [
        name
        for name in candidates
        if name not in checkers
        and isinstance(tops[name], ast.FunctionDef)
        and "backward" in _called([tops[name]], attributes_only=True)
    ]
    found = {}
    if passes:
        found["backward_pass"] = max(passes, key=lambda name: _n_backward(tops[name]))
    outermost = [c for c in checkers if not any(
        c in _called([tops[other]]) for other in checkers if other != c)]  # fmt: skip
    if outermost:
        found["gradient_checker"] = outermost[-1]
    return {part: name for part, name in found.items() if part not in known}


def handed_over(tree: ast.Module, name: str) -> dict[int, tuple[str, int | None]]:
    """Which arguments of a function are what others of the file return, where it is first called.

    By position: the other function, and the index where it returns several values. So the pass
    that is called as ``back(model, forth(model, x), y)`` has its second argument from ``forth``.
    """
    sizes = {n.name: len(n.args.args) for n in tree.body if isinstance(n, ast.FunctionDef)}
    tops = set(sizes)
    if name not in tops:
        return {}
    for caller in tree.body:
        made = _made_by(caller, tops)
        for node in ast.walk(caller):
            if isinstance(node, ast.Call) and _calls(node) == name:
                places = {}
                for place, argument in enumerate(node.args):
                    if isinstance(argument, ast.Name) and argument.id in made:
                        places[place] = made[argument.id]
                    elif isinstance(argument, ast.Call) and _calls(argument) in tops:
                        places[place] = _calls(argument), None
                    elif isinstance(argument, ast.Starred):  # all that it returns, to the end
                        function = _starred(argument.value, made, tops)
                        n_unpacked = sizes[name] - len(node.args) + 1
                        places |= {place + i: (function, i) for i in range(n_unpacked) if function}
                        break
                return places
    return {}


def _starred(
    value: ast.expr, made: Mapping[str, tuple[str, int | None]], tops: Collection[str]
) -> str:
    """The function whose values are unpacked; empty where it is none of the file's."""
    if isinstance(value, ast.Name):
        function, index = made.get(value.id, ("", None))
        return function if index is None else ""
    return _calls(value) if isinstance(value, ast.Call) and _calls(value) in tops else ""


def _made_by(scope: ast.AST, tops: Collection[str]) -> dict[str, tuple[str, int | None]]:
    """The names that are assigned what a function returns, and where in it."""
    made: dict[str, tuple[str, int | None]] = {}
    for node in ast.walk(scope):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        function = _calls(node.value)
        for target in node.targets if function in tops else ():
            if isinstance(target, ast.Name):
                made[target.id] = function, None
            elif isinstance(target, ast.Tuple):
                names = (
                    (i, one.id) for i, one in enumerate(target.elts) if isinstance(one, ast.Name)
                )
                made |= {one: (function, i) for i, one in names}
    return made


def _calls(node: ast.Call) -> str:
    """The name of the function that is called; empty for a method."""
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _reached(
    name: str, tops: Mapping[str, Definition], but: Collection[str | None]
) -> list[Definition]:
    """The definition and those that it calls, directly or not, ``but`` the layers."""
    found, left = [], [name]
    while left:
        one = left.pop()
        if one in tops and tops[one] not in found:
            found.append(tops[one])
            left += [called for called in _called([tops[one]]) if called not in but]
    return found


def _walk(definitions: Collection[Definition]) -> list[ast.AST]:
    return [node for definition in definitions for node in ast.walk(definition)]


def _called(definitions: Collection[Definition], *, attributes_only: bool = False) -> set[str]:
    """The names of the functions and methods that are called."""
    names = set()
    for node in _walk(definitions):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                names.add(node.func.attr)
            elif isinstance(node.func, ast.Name) and not attributes_only:
                names.add(node.func.id)
    return names


def _n_backward(definition: Definition) -> int:
    """How often ``backward`` is called in the text; in a loop counts more."""
    return sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "backward"
        for node in ast.walk(definition)
    ) + 3 * any(isinstance(node, ast.For) for node in ast.walk(definition))


def _is_quotient(node: ast.AST) -> bool:
    """``(a - b) / c``, or ``a /= 2 * eps``: a difference quotient, or what is meant to be one."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
        names = [one.id.lower() for one in ast.walk(node.value) if isinstance(one, ast.Name)]
        return any(name == "h" or "eps" in name or "delta" in name for name in names)
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and isinstance(node.left, ast.BinOp)
        and isinstance(node.left.op, ast.Sub | ast.Add)
    )
