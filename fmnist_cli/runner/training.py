"""One training as `train` does it: its checks first, and at its end the file that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fmnist_cli.analysis.comparison import Agreement, agreement
from fmnist_cli.analysis.sampling import accuracy_interval
from fmnist_cli.engine.backend import Backend, Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.gradients import MagnitudeCheck
from fmnist_cli.engine.training import TrainResult
from fmnist_cli.epoch import Epoch
from fmnist_cli.files import write_artefact
from fmnist_cli.formatting import printable
from fmnist_cli.registry import Run, RunRecord
from fmnist_cli.runner.checks import (
    GradientReport,
    magnitude_document,
    record_checks,
    require_checks,
)
from fmnist_cli.runner.result_file import hand_in, keep_result_file, result_file_name
from fmnist_cli.runner.run import BackendOf, Recipe, Recorded, Session, outcome_of, train_recorded

N_BESIDE = 10  # epochs that are compared with other losses


@dataclass(frozen=True)
class Extras:
    """What a run does besides training.

    Attributes
    ----------
    layers : Path or None
        The file whose layers are trained, to be kept in the run's folder.
    """

    check_gradient: bool = False
    check_magnitude: bool = False
    dynamics: bool = False
    test_every_epoch: bool = False
    layers: Path | None = None


@dataclass
class CheckedTraining:
    """A training that has ended, with its checks and the file that scripts read."""

    config: TrainConfig
    recorded: Recorded
    gradient: GradientReport | None
    magnitude: MagnitudeCheck | None
    result_file: Path | None
    beside: Agreement | None = None

    def document(self) -> dict[str, Any]:
        """The training as plain values."""
        run, result = self.recorded.run, self.recorded.result
        outcome, test = outcome_of(result), result.test
        low, high = accuracy_interval(test.accuracy, test.n) if test else (None, None)
        checks = {
            "gradient": self.gradient and self.gradient.document(),
            "magnitude": self.magnitude and magnitude_document(self.magnitude),
            "textbook": self.beside,
        }
        return {
            "id": run.id,
            "uuid": run.uuid,
            "config": self.config,
            "status": "diverged" if result.stop_reason == "diverged" else "finished",
            "stop_reason": result.stop_reason,
            "still_improving": result.still_improving,
            "epochs_run": len(result.epochs),
            "best_epoch": outcome.best_epoch,
            "updates_to_best": outcome.updates_to_best,
            "best_val_accuracy": outcome.best_val_accuracy,
            "best_val_loss": outcome.best_val_loss,
            "test_accuracy": outcome.test_accuracy,
            "test_accuracy_low": low,
            "test_accuracy_high": high,
            "test_loss": outcome.test_loss,
            "train_seconds": result.train_seconds,
            "checks": {name: one for name, one in checks.items() if one is not None},
            "result_file": self.result_file,
            "epochs": result.epochs,
        }


def train_with_checks(
    session: Session,
    config: TrainConfig,
    extras: Extras,
    *,
    results: Path | None = None,
    on_checks: Callable[[GradientReport | None, MagnitudeCheck | None], None] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    backend_of: BackendOf | None = None,
    beside: Callable[[Split], Iterable[float]] | None = None,
    resume: RunRecord | None = None,
) -> CheckedTraining:
    """Train one configuration, as a new run or continuing a recorded one.

    Parameters
    ----------
    results : Path, optional
        Folder for the file that scripts read.
    on_checks, on_epoch : callable, optional
        Hear of the checks, whether they hold or not, and of every epoch.
    beside : callable, optional
        From the training set to the running losses that the first epochs' are compared with.
    backend_of, resume
        As in ``train_recorded``.

    Raises
    ------
    CheckFailed
        When a check does not hold; then nothing is trained.
    """
    gradient = magnitude = result_file = follows = None

    def before(run: Run, backend: Backend) -> None:
        nonlocal gradient, magnitude
        if extras.layers is not None:
            kept = run.folder / printable(extras.layers.name)
            write_artefact(kept, extras.layers.read_bytes())
            run.add_artefact("layers", kept)
        gradient, magnitude = record_checks(
            run,
            config,
            session.dataset.train,
            gradient=extras.check_gradient,
            magnitude=extras.check_magnitude,
        )
        if on_checks is not None:
            on_checks(gradient, magnitude)
        require_checks(run, gradient, magnitude)

    def after(run: Run, backend: Backend, result: TrainResult, data: Dataset) -> None:
        nonlocal result_file, follows
        if beside is not None:
            losses = [epoch.value("running_loss") for epoch in result.epochs[:N_BESIDE]]
            follows = agreement(losses, beside(data.train))
            run.record_check("layers", "textbook", asdict(follows), follows.parted_by is None)
        if results is None:
            return
        content = keep_result_file(run, backend, result, data)
        diverged = result.stop_reason == "diverged"
        name = result_file_name(config, data.fingerprint, diverged=diverged)
        result_file = hand_in(results, name, content, session.listener)

    recorded = train_recorded(
        session,
        config,
        Recipe("train", extras.test_every_epoch, extras.dynamics, after),
        before=before,
        on_epoch=on_epoch,
        resume=resume,
        backend_of=backend_of,
    )
    return CheckedTraining(config, recorded, gradient, magnitude, result_file, follows)
