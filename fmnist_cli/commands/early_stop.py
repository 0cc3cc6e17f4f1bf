"""`fmnist early-stop`: when to stop, and what it keeps."""

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
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import require
from fmnist_cli.formatting import format_count, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from fmnist_cli.analysis import PatienceOutcome

EPOCHS = 30


@with_options(omit=("patience",), defaults={"epochs": EPOCHS, "patience": None})
def early_stop(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    common: Common,
    patience: Annotated[
        list[int] | None,
        typer.Option("--patience", help="A patience; give it several times.", show_default=str(3)),
    ] = None,
) -> None:
    """Train without early stopping, and see where a patience would have stopped.

    Prints train, validation and test accuracy at every epoch, then for each patience the epoch that
    it stops after, the one that it keeps, and the test accuracy that this costs. The training is
    recorded as the run of a study.

    Examples:
      # where does patience 3 stop within 30 epochs?
      fmnist early-stop
      # three patiences on one curve, and the figure
      fmnist early-stop --patience 1 --patience 3 --patience 5 --plot stop.png
    """
    from fmnist_cli import plots
    from fmnist_cli.analysis import apply_patience, early_stop_answers
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands._summaries import answers_document, show_answers
    from fmnist_cli.plots import from_records as _figures
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import run_study

    patiences = sorted(patience or [TrainConfig.patience or 3])
    require(patiences[0] >= 1, "patience must be at least 1", patiences[0])
    require_distinct("patience", patiences)
    if study.plot:
        plots.check_path(study.plot)
    out = Output(common)
    label = f"batch {config.batch}"
    with Registry.open(common.db) as registry:
        session = open_session(registry, config, data, out)
        how = study.how(config.seed)
        result = run_study(session, "early-stop", [(label, config)], test_every_epoch=True, **how)
    runs = [run for run in result.runs if run.best_epoch is not None]
    kept = [apply_patience(run, p, config.monitor) for p in patiences for run in runs]
    answers = early_stop_answers(runs, patiences, config.monitor) if runs else ()
    curves = [
        {"seed": run.run.seed, "epochs": [epoch.document() for epoch in run.epochs]}
        for run in result.runs
    ]
    out.document(
        "fmnist.early-stop/1",
        {
            **result.document(),
            "curves": curves,
            "stops": [asdict(one) for one in kept],
            "answers": answers_document(answers),
        },
    )
    for run in result.runs:
        seed = "" if len(result.runs) == 1 else f", seed {run.run.seed}"
        out.section(
            f"Study {result.study.id}, run {run.run.id}{seed}: accuracy by epoch",
            _curve(run.epochs, [one for one in kept if one.seed == run.run.seed]),
        )
    out.section("Where each patience stops", _stops(kept))
    if len(runs) > 1:
        out.section(f"Over {len(runs)} seeds", _over_seeds(kept))
    show_answers(out, answers)
    _figures.draw_study(study.plot, result, out, patiences=patiences)
    result.require_complete()


def _curve(epochs: Sequence[Epoch], kept: Sequence[PatienceOutcome]) -> Table:
    table = make_table(">epoch", ">train", ">validation", ">test", "")
    for epoch in epochs:
        notes = [f"kept by patience {k.patience}" for k in kept if k.best_epoch == epoch.epoch]
        notes += [f"patience {k.patience} stops" for k in kept if k.stopped_after == epoch.epoch]
        table.add_row(
            str(epoch.epoch),
            percent(epoch.train_accuracy),
            percent(epoch.val_accuracy),
            percent(epoch.test_accuracy),
            ", ".join(notes),
        )
    return table


def _stops(kept: Sequence[PatienceOutcome]) -> Table:
    table = make_table(
        *(">patience", ">seed", ">stops after", ">keeps epoch", ">test acc kept"),
        *(">best epoch", ">its test acc", ">cost (points)"),
        heading_width=9,
    )
    for one in kept:
        table.add_row(
            str(one.patience),
            str(one.seed),
            str(one.stopped_after or "no stop"),
            str(one.best_epoch),
            percent(one.test_accuracy),
            str(one.curve_best_epoch),
            percent(one.curve_test_accuracy),
            f"{100 * one.cost:+.2f}",
        )
    return table


def _over_seeds(kept: Sequence[PatienceOutcome]) -> Table:
    from fmnist_cli.commands._summaries import cell, interval_cell

    table = make_table(
        ">patience", ">keeps epoch", ">test acc kept", ">95 % interval", ">cost (points)"
    )
    for patience in dict.fromkeys(one.patience for one in kept):
        of_one = [one for one in kept if one.patience == patience]
        accuracies = [one.test_accuracy for one in of_one]
        table.add_row(
            str(patience),
            cell([one.best_epoch for one in of_one], format_count),
            cell(accuracies, percent),
            interval_cell(accuracies, percent),
            cell([one.cost for one in of_one], lambda v: f"{100 * v:+.2f}"),
        )
    return table
