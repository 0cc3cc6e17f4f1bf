"""Which named mistake gives the user's numbers, or made the turn that a backward pass took.

Where none does, what is known of the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import Array
from fmnist_cli.usercode.locate import Place
from fmnist_cli.usercode.mistakes import Mistake
from fmnist_cli.usercode.results import Diagnosis

TOLERANCE = 1e-5
"""Largest difference beside the largest entry that is rounding: float32 is as good as float64."""

LOW_PRECISION = 2e-3
"""Below this the difference is that of half precision (11 bits)."""


@dataclass(frozen=True)
class Observed:
    """What the user's code gave in one case."""

    array: Any = None  # or a mapping of arrays; None: it gave none, or raised
    kind: str = ""  # the type of what it gave
    error: str = ""  # what it raised, as a sentence
    line: int | None = None
    whole: bool = False  # the array's type is one of whole numbers
    tolerance: float = TOLERANCE  # the difference beside the largest entry that is rounding

    @property
    def raised(self) -> bool:
        return bool(self.error)


def close(a: Array, b: Array, tolerance: float = TOLERANCE) -> bool:
    """Equal to rounding, in the same shape."""
    if a.shape != b.shape or not np.isfinite(a).all():
        return False
    scale = float(np.abs(b).max(initial=0.0))
    return bool(np.abs(a - b).max(initial=0.0) <= tolerance * max(scale, 1e-12))


def agrees(observed: Any, expected: Any, tolerance: float = TOLERANCE) -> bool:
    """``close`` for arrays, for mappings of arrays, and for nothing at all."""
    if isinstance(expected, Mapping):
        return isinstance(observed, Mapping) and all(
            agrees(observed.get(name), value) for name, value in expected.items()
        )
    if expected is None or observed is None:
        return expected is observed
    expected = np.asarray(expected)
    if expected.ndim == 1 and observed.shape == (1, *expected.shape):
        observed = observed[0]  # a bias or its gradient as a row: (1, H) for (H,)
    return close(observed, expected, tolerance)


@dataclass(frozen=True)
class Probe:
    """A case, what is right for it, and what the user's code gave."""

    case: Any
    right: Any
    seen: Observed

    @property
    def agrees(self) -> bool:
        return self.is_given(self.right)

    def is_given(self, value: Any) -> bool:
        return not self.seen.raised and agrees(self.seen.array, value, self.seen.tolerance)


def name_mistake(mistakes: Sequence[Mistake], probes: Sequence[Probe]) -> Mistake | None:
    """The first mistake that agrees with what was given in every probe, and is one.

    Where the user's code raised, the mistake must raise too.
    """
    for candidate in mistakes:
        mistake = _fitted(candidate, probes)
        if mistake is None:
            continue
        distinct = False
        for probe in probes:
            try:
                given = mistake.gives(probe.case)
            except (ValueError, IndexError):
                if not probe.seen.raised:
                    break
                continue
            if not probe.is_given(given):
                break
            distinct |= not agrees(given, probe.right)
        else:
            if distinct:
                return mistake
    return None


def _fitted(mistake: Mistake, probes: Sequence[Probe]) -> Mistake | None:
    """The mistake with its multiple put in: the one by which it is nearest to all cases."""
    along = mistake.along
    if along is None:
        return mistake
    above = below = 0.0
    for probe in probes:
        given, step = _flat(mistake.gives(probe.case)), _flat(along(probe.case))
        got = _flat(probe.seen.array)
        if got is None or got.shape != given.shape:
            return None
        above, below = above + float(step @ (got - given)), below + float(step @ step)
    multiple = above / below if below and np.isfinite(above) else 0.0
    return replace(
        mistake,
        what=mistake.what.format(c=multiple),
        gives=lambda case: _plus(mistake.gives(case), multiple, along(case)),
    )


def _flat(value: Any) -> Any:
    """An array, or a mapping of arrays, as one row of numbers; None where one is missing."""
    parts = [value[name] for name in sorted(value)] if isinstance(value, Mapping) else [value]
    if any(part is None for part in parts):
        return None
    return np.concatenate([np.ravel(part) for part in parts])


def _plus(value: Any, multiple: float, step: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: value[name] + multiple * step[name] for name in value}
    return value + multiple * step


def _of_any_array(probes: Sequence[Probe], place: Place, name: str) -> Diagnosis | None:
    """What can happen to any array: its type, or a cut."""
    pairs = [(probe.seen.array, np.asarray(probe.right)) for probe in probes]
    if any(not isinstance(a, np.ndarray) or a.size != r.size for a, r in pairs):
        return None
    pairs = [(a.reshape(r.shape), r) for a, r in pairs]
    if any(probe.seen.whole for probe in probes):
        return place.diagnosis("integer-array", name=name)
    gap = max(np.abs(a - r).max(initial=0) / np.abs(r).max(initial=1e-12) for a, r in pairs)
    if gap < LOW_PRECISION:
        return place.diagnosis("low-precision", name=name, digits=-np.log10(gap))
    top = max(np.abs(a).max(initial=0) for a, _ in pairs)
    if top > 0 and all(close(a, np.clip(r, -top, top)) for a, r in pairs):
        return place.diagnosis("clipped", name=name, top=top)
    return None


def diagnose(
    mistakes: Sequence[Mistake], probes: Sequence[Probe], place: Place, name: str
) -> Diagnosis:
    """The named mistake, or what is known; ``name`` is what the array is called ("dW")."""
    mistake = name_mistake(mistakes, probes)
    if mistake is not None:
        return place.says(mistake.what, mistake.question, mistake=mistake.name)
    known = _of_any_array(probes, place, name)
    if known is not None:
        return known
    raised = next((probe.seen for probe in probes if probe.seen.raised), None)
    if raised is not None:
        line = raised.line or place.line
        where = f"{place.text.partition(', line')[0]}, line {line}" if line else place.text
        return Place(where, line).says(
            raised.error, "Write the shapes of the arrays in that line side by side: "
            "which of them do not fit, and which shape should the result have?",
        )  # fmt: skip
    return place.says(_describe(probes, name), "None of the mistakes that fmnist knows gives these "
                      "numbers. What is special about the entries that are wrong?")  # fmt: skip


def _describe(probes: Sequence[Probe], name: str) -> str:
    """What is known of arrays that no named mistake gives."""
    probe = next(probe for probe in probes if not probe.agrees)
    seen, expected = probe.seen, probe.right
    if isinstance(expected, Mapping):
        first, *rest = [n for n, value in expected.items() if not agrees(seen.array.get(n), value)]
        one = Probe(probe.case, expected[first], Observed(seen.array.get(first)))
        others = f" ({', '.join([first, *rest])} are wrong.)" if rest else ""
        fine = [n for n in expected if n not in (first, *rest)]
        verb = "is" if len(fine) == 1 else "are"
        also = f" {', '.join(fine)} {verb} right." if fine else ""
        return f"{_describe([one], first)}{others}{also}"
    array, expected = seen.array, np.asarray(expected)
    if array is None:
        return f"{name} must be an array. Received: {seen.kind or 'nothing'}."
    if array.shape != expected.shape and array.shape != (1, *expected.shape):
        return f"{name} must have the shape {expected.shape}. Received: {array.shape}."
    array = array.reshape(expected.shape)
    finite = np.isfinite(array)
    if not finite.all():
        return f"{int((~finite).sum())} of {array.size} entries of {name} are not finite."
    factors = _factors(probes)
    if factors:
        return f"{name} is a multiple of the right one: {', '.join(factors)}."
    wrong = ~np.isclose(array, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())
    also = " They are zero." if not array[wrong].any() else ""
    if close(np.abs(array), np.abs(expected)):
        also = " Their sizes are right, their signs are not."
    return f"{_which(wrong, name)}{also}"


def _factors(probes: Sequence[Probe]) -> list[str]:
    """The factor of every case, where each array is a multiple of the right one."""
    factors = []
    for probe in probes:
        array, expected = probe.seen.array, np.asarray(probe.right)
        if array is None or array.size != expected.size or not hasattr(probe.case, "N"):
            return []
        array = array.reshape(expected.shape)
        factor = float((array * expected).sum()) / (float((expected * expected).sum()) or np.inf)
        if not close(array, factor * expected, probe.seen.tolerance):
            return []
        factors.append(f"{factor:.4g} at N = {probe.case.N}")
    return factors


def _which(wrong: Array, name: str) -> str:
    n, size = int(wrong.sum()), wrong.size
    if wrong.ndim == 2 and n < size:
        for axis, word in ((1, "rows"), (0, "columns")):
            lines = wrong.all(axis=axis)
            if int(lines.sum()) * wrong.shape[axis] == n:
                indices = ", ".join(map(str, np.flatnonzero(lines)[:8]))
                return f"{name} is wrong in the {word} {indices} and right elsewhere."
    return f"{'All' if n == size else f'{n} of the'} {size} entries of {name} are wrong."


def wrong_turn(route: Mapping[str, Any], *, ended: bool = False) -> Diagnosis | None:
    """Where a backward pass leaves the way that the forward pass came; None where it does not.

    ``ended``: it broke off, so that what it has not reached yet is not missing.
    """
    kinds, calls = [str(kind) for kind in route["kinds"]], list(route["calls"])
    layers = [_layer_in_words(kinds, i) for i in range(len(kinds))]
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


def _layer_in_words(kinds: Sequence[str], place: int) -> str:
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
