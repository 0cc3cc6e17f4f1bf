"""How long two trainings on the same batches follow the same curve, and to which digit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

PARTED = 1e-5
"""From this relative difference of their losses on, two curves are no longer the same."""


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
