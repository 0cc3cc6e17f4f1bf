"""`fmnist early-stop`: when to stop, and what it keeps."""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._study import run_study_command
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies.early_stopping import EARLY_STOPPING
from fmnist_cli.studies.study import View


@with_options(omit=("patience",), defaults=EARLY_STOPPING.defaults)
def early_stop(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    patience: Annotated[
        list[int] | None,
        typer.Option("--patience", help="A patience; give it several times.", show_default=str(3)),
    ] = None,
) -> None:
    """Train without early stopping, and see where a patience would have stopped.

    Prints for each patience the epoch that it stops after, the one that it keeps, and the test
    accuracy that this costs, then train, validation and test accuracy at every epoch. The training
    is recorded as the run of a study.

    Examples:
      # where does patience 3 stop within 30 epochs?
      fmnist early-stop
      # three patiences on one curve, and the figure
      fmnist early-stop --patience 1 --patience 3 --patience 5 --plot stop.png
    """
    view = View(patiences=tuple(sorted(patience or EARLY_STOPPING.values)))
    run_study_command(EARLY_STOPPING, config, view.patiences, study, data, out, view=view)
