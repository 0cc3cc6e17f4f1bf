"""Augmented training images: what moves, that it repeats, and that both engines train on it."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
from fmnist_cli.engine.seeding import epoch_order
from fmnist_cli.engine.shifts import augmented, shift, turn
from fmnist_cli.engine.training import make_backend, train


def images(n: int = 400) -> np.ndarray:
    return np.random.default_rng(5).random((n, 784), dtype=np.float32)


def test_none_leaves_the_images_alone() -> None:
    assert augmented(images(3), "none", seed=1, epoch=1) is None


@pytest.mark.parametrize("kind", ["shift", "rotate"])
def test_seed_and_epoch_decide(kind: str) -> None:
    x = images()
    before = x.copy()
    one = augmented(x, kind, seed=1, epoch=1)
    assert one is not None
    assert (one.shape, one.dtype, one.flags.c_contiguous) == (x.shape, x.dtype, True)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(one, augmented(x, kind, seed=1, epoch=1))
    for seed, epoch in ((1, 2), (2, 1)):
        assert not np.array_equal(one, augmented(x, kind, seed=seed, epoch=epoch))


def test_every_image_is_moved_by_up_to_4_pixels_and_all_moves_occur() -> None:
    x = images(2000)
    out = augmented(x, "shift", seed=3, epoch=1)
    assert out is not None
    # a random image tells its move: exactly one candidate is equal
    moves = [(dy, dx) for dy in range(-4, 5) for dx in range(-4, 5)]
    fits = np.stack([(shift(x, dy, dx) == out).all(axis=1) for dy, dx in moves])
    np.testing.assert_array_equal(fits.sum(axis=0), 1)
    assert fits.any(axis=1).all()


def test_every_image_is_turned_by_whole_degrees() -> None:
    x = images(60)
    out = augmented(x, "rotate", seed=3, epoch=1)
    assert out is not None
    angles = range(-180, 180)
    fits = np.stack([(turn(x, angle) == out).all(axis=1) for angle in angles])
    np.testing.assert_array_equal(fits.sum(axis=0), 1)
    assert len(np.unique(fits.argmax(axis=0))) > 40


def tiny(kind: str, **changes: object) -> tuple[TrainConfig, Dataset]:
    rng = np.random.default_rng(1)
    part = Split(images(60), rng.integers(0, 10, 60))
    config = TrainConfig(
        train_size=60, val_size=60, hidden=8, epochs=2, batch=7, augment=kind, **changes
    )  # type: ignore[arg-type]
    return config, Dataset(part, part, part, "f", "s", None, False)  # type: ignore[arg-type]


def test_an_epoch_trains_on_the_augmented_images_and_evaluates_the_originals() -> None:
    config, data = tiny("shift")
    by_hand = NumPyMLP.from_config(config, data.train)
    for epoch in (1, 2):
        moved = augmented(data.train.images, "shift", seed=42, epoch=epoch)
        assert moved is not None
        onto = NumPyMLP(
            Split(moved, data.train.labels), weights=by_hand.weights(), batch=7, lr=0.01, momentum=0
        )
        onto.train_epoch(epoch_order(42, epoch, 60))
        by_hand.set_weights(onto.weights())
    result = train(make_backend(config, data.train), data, config)
    assert result.epochs[-1].train_loss == by_hand.evaluate(data.train).loss
    plain = train(
        make_backend(config.but(augment="none"), data.train), data, config.but(augment="none")
    )
    assert plain.epochs[-1].train_loss != result.epochs[-1].train_loss


@pytest.mark.parametrize("batch", [7, 60])
def test_the_own_images_come_back_after_an_augmented_epoch(batch: int) -> None:
    _, data = tiny("none")
    config = TrainConfig(train_size=60, val_size=60, hidden=8, batch=batch)
    backend, straight = (NumPyMLP.from_config(config, data.train) for _ in range(2))
    start, order = backend.weights(), epoch_order(1, 1, 60)
    backend.train_epoch(order, images(60)[::-1])
    assert not np.array_equal(backend.weights()["W1"], start["W1"])
    backend.set_weights(start)
    assert backend.train_epoch(order) == straight.train_epoch(order)
    np.testing.assert_array_equal(backend.weights()["W1"], straight.weights()["W1"])


@pytest.mark.keras
@pytest.mark.parametrize("kind", ["shift", "rotate"])
def test_both_engines_see_the_same_images(kind: str) -> None:
    losses = []
    for engine in ("numpy", "keras"):
        config, data = tiny(kind, engine=engine)
        result = train(make_backend(config, data.train), data, config)
        losses.append([epoch.running_loss for epoch in result.epochs])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
