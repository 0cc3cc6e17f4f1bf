"""What the learning rate does: `fmnist sweep-lr`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.studies import columns, study
from fmnist_cli.tables import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.answers import Answer
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.why.causes import Explanation

COLUMNS = (
    (Column("learning rate", short="lr", key="lr", show="{:g}".format), lambda runs: runs[0].lr),
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


def _conditions(config: TrainConfig, rates: Sequence[float]) -> study.Conditions:
    return [(f"lr {rate:g}", config.but(lr=rate)) for rate in rates]


def _answers(result: StudyResult, view: study.View) -> tuple[Answer, ...]:
    from fmnist_cli.analysis.learning_rate import learning_rate_answers

    return learning_rate_answers(result.runs)


def _why(result: StudyResult, config: TrainConfig) -> study.Conditions:
    from fmnist_cli.analysis.why.learning_rate import counterfactuals

    return list(counterfactuals(config, result.runs))


def _explain(
    result: StudyResult, why: Sequence[RecordedRun], figures: study.Figures, view: study.View
) -> tuple[Explanation, ...]:
    from fmnist_cli.analysis.why.learning_rate import explain_learning_rate

    return explain_learning_rate(result.runs, why, figures)


def _figure(result: StudyResult, view: study.View) -> Figure:
    return study.curves_figure(
        result, view, "Learning rate", varied=["lr"], name=lambda run: f"lr {run.lr:g}",
        order=lambda run: run.lr, metric=LEARNING_RATE.metric, below="val_accuracy",
    )  # fmt: skip


def _alt(result: StudyResult, view: study.View) -> str:
    rates = ", ".join(f"{runs[0].lr:g}" for runs in result.by_label().values())
    return (
        "Line charts of running loss and validation accuracy by epoch, one line for each learning "
        f"rate: {rates}."
    )


LEARNING_RATE = study.Study(
    kind="sweep-lr",
    plot_name="lr",
    title="The learning rate",
    part="beyond the assignment: the learning rate",
    question="Which learning rate suits, and what do too small and too large a one do?",
    option="lr",
    values=(0.001, 0.003, 0.01, 0.03, 0.1),
    conditions=_conditions,
    table=partial(columns.condition_table, "learning rates", COLUMNS),
    answers=_answers,
    why=_why,
    measure=study.measure_training,
    explain=_explain,
    figure=_figure,
    metric="running_loss",
    caption="Running training loss (the mean over an epoch's mini-batches) and validation accuracy "
    "by epoch, one line per learning rate.",
    alt=_alt,
)
