"""Batch size and learning rate together: `fmnist sweep-batch` with several learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import format_count, percent
from fmnist_cli.studies import columns
from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.learning_rate import LEARNING_RATE
from fmnist_cli.studies.study import Answers, Conditions, Study, View
from fmnist_cli.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import StudyResult


def pairs(
    config: TrainConfig, sizes: Sequence[int] | None, rates: Sequence[float] | None
) -> tuple[list[tuple[int, float]], list[str]]:
    """Every batch size at every learning rate, and why the usual sizes that do not fit are left
    out; None stands for the usual ones."""
    left_out: list[str] = []
    if sizes is None:
        sizes, left_out = BATCH_SIZE.usual_values(config)
    return [*product(sizes, LEARNING_RATE.values if rates is None else rates)], left_out


class BatchAndRateStudy(Study):
    kind = "sweep-grid"
    plot_name = "batch"
    title = "Batch size and learning rate"
    question = "Which learning rate suits which batch size, and what does a larger batch then save?"
    varied = ("batch", "lr")
    subject = "Batch size, learning rate"
    caption = (
        "Test accuracy and epochs to a validation accuracy by batch size and learning rate; "
        "examples against updates to it."
    )

    def conditions(self, config: TrainConfig, pairs: Sequence[tuple[int, float]]) -> Conditions:
        return [(f"batch {b}, lr {lr:.12g}", config.but(batch=b, lr=lr)) for b, lr in pairs]

    def table(self, result: StudyResult, view: View) -> Table:
        from fmnist_cli.analysis.grid import Grid

        grid = Grid.of(result.runs)
        heads = (
            columns.BATCH,
            columns.LEARNING_RATE,
            (Column("updates to target", show=format_count), columns.each(grid.updates.value)),
            columns.BEST_EPOCH,
            columns.VAL_ACCURACY,
            columns.TEST_ACCURACY,
            columns.ENDED,
        )
        table = columns.condition_table("batch sizes and learning rates", heads, result)
        if grid.target is None:
            return table
        note = (
            f"Target: {percent(grid.target)} validation accuracy, which every batch size reaches."
        )
        return replace(table, notes=(*table.notes, note))

    def answers(self, result: StudyResult, view: View) -> Answers:
        from fmnist_cli.analysis.grid import grid_answers

        return grid_answers(result.runs)

    def document(self, result: StudyResult, view: View) -> dict[str, Any]:
        from fmnist_cli.analysis.grid import Grid

        return {"target_val_accuracy": Grid.of(result.runs).target}

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli import plots
        from fmnist_cli.analysis.grid import Grid
        from fmnist_cli.plots.from_records import drawable, study_caption

        if view.axis is not None:
            return self.curves_figure(result, view)
        grid = Grid.of(drawable(result))
        cells = []
        for cell in grid.cells:
            known = [run.test_accuracy for run in cell.healthy if run.test_accuracy is not None]
            updates = cell.to(grid.updates)
            per_epoch = cell.runs[0].epochs[0].updates
            cells.append(
                plots.GridCell(
                    batch=cell.batch,
                    lr=cell.lr,
                    accuracy=fmean(known) if known else None,
                    updates=updates,
                    epochs=None if updates is None else updates / per_epoch,
                    diverged=sum(run.diverged for run in cell.runs),
                    seeds=len(cell.runs),
                )
            )
        return plots.grid_figure(
            cells,
            study_caption(result, varied=self.varied),
            target=grid.target,
            diagonals=[[(cell.batch, cell.lr) for cell in one] for one in grid.diagonals],
            front=[(cell.batch, cell.lr) for cell in grid.front()],
        )

    def alt(self, result: StudyResult, view: View) -> str:
        n = len(result.by_label())
        return (
            f"Heat maps of the test accuracy and of the epochs to a validation accuracy for {n} "
            "settings of batch size and learning rate; below, examples against updates to it."
        )


GRID = BatchAndRateStudy()
