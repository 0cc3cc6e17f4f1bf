"""One configuration with several seeds, and how much they differ: `fmnist train --seeds`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import format_count, percent, pluralize, seconds
from fmnist_cli.studies import columns
from fmnist_cli.studies.study import Conditions, Study, View
from fmnist_cli.tables import FEW_SEEDS, Column, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import StudyResult

COLUMNS = (
    Column("run"),
    Column("seed"),
    Column("best epoch", key="epochs_to_best"),
    Column("validation accuracy", short="val acc", key="best_val_accuracy", show=percent),
    Column("test accuracy", short="test acc", show=percent),
    Column("training time", key="train_seconds", show=seconds),
    Column("ended", numeric=False),
)
Show = Callable[[float], str]
SHOWN: tuple[tuple[str, str, Show, Show], ...] = (  # in words, a value, a standard deviation
    ("test_accuracy", "test accuracy", percent, columns.points),
    ("best_epoch", "best epoch", format_count, format_count),
    ("train_seconds", "training time", seconds, seconds),
)


class TrainingStudy(Study):
    kind = "train"
    plot_name = "train"
    title = "The training curve"
    question = "How much do the seeds differ?"
    timed = True
    caption = "Accuracy and loss by epoch."

    def conditions(self, config: TrainConfig, values: Sequence[Any]) -> Conditions:
        return [(f"{config.model} b{config.batch} lr{config.lr:g}", config)]

    def table(self, result: StudyResult, view: View) -> Table:
        rows = tuple(
            (
                run.run.id,
                run.seed,
                run.best_epoch,
                run.best_val_accuracy,
                run.test_accuracy,
                run.run.train_seconds,
                columns.ended([run]),
            )
            for run in result.runs
        )
        names = ", ".join(result.by_label())
        caption = f"Study {result.study.id}: {names}, {len(result.runs)} seeds"
        notes = (*columns.limit_note(result.runs), *columns.times_note(result))
        return Table(caption, COLUMNS, rows, notes)

    def details(self, result: StudyResult, view: View) -> list[Table]:
        """What the seeds say together; a run that diverged says nothing."""
        from fmnist_cli.analysis.result import SUMMARISED
        from fmnist_cli.analysis.statistics import summarise

        runs = [run for run in result.runs if not run.diverged]
        has_interval = len(runs) >= FEW_SEEDS
        rows: list[tuple[Value, ...]] = []
        for name, words, show, show_sd in SHOWN:
            found = summarise((getattr(run.run, name) for run in runs), SUMMARISED[name])
            if found is None:
                continue
            rows.append(
                (
                    words,
                    found.n,
                    show(found.mean),
                    None if found.sd is None else show_sd(found.sd),
                    *([columns.ends(found, show)] if has_interval else []),
                    show(found.minimum),
                    show(found.maximum),
                )
            )
        if not rows:
            return []
        heads = (
            Column("over the seeds", numeric=False),
            Column("n"),
            Column("mean"),
            Column("standard deviation", short="sd"),
            *([Column("95 % interval")] if has_interval else []),
            Column("lowest"),
            Column("highest"),
        )
        return [Table(f"Over {pluralize(len(runs), 'seed')}", heads, tuple(rows))]

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli import plots
        from fmnist_cli.plots.from_records import (
            averaged,
            curve_of,
            drawable,
            ending_of,
            study_caption,
        )

        runs = averaged(drawable(result))
        ending = ending_of(runs[0].run) if len(runs) == 1 else None
        curves = [curve_of(run) for run in runs]
        return plots.train_figure(curves, study_caption(result), ending, band=view.band)

    def alt(self, result: StudyResult, view: View) -> str:
        return (
            "Line charts of accuracy and loss on training and validation images, the mean over "
            f"{len(result.runs)} seeds."
        )


TRAINING = TrainingStudy()
