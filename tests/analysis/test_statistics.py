"""The intervals and comparisons, by hand and against NumPy; the level that is stated is kept."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest

from fmnist_cli.analysis.statistics import (
    Contrast,
    Sample,
    contrast,
    mean_interval,
    share_level,
    summarise,
    t_quantile,
    t_tail,
)


@pytest.mark.parametrize(
    ("level", "dof", "table"),
    [
        (0.95, 1, 12.7062), (0.95, 2, 4.30265), (0.95, 3, 3.18245), (0.95, 4, 2.77645),
        (0.95, 10, 2.22814), (0.95, 30, 2.04227), (0.99, 4, 4.60409), (0.99, 9, 3.24984),
        (0.9, 5, 2.01505), (0.999, 2, 31.5991), (0.95, 1000, 1.96234),
    ],
)  # fmt: skip
def test_t_quantiles_agree_with_the_printed_tables(level: float, dof: int, table: float) -> None:
    assert t_quantile(level, dof) == pytest.approx(table, rel=3e-6)
    assert t_tail(table, dof) == pytest.approx(1 - level, rel=3e-5)


def test_a_mean_and_its_interval_by_hand() -> None:
    # mean 3, sd sqrt(2.5), standard error sqrt(0.5), t(0.95, 4) = 2.776445
    result = mean_interval([1, 2, 3, 4, 5])
    assert result.mean == 3
    assert (result.low, result.high) == pytest.approx((3 - 1.963243, 3 + 1.963243), rel=1e-6)


def test_few_seeds_have_no_interval() -> None:
    for values in ([0.8], [0.8, 0.9], [0.8, 0.9, 0.7, 0.8]):
        assert mean_interval(values).low is None
    assert mean_interval([0.8, 0.9, 0.7, 0.8, 0.8]).low is not None


def test_an_interval_never_leaves_the_possible_range() -> None:
    accuracies = [0.1, 0.1, 0.1, 0.1, 0.95]
    plain = mean_interval(accuracies)
    assert plain.low is not None
    assert plain.low < 0  # the fault that the scale mends
    share = mean_interval(accuracies, scale="share")
    assert 0 < share.low < share.mean < share.high < 1
    seconds = mean_interval([0.1, 0.1, 0.1, 0.1, 30.0], scale="ratio")
    assert 0 < seconds.low < seconds.mean < seconds.high
    near = mean_interval([0.999, 0.9999, 0.9995, 1.0, 1.0], scale="share")
    assert near.high < 1
    for same in ([0.0] * 5, [1.0] * 5):
        assert mean_interval(same, scale="share").high == same[0]
    change = contrast(
        Sample(dict(enumerate([0.9, 0.1, 0.9, 0.1, 0.9]))), Sample(dict.fromkeys(range(5), 0.0)),
        "share",
    )  # fmt: skip
    assert -1 < change.low < change.change < change.high < 1


def test_a_share_far_from_the_ends_has_the_plain_interval() -> None:
    values = [0.50, 0.51, 0.49, 0.502, 0.498]
    plain, share = mean_interval(values), mean_interval(values, scale="share")
    assert share.low == pytest.approx(plain.low, abs=1e-4)
    assert share.high == pytest.approx(plain.high, abs=1e-4)


def test_the_scales_intervals_cover_as_often_as_stated() -> None:
    rng = np.random.default_rng(3)
    covered = {"share": 0, "ratio": 0}
    for _ in range(1000):
        logits = rng.normal(1.7, 0.06, 5)
        interval = mean_interval(list(1 / (1 + np.exp(-logits))), scale="share")
        covered["share"] += interval.low <= 1 / (1 + math.exp(-1.7)) <= interval.high
        times = np.exp(rng.normal(0, 0.1, 5))
        interval = mean_interval(list(times), scale="ratio")
        covered["ratio"] += interval.low <= math.exp(0.1**2 / 2) <= interval.high
    for n in covered.values():  # binomial(1000, 0.95): three standard deviations are 21
        assert n == pytest.approx(950, abs=21)


def test_paired_differences_cancel_what_the_seeds_share() -> None:
    first = {1: 0.1, 2: 0.5, 3: 0.9, 4: 0.3, 5: 0.7}
    second = {seed: value + 0.01 + 0.001 * seed for seed, value in first.items()}
    paired = contrast(Sample(first), Sample(second), "plain")
    assert (paired.clear, paired.direction) == (True, 1)
    apart = {seed + 10: value for seed, value in second.items()}
    assert not contrast(Sample(first), Sample(apart), "plain").clear  # the same values, unpaired


def test_welchs_interval_by_hand() -> None:
    # variances 2.5 and 10, n = 5 each: se = sqrt(12.5 / 5), dof = 2.5^2 / ((.25 + 4) / 4) = 5.88
    first, second = dict(enumerate(range(1, 6))), dict(enumerate(range(8, 18, 2), start=10))
    result = contrast(Sample(first), Sample(second), "plain")
    assert (result.n, result.change) == (5, 9)
    assert result.high - result.change == pytest.approx(2.570582 * math.sqrt(2.5), rel=1e-5)


def test_ratios_are_compared_on_the_log_scale() -> None:
    first = {seed: 10.0 * 2**seed for seed in range(5)}
    second = {seed: value * factor for (seed, value), factor in zip(
        first.items(), (3, 3.1, 2.9, 3.2, 2.8), strict=True)}  # fmt: skip
    result = contrast(Sample(first), Sample(second), "ratio")
    expected = np.exp(np.log([3, 3.1, 2.9, 3.2, 2.8]).mean())
    assert result.change == pytest.approx(expected)
    turned = contrast(Sample(second), Sample(first), "ratio")
    assert (turned.low, turned.high) == pytest.approx((1 / result.high, 1 / result.low))


def test_no_spread_among_a_few_whole_numbers_is_no_certainty() -> None:
    # two seeds that both went from 7 epochs to 8
    first, second = {1: 7.0, 2: 7.0}, {1: 8.0, 2: 8.0}
    assert not contrast(Sample(first, noise=0.3), Sample(second, noise=0.3), "ratio").clear
    assert not contrast(Sample(first), Sample(second), "ratio").clear
    # five seeds that all did may have gone from 7.49 to 7.51; not so from 7 to 12
    for after, clear in ((8.0, False), (12.0, True)):
        samples = [
            Sample(dict.fromkeys(range(5), value), 0, 1 / math.sqrt(12) / value)
            for value in (7.0, after)
        ]
        found = contrast(*samples, "ratio")
        assert found.clear == clear
        assert found.low < found.change < found.high


def test_a_single_run_is_judged_by_its_noise_and_without_one_not_at_all() -> None:
    low, high = {1: 0.82}, {1: 0.84}
    assert not contrast(Sample(low), Sample(high), "share").clear
    assert not contrast(Sample(low, 0.01), Sample(high, 0.01), "share").clear
    assert contrast(Sample(low, 0.003), Sample(high, 0.003), "share").clear


def test_few_seeds_must_agree() -> None:
    first = {1: 0.80, 2: 0.80, 3: 0.80}
    agreed = contrast(Sample(first, 0.004), Sample({1: 0.82, 2: 0.83, 3: 0.82}, 0.004), "share")
    assert (agreed.agree, agreed.clear, agreed.low) == (True, True, None)
    split = contrast(Sample(first, 0.004), Sample({1: 0.799, 2: 0.84, 3: 0.84}, 0.004), "share")
    assert (split.agree, split.clear) == (False, False)
    # however small the one that disagrees, and however clear the mean would be
    four = dict.fromkeys(range(4), 0.80)
    apart = {0: 0.7999, 1: 0.82, 2: 0.82, 3: 0.82}
    assert not contrast(Sample(four, 0.003), Sample(apart, 0.003), "share").clear
    assert contrast(Sample(four, 0.003), Sample(apart | {0: 0.82}, 0.003), "share").clear


def test_what_three_seeds_show_among_many_comparisons_five_show_too() -> None:
    """A difference of four standard deviations in every seed, beside 39 that are none."""
    rng = np.random.default_rng(0)
    lost, false, n_studies = {3: 0, 5: 0, 10: 0}, {3: 0, 5: 0, 10: 0}, 200
    for _ in range(n_studies):
        first, second = (
            {seed: 0.8 + shift + float(rng.normal(0, 0.006)) for seed in range(10)}
            for shift in (0.0, 0.035)
        )
        same = [{seed: 0.8 + float(rng.normal(0, 0.006)) for seed in range(10)} for _ in range(40)]
        for n in lost:
            samples = [
                Sample({seed: of[seed] for seed in range(n)}, 0.006)
                for of in (first, second, *same)
            ]
            judged = share_level(
                [contrast(one, other, "share") for one, other in pairwise(samples)][:1]
                + [contrast(samples[2], other, "share") for other in samples[3:]]
            )
            lost[n] += not judged[0].clear
            false[n] += any(one.clear for one in judged[1:])
    assert lost[3] <= 0.25 * n_studies
    assert lost[5] <= 0.05 * n_studies
    assert lost[10] == 0
    assert max(false.values()) <= 0.09 * n_studies  # binomial(200, 0.05): more in 1 %


def test_equal_values_are_no_difference() -> None:
    for n in (1, 3, 5):
        same = Sample(dict.fromkeys(range(n), 0.8), noise=0.01)
        found = contrast(same, same, "share")
        assert (found.direction, found.clear, found.p) == (0, False, 1)


def test_holm_by_hand() -> None:
    def with_p(p: float) -> Contrast:
        return Contrast(5, 0.1, None, None, 1, True, p)

    shared = share_level([with_p(p) for p in (0.025, 0.01, 0.02, 0.5)])
    # 4 x 0.01; 3 x 0.02; max(0.06, 2 x 0.025); 0.5
    assert [one.p for one in shared] == pytest.approx([0.06, 0.04, 0.06, 0.5])
    assert [one.clear for one in shared] == [False, True, False, False]


def test_five_pairs_have_four_degrees_of_freedom() -> None:
    changes = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 5.0}
    found = contrast(Sample(dict.fromkeys(changes, 0.0)), Sample(changes), "plain")
    margin = 2.776445 * math.sqrt(2.5 / 5)  # t tables, 95 %; the variance of 1 to 5 is 2.5
    assert (found.low, found.high) == pytest.approx((3 - margin, 3 + margin), rel=1e-6)
    # P(|T| < t) with four: sin a (1 + cos^2 a / 2), tan a = t / 2, t = 3 / sqrt(0.5)
    assert found.p == pytest.approx(1 - 0.9045340 * (1 + 0.1818182 / 2), abs=1e-6)


def test_forecasts_only_from_five_seeds_and_below_a_hundred() -> None:
    first = dict.fromkeys(range(5), 0.80)
    near = contrast(
        Sample(first), Sample(dict(enumerate([0.82, 0.79, 0.83, 0.81, 0.80]))), "share"
    )  # mean 0.01, sd 0.01581: t(n-1) sd / sqrt(n) < mean from n = 13 on (2.179 * 0.004385)
    assert near.more_seeds == 8
    far = contrast(Sample(first), Sample(dict(enumerate([0.82, 0.78, 0.83, 0.77, 0.802]))), "share")
    assert far.more_seeds is None
    few = contrast(Sample({1: 0.8, 2: 0.8}, 0.01), Sample({1: 0.82, 2: 0.79}, 0.01), "share")
    assert few.more_seeds is None


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10])
def test_identical_groups_seldom_differ_however_many(n: int) -> None:
    """Twenty groups against the first: 5 % of comparisons, not 48 % of them."""
    rng = np.random.default_rng(n)
    called = 0
    for _ in range(200):
        groups = [Sample(dict(enumerate(rng.normal(0.84, 0.006, n))), 0.008) for _ in range(20)]
        found = share_level([contrast(groups[0], other, "share") for other in groups[1:]])
        called += any(one.clear for one in found)
    assert called <= 19  # binomial(200, 0.05): 10, and three standard deviations


def test_the_best_of_five_identical_ones_is_seldom_better_than_another() -> None:
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(200):
        arms = [Sample(dict(enumerate(rng.normal(0.84, 0.006, 5)))) for _ in range(5)]
        found = share_level([contrast(a, b, "share") for a, b in combinations(arms, 2)])
        called += any(one.clear for one in found)
    assert called <= 19


def test_summaries() -> None:
    values = [0.81, 0.85, 0.80, 0.86, 0.83]
    summary = summarise([*values, None], "share")
    assert summary is not None
    assert (summary.n, summary.minimum, summary.maximum) == (5, 0.80, 0.86)
    assert summary.sd == pytest.approx(np.std(values, ddof=1))
    assert summary.sd != pytest.approx(np.std(values))  # n - 1, not n
    one = summarise([0.5])
    assert one is not None
    assert (one.mean, one.sd, one.low, one.high) == (0.5, None, None, None)
    assert summarise([None]) is None
