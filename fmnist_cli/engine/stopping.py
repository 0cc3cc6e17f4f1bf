"""Early stopping: when to stop, and which epoch was the best.

Epochs are counted from 1. An epoch improves if its value is strictly better than the best so
far: greater for an accuracy, smaller for a loss. Training stops after ``patience`` epochs in a
row without improvement.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from fmnist_cli.engine.config import Monitor
from fmnist_cli.errors import require


class EarlyStopping:
    """Watches one value per epoch.

    Parameters
    ----------
    patience : int >= 1, or None
        None never stops, and still keeps track of the best epoch.
    monitor : {"val_accuracy", "val_loss"}
        Decides which way is better.

    Attributes
    ----------
    best_epoch : int or None
        None until an epoch has improved, the first one with a finite value.
    best_value : float or None
        The value at ``best_epoch``.
    epochs_without_improvement : int
        In a row, up to the last update.

    Raises
    ------
    UsageError
        When the patience is below 1 or the monitor is unknown.
    """

    def __init__(self, patience: int | None, monitor: Monitor = "val_accuracy") -> None:
        require(
            patience is None or patience >= 1,
            "patience must be at least 1",
            patience,
            remedy="disable_early_stopping",
        )
        monitors = get_args(Monitor)
        require(monitor in monitors, f"monitor must be one of {', '.join(monitors)}", monitor)
        self.patience = patience
        self.monitor: Monitor = monitor
        self.best_epoch: int | None = None
        self.best_value: float | None = None
        self.epochs_without_improvement = 0

    def update(self, epoch: int, value: float) -> bool:
        """Take in the epoch's value and say whether it improved; NaN and infinities never do."""
        better = operator.gt if self.monitor == "val_accuracy" else operator.lt
        improved = math.isfinite(value) and (
            self.best_value is None or better(value, self.best_value)
        )
        if improved:
            self.best_epoch, self.best_value = epoch, value
            self.epochs_without_improvement = 0
        else:
            self.epochs_without_improvement += 1
        return improved

    @property
    def should_stop(self) -> bool:
        """Whether the patience is used up."""
        return self.patience is not None and self.epochs_without_improvement >= self.patience

    def state(self) -> dict[str, Any]:
        """Everything needed to continue later, as plain values that JSON can hold."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> EarlyStopping:
        """The inverse of ``state``."""
        stopping = cls(state["patience"], state["monitor"])
        vars(stopping).update(state)
        return stopping


@dataclass(frozen=True)
class StopPoint:
    """Where a patience stops on a curve.

    Attributes
    ----------
    best_epoch : int or None
        The best epoch among those trained until the stop; None if no value is finite.
    stopped_after : int or None
        The last epoch trained; None if the patience is not used up within the curve.
    """

    best_epoch: int | None
    stopped_after: int | None


def stop_epoch(
    values: Iterable[float], patience: int | None, monitor: Monitor = "val_accuracy"
) -> StopPoint:
    """Where training would have stopped, had it watched these values (epochs 1, 2, ...)."""
    stopping = EarlyStopping(patience, monitor)
    for epoch, value in enumerate(values, start=1):
        stopping.update(epoch, value)
        if stopping.should_stop:
            return StopPoint(stopping.best_epoch, stopped_after=epoch)
    return StopPoint(stopping.best_epoch, stopped_after=None)
