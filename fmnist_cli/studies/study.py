"""What a study is.

Nothing heavy is imported here: the command line reads values and defaults at its start.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import require
from fmnist_cli.studies import columns
from fmnist_cli.studies.columns import Columns, Runs
from fmnist_cli.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.answers import Answer
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.why.causes import Explanation
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.ood_curves import CurveName
    from fmnist_cli.epoch import Axis, Metric
    from fmnist_cli.plots import Band
    from fmnist_cli.runner.measured import Measure
    from fmnist_cli.runner.run import After, Recipe, Session

Conditions = Sequence[tuple[str, "TrainConfig"]]
Figures = Mapping[int, Mapping[str, float]]  # what was measured of each run, by its id
Answers = tuple["Answer", ...]
Explanations = tuple["Explanation", ...]
WHOLE_CURVES: Mapping[str, Any] = {"epochs": 30, "patience": None}  # no early stopping


@dataclass(frozen=True)
class View:
    """How a study's result is looked at; nothing of it changes what is trained."""

    patiences: tuple[int, ...] = (3,)  # of an early-stopping study
    curves: tuple[CurveName, ...] = ()  # of a study of shifted images that measured them
    metric: Metric | None = None  # whose curves are drawn; None for the study's own choice
    band: Band = "ci"  # what several seeds are drawn as
    axis: Axis | None = None  # what curves are drawn against; None for the study's own figure
    every_epoch: bool = False  # whether the details have every epoch's numbers

    def __post_init__(self) -> None:
        least = min(self.patiences, default=1)
        require(least >= 1, "patience must be at least 1", least)

    @property
    def curves_word(self) -> str:
        """What ``--curve`` is given for the curves."""
        return "both" if len(self.curves) > 1 else self.curves[0]


class Study(ABC):
    """One thing varied, what is measured of it, and how it is shown; a subclass for each kind."""

    kind: str  # as registries record it: the name of the command
    plot_name: str  # what follows `fmnist plot`
    title: str
    question: str
    part: str = ""  # where it stands in the assignment
    option: str = ""  # the command's own
    values: tuple[Any, ...] = ()  # of that option, where none is given
    defaults: Mapping[str, Any] = MappingProxyType({})  # that differ from those of `fmnist train`
    test_every_epoch: bool = False  # as in ``run_study``
    timed: bool = False  # whether a result is a time, so that runs side by side are no substitute
    compared: str = ""  # in the caption of the table of conditions
    table_columns: Columns = ()
    table_note: str = ""
    varied: tuple[str, ...] = ()  # fields of the configuration
    subject: str = ""  # what the title of the curves calls them
    metric: Metric = "val_accuracy"  # whose curves are drawn where nothing else is asked for
    below: Metric = "train_loss"  # and whose below them
    caption: str  # of the figure

    def conditions(self, config: TrainConfig, values: Sequence[Any]) -> Conditions:
        """From a configuration and the values that are compared to labels and configurations."""
        raise NotImplementedError("Python gives the conditions of a study that no command has")

    def unfit(self, config: TrainConfig, value: Any) -> str:
        """Why a value cannot be trained with this configuration; empty where it can."""
        return ""

    def after(self, view: View) -> After | None:
        """What is measured after a training, as in ``Recipe``."""
        return None

    def table(self, result: StudyResult, view: View) -> Table:
        """The study's one table."""
        return columns.condition_table(self.compared, self.table_columns, result, self.table_note)

    def details(self, result: StudyResult, view: View) -> list[Table]:
        """Further tables, of the command alone."""
        return []

    def answers(self, result: StudyResult, view: View) -> Answers:
        return ()

    def document(self, result: StudyResult, view: View) -> dict[str, Any]:
        """What ``--json`` has beside the runs, the table and the answers."""
        return {}

    @abstractmethod
    def figure(self, result: StudyResult, view: View) -> Figure: ...

    @abstractmethod
    def alt(self, result: StudyResult, view: View) -> str:
        """What the figure shows, for those who do not see it."""

    def why(self, result: StudyResult, config: TrainConfig) -> Conditions:
        """The conditions that test the causes of what was found."""
        return ()

    def measure(self) -> Measure | None:
        """What is measured on the weights of each of the study's runs, as in ``measure_runs``."""
        return None

    def explain(self, result: StudyResult, why: Runs, figures: Figures, view: View) -> Explanations:
        """Each question's causes, from the runs that test them and what was measured."""
        return ()

    @property
    def document_name(self) -> str:
        """Of the JSON documents; ``train`` is that of one run."""
        return "train-seeds" if self.kind == "train" else self.kind

    def run(
        self,
        session: Session,
        config: TrainConfig,
        values: Sequence[Any],
        view: View,
        **how: Any,
    ) -> StudyResult:
        """Train every condition with every seed; ``how`` as in ``run_study``."""
        from fmnist_cli.runner.study import run_study

        measured = {"curves": list(view.curves)} if view.curves else None
        conditions = self.conditions(config, values)
        recipe = self._recipe(view)
        return run_study(session, recipe, conditions, measured=measured, timed=self.timed, **how)

    def explained(
        self,
        session: Session,
        config: TrainConfig,
        result: StudyResult,
        view: View,
        **how: Any,
    ) -> tuple[Explanations, tuple[RecordedRun, ...]]:
        """Each question with its causes, and the runs that tested them.

        The conditions that test the causes are trained as a study of their own, ``how`` as in
        ``run_study``; what is measured on weights is measured on those that the runs kept.
        """
        from fmnist_cli.runner.measured import measure_runs
        from fmnist_cli.runner.study import run_study

        runs: tuple[RecordedRun, ...] = ()
        if conditions := self.why(result, config):
            recipe = self._recipe(view, "-why")
            found = run_study(session, recipe, conditions, reuse=True, timed=False, **how)
            found.require_complete()
            runs = found.runs
        measure = self.measure()
        figures = {} if measure is None else measure_runs(session, result.runs, measure)
        explanations = self.explain(result, runs, figures, view)
        return tuple(replace(one, part=self.part) for one in explanations), runs

    def _recipe(self, view: View, suffix: str = "") -> Recipe:
        from fmnist_cli.runner.run import Recipe

        return Recipe(f"{self.kind}{suffix}", self.test_every_epoch, after=self.after(view))

    def usual_values(self, config: TrainConfig) -> tuple[tuple[Any, ...], list[str]]:
        """The default values that fit the configuration, and why the others are left out."""
        reasons = {value: self.unfit(config, value) for value in self.values}
        fit = tuple(value for value, reason in reasons.items() if not reason)
        return fit, [
            f"{self.option} {value} is left out: {reason}."
            for value, reason in reasons.items()
            if reason
        ]

    def words(self, values: Sequence[Any]) -> str:
        """The command and its own option, as they are typed for these values."""
        if tuple(values) == self.values:
            return self.kind
        return " ".join([self.kind, *(f"--{self.option} {value}" for value in values)])

    def curve_name(self, run: RecordedRun) -> str:
        """What the figure of the curves calls the run's condition."""
        return run.label

    def curves_figure(self, result: StudyResult, view: View) -> Figure:
        """One line per condition, against the axis that is asked for, with how far apart they
        lie; in the order of the field that is varied, where it is one."""
        from operator import attrgetter

        from fmnist_cli import plots
        from fmnist_cli.analysis.axes import gap_note, gaps
        from fmnist_cli.plots.from_records import lines_of, study_caption

        caption = study_caption(result, varied=self.varied)
        metric = view.metric or self.metric
        order = attrgetter(*self.varied) if len(self.varied) == 1 else None
        return plots.conditions_figure(
            lines_of(result, self.curve_name, order, view.axis or "epoch"),
            caption,
            title=f"{self.subject} and the training of {caption.model}",
            metric=metric,
            below=self.below,
            band=view.band,
            notes=[gap_note(gaps(result.runs, metric), view.axis, metric)] if view.axis else (),
        )


class Sweep(Study):
    """A study that varies one field of the configuration."""

    @abstractmethod
    def label(self, value: Any) -> str:
        """Of the condition with that value; labels differ where the values do."""

    def conditions(self, config: TrainConfig, values: Sequence[Any]) -> Conditions:
        (field,) = self.varied
        return [(self.label(value), config.but(**{field: value})) for value in values]

    def figure(self, result: StudyResult, view: View) -> Figure:
        return self.curves_figure(result, view)

    def measure(self) -> Measure:
        from fmnist_cli.runner.measured import training_figures

        return training_figures


class OtherStudy(Study):
    """What holds of any study: of the kinds that Python makes up, such as
    ``study("hidden", ...)``."""

    plot_name = "compare"
    title = "A study of one's own"
    question = "How do the conditions differ?"
    timed = True
    table_columns = (
        (Column("condition", numeric=False), lambda runs: runs[0].label),
        columns.BEST_EPOCH,
        columns.UPDATES_TO_BEST,
        columns.SECONDS_TO_BEST,
        columns.VAL_ACCURACY,
        columns.TEST_ACCURACY,
        columns.ENDED,
    )
    caption = "Validation accuracy and training loss by epoch."

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def table(self, result: StudyResult, view: View) -> Table:
        return columns.condition_table(result.study.name or self.kind, self.table_columns, result)

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
