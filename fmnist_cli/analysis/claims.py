"""Does a measure rise (or fall) with every step from one setting to the next?

A claim such as "a larger batch gives a higher test accuracy" is tested on each adjacent pair of
settings. It holds if every pair shows it, it fails if one pair shows the opposite or a tie, and
it is not settled otherwise. With several seeds a pair shows something if its confidence
interval excludes 0; the level is raised with the number of pairs (Bonferroni), so that a claim
about identical settings fails in at most one study in twenty.

A run that was still improving at its epoch limit gives lower bounds: its best model is further
on. Such a value can be the larger of a pair, never the smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from fmnist_cli.analysis.answers import Verdict
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import LEVEL, Interval, difference, mean_interval
from fmnist_cli.formatting import pluralize

Outcome = Literal["holds", "fails", "open"]
OPENINGS: dict[Verdict, str] = {"yes": "Yes.", "no": "No.", "not settled": "Not settled."}


@dataclass(frozen=True)
class Measure:
    """A number that every run has.

    Attributes
    ----------
    name : str
        With its unit, such as ``seconds to the best model``.
    value
        The number of one run, or None.
    show
        The number as statements write it.
    lower_bound : bool
        Whether a run at its epoch limit gives a lower bound only.
    """

    name: str
    value: Callable[[RecordedRun], float | None]
    show: Callable[[float], str]
    lower_bound: bool = False


@dataclass(frozen=True)
class Setting:
    """The runs of one label that have a value: by seed."""

    label: str
    values: dict[int, float]
    at_limit: bool

    @property
    def interval(self) -> Interval:
        return mean_interval(list(self.values.values()))


@dataclass(frozen=True)
class Pair:
    """Two settings, the second larger, and what the step between them shows.

    Attributes
    ----------
    noisy : bool
        Open because its interval includes 0 and for nothing else: seeds enough would settle it
        the way its mean points.
    """

    first: Setting
    second: Setting
    difference: Interval
    outcome: Outcome
    noisy: bool


@dataclass(frozen=True)
class Claim:
    """A claim, judged.

    Attributes
    ----------
    rises : bool
        Whether the claim is that the measure rises from setting to setting, or falls.
    missing : tuple of str
        Labels with a run that diverged or has no value; that run is left out.
    """

    measure: Measure
    rises: bool
    settings: tuple[Setting, ...]
    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        outcomes = {pair.outcome for pair in self.pairs}
        if "fails" in outcomes:
            return "no"
        return "yes" if outcomes == {"holds"} and not self.missing else "not settled"

    @property
    def more_seeds(self) -> int | None:
        """About how many more seeds would settle every noisy pair.

        None if there is none, or 1,000 would not do.
        """
        needed = [pair.difference.more_needed for pair in self.pairs if pair.noisy]
        known = [k for k in needed if k is not None]
        return max(known) if known and len(known) == len(needed) else None

    @property
    def best(self) -> Setting:
        """The setting with the largest mean if the claim is that it rises, else the smallest."""
        sign = 1 if self.rises else -1
        return max(self.settings, key=lambda setting: sign * setting.interval.mean)

    def evidence(self) -> dict[str, Any]:
        return {
            "measure": self.measure.name,
            "verdict": self.verdict,
            "settings": [
                {
                    "label": s.label,
                    **plain(s.interval),
                    "values_by_seed": {str(seed): value for seed, value in s.values.items()},
                    "lower_bound": s.at_limit,
                }
                for s in self.settings
            ],
            "steps": [
                {
                    "from": pair.first.label,
                    "to": pair.second.label,
                    **plain(pair.difference),
                    "outcome": pair.outcome,
                }
                for pair in self.pairs
            ],
            "left_out": list(self.missing),
            "more_seeds": self.more_seeds,
        }

    def sentences(self) -> list[str]:
        """The numbers, the step that decides, and what is open."""
        if len(self.settings) < 2:
            return [f"{sentence(self.measure.name)}: two settings with a result are needed."]
        show = self.measure.show
        numbers = ", ".join(
            f"{'at least ' if s.at_limit else ''}{show(s.interval.mean)} at {s.label}"
            for s in self.settings
        )
        said = [f"{sentence(self.measure.name)}: {numbers}."]
        failed = [pair for pair in self.pairs if pair.outcome == "fails"]
        unsettled = [pair for pair in self.pairs if pair.outcome == "open"]
        if failed:
            steps = listing(self._step(pair) for pair in failed)
            said.append(f"Against it: {steps}.")
        elif unsettled:
            said.append(f"Open: {listing(self._step(pair) for pair in unsettled)}.")
            said.extend(self._advice(unsettled))
        elif self.missing:
            said.append("Every step between the runs with a result shows it.")
        else:
            said.append("Every step shows it.")
        if len(self.settings) > 2:
            first, last = self.settings[0], self.settings[-1]
            said.append(
                f"Overall, from {first.label} to {last.label}: "
                f"{show(first.interval.mean)} to {show(last.interval.mean)}."
            )
        return said

    def _step(self, pair: Pair) -> str:
        show, step = self.measure.show, pair.difference
        before, after = show(pair.first.interval.mean), show(pair.second.interval.mean)
        text = f"{pair.first.label} to {pair.second.label} "
        text += f"({before} to {after}" if step.mean or before != after else "(no change"
        if step.low is not None and step.high is not None:
            text += f", {level(step)} interval of the change {signed(step.low, show)} to "
            text += signed(step.high, show)
        return text + ")"

    def _advice(self, unsettled: Sequence[Pair]) -> list[str]:
        if not all(pair.noisy for pair in unsettled):  # more seeds alone would not do
            return ["More epochs are needed: a value of a run at its limit is a lower bound."]
        if self.more_seeds is not None:
            return [f"About {pluralize(self.more_seeds, 'more seed')} would settle it."]
        return ["More than 1,000 more seeds would be needed to settle it."]


def judge(runs: Sequence[RecordedRun], measure: Measure, *, rises: bool) -> Claim:
    """Judge the claim that the measure rises (or falls) from each label to the next.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In the order of the settings; runs of one label are grouped.
    """
    settings: list[Setting] = []
    missing: list[str] = []
    for label in dict.fromkeys(run.label for run in runs):
        of_one = [run for run in runs if run.label == label]
        values = {}
        for run in of_one:
            value = None if run.diverged else measure.value(run)
            if value is not None:
                values[run.seed] = value
        if len(values) < len(of_one):
            missing.append(label)
        if values:
            at_limit = measure.lower_bound and any(r.at_limit for r in of_one if r.seed in values)
            settings.append(Setting(label, values, at_limit))
    corrected = 1 - (1 - LEVEL) / max(1, len(settings) - 1)
    pairs = []
    for first, second in pairwise(settings):
        step = difference(first.values, second.values, corrected)
        outcome = _outcome(first, second, step.sign, rises)
        settled = _outcome(first, second, (step.mean > 0) - (step.mean < 0), rises)
        noisy = step.sign is None and settled != "open"
        pairs.append(Pair(first, second, step, outcome, noisy))
    return Claim(measure, rises, tuple(settings), tuple(pairs), tuple(missing))


def _outcome(first: Setting, second: Setting, sign: int | None, rises: bool) -> Outcome:
    smaller, larger = (first, second) if rises else (second, first)  # if the claim holds
    if sign is None:
        return "open"
    if sign == (1 if rises else -1):
        return "open" if smaller.at_limit else "holds"
    return "open" if larger.at_limit else "fails"


def caveats(runs: Sequence[RecordedRun], *, limits: bool = True) -> list[str]:
    """Sentences about runs that diverged, were cut short, or hit their limit, and the seeds."""
    diverged = [run.label for run in runs if run.diverged]
    interrupted = [run.label for run in runs if run.stop_reason == "interrupted"]
    improving = [run.label for run in runs if limits and run.still_improving and not run.diverged]
    said = [
        sentence(f"{listing(labels)} {one if len(labels) == 1 else several}.")
        for labels, one, several in (
            (
                dict.fromkeys(diverged),
                "diverged and is left out",
                "diverged and are left out",
            ),
            (dict.fromkeys(interrupted), "was interrupted", "were interrupted"),
            (
                dict.fromkeys(improving),
                "was still improving at its epoch limit",
                "were still improving at their epoch limits",
            ),
        )
        if labels
    ]
    return [*said, basis((run.label, run.seed) for run in runs)]


def basis(runs: Iterable[tuple[str, int]]) -> str:
    """On how many seeds a comparison rests, from the (setting, seed) of its runs."""
    seeds_of: dict[str, set[int]] = {}
    for label, seed in runs:
        seeds_of.setdefault(label, set()).add(seed)
    seeds = set().union(*seeds_of.values())
    counts = sorted({len(of_one) for of_one in seeds_of.values()})
    if not counts:
        return "There are no runs."
    if counts == [1]:
        if len(seeds) == 1:
            return f"This rests on one seed ({seeds.pop()})."
        return "This rests on one seed a setting, not the same for all."
    if len(counts) == 1:
        return f"n = {counts[0]} seeds."
    return f"n = {counts[0]} to {counts[-1]} seeds."


def plain(interval: Interval) -> dict[str, Any]:
    """The interval for an evidence dictionary."""
    return {
        "n": interval.n,
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "more_seeds": interval.more_needed,
    }


def spread(interval: Interval) -> str:
    """`` (95 % interval a to b)``, or nothing with one value."""
    if interval.low is None or interval.high is None:
        return ""
    return f" ({level(interval)} interval {signed(interval.low)} to {signed(interval.high)})"


def level(interval: Interval) -> str:
    return f"{100 * interval.level:.4g} %"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def listing(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def accuracy(value: float) -> str:
    return f"{value:.4f}"


def signed(value: float, show: Callable[[float], str] = accuracy) -> str:
    """A change: its sign, and its size as the measure writes it."""
    return f"{'+' if value > 0 else '-'}{show(abs(value))}" if value else "0"


def seconds(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"
