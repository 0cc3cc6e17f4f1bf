"""A study: the same training with one thing varied, recorded as runs that belong together.

A study that was stopped goes on where it stopped: started again with the same configuration on
the same data, it trains only the runs that have no result yet. A run that fails keeps no other
from being trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fmnist_cli.analysis.result import RecordedRun, StudyResult
from fmnist_cli.commands._options import LOCAL
from fmnist_cli.errors import FmnistError, UsageError
from fmnist_cli.formatting import pluralize
from fmnist_cli.host import cpus_usable
from fmnist_cli.runner.cluster import check_cluster, train_on_cluster
from fmnist_cli.runner.processes import Job, Shared, train_job, train_side_by_side
from fmnist_cli.runner.run import Arm, again, argv, noted

if TYPE_CHECKING:
    from fmnist_cli import analysis as answers
    from fmnist_cli.commands._options import StudyOptions
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.registry import Registry, RunRecord, StudyRecord
    from fmnist_cli.runner.run import After

SIDE_BY_SIDE = ("jobs", "cluster")  # what a study's configuration says of how it was trained
WITH_RESULT = ("finished", "diverged")

Arms = Sequence[tuple[str, "TrainConfig"]]  # label, configuration
Key = tuple[str, int]  # label, seed


def run_study(
    kind: str,
    arms: Arms,
    data: Dataset,
    registry: Registry,
    out: Output,
    options: StudyOptions,
    *,
    test_every_epoch: bool = False,
    dynamics: bool = False,
    after: After | None = None,
    measured: Mapping[str, Any] | None = None,
    reuse: bool = False,
    timed: bool = True,
) -> StudyResult:
    """Train every arm with every seed, unless it has a result already, and read all back.

    Parameters
    ----------
    kind : str
        The command, such as ``sweep-batch``.
    arms : sequence of (label, configuration)
        Labels differ.
    dynamics, after
        As in ``train_recorded``; where other processes train, ``after`` must be a function of a
        module.
    measured
        What else the study asks for, for one that asks for less is not continued.
    reuse
        Take a study that is complete as it is, instead of measuring anew.
    timed
        Whether a result is a time, so that runs side by side do not stand in for others.

    Raises
    ------
    FmnistError
        When no run has a result.
    """
    runs = {
        (label, seed): config.but(seed=seed)
        for label, config in arms
        for seed in options.seeds_from(config.seed)
    }
    asked = {
        "runs": [[label, asdict(config)] for (label, _), config in runs.items()],
        "data_fingerprint": data.fingerprint,
        **(measured or {}),
    }
    jobs, scheduler = options.jobs, options.scheduler
    if scheduler is not None:
        check_cluster(scheduler, registry, out)
        asked["cluster"] = True
        if scheduler == LOCAL and jobs == 1:
            jobs = cpus_usable() or 1
    if jobs > 1:
        asked["jobs"] = jobs  # times taken side by side are not mixed with others
    out.caution(registry.caution)
    study = None if options.new else _same_study(registry, kind, asked, reuse=reuse, timed=timed)
    if study is None:
        study = registry.study(kind, asked, arms=[label for label, _ in arms])
    cut_short = _cut_short(registry, study)
    done = _results(registry, study)
    if len(done) == len(runs):
        out.say(f"Taking study {study.id} as it is: its {len(runs)} runs are done.")
    elif done:
        out.say(f"Continuing study {study.id}: {len(done)} of {len(runs)} runs are done.")
    several_seeds = len(runs) > len(arms)
    todo = [
        Job(
            f"{label}, seed {seed}" if several_seeds else label,
            config,
            Arm(study.id, label),
            cut_short.get((label, seed)),
        )
        for (label, seed), config in runs.items()
        if (label, seed) not in done
    ]
    shared = Shared(
        command=kind,
        db=registry.target,
        data_folder=data.folder,
        data_source=data.source,
        data_fingerprint=data.fingerprint,
        argv=argv(kind),
        test_every_epoch=test_every_epoch,
        dynamics=dynamics,
        after=after,
    )

    def kept() -> str:
        n = len(_results(registry, study))
        runs_kept = f"{n} of {pluralize(len(runs), 'run')}, and the epochs of what was under way"
        return f"study {study.id} keeps {runs_kept}; go on with: {again(kind)}"

    with noted(kept), out.bar(len(runs), kind, unit="run", initial=len(done), position=0) as bar:
        if scheduler is not None:
            failures = train_on_cluster(todo, shared, scheduler, jobs, out, bar)
        elif jobs > 1:
            failures = train_side_by_side(todo, shared, jobs, out, bar)
        else:
            failures = []
            for job in todo:
                bar.set_description_str(f"{kind}: {job.name}")
                try:
                    train_job(job, shared, data, registry, out)
                except FmnistError as error:
                    failures.append(f"{job.name}: {error}")
                bar.update()
    result = replace(read_study(registry, study), failures=tuple(failures))
    if not result.runs:
        result.require_complete()
    return result


def read_study(registry: Registry, study: StudyRecord) -> StudyResult:
    """The study's newest result of each arm and seed."""
    place = {arm: i for i, arm in enumerate(study.arms)}
    found = sorted(_results(registry, study).items(), key=lambda item: (place[item[0][0]], item[0]))
    return StudyResult(
        study,
        tuple(
            RecordedRun(run, registry.epochs(run.id), registry.evaluations(run.id))
            for _, run in found
        ),
    )


def mean_and_spread(values: Iterable[float | None], show: Callable[[float], str]) -> str:
    """One value as it is; several as their mean and standard deviation; a dash for none."""
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    if len(present) == 1:
        return show(present[0])
    return f"{show(fmean(present))} ± {show(stdev(present))}"


def times_note(result: StudyResult) -> list[str]:
    """What a table with times must say of them, if they were taken side by side."""
    if result.on_cluster:
        return [
            "[yellow]The times were taken on a Dask cluster (--scheduler), where machines may "
            "differ and runs slow each other down.[/yellow]"
        ]
    if result.jobs == 1:
        return []
    return [
        f"[yellow]The times were taken with {result.jobs} runs side by side (--jobs), which "
        "slows each of them down.[/yellow]"
    ]


def show_answers(out: Output, given: Sequence[answers.Answer]) -> None:
    """Print each question with its answer."""
    from rich.markup import escape

    for answer in given:
        out.section(escape(answer.question), escape(answer.statement))


def answers_document(given: Sequence[answers.Answer]) -> list[dict[str, Any]]:
    return [asdict(answer) for answer in given]


def _same_study(
    registry: Registry, kind: str, asked: dict[str, Any], *, reuse: bool, timed: bool
) -> StudyRecord | None:
    """The newest study that asked for exactly this, if it can go on; to be reused, also one that
    is complete, and if times do not matter, one whose runs were trained side by side."""

    def numbers(config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in config.items() if name not in SIDE_BY_SIDE}

    def is_complete(study: StudyRecord) -> bool:
        return len(_results(registry, study)) == len(asked["runs"])

    for study in registry.list_studies(kind=kind):
        if dict(study.config) == asked:
            return study if reuse or not is_complete(study) else None
        same_numbers = reuse and not timed and numbers(study.config) == numbers(asked)
        if same_numbers and is_complete(study):
            return study
    return None


def _results(registry: Registry, study: StudyRecord) -> dict[Key, RunRecord]:
    return {
        (run.arm, run.seed): run
        for run in registry.study_runs(study.id)
        if run.arm is not None and run.status in WITH_RESULT
    }


def _cut_short(registry: Registry, study: StudyRecord) -> dict[Key, RunRecord]:
    """The newest run of each arm and seed that can go on from a checkpoint of its own."""
    from fmnist_cli.engine.checkpoint import Checkpoints
    from fmnist_cli.registry.resume import RESUMABLE

    found = {}
    for run in registry.study_runs(study.id):
        checkpoints = Checkpoints(registry.run_folder(run))
        if run.arm is not None and run.status in RESUMABLE and checkpoints.exist:
            with suppress(UsageError):  # its journal may turn out to hold its end
                found[run.arm, run.seed] = registry.resumable(run.id)
    return found
