"""What the commands do, for Python: quiet unless a listener is given, and returning what it found.

Everything else that ``fmnist_cli`` offers is the engine's own; see ``fmnist_cli.__init__``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.groups import GroupsComparison, compare
from fmnist_cli.analysis.result import RecordedRun, StudyResult
from fmnist_cli.engine.config import USER_ENGINE, TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.gradients import E, Selection
from fmnist_cli.engine.ood_curves import CurveName
from fmnist_cli.errors import require
from fmnist_cli.files import writable_folder
from fmnist_cli.registry import Registry
from fmnist_cli.registry.queries import Reader
from fmnist_cli.runner import again, checks, find
from fmnist_cli.runner import study as studying
from fmnist_cli.runner.listener import Listener, Silent
from fmnist_cli.runner.run import Recipe, Session
from fmnist_cli.runner.shifted import evaluate_run
from fmnist_cli.runner.training import Extras, train_with_checks
from fmnist_cli.studies import View, study_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.report.write import WrittenReport

__all__ = [
    "answers_of",
    "check_gradient",
    "compare_runs",
    "evaluate_shifted",
    "figure_of",
    "read_run",
    "read_study",
    "record_training",
    "reproduce",
    "resume",
    "study",
    "write_report",
]


def record_training(
    config: TrainConfig,
    data: Dataset,
    registry: Registry,
    *,
    check_gradient: bool = False,
    check_magnitude: bool = False,
    dynamics: bool = False,
    test_every_epoch: bool = False,
    listener: Listener | None = None,
) -> RecordedRun:
    """Train one configuration as a recorded run, and read it back.

    Parameters
    ----------
    check_gradient, check_magnitude : bool
        First make these checks, and record them.
    dynamics : bool
        Record each layer's gradient norm and change, and the dead units, at every epoch.
    test_every_epoch : bool
        Evaluate the test set after every epoch as well.
    listener : Listener, optional
        Who hears of messages and progress, such as ``TqdmListener()``.

    Raises
    ------
    CheckFailed
        When a check does not hold; then nothing is trained.
    """
    training = train_with_checks(
        _session(data, registry, listener, "record_training(...)"),
        config,
        Extras(check_gradient, check_magnitude, dynamics, test_every_epoch),
    )
    return read_run(registry, training.recorded.run.id)


def study(
    kind: str,
    arms: Mapping[str, TrainConfig],
    data: Dataset,
    registry: Registry,
    *,
    seeds: int | Sequence[int] = 1,
    jobs: int = 1,
    scheduler: str | None = None,
    test_every_epoch: bool = False,
    reuse: bool = True,
    listener: Listener | None = None,
) -> StudyResult:
    """Train every arm, each as a recorded run, and read all of them back.

    Parameters
    ----------
    kind : str
        What is studied, by the name of its command: ``sweep-batch``, ``sweep-lr``, ``early-stop``,
        ``momentum``, ``ood`` or ``luck``, or ``sweep-grid``; ``answers_of`` and ``figure_of`` go by
        it.
    seeds : int >= 1, or a sequence of int
        How many runs of each arm, from the configurations' seed up; or their seeds.
    jobs : int >= 1
        Processes that train side by side; a script that uses them needs the guard
        ``if __name__ == "__main__"``.
    scheduler : str, optional
        The address of a Dask scheduler whose workers train instead.
    test_every_epoch : bool
        Evaluate the test set after every epoch as well; some kinds do by themselves.
    reuse : bool
        Take the same study on the same data from the registry if it is there. One that was
        interrupted is continued in either case.
    listener : Listener, optional
        Who hears of messages and progress, such as ``TqdmListener()``.

    Returns
    -------
    StudyResult
        ``runs``: what is recorded of each; ``answers_of`` says what follows;
        ``document()``: plain values.

    Raises
    ------
    FmnistError
        When a run failed; what is recorded stays.
    """
    known = study_of(kind)
    require(bool(arms), "arms must be at least one", "none")
    if isinstance(seeds, int):
        first = {config.seed for config in arms.values()}
        require(len(first) == 1, "arms must have one seed, or seeds be given", sorted(first))
        seeds = range(min(first), min(first) + seeds)
    result = studying.run_study(
        _session(data, registry, listener, f"study({kind!r}, ...)"),
        Recipe(kind, test_every_epoch or known.test_every_epoch, after=known.after(View())),
        list(arms.items()),
        seeds=seeds,
        executor=studying.executor_of(jobs, scheduler),
        reuse=reuse,
    )
    result.require_complete()
    return result


def resume(
    which: int | str, data: Dataset, registry: Registry, *, listener: Listener | None = None
) -> RecordedRun:
    """Train an interrupted run to its end, bit for bit as if it had not been interrupted.

    Parameters
    ----------
    which : int or str
        Its id, its uuid's beginning, or ``latest``.
    data : Dataset
        What it began with.

    Raises
    ------
    UsageError
        When it was not interrupted, belongs to a study, or began with other data.
    """
    recorded = again.resume_training(_session(data, registry, listener, "resume(...)"), which)
    return read_run(registry, recorded.run.id)


def reproduce(
    which: int | str, data: Dataset, registry: Registry, *, listener: Listener | None = None
) -> again.Reproduction:
    """Train a recorded configuration again, as a new run, and compare epoch by epoch."""
    session = _session(data, registry, listener, "reproduce(...)")
    return again.reproduce(session, again.reproducible(registry, which))


def evaluate_shifted(
    which: int | str,
    data: Dataset,
    registry: Registry,
    *,
    curves: Sequence[CurveName] = (),
    listener: Listener | None = None,
) -> RecordedRun:
    """Evaluate a run's weights on the test set and its shifted copies, as a new run.

    Parameters
    ----------
    which : int or str
        Its id, its uuid's beginning, or ``latest``: the latest run that saved its weights.
    data : Dataset
        What it was trained on.
    curves : sequence of ``shift`` and ``rotation``
        Also evaluate by distance, or by angle.

    Returns
    -------
    RecordedRun
        The new run; ``evaluations`` has one per test set.
    """
    fits, must = find.has_weights(registry), "have saved its weights"
    record = find.find_fitting_run(registry, which, fits, must)
    session = _session(data, registry, listener, "evaluate_shifted(...)")
    return read_run(registry, evaluate_run(session, record, curves).id)


def write_report(
    folder: str | Path,
    data: Dataset,
    registry: Registry,
    *,
    config: TrainConfig | None = None,
    seeds: int = 1,
    jobs: int = 1,
    quick: bool = False,
    why: bool = False,
    author: str = "",
    course: str = "",
    listener: Listener | None = None,
) -> WrittenReport:
    """Do the whole assignment as far as the registry does not have it, and write it up.

    Parameters
    ----------
    folder : str or Path
        For ``index.html``, ``report.md`` and the figures; made if it is absent.
    config : TrainConfig, optional
        Of the default training, which the parts vary.
    seeds : int >= 1
        Of every study, from the configuration's own up.
    jobs : int >= 1
        Processes that train side by side; what is timed is trained alone.
    quick : bool
        Fewer images and epochs; ``data`` must have as many images as ``quick_config`` takes.
    why : bool
        Also test the causes of each effect.
    author, course : str
        Named in the heading.
    """
    from fmnist_cli.report import write
    from fmnist_cli.report.work import Work, quick_config

    config = config or TrainConfig()
    config = quick_config(config) if quick else config
    session = _session(data, registry, listener, "write_report(...)")
    numbers = tuple(range(config.seed, config.seed + seeds))
    work = Work(session, config, numbers, studying.executor_of(jobs), quick, why)
    return write.write_report(
        work, writable_folder(Path(folder), "folder"), author=author, course=course
    )


def read_run(registry: Reader, which: int | str) -> RecordedRun:
    """A run with its epochs and evaluations.

    Parameters
    ----------
    which : int or str
        Its id, its uuid's beginning, or ``latest``.
    """
    return find.recorded(registry, registry.get_run(which))


def read_study(registry: Registry, study_id: int) -> StudyResult:
    """A study and its runs with a result."""
    return studying.read_study(registry, registry.get_study(study_id))


def compare_runs(registry: Reader, which: Sequence[int | str]) -> GroupsComparison:
    """Compare runs, or groups of them, with the first: what was asked, where, what came out.

    Parameters
    ----------
    which : sequence of int or str
        At least two: a run's id, its uuid's beginning, or ``latest``; ``study:ID`` for the arms of
        a study; ``tag:NAME`` for the runs with a tag.

    Returns
    -------
    GroupsComparison
        ``facts`` that differ or not; ``outcomes`` with their intervals; ``differences`` from the
        first group, judged; ``document()``: plain values.
    """
    groups = find.find_groups(registry, which)
    received = " ".join(map(str, which))
    require(len(groups) >= 2, "compare needs at least two runs or groups", received)
    runs = [run.run for group in groups for run in group.runs]
    layers = {
        run.id: f"{Path(kept.path).name} ({kept.sha256[:12]})"
        for run in runs
        if run.engine == USER_ENGINE
        for kept in registry.artefacts(run.id, kind="layers")
    }
    return compare(groups, registry.environments([run.id for run in runs]), layers)


def figure_of(
    found: StudyResult | RecordedRun | GroupsComparison, *, patiences: Sequence[int] = (3,)
) -> Figure:
    """The figure that belongs to a study's kind, of a run, or of the runs that are compared.

    ``plots.save`` writes it to a file; ``plots.to_svg`` gives it to a page.

    Parameters
    ----------
    patiences : sequence of int
        Marked on the curve of an ``early-stop`` study.
    """
    from fmnist_cli.plots.from_records import groups_figure, run_figure

    if isinstance(found, RecordedRun):
        return run_figure(found)
    if isinstance(found, GroupsComparison):
        return groups_figure(found.groups)
    return study_of(found.study.kind).figure(found, View(patiences=tuple(patiences)))


def answers_of(result: StudyResult, *, patiences: Sequence[int] = (3,)) -> tuple[Answer, ...]:
    """The questions of a study's kind, each with its verdict and its statement, as the command
    gives them.

    ``luck`` needs arms that differ in ``init_seed``; ``sweep-grid``, in ``batch`` and ``lr``.

    Parameters
    ----------
    patiences : sequence of int
        Judged on the curve of an ``early-stop`` study.
    """
    return study_of(result.study.kind).answers(result, View(patiences=tuple(patiences)))


def check_gradient(
    config: TrainConfig, data: Dataset, *, n: int = 5, e: float = E, select: Selection = "first"
) -> checks.GradientReport:
    """Compare the model's backpropagation with central differences, in float64.

    Parameters
    ----------
    n : int >= 1
        Training examples, from the first on.
    e : float > 0
        Step of the difference.
    select
        ``first`` entry of each parameter, a number of entries of each, or ``all``.

    Returns
    -------
    GradientReport
        ``holds``; ``summary``, the whole check in numbers; ``rows``, entry by entry.
    """
    return checks.check_gradient(config, data.train, n=n, e=e, select=select)


def _session(data: Dataset, registry: Registry, listener: Listener | None, call: str) -> Session:
    """A session whose runs record the call."""
    return Session(registry, data, listener or Silent(), argv=(f"fmnist_cli.{call}",))
