"""Counterfactual arms: by hand, and what they promise about the steps that are made."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.counterfactuals import (
    cumulative_lr,
    cut_short,
    momentum_twins,
    same_cumulative_lr,
    same_patience,
    scaled_lr,
)

BASE = TrainConfig(batch=5, lr=0.01, train_size=10_000)


def test_scaling_by_hand() -> None:
    linear, root = scaled_lr(BASE, 500, "linear"), scaled_lr(BASE, 500, "sqrt")
    assert (linear.batch, linear.lr) == (500, pytest.approx(1.0))
    assert (root.batch, root.lr) == (500, pytest.approx(0.1))
    assert scaled_lr(BASE, 1, "linear").lr == pytest.approx(0.002)
    assert linear.but(batch=5, lr=0.01) == BASE  # nothing else moves


def test_linear_scaling_keeps_the_cumulative_rate_of_an_epoch() -> None:
    for batch in (1, 50, 5_000):
        scaled = scaled_lr(BASE.but(momentum=0.5), batch, "linear")
        assert cumulative_lr(scaled, scaled.updates_per_epoch) == pytest.approx(40)


def test_a_training_cut_short_goes_exactly_as_far() -> None:
    for total, epochs in ((0.5, 1), (20.0, 1), (48.0, 3)):  # an epoch is 20
        cut = cut_short(BASE, total)
        assert (cut.epochs, cut.patience) == (epochs, None)
        assert cumulative_lr(cut, epochs * cut.updates_per_epoch) == pytest.approx(total)
        assert cut.lr <= BASE.lr * (1 + 1e-12)
    with_momentum = cut_short(BASE.but(momentum=0.9), 100.0)
    assert (with_momentum.epochs, with_momentum.lr) == (1, pytest.approx(0.005))


def test_patience_in_updates() -> None:
    # at 5, an epoch is 2,000 updates; at 5,000 it is 2, at 3,000 it is 4
    large = same_patience(BASE.but(batch=5_000), BASE)
    assert (large.patience, large.epochs) == (3_000, 200_000)
    assert same_patience(BASE, BASE) == BASE
    small = same_patience(BASE.but(batch=1), BASE)
    assert (small.patience, small.epochs) == (1, 40)  # 6,000 of 10,000 updates, rounded up
    forever = same_patience(BASE.but(batch=50), BASE.but(patience=None, epochs=10))
    assert (forever.patience, forever.epochs) == (None, 100)


def test_an_equal_cumulative_rate_is_reached_and_not_exceeded_by_an_epoch() -> None:
    total = cumulative_lr(BASE, 10 * BASE.updates_per_epoch)
    assert same_cumulative_lr(BASE, total).epochs == 10  # 20.000000000000004 is not 11 epochs
    for config in (BASE.but(batch=7, lr=0.003, momentum=0.9), BASE.but(batch=5_000)):
        found = same_cumulative_lr(config, total)
        assert found.patience is None
        reached = cumulative_lr(found, found.epochs * found.updates_per_epoch)
        per_epoch = cumulative_lr(found, found.updates_per_epoch)
        assert total <= reached * (1 + 1e-9) < total + per_epoch * (1 + 1e-9)


def test_twins_move_alike_under_a_constant_gradient() -> None:
    config = BASE.but(momentum=0.9)
    longer, shorter = momentum_twins(config)
    assert (longer.momentum, longer.lr) == (0, pytest.approx(0.1))
    assert (shorter.momentum, shorter.lr) == (0.9, pytest.approx(0.001))

    def far(config: TrainConfig, steps: int = 10_000) -> float:
        w, v = 0.0, 0.0
        for _ in range(steps):
            v = config.momentum * v + 1
            w -= config.lr * v
        return w

    assert far(longer) == pytest.approx(far(config), rel=0.01)
    assert far(shorter) == pytest.approx(far(BASE), rel=0.01)
    assert far(config) == pytest.approx(-cumulative_lr(config, 10_000), rel=0.01)


def test_curves_of_two_batches_fall_on_one_where_the_gradient_has_no_noise() -> None:
    # gradient descent on a quadratic with small steps: only the cumulative rate matters
    def loss(config: TrainConfig, epochs: int) -> float:
        w = 1.0
        for _ in range(epochs * config.updates_per_epoch):
            w -= config.lr * w
        return w * w / 2

    small = BASE.but(lr=1e-5)
    scaled = scaled_lr(small, 50, "linear")
    assert loss(scaled, 30) == pytest.approx(loss(small, 30), rel=1e-3)
    equal = same_cumulative_lr(small.but(batch=50), cumulative_lr(small, 30 * 2_000))
    assert equal.epochs == 300
    assert loss(equal, 300) == pytest.approx(np.exp(-2 * 1e-5 * 60_000) / 2, rel=1e-3)
