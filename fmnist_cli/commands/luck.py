"""`fmnist luck`: how much of a result is luck."""

from __future__ import annotations

from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._study import run_study_command
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import require
from fmnist_cli.studies.luck import LUCK


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
