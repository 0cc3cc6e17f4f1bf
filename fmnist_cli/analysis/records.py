"""What the answers are computed from, and what an answer is: plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["yes", "no", "not settled"]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a run.

    Attributes
    ----------
    epoch : int >= 1
    updates : int
        Gradient updates since the start of the run.
    train_seconds, eval_seconds : float
        Of this epoch.
    running_loss, train_loss, val_loss, test_loss : float
        In nats per example; ``running_loss`` is the mean of the mini-batch losses during the
        epoch, ``train_loss`` is over the whole training set after it.
    train_accuracy, val_accuracy, test_accuracy : float in [0, 1]
    dead_units : int
    """

    epoch: int
    updates: int
    train_seconds: float
    running_loss: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    test_loss: float | None = None
    test_accuracy: float | None = None
    eval_seconds: float = 0.0
    dead_units: int = 0


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One run of a study: one setting, one seed.

    Runs with the same label are repetitions of the same setting.

    Attributes
    ----------
    label : str
        As statements name it, such as ``batch 50`` or ``momentum 0.9``.
    epochs : tuple of Epoch
        From epoch 1 on, without gaps.
    best_epoch, updates_to_best, seconds_to_best, best_val_accuracy, test_accuracy
        Of the best epoch by the run's own monitor; None where the run has none.
        ``seconds_to_best`` is training time up to the end of that epoch.
    train_seconds : float
        Training time of all epochs.
    stop_reason : str
        ``patience``, ``max_epochs``, ``diverged`` or ``interrupted``.
    still_improving : bool
        It stopped at its last epoch before its patience was used up.
    """

    label: str
    batch: int
    momentum: float
    seed: int
    epochs: tuple[Epoch, ...]
    best_epoch: int | None
    updates_to_best: int | None
    train_seconds: float
    seconds_to_best: float | None
    best_val_accuracy: float | None
    test_accuracy: float | None
    stop_reason: str
    still_improving: bool

    @property
    def diverged(self) -> bool:
        return self.stop_reason == "diverged"

    @property
    def at_limit(self) -> bool:
        """Its best model, and what it took, might have been further on."""
        return self.still_improving or self.stop_reason == "interrupted"


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy in [0, 1] of one trained model on one named test set."""

    model: str
    seed: int
    set_name: str
    accuracy: float


@dataclass(frozen=True)
class Answer:
    """The answer to one question of a study.

    Attributes
    ----------
    question : str
    verdict : {"yes", "no", "not settled"}
    statement : str
        A few plain sentences with the numbers, and on how many seeds they rest.
    evidence : dict
        The same numbers as plain values that JSON can hold.
    """

    question: str
    verdict: Verdict
    statement: str
    evidence: dict[str, Any] = field(default_factory=dict)
