"""The one record of an epoch: the engine measures it, the registry stores and returns it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

Metric = Literal[
    "train_loss",
    "running_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
]
"""What is drawn, compared and exported of an epoch, by the names of ``Epoch``'s attributes."""

METRICS: tuple[Metric, ...] = get_args(Metric)
METRIC_WORDS: dict[Metric, str] = {
    "train_loss": "training loss",
    "running_loss": "running training loss",
    "train_accuracy": "training accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
}


Axis = Literal["epoch", "updates", "examples", "seconds", "cumulative-lr"]
"""What curves are drawn against; the last is the sum over updates of lr / (1 - momentum)."""
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What was measured in and after one epoch.

    A number that was measured and is not finite is NaN or an infinity; None was not measured
    (the test set where no study asks for it, and what the mini CNN does not have).

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
        Mean loss after the epoch, in nats per example.
    train_accuracy, val_accuracy, test_accuracy : float in [0, 1]
    dead_units : int
        Units of the last hidden layer that are zero for every training image.
    """

    epoch: int
    updates: int
    train_seconds: float
    eval_seconds: float
    running_loss: float | None
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    test_loss: float | None = None
    test_accuracy: float | None = None
    dead_units: int | None = None

    def value(self, metric: str) -> float:
        """The metric of that name; NaN where it is not finite or was not measured."""
        value = getattr(self, metric)
        return float(value) if value is not None and math.isfinite(value) else math.nan

    def document(self) -> dict[str, Any]:
        """The epoch as strict JSON holds it: what is not finite is null, and named beside it."""
        kinds = {
            name: str(value)  # nan, inf or -inf
            for name, value in vars(self).items()
            if isinstance(value, float) and not math.isfinite(value)
        }
        return vars(self) | dict.fromkeys(kinds) | {"nonfinite": kinds}
