"""What momentum buys: `fmnist momentum`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import percent
from fmnist_cli.studies import columns, study
from fmnist_cli.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.answers import Answer
    from fmnist_cli.analysis.momentum import Loss
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.why.causes import Explanation


def label(momentum: float) -> str:
    """``momentum 0.9``, with every digit, for labels differ where the momenta do."""
    return f"momentum {momentum!r}".removesuffix(".0")


def _known(run: RecordedRun, metric: str) -> list[float]:
    """The metric at every epoch where it is finite."""
    values = [epoch.value(metric) for epoch in run.epochs]
    return [value for value in values if math.isfinite(value)]


def epochs(runs: columns.Runs) -> str:
    return ", ".join(map(str, sorted({len(run.epochs) for run in runs})))


COLUMNS = (
    (
        Column("momentum", short="alpha", show="{:.12g}".format),
        lambda runs: runs[0].momentum,
    ),
    (Column("epochs", numeric=False), epochs),
    (
        Column("running loss", show=columns.loss),
        columns.each(lambda run: run.epochs[-1].running_loss),
    ),
    (
        Column("training loss", short="train loss", key="train_loss", show=columns.loss),
        columns.each(lambda run: run.epochs[-1].train_loss),
    ),
    (
        Column("lowest training loss", short="lowest", key="lowest_train_loss", show=columns.loss),
        columns.each(lambda run: min(_known(run, "train_loss"), default=None)),
    ),
    (
        Column("test accuracy kept", short="test kept", key="test_accuracy", show=percent),
        columns.TEST_ACCURACY[1],
    ),
    (
        Column("best test accuracy", short="best test acc", show=percent),
        columns.each(lambda run: max(_known(run, "test_accuracy"), default=None)),
    ),
    (
        Column("last test accuracy", short="last test acc", show=percent),
        columns.each(lambda run: run.epochs[-1].test_accuracy),
    ),
    columns.ENDED,
)
BY_EPOCH = (
    ("train_loss", "training loss (whole training set, after the epoch)", columns.loss),
    ("running_loss", "running loss (mean of the epoch's mini-batches)", columns.loss),
    ("test_accuracy", "test accuracy", lambda value: percent(value, 1)),
)


def _conditions(config: TrainConfig, momenta: Sequence[float]) -> study.Conditions:
    return [(label(momentum), config.but(momentum=momentum)) for momentum in momenta]


def _details(result: StudyResult, view: study.View) -> list[Table]:
    """With ``every_epoch``, one row per epoch, one column per momentum: means over the seeds."""
    from fmnist_cli.analysis.statistics import summarise

    if not view.every_epoch:
        return []
    groups = {  # of several seeds a mean, in which no diverged run is
        label: [run for run in runs if len(runs) == 1 or not run.diverged]
        for label, runs in result.by_label().items()
    }
    means = ", means over the seeds" if len(result.runs) > len(groups) else ""
    longest = max(len(run.epochs) for run in result.runs)
    made = []
    for metric, words, show in BY_EPOCH:
        rows: list[tuple[Any, ...]] = []
        for i in range(longest):
            found = [
                summarise(getattr(run.epochs[i], metric) for run in runs if i < len(run.epochs))
                for runs in groups.values()
            ]
            rows.append((i + 1, *(one and one.mean for one in found)))
        heads = (
            Column("epoch"),
            *(Column(name.removeprefix("momentum "), show=show) for name in groups),
        )
        caption = f"{words[0].upper()}{words[1:]}, by epoch and momentum{means}"
        made.append(Table(caption, heads, tuple(rows)))
    return made


def _answers(result: StudyResult, view: study.View) -> tuple[Answer, ...]:
    from fmnist_cli.analysis.momentum import momentum_answers

    return momentum_answers(result.runs, _drawn(view))


def _drawn(view: study.View) -> Loss:
    """The loss by which instability is judged: the one that the figure draws."""
    return "train_loss" if view.metric == "train_loss" else "running_loss"


def _why(result: StudyResult, config: TrainConfig) -> study.Conditions:
    from fmnist_cli.analysis.why.momentum import counterfactuals

    return list(counterfactuals(config, result.runs))


def _explain(
    result: StudyResult, why: Sequence[RecordedRun], figures: study.Figures, view: study.View
) -> tuple[Explanation, ...]:
    from fmnist_cli.analysis.why.momentum import explain_momentum

    return explain_momentum(result.runs, why, figures, _drawn(view))


def _document(result: StudyResult, view: study.View) -> dict[str, Any]:
    return {
        "curves": [
            {
                "momentum": run.momentum,
                "seed": run.seed,
                "epochs": [epoch.document() for epoch in run.epochs],
            }
            for run in result.runs
        ]
    }


def _figure(result: StudyResult, view: study.View) -> Figure:
    return study.curves_figure(
        result, view, "Momentum", varied=["momentum"], name=lambda run: f"α = {run.momentum:.12g}",
        order=lambda run: run.momentum, metric=MOMENTUM.metric, below="test_accuracy",
    )  # fmt: skip


def _alt(result: StudyResult, view: study.View) -> str:
    momenta = ", ".join(f"{runs[0].momentum:g}" for runs in result.by_label().values())
    epochs = max(len(run.epochs) for run in result.runs)
    return (
        f"Line charts of running loss and test accuracy over {epochs} epochs, one line for each "
        f"momentum: {momenta}."
    )


MOMENTUM = study.Study(
    kind="momentum",
    plot_name="momentum",
    title="Momentum",
    part="Problem 3: momentum",
    question="What does momentum buy?",
    option="alpha",
    values=(0.1, 0.3, 0.5, 0.7, 0.9),
    defaults={"epochs": 30, "patience": None},
    conditions=_conditions,
    test_every_epoch=True,
    table=partial(
        columns.condition_table,
        "momentum",
        COLUMNS,
        note="Losses: after the last epoch, and the lowest after any. Accuracy kept: of the best "
        "validation epoch.",
    ),
    details=_details,
    answers=_answers,
    why=_why,
    measure=study.measure_training,
    explain=_explain,
    document=_document,
    figure=_figure,
    metric="running_loss",
    caption="Running loss (the mean over an epoch's mini-batches) and test accuracy by epoch, one "
    "line per momentum. The answers judge the training loss, measured after each epoch.",
    alt=_alt,
)
