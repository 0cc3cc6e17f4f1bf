"""A cause, and the test that it stood: how much of an effect goes where the cause is taken away.

An *effect* is the difference between two conditions, seed by seed. A *counterfactual* repeats the
second with the supposed cause taken away. What is gone of the effect is the cause's share:
1 - (what remains) / (the effect). A cause is *supported* if the effect is clear and what the
counterfactual takes off it is clear; else it is *tested, not supported*, or, where fewer than five
seeds all point its way and it may be a quarter of the effect or more, *within the noise*.

From five seeds on (and on one, by its noise) all tests of one study share 5 % (Holm), so that where
nothing differs a cause is claimed in at most one study in twenty. Two to four seeds have no
interval: a difference is clear there if every seed shows it and its mean exceeds both the noise of
a single pair of runs (``SINGLE_PAIR`` standard deviations) and what the seeds' own spread, pooled
over the conditions of one effect, makes likely (``FEW_LEVEL``). Where nothing differs, a batch-size
study then claims some cause in at most 5 % of studies, whether the seeds vary as a run's own curve
does, 1.6 times as much, or three times as much at large batches only; were it 2.5 times as much
everywhere, in 7 % with two seeds and 4 % with three (simulated).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, median, stdev, variance
from typing import Any, Literal

from fmnist_cli.analysis.answers import every_seed
from fmnist_cli.analysis.claims import accuracy
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import (
    LEVEL,
    SEEDS_FOR_INTERVAL,
    Contrast,
    Sample,
    Scale,
    contrast,
    on_scale,
    pair_noise,
    paired_changes,
    share_level,
    t_quantile,
)
from fmnist_cli.epoch import Axis

SINGLE_PAIR = 1.25
"""How many standard deviations of one pair's difference the mean of two to four pairs must exceed:
with three seeds they are 2.2 of the mean's own."""
FEW_LEVEL = 0.99
"""Of the interval that their mean must leave, by the spread between the seeds. An effect must, and
what is gone of it too: a false claim is rarer than either."""
LEAST_SHARE = 0.25  # of a clear effect: a cause of less is not what few seeds leave open
CURVES_DOF = 3  # degrees of freedom that the noise of the runs' own curves counts for

Comparison = tuple[Sample, Sample, Scale]
Key = tuple[Any, ...]
Outcome = Literal["supported", "within the noise", "tested, not supported", "not tested"]


@dataclass(frozen=True)
class Cause:
    """A supposed cause of an effect and how it stood its test.

    Attributes
    ----------
    name, at : str
        Such as ``The batch itself``, ``at batch 500``.
    share : float or None
        Of the effect, as a fraction: 0 none of it, 1 all, above 1 more than it; None if not tested.
    low, high : float or None
        Its 95 % interval, from five seeds on.
    counterfactual : str
        The test: what was changed to take the cause away, or to have it alone.
    refuted_by : str
        What would have spoken against it.
    effect, result : str
        The effect, and what the test gave in its place, as means over the seeds that did not
        diverge, and how many did.
    """

    name: str
    at: str
    outcome: Outcome
    share: float | None
    low: float | None
    high: float | None
    counterfactual: str
    refuted_by: str
    effect: str = ""
    result: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name} {self.at}".rstrip()

    @property
    def likely(self) -> bool:
        """Whether every seed points its way, and what it would explain is there."""
        return self.outcome == "within the noise" and bool(self.evidence["effect"]["clear"])

    @property
    def share_words(self) -> str:
        """Its share in words: what stands before the name of the effect."""
        share = self.share or 0.0
        if share < 0.995:
            return f"{100 * share:.0f} % of"
        return "all of" if self.low is None or self.low <= 1 else "more than all of"

    @property
    def seen_in(self) -> str:
        """Below five seeds, how many show it: as the end of a sentence."""
        n = len(self.evidence.get("seeds", ()))
        if self.evidence.get("diverged") and 0 < n < SEEDS_FOR_INTERVAL:
            return f", in the {'one seed' if n == 1 else f'{n} seeds'} that did not diverge"
        if n == 1:
            return ", on this seed"
        return f", in {every_seed(n)}" if 1 < n < SEEDS_FOR_INTERVAL else ""


@dataclass(frozen=True)
class Explanation:
    """The answer to a question with its causes.

    Attributes
    ----------
    question, answer : str
        The answer and what explains it, in at most two short sentences.
    how_sure : str
        On what it rests.
    figure : str
        The command whose figure shows it.
    axis : Axis or None
        What that draws against, where it is not the usual.
    measured : tuple of str
        What was measured that bears on it, each as short as the answer.
    note : str
        What the numbers of its causes are of, where the table does not say so.
    part : str
        Where the question stands in the assignment.
    """

    question: str
    answer: str
    causes: tuple[Cause, ...]
    how_sure: str
    figure: str
    evidence: dict[str, Any] = field(default_factory=dict)
    axis: Axis | None = None
    measured: tuple[str, ...] = ()
    note: str = ""
    part: str = ""

    @property
    def heading(self) -> str:
        """The question as one of why."""
        return self.question if "why" in self.question.lower() else f"Why: {self.question}"

    @property
    def supported(self) -> tuple[Cause, ...]:
        return tuple(cause for cause in self.causes if cause.outcome == "supported")

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def because(causes: Sequence[Cause], of: str) -> str:
    """The first two causes that are supported, one of a kind, as a sentence after a space; that
    there is none, or nothing to explain, if some were tested; nothing else.

    Parameters
    ----------
    of : str
        What they are shares of, such as ``the lost accuracy``.
    """
    if not causes:
        return ""
    kinds: dict[str, Cause] = {}
    for cause in causes:
        if cause.outcome == "supported":
            kinds.setdefault(cause.name, cause)
    found = list(kinds.values())[:2]
    if not found:
        one_seed = any(len(cause.evidence.get("seeds", ())) == 1 for cause in causes)
        if most := first_named(causes):
            clearly = "one seed does not show it clearly" if one_seed else "not clearly"
            return f" {most.title} may explain {most.share_words} {of}, but {clearly}."
        if any(cause.evidence.get("effect", {}).get("clear") for cause in causes):
            return " No cause that was tested explains it."
        noise = "With one seed it may be chance" if one_seed else "It is within the noise"
        return f" {noise}, so that no cause is claimed."
    first, *others = found
    named = f"{first.title} explained {first.share_words} {of}{first.seen_in}"
    for other in others:
        name = f"{other.name[0].lower()}{other.name[1:]}"
        if other.effect == first.effect:
            named += f"; {name} {other.at}, {other.share_words} it"
        else:
            named += f"; {other.at} {name}, {other.share_words} {of}"
    return f" {named}."


def changed_accuracy(causes: Sequence[Cause]) -> str:
    """What ``because`` calls the effect on an accuracy, by the first cause that it names."""
    first = first_named(causes)
    gained = first is not None and first.evidence["effect"]["direction"] > 0
    return f"the {'gained' if gained else 'lost'} accuracy"


def first_named(causes: Sequence[Cause]) -> Cause | None:
    """The first cause that ``because`` names: one that is supported, else the likeliest."""
    for cause in causes:
        if cause.outcome == "supported":
            return cause
    likely = [cause for cause in causes if cause.likely]
    return max(likely, key=lambda cause: cause.share or 0.0, default=None)


def typical(values: Iterable[float | None]) -> float | None:
    """The median of what is known and finite; None of nothing."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return median(known) if known else None


def way_to_best(runs: Iterable[RecordedRun]) -> float:
    """The cumulative learning rate of the best epoch: the median of the runs that did not diverge,
    0 without any."""
    ways = (
        run.lr / (1 - run.momentum) * run.updates_to_best
        for run in runs
        if not run.diverged and run.updates_to_best
    )
    return typical(ways) or 0.0


@dataclass(frozen=True)
class Effect:
    """What is to be explained: the affected condition against the reference.

    Attributes
    ----------
    show
        A mean as text; of a plain scale, whose reference is 0, a change.
    """

    reference: Sample
    affected: Sample
    scale: Scale
    show: Callable[[float], str] = accuracy

    @property
    def text(self) -> str:
        after = _mean(self.affected, self.show)
        return after if self.scale == "plain" else f"{_mean(self.reference, self.show)} to {after}"


@dataclass(frozen=True)
class Trial:
    """A cause to be tested: an effect, and the affected condition without the cause.

    Attributes
    ----------
    without : Sample
        The affected condition with the cause taken away.
    residual : bool
        Whether the cause is what *remains* there (the batch itself), not what goes.
    show : callable or None
        How the mean of ``without`` is shown, where not as those of the effect.
    """

    name: str
    at: str
    counterfactual: str
    refuted_by: str
    effect: Effect
    without: Sample
    residual: bool = False
    show: Callable[[float], str] | None = None

    @property
    def sides(self) -> tuple[Sample, Sample, Sample]:
        return self.effect.reference, self.effect.affected, self.without

    @property
    def seeds(self) -> list[int]:
        """Those that all three conditions have."""
        return sorted(set.intersection(*(set(side.values) for side in self.sides)))

    @property
    def comparisons(self) -> list[tuple[Key, Comparison]]:
        """The effect, and the part of it that is the cause's; none where a side has no value.

        The same values in the same role have one key.
        """
        reference, affected, without = self.sides
        if not all(side.values for side in self.sides):
            return []
        compared = {"effect": (reference, affected), "gone": (without, affected)}
        if self.residual:
            compared = {"effect": (reference, affected), "remains": (reference, without)}
        scale = self.effect.scale
        return [
            (
                (role, scale, *(tuple(sorted(side.values.items())) for side in (first, second))),
                (first, second, scale),
            )
            for role, (first, second) in compared.items()
        ]


def attribute(trials: Sequence[Trial]) -> tuple[Cause, ...]:
    """Judge the causes of one study together.

    An effect, what a counterfactual takes off it, and what remains are three comparisons; from
    five seeds on the comparisons of all trials share 5 %, each effect counted once.
    """
    compared: dict[Key, Comparison] = {}
    of_effect: dict[Key, dict[Key, Comparison]] = {}
    for trial in trials:
        if own := trial.comparisons:
            compared.update(own)
            of_effect.setdefault(own[0][0], {}).update(own)
    margins = {key: _margin(group.values()) for group in of_effect.values() for key in group}
    shared = share_level([contrast(*one) for one in compared.values()])
    judged = {
        key: (found, _is_clear(found, one, margins[key]))
        for (key, one), found in zip(compared.items(), shared, strict=True)
    }
    return tuple(_judge(trial, judged) for trial in trials)


def _is_clear(shared: Contrast, compared: Comparison, margin: float) -> bool:
    """By its share of the 5 %; of two to four seeds, whether all show it beyond the noise."""
    first, second, _ = compared
    changes, noise = paired_changes(*compared), pair_noise(first, second)
    if not noise or not 2 <= len(changes) < SEEDS_FOR_INTERVAL:
        return shared.clear
    return shared.agree and abs(fmean(changes)) > max(SINGLE_PAIR * noise, margin)


def _margin(compared: Collection[Comparison]) -> float:
    """What the mean of few pairs must exceed, by the spread between the seeds: pooled over the
    comparisons of one effect, each of which has too few, and ``CURVES_DOF`` of the runs' noise."""
    pairs = [changes for one in compared if len(changes := paired_changes(*one)) > 1]
    if not pairs:
        return 0.0
    n = min(map(len, pairs))
    dof = len(pairs) * (n - 1)
    expected = fmean(pair_noise(first, second) ** 2 for first, second, _ in compared)
    spread = (dof * fmean(map(variance, pairs)) + CURVES_DOF * expected) / (dof + CURVES_DOF)
    return t_quantile(FEW_LEVEL, dof + CURVES_DOF) * math.sqrt(spread / n)


def _judge(trial: Trial, judged: Mapping[Key, tuple[Contrast, bool]]) -> Cause:
    without, seeds = trial.without, trial.seeds
    diverged = any(side.diverged for side in trial.sides)
    cause = Cause(
        trial.name, trial.at, "not tested", None, None, None, trial.counterfactual,
        trial.refuted_by,
    )  # fmt: skip
    if not seeds or without.diverged > len(without.values):
        if diverged:
            result = _mean(without, trial.effect.show)
            cause = replace(cause, effect=trial.effect.text, result=result)
        return cause
    (effect, shown), (part, taken) = (judged[key] for key, _ in trial.comparisons)
    share, low, high = _share(trial, seeds)
    few_agree = effect.agree and part.agree and len(seeds) < SEEDS_FOR_INTERVAL
    little = shown and (share or 0.0) < LEAST_SHARE
    outcome: Outcome = "tested, not supported"
    if part.direction == effect.direction and shown and taken:
        outcome = "supported"
    elif part.direction == effect.direction and few_agree and not little:
        outcome = "within the noise"
    return replace(
        cause,
        outcome=outcome,
        share=share,
        low=low,
        high=high,
        effect=trial.effect.text,
        result=_mean(without, trial.show or trial.effect.show),
        evidence={
            "effect": {**asdict(effect), "clear": shown},
            "part": {**asdict(part), "clear": taken},
            "seeds": seeds,
            "diverged": diverged,
        },
    )


def _mean(sample: Sample, show: Callable[[float], str]) -> str:
    """Its mean, and how many runs diverged: ``70.9 % (2 of 3 diverged)``, ``all 3 diverged``."""
    if not sample.values:
        return "diverged" if sample.diverged == 1 else f"all {sample.diverged} diverged"
    n = len(sample.values) + sample.diverged
    fell = f" ({sample.diverged} of {n} diverged)" if sample.diverged else ""
    return f"{show(sample.mean)}{fell}"


def _share(trial: Trial, seeds: Sequence[int]) -> tuple[float | None, float | None, float | None]:
    """The share and its interval, a ratio of means: its error from the residuals of the seeds.

    Source: Cochran, *Sampling Techniques* (1977), section 6.3.
    """
    reference, affected, without = (
        on_scale({seed: side.values[seed] for seed in seeds}, trial.effect.scale)
        for side in trial.sides
    )
    effects = [affected[s] - reference[s] for s in seeds]
    mean = fmean(effects)
    if mean == 0:
        return None, None, None
    first, second = (reference, without) if trial.residual else (without, affected)
    parts = [second[s] - first[s] for s in seeds]
    share, n = fmean(parts) / mean, len(seeds)
    if n < SEEDS_FOR_INTERVAL:
        return share, None, None
    residuals = [part - share * effect for part, effect in zip(parts, effects, strict=True)]
    margin = t_quantile(LEVEL, n - 1) * stdev(residuals) / math.sqrt(n) / abs(mean)
    return share, share - margin, share + margin
