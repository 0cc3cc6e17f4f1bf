"""Recorded runs made by hand: what the registry would return, with the numbers a test needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.epoch import Epoch
from fmnist_cli.registry import RunRecord

RECORD = RunRecord(
    id=1, uuid="0" * 32, study_id=1, arm="batch 5", name=None, command="sweep-batch", argv=(),
    model="mlp", engine="numpy", batch=5, lr=0.01, momentum=0.0, max_epochs=200, patience=3,
    monitor="val_accuracy", seed=42, hidden=128, train_size=10_000, val_size=2_000,
    data_fingerprint="f" * 64, data_source="-", fmnist_version="0", host="-", boot_id=None, pid=1,
    process_started=None, status="finished", stop_reason="patience", message=None,
    started_at=datetime(2026, 1, 1, tzinfo=UTC), ended_at=None, epochs_run=2, best_epoch=2,
    updates_to_best=200, best_val_accuracy=0.8, best_val_loss=1.0, test_accuracy=0.8,
    test_loss=1.0, still_improving=False, train_seconds=2.0, total_seconds=2.0, nonfinite={},
    digest=None, augment="none", head="flatten", init_seed=None,
    order_seed=None, note=None, tags=(), heartbeat_at=None, resumed_at=None, resumes=0,
)  # fmt: skip
COLUMNS = {field.name for field in fields(RunRecord)}


def epoch(number: int, **values: Any) -> Epoch:
    """An epoch of 1 s and 100 updates at a loss of 1 and an accuracy of 80 %."""
    usual = {
        "updates": 100 * number, "train_seconds": 1.0, "eval_seconds": 0.0, "running_loss": 1.0,
        "train_loss": 1.0, "train_accuracy": 0.8, "val_loss": 1.0, "val_accuracy": 0.8,
        "test_loss": 1.0, "test_accuracy": 0.8, "dead_units": 0,
    }  # fmt: skip
    return Epoch(epoch=number, **{**usual, **values})


def recorded(epochs: Sequence[Epoch] = (epoch(1), epoch(2)), **values: Any) -> RecordedRun:
    """A run with these epochs; other values by their names in ``RunRecord``.

    ``label`` is its arm. ``seconds_to_best`` is shared out over the epochs up to the best.
    """
    return changed(RecordedRun(RECORD, tuple(epochs), ()), epochs_run=len(epochs), **values)


def changed(run: RecordedRun, **values: Any) -> RecordedRun:
    """The run with some of its values changed."""
    if "label" in values:
        values["arm"] = values.pop("label")
    if values.get("stop_reason") == "diverged":
        values.setdefault("status", "diverged")
    epochs = tuple(values.pop("epochs", run.epochs))
    seconds = values.pop("seconds_to_best", None)
    record = replace(run.run, **values)
    if seconds is not None:
        best = record.best_epoch or 1
        epochs = tuple(
            replace(e, train_seconds=seconds / best) if e.epoch <= best else e for e in epochs
        )
        if "train_seconds" not in values:
            record = replace(record, train_seconds=sum(e.train_seconds for e in epochs))
    return RecordedRun(record, epochs, run.evaluations)
