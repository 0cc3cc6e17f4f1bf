"""Each rule of a configuration, and the words it is refused with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import UsageError

BAD = [
    ("batch", 0, "batch must be between 1 and 10000. Received: 0."),
    ("batch", 20_000, "batch must be between 1 and 10000. Received: 20000."),
    ("lr", -1.0, "lr must be a finite number above 0. Received: -1.0."),
    ("lr", 0.0, "lr must be a finite number above 0. Received: 0.0."),
    ("lr", math.nan, "lr must be a finite number above 0. Received: nan."),
    ("lr", math.inf, "lr must be a finite number above 0. Received: inf."),
    ("momentum", 1.0, "momentum must be at least 0 and below 1. Received: 1.0."),
    ("momentum", -0.1, "momentum must be at least 0 and below 1. Received: -0.1."),
    ("momentum", math.nan, "momentum must be at least 0 and below 1. Received: nan."),
    ("epochs", 0, "epochs must be at least 1. Received: 0."),
    ("patience", 0, "patience must be at least 1. Received: 0."),
    ("hidden", 0, "hidden must be between 1 and 65536. Received: 0."),
    ("seed", -1, "seed must be between 0 and 2^63 - 1. Received: -1."),
    ("train_size", 70_000, "train-size must be between 1 and 59999. Received: 70000."),
    (
        "val_size",
        50_001,
        "val-size must be between 1 and 50000 (60000 less train-size). Received: 50001.",
    ),
    ("model", "resnet", "model must be one of mlp, cnn2, cnn3. Received: resnet."),
    ("engine", "jax", "engine must be one of auto, numpy, keras. Received: jax."),
    ("batch", 2.5, "batch must be a whole number. Received: 2.5."),
    ("batch", True, "batch must be a whole number. Received: True."),
    ("epochs", None, "epochs must be a whole number. Received: None."),
    ("init_seed", "3", "init-seed must be a whole number. Received: '3'."),
    ("lr", "0.1", "lr must be a number. Received: '0.1'."),
    ("monitor", "loss", "monitor must be one of val_accuracy, val_loss. Received: loss."),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_a_value_that_breaks_its_rule(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**{name: value})
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_auto_is_the_faster_engine_of_every_model() -> None:
    assert TrainConfig().engine == "numpy"
    assert TrainConfig(model="cnn3").engine == "numpy"
    assert TrainConfig(model="cnn2", engine="keras").engine == "keras"


def test_the_edges_are_allowed() -> None:
    config = TrainConfig(
        batch=10_000, patience=1, epochs=1, hidden=1, seed=0, val_size=50_000, momentum=0.99
    )
    assert config.updates_per_epoch == 1
    assert config.but(batch=3).updates_per_epoch == 3_334
    assert TrainConfig(patience=None).patience is None


def test_numbers_of_numpy_become_pythons() -> None:
    config = TrainConfig(batch=np.int64(5), lr=np.float64(0.1), momentum=0, seed=np.uint8(3))
    assert config == TrainConfig(lr=0.1, seed=3)
    assert [type(getattr(config, name)) for name in ("batch", "lr", "momentum", "seed")] == [
        int,
        float,
        float,
        int,
    ]


def test_seeds_and_heads_keep_their_rules():
    config = TrainConfig(seed=3)
    assert (config.weights_seed, config.epochs_seed) == (3, 3)
    config = TrainConfig(seed=3, init_seed=0, order_seed=4)
    assert (config.weights_seed, config.epochs_seed) == (0, 4)
    with pytest.raises(UsageError, match=r"init-seed must be between .*Received: -1\."):
        TrainConfig(init_seed=-1)
    with pytest.raises(UsageError, match=r"order-seed must .*Received: 9223372036854775808\."):
        TrainConfig(order_seed=2**63)
    with pytest.raises(UsageError, match=r"head is for cnn2 and cnn3\. Received: gap with"):
        TrainConfig(head="gap")
    with pytest.raises(UsageError, match=r"head must be one of flatten, gap, gmp\. Received: top"):
        TrainConfig(model="cnn2", head="top")
    assert TrainConfig(model="cnn2", head="gmp").head == "gmp"


@pytest.mark.parametrize("name", ["epochs", "patience"])
@pytest.mark.parametrize("value", [2**31, 2**63, 10**30])
def test_a_number_that_no_database_holds(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"{name} must be less than 2147483648. Received: "):
        TrainConfig(**{name: value})
    TrainConfig(**{name: 2**31 - 1})
