"""Comparing a run with the one that repeats it, and the environments of the two."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fmnist_cli.epoch import Epoch

ROUNDING = 1e-3
"""Losses that differ by less, relatively, and accuracies by at most as much, are close."""

COMPARED = (
    *("updates", "running_loss", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    *("test_loss", "test_accuracy", "dead_units"),
)

Verdict = Literal["identical", "close", "different"]


@dataclass(frozen=True)
class Comparison:
    """What the comparison of two curves came to.

    Attributes
    ----------
    first_difference : int or None
        The first epoch of which any number is another one.
    first_beyond_rounding : int or None
        The first that differs by more than rounding explains, or that one run does not have.
    largest : float
        The largest relative difference of a loss.
    """

    n: int
    first_difference: int | None
    first_beyond_rounding: int | None
    largest: float

    @property
    def verdict(self) -> Verdict:
        if self.first_beyond_rounding is not None:
            return "different"
        return "identical" if self.first_difference is None else "close"


def compare_curves(recorded: Sequence[Epoch], again: Sequence[Epoch]) -> Comparison:
    """Compare all numbers but the times."""
    first_difference = first_beyond = None
    largest = 0.0
    for one, other in zip(recorded, again, strict=False):
        for name in COMPARED:
            a, b = getattr(one, name), getattr(other, name)
            if a == b or (a != a and b != b):  # NaN is the same as NaN here
                continue
            first_difference = first_difference or one.epoch
            if name == "dead_units":
                continue  # a count that rounding can tip
            if not _close(name, a, b):
                first_beyond = first_beyond or one.epoch
            elif name.endswith("loss"):
                largest = max(largest, abs(a - b) / max(abs(a), abs(b)))
    n = min(len(recorded), len(again))
    if len(recorded) != len(again):
        first_difference = first_difference or n + 1
        first_beyond = first_beyond or n + 1
    return Comparison(n, first_difference, first_beyond, largest)


def environment_differences(
    recorded: Mapping[str, Any], present: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """What differs between two environments: the name, what it was, what it is."""
    before, now = (
        dict(_flat({k: v for k, v in one.items() if k != "resumed"})) for one in (recorded, present)
    )
    return [
        (name, before.get(name), now.get(name))
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _close(name: str, a: float | None, b: float | None) -> bool:
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return False
    if name.endswith("loss"):
        return math.isclose(a, b, rel_tol=ROUNDING)
    return name != "updates" and abs(a - b) <= ROUNDING


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = {str(i): item for i, item in enumerate(value, start=1)}.items()
    else:
        yield where, value
        return
    for key, item in items:
        yield from _flat(item, f"{where}.{key}" if where else str(key))
