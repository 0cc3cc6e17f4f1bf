"""`fmnist sweep-batch`: what the batch size does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._options import Common, DataOptions, StudyOptions, with_options
from fmnist_cli.commands._output import Output, make_table, percent, seconds
from fmnist_cli.engine.config import TrainConfig, require

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.commands._study import StudyResult

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

    Started again after an interruption, it continues: finished runs are not trained twice.

    Examples:

      fmnist sweep-batch --plot sweep.png

      fmnist sweep-batch --batch 8 --batch 32 --batch 128 --seeds 3
    """
    from fmnist_cli import plots
    from fmnist_cli.commands import _figures
    from fmnist_cli.commands._recording import load_data
    from fmnist_cli.commands._study import answers_document, run_study, show_answers
    from fmnist_cli.engine.answers import sweep_answers
    from fmnist_cli.registry import Registry

    batches = batch or list(BATCHES)
    require(len(set(batches)) == len(batches), "the batch sizes must differ", batches)
    arms = [(f"batch {size}", config.but(batch=size)) for size in batches]
    if study.plot:
        plots.check_path(study.plot)
    out = Output(common)
    with Registry.open(common.db) as registry:
        dataset = load_data(config, data, out)
        result = run_study("sweep-batch", arms, dataset, registry, out, study)
    answers = sweep_answers(result.as_answers())
    out.document(
        "fmnist.sweep-batch/1", {**result.document(), "answers": answers_document(answers)}
    )
    out.section(f"Study {result.study.id}: batch sizes", _table(result))
    show_answers(out, answers)
    _figures.draw_study(study.plot, result, out)


def _table(result: StudyResult) -> Table:
    from fmnist_cli.commands._study import mean_and_spread

    table = make_table(
        *(">batch", ">best epoch", ">updates to best", ">seconds to best", ">s/epoch"),
        *(">val acc", ">test acc", "ended"),
    )
    for runs in result.by_label().values():
        records = [run.run for run in runs]
        ended = sorted({_ending(r.stop_reason, bool(r.still_improving)) for r in records})
        table.add_row(
            f"{records[0].batch:,}",
            mean_and_spread([r.best_epoch for r in records], lambda v: f"{v:.3g}"),
            mean_and_spread([r.updates_to_best for r in records], lambda v: f"{v:,.0f}"),
            mean_and_spread([run.seconds_to_best for run in runs], seconds),
            mean_and_spread(
                [(r.train_seconds or 0.0) / max(r.epochs_run, 1) for r in records],
                lambda v: f"{v:.3f}",
            ),
            mean_and_spread([r.best_val_accuracy for r in records], percent),
            mean_and_spread([r.test_accuracy for r in records], percent),
            ", ".join(ended),
        )
    return table


def _ending(stop_reason: str | None, still_improving: bool) -> str:
    if still_improving:
        return "[yellow]limit, still improving[/yellow]"
    return {"max_epochs": "limit", "diverged": "[red]diverged[/red]"}.get(
        stop_reason or "", stop_reason or "-"
    )
