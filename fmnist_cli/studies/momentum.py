"""What momentum buys: `fmnist momentum`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import percent
from fmnist_cli.studies import columns
from fmnist_cli.studies.study import (
    WHOLE_CURVES,
    Answers,
    Conditions,
    Explanations,
    Figures,
    Sweep,
    View,
)
from fmnist_cli.tables import Column, Table

if TYPE_CHECKING:
    from fmnist_cli.analysis.momentum import Loss
    from fmnist_cli.analysis.result import RecordedRun, StudyResult

BY_EPOCH = (
    ("train_loss", "training loss (whole training set, after the epoch)", columns.loss),
    ("running_loss", "running loss (mean of the epoch's mini-batches)", columns.loss),
    ("test_accuracy", "test accuracy", lambda value: percent(value, 1)),
)


def _known(run: RecordedRun, metric: str) -> list[float]:
    """The metric at every epoch where it is finite."""
    values = [epoch.value(metric) for epoch in run.epochs]
    return [value for value in values if math.isfinite(value)]


def _epochs(runs: columns.Runs) -> str:
    return ", ".join(map(str, sorted({len(run.epochs) for run in runs})))


def _drawn(view: View) -> Loss:
    """The loss by which instability is judged: the one that the figure draws."""
    return "train_loss" if view.metric == "train_loss" else "running_loss"


class MomentumStudy(Sweep):
    kind = "momentum"
    plot_name = "momentum"
    title = "Momentum"
    part = "Problem 3: momentum"
    question = "What does momentum buy?"
    option = "alpha"
    values = (0.1, 0.3, 0.5, 0.7, 0.9)
    defaults = WHOLE_CURVES
    test_every_epoch = True
    compared = "momentum"
    table_columns = (
        (
            Column("momentum", short="alpha", show="{:.12g}".format),
            lambda runs: runs[0].momentum,
        ),
        (Column("epochs", numeric=False), _epochs),
        (
            Column("running loss", show=columns.loss),
            columns.each(lambda run: run.epochs[-1].running_loss),
        ),
        (
            Column("training loss", short="train loss", key="train_loss", show=columns.loss),
            columns.each(lambda run: run.epochs[-1].train_loss),
        ),
        (
            Column(
                "lowest training loss", short="lowest", key="lowest_train_loss", show=columns.loss
            ),
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
    table_note = (
        "Losses: after the last epoch, and the lowest after any. Accuracy kept: of the best "
        "validation epoch."
    )
    varied = ("momentum",)
    subject = "Momentum"
    metric = "running_loss"
    below = "test_accuracy"
    caption = (
        "Running loss (the mean over an epoch's mini-batches) and test accuracy by epoch, one "
        "line per momentum. The answers judge the training loss, measured after each epoch."
    )

    def label(self, value: float) -> str:
        """``momentum 0.9``, with every digit, for labels differ where the momenta do."""
        return f"momentum {value!r}".removesuffix(".0")

    def details(self, result: StudyResult, view: View) -> list[Table]:
        """With ``every_epoch``, one row per epoch, one column per momentum: means over the
        seeds."""
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

    def answers(self, result: StudyResult, view: View) -> Answers:
        from fmnist_cli.analysis.momentum import momentum_answers

        return momentum_answers(result.runs, _drawn(view))

    def why(self, result: StudyResult, config: TrainConfig) -> Conditions:
        from fmnist_cli.analysis.why.momentum import counterfactuals

        return counterfactuals(config, result.runs)

    def explain(
        self, result: StudyResult, why: columns.Runs, figures: Figures, view: View
    ) -> Explanations:
        from fmnist_cli.analysis.why.momentum import explain_momentum

        return explain_momentum(result.runs, why, figures, _drawn(view))

    def document(self, result: StudyResult, view: View) -> dict[str, Any]:
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

    def curve_name(self, run: RecordedRun) -> str:
        return f"α = {run.momentum:.12g}"

    def alt(self, result: StudyResult, view: View) -> str:
        momenta = ", ".join(f"{runs[0].momentum:g}" for runs in result.by_label().values())
        epochs = max(len(run.epochs) for run in result.runs)
        return (
            f"Line charts of running loss and test accuracy over {epochs} epochs, one line for "
            f"each momentum: {momenta}."
        )


MOMENTUM = MomentumStudy()
