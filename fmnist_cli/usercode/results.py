"""What a check of a user's code found: the values that terminal, JSON, CSV and pages read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped", "absent", "unclear"]
"""``skipped``: it could not be run, the message says why. ``absent``: the file has no such part
and need not have it. ``unclear``: a person must look."""
NOT_LOADED = "Not run: the file does not load."

HINT_LEVELS = (0, 1, 2)


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong, in three steps that never give the solution.

    Attributes
    ----------
    mistake : str
        The named mistake that gives these numbers to rounding; empty where none does.
    what : str
        What is wrong (hint level 0).
    where : str
        Layer, method and, where it can be known, the line (level 1).
    question : str
        A question that leads to the cause (level 2).
    """

    mistake: str
    what: str
    where: str = ""
    question: str = ""
    line: int | None = None

    def hints(self, level: int) -> list[str]:
        """The steps up to ``level``, each a sentence."""
        steps = (self.what, self.where and f"Look at {self.where}.", self.question)
        return [step for step in steps[: level + 1] if step]


@dataclass(frozen=True)
class CheckResult:
    """One check: held or not, and why.

    Attributes
    ----------
    check : str
        Its name, by which a rubric gives points.
    title : str
        What it is about, in words.
    message : str
        What was found, as a sentence; of a failed check without the diagnosis.
    figures : numbers by name, with units where they have any
    """

    check: str
    title: str
    status: Status
    message: str
    diagnosis: Diagnosis | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def mistake(self) -> str:
        """The named mistake; empty where there is none."""
        return self.diagnosis.mistake if self.diagnosis else ""

    def explanation(self, hints: int) -> list[str]:
        """The message and the hints up to a level."""
        return [self.message, *(self.diagnosis.hints(hints) if self.diagnosis else ())]


@dataclass(frozen=True)
class CheckReport:
    """All checks of one file (or of layers handed over in Python).

    Attributes
    ----------
    file : str
        The file's name, without its folder.
    sha256 : str
        Of the file's content; empty where there is no file.
    seconds : float
        Wall time of the checks.
    """

    file: str
    sha256: str
    results: tuple[CheckResult, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """No check failed, and at least one passed."""
        statuses = {result.status for result in self.results}
        return "failed" not in statuses and "passed" in statuses

    def count(self, status: Status) -> int:
        return sum(result.status == status for result in self.results)

    def result(self, check: str) -> CheckResult:
        """The result of one check, by its name; KeyError if it was not run."""
        for result in self.results:
            if result.check == check:
                return result
        raise KeyError(check)

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The names of the mistakes, in the order of the checks, each once."""
        return tuple(dict.fromkeys(r.mistake for r in self.results if r.mistake))

    def document(self, hints: int) -> dict[str, Any]:
        """The report as plain values, with hints up to a level."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "holds": self.holds,
            "seconds": self.seconds,
            "checks": [
                {
                    **{k: v for k, v in asdict(r).items() if k != "diagnosis"},
                    "mistake": r.mistake or None,
                    "line": r.diagnosis.line if r.diagnosis and hints >= 1 else None,
                    "hints": r.diagnosis.hints(hints) if r.diagnosis else [],
                }
                for r in self.results
            ],
        }
