"""`fmnist momentum`: what momentum buys."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._options import (
    Common,
    DataOptions,
    StudyOptions,
    require_distinct,
    with_options,
)
from fmnist_cli.commands._output import Output, make_table, percent
from fmnist_cli.engine.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from fmnist_cli.commands._study import StudyResult

ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
EPOCHS = 30


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

    Examples:

      fmnist momentum --plot momentum.png

      fmnist momentum --alpha 0 --alpha 0.9 --seeds 5 --jobs 2
    """
    from fmnist_cli import plots
    from fmnist_cli.commands import _figures
    from fmnist_cli.commands._recording import load_data
    from fmnist_cli.commands._study import answers_document, run_study, show_answers
    from fmnist_cli.engine.answers import momentum_answers
    from fmnist_cli.registry import Registry

    alphas = alpha or list(ALPHAS)
    require_distinct("alpha", alphas)
    arms = [(f"momentum {a:g}", config.but(momentum=a)) for a in alphas]
    if study.plot:
        plots.check_path(study.plot)
    out = Output(common)
    with Registry.open(common.db) as registry:
        dataset = load_data(config, data, out)
        result = run_study("momentum", arms, dataset, registry, out, study, test_every_epoch=True)
    answers = momentum_answers(result.as_answers())
    curves = [
        {
            "momentum": run.run.momentum,
            "seed": run.run.seed,
            "epochs": [asdict(epoch) for epoch in run.epochs],
        }
        for run in result.runs
    ]
    out.document(
        "fmnist.momentum/1",
        {**result.document(), "curves": curves, "answers": answers_document(answers)},
    )
    out.section(f"Study {result.study.id}: momentum", _table(result))
    if every:
        means = " (means over the seeds)" if len(result.runs) > len(arms) else ""
        out.section(f"Training loss and test accuracy (%) by epoch{means}", _epochs(result))
    show_answers(out, answers)
    _figures.draw_study(study.plot, result, out)
    result.require_complete()


def _table(result: StudyResult) -> Table:
    from fmnist_cli.commands._summaries import cell, ended, interval_cell

    several = len(result.runs) > len(result.by_label())
    table = make_table(
        *(">alpha", ">epochs", ">training loss", ">lowest", ">test acc kept"),
        *(">95 % interval" if several else ">best test acc", ">last test acc", "<ended"),
        heading_width=8,
    )

    def loss(value: float) -> str:
        return f"{value:.4f}"

    for runs in result.by_label().values():
        last = [run.epochs[-1] for run in runs if run.epochs]
        lowest = [[e.train_loss for e in run.epochs if e.train_loss is not None] for run in runs]
        kept = [run.run.test_accuracy for run in runs]
        best = [[e.test_accuracy or 0.0 for e in run.epochs] for run in runs]
        table.add_row(
            f"{runs[0].run.momentum:g}",
            ", ".join(sorted({str(len(run.epochs)) for run in runs})),
            cell([e.train_loss for e in last], loss),
            cell([min(losses, default=None) for losses in lowest], loss),
            cell(kept, percent),
            interval_cell(kept, percent)
            if several
            else cell([max(accuracies, default=None) for accuracies in best], percent),
            cell([e.test_accuracy for e in last], percent),
            ", ".join(sorted({ended(run.run) for run in runs})),
        )
    return table


def _epochs(result: StudyResult) -> Table:
    from fmnist_cli.engine.answers import summarise

    def mean(values: Sequence[float | None], show: Callable[[float], str]) -> str:
        summary = summarise(values)
        return "-" if summary is None else show(summary.mean)

    labels = result.by_label()
    table = make_table(
        ">epoch", *(f">loss {label.removeprefix('momentum ')}" for label in labels),
        *(f">test {label.removeprefix('momentum ')}" for label in labels),
        heading_width=5,
    )  # fmt: skip
    for i in range(max(len(run.epochs) for run in result.runs)):
        at = [[run.epochs[i] for run in runs if i < len(run.epochs)] for runs in labels.values()]
        table.add_row(
            str(i + 1),
            *(mean([e.train_loss for e in arm], lambda v: f"{v:.4f}") for arm in at),
            *(mean([e.test_accuracy for e in arm], lambda v: f"{100 * v:.1f}") for arm in at),
        )
    return table
