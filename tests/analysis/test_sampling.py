"""Wilson's interval and McNemar's test: published examples, defining equations, enumeration."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from fmnist_cli.analysis.sampling import (
    mcnemar,
    pack_answers,
    standard_error,
    unpack_answers,
    wilson_interval,
)
from fmnist_cli.errors import UsageError


def test_the_error_of_the_course_validation_set() -> None:
    assert standard_error(0.85, 2_000) == pytest.approx(0.00798, abs=1e-5)
    assert standard_error(1.0, 10) == 0


def test_wilsons_published_example() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81/263, 15/148, 0/20, 1/29
    for correct, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (3, 7), (8_400, 10_000), (10, 10)])
def test_both_ends_solve_the_score_equation(correct: int, n: int, level: float) -> None:
    z = {0.5: 0.674490, 0.9: 1.644854, 0.95: 1.959964, 0.999: 3.290527}[level]
    low, high = wilson_interval(correct, n, level)
    assert 0 <= low <= correct / n <= high <= 1
    for p, end in ((low, 0), (high, 1)):
        if p != end:
            assert abs(correct / n - p) / math.sqrt(p * (1 - p) / n) == pytest.approx(z, rel=1e-5)


def test_wilson_covers_as_often_as_it_says() -> None:
    n, p = 100, 0.84
    k = np.arange(n + 1)
    chance = np.array([math.comb(n, int(i)) * p**i * (1 - p) ** (n - i) for i in k])
    inside = [low <= p <= high for low, high in (wilson_interval(int(i), n) for i in k)]
    assert chance[inside].sum() == pytest.approx(0.95, abs=0.02)


def answers(both: int, only_first: int, only_second: int, neither: int) -> list[np.ndarray]:
    sizes = [both, only_first, only_second, neither]
    return [np.repeat(np.array(kind, bool), sizes) for kind in ((1, 1, 0, 0), (1, 0, 1, 0))]


def test_mcnemars_published_example() -> None:
    # Fagerland et al. 2013, table 2 (airway hyper-responsiveness): 1 and 7 discordant pairs of 21
    found = mcnemar(*answers(1, 1, 7, 12))
    assert (found.n, found.only_first, found.only_second) == (21, 1, 7)
    assert found.p_exact == pytest.approx(0.0703, abs=5e-5)
    assert found.p_mid == pytest.approx(0.0391, abs=5e-5)
    assert found.difference == pytest.approx(-6 / 21)


@pytest.mark.parametrize("n", range(1, 9))
def test_exact_p_by_enumeration(n: int) -> None:
    splits = [sum(signs) for signs in product((0, 1), repeat=n)]  # each as likely if both are equal
    for b in range(n + 1):
        found = mcnemar(*answers(3, b, n - b, 2))
        uneven = abs(2 * b - n)
        assert found.p_exact == pytest.approx(np.mean([abs(2 * s - n) >= uneven for s in splits]))
        itself = np.mean([abs(2 * s - n) == uneven for s in splits])
        assert found.p_mid == pytest.approx(found.p_exact - itself / 2 if uneven else 1.0)


def test_many_differing_images_stay_exact() -> None:
    found = mcnemar(*answers(0, 5_200, 4_800, 0))
    z = (400 - 1) / math.sqrt(10_000)  # the normal approximation, with its continuity correction
    assert found.p_exact == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-2)
    assert mcnemar(*answers(0, 10_000, 0, 0)).p_exact == 0  # 2 ** -9999 is no float64


def test_same_answers() -> None:
    same = np.array([True, False, True])
    assert mcnemar(same, same).p_exact == mcnemar(same, same).p_mid == 1
    with pytest.raises(UsageError, match=r"the same images\. Received: \(3,\) and \(2,\)"):
        mcnemar(same, same[:2])


@pytest.mark.parametrize("n", [1, 7, 8, 9, 10_000])
def test_answers_survive_packing(n: int) -> None:
    correct = np.random.default_rng(n).random(n) < 0.8
    packed = pack_answers(correct)
    assert len(packed) == math.ceil(n / 8)
    np.testing.assert_array_equal(unpack_answers(packed, n), correct)
    with pytest.raises(UsageError, match=r"take \d+ bytes\. Received: \d+"):
        unpack_answers(packed + b"\0", n)


def test_the_order_of_bits() -> None:
    assert pack_answers(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1], bool)) == b"\x80\x80"
