"""Continuing a recorded run, for `train --resume` and `runs resume`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_cli.commands._options import typed
from fmnist_cli.commands._output import Output
from fmnist_cli.errors import UsageError

if TYPE_CHECKING:
    import typer

    from fmnist_cli.commands._option_groups import Common, DataOptions
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
    from fmnist_cli.commands._data import open_existing
    from fmnist_cli.commands._training_view import train_one
    from fmnist_cli.files import writable_folder
    from fmnist_cli.runner.resume import had_dynamics, recorded_config, resumable_training
    from fmnist_cli.runner.training import Extras

    out = Output(common)
    with open_existing(common.db) as registry:
        run = resumable_training(registry, which)
        session = session_of_run(registry, run, data, out)
        writable_folder(results, "--results")
        extras = Extras(
            check_gradient="--check-gradient" in run.argv,
            check_magnitude="--check-magnitude" in run.argv,
            dynamics=had_dynamics(registry, run),
        )
        train_one(session, recorded_config(run), out, extras, results, resume=run)


def session_of_run(
    registry: Registry, run: RunRecord, options: DataOptions, out: Output
) -> Session:
    """A session with the data that a run saw; UsageError where other data is found."""
    from fmnist_cli.commands._data import load_data
    from fmnist_cli.runner.resume import recorded_config, require_its_data
    from fmnist_cli.runner.run import Session

    # what it is, is settled by the fingerprint
    options = replace(options, allow_custom_data=True)
    dataset = load_data(recorded_config(run), options, out)
    session = Session(registry, dataset, out, out.argv)
    require_its_data(run, session.dataset)
    return session
