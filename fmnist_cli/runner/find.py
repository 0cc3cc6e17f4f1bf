"""Which recorded runs a word means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fmnist_cli.analysis.explain import Observation, explain
from fmnist_cli.analysis.groups import Group
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.errors import RegistryError, Remedy, RunNotFound, UsageError
from fmnist_cli.registry import Registry, RunRecord, StudyRecord
from fmnist_cli.registry.queries import Reader
from fmnist_cli.runner.command_line import layers_file

LATEST = "latest"
TOLD_APART = {  # how two runs differ, in a legend
    "model": "{}", "engine": "{}", "batch": "batch {}", "lr": "lr {:g}",
    "momentum": "momentum {:g}", "hidden": "{} hidden units", "augment": "augment {}",
    "head": "head {}", "train_size": "{:,} images", "seed": "seed {}",
}  # fmt: skip


def find_fitting_run(
    registry: Reader,
    which: int | str,
    fits: Callable[[RunRecord], bool],
    must: str,
    remedy: Remedy = "list_runs",
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
    raise RunNotFound(f"the latest run must {must}. Received: no run that has.", remedy=remedy)


def find_groups(registry: Reader, names: Sequence[int | str]) -> list[Group]:
    """What ``names`` stand for: runs one by one, or groups of them.

    Parameters
    ----------
    names : sequence of int or str
        A run's id, uuid or ``latest``; ``study:ID`` for the arms of a study; ``tag:NAME`` for the
        runs with a tag.

    Raises
    ------
    UsageError
        When one stands for no run.
    """
    found: list[Group] = []
    several = sum(str(name).startswith("study:") for name in names) > 1
    for name in names:
        groups: dict[str, list[RunRecord]] = {}
        kind, colon, which = str(name).partition(":")
        if kind == "study" and colon and which.isascii() and which.isdecimal():
            prefix = f"study {which} " if several else ""
            for run in registry.study_runs(int(which)):
                groups.setdefault(f"{prefix}{run.arm or 'no arm'}", []).append(run)
        elif kind == "tag" and colon:
            if runs := registry.list_runs(tag=which):
                groups[which] = runs[::-1]
        else:
            run = registry.get_run(name)
            groups[f"run {run.id}" + (f" {run.name}" if run.name else "")] = [run]
        if not groups:
            raise UsageError(
                f"what is compared must have runs. Received: {name}, which has none.",
                remedy="list_runs",
            )
        found += [
            Group(label, tuple(recorded(registry, run) for run in runs))
            for label, runs in groups.items()
        ]
    return found


def told_apart(groups: Sequence[Group]) -> list[Group]:
    """The groups, single runs labelled with what differs between them beside their numbers."""
    single = [group.runs[0].run for group in groups if group.label.startswith("run ")]
    differ = [name for name in TOLD_APART if len({getattr(run, name) for run in single}) > 1]
    found = []
    for group in groups:
        run, parts = group.runs[0].run, []
        if group.label.startswith("run "):
            values = {name: getattr(run, name) for name in differ}
            parts = [TOLD_APART[n].format(v) for n, v in values.items() if v is not None]
            parts += layers_file(run.argv)
        label = f"{group.label}: {', '.join(parts)}" if parts else group.label
        found.append(replace(group, label=label))
    return found


def find_study(registry: Registry, kinds: Sequence[str], study_id: int | None) -> StudyRecord:
    """The study of that id, or else the newest of these kinds."""
    if study_id is not None:
        record = registry.get_study(study_id)
        if record.kind not in kinds:
            raise RegistryError(
                f"study {study_id} must be of kind {' or '.join(kinds)}. "
                f"Received: one of {record.kind}."
            )
        return record
    found = [study for kind in kinds if (study := registry.latest_study(kind)) is not None]
    if not found:
        kind, where = kinds[0], registry.display_name
        raise RegistryError(f"there is no {kind} study in {where} yet.", remedy="study", kind=kind)
    return max(found, key=lambda study: study.id)


def recorded(registry: Reader, run: RunRecord) -> RecordedRun:
    """A run with its epochs and evaluations."""
    epochs = registry.epochs(run.id)
    numbers = [epoch.epoch for epoch in epochs]
    if numbers != list(range(1, len(numbers) + 1)) or (run.best_epoch or 0) > len(numbers):
        raise RegistryError(
            f"run {run.id} must have its epochs 1, 2, ... without a gap. Received: one that has "
            "not.",
            remedy="verify",
            run_id=run.id,
        )
    return RecordedRun(run, epochs, registry.evaluations(run.id))


def explain_run(registry: Reader, run: RunRecord) -> Sequence[Observation]:
    """Why a run went as it did, beside the longest run on the same data that differs in its limit
    and its patience alone."""

    def fixed(one: RunRecord) -> tuple[object, ...]:
        config = {k: v for k, v in one.config.items() if k not in ("epochs", "patience")}
        return (*sorted(config.items()), one.data_fingerprint)

    others = [
        one
        for one in registry.list_runs(model=run.model)
        if one.epochs_run > run.epochs_run and fixed(one) == fixed(run) and one.best_epoch
    ]
    best = max(others, key=lambda one: one.epochs_run, default=None)
    longer = None if best is None else recorded(registry, best)
    return explain(recorded(registry, run), longer)


def has_weights(registry: Reader) -> Callable[[RunRecord], bool]:
    """Whether a run has saved its weights."""
    return lambda run: bool(registry.artefacts(run.id, kind="weights"))


def has_epochs(run: RunRecord) -> bool:
    """Whether a run has recorded an epoch."""
    return run.epochs_run > 0


def has_dynamics(registry: Reader) -> Callable[[RunRecord], bool]:
    """Whether a run has recorded each epoch's dynamics."""
    return lambda run: bool(registry.dynamics(run.id))
