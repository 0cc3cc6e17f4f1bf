"""The answers of the studies: each claim judged as what it is, on runs made by hand."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fmnist_cli.analysis.answers import Answer, listing, study_note
from fmnist_cli.analysis.batch_size import (
    SECONDS_PER_EPOCH,
    TEST_ACCURACY,
    sweep_answers,
    updates_to_accuracy,
)
from fmnist_cli.analysis.claims import judge, seconds, share
from fmnist_cli.analysis.early_stopping import (
    apply_patience,
    early_stop_answers,
    smallest_that_keeps_the_best,
)
from fmnist_cli.analysis.groups import compare_groups, observations
from fmnist_cli.analysis.momentum import (
    LOWEST_LOSS,
    common_loss,
    epochs_to_loss,
    instability,
    momentum_answers,
)
from fmnist_cli.analysis.noise import accuracy_noise, curve_noise, sampling_error
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.shifted_images import Score, against_chance, augment_answer, ood_answers
from fmnist_cli.errors import UsageError
from fmnist_cli.registry.records import EvaluationRecord

from .recorded import changed, epoch, recorded


def verdicts(answers: Iterable[Answer]) -> list[str]:
    return [answer.verdict for answer in answers]


def batch_run(
    batch: int,
    *,
    best: int,
    accuracy: float,
    per_epoch: float,
    seed: int = 42,
    after: int = 3,
    updates: int = 0,
) -> RecordedRun:
    """A run of a sweep: rises with its updates, as all do, to ``accuracy`` at ``best``."""
    n = best + after
    updates = updates or -(-10_000 // batch)

    def reached(i: int) -> float:
        by_updates = 0.843 * (1 - math.exp(-((updates * i / 102) ** 0.7)))
        return min(by_updates, accuracy * (1 - 0.01 * abs(1 - i / best)))

    epochs = [
        epoch(
            i,
            updates=updates * i,
            train_seconds=per_epoch,
            val_accuracy=reached(i),
            test_accuracy=None,
        )
        for i in range(1, n + 1)
    ]
    return recorded(
        epochs, batch=batch, label=f"batch {batch}", seed=seed, best_epoch=best,
        updates_to_best=updates * best, best_val_accuracy=reached(best), test_accuracy=accuracy,
        train_seconds=per_epoch * n,
    )  # fmt: skip


# what twelve seeds of the default MLP show: best epochs, test accuracies, seconds per epoch
REAL = {
    1: (7.1, 0.45, 0.843, 0.009, 0.104),
    5: (9.7, 0.32, 0.841, 0.006, 0.076),
    50: (16.8, 0.27, 0.815, 0.008, 0.044),
    500: (48.0, 0.19, 0.772, 0.012, 0.027),
    5000: (102.0, 0.25, 0.677, 0.016, 0.036),
}


def sweep(n_seeds: int, *, like: int | None = None, seed: int = 0) -> list[RecordedRun]:
    """A sweep drawn with the real means and spread; ``like``: every batch as that one."""
    rng = np.random.default_rng(seed)
    runs = []
    for batch in REAL:
        best, best_sd, accuracy, sd, per_epoch = REAL[like or batch]
        for number in range(n_seeds):
            run = batch_run(
                batch,
                best=max(1, round(best * math.exp(rng.normal(-(best_sd**2) / 2, best_sd)))),
                accuracy=float(rng.normal(accuracy, sd)),
                per_epoch=per_epoch * math.exp(rng.normal(0, 0.03)),
                seed=number,
                updates=0 if like is None else 10_000 // like,  # one batch in all but name
            )
            noise = rng.normal(0, 0.006, len(run.epochs))
            noisy = [
                replace(e, val_accuracy=e.val_accuracy + x)
                for e, x in zip(run.epochs, noise, strict=True)
            ]
            runs.append(changed(run, epochs=noisy))
    return runs


# The batch size


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5, 10])
def test_more_seeds_change_no_answer_that_all_of_them_show(n_seeds: int) -> None:
    faster, better, fewer, equal = sweep_answers(sweep(n_seeds))
    assert (faster.verdict, better.verdict, fewer.verdict) == ("no", "no", "yes")
    assert equal.verdict == "no clear difference"
    assert [a.kind for a in (faster, better, fewer, equal)] == ["universal", *["trend"] * 3]


def test_a_guarantee_is_refuted_by_one_counterexample_and_proved_by_none() -> None:
    rising = [
        batch_run(b, best=10, accuracy=0.8, per_epoch=s)
        for b, s in ((5, 0.05), (50, 0.2), (500, 0.8))
    ]
    answer = sweep_answers(rising)[0]
    assert answer.verdict == "no counterexample"
    assert answer.statement.startswith("No counterexample among these settings.")
    assert sweep_answers(rising[:2])[0].verdict == "no counterexample"
    turned = [rising[0], batch_run(50, best=10, accuracy=0.8, per_epoch=0.01), rising[2]]
    answer = sweep_answers(turned)[0]
    assert answer.verdict == "no"
    assert "batch 5 took 0.05" in answer.statement
    assert "the larger batch 50 only 0.01" in answer.statement
    slightly = [rising[0], batch_run(50, best=10, accuracy=0.8, per_epoch=0.045), rising[2]]
    assert sweep_answers(slightly)[0].verdict == "no counterexample"  # within a timer's noise


def test_a_guarantee_is_one_answer_whatever_the_seeds_and_the_sizes() -> None:
    runs = sweep(5)
    found = {
        sweep_answers([run for run in runs if run.seed < n and run.batch in sizes])[0].verdict
        for n in (1, 3, 5)
        for sizes in ((1, 5, 50), (1, 5, 50, 500, 5000), (1, 500))
    }
    assert found == {"no"}


@pytest.mark.parametrize("n_seeds", [1, 3, 5, 10])
def test_identical_settings_are_called_different_in_at_most_5_percent_of_studies(
    n_seeds: int,
) -> None:
    called = 0
    for study in range(100):
        answers = sweep_answers(sweep(n_seeds, like=50, seed=1000 * n_seeds + study))
        assert answers[0].verdict in ("no", "no counterexample")
        called += any(
            answer.verdict not in ("no clear difference", "no counterexample", "not settled")
            for answer in answers
        )
    assert called <= 11  # binomial(100, 0.05): more than 11 in 0.4 %


def test_a_trend_is_its_overall_change_and_names_the_step_against_it() -> None:
    runs = [
        batch_run(b, best=e, accuracy=0.8, per_epoch=0.1, seed=seed)
        for seed in range(5)
        for b, e in ((1, 10 + seed), (5, 60 + 6 * seed), (50, 10 + seed), (500, 10 + seed))
    ]
    answer = sweep_answers(runs)[2]  # 100,000 updates, 120,000, 2,000, 200
    assert answer.verdict == "yes"
    steps = {step["from"]: step["supports_the_claim"] for step in answer.evidence["steps"]}
    assert steps == {"batch 1": False, "batch 5": True, "batch 50": True}
    assert "Against it: batch 1 to batch 5" in answer.statement


def test_a_rise_that_turns_back_is_no_trend() -> None:
    accuracies = {1: 0.80, 5: 0.85, 50: 0.80}
    runs = [
        batch_run(b, best=10, accuracy=a + 0.001 * seed, per_epoch=0.1, seed=seed)
        for b, a in accuracies.items()
        for seed in range(5)
    ]
    assert sweep_answers(runs)[1].verdict == "no"


def test_the_order_of_the_runs_does_not_matter() -> None:
    runs = sweep(3)
    assert sweep_answers(runs[::-1]) == sweep_answers(runs)


def test_to_the_same_accuracy_batches_need_about_the_same_updates() -> None:
    _, better, fewer, equal = sweep_answers(sweep(5))
    assert fewer.verdict == "yes"
    assert "But each to its own best model" in fewer.statement
    assert equal.verdict == "no clear difference"
    assert "within the first epoch" in equal.statement
    assert "The learning rate was the same and patience counts epochs" in better.statement
    # the quantity that the table shows
    to_best = {s["label"]: s["mean"] for s in fewer.evidence["settings"]}
    assert better.evidence["updates_to_best"] == to_best
    assert f"{min(to_best, key=to_best.__getitem__)}'s best model also had" in better.statement
    per_batch = [
        recorded(
            [epoch(i, updates=u * i, val_accuracy=0.1 * i) for i in range(1, 9)],
            batch=b, label=f"batch {b}", seed=s, best_epoch=8, best_val_accuracy=0.8,
        )
        for b, u in ((50, 200), (500, 20), (5000, 2))
        for s in range(3)
    ]  # fmt: skip
    equal = sweep_answers(per_batch)[3]
    assert equal.verdict == "yes"  # here they need a tenth at each step
    assert (
        "updates (interpolated) to 80.00 % validation accuracy, which every setting's best model "
        "has: " in equal.statement
    )
    lower = changed(per_batch[0], epochs=per_batch[0].epochs[:7], best_val_accuracy=0.7)
    one_misses_it = sweep_answers([lower, *per_batch[1:]])[3]
    assert "which every setting's best model has in most seeds: " in one_misses_it.statement


def test_seconds_to_the_best_model_end_there_and_seconds_per_epoch_count_all() -> None:
    run = batch_run(50, best=4, accuracy=0.8, per_epoch=0.5, after=3)
    assert run.seconds_to_best == 2.0  # not the 3.5 s of all seven epochs
    assert SECONDS_PER_EPOCH.value(run) == 0.5  # not 3.5 s by four epochs
    other = batch_run(500, best=4, accuracy=0.8, per_epoch=0.5)
    faster = sweep_answers([run, other])[0]
    assert faster.evidence["to_best"]["settings"][0]["mean"] == 2.0
    assert faster.evidence["per_epoch"]["settings"][0]["mean"] == 0.5


def test_a_run_at_its_limit_is_a_lower_bound() -> None:
    runs = [
        batch_run(1, best=10, accuracy=0.7, per_epoch=0.1),
        batch_run(5000, best=10, accuracy=0.9, per_epoch=0.1),
    ]
    assert sweep_answers(runs)[2].verdict == "yes"
    runs[1] = changed(runs[1], still_improving=True, stop_reason="max_epochs")
    _, better, fewer, _ = sweep_answers(runs)
    assert better.verdict == "yes"  # more still would be better still
    assert fewer.verdict == "not settled"  # its updates might become more
    assert "at least 20 at batch 5000" in fewer.statement
    runs[0] = changed(runs[0], still_improving=True, stop_reason="max_epochs")
    assert sweep_answers(runs)[1].verdict == "not settled"


def test_diverged_runs_are_in_no_mean_and_counted() -> None:
    runs = sweep(3)
    lost = changed(runs[0], stop_reason="diverged", test_accuracy=0.1)
    answers = sweep_answers([lost, *runs[1:]])
    settings = answers[1].evidence["settings"]
    assert settings[0]["n"] == 2
    assert settings[0]["mean"] == pytest.approx(np.mean([r.test_accuracy for r in runs[1:3]]))
    assert answers[1].evidence["left_out"] == ["batch 1"]
    note = study_note([lost, *runs[1:]])
    assert note == (
        "2 to 3 seeds are too few for an interval: a difference is clear where every seed shows it "
        "beyond its noise. "
        "1 run (batch 1) diverged and is in no mean."
    )


def test_one_seed_says_how_far_its_images_alone_reach() -> None:
    note = study_note([batch_run(5, best=10, accuracy=0.84, per_epoch=0.1)])
    assert note == (
        "One seed (42). With 10,000 test images the 95 % interval of 84.0 % is 83.3 % to "
        "84.7 % (Wilson)."
    )
    assert "Wilson" not in study_note(sweep(2))


def test_labels_with_commas_are_told_apart_and_an_accuracy_at_the_limit_is_no_bound() -> None:
    assert listing(["batch 5, lr 0.01", "batch 5, lr 0.1", "batch 50, lr 1"]) == (
        "batch 5, lr 0.01; batch 5, lr 0.1 and batch 50, lr 1"
    )
    assert listing(["a", "b", "c"]) == "a, b and c"
    runs = [
        batch_run(1, best=10, accuracy=0.9, per_epoch=0.1),
        batch_run(5000, best=10, accuracy=0.487, per_epoch=0.1),
    ]
    runs[1] = changed(runs[1], still_improving=True, stop_reason="max_epochs")
    _, better, *_ = sweep_answers(runs)
    assert "48.7 % so far at batch 5000" in better.statement
    assert "least" not in better.statement


def test_a_repetition_is_no_second_observation() -> None:
    runs = sweep(1)
    repeated = [*runs, *(changed(run, id=run.run.id + 100) for run in runs)]
    once, twice = sweep_answers(runs), sweep_answers(repeated)
    assert verdicts(once) == verdicts(twice)
    assert twice[1].evidence["settings"][0]["n"] == 1
    assert twice[1].evidence["overall"]["low"] is None


def test_one_batch_size_settles_nothing() -> None:
    answers = sweep_answers(sweep(1)[:1])
    assert verdicts(answers) == ["not settled"] * 4
    assert "two settings" in answers[0].statement.lower()


# Noise


def test_the_noise_of_a_curve_is_not_its_trend() -> None:
    rng = np.random.default_rng(0)
    trend = 0.8 + 0.05 * (1 - np.exp(-np.arange(400) / 100))
    assert curve_noise(list(trend)) < 1e-5
    assert curve_noise(list(trend + rng.normal(0, 0.01, 400))) == pytest.approx(0.01, rel=0.15)
    jump = [0.8] * 20 + [0.9] * 20
    assert curve_noise(jump) == 0  # one jump does not set it
    assert curve_noise([0.8, 0.9]) == 0


def test_a_single_accuracy_has_the_error_of_its_images() -> None:
    run = batch_run(5, best=10, accuracy=0.84, per_epoch=0.1)
    steady = changed(run, epochs=[replace(e, val_accuracy=0.84) for e in run.epochs])
    assert accuracy_noise(steady) == pytest.approx(math.sqrt(0.84 * 0.16 / 10_000))


# Momentum


def curve(
    alpha: float, train: Sequence[float], running: Sequence[float] = (), **values: object
) -> RecordedRun:
    epochs = [
        epoch(i, train_loss=t, running_loss=r)
        for i, (t, r) in enumerate(zip(train, running or train, strict=True), start=1)
    ]
    return recorded(epochs, label=f"momentum {alpha}", momentum=alpha, **values)


def falling(rate: float, n: int = 30) -> list[float]:
    return [math.exp(-rate * i) for i in range(n)]


MOMENTUM = [
    curve(0.1, falling(0.03), test_accuracy=0.70),
    curve(0.5, falling(0.06), test_accuracy=0.77),
    curve(0.9, falling(0.12), test_accuracy=0.84),
]


def test_momentum_yes() -> None:
    answers = momentum_answers(MOMENTUM)
    lowest, _, fastest, stability = answers
    assert verdicts(answers) == ["yes", "yes", "yes", "no"]
    assert "Best: momentum 0.9, clearly better than every other." in lowest.statement
    assert fastest.evidence["loss"] == pytest.approx(math.exp(-0.03 * 29))
    assert [s["mean"] for s in fastest.evidence["settings"]] == [30, 16, 9]
    assert stability.statement.startswith("No, on this seed.")


def test_momentum_no() -> None:
    worse = [*MOMENTUM[:2], curve(0.9, falling(0.01), test_accuracy=0.60)]
    lowest, test, fastest, _ = momentum_answers(worse)
    assert verdicts([lowest, test, fastest]) == ["no", "no", "no"]
    assert lowest.evidence["best"] == test.evidence["best"] == "momentum 0.5"


def test_the_lowest_training_loss_is_not_the_running_loss() -> None:
    run = curve(0.5, [0.9, 0.5, 0.6], [0.9, 0.3, 0.2])
    assert LOWEST_LOSS.value(run) == 0.5


def test_the_lowest_loss_and_the_last_are_told_apart() -> None:
    up = [*falling(0.15, 20), *[0.5] * 10]
    lowest, *_ = momentum_answers([*MOMENTUM[:2], curve(0.9, up)])
    assert lowest.verdict == "yes"
    finals = {s["label"]: s["mean"] for s in lowest.evidence["final_loss"]["settings"]}
    assert finals["momentum 0.9"] == 0.5


def test_the_given_loss_is_the_smallest_that_all_reach() -> None:
    runs = [curve(0.1, [0.9, 0.7, 0.6]), curve(0.5, [0.8, 0.6, 0.5])]
    assert common_loss(runs) == 0.6
    assert [epochs_to_loss(run, 0.6) for run in runs] == [3, 2]
    assert epochs_to_loss(runs[0], 0.5) is None
    assert common_loss([changed(runs[0], stop_reason="diverged")]) is None


def test_instability_is_judged_by_the_loss_that_is_drawn() -> None:
    # the training loss jumps from 0.23 to 0.53 while the running loss falls all the way
    train = [0.40, 0.35, 0.30, 0.26, 0.23, 0.53, 0.25, 0.24, 0.22, 0.21, 0.20, 0.20]
    running = falling(0.05, 12)
    rough = curve(0.9, train, running)
    found = instability(rough)
    assert [e for e, _ in found.rises] == [6]
    assert found.rises[0][1] == pytest.approx(0.53 / 0.23 - 1)
    assert not instability(rough, "running_loss").unstable
    answer = momentum_answers([*MOMENTUM[:2], rough])[3]
    assert answer.verdict == "yes"
    assert answer.statement == (
        "Yes, on this seed. At momentum 0.9 the training loss rises by more than 35 % within an "
        "epoch, most by 130 %."
    )
    # the loss after each epoch counts as well where the one that is drawn is steady
    other = momentum_answers([*MOMENTUM[:2], rough], "running_loss")[3]
    assert other.statement == answer.statement
    assert other.evidence["metric"] == "train_loss"


def test_a_training_loss_that_jumps_again_and_again_is_unstable() -> None:
    train = [0.587, 0.548, 0.422, 0.46, 0.44, 0.355, 0.316, 0.431, 0.327, 0.454]
    assert [e for e, _ in instability(curve(0.9, train)).rises] == [8, 10]


def inside(n: int, lowest: Sequence[float] = ()) -> list[RecordedRun]:
    """The ends alike, 0.7 lower than each in every seed, by less than a shared level shows."""
    return [
        curve(a, [1.0, 0.9, 0.8, end + 0.02 * seed], seed=seed, test_accuracy=0.84)
        for seed in range(n)
        for a, end in zip((0.1, 0.3, 0.7, 0.9), lowest or (0.305, 0.29, 0.27, 0.306), strict=True)
    ]


@pytest.mark.parametrize("n", [2, 3])
def test_an_optimum_inside_the_range_is_named_where_every_seed_shows_it(n: int) -> None:
    lowest = momentum_answers(inside(n))[0]
    assert lowest.verdict == "no clear difference"
    shown = f"better than every other in {'both' if n == 2 else 'all 3'} seeds."
    assert re.search(r", 0\.2\d\d at momentum 0\.7, ", lowest.statement)
    assert "Best: momentum 0.7, better than every other in " in lowest.statement
    assert lowest.statement.endswith(shown)
    # one seed the other way round: it is not every seed
    runs = inside(n)
    i = next(i for i, r in enumerate(runs) if r.momentum == 0.3 and r.seed == 0)
    runs[i] = curve(0.3, [1.0, 0.9, 0.8, 0.2695], seed=0, test_accuracy=0.84)
    assert momentum_answers(runs)[0].statement.endswith(
        "not in every seed better than momentum 0.3."
    )


def test_a_curve_that_always_jumps_is_noisy_and_a_steady_one_is_not_unstable() -> None:
    assert not instability(MOMENTUM[0]).unstable
    assert not instability(curve(0.5, [0.5, 0.55, 0.5, 0.56, 0.5, 0.55])).unstable  # 12 %


def test_divergence_is_instability() -> None:
    lost = curve(0.9, [0.6, math.nan], stop_reason="diverged", test_accuracy=None)
    lowest, _, _, stability = momentum_answers([*MOMENTUM[:2], lost])
    assert stability.verdict == "yes"
    assert "Momentum 0.9 diverged." in stability.statement
    assert lowest.evidence["left_out"] == ["momentum 0.9"]


def test_the_best_momentum_is_not_called_better_than_its_equal() -> None:
    rng = np.random.default_rng(2)
    rates = {0.1: 0.03, 0.5: 0.08, 0.9: 0.0805}
    runs = [
        curve(a, falling(rate + rng.normal(0, 0.002)), seed=seed)
        for a, rate in rates.items()
        for seed in range(5)
    ]
    lowest, *_ = momentum_answers(runs)
    assert lowest.verdict == "yes"
    assert len(lowest.evidence["not_clearly_better_than"]) == 1
    assert "not clearly better than momentum 0." in lowest.statement


def test_one_epoch_less_in_every_seed_is_what_rounding_hides() -> None:
    def to_the_loss(first: float, second: float) -> Answer:
        rates = ((0.1, first), (0.9, second))
        return momentum_answers(
            [curve(a, falling(rate, 10), seed=seed) for a, rate in rates for seed in range(5)]
        )[2]

    nearly = to_the_loss(0.1, 0.113)
    assert [s["mean"] for s in nearly.evidence["settings"]] == [10, 9]
    assert nearly.verdict == "no clear difference"
    assert to_the_loss(0.1, 0.2).verdict == "yes"  # 10 and 6


def test_five_identical_momenta_are_seldom_ranked() -> None:
    called = 0
    for study in range(100):
        rng = np.random.default_rng(study)
        runs = [
            curve(
                a, [x * math.exp(rng.normal(0, 0.04)) for x in falling(0.05 + rng.normal(0, 1e-3))],
                seed=seed, test_accuracy=float(rng.normal(0.85, 0.006)),
            )
            for a in (0.1, 0.3, 0.5, 0.7, 0.9)
            for seed in range(5)
        ]  # fmt: skip
        answers = momentum_answers(runs)[:3]
        called += any(
            a.verdict != "no clear difference" or len(a.evidence["not_clearly_better_than"]) < 4
            for a in answers
        )
    assert called <= 11


# Early stopping


def stopping_curve(
    val: Sequence[float], test: Sequence[float], train: Sequence[float] = (), seed: int = 42
) -> RecordedRun:
    epochs = [
        epoch(i, val_accuracy=v, test_accuracy=t, train_accuracy=a)
        for i, (v, t, a) in enumerate(zip(val, test, train or val, strict=True), start=1)
    ]
    return recorded(epochs, seed=seed, test_accuracy=max(test))


CURVE = stopping_curve(
    val=[0.70, 0.72, 0.71, 0.73, 0.72, 0.72, 0.71],
    test=[0.69, 0.71, 0.70, 0.74, 0.72, 0.71, 0.70],
    train=[0.70, 0.74, 0.76, 0.80, 0.82, 0.84, 0.86],
)


def test_what_each_patience_keeps() -> None:
    one, two = apply_patience(CURVE, 1), apply_patience(CURVE, 2)
    assert (one.best_epoch, one.stopped_after, one.test_accuracy) == (2, 3, 0.71)
    assert (one.curve_best_epoch, one.cost) == (4, pytest.approx(0.03))
    assert not one.keeps_the_best
    assert (two.best_epoch, two.stopped_after, two.cost) == (4, 6, 0)
    assert two.keeps_the_best
    assert apply_patience(CURVE, 4).stopped_after is None


def test_the_trend_after_the_stop() -> None:
    trend = apply_patience(CURVE, 2).trend  # epochs 6 and 7
    assert trend is not None
    assert (trend.train_change, trend.train_trend) == pytest.approx((0.02, 0.02))
    assert (trend.test_change, trend.test_trend) == pytest.approx((-0.01, -0.01))
    assert (trend.gap_at_stop, trend.gap_at_end) == pytest.approx((0.13, 0.16))
    assert apply_patience(CURVE, 3).trend is None  # stops after the last epoch


def test_the_trend_is_not_decided_by_one_noisy_epoch() -> None:
    # least squares over 0, 1, 2, 3, 0: slope ((-2)(-1.2) + (-1)(-0.2) + 1.8 - 2 * 1.2) / 10 = 0.2
    rising = stopping_curve(val=[0.5, 0.4, 0.4, 0.4, 0.4, 0.4], test=[0.5, 0.0, 0.1, 0.2, 0.3, 0.0])
    trend = apply_patience(rising, 1).trend
    assert trend is not None
    assert trend.test_change == 0
    assert trend.test_trend == pytest.approx(4 * 0.02)


def test_early_stop_answers() -> None:
    keeps1, _, _, keeps2, _, _, cost = early_stop_answers([CURVE], [1, 2])
    assert keeps1.statement == (
        "No, on this seed. It stops after epoch 3 and keeps 2. The best validation epoch is 4; 3.0 "
        "points of test accuracy are lost by stopping."
    )
    assert keeps2.verdict == "yes"
    assert cost.evidence["smallest_patience_that_keeps_the_best"] == 2
    assert "2 is the smallest patience that keeps the best epoch." in cost.statement


def noisy_curve(seed: int, *, rise: float = 0.0, n: int = 30) -> RecordedRun:
    """30 epochs that have risen by the tenth, and after it by ``rise``; 0.8 points of noise."""
    rng = np.random.default_rng(seed)
    shape = np.minimum(np.arange(n) / 9, 1)
    later = rise * np.maximum(np.arange(n) - 9, 0) / (n - 10)
    trend = 0.75 + 0.09 * shape
    val, test = (trend + rng.normal(0, 0.008, n) for _ in range(2))
    return stopping_curve(list(val), list(test + later), list(trend + 0.02), seed)


def test_a_flat_curve_is_flat() -> None:
    # +0.28 points where the accuracy moves by a point from epoch to epoch
    found = [early_stop_answers([noisy_curve(s, rise=0.0028)], [3])[1].verdict for s in range(40)]
    assert found.count("flat") >= 36
    several = [noisy_curve(s, rise=0.0) for s in range(5)]
    assert early_stop_answers(several, [3])[1].verdict == "flat"


def test_the_trends_after_a_stop_are_of_all_three_accuracies() -> None:
    """Straight lines by hand: each changes from the stop to the end by what its line does."""
    n, stop = 12, 4  # best at epoch 1, stopped by patience 3 after epoch 4
    run = stopping_curve(
        [0.9 - 0.01 * i for i in range(n)],
        [0.8 + 0.002 * i for i in range(n)],
        [0.85 + 0.01 * i for i in range(n)],
    )
    found = early_stop_answers([run], [3])[1]
    changes = (0.2 * (n - stop), -1.0 * (n - stop), 1.0 * (n - stop))
    assert (
        "Along its trend it changes by {:+.1f} points to the last epoch, the validation accuracy "
        "by {:+.1f} and the training accuracy by {:+.1f}."
    ).format(*changes) in found.statement


def with_losses(
    run: RecordedRun, train: Sequence[float], val: Sequence[float], **values: Any
) -> RecordedRun:
    losses = zip(run.epochs, train, val, strict=True)
    epochs = [replace(e, train_loss=t, val_loss=v) for e, t, v in losses]
    return changed(run, epochs=epochs, **values)


@pytest.mark.parametrize("n_seeds", [1, 3, 5])
@pytest.mark.parametrize(
    ("val_rate", "verdict", "said"),
    [
        (0.02, "yes", "the validation loss rises from 0.542 to 0.587: the model overfits."),
        (-0.01, "yes", "the validation loss falls from 0.480 to 0.462."),
        (-0.05, "no clear difference", "the validation loss falls from 0.409 to 0.335."),
        (0.0, "yes", "the validation loss stays at 0.500."),
    ],
)
def test_the_losses_after_a_stop_and_their_gap(
    n_seeds: int, val_rate: float, verdict: str, said: str
) -> None:
    """Curves by hand, stopped by patience 3 after epoch 5 (4 steps) of 9: the training loss falls
    by e^-0.05 an epoch. The validation loss wobbles about its line on the log scale by what leaves
    the line as it is: its sum is 0, and it is symmetric."""
    wobble = [0, 0, 0, 0, 0.001, -0.001, 0, -0.001, 0.001]
    falling = [0.9, 0.91, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]  # best at epoch 2
    runs = [
        with_losses(
            stopping_curve(falling, falling, seed=seed),
            [0.5 * math.exp(-0.05 * i) for i in range(9)],
            [0.5 * math.exp(val_rate * i + wobble[i]) for i in range(9)],
        )
        for seed in range(n_seeds)
    ]
    found = early_stop_answers(runs, [3])[2]
    assert found.verdict == verdict
    assert "the training loss falls from 0.409 to 0.335 and " in found.statement
    assert found.statement.endswith(said)


def test_seeds_whose_validation_losses_part_are_given_no_direction() -> None:
    flat = [0.9] * 6
    runs = [
        with_losses(stopping_curve(flat, flat, seed=s), [1 - 0.1 * i for i in range(6)],
                    [math.exp(rate * i) for i in range(6)])
        for s, rate in enumerate((0.01, -0.02))
    ]  # fmt: skip
    found = early_stop_answers(runs, [1])[2]  # stops after epoch 2
    assert "the validation loss goes from 0.995 to 0.978." in found.statement
    assert "overfits" not in found.statement


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5])
def test_a_flat_validation_loss_is_no_overfitting(n_seeds: int) -> None:
    """The training loss falls, the validation loss is flat with noise: claimed in few worlds."""
    rng, flat = np.random.default_rng(0), [0.9] * 20
    claimed = 0
    for _ in range(100):
        runs = [
            with_losses(
                stopping_curve(flat, flat, seed=seed),
                [0.5 * math.exp(-0.05 * i) for i in range(20)],
                [0.5 * math.exp(value) for value in rng.normal(0, 0.02, 20)],
            )
            for seed in range(n_seeds)
        ]
        found = early_stop_answers(runs, [1])[2]
        assert found.verdict == "yes"
        claimed += "overfits" in found.statement
    assert claimed <= 7  # 5 %, and two standard errors' chance


def test_a_patience_that_stops_in_some_seeds_says_in_how_many() -> None:
    early, never = [0.9, 0.8, 0.8, 0.8, 0.8, 0.8], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    runs = [stopping_curve(val, val, seed=s) for s, val in enumerate((early, never, never))]
    _, rises, widens, _ = early_stop_answers(runs, [2])
    for answer in (rises, widens):
        assert " It stops before the last epoch in 1 of 3 seeds. " in answer.statement
        assert "in every seed" not in answer.statement
    _, rises, *_ = early_stop_answers(runs[1:], [2])
    assert rises.statement == "Not settled. It does not stop before the last epoch."


def test_losses_that_fall_fast_have_lines_that_end_above_0() -> None:
    flat = [0.9] * 30
    fast = [math.exp(-0.2 * i) for i in range(30)]  # a straight line through them ends below 0
    run = with_losses(stopping_curve(flat, flat, seed=0), fast, [2 * value for value in fast])
    found = early_stop_answers([run], [1])[2]  # stops after epoch 2
    assert "the training loss falls from 0.819 to 0.00303 and" in found.statement


def test_why_a_stop_costs_accuracy_where_the_curve_after_it_is_flat() -> None:
    """Test accuracies after the stop 0.70, 0.75, 0.70, 0.72, 0.70: their mean is 0.714."""
    test, val = [0.60, 0.70, 0.75, 0.70, 0.72, 0.70], [0.8, 0.7, 0.9, 0.7, 0.7, 0.7]
    both = early_stop_answers([stopping_curve(val, test)], [1])[1]
    assert both.verdict == "flat"
    assert both.statement.endswith(
        " Stopping costs accuracy all the same: the epoch kept lies below the mean after the stop "
        "and the best epoch lies above it."
    )
    kept_is_above = early_stop_answers([stopping_curve(val, [0.74, *test[1:]])], [1])[1]
    assert kept_is_above.statement.endswith(": the best epoch lies above the mean after the stop.")
    lucky = early_stop_answers([stopping_curve(val, [0.76, *test[1:]])], [1])[1]
    assert lucky.verdict == "flat"
    assert "Stopping costs" not in lucky.statement


def test_a_rise_after_the_stop_is_seen_with_one_seed_and_with_five() -> None:
    for n in (1, 3, 5):
        answers = early_stop_answers([noisy_curve(s, rise=0.08) for s in range(n)], [2])
        assert answers[1].verdict == "yes"
        falls = early_stop_answers([noisy_curve(s, rise=-0.08) for s in range(n)], [2])
        assert falls[1].verdict == "no"


def test_enough_is_enough_for_every_run_and_not_for_one() -> None:
    falling_at_once = stopping_curve(val=[0.70, 0.69, 0.68], test=[0.70, 0.69, 0.68], seed=7)
    assert smallest_that_keeps_the_best([falling_at_once]) == 1
    assert smallest_that_keeps_the_best([CURVE]) == 2
    for runs in ([CURVE, falling_at_once], [falling_at_once, CURVE]):
        assert smallest_that_keeps_the_best(runs) == 2
        cost = early_stop_answers(runs, [1])[-1]
        assert "2 is the smallest patience that keeps the best epoch in every seed." in (
            cost.statement
        )


def test_early_stop_over_seeds_counts_them() -> None:
    falling_at_once = stopping_curve(val=[0.70, 0.69, 0.68], test=[0.70, 0.69, 0.68], seed=7)
    keeps, *_ = early_stop_answers([CURVE, falling_at_once], [1])
    assert keeps.verdict == "no"
    assert "in 1 of 2 seeds" in keeps.statement


def test_a_cost_within_the_noise_is_no_clear_difference() -> None:
    rough = stopping_curve(
        val=[0.80, 0.79, 0.805, 0.80, 0.79, 0.80, 0.795],
        test=[0.800, 0.790, 0.806, 0.795, 0.803, 0.791, 0.802],
    )
    assert early_stop_answers([rough], [1])[-1].verdict == "no clear difference"
    steep = stopping_curve(
        val=[0.50, 0.49, 0.6, 0.7, 0.8, 0.81, 0.82], test=[0.5, 0.5, 0.6, 0.7, 0.8, 0.81, 0.82]
    )
    assert early_stop_answers([steep], [1])[-1].verdict == "yes"


def test_a_patience_that_is_not_used_up() -> None:
    keeps, rises, widens, _ = early_stop_answers([CURVE], [6])
    assert "It is not used up within 7 epochs." in keeps.statement
    assert rises.verdict == widens.verdict == "not settled"


def test_early_stop_watches_what_it_is_told() -> None:
    by_loss = tuple(replace(e, val_loss=1 - e.epoch / 10) for e in CURVE.epochs)
    assert apply_patience(changed(CURVE, epochs=by_loss, monitor="val_loss"), 1).best_epoch == 7


def test_a_curve_without_test_accuracy_is_refused() -> None:
    bare = changed(CURVE, epochs=tuple(replace(e, test_accuracy=None) for e in CURVE.epochs))
    with pytest.raises(UsageError, match=r"test accuracy of every epoch\. Received: none at epoch"):
        apply_patience(bare, 1)


# Shifted images


def scores(seed: int = 42, **models: Sequence[float]) -> list[Score]:
    names = ("in-domain", "up4", "rot90", "rot180")
    return [
        Score(model=model, seed=seed, set_name=name, accuracy=value)
        for model, values in models.items()
        for name, value in zip(names, values, strict=True)
    ]


def test_models_are_ranked_by_accuracy_and_not_by_their_drop() -> None:
    # the MLP loses least, for it starts lowest
    given = scores(
        mlp=(0.80, 0.35, 0.20, 0.05), cnn2=(0.90, 0.30, 0.29, 0.05), cnn3=(0.91, 0.45, 0.45, 0.04)
    )
    mlp, *_, robust = ood_answers(given)
    drops = robust.evidence["drops"]
    assert drops["mlp"]["up4"] < min(drops[model]["up4"] for model in ("cnn2", "cnn3"))
    assert {row["model"] for row in robust.evidence["highest"]} == {"cnn3"}
    assert robust.verdict == "no counterexample"
    assert "cnn3 on up4 and rot90" in robust.statement
    assert robust.statement.startswith(
        "No counterexample among these settings. Highest accuracy: cnn3 on up4 and rot90. "
    )
    assert "most robust" not in robust.statement
    assert mlp.verdict == "no"
    assert mlp.statement == (
        "No, on this seed. From 80.0 % to 5.0 % on rot180, below chance (10 %), at best 35.0 % "
        "on up4."
    )
    # of 10,000 images three standard errors of 10 % are 0.9 points
    assert against_chance(0.092, 10_000) == against_chance(0.1, 10_000)
    assert against_chance(0.1, 10_000) == "no better than chance (10 %)"
    assert against_chance(0.1001, 10_000) == ""


def test_where_nobody_leads_clearly_it_says_who_may_be_the_best() -> None:
    # the MLP is out on up4; of the others neither is clearly ahead of the other anywhere
    given = scores(
        mlp=(0.8, 0.3, 0.2, 0.2), cnn2=(0.9, 0.60, 0.31, 0.2), cnn3=(0.9, 0.61, 0.3, 0.2)
    )
    robust = ood_answers(given)[-1]
    assert robust.verdict == "no counterexample"
    assert ", so that cnn2 or cnn3 may be the best on every ranked set." in robust.statement


def test_at_or_below_chance_nothing_is_ranked() -> None:
    robust = ood_answers(scores(a=(0.8, 0.3, 0.10, 0.02), b=(0.8, 0.6, 0.03, 0.08)))[-1]
    assert robust.evidence["at_or_below_chance"] == ["rot90", "rot180"]
    assert [row["set"] for row in robust.evidence["highest"]] == ["up4"]
    assert "On rot90 and rot180 none is better than chance" in robust.statement


def test_two_winners_refute_one_model_for_all() -> None:
    robust = ood_answers(scores(a=(0.8, 0.3, 0.5, 0.2), b=(0.8, 0.6, 0.3, 0.2)))[-1]
    assert robust.verdict == "no"
    equal = ood_answers(scores(a=(0.8, 0.3, 0.5, 0.2), b=(0.8, 0.31, 0.49, 0.2)))[-1]
    assert equal.verdict == "no clear difference"


def test_a_model_that_keeps_its_accuracy_is_not_refuted() -> None:
    (answer,) = ood_answers(scores(mlp=(0.850, 0.849, 0.851, 0.848)))
    assert answer.verdict == "no counterexample"


@pytest.mark.parametrize("n", [3, 5])
def test_shifted_sets_share_the_level(n: int) -> None:
    """Four sets that shift nothing, three equal models: seldom a verdict."""
    kept = ranked = 0
    rng = np.random.default_rng(n)
    for _ in range(100):
        given = [
            score
            for seed in range(n)
            for score in scores(
                seed,
                **{m: [float(rng.normal(0.84, 0.006)) for _ in range(4)] for m in ("a", "b", "c")},
            )
        ]
        *each, robust = ood_answers(given)
        kept += any(answer.verdict == "no" for answer in each)
        ranked += robust.verdict != "no clear difference"
    assert kept <= 11
    assert ranked <= 11


def test_augmentation_repairs_and_costs() -> None:
    given = [
        score
        for seed in range(3)
        for score in scores(
            seed, usual=(0.85, 0.30, 0.2, 0.1), shifted=(0.82, 0.70, 0.2 + 0.001 * seed, 0.1)
        )
    ]
    runs = [
        recorded(label=label, seed=seed, train_seconds=t)
        for label, t in (("usual", 1.0), ("shifted", 3.0))
        for seed in range(3)
    ]
    answer = augment_answer(given, runs, usual="usual", augmented="shifted")
    assert answer.verdict == "no counterexample"
    assert answer.statement.endswith(
        "It costs -3.0 points in-domain and 3.0 times the training time per epoch."
    )


# Groups of runs


def group(values: Sequence[float], first_seed: int = 0, **changes: object) -> list[RecordedRun]:
    return [
        recorded(test_accuracy=v, best_val_accuracy=v, seed=first_seed + i, id=100 + i, **changes)
        for i, v in enumerate(values)
    ]


def test_the_same_seed_twice_is_one_observation() -> None:
    twice = group([0.84]) + group([0.84])
    assert observations(twice, "test_accuracy") == {0: 0.84}
    other = group([0.92]) + group([0.92])
    assert all(
        found.contrast.n == 1 and found.contrast.low is None
        for found in compare_groups({"a": twice, "b": other})
    )
    # another configuration or other data with that seed is another observation
    assert len(observations(group([0.84]) + group([0.85], lr=0.1), "test_accuracy")) == 2
    assert len(
        observations(group([0.84]) + group([0.85], data_fingerprint="e" * 64), "test_accuracy")
    ) == 2  # fmt: skip


def test_diverged_runs_are_no_observation() -> None:
    lost = changed(group([0.1])[0], stop_reason="diverged", seed=9)
    assert observations([*group([0.84, 0.85]), lost], "test_accuracy") == {0: 0.84, 1: 0.85}


def test_compare_shares_5_percent_over_all_its_comparisons() -> None:
    called = 0
    rng = np.random.default_rng(15)
    for _ in range(60):
        groups = {f"g{g}": group(list(rng.normal(0.84, 0.006, 5)), 10 * g) for g in range(20)}
        called += any(found.verdict == "differs" for found in compare_groups(groups))
    assert called <= 9  # binomial(60, 0.05): more in 0.1 %


def test_compare_calls_an_effect() -> None:
    base = [0.84, 0.845, 0.838, 0.842, 0.841]
    found = compare_groups({"a": group(base), "b": group([v + 0.03 for v in base])})
    assert {one.verdict for one in found} == {"differs"}
    assert {one.verdict for one in compare_groups({"a": group(base), "b": group(base)})} == {
        "the same"
    }


# All of them


def numbers(statement: str, labels: Iterable[str]) -> list[str]:
    for label in sorted(labels, key=len, reverse=True):
        statement = re.sub(re.escape(label), "label", statement, flags=re.IGNORECASE)
    statement = statement.replace("95 % interval", "").replace("within the first epoch", "")
    return re.findall(r"[+-]?\d[\d,.]*\d|\d", statement)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_statements_are_short_and_evidence_is_plain_json(n: int) -> None:
    momenta = [
        curve(a, falling(r), seed=s, test_accuracy=0.8 + a / 100 + 0.001 * s)
        for a, r in ((0.1, 0.03), (0.5, 0.06), (0.9, 0.12))
        for s in range(n)
    ]
    ood = [
        score
        for s in range(n)
        for score in scores(s, mlp=(0.85, 0.30, 0.05, 0.2), cnn2=(0.88, 0.60, 0.20, 0.1))
    ]
    answers = [
        *sweep_answers(sweep(n)),
        *momentum_answers(momenta),
        *early_stop_answers([noisy_curve(s) for s in range(n)], [1, 3]),
        *ood_answers(ood),
    ]
    labels = {f"batch {b}" for b in REAL} | {f"momentum {a}" for a in (0.1, 0.5, 0.9)}
    labels |= {"patience 1", "cnn2", "up4", "rot90", "rot180"}
    for answer in answers:
        assert json.loads(json.dumps(answer.evidence, allow_nan=False)) == answer.evidence
        assert answer.question.endswith("?")
        assert answer.statement.endswith(".")
        assert "\n" not in answer.statement
        assert "seeds." not in answer.statement or "of" in answer.statement  # n is said once
        first, *more = answer.statement.split(". ")
        assert len(first) < 45  # the verdict, in a word or two
        assert 1 <= len(more) <= 2, answer.statement
        assert len(numbers(answer.statement, labels)) <= 4, answer.statement


def test_seconds_have_two_digits() -> None:
    shown = [seconds(v) for v in (0.0123, 0.25, 3.71, 12.4, 141.0, 1234.0, 1.0)]
    assert shown == ["0.012 s", "0.25 s", "3.7 s", "12 s", "140 s", "1,200 s", "1.0 s"]


def test_a_learning_rate_that_hurts_is_called() -> None:
    n = 4
    runs = [
        batch_run(5, best=10, accuracy=a + 0.003 * s, per_epoch=0.1, seed=s)
        for a in (0.80, 0.70)
        for s in range(n)
    ]
    runs = [changed(run, label="good" if i < n else "poor") for i, run in enumerate(runs)]
    (claim,) = share(judge(runs, TEST_ACCURACY, rises=False))
    assert claim.trend() == "yes"


def test_the_error_of_a_test_accuracy_is_that_of_the_test_sets_images() -> None:
    sizes = {"rot90": 50, "test": 400, "up4": 25}
    sets = [
        EvaluationRecord(test_set=name, n=n, loss=1.0, accuracy=0.8, confusion=(), nonfinite={})
        for name, n in sizes.items()
    ]
    run = replace(recorded(), evaluations=tuple(sets))
    assert sampling_error(run, 0.8) == pytest.approx(0.02)  # sqrt(0.8 x 0.2 / 400)


def test_between_two_epochs_the_updates_to_an_accuracy_lie_on_a_straight_line() -> None:
    run = recorded([epoch(1, val_accuracy=0.5), epoch(2, val_accuracy=0.7)])
    assert updates_to_accuracy(0.65).value(run) == pytest.approx(175)  # of 100 and 200
    assert updates_to_accuracy(0.7).value(run) == pytest.approx(200)
    assert updates_to_accuracy(0.4).value(run) == 100
    assert updates_to_accuracy(0.8).value(run) is None
