"""What too small and too large a learning rate cost: the way, the noise of the steps, curvature.

A small rate goes a shorter way in as many updates: the best is cut to its way. A large one takes
noisy steps, which a larger batch at the same rate averages out: what that gives back is the noise.
What it does not is the step itself; whether that overshoots is told by the sharpness, whose limit
is 2 / lr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import basis, listing, sentence
from fmnist_cli.analysis.axes import collapse
from fmnist_cli.analysis.batch_size import TEST_ACCURACY
from fmnist_cli.analysis.claims import factor, sample_of, two_digits
from fmnist_cli.analysis.learning_rate import learning_rate_answers
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.why.causes import (
    Effect,
    Explanation,
    Trial,
    attribute,
    because,
    changed_accuracy,
    typical,
    way_to_best,
)
from fmnist_cli.engine.counterfactuals import cut_short
from fmnist_cli.engine.sharpness import stability_limit

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig


def counterfactuals(
    config: TrainConfig, runs: Sequence[RecordedRun]
) -> tuple[tuple[str, TrainConfig], ...]:
    """The conditions that test the causes: (label, configuration).

    The best rate cut to the way of the smallest (the cumulative learning rate of its best epoch),
    where that is shorter; and the largest with a batch as many times larger as its rate is than
    the best, so that its steps are no noisier.
    """
    best, smallest, largest = _rates(runs)
    if best is None:
        return ()
    found = []
    if smallest is not None:
        short, long = (way_to_best(r for r in runs if r.lr == rate) for rate in (smallest, best))
        if 0 < short < long:
            found.append((_cut(smallest), cut_short(config.but(lr=best), short)))
    if largest is not None:
        batch = min(round(config.batch * largest / best), config.train_size)
        found.append((_calmer(largest), config.but(lr=largest, batch=batch)))
    return tuple(found)


def explain_learning_rate(
    runs: Sequence[RecordedRun],
    why: Sequence[RecordedRun],
    figures: Mapping[int, Mapping[str, float]] | None = None,
) -> tuple[Explanation, ...]:
    """What the rates at both ends cost and why, and what an update of each does.

    Parameters
    ----------
    runs, why : sequences of RecordedRun
        Of the study, and of its counterfactual conditions.
    figures : mapping, optional
        By the id of a run, the ``sharpness`` at its weights.
    """
    best, smallest, largest = _rates(runs)
    if best is None:
        return ()
    suits, updates, *_ = learning_rate_answers(runs)
    base = sample_of([run for run in runs if run.lr == best], TEST_ACCURACY)
    trials = []
    for rate, label, cause, counterfactual, refuted in (
        (smallest, _cut, "The shorter way (small steps, no more of them)",
         f"lr {best:g} cut to the same cumulative learning rate, in fewer epochs",
         f"no loss of lr {best:g} on the shorter way"),
        (largest, _calmer, "The noise of the steps",
         "the batch enlarged as the rate is", "as low an accuracy with calmer steps"),
    ):  # fmt: skip
        if rate is None:
            continue
        affected = sample_of([run for run in runs if run.lr == rate], TEST_ACCURACY)
        without = sample_of([run for run in why if run.label == label(rate)], TEST_ACCURACY)
        if affected.values and without.is_there:
            said = (cause, f"at lr {rate:g}", counterfactual, refuted)
            effect = Effect(base, affected, "share")
            trials.append(Trial(*said, effect, without, residual=label is _cut))
    causes = attribute(trials)
    diverged = listing(dict.fromkeys(run.label for run in runs if run.diverged))
    ends = f" {sentence(diverged)} diverged." if diverged else ""
    sure = basis((run.label, run.seed) for run in runs if not run.diverged)
    curves = collapse(runs)
    text = f"{sentence(updates.verdict)}."
    if curves.closer:
        text += " An update goes as far as its learning rate, so that small ones must be many."
    elif curves.apart:
        text += " But a larger step does not go farther in proportion."
    return (
        Explanation(
            suits.question,
            f"{sentence(suits.verdict)}: lr {best:g} has the highest test accuracy.{ends}"
            f"{because(causes, changed_accuracy(causes))}",
            causes,
            sure,
            "plot lr",
            measured=_sharpness(runs, figures or {}),
        ),
        Explanation(
            updates.question, text, (), sure, "plot lr", {"gap_by_axis": curves.gaps},
            "cumulative-lr", curves.measured,
        ),
    )  # fmt: skip


def _sharpness(
    runs: Sequence[RecordedRun], figures: Mapping[int, Mapping[str, float]]
) -> tuple[str, ...]:
    """The sharpness at both ends, and the limit of the larger rate."""
    found = []
    rates = sorted({run.lr for run in runs if run.run.id in figures})
    for rate in dict.fromkeys(rates[:1] + rates[-1:]):
        of_one = [run for run in runs if run.lr == rate]
        sharp = typical(figures.get(run.run.id, {}).get("sharpness") for run in of_one)
        if sharp is not None:
            found.append((rate, sharp, stability_limit(rate, of_one[0].momentum)))
    if not found:
        return ()
    values = listing(f"{two_digits(sharp)} at lr {rate:g}" for rate, sharp, _ in found)
    flatter = len(found) > 1 and found[-1][1] < found[0][1] / 1.5
    ends = ": large steps end where the loss is flatter" if flatter else ""
    near = any(sharp > limit / 2 for _, sharp, limit in found)
    rate, _, limit = found[-1]
    meaning = "far below it curvature does not bound the step"
    if near:
        meaning = "near it steps overshoot"
    return (
        f"The sharpness, the largest curvature of the loss, at the weights kept is {values}{ends}.",
        f"Curvature allows a sharpness of 2/lr, which is {factor(limit)} at lr {rate:g}: "
        f"{meaning}.",
    )


def _rates(runs: Sequence[RecordedRun]) -> tuple[float | None, float | None, float | None]:
    """The rate with the highest mean test accuracy, and the ends, where they are not it."""
    means = {
        rate: sample.mean
        for rate in sorted({run.lr for run in runs})
        if (sample := sample_of([run for run in runs if run.lr == rate], TEST_ACCURACY)).values
    }
    if len(means) < 2:
        return None, None, None
    best = max(means, key=lambda rate: means[rate])
    first, *_, last = means
    return best, first if first != best else None, last if last != best else None


def _cut(rate: float) -> str:
    return f"cut to the cumulative learning rate of lr {rate:g}"


def _calmer(rate: float) -> str:
    return f"lr {rate:g}, a larger batch"
