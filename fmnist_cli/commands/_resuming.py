"""Continuing a recorded run, for `train --resume` and `runs resume`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_cli.commands._options import typed
from fmnist_cli.commands._output import Output
from fmnist_cli.errors import UsageError

if TYPE_CHECKING:
    import typer

    from fmnist_cli.commands._options import Common, DataOptions
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.registry import Registry, RunRecord
    from fmnist_cli.runner.run import Session

# what `train --resume` takes beside the run
_GO_TOGETHER = {"resume", "results", "data_dir", "allow_custom_data", "db", "json", "quiet"}


def refuse_settings(context: typer.Context) -> None:
    """Refuse options that ask for another training than the run's own."""
    given = typed(context, but=_GO_TOGETHER)
    if given:
        raise UsageError(
            f"a resumed run keeps the settings it began with. Received: {' '.join(given.values())}."
        )


def resume_training(which: str, data: DataOptions, common: Common, results: Path) -> None:
    """Train a run that was interrupted to its end, and show how it went."""
    from fmnist_cli.commands.train import Extras, train_one
    from fmnist_cli.files import writable_folder
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.command_line import resume_hint

    out = Output(common)
    writable_folder(results, "results")
    with Registry.open(common.db) as registry:
        run = registry.resumable(which)
        if run.study_id is not None:
            again = resume_hint(run)
            raise UsageError(
                f"run {run.id} continues, from where it stopped, with study {run.study_id}. "
                f"Try: {f'fmnist {again}' if again else run.argv[0]}"
            )
        if run.command != "train":
            raise UsageError(f"only a run that trains can be resumed. Received: {run.command}.")
        config, session = recorded_setting(registry, run, data, out)
        extras = Extras(
            check_gradient="--check-gradient" in run.argv,
            check_magnitude="--check-magnitude" in run.argv,
            # or set by a file or the environment
            dynamics="--dynamics" in run.argv or bool(registry.dynamics(run.id)),
        )
        train_one(session, config, out, extras, results, resume=run)


def recorded_setting(
    registry: Registry, run: RunRecord, options: DataOptions, out: Output
) -> tuple[TrainConfig, Session]:
    """A run's configuration, and a session with the data that it saw.

    Raises
    ------
    UsageError
        When the data that is found is other data.
    """
    from dataclasses import replace

    from fmnist_cli.commands._data import open_session
    from fmnist_cli.engine.config import TrainConfig

    config = TrainConfig(**run.config)
    # what it is, is settled by the fingerprint
    session = open_session(registry, config, replace(options, allow_custom_data=True), out)
    found = session.dataset.fingerprint
    if found != run.data_fingerprint:
        raise UsageError(
            f"run {run.id} must continue with the data it began with, fingerprint "
            f"{run.data_fingerprint[:12]} ({run.data_source}); give it with --data-dir. "
            f"Received: {found[:12]}."
        )
    return config, session
