"""The one record of an epoch: the engine measures it, the registry stores and returns it."""

from __future__ import annotations

from dataclasses import dataclass

METRICS = (
    "train_loss",
    "running_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
)
"""What is drawn, compared and exported of an epoch, by the names of ``Epoch``'s attributes."""


@dataclass(frozen=True)
class Epoch:
    """What was measured in and after one epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    updates : int
        Gradient updates since the start of the run.
    train_seconds, eval_seconds : float
        Wall time of this epoch's updates (and of the augmentation of its images) alone, and of
        the evaluations after it.
    running_loss : float
        Mean over the epoch of the loss each example had when its batch was met.
    train_loss, val_loss, test_loss : float
        Mean loss after the epoch, in nats per example; test where the study asks, else None.
    train_accuracy, val_accuracy, test_accuracy : float in [0, 1]
    dead_units : int
        Units of the last hidden layer that are zero for every training image.
    """

    epoch: int
    updates: int
    train_seconds: float
    eval_seconds: float
    running_loss: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    dead_units: int
    test_loss: float | None = None
    test_accuracy: float | None = None
