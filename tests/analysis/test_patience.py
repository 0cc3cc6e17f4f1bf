"""Stops by chance: closed forms, and a simulation of the same model."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fmnist_cli.analysis.patience import (
    noise_of,
    premature_stops,
    rising_trend,
    stop_probabilities,
)
from fmnist_cli.engine.stopping import stop_epoch
from fmnist_cli.errors import UsageError


def test_noise_is_found_under_a_trend() -> None:
    rng = np.random.default_rng(1)
    noisy = [noise_of(0.5 + 0.01 * np.arange(30) + 0.02 * rng.normal(size=30)) for _ in range(400)]
    assert math.sqrt(np.square(noisy).mean()) == pytest.approx(0.02, rel=0.03)
    assert noise_of(0.5 + 0.01 * np.arange(30)) == pytest.approx(0, abs=1e-12)
    with pytest.raises(UsageError, match=r"at least 3 epochs\. Received: 2\."):
        noise_of([0.1, 0.2])


def test_the_rising_trend_by_hand_and_by_its_definition() -> None:
    np.testing.assert_allclose(rising_trend([1, 3, 2, 2, 5]), [1, 7 / 3, 7 / 3, 7 / 3, 5])
    np.testing.assert_allclose(rising_trend([[3, 1], [1, 1]]), [1.5, 1.5])
    y = np.random.default_rng(2).normal(size=6)
    # min-max formula (Barlow et al.): max over starts <= i of min over ends >= i of the mean
    expected = [
        max(min(y[s : t + 1].mean() for t in range(i, 6)) for s in range(i + 1)) for i in range(6)
    ]
    np.testing.assert_allclose(rising_trend(y), expected)


def test_records_of_a_flat_curve() -> None:
    # of k + 1 exchangeable values without ties the first is the largest with probability 1/(k + 1)
    flat = np.full(6, 0.5)
    stops = stop_probabilities(flat, 0.05, 20_000, (1, 2, 5))
    assert stops[0, :2] == pytest.approx([0, 1 / 2], abs=1e-3)
    assert stops[1, :3] == pytest.approx([0, 0, 1 / 3], abs=1e-3)
    assert stops[2] == pytest.approx([0, 0, 0, 0, 0, 1 / 6], abs=1e-3)
    # patience 1 goes on only while every epoch is a record: 1/6! reach the end
    assert 1 - stops[0].sum() == pytest.approx(1 / math.factorial(6), abs=1e-3)


def test_ties_stop_sooner() -> None:
    # two images, no noise to speak of: every epoch shows the same, and none improves
    stops = stop_probabilities(np.full(5, 0.5), 1e-3, 2, (1, 3))
    np.testing.assert_allclose(stops, [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]])


def test_a_steep_trend_never_stops() -> None:
    assert stop_probabilities(np.linspace(0.1, 0.9, 9), 0.005, 2_000, (1,)).sum() < 1e-6


def test_the_exact_chances_are_those_of_a_simulation() -> None:
    rng = np.random.default_rng(3)
    trend, noise, n, runs = 0.85 - 0.1 * 0.7 ** np.arange(15), 0.006, 500, 20_000
    patiences = (1, 2, 3, 6)
    exact = stop_probabilities(trend, noise, n, patiences)
    shown = np.clip(np.rint(n * (trend + noise * rng.normal(size=(runs, 15)))), 0, n)
    for row, patience in zip(exact, patiences, strict=True):
        after = [stop_epoch(curve, patience).stopped_after for curve in shown]
        counted = np.array([after.count(e) for e in range(1, 16)]) / runs
        assert np.abs(counted - row).max() < 4 * math.sqrt(0.25 / runs)


def test_premature_is_what_has_yet_to_rise() -> None:
    trend = np.array([0.5, 0.7, 0.8, 0.84, 0.85, 0.85])
    stops = stop_probabilities(trend, 0.05, 1_000, (1, 3))
    np.testing.assert_allclose(
        premature_stops(trend, 0.05, 1_000, (1, 3), gain=0.02), stops[:, :3].sum(axis=1)
    )
    patient = premature_stops(trend, 0.05, 1_000, gain=0.005)
    assert np.all(np.diff(patient) <= 1e-12)  # more patience, fewer premature stops
    assert patient[-1] == 0


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(UsageError, match=r"noise must be above 0\. Received: 0\."):
        stop_probabilities([0.5], 0, 10)
    with pytest.raises(UsageError, match=r"patience must be at least 1\. Received: 0\."):
        stop_probabilities([0.5], 0.1, 10, (0, 1))
