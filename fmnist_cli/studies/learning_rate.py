"""What the learning rate does: `fmnist sweep-lr`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies import columns
from fmnist_cli.studies.study import Answers, Conditions, Explanations, Figures, Sweep, View
from fmnist_cli.tables import Column

if TYPE_CHECKING:
    from fmnist_cli.analysis.result import RecordedRun, StudyResult


class LearningRateStudy(Sweep):
    kind = "sweep-lr"
    plot_name = "lr"
    title = "The learning rate"
    part = "beyond the assignment: the learning rate"
    question = "Which learning rate suits, and what do too small and too large a one do?"
    option = "lr"
    values = (0.001, 0.003, 0.01, 0.03, 0.1)
    compared = "learning rates"
    table_columns = (
        columns.LEARNING_RATE,
        columns.BEST_EPOCH,
        columns.UPDATES_TO_BEST,
        columns.SECONDS_TO_BEST,
        (
            Column("last training loss", short="train loss", key="train_loss", show=columns.loss),
            columns.each(lambda run: run.epochs[-1].train_loss),
        ),
        columns.VAL_ACCURACY,
        columns.TEST_ACCURACY,
        columns.ENDED,
    )
    varied = ("lr",)
    subject = "Learning rate"
    metric = "running_loss"
    below = "val_accuracy"
    caption = (
        "Running training loss (the mean over an epoch's mini-batches) and validation accuracy by "
        "epoch, one line per learning rate."
    )

    def label(self, value: float) -> str:
        return f"lr {value:g}"

    def answers(self, result: StudyResult, view: View) -> Answers:
        from fmnist_cli.analysis.learning_rate import learning_rate_answers

        return learning_rate_answers(result.runs)

    def why(self, result: StudyResult, config: TrainConfig) -> Conditions:
        from fmnist_cli.analysis.why.learning_rate import counterfactuals

        return counterfactuals(config, result.runs)

    def explain(
        self, result: StudyResult, why: columns.Runs, figures: Figures, view: View
    ) -> Explanations:
        from fmnist_cli.analysis.why.learning_rate import explain_learning_rate

        return explain_learning_rate(result.runs, why, figures)

    def curve_name(self, run: RecordedRun) -> str:
        return self.label(run.lr)

    def alt(self, result: StudyResult, view: View) -> str:
        rates = ", ".join(f"{runs[0].lr:g}" for runs in result.by_label().values())
        return (
            "Line charts of running loss and validation accuracy by epoch, one line for each "
            f"learning rate: {rates}."
        )


LEARNING_RATE = LearningRateStudy()
