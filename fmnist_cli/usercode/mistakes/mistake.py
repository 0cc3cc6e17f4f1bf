"""A mistake: a function from a case to the array that somebody who made it would have got."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fmnist_cli.usercode.cases import Array


@dataclass(frozen=True)
class Mistake:
    """A mistake with a name.

    What ``gives`` raises is what the mistake raises: shapes that do not fit. A multiple of what
    ``along`` gives is added: any, but the same one in every case.
    """

    name: str
    what: str  # as a sentence; ``{c}`` in it is that multiple
    question: str  # what to ask oneself to find the cause
    gives: Callable[[Any], Any]  # the array, or the arrays by name
    along: Callable[[Any], Any] | None = None


def variants(
    name: str, what: str, question: str, *gives: Callable[[Any], Any]
) -> tuple[Mistake, ...]:
    """One mistake that gives one array or another."""
    return tuple(Mistake(name, what, question, one) for one in gives)


SUM = "The loss is a mean over the batch, and its 1/N is in the gradient that comes in already. "


def scaled(part: str, right: Callable[[Any], Array]) -> tuple[Mistake, ...]:
    """The right array times a factor that the shapes give."""
    return (
        Mistake(f"{part}-divided-by-N",
                f"{part} is N times too small: it is divided by the batch size once more.",
                SUM + "Who divides a second time?", lambda c: right(c) / len(c.X)),
        Mistake(f"{part}-times-N", f"{part} is N times too large.",
                SUM + "What multiplies by the batch size here?", lambda c: right(c) * len(c.X)),
        Mistake(f"{part}-divided-by-D", f"{part} is divided by the number of inputs.",
                "Which axis of X counts the examples, and which the inputs? Is a division due at "
                "all?", lambda c: right(c) / c.X.shape[1]),
        Mistake(f"{part}-divided-by-outputs",
                f"{part} is divided by the number of columns of the gradient that comes in.",
                "Which axis of grad counts the examples? Is a division due at all?",
                lambda c: right(c) / c.G.shape[1]),
        Mistake(f"{part}-sign", f"{part} has the wrong sign.",
                "Backward computes the gradient; where does descending it put the minus?",
                lambda c: -right(c)),
        Mistake(f"{part}-doubled", f"{part} is twice what it should be.",
                "Is the same contribution added twice, or a factor taken from a squared loss?",
                lambda c: 2 * right(c)),
    )  # fmt: skip
