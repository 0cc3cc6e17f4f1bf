"""When to stop, and what a patience keeps: `fmnist early-stop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import format_count, percent, pluralize
from fmnist_cli.studies import columns
from fmnist_cli.studies.study import (
    WHOLE_CURVES,
    Answers,
    Conditions,
    Explanations,
    Figures,
    Study,
    View,
)
from fmnist_cli.tables import Column, Shown, Table, Value, seeds_notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.early_stopping import PatienceOutcome
    from fmnist_cli.analysis.result import RecordedRun, StudyResult

Outcomes = Sequence["PatienceOutcome"]


def _judged(result: StudyResult) -> list[RecordedRun]:
    """The runs on which a patience can be judged: with a best epoch, and not diverged."""
    return [run for run in result.runs if run.best_epoch is not None and not run.diverged]


def outcomes(result: StudyResult, view: View) -> list[PatienceOutcome]:
    """What each patience makes of each curve."""
    from fmnist_cli.analysis.early_stopping import apply_patience

    return [apply_patience(run, p) for p in view.patiences for run in _judged(result)]


def _over_seeds(read: Callable[[PatienceOutcome], float]) -> Callable[[Outcomes], Value]:
    return lambda of_one: (
        read(of_one[0]) if len(of_one) == 1 else tuple(read(one) for one in of_one)
    )


def _stops(of_one: Outcomes) -> Value:
    stops = [one.stopped_after for one in of_one]
    reached = [stop for stop in stops if stop is not None]
    if len(reached) == len(stops):
        return reached[0] if len(reached) == 1 else tuple(reached)
    if len(stops) == 1:
        return Shown(None, "no stop")
    return Shown(tuple(stops), f"{len(reached)} of {len(stops)} stop")


STOPS_AFTER = Column("stops after epoch", short="stops after", show=format_count)
COST = Column("cost (points)", key="cost", show=lambda value: f"{100 * value:+.2f}")
COLUMNS: tuple[tuple[Column, Callable[[Outcomes], Value]], ...] = (
    (Column("patience"), lambda of_one: of_one[0].patience),
    (STOPS_AFTER, _stops),
    (Column("keeps epoch", show=format_count), _over_seeds(lambda one: one.best_epoch)),
    (
        Column("test accuracy kept", short="test kept", key="test_accuracy", show=percent),
        _over_seeds(lambda one: one.test_accuracy),
    ),
    (
        Column("best epoch of all", short="best epoch", key="curve_best_epoch", show=format_count),
        _over_seeds(lambda one: one.curve_best_epoch),
    ),
    (
        Column("its test accuracy", short="its test acc", key="curve_test_accuracy", show=percent),
        _over_seeds(lambda one: one.curve_test_accuracy),
    ),
    (COST, _over_seeds(lambda one: one.cost)),
)


def replay_table(result: StudyResult) -> Table:
    """Every patience from 1 to the smallest that keeps the best epoch in every seed, at most 30,
    watching the same curves."""
    from fmnist_cli.analysis.early_stopping import apply_patience, smallest_that_keeps_the_best
    from fmnist_cli.analysis.patience import PATIENCES
    from fmnist_cli.analysis.why.early_stopping import (
        stops_by_chance,
        validation_error,
        validation_noise,
    )

    runs = _judged(result)
    enough = smallest_that_keeps_the_best(runs) if runs else 0
    patiences = PATIENCES[:enough]
    chances = stops_by_chance(runs, patiences) if runs else {}
    heads = (
        Column("patience"),
        STOPS_AFTER,
        Column("keeps the best epoch", short="keeps the best", numeric=False),
        COST,
        Column("too early by chance", key="too_early", show=lambda value: percent(value, 0)),
    )
    rows: list[tuple[Value, ...]] = []
    for patience in patiences:
        of_one = [apply_patience(run, patience) for run in runs]
        kept = sum(one.keeps_the_best for one in of_one)
        rows.append(
            (
                patience,
                _stops(of_one),
                Shown(kept, f"in {kept} of {len(of_one)}"),
                _over_seeds(lambda one: one.cost)(of_one),
                chances.get(patience),
            )
        )
    notes = list(seeds_notes(rows))
    if chances:
        notes.append(
            "Too early by chance: how often epoch-to-epoch noise alone (standard deviation "
            f"{100 * validation_noise(runs):.1f} points) would stop the mean curve's trend with "
            f"more than one standard error of the accuracy ({100 * validation_error(runs):.1f} "
            f"points on {runs[0].run.val_size:,} images) still to be gained."
        )
    if enough and enough < PATIENCES[-1]:
        length = max(len(run.epochs) for run in runs)
        of_all = pluralize(length, "epoch")
        notes.append(f"From patience {enough} on every seed keeps the best of its {of_all}.")
    caption = f"Study {result.study.id}: each patience on the same curves"
    return Table(caption, heads, tuple(rows), tuple(notes))


class EarlyStoppingStudy(Study):
    kind = "early-stop"
    plot_name = "early-stop"
    title = "When to stop"
    part = "Problem 3: early stopping"
    question = "When should the training stop, and what does a patience keep?"
    option = "patience"
    values = (3,)
    defaults = WHOLE_CURVES
    test_every_epoch = True
    caption = (
        "Accuracy and loss by epoch without early stopping, and where a patience would have "
        "stopped."
    )

    def conditions(self, config: TrainConfig, patiences: Sequence[int]) -> Conditions:
        """One: the patiences are applied to its curve."""
        return [(f"batch {config.batch}", config)]

    def table(self, result: StudyResult, view: View) -> Table:
        found = outcomes(result, view)
        rows = tuple(
            tuple(cell([one for one in found if one.patience == patience]) for _, cell in COLUMNS)
            for patience in dict.fromkeys(one.patience for one in found)
        )
        heads = tuple(column for column, _ in COLUMNS)
        caption = f"Study {result.study.id}: what each patience keeps"
        best = columns.best_value(result)
        note = (
            f"A patience keeps the epoch of the {best} until its stop; the best epoch has the "
            f"{best} of the whole curve. Cost: the best epoch's test accuracy less the kept one's."
        )
        return Table(
            caption, heads, rows, (note if rows else columns.NO_RESULT, *seeds_notes(rows))
        )

    def details(self, result: StudyResult, view: View) -> list[Table]:
        """The first seed's curve, epoch by epoch, with what each patience makes of it; then what
        every patience costs."""
        found = outcomes(result, view)
        made = []
        for run in result.runs[:1]:
            of_run = [one for one in found if one.seed == run.seed]
            rows = []
            for epoch in run.epochs:
                notes = [f"{o.patience} keeps" for o in of_run if o.best_epoch == epoch.epoch]
                notes += [f"{o.patience} stops" for o in of_run if o.stopped_after == epoch.epoch]
                accuracies = (epoch.train_accuracy, epoch.val_accuracy, epoch.test_accuracy)
                losses = (epoch.train_loss, epoch.val_loss)
                rows.append((epoch.epoch, *accuracies, *losses, ", ".join(notes)))
            seed = "" if len(result.runs) == 1 else f", seed {run.seed}"
            heads = (
                Column("epoch"),
                Column("train", show=percent),
                Column("validation", short="val.", show=percent),
                Column("test", show=percent),
                Column("train loss", show="{:.3f}".format),
                Column("validation loss", short="val. loss", show="{:.3f}".format),
                Column("patience", numeric=False),
            )
            caption = f"Study {result.study.id}, run {run.run.id}{seed}: accuracy and loss by epoch"
            made.append(Table(caption, heads, tuple(rows)))
        return [*made, replay_table(result)] if _judged(result) else made

    def answers(self, result: StudyResult, view: View) -> Answers:
        from fmnist_cli.analysis.early_stopping import early_stop_answers

        runs = _judged(result)
        return early_stop_answers(runs, view.patiences) if runs else ()

    def document(self, result: StudyResult, view: View) -> dict[str, Any]:
        return {
            "curves": [
                {"seed": run.seed, "epochs": [epoch.document() for epoch in run.epochs]}
                for run in result.runs
            ],
            "stops": [asdict(one) for one in outcomes(result, view)],
            "replay": replay_table(result).records(),
        }

    def figure(self, result: StudyResult, view: View) -> Figure:
        from fmnist_cli import plots
        from fmnist_cli.plots.from_records import averaged, curve_of, drawable, study_caption

        runs = averaged(drawable(result))
        place = {run.seed: i for i, run in enumerate(runs)}
        stops = [
            plots.PatienceStop(one.patience, one.best_epoch, one.stopped_after, place[one.seed])
            for one in outcomes(result, view)
            if one.seed in place
        ]
        curves = [curve_of(run) for run in runs]
        return plots.early_stop_figure(curves, study_caption(result), stops, band=view.band)

    def alt(self, result: StudyResult, view: View) -> str:
        epochs = pluralize(max(len(run.epochs) for run in result.runs), "epoch")
        patiences = ", ".join(map(str, view.patiences))
        return (
            f"Line charts of train, validation and test accuracy and of the losses over {epochs}, "
            f"marked where a patience of {patiences} stops."
        )

    def explain(
        self, result: StudyResult, why: columns.Runs, figures: Figures, view: View
    ) -> Explanations:
        """By the curves themselves: nothing has to be trained."""
        from fmnist_cli.analysis.why.early_stopping import explain_early_stopping

        return explain_early_stopping(result.runs, view.patiences)


EARLY_STOPPING = EarlyStoppingStudy()
