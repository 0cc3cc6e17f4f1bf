"""What holds of any study: of the kinds that Python makes up, such as ``study("hidden", ...)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_cli.studies import columns
from fmnist_cli.studies.study import Study, View
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


class OtherStudy(Study):
    plot_name = "compare"
    title = "A study of one's own"
    question = "How do the conditions differ?"
    timed = True
    caption = "Validation accuracy and training loss by epoch."

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def table(self, result: StudyResult, view: View) -> Table:
        return columns.condition_table(result.study.name or self.kind, COLUMNS, result)

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli import plots
        from fmnist_cli.plots.from_records import lines_of, study_caption

        return plots.compare_figure(
            lines_of(result, self.curve_name),
            title=f"Study {result.study.id}: {self.kind}",
            subtitle=study_caption(result).line(),
            band=view.band,
        )

    def alt(self, result: StudyResult, view: View) -> str:
        labels = ", ".join(result.by_label())
        return f"Line charts of validation accuracy and training loss: {labels}."
