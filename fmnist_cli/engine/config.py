"""What one training run is asked to do: the defaults, and the rules each value must keep.

The command line's options, their help and the documentation read the defaults from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args

from fmnist_cli.errors import require

ModelName = Literal["mlp", "cnn2", "cnn3"]
EngineName = Literal["auto", "numpy", "keras"]
USER_ENGINE = "user"  # layers of one's own: recorded so, and no choice without their file
Monitor = Literal["val_accuracy", "val_loss"]
Augment = Literal["none", "shift", "rotate"]
Head = Literal["flatten", "gap", "gmp"]
"""What a CNN's last features become before the dense layer: one row, or each channel's average
(gap) or maximum (gmp) over all places."""

HEADS: tuple[Head, ...] = get_args(Head)

MODELS: tuple[ModelName, ...] = get_args(ModelName)

_CHOICES = {
    "model": MODELS,
    "monitor": get_args(Monitor),
    "augment": get_args(Augment),
    "head": HEADS,
}

_NUMBERS: dict[str, tuple[type, type, str]] = {  # by the type of a field
    "int": (Integral, int, "a whole number"),
    "float": (Real, float, "a number"),
}

IMAGE_SIDE = 28
N_INPUTS = IMAGE_SIDE * IMAGE_SIDE  # D
N_CLASSES = 10  # K
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SMALLEST_LR = 1e-30  # a smaller one changes no weight, and its inverse is no float32
SMALLEST_STEPS = {"numpy": 1e-12, "keras": 1e-9}  # of a central difference, by engine
MAGNITUDE_IMAGES = (50, 5_000)  # that the magnitude check compares
N_TRAINING_IMAGES = 60_000  # in the official training file


def option(default: Any, help: str) -> Any:
    """A field of a configuration, with the words that ``--help`` says about it."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The complete, validated description of one training run.

    Equal configurations give bit-identical runs on the same machine and versions.

    Attributes
    ----------
    model, engine
        ``engine="auto"`` becomes ``numpy``, which saves the 5 to 7 seconds that TensorFlow takes to
        start. Its epochs took, at batch 5 and 50, of the time of ``keras``: cnn2 0.52, 0.70; cnn3
        0.73, 0.84 (docs/benchmarks-cnn.md: two quiet cores, OpenBLAS with AVX-512).
    batch : int in [1, train_size]
    lr : float > 0
        Learning rate (eta).
    momentum : float in [0, 1)
        alpha in v <- alpha v + g, w <- w - eta v; 0 is plain SGD.
    epochs : int >= 1
        The maximum.
    patience : int >= 1, or None
        Stop after this many epochs in a row without improvement; None never stops early.
    monitor
        What early stopping watches.
    seed : int >= 0
    hidden : int in [1, 65536]
        Units of the MLP's hidden layer (H).
    train_size, val_size : int >= 1, together at most 60,000
        Images taken from the head of the training file, and from what follows.
    augment
        What the training images go through at every epoch.
    head
        What a CNN's last features become before its dense layer.
    init_seed, order_seed : int >= 0, or None
        In place of ``seed`` for the initial weights alone, or for all that an epoch draws (its
        order and the augmentation) alone; None is ``seed``. A crossed design varies the one and
        keeps the other.

    Raises
    ------
    UsageError
        When a value breaks its rule.
    """

    model: ModelName = option("mlp", "The model to train.")
    engine: EngineName = option("auto", "What runs it; auto is numpy, with no TensorFlow to start.")
    batch: int = option(5, "Examples per gradient update.")
    lr: float = option(0.01, "Learning rate.")
    momentum: float = option(0.0, "Momentum, from 0 (plain SGD) to below 1.")
    epochs: int = option(200, "Maximum number of epochs.")
    patience: int | None = option(3, "Stop after this many epochs without improvement.")
    monitor: Monitor = option("val_accuracy", "What early stopping watches.")
    seed: int = option(42, "Seeds the initial weights and every epoch's order.")
    hidden: int = option(128, "Hidden units of the MLP.")
    train_size: int = option(10_000, "Training images, from the head of the training file.")
    val_size: int = option(2_000, "Validation images, the next ones in the training file.")
    augment: Augment = option("none", "What training images go through: none, shift or rotate.")
    head: Head = option(
        "flatten", "What is between a CNN's features and its dense layer: flatten, gap or gmp."
    )
    init_seed: int | None = option(None, "Seeds the initial weights alone, in place of the seed.")
    order_seed: int | None = option(None, "Seeds every epoch's order alone, in place of the seed.")

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}", value)
        engines = get_args(EngineName)
        may = (*engines, USER_ENGINE)
        require(self.engine in may, f"engine must be one of {', '.join(engines)}", self.engine)
        if self.engine == "auto":
            object.__setattr__(self, "engine", "numpy")
        self._require_numbers()
        n, of_train, lr = N_TRAINING_IMAGES, self.train_size, self.lr
        require(1 <= of_train < n, f"train-size must be between 1 and {n - 1}", of_train)
        left = n - of_train
        must = f"val-size must be between 1 and {left} ({n} less train-size)"
        require(1 <= self.val_size <= left, must, self.val_size)
        require(1 <= self.batch <= of_train, f"batch must be between 1 and {of_train}", self.batch)
        require(math.isfinite(lr) and lr > 0, "lr must be a finite number above 0", lr)
        require(lr >= SMALLEST_LR, f"lr must be at least {SMALLEST_LR:g}", lr)
        require(0 <= self.momentum < 1, "momentum must be at least 0 and below 1", self.momentum)
        require(self.epochs >= 1, "epochs must be at least 1", self.epochs)
        for name in ("epochs", "patience"):
            value = getattr(self, name)
            require((value or 1) < 2**31, f"{name} must be less than {2**31}", value)
        require(
            self.patience is None or self.patience >= 1,
            "patience must be at least 1",
            self.patience,
            remedy="disable_early_stopping",
        )
        for name in ("seed", "init_seed", "order_seed"):
            seed = getattr(self, name)
            must = f"{name.replace('_', '-')} must be between 0 and 2^63 - 1"
            require(0 <= (seed or 0) < 2**63, must, seed)
        require(
            self.head == "flatten" or self.model != "mlp",
            "head is for cnn2 and cnn3",
            f"{self.head} with model {self.model}",
        )
        require(1 <= self.hidden <= 65_536, "hidden must be between 1 and 65536", self.hidden)

    def _require_numbers(self) -> None:
        """Refuse what is no number of its kind, and make Python's numbers of NumPy's."""
        for one in fields(self):
            value = getattr(self, one.name)
            kind, _, may_be_none = str(one.type).partition(" | ")
            if kind not in _NUMBERS or (value is None and may_be_none):
                continue
            number, plain, what = _NUMBERS[kind]
            fits = isinstance(value, number) and not isinstance(value, bool)
            require(fits, f"{one.name.replace('_', '-')} must be {what}", repr(value))
            object.__setattr__(self, one.name, plain(value))

    @property
    def weights_seed(self) -> int:
        """What the initial weights are drawn from."""
        return self.seed if self.init_seed is None else self.init_seed

    @property
    def epochs_seed(self) -> int:
        """What every epoch's order and augmentation are drawn from."""
        return self.seed if self.order_seed is None else self.order_seed

    @property
    def updates_per_epoch(self) -> int:
        """Gradient updates in one epoch; a last, smaller batch counts as one."""
        return -(-self.train_size // self.batch)

    def but(self, **changes: Any) -> TrainConfig:
        """The same configuration with some values changed, validated again."""
        return replace(self, **changes)
