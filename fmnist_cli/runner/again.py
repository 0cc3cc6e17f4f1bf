"""Training a recorded run on, as if it had not been interrupted, or once more, to compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fmnist_cli.analysis.comparison import Comparison, compare_curves, environment_differences
from fmnist_cli.engine.config import USER_ENGINE, TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.seeding import EARLIER_CNN_WEIGHTS
from fmnist_cli.errors import UsageError
from fmnist_cli.formatting import pluralize
from fmnist_cli.registry import Registry, RunRecord
from fmnist_cli.registry.resume import RESUMABLE
from fmnist_cli.runner.command_line import asked_for_dynamics
from fmnist_cli.runner.find import find_fitting_run, has_epochs
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


@dataclass(frozen=True)
class Reproduction:
    """A run, and what became of it the second time.

    Attributes
    ----------
    comparison : Comparison
        Of the two curves; ``verdict`` is ``identical``, ``close`` or ``different``.
    environment_differences : tuple of (name, recorded, now)
    """

    run_id: int
    reproduced_by: int
    comparison: Comparison
    environment_differences: tuple[tuple[str, Any, Any], ...]

    def document(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return {
            "id": self.run_id,
            "reproduced_by": self.reproduced_by,
            "verdict": self.comparison.verdict,
            "epochs_compared": self.comparison.n,
            "first_difference_epoch": self.comparison.first_difference,
            "first_beyond_rounding_epoch": self.comparison.first_beyond_rounding,
            "max_relative_loss_difference": self.comparison.largest,
            "environment_differences": [
                {"name": name, "recorded": before, "now": now}
                for name, before, now in self.environment_differences
            ],
        }


def reproducible(registry: Registry, which: int | str) -> RunRecord:
    """A run that has trained and has ended; ``latest`` is the newest one.

    Raises
    ------
    RunNotFound, UsageError
        When there is none, or it is none.
    """

    def fits(run: RunRecord) -> bool:
        return has_epochs(run) and run.status != "running"

    run = find_fitting_run(registry, which, fits, "have trained")
    if not fits(run):
        raise UsageError(
            "a run must have ended, and have trained, to be reproduced. "
            f"Received: run {run.id}, {run.status}, {pluralize(run.epochs_run, 'epoch')}.",
            run_id=run.id,
        )
    if run.engine == USER_ENGINE:
        kept = [registry.artefact_path(one) for one in registry.artefacts(run.id, kind="layers")]
        raise UsageError(
            "layers of one's own are trained again from their file"
            f"{f', which is kept as {kept[0]}' if kept else ''}. "
            f"Received: run {run.id}, engine {USER_ENGINE}.",
            remedy="show_run",
            run_id=run.id,
        )
    return run


def reproduce(session: Session, run: RunRecord) -> Reproduction:
    """Train the run's configuration again, as a new run, and compare the two.

    Raises
    ------
    UsageError
        When the session's data is not the run's.
    """
    require_its_data(run, session.dataset)
    registry, config = session.registry, TrainConfig(**run.config)
    curve = registry.epochs(run.id)
    if run.status not in ("finished", "diverged"):
        config = config.but(epochs=len(curve))  # as far as it got
    recipe = Recipe("reproduce", test_every_epoch=curve[0].test_loss is not None)
    recorded = train_recorded(session, config, recipe)
    before = registry.environment(run.id)
    if config.model != "mlp":
        before.setdefault("initial_weights", EARLIER_CNN_WEIGHTS)
    return Reproduction(
        run.id,
        recorded.run.id,
        compare_curves(curve, registry.epochs(recorded.run.id)),
        tuple(environment_differences(before, registry.environment(recorded.run.id))),
    )
