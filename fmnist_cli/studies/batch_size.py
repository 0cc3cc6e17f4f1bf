"""What the batch size does: `fmnist sweep-batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies import columns
from fmnist_cli.studies.study import Answers, Conditions, Explanations, Figures, Sweep, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import StudyResult


class BatchSizeStudy(Sweep):
    kind = "sweep-batch"
    plot_name = "batch"
    title = "The batch size"
    part = "Problem 3: the batch size"
    question = "What does the batch size do to accuracy, time and updates?"
    option = "batch"
    values = (1, 5, 50, 500, 5000)
    timed = True
    compared = "batch sizes"
    table_columns = (
        columns.BATCH,
        columns.BEST_EPOCH,
        columns.UPDATES_TO_BEST,
        columns.SECONDS_TO_BEST,
        columns.SECONDS_PER_EPOCH,
        columns.VAL_ACCURACY,
        columns.TEST_ACCURACY,
        columns.ENDED,
    )
    varied = ("batch",)
    subject = "Batch size"
    caption = (
        "What the batch size does to accuracy, time and updates. The runs were timed one after "
        "the other."
    )

    def label(self, value: int) -> str:
        return f"batch {value}"

    def unfit(self, config: TrainConfig, value: int) -> str:
        n = config.train_size
        return f"the training set has {n:,} images" if value > n else ""

    def answers(self, result: StudyResult, view: View) -> Answers:
        from fmnist_cli.analysis.batch_size import sweep_answers

        return sweep_answers(result.runs)

    def why(self, result: StudyResult, config: TrainConfig) -> Conditions:
        from fmnist_cli.analysis.why.batch_size import counterfactuals

        return counterfactuals(config, result.runs)

    def explain(
        self, result: StudyResult, why: columns.Runs, figures: Figures, view: View
    ) -> Explanations:
        from fmnist_cli.analysis.why.batch_size import explain_batch_size

        return explain_batch_size(result.runs, why, figures)

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli import plots
        from fmnist_cli.plots.from_records import drawable, study_caption

        if view.axis is not None:
            return self.curves_figure(result, view)
        caption = study_caption(result, varied=self.varied)
        return plots.batch_figure(drawable(result), caption, band=view.band)

    def alt(self, result: StudyResult, view: View) -> str:
        sizes = ", ".join(f"{runs[0].batch:,}" for runs in result.by_label().values())
        return (
            "Charts of test accuracy, and of time, epochs and gradient updates to the best model, "
            f"against the batch sizes {sizes}."
        )


BATCH_SIZE = BatchSizeStudy()
