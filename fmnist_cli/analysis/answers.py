"""What an answer is: a question, its verdict, a statement, and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["yes", "no", "not settled"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy in [0, 1] of one trained model on one named test set."""

    model: str
    seed: int
    set_name: str
    accuracy: float


@dataclass(frozen=True)
class Answer:
    """The answer to one question of a study.

    Attributes
    ----------
    question : str
    verdict : {"yes", "no", "not settled"}
    statement : str
        A few plain sentences with the numbers, and on how many seeds they rest.
    evidence : dict
        The same numbers as plain values that JSON can hold.
    """

    question: str
    verdict: Verdict
    statement: str
    evidence: dict[str, Any] = field(default_factory=dict)
