"""The one training loop, shared by every model, engine and study.

It decides what is trained on and when to stop; the backend (``backend.py``) trains an epoch;
``on_epoch`` hears the numbers. Nothing here knows who listens, or which engine runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Backend, Evaluation, Split
from fmnist_cli.engine.checkpoint import Checkpoint
from fmnist_cli.engine.config import N_CLASSES, USER_ENGINE, TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.seeding import epoch_order
from fmnist_cli.engine.shifts import augmented
from fmnist_cli.engine.stopping import EarlyStopping
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import UsageError

StopReason = Literal["patience", "max_epochs", "diverged"]

STILL_IMPROVING_WITHIN = 2
"""A run at its limit still improves if its best epoch is the last one, or, of more than n epochs,
among the last n. Of n, the others are too few to tell a fall from noise."""


@dataclass(frozen=True)
class Assessment:
    """A model on one named set of images.

    Attributes
    ----------
    n : int
        Images in the set.
    loss : float
        Nats per example.
    accuracy : float in [0, 1]
    confusion : (K, K) int64
        Row: the true class; column: the predicted one.
    predicted : (N,) int64
    correct : (N,) bool
    """

    n: int
    loss: float
    accuracy: float
    confusion: NDArray[np.int64]
    predicted: NDArray[np.int64]
    correct: NDArray[np.bool_]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. The weights are the best epoch's.

    Attributes
    ----------
    epochs : one ``Epoch`` per epoch trained
    best : Epoch or None
        The best epoch by what early stopping watches; None if the first epoch diverged.
    stop_reason : ``patience``, ``max_epochs`` or ``diverged``
    still_improving : bool
        Stopped at the last epoch allowed, with the best one so near the end that more epochs
        may well have been better.
    divergence : str
        Why, in words, if it diverged; else empty.
    weights : arrays by name, or None with ``best``
    test : Assessment or None
        The best epoch's weights on the test set.
    """

    epochs: tuple[Epoch, ...]
    best: Epoch | None
    stop_reason: StopReason
    still_improving: bool
    divergence: str
    weights: dict[str, NDArray[np.floating]] | None
    test: Assessment | None

    @property
    def train_seconds(self) -> float:
        """Wall time of all gradient updates, without the evaluations."""
        return math.fsum(epoch.train_seconds for epoch in self.epochs)


def make_backend(config: TrainConfig, train: Split) -> Backend:
    """The configured model at its initial weights, bound to its training set."""
    if config.engine == "keras":
        from fmnist_cli.engine.keras_models.backend import KerasBackend

        return KerasBackend.from_config(config, train)
    if config.engine == USER_ENGINE:
        raise UsageError(
            "engine must be numpy or keras where the file of the layers is not at hand. "
            "Received: user."
        )
    if config.model != "mlp":
        from fmnist_cli.engine.numpy_cnn.backend import NumPyCNN

        return NumPyCNN.from_config(config, train)
    from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP

    return NumPyMLP.from_config(config, train)


def confusion_matrix(
    labels: NDArray[np.integer], predicted: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(K, K) int64: entry [i, j] counts the examples of class i that were called class j."""
    pairs = np.asarray(labels, np.int64) * N_CLASSES + predicted
    return np.bincount(pairs, minlength=N_CLASSES**2).reshape(N_CLASSES, N_CLASSES)


def assess(backend: Backend, split: Split) -> Assessment:
    """Loss, accuracy, predictions and confusion matrix on a split."""
    found = backend.evaluate(split)
    return Assessment(
        n=len(split),
        loss=found.loss,
        accuracy=found.accuracy,
        confusion=confusion_matrix(split.labels, found.predicted),
        predicted=found.predicted,
        correct=found.predicted == split.labels,
    )


def train(
    backend: Backend,
    data: Dataset,
    config: TrainConfig,
    *,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_dynamics: Callable[[int, dict[str, float]], object] | None = None,
    on_checkpoint: Callable[[Checkpoint], object] | None = None,
    resume_from: Checkpoint | None = None,
    test_every_epoch: bool = False,
) -> TrainResult:
    """Train until early stopping, the last epoch or divergence; keep the best epoch's weights.

    Parameters
    ----------
    backend : Backend
        At its initial weights; left at the best epoch's.
    on_epoch : callable, optional
        Called after every epoch with its ``Epoch``.
    on_dynamics : callable, optional
        Called before ``on_epoch`` with the epoch and its figures, which ``dynamics.py`` defines;
        they take a pass over the training set more.
    on_checkpoint : callable, optional
        Called after every epoch, unless it diverged, with all that it takes to continue from there.
    resume_from : Checkpoint, optional
        Go on from there, to the same bits as without the break; ``on_epoch`` hears the epochs
        after it, the result has all.
    test_every_epoch : bool
        Evaluate the test set after every epoch as well.
    """
    stopping = EarlyStopping(config.patience, config.monitor)
    epochs: list[Epoch] = []
    weights: dict[str, NDArray[np.floating]] = {}
    if resume_from is not None:
        stopping = EarlyStopping.from_state(resume_from.stopping)
        epochs += resume_from.epochs
        weights = dict(resume_from.best_weights)
        backend.set_weights(resume_from.weights)
        if resume_from.velocity:
            backend.set_velocity(resume_from.velocity)
    plain_config = asdict(config)
    divergence = ""
    while len(epochs) < config.epochs and not stopping.should_stop:
        number = len(epochs) + 1
        before = backend.weights() if on_dynamics is not None else {}
        epoch, evaluation = _one_epoch(backend, data, config, number, test_every_epoch)
        present = backend.weights()
        divergence = _divergence(epoch, evaluation, present, config.lr)
        epochs.append(epoch)
        if on_dynamics is not None:
            from fmnist_cli.engine import dynamics

            on_dynamics(number, dynamics.measure(backend, before, data.train, evaluation))
        if on_epoch is not None:
            on_epoch(epoch)
        if divergence:
            break
        if stopping.update(number, epoch.value(config.monitor)):
            weights = present
        if on_checkpoint is not None:
            on_checkpoint(
                Checkpoint(
                    config=plain_config,
                    epochs=tuple(epochs),
                    stopping=stopping.state(),
                    weights=present,
                    velocity=backend.velocity() if config.momentum else {},
                    best_weights=weights,
                )
            )

    best = epochs[stopping.best_epoch - 1] if stopping.best_epoch is not None else None
    stop_reason: StopReason = (
        "diverged" if divergence else "patience" if stopping.should_stop else "max_epochs"
    )
    if weights:
        backend.set_weights(weights)
    return TrainResult(
        epochs=tuple(epochs),
        best=best,
        stop_reason=stop_reason,
        still_improving=(
            stop_reason == "max_epochs"
            and best is not None
            and (
                best is epochs[-1]
                or len(epochs) - best.epoch < STILL_IMPROVING_WITHIN < len(epochs)
            )
        ),
        divergence=divergence,
        weights=weights or None,
        test=assess(backend, data.test) if weights else None,
    )


def _one_epoch(
    backend: Backend, data: Dataset, config: TrainConfig, number: int, test_every_epoch: bool
) -> tuple[Epoch, Evaluation]:
    order = epoch_order(config.epochs_seed, number, len(data.train))
    start = time.perf_counter()
    images = augmented(data.train.images, config.augment, seed=config.epochs_seed, epoch=number)
    running_loss = backend.train_epoch(order, images)
    trained = time.perf_counter()
    on_train = backend.evaluate(data.train)
    on_val = backend.evaluate(data.val)
    on_test = backend.evaluate(data.test) if test_every_epoch else None
    evaluated = time.perf_counter()
    epoch = Epoch(
        epoch=number,
        updates=number * config.updates_per_epoch,
        train_seconds=trained - start,
        eval_seconds=evaluated - trained,
        running_loss=running_loss,
        train_loss=on_train.loss,
        train_accuracy=on_train.accuracy,
        val_loss=on_val.loss,
        val_accuracy=on_val.accuracy,
        dead_units=on_train.dead_units,
        test_loss=on_test.loss if on_test else None,
        test_accuracy=on_test.accuracy if on_test else None,
    )
    return epoch, on_train


def _divergence(epoch: Epoch, on_train: Evaluation, weights: Arrays, lr: float) -> str:
    """Why the epoch diverged, in words; empty if it did not."""
    losses = (epoch.value("running_loss"), epoch.value("train_loss"), epoch.value("val_loss"))
    if not all(math.isfinite(loss) for loss in losses):
        reason = "the loss is not finite"
    elif not all(np.isfinite(array).all() for array in weights.values()):
        reason = "a weight is not finite"
    elif 2 * on_train.dead_units >= on_train.hidden_units:
        reason = (
            f"{on_train.dead_units} of {on_train.hidden_units} hidden units are dead "
            "(zero for every training image)"
        )
    else:
        return ""
    return f"training diverged in epoch {epoch.epoch} at learning rate {lr:g}: {reason}"
