"""What goes into the registry and comes out of it: frozen records of plain values.

Accuracies are fractions, losses nats per example, durations seconds, times aware UTC. A number
that was not finite is None, and ``nonfinite`` says what it was: ``{"val_loss": "nan"}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

Status = Literal["running", "finished", "failed", "interrupted", "diverged", "lost"]
StopReason = Literal["patience", "max_epochs", "diverged", "interrupted"]

BY_ITSELF = ("finished", "diverged")  # how a training ends that nothing broke off
ENDED = (*BY_ITSELF, "failed", "interrupted")

_CONFIG = (
    *("model", "engine", "batch", "lr", "momentum", "epochs", "patience", "monitor", "seed"),
    *("hidden", "train_size", "val_size", "augment", "head", "init_seed", "order_seed"),
)
# the columns of ``run`` that hold the configuration, by their names in ``TrainConfig``
CONFIG_COLUMNS = {name: "max_epochs" if name == "epochs" else name for name in _CONFIG}

MAX_INTEGER = 2**63 - 1  # which the databases can take
MAX_TEXT = 1_000_000  # characters of one text
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def is_time(text: str) -> bool:
    """Whether it is a time as a registry writes it."""
    try:
        return _TIME.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run is asked to do.

    Attributes
    ----------
    command : str
        The command that trains, such as ``train`` or ``sweep-batch``.
    config : mapping
        Every field of ``TrainConfig`` by its name there (``dataclasses.asdict`` gives it).
        ``hidden`` is recorded for the MLP only.
    data_fingerprint, data_source : str
        What identifies the data, and where it came from.
    argv : sequence of str
        The command line, program name included.
    arm : str, optional
        The run's label within its study, such as ``batch 50``; shared by the runs of its seeds.
    facts : mapping
        What else its numbers depend on and may change between versions; kept with the environment.
    uuid : str, optional
        Its own, 32 hexadecimal digits; by default a new one.
    data_folder : Path, optional
        Where the data lies; recorded with the environment.
    """

    command: str
    config: Mapping[str, Any]
    data_fingerprint: str
    data_source: str
    argv: Sequence[str]
    study_id: int | None = None
    arm: str | None = None
    name: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    uuid: str | None = None
    data_folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended by itself.

    Attributes
    ----------
    stop_reason
        ``diverged`` ends the run as diverged, the others as finished; None where nothing was
        trained.
    best_epoch, updates_to_best : int or None
        The epoch whose weights are the result, and the gradient updates up to its end.
    best_val_accuracy, best_val_loss : float or None
        That epoch's validation accuracy and loss.
    test_accuracy, test_loss : float or None
        Of that epoch's weights.
    train_seconds : float
        Spent on gradient updates, evaluation not included.
    still_improving : bool
        Whether ``max_epochs`` cut the training short.
    message : str, optional
        The reason in words, for a diverged run.
    """

    stop_reason: Literal["patience", "max_epochs", "diverged"] | None
    train_seconds: float
    best_epoch: int | None = None
    updates_to_best: int | None = None
    best_val_accuracy: float | None = None
    best_val_loss: float | None = None
    test_accuracy: float | None = None
    test_loss: float | None = None
    still_improving: bool = False
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study: runs that belong together."""

    id: int
    uuid: str
    kind: str
    name: str | None
    arms: tuple[str, ...]
    config: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class UnsoundRun:
    """All that is taken of an ended run whose row holds what no run holds: enough to delete it."""

    id: int
    uuid: str
    status: Status


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as it stands.

    ``status`` is ``lost`` where the run never reached an end and its process is gone.
    ``epochs_run`` counts what is recorded so far. The outcome's fields are None until the run has
    ended, and where they do not apply. ``tags`` are in alphabetical order.
    """

    id: int
    uuid: str
    study_id: int | None
    arm: str | None
    name: str | None
    command: str
    argv: tuple[str, ...]
    model: str
    engine: str
    batch: int
    lr: float
    momentum: float
    max_epochs: int
    patience: int | None
    monitor: str
    seed: int
    hidden: int | None
    train_size: int
    val_size: int
    data_fingerprint: str
    data_source: str
    fmnist_version: str
    host: str
    boot_id: str | None
    pid: int
    process_started: datetime | None
    status: Status
    stop_reason: StopReason | None
    message: str | None
    started_at: datetime
    ended_at: datetime | None
    epochs_run: int
    best_epoch: int | None
    updates_to_best: int | None
    best_val_accuracy: float | None
    best_val_loss: float | None
    test_accuracy: float | None
    test_loss: float | None
    still_improving: bool | None
    train_seconds: float | None
    total_seconds: float | None
    nonfinite: Mapping[str, str]
    digest: str | None
    augment: str
    head: str
    init_seed: int | None
    order_seed: int | None
    note: str | None
    tags: tuple[str, ...]
    heartbeat_at: datetime | None
    resumed_at: datetime | None
    resumes: int

    @property
    def config(self) -> dict[str, Any]:
        """The configuration: ``TrainConfig(**run.config)`` describes the run again."""
        config = {name: getattr(self, column) for name, column in CONFIG_COLUMNS.items()}
        if self.hidden is None:
            del config["hidden"]
        return config


@dataclass(frozen=True, kw_only=True)
class CheckRecord:
    """The figures of one check and whether it held."""

    kind: str
    name: str
    figures: Mapping[str, Any]
    held: bool
    nonfinite: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The result on one test set; ``confusion[true class][predicted class]`` counts images.

    ``answers`` has one bit per image, whether it was classified correctly; None of runs from before
    they were recorded.
    """

    test_set: str
    n: int
    loss: float | None
    accuracy: float | None
    confusion: tuple[tuple[int, ...], ...]
    nonfinite: Mapping[str, str]
    answers: bytes | None = None

    def document(self) -> dict[str, Any]:
        """The evaluation as plain values, without the answers to single images."""
        return {name: value for name, value in vars(self).items() if name != "answers"}


@dataclass(frozen=True, kw_only=True)
class ArtefactRecord:
    """A file that a run saved; ``path`` is relative to the registry's folder, with ``/``."""

    run_id: int
    kind: str
    path: str
    sha256: str
    bytes: int
