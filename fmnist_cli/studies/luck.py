"""How much of a result is luck: `fmnist luck`.

A crossed design: one condition per seed of the initial weights, the orders' seeds its replicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import percent
from fmnist_cli.studies import columns
from fmnist_cli.studies.study import Answers, Conditions, Study, View
from fmnist_cli.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import StudyResult

SEEDS = {"seeds": 4}


def _init_seed(runs: columns.Runs) -> int:
    return int(runs[0].run.config["init_seed"])


def _default_seed(result: StudyResult) -> int:
    """The first of the seeds, ``--seed``: its weights with its order are the run of ``train``."""
    return min(_init_seed(runs) for runs in result.by_label().values())


class LuckStudy(Study):
    kind = "luck"
    plot_name = "luck"
    title = "How much is luck"
    question = "How much of a test accuracy do the initial weights, the order and the images make?"
    defaults = SEEDS
    compared = "initial weights, over the orders"
    table_columns = (
        (Column("initial weights", short="weights", key="init_seed"), _init_seed),
        columns.BEST_EPOCH,
        columns.VAL_ACCURACY,
        columns.TEST_ACCURACY,
        columns.ENDED,
    )
    caption = "Test accuracy of every run, by the seed of its initial weights."

    def conditions(self, config: TrainConfig, seeds: Sequence[int]) -> Conditions:
        return [(f"weights {seed}", config.but(init_seed=seed, order_seed=None)) for seed in seeds]

    def details(self, result: StudyResult, view: View) -> list[Table]:
        """Where the variance comes from, and what the best of n has; none where a run is
        missing."""
        import numpy as np

        from fmnist_cli.analysis.luck import crossed, picking, variance_components
        from fmnist_cli.analysis.noise import sampling_error

        test = crossed(result.runs, "test_accuracy")
        val = crossed(result.runs, "best_val_accuracy")
        if min(test.shape) < 2 or not np.isfinite(test).all():
            return []
        parts = variance_components(test)

        names = ("initial weights", "order", "neither alone")
        rows = [
            (name, math.sqrt(max(variance, 0.0)), share)
            for name, variance, share in zip(
                names, (parts.init, parts.order, parts.rest), parts.shares, strict=True
            )
        ]
        images = ("test images", sampling_error(result.runs[0], parts.mean), None)
        whence = Table(
            "Where the variance of the test accuracy comes from",
            (
                Column("source", numeric=False),
                Column("standard deviation", show=columns.points),
                Column("share between runs", show=lambda value: percent(value, 0)),
            ),
            (*rows, images),
            ("The error of the test images is the same for all runs, and in no share.",),
        )
        counts = [n for n in (1, 2, 3, 5, 10, 20) if n <= test.size]
        found = [picking(val.ravel(), test.ravel(), n) for n in counts]
        picked = Table(
            "The best of n runs by validation accuracy, over all choices of n",
            (
                Column("n"),
                Column("validation accuracy", show=percent),
                Column("test accuracy", show=percent),
            ),
            tuple(
                (one.n, float(val.mean()) + one.val, float(test.mean()) + one.test) for one in found
            ),
        )
        return [whence, picked]

    def answers(self, result: StudyResult, view: View) -> Answers:
        from fmnist_cli.analysis.luck import luck_answers

        return luck_answers(result.runs, _default_seed(result))

    def document(self, result: StudyResult, view: View) -> dict[str, object]:
        return {
            "design": [
                {
                    "run": run.run.id,
                    "init_seed": run.run.config["init_seed"],
                    "order_seed": run.seed,
                }
                for run in result.runs
            ],
            "details": [
                {"caption": table.caption, "rows": table.records()}
                for table in self.details(result, view)
            ],
        }

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli import plots
        from fmnist_cli.plots.from_records import study_caption

        seed = _default_seed(result)
        accuracies: dict[int, list[float]] = {}
        default = None
        for run in result.runs:
            init_seed = _init_seed([run])
            column = accuracies.setdefault(init_seed, [])
            if run.test_accuracy is not None and not run.diverged:
                column.append(run.test_accuracy)
                if run.seed == init_seed == seed:
                    default = (seed, run.test_accuracy)
        return plots.luck_figure(accuracies, study_caption(result), default=default)

    def alt(self, result: StudyResult, view: View) -> str:
        return (
            f"A strip chart of {len(result.runs)} test accuracies, one column for each of "
            f"{len(result.by_label())} seeds of the initial weights."
        )


LUCK = LuckStudy()
