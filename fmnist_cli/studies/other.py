"""What holds of any study: of the kinds that Python makes up, such as ``study("hidden", ...)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies import columns
from fmnist_cli.studies.study import Conditions, Study, View
from fmnist_cli.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import StudyResult

COLUMNS = (
    (Column("condition", numeric=False), lambda runs: runs[0].label),
    columns.BEST_EPOCH,
    columns.UPDATES_TO_BEST,
    columns.SECONDS_TO_BEST,
    columns.VAL_ACCURACY,
    columns.TEST_ACCURACY,
    columns.ENDED,
)


def _conditions(config: TrainConfig, values: Sequence[Any]) -> Conditions:
    raise NotImplementedError("Python gives the conditions of a study that no command has")


def _table(result: StudyResult, view: View) -> Table:
    return columns.condition_table(result.study.name or result.study.kind, COLUMNS, result)


def _figure(result: StudyResult, view: View) -> Figure:
    from fmnist_cli import plots
    from fmnist_cli.plots.from_records import lines_of, study_caption

    return plots.compare_figure(
        lines_of(result, lambda run: run.label),
        title=f"Study {result.study.id}: {result.study.kind}",
        subtitle=study_caption(result).line(),
        band=view.band,
    )


def _alt(result: StudyResult, view: View) -> str:
    return f"Line charts of validation accuracy and training loss: {', '.join(result.by_label())}."


OTHER = Study(
    kind="",
    plot_name="compare",
    title="A study of one's own",
    question="How do the conditions differ?",
    conditions=_conditions,
    timed=True,
    table=_table,
    figure=_figure,
    caption="Validation accuracy and training loss by epoch.",
    alt=_alt,
)
