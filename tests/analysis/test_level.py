"""Real trainings, judged: an effect that is there is called, one that is not is not.

One pool of trained runs, all of one configuration, is dealt into many studies of two arms with
seeds of their own; how often these are called different must fit the stated level.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_cli.analysis.statistics import Sample, contrast
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset, load
from fmnist_cli.engine.training import make_backend, train

STUDIES, SEEDS = 100, 5
CONFIG = TrainConfig(train_size=200, val_size=50, hidden=16, epochs=2, lr=0.1, patience=None)


def losses(config: TrainConfig, data: Dataset, seeds: range) -> dict[int, float]:
    found = {}
    for seed in seeds:
        one = config.but(seed=seed)
        found[seed] = train(make_backend(one, data.train), data, one).epochs[-1].val_loss
    return found


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return load(200, 50, data_dir=tiny_data, allow_custom=True)


def test_identical_arms_are_called_different_as_seldom_as_stated(data: Dataset) -> None:
    pool = losses(CONFIG, data, range(2 * SEEDS * STUDIES))
    called = 0
    for study in range(STUDIES):
        first = {s: pool[s] for s in range(2 * study * SEEDS, (2 * study + 1) * SEEDS)}
        second = {s: pool[s] for s in range((2 * study + 1) * SEEDS, (2 * study + 2) * SEEDS)}
        called += contrast(Sample(first), Sample(second), "ratio").clear
    # Binomial(100, 0.05): 5 expected, more than 11 in 0.4 %
    assert called <= 11
    # with the same seeds they are the same runs, and a tie
    assert contrast(Sample(first), Sample(dict(first)), "ratio").direction == 0


def test_an_arm_with_a_learning_rate_10_times_smaller_is_called_every_time(data: Dataset) -> None:
    for start in range(0, 5 * SEEDS, SEEDS):
        seeds = range(start, start + SEEDS)
        usual, slow = losses(CONFIG, data, seeds), losses(CONFIG.but(lr=0.01), data, seeds)
        found = contrast(Sample(usual), Sample(slow), "ratio")
        assert (found.clear, found.direction) == (True, 1)
        others = losses(CONFIG.but(lr=0.01), data, range(100 + start, 100 + start + SEEDS))
        found = contrast(Sample(usual), Sample(others), "ratio")
        assert (found.clear, found.direction) == (True, 1)
