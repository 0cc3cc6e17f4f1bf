"""Variance components: by hand, and over simulated designs; the best of n over all subsets."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest

from fmnist_cli.analysis.luck import (
    _matters,
    best_of,
    luck_answers,
    picking,
    variance_components,
)
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.errors import UsageError

from .recorded import changed, recorded


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


def planted(
    init: float, order: float, rest: float, n: int = 5, informative: bool = True
) -> list[RecordedRun]:
    """n x n runs with these standard deviations, in points, about 84 %."""
    rng = np.random.default_rng(8)
    a, b, e = rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, n))
    # scaled, so that a small design has the spread that was planted
    a, b, e = ((x - x.mean()) / x.std() for x in (a, b, e))
    table = 0.84 + (init * a[:, None] + order * b + rest * e) / 100  # (n, n)
    val = table if informative else rng.permutation(table.ravel()).reshape(n, n)
    return [
        recorded(
            label=f"weights {42 + i}", init_seed=42 + i, seed=42 + j, id=1 + n * i + j,
            test_accuracy=table[i, j], best_val_accuracy=val[i, j],
        )
        for i in range(n)
        for j in range(n)
    ]  # fmt: skip


def test_the_part_that_was_planted_is_named() -> None:
    verdicts = {
        name: luck_answers(planted(*parts), 42)[1]
        for name, parts in {
            "init": (2.0, 0.1, 0.2),
            "order": (0.1, 2.0, 0.2),
            "neither": (0.0, 0.0, 0.5),
        }.items()
    }
    assert verdicts["init"].verdict == "yes"
    assert verdicts["order"].verdict == "no"
    assert verdicts["neither"].verdict == "no clear difference"
    assert verdicts["init"].evidence["shares"][0] > 0.9
    assert verdicts["order"].evidence["shares"][1] > 0.9


def test_equal_parts_are_called_different_in_5_percent() -> None:
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(2_000):
        table = rng.normal(size=(4, 1)) + rng.normal(size=(1, 4)) + rng.normal(size=(4, 4))
        called += _matters(variance_components(table)).verdict != "no clear difference"
    assert abs(called / 2_000 - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 2_000)


def test_where_the_default_run_stands() -> None:
    runs = planted(0.5, 0.5, 0.3)
    mean = float(np.mean([run.test_accuracy for run in runs]))
    odd = [changed(runs[0], test_accuracy=0.70), *runs[1:]]
    typical = luck_answers([changed(runs[0], test_accuracy=mean), *runs[1:]], 42)[0]
    unlucky = luck_answers(odd, 42)[0]
    assert (typical.verdict, unlucky.verdict) == ("yes", "no")
    assert unlucky.evidence["runs_below"] == 0
    assert "0 of the other 24 runs are below it" in unlucky.statement


def test_picking_helps_where_validation_says_something() -> None:
    helps = luck_answers(planted(0.5, 0.5, 0.5), 42)[3]
    nothing = luck_answers(planted(0.5, 0.5, 0.5, informative=False), 42)[3]
    assert (helps.verdict, nothing.verdict) == ("yes", "no clear difference")
    assert helps.evidence["val"] == pytest.approx(helps.evidence["test"])


def test_the_chance_gain_is_that_of_all_permutations() -> None:
    val, test = [0.1, 0.4, 0.2, 0.4], [0.3, 0.1, 0.9, 0.5]
    gains = [best_of(val, 2, dealt) for dealt in permutations(test)]
    assert picking(val, test, 2).chance == pytest.approx(np.std(gains))


def test_a_hole_settles_nothing() -> None:
    runs = planted(1, 1, 1)
    holes = [changed(runs[0], stop_reason="diverged"), *runs[1:]]
    assert {answer.verdict for answer in luck_answers(holes, 42)} == {"not settled"}
    assert {answer.verdict for answer in luck_answers(runs[1:], 42)} == {"not settled"}
