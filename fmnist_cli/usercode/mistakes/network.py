"""Mistakes in a gradient of which some entries are known, by differences."""

from __future__ import annotations

from dataclasses import dataclass

from fmnist_cli.usercode.cases import Array
from fmnist_cli.usercode.mistakes.mistake import Mistake


@dataclass(frozen=True)
class SampledCase:
    """Some entries of the right gradient, for a batch of N examples."""

    N: int
    right: Array


def gradient_mistakes(name: str) -> tuple[Mistake, ...]:
    """Those of the parameter of this name."""
    return (
        Mistake("gradient-zero", f"{name} gets no gradient.",
                "Is what backward computes put where gradients() finds it?", lambda c: 0 * c.right),
        Mistake("gradient-sign", f"{name} has the wrong sign.",
                "Where does descending the gradient put the minus?", lambda c: -c.right),
        Mistake("mean-missing", f"{name} is N times too large.",
                "dlogits has the loss's 1/N already: what multiplies by N?",
                lambda c: c.right * c.N),
        Mistake("mean-twice", f"{name} is N times too small.",
                "dlogits has the loss's 1/N already: who divides again?", lambda c: c.right / c.N),
    )  # fmt: skip
