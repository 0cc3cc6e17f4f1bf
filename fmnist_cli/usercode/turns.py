"""Where a backward pass leaves the way that the forward pass came: the judge of a ``route``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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

    def found(call: Mapping[str, Any], mistake: str, **values: str) -> Diagnosis:
        line = int(call["line"])
        return Place(f"{call['function']}, line {line}", line).diagnosis(mistake, **values)

    if calls and calls[0]["layer"] == 0 < last:
        return found(calls[0], "pass-order", layer=layers[0])
    same_mask = None
    for call in calls:
        place, x, grad = int(call["layer"]), str(call["x"]), str(call["grad"])
        if not 0 <= place <= last:
            continue
        layer = layers[place]
        due = "loss" if place == last else f"back {place + 1}"
        if kinds[place] == "relu" and x == f"out {place}":  # most often harmless
            x, same_mask = "own", call
        if x == due and grad == f"out {place - 1}":
            return found(call, "pass-arguments-exchanged", layer=layer)
        if x != "own":
            return found(call, "pass-wrong-input", layer=layer, given=_array_in_words(layers, x))
        if grad == due:
            continue
        kind, _, number = grad.partition(" ")
        end = len(kinds) if kind == "loss" else int(number) if kind == "back" else -1
        if place + 1 < end <= len(kinds):
            only_relu = set(kinds[place + 1 : end]) == {"relu"}
            return found(call, "pass-relu-skipped" if only_relu else "pass-layer-skipped",
                         left=" and ".join(layers[place + 1 : end]), layer=layer)  # fmt: skip
        return found(call, "pass-wrong-gradient", layer=layer, given=_array_in_words(layers, grad))
    reached = {call["layer"] for call in calls}
    missing = [i for i, kind in enumerate(kinds) if kind == "linear" and i not in reached]
    if calls and missing and not ended:
        which = {0: "pass-first-layer-missing", last: "pass-last-layer-missing"}
        return found(calls[-1], which.get(missing[0], "pass-layer-missing"),
                     layer=layers[missing[0]])  # fmt: skip
    if same_mask is not None and not ended:
        relu = layers[int(same_mask["layer"])]
        return found(same_mask, "pass-wrong-input", layer=relu, given="its own output")
    return None


def of_pass(named: Diagnosis, turn: Diagnosis | None) -> Diagnosis:
    """The better of two diagnoses of a wrong gradient: by its numbers, and by its route, which
    knows the line.

    To give relu the gradient as its input, and to send the gradient through relu's forward pass,
    are one in numbers.
    """
    if turn is None:
        return named
    given_as_input = turn.mistake in ("pass-wrong-input", "pass-arguments-exchanged")
    if not named.mistake or (named.mistake == "pass-relu-of-gradient" and given_as_input):
        return turn
    return replace(named, where=turn.where, line=turn.line)


def _in_words(kinds: Sequence[str], place: int) -> str:
    """A layer of the route, by its kind and, where there are several of it, by its number."""
    name = "relu" if kinds[place] == "relu" else "linear layer"
    number = kinds[: place + 1].count(kinds[place])
    if kinds.count(kinds[place]) > 1:
        return f"{name} {number}"
    return name if name == "relu" else f"the {name}"


def _array_in_words(layers: Sequence[str], name: str) -> str:
    kind, _, number = name.partition(" ")
    if name == "out -1":
        return "the images"
    if kind in ("out", "back") and 0 <= int(number) < len(layers):
        what = "the output of" if kind == "out" else "the gradient that came back from"
        return f"{what} {layers[int(number)]}"
    return "the gradient of the loss" if kind == "loss" else "an array that no layer got or gave"
