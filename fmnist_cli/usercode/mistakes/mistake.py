"""A mistake: a function from a case to the array that somebody who made it would have got."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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
