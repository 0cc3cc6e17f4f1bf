"""Why momentum helps: the longer step that it makes, or the gradients that it averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import basis, listing, sentence
from fmnist_cli.analysis.axes import axis_spread, comparable
from fmnist_cli.analysis.claims import factor, sample_of
from fmnist_cli.analysis.momentum import LOWEST_LOSS, TEST_ACCURACY, Loss, momentum_answers
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.why.causes import Effect, Explanation, Trial, attribute
from fmnist_cli.engine.counterfactuals import momentum_twins
from fmnist_cli.epoch import AXES, Axis

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
    runs: Sequence[RecordedRun], why: Sequence[RecordedRun], drawn: Loss = "train_loss"
) -> tuple[Explanation, ...]:
    """Which momentum suits, why, and what that says of previous gradients.

    Parameters
    ----------
    runs, why : sequences of RecordedRun
        Of the study, and of its counterfactual conditions.
    drawn : {"train_loss", "running_loss"}
        The loss by which instability is judged.
    """
    runs = [run for run in runs if not run.diverged]
    if len({run.label for run in runs}) < 2:
        return ()
    lowest, test, _, stability = momentum_answers(runs, drawn)
    plain = [run for run in why if run.label == PLAIN]
    trials = []
    for alpha in _tested(runs):
        longer, shorter = labels_of(alpha)
        for measure, of in ((LOWEST_LOSS, "training loss"), (TEST_ACCURACY, "test accuracy")):
            reference = sample_of(plain, measure)
            affected = sample_of([run for run in runs if run.momentum == alpha], measure)
            effect = Effect(reference, affected, measure.scale)
            for name, label, counterfactual, refuted in (
                (
                    f"The longer step of momentum {alpha:g}, in the {of}",
                    shorter,
                    f"gone with momentum at {1 - alpha:.3g} times the learning rate",
                    "as large an effect at the shorter step",
                ),
                (
                    f"The averaging of gradients by momentum {alpha:g}, in the {of}",
                    longer,
                    f"gone without momentum at {1 / (1 - alpha):.3g} times the learning rate",
                    "the same effect without momentum at the longer step",
                ),
            ):
                without = sample_of([run for run in why if run.label == label], measure)
                if without.values and reference.values:
                    trials.append(
                        Trial(name, counterfactual, refuted, effect, without)
                    )  # fmt: skip
    causes = attribute(trials)
    supported = [cause for cause in causes if cause.outcome == "supported"]
    best = lowest.evidence["best"]
    rivals = lowest.evidence["not_clearly_better_than"]
    answer = f"{sentence(best)} reaches the lowest training loss" if best else "None is the best"
    if len(rivals) == len({run.label for run in runs}) - 1:
        answer += ", but none is clearly the best."
    else:
        answer += f", not clearly lower than {listing(rivals)}." if rivals else "."
    if supported:
        names = listing(cause.name[0].lower() + cause.name[1:] for cause in supported)
        answer += f" Because of {names}."
    elif causes:
        answer += " No cause that was tested explains an effect."
    memory = {f"{a:g}": 1 / (1 - a) for a in sorted({run.momentum for run in runs})}
    compared = comparable([*runs, *plain], "train_loss")
    spreads = {axis: axis_spread(compared, axis, "train_loss") for axis in AXES}
    steps = _previous_gradients(causes_supported={cause.name for cause in supported},
                                unstable=stability.verdict == "yes", spreads=spreads)  # fmt: skip
    sure = basis((run.label, run.seed) for run in runs)
    evidence = {"gradients_remembered": memory, "spread": spreads, "test": test.verdict}
    return (
        Explanation("Which momentum suits, and why?", answer, causes, sure, "plot momentum"),
        Explanation(
            "How should training rely on previous gradients?",
            steps, (), sure, "plot momentum", evidence, "cumulative-lr",
        ),
    )  # fmt: skip


def _previous_gradients(
    *, causes_supported: set[str], unstable: bool, spreads: Mapping[Axis, float | None]
) -> str:
    text = "Momentum alpha moves along the sum of past gradients, about the last 1 / (1 - alpha)."
    longer = any(name.startswith("The longer step") for name in causes_supported)
    averaging = any(name.startswith("The averaging") for name in causes_supported)
    if longer and not averaging:
        text += " What they buy here is the longer step: a larger learning rate does the same."
    elif averaging:
        text += " Averaging them helps beyond the longer step that it makes."
    by_epoch, by_way = spreads.get("epoch"), spreads.get("cumulative-lr")
    if by_epoch is not None and by_way is not None:
        text += (
            f" The curves lie {factor(by_epoch)}-fold apart by epoch, {factor(by_way)}-fold by "
            "cumulative learning rate."
        )
    if unstable:
        text += " Too much of it makes the training jump."
    return text


def _tested(runs: Sequence[RecordedRun]) -> list[float]:
    momenta = sorted({run.momentum for run in runs if run.momentum and not run.diverged})
    if not momenta:
        return []
    lowest = {
        alpha: sum(sample.values.values()) / len(sample.values)
        for alpha in momenta
        if (sample := sample_of([r for r in runs if r.momentum == alpha], LOWEST_LOSS)).values
    }
    return sorted({momenta[-1], min(lowest, key=lambda alpha: lowest[alpha])})
