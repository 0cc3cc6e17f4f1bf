"""`fmnist momentum`: what momentum buys."""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._study import run_study_command
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies.momentum import MOMENTUM
from fmnist_cli.studies.study import View


@with_options(omit=("patience", "momentum"), defaults=MOMENTUM.defaults)
def momentum(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    alpha: Annotated[
        list[float] | None,
        typer.Option(
            "--alpha", help="A momentum; give it several times.", show_default="0.1 0.3 0.5 0.7 0.9"
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--epoch-table", help="Print every epoch's loss and accuracy.")
    ] = False,
) -> None:
    """Train with several momenta, and compare training loss and test accuracy by epoch.

    Prints for each momentum the losses and test accuracies it comes to, then what follows from the
    numbers. The trainings are recorded as the runs of one study; started again after an
    interruption, it continues.

    Examples:
      # momentum 0.1, 0.3, 0.5, 0.7 and 0.9 for 30 epochs, and the figure
      fmnist momentum --plot momentum.png
      # with and without, on the same five seeds
      fmnist momentum --alpha 0 --alpha 0.9 --seeds 5 --jobs 2
    """
    view = View(every_epoch=every)
    run_study_command(MOMENTUM, config, alpha, study, data, out, view=view)
