"""What the figures are drawn from: plain, frozen values; nothing of registry or command line.

Accuracies are fractions in [0, 1], losses nats per example, epochs count from 1. None, NaN
and infinities are gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.epoch import METRICS
from fmnist_cli.epoch import Metric as Metric

Values = Sequence[float | None]
Band = Literal["range", "sd", "ci"]  # as ``axes.BAND_WORDS`` says
StopReason = Literal["patience", "max_epochs", "diverged", "interrupted", "failed", "lost"]


def numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    """The values as float64, with NaN for each that is None or not finite."""
    array = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    array[~np.isfinite(array)] = np.nan
    return array


@dataclass(frozen=True)
class Curve:
    """One run, epoch by epoch: one value per epoch of each metric that was measured.

    Raises
    ------
    ValueError
        When the lengths differ or the epochs do not increase.
    """

    epochs: Sequence[int]  # increasing
    train_loss: Values
    running_loss: Values
    train_accuracy: Values
    val_loss: Values
    val_accuracy: Values
    test_loss: Values | None = None
    test_accuracy: Values | None = None
    x: Values | None = None  # where each epoch ends on another axis, which ``x_title`` names
    x_title: str = "epoch"

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in pairwise(self.epochs)):
            raise ValueError(f"epochs must increase. Received: {list(self.epochs)}.")
        for name in (*METRICS, "x"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.epochs):
                raise ValueError(
                    f"{name} must have one value per epoch ({len(self.epochs)}). "
                    f"Received: {len(values)}."
                )

    @property
    def positions(self) -> NDArray[np.float64]:
        """(E,) float64: where each epoch is drawn."""
        return numbers(self.epochs if self.x is None else self.x)

    def values(self, metric: Metric) -> NDArray[np.float64]:
        """(E,) float64: the metric by epoch, NaN where it was not measured."""
        values: Values | None = getattr(self, metric)
        return numbers([None] * len(self.epochs) if values is None else values)

    def at(self, epoch: int, metric: Metric) -> float:
        """The metric at one of the epochs."""
        return float(self.values(metric)[list(self.epochs).index(epoch)])


@dataclass(frozen=True)
class RunCaption:
    """What a figure's subtitle says of its run or runs.

    None leaves a part out: what the figure itself varies, or what does not apply. ``state`` is
    what the reader must know of runs that are not all there yet.
    """

    run_id: int | str | Sequence[int] | Sequence[str] | None
    model: str
    engine: str | None = None
    batch: int | None = None
    lr: float | None = None
    momentum: float | None = None
    seed: int | Sequence[int] | None = None
    hidden: int | None = None
    train_size: int | None = None
    state: str = ""

    def line(self) -> str:
        """The parts in reading order, separated by middle dots."""
        written = {
            "batch {:,}": self.batch,
            "lr {:g}": self.lr,
            "momentum {:.12g}": self.momentum,
            "{:,} hidden units": self.hidden,
            "{:,} training images": self.train_size,
        }
        parts = [
            self.model if self.engine is None else f"{self.model} ({self.engine})",
            *(words.format(value) for words, value in written.items() if value is not None),
            "" if self.seed is None else _listed("seed", self.seed),
            "" if self.run_id is None else _listed("run", self.run_id),
            self.state,
        ]
        return " · ".join(filter(None, parts))


def _listed(word: str, ids: int | str | Sequence[int] | Sequence[str]) -> str:
    """``seed 4``, ``seeds 4–8``, ``seeds 4, 9``, or the first few and how many there are."""
    names = list(dict.fromkeys(map(str, [ids] if isinstance(ids, int | str) else ids)))
    if len(names) == 1:
        return f"{word} {names[0]}"
    numbers = [int(name) for name in names if name.isdecimal()]
    in_a_row = len(numbers) == len(names) and all(b == a + 1 for a, b in pairwise(numbers))
    if in_a_row and len(names) > 2:
        return f"{word}s {names[0]}–{names[-1]}"
    if len(names) > 6:
        return f"{len(names)} {word}s: {', '.join(names[:4])}, …"
    return f"{word}s {', '.join(names)}"


@dataclass(frozen=True)
class Ending:
    """How a run came to its end."""

    stop_reason: StopReason
    best_epoch: int | None  # None where no epoch counts
    patience: int | None = None  # None for no early stopping
    still_improving: bool = False  # at ``max_epochs``, by the watched value

    def sentence(self, last_epoch: int) -> str:
        """What the figure says of the end, given the last epoch that was recorded."""
        if self.stop_reason == "patience":
            why = "" if self.patience is None else f" (patience {self.patience})"
            return f"stopped after epoch {last_epoch}{why}"
        if self.stop_reason == "diverged":
            return f"diverged at epoch {last_epoch}"
        if self.stop_reason in ("interrupted", "failed", "lost"):
            return f"{self.stop_reason} after epoch {last_epoch}"
        if self.still_improving:
            return f"still improving at the limit of {last_epoch} epochs"
        return f"ended at the limit of {last_epoch} epochs"


@dataclass(frozen=True)
class Line:
    """One line of a figure: a name, and one curve per seed."""

    label: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class GridCell:
    """The runs of one batch size and one learning rate, together."""

    batch: int
    lr: float
    accuracy: float | None  # mean on the test set; None where every seed diverged
    updates: float | None  # to the target; None where most seeds do not reach it
    epochs: float | None  # likewise
    diverged: int = 0  # how many of the seeds
    seeds: int = 1


@dataclass(frozen=True)
class PatienceStop:
    """Where one patience would have stopped one run."""

    patience: int
    kept_epoch: int  # the best up to the stop: its weights are the result
    stop_epoch: int | None  # None where the run ended before this patience did
    curve: int = 0  # which of the figure's curves (seeds) it belongs to


@dataclass(frozen=True)
class ShiftedExample:
    """One test image, its shifted copies, and what each model takes them for.

    Classes are ints in [0, 10).
    """

    label: int
    images: Mapping[str, NDArray[np.floating]]  # by set, (784,) or (28, 28) in [0, 1]
    predictions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by model, by set


@dataclass(frozen=True)
class OodCurve:
    """One model along one line of a curve."""

    model: str
    series: str  # a direction, or ``rotation``: the panel it is drawn in
    x: Sequence[int]  # increasing; pixels or degrees
    accuracy: Sequence[Values]  # (S, P): one row a seed, one value a place
