"""Claims about a measure over several conditions, judged as what they are.

A *trend* ("a larger batch gives a higher accuracy") is judged by the change from the first
condition to the last; a step that clearly goes against it is named. A *universal* claim ("a smaller
batch guarantees faster training") is refuted by one clear counterexample and proved by none. All
comparisons of a study share 5 % (``share``): half for the overall changes, half for the other
pairs.

A run that was still improving at its epoch limit gives a lower bound: its best model is further
on. A comparison that such a bound could turn is not called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any

from fmnist_cli.analysis.answers import Answer, Kind, Verdict, opening, sentence
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import (
    SEEDS_FOR_INTERVAL,
    Contrast,
    Sample,
    Scale,
    contrast,
    mean_interval,
    share_level,
)
from fmnist_cli.formatting import percent, pluralize

ROUNDING = 1 / math.sqrt(12)  # standard deviation of what rounding to a whole step hides


@dataclass(frozen=True)
class Measure:
    """A number that every run has.

    Attributes
    ----------
    name : str
        As a sentence names it, such as ``seconds to the best model``.
    value
        The number of one run, or None.
    show
        The number as statements write it.
    scale : {"ratio", "share", "plain"}
        How two are compared.
    noise
        Standard deviation of one run's value, on the scale, as far as a single run tells.
    step
        What the value is a multiple of, such as the updates of an epoch; 0 where of nothing.
    bound
        1 if the run's true value is this or more, -1 if this or less, 0 if it is known.
    """

    name: str
    value: Callable[[RecordedRun], float | None]
    show: Callable[[float], str]
    scale: Scale
    noise: Callable[[RecordedRun], float]
    step: Callable[[RecordedRun], float] = lambda run: 0.0
    bound: Callable[[RecordedRun], int] = lambda run: 0

    def show_change(self, change: float) -> str:
        """A difference in points, or a ratio as a factor above 1."""
        if self.scale == "ratio":
            return factor(max(change, 1 / change))
        return f"{100 * change if self.scale == 'share' else change:+.1f}"


@dataclass(frozen=True)
class Condition:
    """The runs of one label that have a value; repetitions of a seed are one observation."""

    label: str
    sample: Sample
    bound: int

    @property
    def values(self) -> Mapping[int, float]:
        return self.sample.values

    @property
    def mean(self) -> float:
        return self.sample.mean


@dataclass(frozen=True)
class Claim:
    """A claim over conditions in their order, with the contrast of every pair.

    Attributes
    ----------
    rises : bool
        Whether the claim is that the measure rises from condition to condition, or falls.
    contrasts : mapping
        By the places (i, j), i < j, of the two conditions.
    left_out : tuple of str
        Labels with a run that diverged or has no value; that run is left out.
    """

    measure: Measure
    rises: bool
    conditions: tuple[Condition, ...]
    contrasts: Mapping[tuple[int, int], Contrast]
    left_out: tuple[str, ...]

    @property
    def n(self) -> int:
        """Seeds of the condition that has fewest."""
        return min((len(condition.values) for condition in self.conditions), default=0)

    @property
    def overall(self) -> Contrast:
        return self.contrasts[0, len(self.conditions) - 1]

    @property
    def best(self) -> Condition:
        """The condition with the largest mean if the claim is that it rises, else the smallest."""
        sign = 1 if self.rises else -1
        return max(self.conditions, key=lambda condition: sign * condition.mean)

    def shows(self, i: int, j: int) -> int:
        """1 if the step from i to j clearly supports the claim, -1 if it refutes it, else 0."""
        found = self.contrasts[i, j]
        first, second = self.conditions[i], self.conditions[j]
        if not found.clear or first.bound * found.direction > 0:
            return 0
        if second.bound * found.direction < 0:
            return 0
        return found.direction if self.rises else -found.direction

    def alone(self, i: int, j: int) -> Contrast:
        """The contrast of two conditions by itself, as if nothing else were compared."""
        return contrast(self.conditions[i].sample, self.conditions[j].sample, self.measure.scale)

    def beaten(self) -> list[Condition]:
        """The conditions that the best one beats in these seeds, which is no claim about others.

        With one seed: by more than its noise. With two to four: in every seed. From five on:
        clearly.
        """
        place = self.conditions.index(self.best)
        found = []
        for i, other in enumerate(self.conditions):
            if i == place:
                continue
            one = self.alone(i, place)
            better = one.direction == (1 if self.rises else -1)
            shared = one.n == len(other.values.keys() & self.best.values.keys())
            if other not in self.rivals() or (
                better and (one.clear if one.n == 1 else one.agree and shared)
                and one.n < SEEDS_FOR_INTERVAL
            ):  # fmt: skip
                found.append(other)
        return found

    def against(self) -> list[tuple[int, int]]:
        """The pairs that refute the claim, adjacent ones first, then by the size of the change."""
        found = [pair for pair in self.contrasts if self.shows(*pair) == -1]
        return sorted(found, key=lambda pair: (pair[1] - pair[0] > 1, -self.size(pair)))

    def rivals(self) -> list[Condition]:
        """The conditions that the best one is not clearly better than."""
        place = self.conditions.index(self.best)
        return [
            other
            for i, other in enumerate(self.conditions)
            if i != place and self.shows(min(i, place), max(i, place)) != (1 if i < place else -1)
        ]

    def trend(self) -> Verdict:
        """By the overall change; where that is within the noise, by a step that refutes it."""
        if len(self.conditions) < 2:
            return "not settled"
        last = len(self.conditions) - 1
        shown = self.shows(0, last)
        if shown:
            return "yes" if shown == 1 else "no"
        if self.against():
            return "no"
        return "not settled" if self.overall.clear else "no clear difference"

    def universal(self) -> Verdict:
        """Refuted by one clear pair; else nothing here speaks against it."""
        if len(self.conditions) < 2:
            return "not settled"
        return "no" if self.against() else "no counterexample"

    def describe(self, through: Condition | None = None, *, interval: bool = True) -> str:
        """The overall change as a sentence, with its interval if known; if it turns at a condition
        between, with that one instead."""
        named = [self.conditions[0], self.conditions[-1]]
        turns = through is not None and through not in named
        if through is not None and turns:
            named.insert(1, through)
        found = self.overall
        most = max(len(one.values) for one in self.conditions)
        values = [
            f"{self.shown(one)} at {one.label}"
            + (f" ({pluralize(len(one.values), 'seed')})" if len(one.values) < most else "")
            for one in named
        ]
        text = f"{sentence(self.measure.name)}: {', '.join(values)}"
        if turns or not interval or found.low is None or found.high is None:
            return f"{text}."
        low, high = found.low, found.high
        if self.measure.scale == "ratio":
            if high <= 1:
                low, high = 1 / high, 1 / low
            return f"{text} (by a factor of {factor(low)} to {factor(high)}, 95 % interval)."
        ends = (self.measure.show_change(low), self.measure.show_change(high))
        points = " points" if self.measure.scale == "share" else ""
        return f"{text} ({ends[0]} to {ends[1]}{points}, 95 % interval)."

    def shown(self, condition: Condition) -> str:
        """A condition's mean, with ``at least`` or ``at most`` where it is a bound.

        The accuracy at an epoch limit is none, for the one kept may be lower: it is so far.
        """
        mean = self.measure.show(condition.mean)
        if self.measure.scale == "share" and condition.bound:
            return f"{mean} so far"
        return {1: "at least ", -1: "at most "}.get(condition.bound, "") + mean

    def step(self, pair: tuple[int, int]) -> str:
        """``batch 5 to batch 50 (84.1 % to 81.5 %)``."""
        first, second = (self.conditions[i] for i in pair)
        show = self.measure.show
        return f"{first.label} to {second.label} ({show(first.mean)} to {show(second.mean)})"

    def evidence(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "measure": self.measure.name,
            "scale": self.measure.scale,
            "settings": [
                {
                    "label": condition.label,
                    **asdict(mean_interval([*condition.values.values()], scale=self.measure.scale)),
                    "values_by_seed": {str(s): v for s, v in condition.values.items()},
                    "lower_bound": condition.bound > 0,
                    "upper_bound": condition.bound < 0,
                    "noise": condition.sample.noise,
                }
                for condition in self.conditions
            ],
            "steps": [self._plain(pair) for pair in pairwise(range(len(self.conditions)))],
            "overall": self._plain((0, len(self.conditions) - 1)) if self.contrasts else None,
            "left_out": list(self.left_out),
        }

    def answer(
        self,
        question: str,
        kind: Kind,
        verdict: Verdict,
        said: Sequence[str],
        evidence: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer with this claim's evidence."""
        if len(self.conditions) < 2:
            said = said or ["Two settings with a result are needed."]
        statement = " ".join([opening(verdict, self.n), *said])
        return Answer(question, verdict, statement, {**self.evidence(), **(evidence or {})}, kind)

    def size(self, pair: tuple[int, int]) -> float:
        """Of a change, whichever way it goes."""
        change = self.contrasts[pair].change
        return abs(math.log(change)) if self.measure.scale == "ratio" else abs(change)

    def _plain(self, pair: tuple[int, int]) -> dict[str, Any]:
        found = self.contrasts[pair]
        return {
            "from": self.conditions[pair[0]].label,
            "to": self.conditions[pair[1]].label,
            **asdict(found),
            "clear": found.clear,
            "supports_the_claim": {1: True, -1: False, 0: None}[self.shows(*pair)],
        }


def judge(runs: Sequence[RecordedRun], measure: Measure, *, rises: bool) -> Claim:
    """The claim that the measure rises (or falls) from each label to the next.

    Parameters
    ----------
    runs : sequence of RecordedRun
        In the order of the conditions; runs of one label are grouped, those of one seed averaged.

    Returns
    -------
    The claim, its contrasts not yet sharing their level: see ``share``.
    """
    conditions: list[Condition] = []
    left_out: list[str] = []
    for label in dict.fromkeys(run.label for run in runs):
        of_one = [run for run in runs if run.label == label]
        having = [r for r in of_one if not r.diverged and measure.value(r) is not None]
        if len(having) < len(of_one):
            left_out.append(label)
        if having:
            sample = sample_of(having, measure)
            bounds = {measure.bound(run) for run in having}
            bound = 1 if 1 in bounds else min(bounds)
            conditions.append(Condition(label, sample, bound))
    contrasts = {
        (i, j): contrast(conditions[i].sample, conditions[j].sample, measure.scale)
        for i, j in combinations(range(len(conditions)), 2)
    }
    return Claim(measure, rises, tuple(conditions), contrasts, tuple(left_out))


def share(*claims: Claim) -> tuple[Claim, ...]:
    """The same claims where all their comparisons share 5 %.

    The overall changes, which were asked for, share 2.5 %; all other pairs the other 2.5 %.
    """
    adjusted: dict[tuple[int, tuple[int, int]], Contrast] = {}
    places = [(c, pair) for c, claim in enumerate(claims) for pair in claim.contrasts]
    overall = [(c, pair) for c, pair in places if pair == (0, len(claims[c].conditions) - 1)]
    for group in (overall, [place for place in places if place not in overall]):
        doubled = [claims[c].contrasts[pair] for c, pair in group]
        if len(places) > len(overall):
            doubled = [replace(one, p=min(1.0, 2 * one.p)) for one in doubled]
        adjusted |= dict(zip(group, share_level(doubled), strict=True))
    return tuple(
        replace(claim, contrasts={pair: adjusted[c, pair] for pair in claim.contrasts})
        for c, claim in enumerate(claims)
    )


def sample_of(runs: Sequence[RecordedRun], measure: Measure) -> Sample:
    """The measure by seed, of the runs that did not diverge and have it; repetitions averaged."""
    diverged = sum(run.diverged for run in runs)
    known = [
        (run, value)
        for run in runs
        if not run.diverged and (value := measure.value(run)) is not None
    ]
    if not known:
        return Sample({}, diverged=diverged)
    by_seed: dict[int, list[float]] = {}
    for run, value in known:
        by_seed.setdefault(run.seed, []).append(value)
    values = {seed: fmean(repeated) for seed, repeated in by_seed.items()}
    resolution = ROUNDING * max(measure.step(run) for run, _ in known)
    if measure.scale == "ratio":
        resolution /= max(fmean(values.values()), resolution) or 1.0
    noise = math.sqrt(fmean(measure.noise(run) ** 2 for run, _ in known))
    return Sample(values, noise, resolution, diverged)


def accuracy(value: float) -> str:
    return percent(value, 1)


def seconds(value: float) -> str:
    """With two significant digits: ``0.25 s``, ``3.7 s``, ``140 s``."""
    if value >= 10:
        return f"{round(value, 1 - math.floor(math.log10(value))):,.0f} s"
    return f"{value:#.2g} s".replace(". s", " s")


def factor(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def two_digits(value: float) -> str:
    """A number above 0 as plain digits, at least two of them significant."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def loss(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")
