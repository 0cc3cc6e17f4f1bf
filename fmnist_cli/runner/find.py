"""Which recorded run a word means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fmnist_cli.errors import RunNotFound

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord
    from fmnist_cli.registry.queries import Reader

LATEST = "latest"


def find_fitting_run(
    registry: Reader, which: int | str, fits: Callable[[RunRecord], bool], must: str
) -> RunRecord:
    """The run of that id or uuid; for ``latest`` the newest run that fits.

    Parameters
    ----------
    must : str
        What such a run has done, such as ``have saved its weights``.

    Raises
    ------
    RunNotFound
        When there is none.
    """
    if which != LATEST:
        return registry.get_run(which)
    registry.get_run(LATEST)  # an error of its own where there is no run at all
    for run in registry.list_runs():
        if fits(run):
            return run
    raise RunNotFound(f"the latest run must {must}. Received: no run that has.", remedy="list_runs")


def has_weights(registry: Reader) -> Callable[[RunRecord], bool]:
    """Whether a run has saved its weights."""
    return lambda run: bool(registry.artefacts(run.id, kind="weights"))


def has_epochs(run: RunRecord) -> bool:
    """Whether a run has recorded an epoch."""
    return run.epochs_run > 0


def has_dynamics(registry: Reader) -> Callable[[RunRecord], bool]:
    """Whether a run has recorded each epoch's dynamics."""
    return lambda run: bool(registry.dynamics(run.id))
