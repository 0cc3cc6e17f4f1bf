"""The studies and checks of the commands, for Python: quiet, and returning what they found.

Everything else that ``fmnist_cli`` offers is the engine's own; see ``fmnist_cli.__init__``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.gradients import E

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import StudyResult
    from fmnist_cli.commands._checks import GradientReport
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.gradients import Selection
    from fmnist_cli.registry import Registry

__all__ = ["check_gradient", "figure_of", "study"]


def study(
    kind: str,
    arms: Mapping[str, TrainConfig],
    data: Dataset,
    registry: Registry,
    *,
    seeds: int = 1,
    jobs: int = 1,
    scheduler: str | None = None,
    test_every_epoch: bool = False,
    reuse: bool = True,
) -> StudyResult:
    """Train every arm, each as a recorded run, and read all of them back.

    Parameters
    ----------
    kind : str
        What is studied, by the name of its command: ``sweep-batch``, ``early-stop``, ``momentum``
        or ``ood``; ``figure_of`` draws by it.
    arms : mapping from label to TrainConfig
    seeds : int >= 1
        Runs of each arm, from its configuration's seed up.
    jobs : int >= 1
        Processes that train side by side; a script that uses them needs the guard
        ``if __name__ == "__main__"``.
    scheduler : str, optional
        The address of a Dask scheduler whose workers train instead.
    test_every_epoch : bool
        Evaluate the test set after every epoch as well.
    reuse : bool
        Take the same study on the same data from the registry if it is there. One that was
        interrupted is continued in either case.

    Returns
    -------
    StudyResult
        ``runs``: what is recorded of each, which ``sweep_answers`` and the
        like take; ``document()``: plain values.

    Raises
    ------
    FmnistError
        When a run failed; what is recorded stays.
    """
    from fmnist_cli.runner.cluster import Cluster
    from fmnist_cli.runner.processes import Processes
    from fmnist_cli.runner.run import Session
    from fmnist_cli.runner.study import run_study

    first = next(iter(arms.values())).seed
    result = run_study(
        Session(registry, data, argv=(f"fmnist_cli.study({kind!r}, ...)",)),
        kind,
        list(arms.items()),
        seeds=range(first, first + seeds),
        executor=Cluster(scheduler) if scheduler else Processes(jobs),
        test_every_epoch=test_every_epoch,
        reuse=reuse,
    )
    result.require_complete()
    return result


def figure_of(result: StudyResult, *, patiences: Sequence[int] = (3,)) -> Figure:
    """The figure that belongs to the study's kind; ``plots.save`` writes it.

    Parameters
    ----------
    patiences : sequence of int
        Marked on the curve of an ``early-stop`` study.
    """
    from fmnist_cli.plots.from_records import study_figure

    return study_figure(result, patiences=patiences)


def check_gradient(
    config: TrainConfig, data: Dataset, *, n: int = 5, e: float = E, select: Selection = "first"
) -> GradientReport:
    """Compare the model's backpropagation with central differences, in float64.

    Parameters
    ----------
    n : int >= 1
        Training examples, from the first on.
    e : float > 0
        Step of the difference.
    select
        ``first`` entry of each parameter, so many entries of each, or ``all``.

    Returns
    -------
    GradientReport
        ``holds``; ``summary``, the whole check in numbers; ``rows``, entry by entry.
    """
    from fmnist_cli.commands._checks import check_gradient

    return check_gradient(config, data.train, n=n, e=e, select=select)
