"""Parts that a file has under names of its own, found by what they do.

The assignment leaves the names of the backward pass and of the gradient checker free. A backward
pass calls the layers' ``backward``; a gradient checker has them called too, and divides a
difference of two losses. Read from the text: nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Made = tuple[str, int | None]
"""What a function of the file returns, and the index where it returns several values."""


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

    ``known`` are the parts that were found by their names; those are no candidates.
    """
    tops = {node.name: node for node in tree.body if isinstance(node, Definition)}
    layers = {known.get(part) for part in ("linear", "relu", "loss")}
    reached = {name: _reached(name, tops, layers) for name in tops}
    called = {name: {_name(call) for one in reached[name] for call in _calls(one)} for name in tops}
    candidates = [
        name
        for name in tops
        if name not in known.values()
        and known.get("update") not in called[name]
        and "backward" in called[name]
    ]
    checkers = [name for name in candidates
                if any(map(_is_quotient, _walk(*reached[name])))]  # fmt: skip
    n_backward = {
        name: sum(ast.unparse(call.func).endswith(".backward") for call in _calls(tops[name]))
        for name in candidates
        if name not in checkers and isinstance(tops[name], ast.FunctionDef)
    }
    for name, n in n_backward.items():
        if n and any(isinstance(node, ast.For) for node in _walk(tops[name])):
            n_backward[name] += 3  # in a loop it counts more
    found = {}
    if any(n_backward.values()):
        found["backward_pass"] = max(n_backward, key=lambda name: n_backward[name])
    inner = {_name(call) for name in checkers for call in _calls(tops[name]) if _name(call) != name}
    outermost = [name for name in checkers if name not in inner]
    if outermost:
        found["gradient_checker"] = outermost[-1]
    return {part: name for part, name in found.items() if part not in known}


def handed_over(tree: ast.Module, name: str) -> dict[int, Made]:
    """Which arguments of a function are what others of the file return, where it is first called.

    By position. So the pass that is called as ``back(model, forth(model, x), y)`` has its second
    argument from ``forth``.
    """
    sizes = {n.name: len(n.args.args) for n in tree.body if isinstance(n, ast.FunctionDef)}
    for caller in tree.body if name in sizes else ():
        made = _made_by(caller, sizes)
        for call in _calls(caller):
            if not isinstance(call.func, ast.Name) or call.func.id != name:
                continue
            places: dict[int, Made] = {}
            for place, argument in enumerate(call.args):
                if not isinstance(argument, ast.Starred):
                    places[place] = _source(argument, made, sizes)
                    continue
                function, index = _source(argument.value, made, sizes)
                if index is None:  # all that it returns, to the end
                    n_unpacked = sizes[name] - len(call.args) + 1
                    places |= {place + i: (function, i) for i in range(n_unpacked)}
                break
            return {place: source for place, source in places.items() if source[0]}
    return {}


def _source(node: ast.expr, made: Mapping[str, Made], functions: Collection[str]) -> Made:
    """Which function returned an expression's value; empty where it was none of the file's."""
    if isinstance(node, ast.Name):
        return made.get(node.id, ("", None))
    called = node.func if isinstance(node, ast.Call) else None
    is_own = isinstance(called, ast.Name) and called.id in functions
    return ast.unparse(called) if is_own and called is not None else "", None


def _made_by(scope: ast.AST, functions: Collection[str]) -> dict[str, Made]:
    """The names that are assigned what a function returns, and where in it."""
    made: dict[str, Made] = {}
    for node in (node for node in ast.walk(scope) if isinstance(node, ast.Assign)):
        function, _ = _source(node.value, {}, functions)
        for target in node.targets if function else ():
            targets = enumerate(target.elts) if isinstance(target, ast.Tuple) else [(None, target)]
            made |= {one.id: (function, i) for i, one in targets if isinstance(one, ast.Name)}
    return made


def _reached(
    name: str, tops: Mapping[str, Definition], but: Collection[str | None]
) -> list[Definition]:
    """The definition and those that it calls, directly or not, ``but`` the layers."""
    found: list[Definition] = []
    left = [name]
    while left:
        one = left.pop()
        if one in tops and tops[one] not in found:
            found.append(tops[one])
            left += [_name(call) for call in _calls(tops[one]) if _name(call) not in but]
    return found


def _walk(*nodes: ast.AST) -> Iterator[ast.AST]:
    return (inner for node in nodes for inner in ast.walk(node))


def _calls(node: ast.AST) -> list[ast.Call]:
    return [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]


def _name(call: ast.Call) -> str:
    """The name of the function or method that is called."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


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
