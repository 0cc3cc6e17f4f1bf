"""Variance components: by hand, and over simulated designs; the best of n over all subsets."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from fmnist_cli.analysis.luck import best_of, variance_components
from fmnist_cli.errors import UsageError


def test_by_hand() -> None:
    # rows differ by 4, columns by 2, nothing else: means 1, 5 and 2, 4 about 3
    only = variance_components([[0.0, 2.0], [4.0, 6.0]])
    assert (only.mean, only.rest) == (3, 0)
    assert only.init == pytest.approx(8)  # the sample variance of 1 and 5
    assert only.order == pytest.approx(2)
    assert only.shares == pytest.approx((0.8, 0.2, 0))
    assert only.standard_deviation == pytest.approx(math.sqrt(10))
    # the pure interaction: no row and no column differs
    crossed = variance_components([[1.0, -1.0], [-1.0, 1.0]])
    assert crossed.rest == pytest.approx(4)
    assert (crossed.init, crossed.order) == (pytest.approx(-2), pytest.approx(-2))
    assert crossed.shares == (0, 0, 1)


@pytest.mark.parametrize("planted", [(4.0, 1.0, 2.0), (0.0, 3.0, 1.0), (0.0, 0.0, 1.0)])
def test_what_was_planted_is_found_on_average(planted: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(1)
    a, b, e = np.sqrt(planted)
    found = []
    for _ in range(3_000):
        table = a * rng.normal(size=(4, 1)) + b * rng.normal(size=(1, 6))
        one = variance_components(0.84 + table + e * rng.normal(size=(4, 6)))
        found.append((one.init, one.order, one.rest))
    errors = np.std(found, axis=0) / math.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - planted) < 4 * errors)


def test_nothing_varies() -> None:
    flat = variance_components(np.full((2, 3), 0.8))
    assert flat.standard_deviation == pytest.approx(0, abs=1e-12)
    zero = variance_components(np.zeros((2, 2)))
    assert all(math.isnan(share) for share in zero.shares)


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [1.0, 2.0], [[1.0, math.nan], [1.0, 2.0]]])
def test_a_design_that_is_not_crossed_is_refused(values: object) -> None:
    with pytest.raises(UsageError, match=r"at least 2 x 2 seeds\. Received: "):
        variance_components(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", range(1, 8))
def test_the_best_of_n_is_the_mean_over_all_subsets(n: int) -> None:
    rng = np.random.default_rng(3)
    val = rng.integers(0, 4, 7) / 4  # with ties
    test = rng.random(7)
    means = []
    for rows in combinations(range(7), n):
        best = [i for i in rows if val[i] == val[list(rows)].max()]
        means.append(test[best].mean())
    assert best_of(val, n, test) == pytest.approx(np.mean(means))
    assert best_of(val, n) == pytest.approx(
        np.mean([val[list(rows)].max() for rows in combinations(range(7), n)])
    )


def test_picking_buys_nothing_that_was_not_chosen_by() -> None:
    rng = np.random.default_rng(4)
    val, test = rng.normal(size=400), rng.normal(size=400)  # unrelated
    assert abs(best_of(val, 10, test) - test.mean()) < 4 / math.sqrt(40)
    # of ten standard normals the largest is 1.5388 on average
    assert best_of(rng.normal(size=50_000), 10) == pytest.approx(1.5388, abs=0.02)


def test_more_picks_than_runs_are_refused() -> None:
    with pytest.raises(UsageError, match=r"between 1 and 2\. Received: 3\."):
        best_of([1.0, 2.0], 3)
