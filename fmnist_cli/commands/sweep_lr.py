"""`fmnist sweep-lr`: what the learning rate does."""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._study import run_study_command
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies import grid
from fmnist_cli.studies.learning_rate import LEARNING_RATE


@with_options(omit=("lr",), several=("batch",))
def sweep_lr(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    batch: list[int],
    lr: Annotated[
        list[float] | None,
        typer.Option(
            "--lr",
            help="A learning rate; give it several times.",
            show_default="0.001 0.003 0.01 0.03 0.1",
        ),
    ] = None,
) -> None:
    """Train at several learning rates, and see which suits and where training diverges.

    Prints for each rate the epochs, updates and seconds to its best model and the accuracies, then
    what follows from the numbers. The trainings are recorded as the runs of one study. Started
    again, it continues where it was interrupted; a study that is complete is shown as it is (--new
    trains it once more). With several --batch every rate is trained at every batch size, as by
    fmnist sweep-batch with several --lr.

    Examples:
      # learning rates 0.001 to 0.1 at batch 5, and their figure
      fmnist sweep-lr --plot lr.png
      # rates of your own at batch 50, each with three seeds
      fmnist sweep-lr --lr 0.01 --lr 0.1 --lr 1 --batch 50 --seeds 3
    """
    of = grid.GRID if len(batch) > 1 else LEARNING_RATE
    values, left = grid.pairs(config, batch, lr) if of is grid.GRID else (lr, ())
    run_study_command(of, config, values, study, data, out, left_out=left)
