"""`fmnist sweep-batch`: what the batch size does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._study import run_study_command
from fmnist_cli.commands.train import ResultsFolder
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies import grid
from fmnist_cli.studies.batch_size import BATCH_SIZE


@with_options(omit=("batch",), several=("lr",))
def sweep_batch(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    lr: list[float],
    batch: Annotated[
        list[int] | None,
        typer.Option(
            "--batch", help="A batch size; give it several times.", show_default="1 5 50 500 5000"
        ),
    ] = None,
    results: ResultsFolder = Path("results"),
) -> None:
    """Train at several batch sizes, and compare speed, accuracy and updates.

    Prints for each size the epochs, updates and seconds to its best model and the accuracies, then
    what follows from the numbers, and writes the file of each training that course scripts read
    into --results. The trainings are recorded as the runs of one study. Started
    again, it continues where it was interrupted; a study that is complete is shown as it is (--new
    trains it once more). With --jobs the times are taken side by side, and the table says so.
    With several --lr every batch size is trained at every learning rate: heat maps, the diagonal of
    linear scaling, and what a larger batch saves at the rate that suits it.

    Examples:
      # batch sizes 1, 5, 50, 500 and 5000, and their figure
      fmnist sweep-batch --plot sweep.png
      # sizes of your own, each with three seeds
      fmnist sweep-batch --batch 8 --batch 32 --batch 128 --seeds 3
      # batch size and learning rate together
      fmnist sweep-batch --batch 5 --batch 50 --lr 0.01 --lr 0.1 --plot grid.png
    """
    of = grid.GRID if len(lr) > 1 else BATCH_SIZE
    values, left = grid.pairs(config, batch, lr) if of is grid.GRID else (batch, ())
    run_study_command(of, config, values, study, data, out, results=results, left_out=left)
