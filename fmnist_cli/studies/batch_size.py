"""What the batch size does: `fmnist sweep-batch`."""

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
    (Column("batch", show="{:,}".format), lambda runs: runs[0].batch),
    columns.BEST_EPOCH,
    columns.UPDATES_TO_BEST,
    columns.SECONDS_TO_BEST,
    columns.SECONDS_PER_EPOCH,
    columns.VAL_ACCURACY,
    columns.TEST_ACCURACY,
    columns.ENDED,
)


def _conditions(config: TrainConfig, sizes: Sequence[int]) -> study.Conditions:
    return [(f"batch {size}", config.but(batch=size)) for size in sizes]


def _unfit(config: TrainConfig, size: int) -> str:
    n = config.train_size
    return f"the training set has {n:,} images" if size > n else ""


def _answers(result: StudyResult, view: study.View) -> tuple[Answer, ...]:
    from fmnist_cli.analysis.batch_size import sweep_answers

    return sweep_answers(result.runs)


def _why(result: StudyResult, config: TrainConfig) -> study.Conditions:
    from fmnist_cli.analysis.why.batch_size import counterfactuals

    return list(counterfactuals(config, result.runs))


def _explain(
    result: StudyResult, why: Sequence[RecordedRun], figures: study.Figures, view: study.View
) -> tuple[Explanation, ...]:
    from fmnist_cli.analysis.why.batch_size import explain_batch_size

    return explain_batch_size(result.runs, why, figures)


def _figure(result: StudyResult, view: study.View) -> Figure:
    from fmnist_cli import plots
    from fmnist_cli.plots.from_records import drawable, study_caption

    if view.axis is not None:
        return study.curves_figure(
            result, view, "Batch size", varied=["batch"], name=lambda run: run.label,
            order=lambda run: run.batch, metric=BATCH_SIZE.metric, below="train_loss",
        )  # fmt: skip
    caption = study_caption(result, varied=["batch"])
    return plots.batch_figure(drawable(result), caption, band=view.band)


def _alt(result: StudyResult, view: study.View) -> str:
    sizes = ", ".join(f"{runs[0].batch:,}" for runs in result.by_label().values())
    return (
        "Charts of test accuracy, and of time, epochs and gradient updates to the best model, "
        f"against the batch sizes {sizes}."
    )


BATCH_SIZE = study.Study(
    kind="sweep-batch",
    plot_name="batch",
    title="The batch size",
    part="Problem 3: the batch size",
    question="What does the batch size do to accuracy, time and updates?",
    option="batch",
    values=(1, 5, 50, 500, 5000),
    unfit=_unfit,
    conditions=_conditions,
    timed=True,
    table=partial(columns.condition_table, "batch sizes", COLUMNS),
    answers=_answers,
    why=_why,
    measure=study.measure_training,
    explain=_explain,
    figure=_figure,
    caption="What the batch size does to accuracy, time and updates. The runs were timed one "
    "after the other.",
    alt=_alt,
)
