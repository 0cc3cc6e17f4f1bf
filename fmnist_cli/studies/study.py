"""What a study is.

Nothing heavy is imported here: the command line reads values and defaults at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.answers import Answer
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.why.causes import Explanation
    from fmnist_cli.engine.backend import Arrays
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.ood_curves import CurveName
    from fmnist_cli.epoch import Axis, Metric
    from fmnist_cli.plots import Band
    from fmnist_cli.runner.jobs import Executor
    from fmnist_cli.runner.measured import Measure
    from fmnist_cli.runner.run import After, Recipe, Session
    from fmnist_cli.tables import Table

Conditions = list[tuple[str, "TrainConfig"]]
Figures = Mapping[int, Mapping[str, float]]  # what was measured of each run, by its id


@dataclass(frozen=True)
class View:
    """How a study's result is looked at; nothing of it changes what is trained.

    Attributes
    ----------
    patiences : of an early-stopping study
    curves : of a study of shifted images, which must have measured them
    metric : whose curves are drawn; None for the study's own choice
    band : what several seeds are drawn as
    axis : what curves are drawn against; None for the study's own figure
    every_epoch : whether the details have every epoch's numbers
    """

    patiences: tuple[int, ...] = (3,)
    curves: tuple[CurveName, ...] = ()
    metric: Metric | None = None
    band: Band = "ci"
    axis: Axis | None = None
    every_epoch: bool = False

    def __post_init__(self) -> None:
        least = min(self.patiences, default=1)
        require(least >= 1, "patience must be at least 1", least)

    @property
    def curves_word(self) -> str:
        """What ``--curve`` is given for the curves."""
        return "both" if len(self.curves) > 1 else self.curves[0]


@dataclass(frozen=True, kw_only=True)
class Study:
    """One thing varied, what is measured of it, and how it is shown.

    Attributes
    ----------
    kind : str
        As registries record it: the name of the command.
    plot_name : str
        What follows ``fmnist plot``.
    part : str
        Where it stands in the assignment.
    conditions : callable
        From a configuration and the values that are compared to labels and configurations.
    table : callable
        The study's one table.
    caption : str
        Of the figure.
    alt : callable
        What the figure shows, for those who do not see it.
    option, values
        The command's own option, and its values where none is given.
    unfit : callable
        Why a value cannot be trained with this configuration; empty where it can.
    defaults : mapping
        Where the study's configuration differs from that of ``fmnist train``.
    details : callable
        Further tables, of the command alone.
    document : callable
        What ``--json`` has beside the runs, the table and the answers.
    why : callable
        The conditions that test the causes of what was found, as labels and configurations.
    measure : callable or None
        What is measured on the weights of each of the study's runs, as in ``measure_runs``.
    explain : callable
        From the result, the runs of those conditions and what was measured, by run, to each
        question's causes.
    test_every_epoch, after
        What is measured, as in ``run_study``.
    metric : str
        Whose curves are drawn where nothing else is asked for.
    timed : bool
        Whether a result is a time, so that runs side by side are no substitute.
    """

    kind: str
    plot_name: str
    title: str
    question: str
    part: str = ""
    conditions: Callable[[TrainConfig, Sequence[Any]], Conditions]
    table: Callable[[StudyResult, View], Table]
    figure: Callable[[StudyResult, View], Figure]
    caption: str
    alt: Callable[[StudyResult, View], str]
    option: str = ""
    values: tuple[Any, ...] = ()
    unfit: Callable[[TrainConfig, Any], str] = lambda config, value: ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    details: Callable[[StudyResult, View], list[Table]] = lambda result, view: []
    answers: Callable[[StudyResult, View], tuple[Answer, ...]] = lambda result, view: ()
    document: Callable[[StudyResult, View], dict[str, Any]] = lambda result, view: {}
    why: Callable[[StudyResult, TrainConfig], Conditions] = lambda result, config: []
    measure: Measure | None = None
    explain: Callable[
        [StudyResult, Sequence[RecordedRun], Figures, View], tuple[Explanation, ...]
    ] = lambda result, why, figures, view: ()
    test_every_epoch: bool = False
    after: Callable[[View], After | None] = lambda view: None
    metric: Metric = "val_accuracy"
    timed: bool = False

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
        *,
        seeds: Sequence[int],
        executor: Executor | None = None,
        new: bool = False,
        reuse: bool = False,
        more_seeds: bool = False,
    ) -> StudyResult:
        """Train every condition with every seed; see ``run_study``."""
        from fmnist_cli.runner.study import run_study

        return run_study(
            session,
            self._recipe(view),
            self.conditions(config, values),
            seeds=seeds,
            executor=executor,
            new=new,
            reuse=reuse,
            more_seeds=more_seeds,
            measured={"curves": list(view.curves)} if view.curves else None,
            timed=self.timed,
        )

    def explained(
        self,
        session: Session,
        config: TrainConfig,
        result: StudyResult,
        view: View,
        *,
        seeds: Sequence[int],
        executor: Executor | None = None,
        new: bool = False,
    ) -> tuple[tuple[Explanation, ...], tuple[RecordedRun, ...]]:
        """Each question with its causes, and the runs that tested them.

        The conditions that test the causes are trained as a study of their own, with the same
        seeds; what is measured on weights is measured on those that the runs kept.
        """
        from fmnist_cli.runner.measured import measure_runs
        from fmnist_cli.runner.study import run_study

        runs: tuple[RecordedRun, ...] = ()
        if conditions := self.why(result, config):
            found = run_study(
                session,
                self._recipe(view, "-why"),
                conditions,
                seeds=seeds,
                executor=executor,
                new=new,
                reuse=True,
                timed=False,
            )
            found.require_complete()
            runs = found.runs
        figures = {} if self.measure is None else measure_runs(session, result.runs, self.measure)
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


def measure_training(session: Session, run: RecordedRun, weights: Arrays) -> dict[str, float]:
    """What bears on a training: see ``training_figures``."""
    from fmnist_cli.runner.measured import training_figures

    return training_figures(session, run, weights)


def curves_figure(
    result: StudyResult,
    view: View,
    what: str,
    *,
    varied: Sequence[str],
    name: Callable[[RecordedRun], str],
    order: Callable[[RecordedRun], float] | None = None,
    metric: Metric,
    below: Metric,
) -> Figure:
    """One line per condition, against the axis that is asked for, with how far apart they lie.

    Parameters
    ----------
    what : str
        What is varied, as the title names it; ``varied`` are its fields, ``name`` and ``order``
        those of a line.
    metric, below : str
        The curves above, unless the view asks for others, and below.
    """
    from fmnist_cli import plots
    from fmnist_cli.analysis.axes import gap_note, gaps
    from fmnist_cli.plots.from_records import lines_of, study_caption

    caption = study_caption(result, varied=varied)
    metric = view.metric or metric
    return plots.conditions_figure(
        lines_of(result, name, order, view.axis or "epoch"),
        caption,
        title=f"{what} and the training of {caption.model}",
        metric=metric,
        below=below,
        band=view.band,
        notes=[gap_note(gaps(result.runs, metric), view.axis, metric)] if view.axis else (),
    )
