"""`fmnist sweep-batch`: what the batch size does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._options import (
    Common,
    DataOptions,
    StudyOptions,
    require_distinct,
    with_options,
)
from fmnist_cli.commands._output import HEADING_WIDTH, Output
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import format_count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from fmnist_cli.analysis.result import RecordedRun, StudyResult

BATCHES = (1, 5, 50, 500, 5000)


@with_options(omit=("batch",))
def sweep_batch(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    common: Common,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            "--batch", help="A batch size; give it several times.", show_default="1 5 50 500 5000"
        ),
    ] = None,
) -> None:
    """Train at several batch sizes, and compare speed, accuracy and updates.

    Prints for each size the epochs, updates and seconds to its best model and the accuracies, then
    what follows from the numbers. The trainings are recorded as the runs of one study; started
    again after an interruption, it continues: finished runs are not trained twice. With --jobs the
    times are taken side by side, and the table says so.

    Examples:
      # batch sizes 1, 5, 50, 500 and 5000, and their figure
      fmnist sweep-batch --plot sweep.png
      # sizes of your own, each with three seeds
      fmnist sweep-batch --batch 8 --batch 32 --batch 128 --seeds 3
    """
    from fmnist_cli import plots
    from fmnist_cli.analysis import sweep_answers
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands._summaries import answers_document, show_answers, times_note
    from fmnist_cli.plots import from_records as _figures
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import run_study

    batches = batch or list(BATCHES)
    require_distinct("batch", batches)
    arms = [(f"batch {size}", config.but(batch=size)) for size in batches]
    if study.plot:
        plots.check_path(study.plot)
    out = Output(common)
    with Registry.open(common.db) as registry:
        session = open_session(registry, config, data, out)
        result = run_study(session, "sweep-batch", arms, **study.how(config.seed))
    answers = sweep_answers(result.runs)
    out.document(
        "fmnist.sweep-batch/1", {**result.document(), "answers": answers_document(answers)}
    )
    improving = any(run.run.still_improving for run in result.runs)
    out.section(
        f"Study {result.study.id}: batch sizes",
        _table(result),
        *(["+: still improving at its limit."] if improving else []),
        *times_note(result),
    )
    show_answers(out, answers)
    _figures.draw_study(study.plot, result, out)
    result.require_complete()


def _table(result: StudyResult) -> Table:
    from fmnist_cli.commands._summaries import arms_table, each, ended, interval_cell

    def endings(runs: Sequence[RecordedRun]) -> str:
        return ",\n".join(sorted({ended(run.run, improving=True) for run in runs}))

    def interval(runs: Sequence[RecordedRun]) -> str:
        return interval_cell([run.run.test_accuracy for run in runs], percent)

    several = len(result.runs) > len(result.by_label())
    return arms_table(
        result,
        {
            ">batch": lambda runs: f"{runs[0].run.batch:,}",
            ">best epoch": each(lambda run: run.run.best_epoch, format_count),
            ">updates to best": each(lambda run: run.run.updates_to_best, lambda v: f"{v:,.0f}"),
            ">seconds to best": each(lambda run: run.seconds_to_best, seconds),
            ">s/epoch": each(
                lambda run: (run.run.train_seconds or 0.0) / max(run.run.epochs_run, 1),
                lambda v: f"{v:.3f}",
            ),
            **({} if several else {">val acc": each(lambda r: r.run.best_val_accuracy, percent)}),
            ">test acc": each(lambda run: run.run.test_accuracy, percent),
            **({">95 % interval": interval} if several else {}),
            "<ended": endings,
        },
        heading_width=9 if several else HEADING_WIDTH,
    )
