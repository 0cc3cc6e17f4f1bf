"""A registry with a run of every kind, made without training."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import Epoch
from fmnist_cli.registry import Outcome, Registry, RunSpec

ARMS = {"momentum 0.5": 0.5, "momentum 0.9": 0.9}
SEEDS = (1, 2, 3)
ACCURACIES = {0.5: (0.80, 0.82, 0.81), 0.9: (0.86, 0.85, 0.87)}  # by seed
TRAIN, DIVERGED, LOST = 7, 8, 9  # the ids of the runs after the study


def record(
    registry: Registry, config: TrainConfig, accuracies: Sequence[float], **fields: Any
) -> int:
    """A finished run whose validation accuracies these are; the best is the last."""
    spec: dict[str, Any] = {
        "command": "train",
        "config": asdict(config),
        "data_fingerprint": "f" * 64,
        "data_source": "the cache",
        "argv": ("/usr/bin/fmnist", "train"),
    }
    with registry.run(RunSpec(**spec | fields)) as run:
        for number, accuracy in enumerate(accuracies, 1):
            run.record_dynamics(number, {"gradient_norm/W1": 1.0 / number})
            run.record_epoch(
                Epoch(
                    epoch=number,
                    updates=config.updates_per_epoch * number,
                    train_seconds=0.5,
                    eval_seconds=0.25,
                    running_loss=1.5 - accuracy,
                    train_loss=math.nan if accuracy < 0.2 else 1.25 - accuracy,
                    train_accuracy=accuracy + 0.05,
                    val_loss=1.3 - accuracy,
                    val_accuracy=accuracy,
                    dead_units=0,
                )
            )
        weights = run.folder / "weights.npz"
        weights.write_bytes(b"weights of " + run.uuid.encode())
        run.add_artefact("weights", weights)
        run.record_evaluation("test", 100, 0.5, accuracies[-1] - 0.01, [[10] * 10] * 10)
        run.record_check("gradient", "W1", {"relative_error": 1e-9}, True)
        n = len(accuracies)
        diverged = accuracies[-1] < 0.2
        run.finish(
            Outcome(
                stop_reason="diverged" if diverged else "max_epochs",
                train_seconds=0.5 * n,
                best_epoch=None if diverged else n,
                updates_to_best=None if diverged else config.updates_per_epoch * n,
                best_val_accuracy=None if diverged else accuracies[-1],
                best_val_loss=None if diverged else 1.3 - accuracies[-1],
                test_accuracy=None if diverged else accuracies[-1] - 0.01,
                test_loss=None if diverged else 0.5,
                still_improving=not diverged,
            )
        )
    return run.id


def write_registry(path: Path) -> None:
    """Six runs of a study, a run of train, one that diverged, and one that is lost."""
    with Registry.open(path) as registry:
        study = registry.study("momentum", {}, arms=tuple(ARMS))
        for arm, alpha in ARMS.items():
            for seed, accuracy in zip(SEEDS, ACCURACIES[alpha], strict=True):
                config = TrainConfig(momentum=alpha, seed=seed, epochs=3, patience=None)
                record(
                    registry,
                    config,
                    (0.6, 0.7, accuracy),
                    command="momentum",
                    study_id=study.id,
                    arm=arm,
                    argv=("fmnist", "momentum", "--seeds", "3"),
                )
        config = TrainConfig(batch=50, lr=0.1, train_size=5000)
        argv = ("fmnist", "train", "--batch", "50", "--check-gradient", "--data-dir", "my data")
        assert record(registry, config, (0.7, 0.88), argv=argv, name="[bold]best[/]") == TRAIN
        assert record(registry, TrainConfig(lr=100.0), (0.1,)) == DIVERGED
        assert record(registry, TrainConfig(), (0.7, 0.75)) == LOST
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "UPDATE run SET status = 'running', ended_at = NULL, stop_reason = NULL, "
            f"digest = NULL WHERE id = {LOST}"
        )
    connection.close()
