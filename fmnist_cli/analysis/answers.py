"""What an answer is: a question, its verdict, a statement, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fmnist_cli.analysis.noise import n_test_images
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.sampling import accuracy_interval
from fmnist_cli.formatting import count_range, percent, pluralize

Verdict = Literal["yes", "no", "no counterexample", "no clear difference", "flat", "not settled"]
"""``no counterexample``: a universal claim that nothing here refutes. ``no clear difference``,
``flat``: within the noise. ``not settled``: the runs do not reach far enough to tell."""

Kind = Literal["universal", "trend", "comparison", "description"]


@dataclass(frozen=True)
class Answer:
    """The answer to one question of a study.

    Attributes
    ----------
    statement : str
        The verdict in a word or two, then at most two short sentences with at most four numbers.
    evidence : dict
        All numbers, as plain values that JSON can hold.
    kind : Kind
        As what the question was judged: a *universal* claim by a counterexample, a *trend* by its
        overall change, a *comparison* by the paired difference.
    """

    question: str
    verdict: Verdict
    statement: str
    evidence: dict[str, Any] = field(default_factory=dict)
    kind: Kind = "description"


def every_seed(n: int) -> str:
    """``both seeds``, ``all 3 seeds``."""
    return "both seeds" if n == 2 else f"all {n} seeds"


def opening(verdict: Verdict, n_seeds: int = 0) -> str:
    """How a statement begins: on one seed, and on few, it says so."""
    if verdict == "no counterexample":
        return "No counterexample among these settings."
    text = verdict[0].upper() + verdict[1:]
    if n_seeds == 1:
        return f"{text}, on this seed."
    if verdict == "yes" and 0 < n_seeds < 5:
        return f"{text}, in every seed."
    return f"{text}."


def study_note(runs: Sequence[RecordedRun]) -> str:
    """On how many seeds a study's answers rest, and what is left out: said once per study."""
    healthy = [run for run in runs if not run.diverged]
    notes = [basis((run.label, run.seed) for run in healthy), *_image_note(healthy)]
    diverged = [run for run in runs if run.diverged]
    interrupted = [run for run in runs if run.stop_reason == "interrupted"]
    limited = [run for run in healthy if run.still_improving]
    for counted, one, several in (
        (diverged, "diverged and is in no mean", "diverged and are in no mean"),
        (interrupted, "was interrupted", "were interrupted"),
        (limited, "was still improving at its epoch limit",
         "were still improving at their epoch limits"),
    ):  # fmt: skip
        if counted:
            labels = listing(dict.fromkeys(run.label or f"run {run.run.id}" for run in counted))
            n = len(counted)
            notes.append(f"{pluralize(n, 'run')} ({labels}) {one if n == 1 else several}.")
    return " ".join(notes)


def _image_note(runs: Sequence[RecordedRun]) -> list[str]:
    """Of one seed each: how far an accuracy is known, by Wilson's interval of its test images."""
    if len({(run.label, run.seed) for run in runs}) > len({run.label for run in runs}):
        return []
    known = [run for run in runs if run.test_accuracy is not None]
    if not known:
        return []
    best = max(known, key=lambda run: run.test_accuracy or 0.0)
    accuracy, n = best.test_accuracy or 0.0, n_test_images(best)
    low, high = accuracy_interval(accuracy, n)
    return [
        f"With {n:,} test images the 95 % interval of {percent(accuracy, 1)} is "
        f"{percent(low, 1)} to {percent(high, 1)} (Wilson)."
    ]


def basis(runs: Iterable[tuple[str, int]]) -> str:
    """On how many seeds a comparison rests, from the (condition, seed) of its runs."""
    seeds_of: dict[str, set[int]] = {}
    for label, seed in runs:
        seeds_of.setdefault(label, set()).add(seed)
    seeds = set().union(*seeds_of.values())
    counts = sorted({len(of_one) for of_one in seeds_of.values()})
    if not counts:
        return "There are no runs."
    if counts == [1]:
        if len(seeds) == 1:
            return f"One seed ({seeds.pop()})."
        return "One seed each, not the same for all."
    each = count_range(counts)
    if counts[-1] < 5:
        return (
            f"{each} seeds are too few for an interval: a difference is clear where every seed "
            "shows it beyond its noise."
        )
    return f"{each} seeds; comparisons share 5 % (Holm)."


def listing(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; nothing for nothing.

    Semicolons stand between what has commas itself.
    """
    *head, last = [*items] or [""]
    separator = "; " if any(", " in item for item in (*head, last)) else ", "
    return f"{separator.join(head)} and {last}" if head else last


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
