"""Continuing a recorded run that was interrupted, as if it had not been."""

from __future__ import annotations

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.errors import UsageError
from fmnist_cli.registry import Registry, RunRecord
from fmnist_cli.registry.resume import RESUMABLE
from fmnist_cli.runner.command_line import asked_for_dynamics
from fmnist_cli.runner.find import find_fitting_run
from fmnist_cli.runner.run import Recipe, Recorded, Session, train_recorded


def resumable_training(registry: Registry, which: int | str) -> RunRecord:
    """An interrupted training outside of studies; ``latest`` is the newest one.

    Raises
    ------
    RunNotFound
        When there is none.
    UsageError
        When it has ended by itself, still runs, belongs to a study or is no training.
    """

    def fits(run: RunRecord) -> bool:
        return run.status in RESUMABLE and run.command == "train" and run.study_id is None

    run = registry.resumable(find_fitting_run(registry, which, fits, "be interrupted").id)
    if run.study_id is not None:
        raise UsageError(
            f"run {run.id} continues, from where it stopped, with study {run.study_id}.",
            remedy="continue_study",
            run_id=run.id,
            study_id=run.study_id,
            argv=run.argv,
        )
    if run.command != "train":
        raise UsageError(
            f"only a run that trains can be resumed. Received: {run.command}.", run_id=run.id
        )
    return run


def require_its_data(run: RunRecord, dataset: Dataset) -> None:
    """UsageError where the data is not what the run saw."""
    if dataset.fingerprint != run.data_fingerprint:
        raise UsageError(
            f"run {run.id} must have the data it began with, fingerprint "
            f"{run.data_fingerprint[:12]} ({run.data_source}). "
            f"Received: {dataset.fingerprint[:12]}.",
            remedy="name_data_folder",
            run_id=run.id,
        )


def had_dynamics(registry: Registry, run: RunRecord) -> bool:
    """Whether the run records the figures of ``engine.dynamics``."""
    return asked_for_dynamics(run.argv) or bool(registry.dynamics(run.id))


def resume_training(session: Session, which: int | str) -> Recorded:
    """Train an interrupted run to its end, with the numbers that it would have had.

    Raises
    ------
    UsageError
        As ``resumable_training``, and where the session's data is not the run's.
    """
    run = resumable_training(session.registry, which)
    require_its_data(run, session.dataset)
    recipe = Recipe(run.command, dynamics=had_dynamics(session.registry, run))
    return train_recorded(session, TrainConfig(**run.config), recipe, resume=run)
