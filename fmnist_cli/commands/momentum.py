"""`fmnist momentum`: what momentum buys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._options import (
    Common,
    DataOptions,
    StudyOptions,
    require_distinct,
    with_options,
)
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from fmnist_cli.analysis.result import RecordedRun, StudyResult

ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
EPOCHS = 30
_BY_EPOCH: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("train_loss", "Training loss (whole training set, after the epoch)", "{:.4f}".format),
    ("running_loss", "Running loss (mean of the epoch's mini-batches)", "{:.4f}".format),
    ("test_accuracy", "Test accuracy (%)", lambda value: f"{100 * value:.1f}"),
)


@with_options(omit=("patience", "momentum"), defaults={"epochs": EPOCHS, "patience": None})
def momentum(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    common: Common,
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
    from fmnist_cli import plots
    from fmnist_cli.analysis import momentum_answers
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands._summaries import answers_document, show_answers
    from fmnist_cli.plots import from_records as _figures
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import run_study

    alphas = alpha or list(ALPHAS)
    require_distinct("alpha", alphas)
    arms = [(arm_label(a), config.but(momentum=a)) for a in alphas]
    if study.plot:
        plots.check_path(study.plot)
    out = Output(common)
    with Registry.open(common.db) as registry:
        session = open_session(registry, config, data, out)
        how = study.how(config.seed)
        result = run_study(session, "momentum", arms, test_every_epoch=True, **how)
    answers = momentum_answers(result.runs)
    curves = [
        {
            "momentum": run.run.momentum,
            "seed": run.run.seed,
            "epochs": [epoch.document() for epoch in run.epochs],
        }
        for run in result.runs
    ]
    out.document(
        "fmnist.momentum/1",
        {**result.document(), "curves": curves, "answers": answers_document(answers)},
    )
    out.section(f"Study {result.study.id}: momentum", _table(result))
    if every:
        means = ", means over the seeds" if len(result.runs) > len(arms) else ""
        for metric, words, show in _BY_EPOCH:
            out.section(f"{words}, by epoch and alpha{means}", _epochs(result, metric, show))
    show_answers(out, answers)
    _figures.draw_study(study.plot, result, out)
    result.require_complete()


def arm_label(alpha: float) -> str:
    """``momentum 0.9``, with every digit, for labels differ where the momenta do."""
    return f"momentum {alpha!r}".removesuffix(".0")


def _table(result: StudyResult) -> Table:
    from fmnist_cli.commands._summaries import arms_table, each, ended, interval_cell

    def loss(value: float) -> str:
        return f"{value:.4f}"

    def kept(runs: Sequence[RecordedRun]) -> str:
        return interval_cell([run.run.test_accuracy for run in runs], percent)

    best = each(lambda run: max(_known(run, "test_accuracy"), default=None), percent)
    several = len(result.runs) > len(result.by_label())
    return arms_table(
        result,
        {
            ">alpha": lambda runs: _alpha(runs[0].label),
            ">epochs": lambda runs: ", ".join(map(str, sorted({len(r.epochs) for r in runs}))),
            ">training loss": each(lambda run: run.epochs[-1].train_loss, loss),
            ">lowest": each(lambda run: min(_known(run, "train_loss"), default=None), loss),
            ">test acc kept": each(lambda run: run.run.test_accuracy, percent),
            **({">95 % interval": kept} if several else {">best test acc": best}),
            ">last test acc": each(lambda run: run.epochs[-1].test_accuracy, percent),
            "<ended": lambda runs: ", ".join(sorted({ended(run.run) for run in runs})),
        },
        heading_width=8,
    )


def _known(run: RecordedRun, name: str) -> list[float]:
    """The metric at every epoch where it is finite."""
    values = [getattr(epoch, name) for epoch in run.epochs]
    return [value for value in values if value is not None]


def _alpha(label: str) -> str:
    return label.removeprefix("momentum ")


def _epochs(result: StudyResult, metric: str, show: Callable[[float], str]) -> Table:
    """One row an epoch, one column a momentum: the mean over the seeds."""
    from fmnist_cli.analysis import summarise

    labels = result.by_label()
    table = make_table(">epoch", *(f">{_alpha(label)}" for label in labels))
    for i in range(max(len(run.epochs) for run in result.runs)):
        cells = []
        for runs in labels.values():
            summary = summarise(
                getattr(run.epochs[i], metric) for run in runs if i < len(run.epochs)
            )
            cells.append("-" if summary is None else show(summary.mean))
        table.add_row(str(i + 1), *cells)
    return table
