from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from fmnist_cli.analysis import (
    Score,
    apply_patience,
    common_loss,
    early_stop_answers,
    epochs_to_loss,
    instability,
    momentum_answers,
    ood_answers,
    sweep_answers,
)
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.analysis.statistics import difference, mean_interval, t_quantile
from fmnist_cli.errors import UsageError

from .recorded import changed, epoch, recorded


def arm(batch: int = 5, **values: object) -> RecordedRun:
    return recorded(**{"batch": batch, "label": f"batch {batch}", **values})  # type: ignore[arg-type]


def sweep(seconds=(1, 2, 3), test=(0.7, 0.8, 0.9), updates=(300, 200, 100), **values):
    return [
        arm(batch, seconds_to_best=s, test_accuracy=t, updates_to_best=u, **values)
        for batch, s, t, u in zip((1, 50, 500), seconds, test, updates, strict=True)
    ]


def verdicts(answers):
    return [answer.verdict for answer in answers]


# Sweep


def test_every_step_shows_it_yes():
    assert verdicts(sweep_answers(sweep())) == ["yes", "yes", "yes"]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("tie", [False, True])
def test_one_step_against_it_is_enough_for_no(which, tie):
    turned = [
        {"seconds": (1, 3, 3 if tie else 2)},
        {"test": (0.7, 0.9, 0.9 if tie else 0.8)},
        {"updates": (300, 100, 100 if tie else 200)},
    ][which]
    answers = sweep_answers(sweep(**turned))
    assert answers[which].verdict == "no"
    assert "Against it: batch 50 to batch 500 (" in answers[which].statement
    assert ("Against it: batch 50 to batch 500 (no change)" in answers[which].statement) == tie
    assert [answers[i].verdict for i in range(3) if i != which] == ["yes", "yes"]


def test_the_order_of_the_arms_does_not_matter():
    assert sweep_answers(sweep()[::-1]) == sweep_answers(sweep())


def test_a_sweeps_statement_in_full():
    assert sweep_answers(sweep(updates=(3000, 100, 200)))[2].statement == (
        "No. Gradient updates to the best model: 3,000 at batch 1, 100 at batch 50, "
        "200 at batch 500. Against it: batch 50 to batch 500 (100 to 200). "
        "Overall, from batch 1 to batch 500: 3,000 to 200. This rests on one seed (42)."
    )


def test_seconds_per_epoch_are_judged_beside_the_seconds_to_the_best_model():
    arms = [changed(a, train_seconds=s) for a, s in zip(sweep(), (8, 4, 2), strict=True)]
    faster = sweep_answers(arms)[0]
    assert faster.verdict == faster.evidence["to_best"]["verdict"] == "yes"
    assert faster.evidence["per_epoch"]["verdict"] == "no"
    assert "Seconds per epoch: 4 at batch 1, 2 at batch 50, 1 at batch 500." in faster.statement
    assert [s["mean"] for s in faster.evidence["per_epoch"]["settings"]] == [4, 2, 1]


def test_a_run_at_its_limit_is_a_lower_bound():
    arms = sweep()
    arms[2] = changed(arms[2], still_improving=True, stop_reason="max_epochs")
    faster, better, fewer = sweep_answers(arms)
    assert (faster.verdict, better.verdict) == ("yes", "yes")  # more still would be larger still
    assert fewer.verdict == "not settled"  # its 100 updates might become more than 200
    assert "at least 100 at batch 500" in fewer.statement
    assert "More epochs are needed" in fewer.statement
    assert "would settle it" not in fewer.statement
    assert "Batch 500 was still improving at its epoch limit." in fewer.statement


def test_a_lower_bound_is_no_counterexample():
    arms = sweep(test=(0.7, 0.8, 0.75))
    assert sweep_answers(arms)[1].verdict == "no"
    arms[2] = changed(arms[2], still_improving=True, stop_reason="max_epochs")
    assert sweep_answers(arms)[1].verdict == "not settled"


def test_a_diverged_run_is_named_and_rules_out_a_yes():
    arms = sweep()
    arms[0] = changed(arms[0], stop_reason="diverged", seconds_to_best=0.1)
    faster = sweep_answers(arms)[0]
    assert faster.verdict == "not settled"
    assert "Batch 1 diverged and is left out." in faster.statement
    assert "at batch 1," not in faster.statement
    arms[2] = changed(arms[2], seconds_to_best=1.5)
    assert sweep_answers(arms)[0].verdict == "no"


def test_one_batch_size_settles_nothing():
    assert verdicts(sweep_answers(sweep()[:1])) == ["not settled"] * 3
    assert "two settings" in sweep_answers(sweep()[:1])[0].statement


def seeded(values: dict[int, list[float]], seeds=None):
    return [
        arm(batch, seed=seed, test_accuracy=value)
        for batch, of_batch in values.items()
        for seed, value in zip(seeds or range(len(of_batch)), of_batch, strict=True)
    ]


def test_several_seeds_settle_by_the_interval():
    clear = seeded({1: [0.80, 0.81, 0.79], 5: [0.85, 0.86, 0.845]})
    answer = sweep_answers(clear)[1]
    assert answer.verdict == "yes"
    assert "n = 3 seeds." in answer.statement
    assert sweep_answers(seeded({1: [0.85, 0.86, 0.845], 5: [0.80, 0.81, 0.79]}))[1].verdict == "no"


def test_noise_is_not_settled_and_says_how_many_more_seeds():
    answer = sweep_answers(seeded({1: [0.80, 0.80, 0.80], 5: [0.82, 0.79, 0.83]}))[1]
    assert answer.verdict == "not settled"
    # mean 0.01333, sd 0.02082: t(n-1) * sd / sqrt(n) < mean from n = 12 on (2.201 * 0.00601)
    assert answer.evidence["more_seeds"] == 9
    assert "About 9 more seeds would settle it." in answer.statement


def test_a_noisy_step_at_its_limit_asks_for_epochs_not_for_seeds():
    draws = {1: [0.80, 0.80, 0.80], 5: [0.82, 0.79, 0.83]}
    at_limit = {"still_improving": True, "stop_reason": "max_epochs"}
    smaller = [changed(a, **at_limit) if a.batch == 1 else a for a in seeded(draws)]
    answer = sweep_answers(smaller)[1]  # batch 1 might yet become the better one
    assert answer.verdict == "not settled"
    assert answer.evidence["more_seeds"] is None
    assert "More epochs are needed" in answer.statement
    assert "would settle it" not in answer.statement
    larger = [changed(a, **at_limit) if a.batch == 5 else a for a in seeded(draws)]
    answer = sweep_answers(larger)[1]  # batch 5 can only become better still
    assert "About 9 more seeds would settle it." in answer.statement


def test_a_change_is_written_as_its_measure_is():
    updates = {1: (5_200, 6_900, 4_100), 5: (12_000, 12_600, 11_900)}
    arms = [
        arm(batch, seed=seed, updates_to_best=value)
        for batch, of_batch in updates.items()
        for seed, value in enumerate(of_batch)
    ]
    # differences 6800, 5700, 7800: mean 6766.67, sd 1050.40; t(2) = 4.30265, margin 2609.35
    assert "(5,400 to 12,167, 95 % interval of the change +4,157 to +9,376)" in (
        sweep_answers(arms)[2].statement
    )


def test_identical_settings_are_rarely_called_different():
    rng = np.random.default_rng(0)
    repetitions, called = 400, 0
    for _ in range(repetitions):
        draws = {b: list(rng.normal(0.8, 0.01, 4)) for b in (1, 5, 50, 500)}
        arms = [
            changed(a, seed=i)
            for i, a in enumerate(seeded(draws))  # no seed in common
        ]
        steps = sweep_answers(arms)[1].evidence["steps"]
        called += any(step["outcome"] != "open" for step in steps)
    # at most 5 % by construction; 0.082 is three standard deviations above for 400
    assert called / repetitions < 0.082


def test_a_planted_effect_is_called():
    rng = np.random.default_rng(1)
    called = sum(
        sweep_answers(
            seeded({1: list(rng.normal(0.75, 0.01, 5)), 5: list(rng.normal(0.80, 0.01, 5))})
        )[1].verdict == "yes"
        for _ in range(50)
    )  # fmt: skip
    assert called == 50


# Intervals


@pytest.mark.parametrize(
    ("level", "dof", "table"),
    [
        (0.95, 1, 12.7062), (0.95, 2, 4.30265), (0.95, 3, 3.18245), (0.95, 4, 2.77645),
        (0.95, 10, 2.22814), (0.95, 30, 2.04227), (0.99, 4, 4.60409), (0.99, 9, 3.24984),
        (0.9, 5, 2.01505), (0.999, 2, 31.5991), (0.95, 1000, 1.96234),
    ],
)  # fmt: skip
def test_t_quantiles_agree_with_the_printed_tables(level, dof, table):
    assert t_quantile(level, dof) == pytest.approx(table, rel=3e-6)


def test_a_mean_and_its_interval_by_hand():
    # mean 3, sd sqrt(2.5), standard error sqrt(0.5), t(0.95, 4) = 2.776445
    result = mean_interval([1, 2, 3, 4, 5])
    assert result.mean == 3
    assert (result.low, result.high) == pytest.approx((3 - 1.963243, 3 + 1.963243), rel=1e-6)


def test_paired_differences_cancel_what_the_seeds_share():
    first = {1: 0.1, 2: 0.5, 3: 0.9}
    assert difference(first, {s: v + 0.01 + 0.001 * s for s, v in first.items()}).sign == 1
    apart = {s + 10: v + 0.01 + 0.001 * s for s, v in first.items()}
    assert difference(first, apart).sign is None  # the same values, unpaired


def test_welchs_interval_by_hand():
    # variances 1 and 4, n = 3 each: se = sqrt(5/3), dof = (5/3)^2 / ((1/9 + 16/9) / 2) = 2.94 -> 2
    result = difference({1: 1, 2: 2, 3: 3}, {4: 8, 5: 10, 6: 12})
    assert result.mean == 8
    assert result.high - result.mean == pytest.approx(4.30265 * math.sqrt(5 / 3), rel=1e-5)


def test_single_values_have_no_interval():
    for result in (difference({1: 2.0}, {1: 3.0}), difference({1: 2.0}, {2: 3.0})):
        assert (result.mean, result.low, result.sign) == (1, None, 1)
    assert difference({1: 2.0}, {1: 2.0}).sign == 0


def test_equal_pairs_without_spread_are_a_settled_tie():
    assert difference({1: 2.0, 2: 3.0}, {1: 2.0, 2: 3.0}).sign == 0


# Momentum


def curve(alpha, train, running=None, *, seed=42, **values):
    epochs = tuple(
        epoch(i, train_loss=t, running_loss=r)
        for i, (t, r) in enumerate(zip(train, running or train, strict=True), start=1)
    )
    return arm(label=f"momentum {alpha}", momentum=alpha, epochs=epochs, seed=seed, **values)


MOMENTUM = [
    curve(0.1, [0.9, 0.7, 0.6], test_accuracy=0.80),
    curve(0.5, [0.8, 0.6, 0.5], test_accuracy=0.82),
    curve(0.9, [0.6, 0.3, 0.2], test_accuracy=0.84),
]


def test_momentum_yes():
    lowest, test, fastest, stability = momentum_answers(MOMENTUM)
    assert verdicts([lowest, test, fastest, stability]) == ["yes", "yes", "yes", "no"]
    assert "Best: momentum 0.9, with 0.2000." in lowest.statement
    assert lowest.evidence["best"] == "momentum 0.9"
    assert fastest.evidence["loss"] == 0.6  # the lowest of momentum 0.1
    assert [s["mean"] for s in fastest.evidence["settings"]] == [3, 2, 1]
    assert "Epochs to a training loss of 0.6000: 3 at momentum 0.1" in fastest.statement


def test_momentum_verdicts_flip_with_the_numbers():
    worse = [*MOMENTUM[:2], curve(0.9, [0.95, 0.9, 0.7], test_accuracy=0.81)]
    lowest, test, fastest, _ = momentum_answers(worse)
    assert verdicts([lowest, test, fastest]) == ["no", "no", "no"]
    assert lowest.evidence["best"] == test.evidence["best"] == "momentum 0.5"
    assert fastest.evidence["loss"] == 0.7


def test_the_lowest_loss_and_the_last_are_told_apart():
    lowest, *_ = momentum_answers([*MOMENTUM[:2], curve(0.9, [0.3, 0.1, 0.55])])
    assert "Best: momentum 0.9, with 0.1000." in lowest.statement
    assert "After the last epoch the lowest is 0.5000, at momentum 0.5." in lowest.statement
    assert lowest.verdict == "yes"
    assert lowest.evidence["final_loss"]["verdict"] == "no"


def test_the_given_loss_is_the_smallest_that_all_reach():
    assert common_loss(MOMENTUM) == 0.6
    assert [epochs_to_loss(a, 0.6) for a in MOMENTUM] == [3, 2, 1]
    assert epochs_to_loss(MOMENTUM[0], 0.5) is None
    assert common_loss([changed(MOMENTUM[0], stop_reason="diverged")]) is None


def test_instability_is_named_where_it_happens():
    rough = curve(0.9, [0.6] * 4, [1.0, 1.04, 1.3, 1.2])  # +4 %, +25 %, -8 %
    found = instability(rough)
    assert [e for e, _ in found.rises] == [3]
    assert found.rises[0][1] == pytest.approx(0.25)
    answer = momentum_answers([*MOMENTUM[:2], rough])[3]
    assert answer.verdict == "yes"
    assert "Momentum 0.9: the running loss rises at epoch 3, most by 25 % (3)." in answer.statement


def test_divergence_is_instability():
    lost = curve(0.9, [0.6, math.nan], [0.6, math.inf], stop_reason="diverged", test_accuracy=None)
    lowest, _, _, stability = momentum_answers([*MOMENTUM[:2], lost])
    assert stability.verdict == "yes"
    assert "Momentum 0.9 diverged." in stability.statement
    assert lowest.verdict == "not settled"
    assert "Momentum 0.9 diverged and is left out." in lowest.statement
    assert "differ in length" not in lowest.statement


def test_momentum_over_seeds_says_what_the_best_is_not_settled_against():
    values = {0.1: (0.60, 0.61, 0.59), 0.5: (0.50, 0.52, 0.48), 0.9: (0.49, 0.50, 0.495)}
    arms = [curve(a, [1, v], seed=s) for a, vs in values.items() for s, v in enumerate(vs)]
    lowest, *_ = momentum_answers(arms)
    assert lowest.verdict == "not settled"
    assert lowest.evidence["not_settled_against"] == ["momentum 0.5"]
    assert "(not settled against momentum 0.5)" in lowest.statement


# Early stopping


def stopping_curve(val, test, train=None, seed=42):
    epochs = tuple(
        epoch(i, val_accuracy=v, test_accuracy=t, train_accuracy=a)
        for i, (v, t, a) in enumerate(zip(val, test, train or val, strict=True), start=1)
    )
    return arm(epochs=epochs, seed=seed)


CURVE = stopping_curve(
    val=[0.70, 0.72, 0.71, 0.73, 0.72, 0.72, 0.71],
    test=[0.69, 0.71, 0.70, 0.74, 0.72, 0.71, 0.70],
    train=[0.70, 0.74, 0.76, 0.80, 0.82, 0.84, 0.86],
)


def test_what_each_patience_keeps():
    one, two = apply_patience(CURVE, 1), apply_patience(CURVE, 2)
    assert (one.best_epoch, one.stopped_after, one.test_accuracy) == (2, 3, 0.71)
    assert (one.curve_best_epoch, one.cost) == (4, pytest.approx(0.03))
    assert not one.keeps_the_best
    assert (two.best_epoch, two.stopped_after, two.cost) == (4, 6, 0)
    assert two.keeps_the_best
    assert apply_patience(CURVE, 4).stopped_after is None


def test_the_trend_after_the_stop():
    trend = apply_patience(CURVE, 2).trend  # epochs 6 and 7
    assert (trend.train_change, trend.train_trend) == pytest.approx((0.02, 0.02))
    assert (trend.test_change, trend.test_trend) == pytest.approx((-0.01, -0.01))
    assert (trend.gap_at_stop, trend.gap_at_end) == pytest.approx((0.13, 0.16))
    assert apply_patience(CURVE, 3).trend is None  # stops after the last epoch


def test_the_trend_is_not_decided_by_one_noisy_epoch():
    # least squares over 0, 1, 2, 3, 0: slope ((-2)(-1.2) + (-1)(-0.2) + 1.8 - 2 * 1.2) / 10 = 0.2
    rising = stopping_curve(val=[0.5, 0.4, 0.4, 0.4, 0.4, 0.4], test=[0.5, 0.0, 0.1, 0.2, 0.3, 0.0])
    trend = apply_patience(rising, 1).trend
    assert trend.test_change == 0
    assert trend.test_trend == pytest.approx(4 * 0.02)


def test_early_stop_answers():
    keeps1, rises1, keeps2, rises2, cost = early_stop_answers([CURVE], [1, 2])
    assert (keeps1.verdict, rises1.verdict) == ("no", "no")
    assert keeps1.statement == (
        "No. Patience 1 stops after epoch 3. It keeps epoch 2, test accuracy 0.7100. The best "
        "validation epoch of all 7 is 4, test accuracy 0.7400 (-0.0300 by stopping). "
        "This rests on one seed (42)."
    )
    assert keeps2.verdict == "yes"
    assert rises2.verdict == "no"
    assert "The gap, train less test, goes from 0.1300 to 0.1600." in rises2.statement
    assert cost.verdict == "yes"
    assert "2 is the smallest patience that keeps the best epoch here." in cost.statement


def test_early_stop_verdicts_flip():
    rising = stopping_curve(val=[0.70, 0.69, 0.71, 0.72, 0.73], test=[0.70, 0.60, 0.65, 0.70, 0.69])
    keeps, rises, cost = early_stop_answers([rising], [1])
    assert verdicts([keeps, rises]) == ["no", "yes"]
    assert cost.verdict == "no"  # the early epoch tests better than the best validation epoch
    falling = stopping_curve(val=[0.70, 0.69, 0.68], test=[0.70, 0.69, 0.68])
    keeps, rises, cost = early_stop_answers([falling], [1])
    assert verdicts([keeps, rises, cost]) == ["yes", "no", "no"]
    assert "Even patience 1 keeps the best epoch here." in cost.statement


def test_a_patience_that_is_not_used_up():
    keeps, rises, _ = early_stop_answers([CURVE], [6])
    assert "Patience 6 is not used up within 7 epochs." in keeps.statement
    assert rises.verdict == "not settled"


def test_early_stop_watches_what_it_is_told():
    by_loss = tuple(replace(e, val_loss=1 - e.epoch / 10) for e in CURVE.epochs)
    assert apply_patience(changed(CURVE, epochs=by_loss), 1, "val_loss").best_epoch == 7


def test_early_stop_over_seeds():
    falling = stopping_curve(val=[0.70, 0.69, 0.68], test=[0.70, 0.69, 0.68], seed=7)
    keeps, _, cost = early_stop_answers([CURVE, falling], [1])
    assert keeps.verdict == "not settled"
    assert "in 1 of 2 runs" in keeps.statement
    assert cost.verdict == "not settled"
    assert "n = 2 seeds." in cost.statement


def test_a_curve_without_test_accuracy_is_refused():
    bare = changed(CURVE, epochs=tuple(replace(e, test_accuracy=None) for e in CURVE.epochs))
    with pytest.raises(UsageError, match=r"test accuracy of every epoch\. Received: none at epoch"):
        apply_patience(bare, 1)


# Shifted images


def scores(seed=42, **models):
    names = ("in-domain", "up4", "rot180")
    return [
        Score(model=model, seed=seed, set_name=name, accuracy=value)
        for model, values in models.items()
        for name, value in zip(names, values, strict=True)
    ]


def test_ood_drops_worst_set_and_most_robust_model():
    mlp, cnn2, robust = ood_answers(scores(mlp=(0.85, 0.30, 0.05), cnn2=(0.88, 0.60, 0.20)))
    assert verdicts([mlp, cnn2, robust]) == ["no", "no", "yes"]
    assert mlp.statement == (
        "No. mlp has 0.8500 in-domain, 0.3000 on up4 (-0.5500) and 0.0500 on rot180 (-0.8000). "
        "Worst: rot180, below chance (0.1). This rests on one seed (42)."
    )
    assert "cnn2 is the most robust on average" in robust.statement
    assert robust.evidence["mean_drops"] == pytest.approx({"mlp": 0.675, "cnn2": 0.48})


def test_ood_verdicts_flip():
    mlp, _, robust = ood_answers(scores(mlp=(0.85, 0.85, 0.86), cnn2=(0.88, 0.60, 0.20)))
    assert (mlp.verdict, robust.verdict) == ("yes", "yes")
    assert "mlp is the most robust" in robust.statement
    robust = ood_answers(scores(mlp=(0.85, 0.30, 0.25), cnn2=(0.88, 0.60, 0.20)))[-1]
    assert robust.verdict == "no"
    assert "Smallest drop: cnn2 on up4 and mlp on rot180." in robust.statement


def test_ood_with_a_single_model_compares_nothing():
    assert len(ood_answers(scores(cnn3=(0.88, 0.6, 0.2)))) == 1


def test_ood_over_seeds():
    noise = [(0.85, 0.84, 0.86), (0.85, 0.87, 0.85), (0.85, 0.85, 0.86)]
    answer = ood_answers([s for i, row in enumerate(noise) for s in scores(seed=i, mlp=row)])[0]
    assert answer.verdict == "not settled"
    clear = [(0.85, 0.34, 0.16), (0.86, 0.37, 0.15), (0.85, 0.35, 0.16)]
    answer = ood_answers([s for i, row in enumerate(clear) for s in scores(seed=i, mlp=row)])[0]
    assert answer.verdict == "no"
    assert "n = 3 seeds." in answer.statement


# All of them


def test_evidence_is_plain_json_and_statements_are_one_line():
    several = [changed(a, seed=s) for s in (1, 2) for a in sweep()]
    answers = [
        *sweep_answers(sweep()),
        *sweep_answers(several),
        *momentum_answers(MOMENTUM),
        *early_stop_answers([CURVE], [1, 3]),
        *ood_answers(scores(mlp=(0.85, 0.30, 0.05), cnn2=(0.88, 0.60, 0.20))),
    ]
    for answer in answers:
        assert json.loads(json.dumps(answer.evidence, allow_nan=False)) == answer.evidence
        assert "\n" not in answer.statement
        assert answer.statement.endswith(".")
        assert "seed" in answer.statement
        assert answer.question.endswith("?")
        assert answer.statement.lower().startswith(answer.verdict)
