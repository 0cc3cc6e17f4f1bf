"""Explanations in planted worlds: the cause that was planted is claimed, and no other.

In each world the accuracies (or losses) are drawn from a rule that is known: what the batch, the
way, the momentum or the position of a feature does there. Where nothing does anything, or one seed
alone is odd, no cause may be claimed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fmnist_cli.analysis.axes import collapse, gap_note, gaps, positions
from fmnist_cli.analysis.patience import rising_trend, smoothed
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.shifted_images import Score
from fmnist_cli.analysis.statistics import Sample
from fmnist_cli.analysis.why import (
    batch_size,
    early_stopping,
    learning_rate,
    momentum,
    shifted_images,
)
from fmnist_cli.analysis.why.causes import Cause, Effect, Explanation, Trial, attribute, because
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.counterfactuals import cumulative_lr
from fmnist_cli.registry.records import EvaluationRecord
from fmnist_cli.report.tables import causes_table

from .recorded import changed, epoch, recorded

BASE = TrainConfig()
SIZES = (1, 5, 50, 500)
Rule = Callable[[TrainConfig, int], float]


def run_of(
    label: str,
    config: TrainConfig,
    seed: int,
    accuracy: float,
    loss: float = 1.0,
    noise: float = 0.0,
) -> RecordedRun:
    """A training of up to 20 epochs; its test accuracy moves by ``noise`` around ``accuracy``."""
    n = min(config.epochs, 20)
    moves = np.random.default_rng([seed, round(1e6 * accuracy)]).normal(0, noise, n)
    epochs = [
        epoch(
            i,
            updates=config.updates_per_epoch * i,
            train_loss=loss * (1 + 1 / i),
            test_accuracy=accuracy + moves[i - 1],
        )
        for i in range(1, n + 1)
    ]
    return recorded(
        epochs, label=label, batch=config.batch, lr=config.lr, momentum=config.momentum, seed=seed,
        best_epoch=n, test_accuracy=accuracy, best_val_accuracy=accuracy,
        updates_to_best=epochs[-1].updates,
    )  # fmt: skip


def batch_world(
    rule: Callable[[TrainConfig, int], float],
    n_seeds: int,
    seed: int = 0,
    spread: float = 0.006,
) -> tuple[Explanation, ...]:
    """A sweep and its counterfactuals, the test accuracy of each by the rule and a normal draw."""
    rng = np.random.default_rng(seed)

    def trained(arms: Iterable[tuple[str, TrainConfig]]) -> list[RecordedRun]:
        return [
            run_of(label, config, number, rule(config, number) + rng.normal(0, spread), noise=0.006)
            for label, config in arms
            for number in range(n_seeds)
        ]

    runs = trained((f"batch {size}", BASE.but(batch=size)) for size in SIZES)
    return batch_size.explain_batch_size(runs, trained(batch_size.counterfactuals(BASE, runs)))


def way(config: TrainConfig) -> float:
    """How far a run goes: 20 epochs where early stopping ends it, else all of its epochs."""
    epochs = config.epochs if config.patience is None else min(20, config.epochs)
    if config.patience is not None and config.patience > 3:
        epochs = 20 * config.patience // 3
    return cumulative_lr(config, epochs * config.updates_per_epoch)


def outcomes(explanations: Iterable[Explanation], start: str) -> dict[str, str]:
    return {
        cause.title: cause.outcome
        for one in explanations
        for cause in one.causes
        if cause.title.startswith(start)
    }


def supported(explanations: Iterable[Explanation]) -> list[Cause]:
    return [cause for one in explanations for cause in one.supported]


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_where_only_the_way_matters_the_batch_itself_is_not_blamed(n_seeds: int) -> None:
    # one world of 100: in 3 of them five seeds blame the batch by chance
    found = batch_world(lambda c, s: 0.70 + 0.03 * min(2.6, math.log10(way(c))), n_seeds, seed=1)
    assert set(outcomes(found, "The shorter way").values()) == {"supported"}
    assert set(outcomes(found, "The batch itself").values()) == {"tested, not supported"}
    cause = next(
        c
        for c in supported(found)
        if c.title == "The shorter way (fewer updates at one learning rate) at batch 500"
    )
    assert cause.share == pytest.approx(1, abs=0.35)
    assert (
        "The shorter way (fewer updates at one learning rate) at batch 500 explained"
        in found[1].answer
    )
    assert f"{cause.share_words} the lost accuracy" in found[1].answer
    assert "the batch itself" not in found[1].answer.lower()
    assert ("in all 3 seeds" in found[1].answer) == (n_seeds == 3)
    if n_seeds == 5:
        assert cause.low is not None
        assert cause.low < cause.share < cause.high


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_where_the_batch_itself_hurts_it_is_blamed_and_the_way_is_not(n_seeds: int) -> None:
    found = batch_world(lambda c, s: 0.85 - 0.03 * math.log10(c.batch), n_seeds)
    assert set(outcomes(found, "The batch itself at batch 500").values()) == {"supported"}
    assert set(outcomes(found, "The shorter way").values()) == {"tested, not supported"}
    few = {"within the noise"} if n_seeds < 5 else set()
    unclaimed = {"tested, not supported"}
    assert unclaimed <= set(outcomes(found, "The learning rate").values()) <= unclaimed | few
    assert "The batch itself at batch 500 explained" in found[1].answer
    table = causes_table(found[1])
    shares = {cause: share for cause, _, _, share in table.cells}
    assert (
        shares["The shorter way (fewer updates at one learning rate) at batch 500"]
        == "tested, not supported"
    )
    assert shares["The batch itself at batch 500"].startswith("1")
    assert any(note.startswith("The batch itself. Test: against batch 5") for note in table.notes)


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5, 10])
def test_where_nothing_differs_no_cause_is_claimed(n_seeds: int) -> None:
    false = sum(
        any(supported(batch_world(lambda c, s: 0.84, n_seeds, seed)[1:2])) for seed in range(100)
    )
    assert false <= 11  # binomial(100, 0.05): more in 0.4 %


def test_where_one_seed_alone_differs_no_cause_is_claimed() -> None:
    for n_seeds in (3, 5):
        found = batch_world(lambda c, s: 0.84 - 0.1 * (s == 0 and c.batch == 50), n_seeds)
        assert not supported(found[1:2])
        assert found[1].causes  # they were tested
        assert "It is within the noise, so that no cause is claimed." in found[1].answer


def test_counterfactuals_are_plain_and_affordable() -> None:
    runs = [run_of(f"batch {s}", BASE.but(batch=s), 0, 0.8) for s in (1, 5, 50, 500, 5000)]
    arms = dict(batch_size.counterfactuals(BASE, runs))
    assert arms["batch 50, lr scaled"].lr == pytest.approx(0.1)
    assert arms["batch 5000, lr scaled by the root"].lr == pytest.approx(0.01 * math.sqrt(1000))
    # batch 50 went 20 epochs of 200 updates at 0.01: of batch 5, two epochs of 2,000
    cut = arms["batch 5, cut to the cumulative learning rate of batch 50"]
    assert (cut.batch, cut.epochs, cut.patience) == (5, 2, None)
    assert cut.lr == pytest.approx(0.01)
    # batch 5000 went 20 epochs of two: a fiftieth of an epoch, and of the learning rate
    cut = arms["batch 5, cut to the cumulative learning rate of batch 5000"]
    assert (cut.epochs, cut.lr) == (1, pytest.approx(0.01 * 40 / 2000))
    patient = arms["batch 50, patience in updates"]
    assert (patient.patience, patient.epochs) == (30, batch_size.MOST_EPOCHS)
    assert "batch 500, patience in updates" not in arms
    assert not any(label.startswith("batch 1,") for label in arms)


def test_without_counterfactual_runs_nothing_is_claimed_of_accuracy() -> None:
    runs = [
        run_of(f"batch {s}", BASE.but(batch=s), n, 0.85 - 0.03 * math.log10(s))
        for s in SIZES for n in range(5)
    ]  # fmt: skip
    assert batch_size.explain_batch_size(runs, [])[1].causes == ()


def test_the_time_to_the_best_model_is_epochs_times_pace() -> None:
    """Batch 1 takes 8 times as long per epoch, batch 500 needs ten times as many: exactly that."""

    def timed(size: int, pace: float, best: int, seed: int) -> RecordedRun:
        epochs = [
            epoch(i, train_seconds=pace * (1 + 0.01 * seed), updates=-(-10_000 // size) * i)
            for i in range(1, best + 1)
        ]
        return recorded(
            epochs, label=f"batch {size}", batch=size, seed=seed, best_epoch=best,
            train_seconds=sum(e.train_seconds for e in epochs),
        )  # fmt: skip

    runs = [
        timed(size, pace, best + seed % 2, seed)
        for size, pace, best in ((1, 0.8, 9), (5, 0.1, 9), (500, 0.1, 90))
        for seed in range(5)
    ]
    found = batch_size.explain_batch_size(runs, [])[0]
    assert found.causes == ()  # an identity is no hypothesis
    assert (  # best epochs 9, 10, 9, 10, 9 and 90, 91, 90, 91, 90; 2 % dearer on average
        "the smallest batch took 9.4 epochs of 0.82 s, the largest 90.4 epochs of 0.10 s"
        in found.answer
    )
    # per update 0.8 s / 10,000 against 0.1 s / 20
    assert "of batch 500 takes 62.5 times as long as one of batch 1" in found.measured[0]
    assert "within the noise" not in found.answer


def test_what_all_of_three_seeds_show_is_claimed() -> None:
    """A student's sweep: without an interval, but every seed shows it."""
    base, affected = (84.5, 84.6, 84.4), (81.90, 82.02, 81.87)
    without = {
        "batch 50, lr scaled": (84.17, 83.79, 83.79),
        "batch 50, patience in updates": (84.35, 84.42, 84.31),
        batch_size.cut_label(5, 50): (82.8, 81.4, 81.5),
    }

    def runs(label: str, batch: int, accuracies: tuple[float, ...]) -> list[RecordedRun]:
        return [
            run_of(label, BASE.but(batch=batch), seed, accuracy / 100, noise=0.008)
            for seed, accuracy in enumerate(accuracies)
        ]

    why = [run for label, of in without.items() for run in runs(label, 50, of)]
    # many comparisons more, of which nothing is to be seen, change nothing
    others = [run for size in (500, 1000, 5000) for run in runs(f"batch {size}", size, base)]
    study = [*runs("batch 5", 5, base), *runs("batch 50", 50, affected), *others]
    found = batch_size.explain_batch_size(study, why)[1]
    assert [cause.title for cause in found.supported] == [
        "The shorter way (fewer updates at one learning rate) at batch 50",
        "The learning rate not scaled with the batch at batch 50",
        "The patience counted in epochs at batch 50",
    ]
    assert all(cause.seen_in == ", in all 3 seeds" for cause in found.supported)
    # a seed that goes the other way
    odd = [*runs("batch 50, lr scaled", 50, (84.9, 84.9, 81.8))]
    (cause,) = batch_size.explain_batch_size(study, odd)[1].causes
    assert cause.outcome == "tested, not supported"
    # every seed its way, but by less than the noise: it is not refuted, and not claimed
    near = [*runs("batch 50, lr scaled", 50, (82.7, 82.8, 82.6))]
    found = batch_size.explain_batch_size(study, near)[1]
    (cause,) = found.causes
    assert (cause.outcome, cause.likely) == ("within the noise", True)
    assert found.answer.endswith(
        "The learning rate not scaled with the batch at batch 50 may explain 30 % of the lost "
        "accuracy, but not clearly."
    )
    assert [row[-1] for row in causes_table(found).cells] == ["30 %, within the noise"]
    # so little of it is no cause of the rest
    little = [*runs("batch 50, lr scaled", 50, (82.1, 82.2, 82.0))]
    (cause,) = batch_size.explain_batch_size(study, little)[1].causes
    assert cause.outcome == "tested, not supported"


@pytest.mark.parametrize(
    ("n_seeds", "times"), [(2, 1), (2, 1.6), (3, 1), (3, 1.6), (3, 2.5), (4, 2.5)]
)
def test_few_seeds_seldom_claim_a_false_cause(n_seeds: int, times: float) -> None:
    """Nothing differs; the seeds vary as a run's own curve does, or so many times as much."""
    worlds = (batch_world(lambda c, s: 0.84, n_seeds, seed, 0.006 * times) for seed in range(120))
    assert sum(bool(supported(world[1:2])) for world in worlds) <= 6  # 5 %


@pytest.mark.parametrize(
    ("n_fell", "said"),
    [(1, "1 of 3 seeds diverged"), (2, "2 of 3 seeds diverged"), (3, "all 3 seeds diverged")],
)
def test_it_is_said_how_many_seeds_diverged_at_the_scaled_rate(n_fell: int, said: str) -> None:
    study = [
        changed(run_of(f"batch {b}", BASE.but(batch=b), s, 0.8), id=10 * b + s)
        for b in (5, 500) for s in range(3)
    ]  # fmt: skip
    scaled = BASE.but(batch=500, lr=1.0)
    why = [
        changed(run_of("batch 500, lr scaled", scaled, s, 0.8),
                stop_reason="diverged" if s < n_fell else "patience")
        for s in range(3)
    ]  # fmt: skip
    figures = {run.run.id: {"sharpness": 10.0} for run in study}
    found = batch_size.explain_batch_size(study, why, figures)[1]
    assert f"Scaled for batch 500, the learning rate is 1: {said}." in " ".join(found.measured)
    ((_, effect, in_the_test, share),) = causes_table(found).cells
    assert effect == "80.0 % to 80.0 %"
    of_three = f"80.0 % ({n_fell} of 3 diverged)"
    assert in_the_test == (of_three if n_fell < 3 else "all 3 diverged")
    # one that survives of three speaks for none of the seeds
    assert share == ("tested, not supported" if n_fell == 1 else "no result")


# Axes


def on_a_common_curve(label: str, config: TrainConfig, epochs: int) -> RecordedRun:
    """Validation accuracy and loss as functions of the cumulative learning rate alone."""
    curve = []
    for i in range(1, epochs + 1):
        reached = cumulative_lr(config, i * config.updates_per_epoch)
        curve.append(
            epoch(
                i, updates=i * config.updates_per_epoch, train_seconds=0.5,
                val_accuracy=0.85 - 0.6 / (1 + reached), train_loss=1 / (1 + reached),
            )
        )  # fmt: skip
    return recorded(curve, label=label, batch=config.batch, lr=config.lr, momentum=config.momentum)


def test_positions_by_hand() -> None:
    run = on_a_common_curve("", BASE.but(batch=50, momentum=0.5), 3)
    assert positions(run, "epoch") == [1, 2, 3]
    assert positions(run, "updates") == [200, 400, 600]
    assert positions(run, "examples") == [10_000, 20_000, 30_000]
    assert positions(run, "seconds") == [0.5, 1.0, 1.5]
    assert positions(run, "cumulative-lr") == pytest.approx([4, 8, 12])  # 200 x 0.01 / 0.5


def test_curves_collapse_on_the_axis_that_made_them() -> None:
    # batch 5000 ends where batch 50 begins: neighbours are compared where both have been
    runs = [
        on_a_common_curve(f"{batch}, {alpha}", BASE.but(batch=batch, momentum=alpha), n)
        for batch, alpha, n in ((50, 0.0, 40), (100, 0.0, 80), (100, 0.9, 10), (5000, 0.0, 100))
    ]
    accuracy, loss = gaps(runs), gaps(runs, "train_loss")
    assert accuracy["cumulative-lr"] < 0.004
    assert accuracy["updates"] > 0.02
    assert accuracy["epoch"] == accuracy["examples"] > 0.1
    assert loss["cumulative-lr"] < 1.05
    assert loss["epoch"] > 2
    found = collapse(runs)
    assert found.apart
    assert found.closer
    assert (
        found.measured[-1]
        == "Had they lain as far apart there as at the same epoch, this would be refuted."
    )


def test_the_distance_of_two_curves_by_hand() -> None:
    # one rises along ln(epoch), the other stands 0.1 above it; seeds average out
    def logarithmic(label: str, epochs: Sequence[int], above: float, seed: int) -> RecordedRun:
        values = [epoch(e, val_accuracy=0.2 * math.log(e) + above) for e in epochs]
        return recorded(values, label=label, seed=seed)

    lower = [logarithmic("a", range(1, 9), shift, seed) for seed, shift in ((1, 0.05), (2, -0.05))]
    upper = [logarithmic("b", range(1, 17), 0.1, seed) for seed in (1, 2)]
    assert gaps([*lower, *upper])["epoch"] == pytest.approx(0.1)
    assert gaps(lower) == {}
    refuted = collapse([*lower, *upper])  # as far apart by updates, of which all have as many
    assert not refuted.closer
    assert "refuted" in refuted.measured[-1]
    note = gap_note(gaps([*lower, *upper]), "cumulative-lr")
    assert "validation accuracy lie 10.0 points apart on average" in note
    assert "is not known" in gap_note({}, "cumulative-lr")


def test_curves_that_differ_by_noise_are_not_apart() -> None:
    rng = np.random.default_rng(0)
    runs = [
        recorded(
            [epoch(e, val_accuracy=0.8 + 0.01 * rng.standard_normal()) for e in range(1, 30)],
            label=label, seed=seed,
        )
        for label in "abc" for seed in range(3)
    ]  # fmt: skip
    found = collapse(runs)
    assert not found.apart
    assert not found.closer


# Momentum


ALPHAS = (0.1, 0.5, 0.9)


def momentum_world(rule: Rule, n_seeds: int = 5, seed: int = 0) -> tuple[Explanation, ...]:
    """Training losses by the rule and 3 % of noise."""
    rng = np.random.default_rng(seed)
    config = BASE.but(epochs=20, patience=None)

    def trained(arms: Iterable[tuple[str, TrainConfig]]) -> list[RecordedRun]:
        return [
            run_of(label, c, number, 0.85 + rng.normal(0, 0.006),
                   rule(c, number) * math.exp(rng.normal(0, 0.03)), noise=0.006)
            for label, c in arms
            for number in range(n_seeds)
        ]  # fmt: skip

    runs = trained((f"momentum {a}", config.but(momentum=a)) for a in ALPHAS)
    return momentum.explain_momentum(runs, trained(momentum.counterfactuals(config, runs)))


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_where_the_step_is_all_momentum_is_a_longer_step(n_seeds: int) -> None:
    found = momentum_world(lambda c, s: (c.lr / (1 - c.momentum)) ** -0.5, n_seeds)
    loss = "momentum 0.9 (training loss)"
    assert outcomes(found, "The longer step")[f"The longer step at {loss}"] == "supported"
    averaging = outcomes(found, "The averaging")[f"The averaging of gradients at {loss}"]
    assert averaging == "tested, not supported"
    assert "a larger learning rate does the same" in found[1].answer
    assert any("do not clearly differ" in one for one in found[1].measured)


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_where_averaging_helps_it_is_named(n_seeds: int) -> None:
    found = momentum_world(lambda c, s: 1 - 0.5 * c.momentum, n_seeds)
    loss = "momentum 0.9 (training loss)"
    assert outcomes(found, "The longer step")[f"The longer step at {loss}"] != "supported"
    averaging = outcomes(found, "The averaging")[f"The averaging of gradients at {loss}"]
    assert averaging == "supported"
    assert "Averaging them helps" in found[1].answer


def test_where_momentum_does_nothing_no_cause_is_claimed() -> None:
    false = sum(any(supported(momentum_world(lambda c, s: 1.0, 5, seed))) for seed in range(60))
    assert false <= 9
    one = momentum_world(lambda c, s: 2.0 if s == 0 and c.momentum == 0.9 else 1.0)
    assert not supported(one)


def test_the_advice_follows_from_the_causes() -> None:
    """Two seeds: what is claimed of the step in one paragraph is claimed in the next, and only
    that."""
    nothing = momentum_world(lambda c, s: 1.0, 2)
    assert not supported(nothing)
    assert "Neither the longer step that it makes nor the averaging" in nothing[1].answer
    step = momentum_world(lambda c, s: (c.lr / (1 - c.momentum)) ** -0.5, 2)
    assert "The longer step at momentum 0.9 (training loss)" in {
        cause.title for cause in supported(step)
    }
    assert "What they buy is the longer step" in step[1].answer


def test_what_each_momentum_remembers() -> None:
    found = momentum_world(lambda c, s: 1.0)
    assert found[1].evidence["gradients_remembered"]["0.9"] == pytest.approx(10)


# Early stopping


def stopping_world(noise: float, n_seeds: int = 5, *, dip: bool = False) -> Explanation:
    rng = np.random.default_rng(1)
    trend = 0.70 + 0.14 * (1 - np.exp(-np.arange(30) / 8))
    if dip:  # a true dip: without noise the patience stops there too
        trend = np.concatenate([trend[:6], trend[6:10] - 0.05, trend[10:]])
    runs = []
    for seed in range(n_seeds):
        val, test = (trend + rng.normal(0, noise, 30) for _ in range(2))
        runs.append(
            recorded(
                [epoch(i + 1, val_accuracy=val[i], test_accuracy=test[i]) for i in range(30)],
                seed=seed, best_epoch=30, test_accuracy=0.84, best_val_accuracy=0.84,
            )
        )  # fmt: skip
    (found,) = early_stopping.explain_early_stopping(runs, [1])
    return found


def test_noise_that_ends_a_rising_training_is_the_cause() -> None:
    found = stopping_world(0.02)
    (cause,) = found.causes
    about = 100 * found.evidence["validation_noise"]
    assert found.measured[1].startswith(
        f"From epoch to epoch the validation accuracy varies about its trend by {about:.1f} points "
    )
    assert found.measured[1].endswith(  # sqrt(.84 * .16 / 2000)
        "Its standard error on 2,000 images, 0.8 points, is a second uncertainty."
    )
    assert cause.outcome == "supported"
    assert 0.3 < (cause.share or 0) < 1  # five epochs' mean has half of the noise left
    assert found.evidence["validation_noise"] == pytest.approx(0.02, rel=0.2)
    assert found.evidence["validation_standard_error"] == pytest.approx(
        math.sqrt(0.84 * 0.16 / 2000)
    )


@pytest.mark.parametrize(("noise", "dip"), [(1e-5, False), (0.002, True)])
def test_a_stop_without_noise_or_where_training_gets_worse_is_not_put_down_to_it(
    noise: float, dip: bool
) -> None:
    (cause,) = stopping_world(noise, dip=dip).causes
    assert cause.outcome == "tested, not supported"


def test_the_patience_of_the_test_watches_what_the_runs_watched() -> None:
    """The loss falls all the way; the accuracy, which nobody watched, jumps about."""
    rng = np.random.default_rng(0)
    run = recorded(
        [
            epoch(i + 1, val_loss=1 - 0.01 * i, val_accuracy=0.8 + float(rng.normal(0, 0.02)),
                  test_accuracy=0.8)
            for i in range(20)
        ],
        monitor="val_loss", best_epoch=20, test_accuracy=0.8, best_val_accuracy=0.8,
    )  # fmt: skip
    (found,) = early_stopping.explain_early_stopping([run], [1])
    (cause,) = found.causes
    assert cause.name == "The epoch-to-epoch noise of the validation loss"
    assert cause.outcome == "tested, not supported"
    assert "patience 1 does not stop and loses 0.0 points" in found.answer
    assert found.measured == ("Watching the curve smoothed over five epochs it does not stop.",)


def test_a_network_that_learnt_nothing_tests_nothing() -> None:
    scores = [
        Score(model=m, seed=0, set_name=name, accuracy=accuracy)
        for m, accuracies in {"cnn2": (0.8, 0.4), "cnn2, gap": (0.1, 0.1)}.items()
        for name, accuracy in zip(("in-domain", "up4"), accuracies, strict=True)
    ]
    study, why = ([s for s in scores if (s.model == "cnn2") is own] for own in (True, False))
    (up4,) = shifted_images.explain_shifted_images(study, why, [recorded(label="cnn2", seed=0)])
    assert up4.causes == ()
    learnt = [replace(score, accuracy=0.7) for score in why]  # and keeps all of it
    (up4,) = shifted_images.explain_shifted_images(study, learnt, [recorded(label="cnn2", seed=0)])
    name = "An output layer that reads positions in cnn2"
    assert outcomes([up4], name) == {name: "supported"}


def test_a_loss_that_momentum_raises_is_no_gain() -> None:
    cause = Cause("The longer step", "at momentum 0.9 (training loss)", "supported", 0.86, None,
                  None, "", "", "", "", {"effect": {"direction": 1, "clear": True}})  # fmt: skip
    assert momentum._changed([cause]) == "the higher loss"
    better = replace(cause, evidence={"effect": {"direction": -1, "clear": True}})
    assert momentum._changed([better]) == "the gain"


def test_the_rising_fit_is_the_nearest_rising_curve() -> None:
    rng = np.random.default_rng(0)
    values = list(np.arange(12) / 10 + rng.normal(0, 0.3, 12))
    fit = list(rising_trend(values))
    assert fit == sorted(fit)
    best = sum((v - f) ** 2 for v, f in zip(values, fit, strict=True))
    for _ in range(2000):  # no other rising curve is nearer
        other = np.sort(np.asarray(fit) + rng.normal(0, 0.1, 12))
        assert float(((np.asarray(values) - other) ** 2).sum()) >= best


def test_a_smoothed_curve_is_a_line_through_five_epochs_and_falls_where_the_curve_does() -> None:
    line = [0.5 + 0.01 * i for i in range(9)]
    assert smoothed(line) == pytest.approx(line)
    assert smoothed([0.0, 0.0, 1.0, 0.0, 0.0])[2] == pytest.approx(0.2)
    dip = smoothed([0.8, 0.82, 0.84, 0.8, 0.76, 0.72, 0.76, 0.8, 0.84, 0.88])
    assert dip[5] < dip[2]
    assert smoothed([0.7]) == pytest.approx([0.7])
    assert smoothed([0.7, 0.8]) == pytest.approx([0.7, 0.8])


# Shifted images


MODELS = ("mlp", "cnn2", "cnn3")
UNSHIFTED = {"mlp": 0.84, "cnn2": 0.88, "cnn3": 0.87}


def shifted_world(
    lost: Callable[[str, str], float],
    given_back: Callable[[str, str], float] = lambda model, name: 0.0,
    n_seeds: int = 5,
    seed: int = 0,
) -> dict[str, Explanation]:
    """Models lose ``lost(label, set)`` on a set; moving back gives them ``given_back`` of it."""
    rng = np.random.default_rng(seed)

    def measured(labels: Iterable[str]) -> list[Score]:
        return [
            Score(model=label, seed=number, set_name=name,
                  accuracy=UNSHIFTED.get(label, 0.88) + float(rng.normal(0, 0.01))
                  - (lost(label, name) if name != "in-domain" else 0))
            for label in labels
            for number in range(n_seeds)
            for name in ("in-domain", "up4", "rot90")
        ]  # fmt: skip

    runs = [
        recorded(label=model, seed=number, id=100 * i + number)
        for i, model in enumerate(MODELS)
        for number in range(n_seeds)
    ]
    scores = measured(MODELS)
    figures: dict[int, dict[str, float]] = {run.run.id: {} for run in runs}
    for score in scores:
        run_id, name = 100 * MODELS.index(score.model) + score.seed, score.set_name
        if name != "in-domain":
            back = given_back(score.model, name) * lost(score.model, name)
            figures[run_id] |= {
                f"{name}/moved_back": score.accuracy + back + float(rng.normal(0, 0.005)),
                f"{name}/input_change": 0.8,
                f"{name}/layer_error": 0.0 if name == "up4" else 1.2,
            }
    why = measured(("mlp + shift", "cnn2, gap"))
    found = shifted_images.explain_shifted_images(scores, why, runs, figures)
    return {one.question: one for one in found}


def test_position_is_the_cause_under_translation_and_other_features_under_rotation() -> None:
    def lost(label: str, name: str) -> float:
        if name == "rot90":
            return 0.7
        return {"mlp": 0.4, "cnn2": 0.3, "cnn3": 0.2}.get(label, 0.4)

    found = shifted_world(lost, lambda model, name: 0.75 if name == "up4" else 0.1)
    up4, cnn3, rotation = found.values()
    position = outcomes([up4], "The changed position")
    assert position == {f"The changed position in {m}": "supported" for m in MODELS}
    (of_cnn2,) = [c for c in up4.causes if c.title == "The changed position in cnn2"]
    assert of_cnn2.share == pytest.approx(0.75, abs=0.05)
    assert set(outcomes([up4], "The rows cut off").values()) == {"supported"}
    assert set(outcomes([up4], "No shifted image").values()) == {"tested, not supported"}
    assert "The changed position in cnn3 explained" in up4.answer
    features = "Changed features (filters do not turn) in cnn2"
    assert outcomes([rotation], features)[features] == "supported"
    assert not outcomes([rotation], "Changed features (filters do not turn) in mlp")
    # the MLP's image turned back is the image: that tests nothing
    assert "The changed position in mlp" not in outcomes([rotation], "The changed position")
    assert "differ by 120 % of their size" in rotation.measured[0]
    assert "Changed features" in rotation.answer
    # cnn3 loses 10 points less than cnn2, 7.5 of them position, and starts 1 point lower
    assert outcomes([cnn3], "The smaller")["The smaller cost of position in cnn3"] == "supported"
    start = "A worse cnn3 to begin with"
    assert outcomes([cnn3], start)[start] == "tested, not supported"


def taken_for(answers: Mapping[int, int], n: int = 10) -> tuple[tuple[int, ...], ...]:
    """Of ``n`` images of each class, all taken for its one of ``answers``, else for itself."""
    return tuple(
        tuple(n if k == answers.get(klass, klass) else 0 for k in range(10)) for klass in range(10)
    )


def turned(**confusions: tuple[tuple[int, ...], ...]) -> tuple[Explanation, ...]:
    """What is said of one cnn2 with these answers on sets of its own."""
    run = replace(
        recorded(label="cnn2", id=7),
        evaluations=tuple(
            EvaluationRecord(test_set=name, n=100, loss=None, accuracy=0.0, confusion=confusion,
                             nonfinite={})
            for name, confusion in confusions.items()
        ),
    )  # fmt: skip
    scores = [
        Score(model="cnn2", seed=run.seed, set_name=name,
              accuracy=sum(row[k] for k, row in enumerate(confusion)) / 100)
        for name, confusion in {"in-domain": taken_for({}), **confusions}.items()
    ]  # fmt: skip
    return shifted_images.explain_shifted_images(scores, [], [run])


def test_below_chance_is_explained_by_the_answer_that_most_images_get() -> None:
    # seven classes are taken for the bag (8), the bag and two others for the shirt (6)
    rot90 = taken_for(dict.fromkeys((0, 1, 2, 3, 4, 5, 6), 8) | dict.fromkeys((7, 8, 9), 6))
    (found,) = turned(rot90=rot90)
    assert found.measured[-1] == (
        "On rot90 cnn2 is below chance (10 %), for the errors are not random. Cnn2 takes 70 % of "
        "the images for Bag, but of those of that class only 0 %."
    )
    by_chance = turned(rot90=taken_for(dict.fromkeys(range(10), 8)))[0]  # the bags alone are right
    assert "below chance" not in " ".join(by_chance.measured)


def test_a_half_turn_is_explained_by_the_classes_that_survive_it() -> None:
    rot90 = taken_for(dict.fromkeys(range(8), 8) | {9: 6})  # the bags alone
    rot180 = taken_for({0: 6, 1: 3, 2: 6, 7: 8})
    *_, half = turned(rot90=rot90, rot180=rot180, rot270=taken_for(dict.fromkeys(range(10), 9)))
    assert half.question == "Why does rot180 cost less accuracy than rot90 and rot270?"
    assert half.answer == (
        "It does: cnn2 has 60.0 % on rot180, against 10.0 % on rot90 and 10.0 % on rot270."
    )
    assert half.measured == (
        "Classes of which cnn2 still recognises a quarter or more: on rot180 Dress (100 %), Coat "
        "(100 %), Sandal (100 %), Shirt (100 %), Bag (100 %) and Ankle boot (100 %); on rot90 Bag "
        "(100 %).",
        "Half of a class or more is taken for one other on rot180: T-shirt/top and Pullover for "
        "Shirt; Trouser for Dress; Sneaker for Bag.",
    )
    *_, other_way = turned(rot90=rot180, rot180=rot90)
    assert other_way.answer == "It costs more: cnn2 has 10.0 % on rot180, against 60.0 % on rot90."
    *_, alike = turned(rot90=rot90, rot180=rot90)
    assert alike.answer.startswith("No clear difference: ")
    three = taken_for(dict.fromkeys(range(7), 8))  # are right
    *_, between = turned(rot90=rot180, rot180=three, rot270=rot90)
    assert between.answer.startswith("Not less than each: cnn2 has 30.0 % on rot180, against ")


def test_a_cnn3_that_loses_more_is_said_to() -> None:
    """Of 30 points position costs cnn3 27, of 20 it costs cnn2 10."""
    found = shifted_world(
        lambda label, name: 0.3 if label == "cnn3" else 0.2,
        lambda model, name: 0.9 if model == "cnn3" else 0.5,
    )
    worse = found["Why does cnn3 do worse than cnn2 on up4?"]
    assert worse.answer.startswith("It does: ")
    name = "The larger cost of position in cnn3"
    assert outcomes([worse], "The larger")[name] == "supported"


def test_where_the_accuracy_rises_no_loss_is_explained() -> None:
    up4 = next(iter(shifted_world(lambda label, name: -0.1, lambda model, name: 0.8).values()))
    assert up4.causes == ()
    assert "lost accuracy" not in up4.answer


def test_below_chance_names_no_class_where_the_errors_are_spread() -> None:
    spread = tuple(tuple(1 if k == klass else 11 for k in range(10)) for klass in range(10))
    (found,) = turned(rot90=spread)
    assert not any("below chance" in one for one in found.measured)


def test_where_training_on_shifted_images_helps_it_is_named() -> None:
    up4 = next(iter(shifted_world(lambda label, name: 0.02 if "+" in label else 0.4).values()))
    name = "No shifted image in training in mlp"
    assert outcomes([up4], name)[name] == "supported"
    assert set(outcomes([up4], "The changed position").values()) == {"tested, not supported"}


def test_a_model_that_has_less_to_lose_is_no_support_for_pooling() -> None:
    """Half the accuracy and half the loss: in proportion, pooling changes nothing."""
    models = ("cnn2", "cnn2, gap")
    scores = [
        Score(model=m, seed=s, set_name=name,
              accuracy=(0.8 if m == "cnn2" else 0.4) * (1 if name == "in-domain" else 0.5))
        for m in models for s in range(5) for name in ("in-domain", "up4")
    ]  # fmt: skip
    runs = [recorded(label="cnn2", seed=s, id=s) for s in range(5)]
    (up4,) = shifted_images.explain_shifted_images(
        [s for s in scores if s.model == "cnn2"], [s for s in scores if s.model != "cnn2"], runs
    )
    (cause,) = up4.causes
    assert (cause.outcome, cause.share) == ("tested, not supported", pytest.approx(0))


def test_a_test_by_another_training_shows_both_accuracies_and_compares_relative_losses() -> None:
    scores = [
        Score(model=model, seed=0, set_name=name, accuracy=value)
        for model, before, after in (("mlp", 0.8, 0.4), ("mlp + shift", 0.5, 0.4))
        for name, value in (("in-domain", before), ("up4", after))
    ]
    (up4,) = shifted_images.explain_shifted_images(scores[:2], scores[2:], [recorded(label="mlp")])
    (cause,) = up4.causes
    assert (cause.effect, cause.result) == ("80.0 % to 40.0 %", "50.0 % to 40.0 %")
    assert cause.share == pytest.approx(1 - 0.2 / 0.5)
    assert "relative losses" in up4.note


def test_a_model_without_accuracy_loses_no_share_of_it() -> None:
    scores = [
        Score(model="mlp", seed=seed, set_name=name, accuracy=accuracy)
        for seed, before in ((42, 0.0), (43, 1.0))
        for name, accuracy in ((shifted_images.IN_DOMAIN, before), ("up4", 0.25))
    ]
    accuracies = shifted_images._accuracies(scores)
    assert shifted_images._lost(accuracies, "mlp", "up4").values == {43: 0.75}


def test_shifted_images_that_change_nothing_need_no_cause() -> None:
    def false(seed: int) -> bool:
        return bool(supported(shifted_world(lambda *_: 0.0, seed=seed).values()))

    assert sum(map(false, range(60))) <= 9


# The learning rate

RATES = (0.001, 0.01, 0.1)


def rate_world(
    rule: Rule, n_seeds: int = 5, seed: int = 0, sharpness: float = 10.0
) -> tuple[Explanation, ...]:
    rng = np.random.default_rng(seed)

    def trained(arms: Iterable[tuple[str, TrainConfig]]) -> list[RecordedRun]:
        found = []
        for label, c in arms:
            for number in range(n_seeds):
                run = run_of(label, c, number, rule(c, number) + rng.normal(0, 0.006))
                found.append(changed(run, id=next(ids)))
        return found

    ids = iter(range(1, 1000))
    runs = trained((f"lr {rate:g}", BASE.but(lr=rate)) for rate in RATES)
    why = trained(learning_rate.counterfactuals(BASE, runs))
    figures = {run.run.id: {"sharpness": sharpness} for run in runs}
    return learning_rate.explain_learning_rate(runs, why, figures)


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_a_small_rate_that_only_went_too_short_a_way_is_told(n_seeds: int) -> None:
    def rule(c: TrainConfig, seed: int) -> float:
        return 0.70 + 0.05 * min(2.6, math.log10(way(c))) - (0.1 if c.lr > 0.05 else 0)

    found = rate_world(rule, n_seeds, seed=1)
    assert outcomes(found, "The shorter way") == {
        "The shorter way (small steps, no more of them) at lr 0.001": "supported"
    }
    noise = outcomes(found, "The noise of the steps at lr 0.1")
    assert set(noise.values()) == {"tested, not supported"}  # it is the step itself


def test_noise_that_a_larger_batch_averages_out_is_told_from_the_step() -> None:
    found = rate_world(lambda c, s: 0.85 - 0.04 * max(0, math.log10(c.lr / c.batch / 0.002)))
    (cause,) = [c for c in found[0].causes if c.name.startswith("The noise")]
    assert cause.outcome == "supported"
    assert cause.share == pytest.approx(1, abs=0.3)
    assert "The noise of the steps at lr 0.1 explained" in found[0].answer
    assert "0.001" not in found[0].answer.partition("The noise")[2]


def test_rates_that_change_nothing_have_no_cause() -> None:
    false = sum(any(supported(rate_world(lambda c, s: 0.84, 5, seed))) for seed in range(100))
    assert false <= 11
    assert not supported(rate_world(lambda c, s: 0.84 - 0.1 * (s == 0 and c.lr == 0.1)))


def test_the_sharpness_is_held_against_two_by_lr() -> None:
    calm = " ".join(rate_world(lambda c, s: 0.84, sharpness=9.0)[0].measured)
    assert "2/lr, which is 20 at lr 0.1: far below it curvature does not bound" in calm
    at_the_edge = " ".join(rate_world(lambda c, s: 0.84, sharpness=19.0)[0].measured)
    assert "near it steps overshoot" in at_the_edge


# Every statement is short


def test_statements_are_at_most_two_sentences_and_four_numbers() -> None:
    plain = [run_of(f"batch {b}", BASE.but(batch=b), s, 0.8) for b in (1, 5000) for s in range(3)]
    explanations = [
        *batch_world(lambda c, s: 0.70 + 0.03 * min(2.6, math.log10(way(c))), 5),
        *momentum_world(lambda c, s: 1 - 0.5 * c.momentum),
        stopping_world(0.02),
        *shifted_world(lambda *_: 0.4, lambda *_: 0.6).values(),
        *rate_world(lambda c, s: 0.70 + 0.05 * math.log10(way(c)), sharpness=1000.0),
        *batch_size.explain_batch_size(plain, ()),
    ]
    for one in explanations:
        for statement in (one.answer, *one.measured):
            assert len(re.findall(r"[.!?](?= |$)", statement)) <= 2, statement
            numbers = re.findall(r"(?<![\w.,/])[\d][\d,.]*", statement)
            assert len(numbers) <= 4, statement
            assert not re.search(r"\de[+-]", statement), statement


# The judge itself


def test_a_share_by_hand() -> None:
    # effects 4, 5, 6 points; taken away leaves 1 point of each: 12 of 15 points gone
    reference = Sample(dict.fromkeys(range(5), 0.80), 0.002)
    affected = Sample(dict(enumerate([0.76, 0.75, 0.74, 0.75, 0.75])), 0.002)
    without = Sample(dict.fromkeys(range(5), 0.79), 0.002)
    effect = Effect(reference, affected, "share")
    gone, remains = attribute(
        [
            Trial("a", "", "", "", effect, without),
            Trial("b", "", "", "", effect, without, residual=True),
        ]
    )
    assert gone.share == pytest.approx(0.8)
    assert remains.share == pytest.approx(0.2)
    assert gone.low < 0.8 < gone.high
    assert gone.share_words == "80 % of"
    assert (gone.effect, gone.result) == ("80.0 % to 75.0 %", "79.0 %")
    (missing,) = attribute([Trial("c", "", "", "", effect, Sample({}))])
    assert (missing.outcome, missing.share) == ("not tested", None)


def test_runs_that_diverged_are_counted_wherever_a_mean_leaves_them_out() -> None:
    # effects of 5 points, all gone without the cause, in the two seeds that all three have
    reference = Sample(dict.fromkeys(range(3), 0.80), 0.002)
    affected = Sample(dict.fromkeys((0, 1), 0.75), 0.002, diverged=1)
    without = Sample(dict.fromkeys((0, 1), 0.80), 0.002, diverged=1)
    effect = Effect(reference, affected, "share")
    (cause,) = attribute([Trial("It", "", "", "", effect, without)])
    assert (cause.outcome, cause.evidence["seeds"]) == ("supported", [0, 1])
    assert cause.effect == "80.0 % to 75.0 % (1 of 3 diverged)"
    assert cause.result == "80.0 % (1 of 3 diverged)"
    assert because([cause], "the loss") == (
        " It explained all of the loss, in the 2 seeds that did not diverge."
    )
    (lost,) = attribute([Trial("It", "", "", "", effect, Sample({2: 0.8}, 0.002, diverged=2))])
    assert lost.result == "80.0 % (2 of 3 diverged)"  # no seed is left to compare
    assert lost.outcome == "not tested"


def test_a_study_batch_whose_seeds_diverge_is_counted_in_the_effect() -> None:
    study = [run_of(f"batch {b}", BASE.but(batch=b), s, 0.8) for b in (5, 500) for s in range(3)]
    study[-1] = changed(study[-1], stop_reason="diverged")
    why = [run_of("batch 500, lr scaled", BASE.but(batch=500, lr=1.0), s, 0.8) for s in range(3)]
    table = causes_table(batch_size.explain_batch_size(study, why)[1])
    ((_, effect, _, _),) = table.cells
    assert effect == "80.0 % to 80.0 % (1 of 3 diverged)"
    assert any("the test accuracy of batch 5, then of the larger batch" in n for n in table.notes)


def test_a_counterfactual_that_makes_it_worse_supports_nothing() -> None:
    reference = Sample(dict.fromkeys(range(5), 0.80))
    affected = Sample(dict(enumerate([0.76, 0.75, 0.74, 0.75, 0.75])))
    worse = Sample(dict(enumerate([0.70, 0.69, 0.71, 0.70, 0.70])))
    (cause,) = attribute([Trial("a", "", "", "", Effect(reference, affected, "share"), worse)])
    assert cause.outcome == "tested, not supported"


def test_what_helps_anyway_is_no_cause_of_an_effect_that_is_not_there() -> None:
    # the affected condition differs by chance alone; the counterfactual is better than both
    reference = Sample(dict(enumerate([0.800, 0.802, 0.798, 0.801, 0.799])))
    affected = Sample(dict(enumerate([0.799, 0.801, 0.799, 0.800, 0.7985])))
    better = Sample(dict(enumerate([0.850, 0.851, 0.849, 0.850, 0.852])))
    (cause,) = attribute([Trial("a", "", "", "", Effect(reference, affected, "share"), better)])
    assert cause.evidence["part"]["clear"]
    assert cause.evidence["part"]["direction"] == cause.evidence["effect"]["direction"]
    assert cause.outcome == "tested, not supported"
