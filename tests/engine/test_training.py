"""The training loop, with a backend that plays back a script."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.backend import Arrays, Evaluation, Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.seeding import epoch_order, weights_rng
from fmnist_cli.engine.training import confusion_matrix, make_backend, train
from fmnist_cli.epoch import Epoch

N_TRAIN, N_VAL, N_TEST = 20, 6, 4


def split(n: int) -> Split:
    return Split(np.zeros((n, 784), np.float32), np.arange(n) % 10)


@pytest.fixture
def data(tmp_path: Any) -> Dataset:
    return Dataset(
        train=split(N_TRAIN),
        val=split(N_VAL),
        test=split(N_TEST),
        fingerprint="f",
        source="made here",
        folder=tmp_path,
        is_official=False,
    )


@dataclass
class Script:
    """A backend whose weight is the number of epochs it has trained."""

    val_accuracy: list[float]
    val_loss: list[float] | None = None
    running_loss: list[float] | None = None
    dead_units: list[int] | None = None
    weight: list[float] | None = None
    epoch: int = 0
    orders: list[np.ndarray] = field(default_factory=list)

    def _now(self, values: list[Any] | None, default: Any) -> Any:
        return default if values is None else values[self.epoch - 1]

    def train_epoch(self, order: np.ndarray, images: np.ndarray | None = None) -> float:
        self.epoch += 1
        self.orders.append(order)
        return float(self._now(self.running_loss, 1.0))

    def evaluate(self, split: Split) -> Evaluation:
        dead = 8  # of 8, unless it is the training set, which alone says
        none = np.zeros(len(split), np.int64)
        if len(split) == N_VAL:
            loss = self._now(self.val_loss, 0.5)
            return Evaluation(loss, self._now(self.val_accuracy, 0.5), dead, 8, none)
        if len(split) == N_TEST:
            return Evaluation(0.375, 0.625, dead, 8, none)
        return Evaluation(0.25, 0.75, self._now(self.dead_units, 0), 8, none)

    def weights(self) -> dict[str, np.ndarray]:
        return {"w": np.array([self._now(self.weight, float(self.epoch))])}

    def set_weights(self, weights: Arrays) -> None:
        self.epoch = int(weights["w"][0])

    def velocity(self) -> dict[str, np.ndarray]:
        return {}

    def set_velocity(self, velocity: Arrays) -> None:
        pass


def config(**changes: Any) -> TrainConfig:
    return replace(TrainConfig(train_size=N_TRAIN, val_size=N_VAL, batch=6), **changes)


@pytest.mark.parametrize(("patience", "stopped_after"), [(1, 3), (2, 4), (3, 5)])
def test_the_table_of_early_stopping(data: Dataset, patience: int, stopped_after: int) -> None:
    backend = Script([0.70, 0.72, 0.71, 0.72, 0.71, 0.99])
    result = train(backend, data, config(patience=patience))
    assert len(result.epochs) == stopped_after
    assert result.stop_reason == "patience"
    assert result.best == result.epochs[1]
    assert result.weights is not None
    assert result.weights["w"] == 2
    assert backend.epoch == 2  # the backend holds the best weights again
    assert not result.still_improving


def test_the_loss_can_be_watched_instead(data: Dataset) -> None:
    backend = Script([0.5, 0.6, 0.7, 0.8], val_loss=[1.0, 0.5, 0.5, 0.6])
    result = train(backend, data, config(patience=2, monitor="val_loss"))
    assert (len(result.epochs), result.best and result.best.epoch) == (4, 2)


def test_no_early_stop_trains_to_the_end(data: Dataset) -> None:
    result = train(Script([0.9] + [0.1] * 9), data, config(patience=None, epochs=10))
    assert len(result.epochs) == 10
    assert result.stop_reason == "max_epochs"
    assert not result.still_improving


def test_a_run_that_still_improves_at_its_limit_says_so(data: Dataset) -> None:
    result = train(Script([0.1, 0.2, 0.3]), data, config(epochs=3))
    assert result.stop_reason == "max_epochs"
    assert result.still_improving


def test_a_run_whose_best_epoch_lies_back_does_not_still_improve(data: Dataset) -> None:
    result = train(Script([0.3, 0.2, 0.1]), data, config(epochs=3))
    assert result.stop_reason == "max_epochs"
    assert not result.still_improving


@pytest.mark.parametrize(
    ("accuracies", "improving"),
    [([0.3, 0.2], False), ([0.2, 0.3], True), ([0.3], True),
     ([0.1, 0.3, 0.2], True), ([0.3, 0.2, 0.1], False)],
)  # fmt: skip
def test_of_two_epochs_the_last_must_be_best_to_still_improve(
    data: Dataset, accuracies: list[float], improving: bool
) -> None:
    result = train(Script(accuracies), data, config(epochs=len(accuracies)))
    assert result.still_improving is improving


def test_every_epoch_is_handed_on(data: Dataset) -> None:
    heard: list[Epoch] = []
    script = Script([0.5, 0.4], dead_units=[3, 1])
    result = train(script, data, config(epochs=2), on_epoch=heard.append)
    assert tuple(heard) == result.epochs
    assert [e.epoch for e in heard] == [1, 2]
    assert [e.updates for e in heard] == [4, 8]  # 20 examples in batches of 6: 6 6 6 2
    assert heard[0].running_loss == 1.0
    assert heard[0].val_accuracy == 0.5
    assert heard[0].val_loss == 0.5
    assert heard[0].train_loss == 0.25
    assert heard[0].train_accuracy == 0.75
    assert heard[0].test_accuracy is None
    assert [e.dead_units for e in heard] == [3, 1]
    assert heard[0].train_seconds >= 0


def test_the_test_set_at_every_epoch_where_asked(data: Dataset) -> None:
    result = train(Script([0.5]), data, config(epochs=1), test_every_epoch=True)
    assert result.epochs[0].test_accuracy == 0.625
    assert result.epochs[0].test_loss == 0.375
    assert result.test is not None
    assert result.test.accuracy == 0.625


def test_the_training_time_is_that_of_the_updates_alone(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0

    class Timed(Script):
        def train_epoch(self, order: np.ndarray, images: np.ndarray | None = None) -> float:
            nonlocal clock
            clock += 1.0
            return super().train_epoch(order, images)

        def evaluate(self, split: Split) -> Evaluation:
            nonlocal clock
            clock += 16.0
            return super().evaluate(split)

    monkeypatch.setattr("fmnist_cli.engine.training.time.perf_counter", lambda: clock)
    result = train(Timed([0.5, 0.6]), data, config(epochs=2))
    assert [(e.train_seconds, e.eval_seconds) for e in result.epochs] == [(1.0, 32.0)] * 2
    assert result.train_seconds == 2.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("what", ["running_loss", "val_loss"])
def test_a_loss_that_is_not_finite_is_divergence(data: Dataset, what: str, value: float) -> None:
    heard: list[Epoch] = []
    backend = Script([0.5, 0.4, 0.6], **{what: [1.0, value, 1.0]})
    result = train(backend, data, config(lr=0.5), on_epoch=heard.append)
    assert result.stop_reason == "diverged"
    assert len(result.epochs) == len(heard) == 2  # the epoch that diverged is told as well
    assert result.divergence == (
        "training diverged in epoch 2 at learning rate 0.5: the loss is not finite"
    )
    assert result.best == result.epochs[0]
    assert result.test is not None


def test_a_weight_that_is_not_finite_is_divergence(data: Dataset) -> None:
    result = train(Script([0.5], weight=[math.inf]), data, config())
    assert result.divergence.endswith("a weight is not finite")
    assert (result.best, result.weights, result.test) == (None, None, None)


def test_half_the_hidden_units_dead_is_divergence(data: Dataset) -> None:
    result = train(Script([0.5, 0.6], dead_units=[3, 4]), data, config())
    assert result.divergence.endswith(
        "4 of 8 hidden units are dead (zero for every training image)"
    )
    assert len(result.epochs) == 2


def test_every_epoch_visits_a_fresh_permutation_from_the_seed(data: Dataset) -> None:
    backend, again, other = (Script([0.1, 0.2, 0.3]) for _ in range(3))
    train(backend, data, config(epochs=3))
    train(again, data, config(epochs=3))
    train(other, data, config(epochs=3, seed=43))
    for order in backend.orders:
        assert sorted(order) == list(range(N_TRAIN))
    assert len({tuple(order) for order in backend.orders}) == 3
    np.testing.assert_array_equal(backend.orders, again.orders)
    assert not np.array_equal(backend.orders, other.orders)


def test_the_order_of_an_epoch_needs_no_earlier_one_and_not_the_weights() -> None:
    expected = epoch_order(5, 3, 50)
    weights_rng(5).random(1000)
    np.testing.assert_array_equal(epoch_order(5, 3, 50), expected)


def test_confusion_matrix_by_hand() -> None:
    matrix = confusion_matrix(np.array([0, 0, 9, 3]), np.array([0, 1, 9, 9]))
    expected = np.zeros((10, 10), int)
    expected[0, 0] = expected[0, 1] = expected[9, 9] = expected[3, 9] = 1
    np.testing.assert_array_equal(matrix, expected)


def test_the_seed_is_both_seeds_and_each_can_be_had_alone() -> None:
    rng = np.random.default_rng(1)
    part = Split(rng.random((60, 784), dtype=np.float32), rng.integers(0, 10, 60))
    data = Dataset(part, part, part, "f", "s", None, False)  # type: ignore[arg-type]

    def weights(**seeds: int) -> np.ndarray:
        asked = TrainConfig(
            train_size=60, val_size=60, hidden=8, epochs=2, augment="shift", **seeds
        )
        result = train(make_backend(asked, data.train), data, asked)
        assert result.weights is not None
        return result.weights["W1"]

    usual = weights(seed=5)
    assert np.array_equal(usual, weights(seed=9, init_seed=5, order_seed=5))
    others = [weights(seed=5, init_seed=6), weights(seed=5, order_seed=6), weights(seed=6)]
    for i, one in enumerate([usual, *others]):
        assert not any(np.array_equal(one, other) for other in others[i:])
    assert np.array_equal(others[0], weights(seed=6, order_seed=5))
    assert np.array_equal(others[1], weights(seed=6, init_seed=5))
