"""Comparing two runs epoch by epoch: a repetition, or two trainings on the same batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fmnist_cli.epoch import Epoch

ROUNDING = 1e-3
"""Losses that differ by less, relatively, and accuracies by at most as much, are close."""

PARTED = 1e-5
"""From this relative difference of their losses on, two curves are no longer the same."""

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


@dataclass(frozen=True)
class Agreement:
    """Two curves, epoch by epoch.

    Attributes
    ----------
    epochs : int
        From the first on, the epochs that agree.
    largest : float
        The largest relative difference in these.
    parted_by : float or None
        The relative difference in the epoch after them; None where there is none.
    """

    epochs: int
    largest: float
    parted_by: float | None


def agreement(first: Iterable[float], second: Iterable[float]) -> Agreement:
    """Compare two curves of losses up to the epoch in which they part, or one ends."""
    epochs, largest = 0, 0.0
    for a, b in zip(first, second, strict=False):
        gap = abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
        if not gap < PARTED:
            return Agreement(epochs, largest, gap)
        epochs, largest = epochs + 1, max(largest, gap)
    return Agreement(epochs, largest, None)


def agreement_statement(found: Agreement) -> str:
    """``epochs 1 to 8 agree to 1e-12``, and where they part."""
    parts = []
    if found.epochs:
        which = f"epochs 1 to {found.epochs}" if found.epochs > 1 else "epoch 1"
        verb = "agree" if found.epochs > 1 else "agrees"
        power = math.ceil(math.log10(found.largest)) if found.largest else None
        parts.append(f"{which} {verb} {'exactly' if power is None else f'to 1e{power:03d}'}")
    if found.parted_by is not None:
        parts.append(f"they part in epoch {found.epochs + 1}, by {found.parted_by:.1g} of the loss")
    return "; ".join(parts) or "there is no epoch in both"
