"""Why momentum helps: the longer step that it makes, or the gradients that it averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import Answer, basis, listing, sentence
from fmnist_cli.analysis.axes import collapse
from fmnist_cli.analysis.claims import factor, sample_of, two_digits
from fmnist_cli.analysis.momentum import (
    LOSS_NAMES,
    LOWEST_LOSS,
    TEST_ACCURACY,
    Loss,
    instability,
    momentum_answers,
)
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import SEEDS_FOR_INTERVAL, contrast, share_level
from fmnist_cli.analysis.why.causes import (
    Cause,
    Effect,
    Explanation,
    Trial,
    attribute,
    because,
    first_named,
    typical,
)
from fmnist_cli.engine.counterfactuals import momentum_twins
from fmnist_cli.engine.sharpness import stability_limit
from fmnist_cli.formatting import pluralize

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig

PLAIN = "without momentum"


def labels_of(alpha: float) -> tuple[str, str]:
    """Of its twins: without momentum at the longer step; with momentum at the shorter."""
    return f"lr / {1 - alpha:.3g}, momentum 0", f"momentum {alpha:g}, lr x {1 - alpha:.3g}"


def counterfactuals(
    config: TrainConfig, runs: Sequence[RecordedRun]
) -> tuple[tuple[str, TrainConfig], ...]:
    """The conditions that test the causes: plain SGD, and each momentum's twins with its seeds.

    Of the largest momentum and of the one with the lowest training loss.
    """
    found = [(PLAIN, config.but(momentum=0.0))]
    for alpha in _tested(runs):
        longer, shorter = momentum_twins(config.but(momentum=alpha))
        found += zip(labels_of(alpha), (longer, shorter), strict=True)
    return tuple(found)


def explain_momentum(
    runs: Sequence[RecordedRun],
    why: Sequence[RecordedRun],
    figures: Mapping[int, Mapping[str, float]] | None = None,
    drawn: Loss = "train_loss",
) -> tuple[Explanation, ...]:
    """Which momentum suits, why, and what that says of previous gradients.

    Parameters
    ----------
    runs, why : sequences of RecordedRun
        Of the study, and of its counterfactual conditions.
    figures : mapping, optional
        By the id of a run, the ``sharpness`` at its weights.
    drawn : {"train_loss", "running_loss"}
        The loss that the figure shows, by which instability is judged.
    """
    every, runs = runs, [run for run in runs if not run.diverged]
    if len({run.label for run in runs}) < 2:
        return ()
    lowest, test, _, stability = momentum_answers(runs, drawn)
    causes = attribute(_trials(every, why))
    best = _best(runs)
    rivals = lowest.evidence["not_clearly_better_than"]
    answer = _suits(runs, best, lowest, test)
    if diverged := listing(dict.fromkeys(run.label for run in every if run.diverged)):
        answer += f" {sentence(diverged)} diverged."
    answer += because(causes, _changed(causes))
    curves = collapse(runs, drawn)
    sure = basis((run.label, run.seed) for run in runs)
    largest = max(run.momentum for run in runs)
    memory = {f"{a:g}": 1 / (1 - a) for a in sorted({run.momentum for run in runs})}
    twins = _twins(runs, why, best.momentum or largest)
    too_long = best.momentum < largest and not any(
        run.label in rivals for run in runs if run.momentum == largest
    )
    remembered = [f"{1 / (1 - a):.2g} at {a:g}" for a in _tested(runs)]
    steps = (
        f"Momentum steps along a sum of previous gradients, about the last 1 / (1 - alpha): "
        f"{listing(remembered)}. " + _advice(causes, twins, best, largest, too_long)
    )
    measured = [*curves.measured]
    if curves.apart and not curves.closer:
        measured.append("A longer step does not go farther in proportion.")
    if twins:
        measured += twins.measured
    judged: Loss = stability.evidence["metric"]
    measured += _jumps(runs, why, figures or {}, largest, judged, stability.verdict == "yes")
    return (
        Explanation(
            "Which momentum suits, and why?",
            answer,
            causes,
            sure,
            "plot momentum",
            note="Effect: without momentum, then with it." if causes else "",
        ),
        Explanation(
            "How should training rely on previous gradients?",
            steps,
            (),
            sure,
            "plot momentum",
            {"gradients_remembered": memory, "gap_by_axis": curves.gaps, "test": test.verdict},
            "cumulative-lr",
            tuple(measured),
        ),
    )


def _suits(runs: Sequence[RecordedRun], best: RecordedRun, lowest: Answer, test: Answer) -> str:
    """Which momentum has the lowest training loss, and whether its test accuracy is better too."""
    labels = [label for label in dict.fromkeys(run.label for run in runs) if label != best.label]
    close = lowest.evidence["not_beaten"]
    said = f"{sentence(best.label)} reaches the lowest training loss"
    if len(close) == len(labels):
        said = f"None is clearly the best; {best.label} reaches the lowest training loss"
    elif close:
        said += f", with no clear lead over {listing(close)}"
    if test.evidence["best"] != best.label:
        return f"{said}."
    below = [label for label in labels if label not in test.evidence["not_beaten"]]
    where = f"above that of {listing(below)} only" if below else "not clearly higher"
    if len(below) == len(labels):
        where = "the highest too"
    return f"{said}; its test accuracy is {where}."


def _changed(causes: Sequence[Cause]) -> str:
    """What ``because`` calls the effect of the first cause that it names."""
    first = first_named(causes)
    if first is None:
        return "the change"
    rises, of_loss = first.evidence["effect"]["direction"] > 0, "training loss" in first.at
    if rises == of_loss:
        return "the higher loss" if of_loss else "the lost accuracy"
    return "the gain"


def _trials(runs: Sequence[RecordedRun], why: Sequence[RecordedRun]) -> list[Trial]:
    trials = []
    for alpha in _tested(runs):
        longer, shorter = labels_of(alpha)
        for measure, of in ((LOWEST_LOSS, "training loss"), (TEST_ACCURACY, "test accuracy")):
            reference = sample_of([run for run in why if run.label == PLAIN], measure)
            affected = sample_of([run for run in runs if run.momentum == alpha], measure)
            effect = Effect(reference, affected, measure.scale, measure.show)
            at = f"at momentum {alpha:g} ({of})"
            for label, name, counterfactual, refuted in (
                (shorter, "The longer step",
                 "momentum alpha at 1 - alpha times the learning rate",
                 "as large an effect at the shorter step"),
                (longer, "The averaging of gradients",
                 "no momentum at 1 / (1 - alpha) times the learning rate",
                 "the same effect without momentum at the longer step"),
            ):  # fmt: skip
                without = sample_of([run for run in why if run.label == label], measure)
                if without.is_there and reference.values:
                    trials.append(Trial(name, at, counterfactual, refuted, effect, without))
    return trials


@dataclass(frozen=True)
class Twins:
    """Momentum against plain SGD at the same effective step: whether they differ, and how."""

    differ: bool
    measured: tuple[str, ...]


def _twins(runs: Sequence[RecordedRun], why: Sequence[RecordedRun], alpha: float) -> Twins | None:
    sides = (
        [run for run in runs if run.momentum == alpha],
        [run for run in why if run.label == labels_of(alpha)[0]],
    )
    contrasts, means = [], []
    for measure in (LOWEST_LOSS, TEST_ACCURACY):
        ours, twin = (sample_of(of_one, measure) for of_one in sides)
        if not (ours.values and twin.values):
            return None
        contrasts.append(contrast(ours, twin, measure.scale))
        means.append(f"{measure.show(ours.mean)} and {measure.show(twin.mean)}")
    differ = any(found.clear for found in share_level(contrasts))
    end = "clearly differ" if differ else "do not clearly differ"
    return Twins(
        differ,
        (
            f"Momentum {alpha:g} and plain SGD at {1 / (1 - alpha):.3g} times the learning rate "
            f"{end}.",
            f"Lowest training loss {means[0]}; test accuracy {means[1]}.",
        ),
    )


def _advice(
    causes: Sequence[Cause],
    twins: Twins | None,
    best: RecordedRun,
    largest: float,
    too_long: bool,
) -> str:
    """What follows from the causes, and no more than they showed."""
    averaging, step = (
        any(cause.outcome == "supported" and cause.name.startswith(start) for cause in causes)
        for start in ("The averaging", "The longer step")
    )
    if averaging:
        return "Averaging them helps beyond the longer step that it makes."
    n = max((len(cause.evidence.get("seeds", ())) for cause in causes), default=0)
    if twins is None or not n:
        return (
            "A constant gradient moves the weights as far without momentum at "
            f"{1 / (1 - largest):.3g} times the learning rate; whether the sum does more is not "
            "known."
        )
    if not step:
        how = "clearly gains anything"
        if n < SEEDS_FOR_INTERVAL:
            how = f"gains more than the noise of {pluralize(n, 'seed')}"
        return f"Neither the longer step that it makes nor the averaging {how}."
    if twins.differ:
        return "What they buy is the longer step, and a larger learning rate alone ends elsewhere."
    if too_long:
        return (
            "What they buy is the longer step, as a larger learning rate does: momentum "
            f"{best.momentum:g} is enough, at {largest:g} the step is too long."
        )
    return "What they buy is the longer step: a larger learning rate does the same."


def _jumps(
    runs: Sequence[RecordedRun],
    why: Sequence[RecordedRun],
    figures: Mapping[int, Mapping[str, float]],
    alpha: float,
    judged: Loss,
    unstable: bool,
) -> list[str]:
    """How steady the twins are, and how far the sharpness is from the stability limit."""
    said = []
    longest = [run for run in runs if run.momentum == alpha]
    twins = [run for run in why if run.label == labels_of(alpha)[0]]
    if unstable and twins:
        jumping, of_twin = (
            sum(instability(run, judged).unstable for run in of_one) for of_one in (longest, twins)
        )
        said.append(
            f"Such rises of the {LOSS_NAMES[judged]} occur in {jumping} of "
            f"{pluralize(len(longest), 'run')} at momentum {alpha:g} and in {of_twin} of "
            f"{len(twins)} of its twin without momentum."
        )
    sharp = typical(figures.get(run.run.id, {}).get("sharpness") for run in longest)
    if sharp is not None:
        limit = stability_limit(longest[0].lr, alpha)
        where = "below" if sharp < limit else "beyond"
        cause = "curvature does not limit its step"
        if sharp >= limit / 2:
            cause = "its step is at the edge of what curvature allows"
        said.append(
            f"The sharpness at momentum {alpha:g}'s weights is {two_digits(sharp)}, {where} the "
            f"limit 2(1 + alpha)/lr = {factor(limit)}: {cause}."
        )
    return said


def _best(runs: Sequence[RecordedRun]) -> RecordedRun:
    """A run of the momentum with the lowest mean training loss."""
    loss = {
        label: sample.mean
        for label in dict.fromkeys(run.label for run in runs)
        if (sample := sample_of([run for run in runs if run.label == label], LOWEST_LOSS)).values
    }
    label = min(loss, key=lambda one: loss[one])
    return next(run for run in runs if run.label == label)


def _tested(runs: Sequence[RecordedRun]) -> list[float]:
    """The largest momentum, and the one with the lowest training loss."""
    healthy = [run for run in runs if run.momentum and not run.diverged]
    if not healthy:
        return []
    return sorted({max(run.momentum for run in healthy), _best(healthy).momentum})
