"""The studies as commands: each names its `Study`, and what is compared."""

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
from fmnist_cli.errors import require
from fmnist_cli.studies import grid
from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.early_stopping import EARLY_STOPPING
from fmnist_cli.studies.learning_rate import LEARNING_RATE
from fmnist_cli.studies.luck import LUCK
from fmnist_cli.studies.momentum import MOMENTUM
from fmnist_cli.studies.study import View


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


@with_options(omit=("seed_list", "why", "init_seed", "order_seed"), defaults=LUCK.defaults)
def luck(config: TrainConfig, study: StudyOptions, data: DataOptions, out: Output) -> None:
    """Train N initial weights with N orders, and see how much of the test accuracy is luck.

    Every one of N draws of initial weights is trained with every one of N orders of the examples: N
    x N runs (--seeds N, from --seed up). Prints where the run of [bold]fmnist train[/bold] stands
    among them, what part of the variance comes from the weights, from the order and from the
    sampling of the test images, and what picking the best of n by validation accuracy buys. Started
    again, it continues where it was interrupted.

    Examples:
      # 4 x 4 runs, two at a time, and their figure
      fmnist luck --jobs 2 --plot luck.png
      # 6 x 6 runs at batch 50
      fmnist luck --seeds 6 --batch 50 --lr 0.1
    """
    require(2 <= study.seeds <= 30, "seeds must be between 2 and 30 (N x N runs)", study.seeds)
    values = study.seeds_from(config.seed)
    run_study_command(LUCK, config, values, study, data, out)
