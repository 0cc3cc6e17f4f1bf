"""Where a backward pass leaves the way that the forward pass came: the judge of a ``route``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.results import Diagnosis


def wrong_turn(route: Mapping[str, Any], *, ended: bool = False) -> Diagnosis | None:
    """Where a backward pass leaves the way that the forward pass came; None where it does not.

    ``ended``: it broke off, so that what it has not reached yet is not missing.
    """
    kinds, calls = [str(kind) for kind in route["kinds"]], list(route["calls"])
    layers = [_in_words(kinds, i) for i in range(len(kinds))]
    last = len(kinds) - 1

    def found(call: Mapping[str, Any], name: str, what: str, question: str) -> Diagnosis:
        line = int(call["line"])
        return Place(f"{call['function']}, line {line}", line).diagnosis(name, what, question)

    if calls and calls[0]["layer"] == 0 < last:
        return found(calls[0], "pass-order", f"The backward pass begins with {layers[0]}.",
                     "Which layer's gradient can be known first: that of the one next to the loss, "
                     "or of the one next to the images?")  # fmt: skip
    for call in calls:
        place = int(call["layer"])
        if not 0 <= place <= last:
            continue
        layer = layers[place]
        harmless = kinds[place] == "relu" and call["x"] == f"out {place}"  # the same mask
        if call["x"] != "own" and not harmless:
            return found(call, "pass-wrong-input", f"The backward pass of {layer} is given "
                         f"{_array_in_words(layers, call['x'])} as X.",
                         f"What went into {layer} on the way forward?")  # fmt: skip
        due = "loss" if place == last else f"back {place + 1}"
        if call["grad"] == due:
            continue
        kind, _, number = str(call["grad"]).partition(" ")
        if (kind == "back" and place + 1 < int(number) <= last) or kind == "loss":
            end = len(kinds) if kind == "loss" else int(number)
            left = " and ".join(layers[place + 1 : end])
            name = "pass-relu-skipped" if set(kinds[place + 1 : end]) == {"relu"} else (
                "pass-layer-skipped")  # fmt: skip
            return found(call, name, f"The gradient goes round {left} on its way back to {layer}.",
                         "In which order do the layers run forward, and which of them does the "
                         "backward pass leave out?")  # fmt: skip
        return found(call, "pass-wrong-gradient", f"The backward pass of {layer} is given "
                     f"{_array_in_words(layers, call['grad'])} as its gradient.",
                     f"Which layer comes after {layer}, and what did its backward pass return?"
                     )  # fmt: skip
    reached = {call["layer"] for call in calls}
    for i, kind in enumerate(kinds):
        if calls and kind == "linear" and i not in reached and not ended:
            name = {0: "pass-first-layer-missing", last: "pass-last-layer-missing"}.get(
                i, "pass-layer-skipped")  # fmt: skip
            return found(calls[-1], name, f"The backward pass leaves out {layers[i]}.",
                         "Through which layers did the forward pass go?")  # fmt: skip
    return None


def of_pass(named: Diagnosis, turn: Diagnosis | None) -> Diagnosis:
    """The better of two diagnoses of a wrong gradient: by its numbers, and by its route.

    To give relu the gradient as its input, and to send the gradient through relu's forward pass,
    are one in numbers.
    """
    if turn is None:
        return named
    of_relu = named.mistake == "pass-relu-of-gradient" and turn.mistake == "pass-wrong-input"
    return turn if of_relu or not named.mistake else named


def _in_words(kinds: Sequence[str], place: int) -> str:
    """A layer of the route, by its kind and, where there are several of it, by its number."""
    name = "relu" if kinds[place] == "relu" else "linear layer"
    number = kinds[: place + 1].count(kinds[place])
    return f"{name} {number}" if kinds.count(kinds[place]) > 1 else f"the {name}".replace(
        "the relu", "relu")  # fmt: skip


def _array_in_words(layers: Sequence[str], name: str) -> str:
    kind, _, number = name.partition(" ")
    if kind == "out" and number == "-1":
        return "the images"
    if kind in ("out", "back") and 0 <= int(number) < len(layers):
        what = "the output of" if kind == "out" else "the gradient that came back from"
        return f"{what} {layers[int(number)]}"
    return "the gradient of the loss" if kind == "loss" else ("an array that no layer got or gave")
