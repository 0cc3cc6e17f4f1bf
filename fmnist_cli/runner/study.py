"""A study: the same training with one thing varied, recorded as runs that belong together.

A study that was stopped continues where it stopped: started again with the same configuration on
the same data, it trains only the runs that have no result yet. A run that fails keeps no other
from being trained.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from fmnist_cli.analysis.result import StudyResult
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import Kept, UsageError, require
from fmnist_cli.formatting import pluralize
from fmnist_cli.registry import Registry, RunRecord, StudyRecord
from fmnist_cli.registry.liveness import one_at_a_time
from fmnist_cli.registry.resume import RESUMABLE
from fmnist_cli.runner.find import recorded
from fmnist_cli.runner.jobs import (
    Done,
    Events,
    Executor,
    Failed,
    InProcess,
    Job,
    JobProgress,
    Message,
)
from fmnist_cli.runner.listener import Listener, ProgressBar
from fmnist_cli.runner.run import Recipe, Session, StudyCondition, note_on_interrupt

MOST_RUNS = 2500  # of a study, whose row in the registry has the configuration of each
SIDE_BY_SIDE = ("jobs", "cluster")  # what a study's configuration says of how it was trained
WAIT_SECONDS = 0.2  # between two looks at who trains a study
WITH_RESULT = ("finished", "diverged")

Arms = Sequence[tuple[str, "TrainConfig"]]  # label, configuration
Key = tuple[str, int]  # label, seed


def run_study(
    session: Session,
    recipe: Recipe,
    arms: Arms,
    *,
    seeds: Sequence[int],
    executor: Executor | None = None,
    new: bool = False,
    measured: Mapping[str, Any] | None = None,
    reuse: bool = False,
    more_seeds: bool = False,
    timed: bool = True,
) -> StudyResult:
    """Train every arm with every seed, unless it has a result already, and read all back.

    Parameters
    ----------
    recipe : Recipe
        How every run is trained; its command is the study's kind, such as ``sweep-batch``.
    arms : sequence of (label, configuration)
        Labels differ; the configurations' own seeds do not count.
    seeds : sequence of int
        Of every arm.
    executor : Executor, default InProcess()
        Who trains.
    new : bool
        Begin a new study even where one could be continued.
    measured
        What else the study asks for, for one that asks for less is not continued.
    reuse
        Take a study that is complete as it is, instead of measuring anew.
    more_seeds
        With ``reuse``: take one that is complete with these seeds and more, and all of its runs.
    timed
        Whether a result is a time, so that runs side by side do not stand in for others.

    Raises
    ------
    FmnistError
        When no run has a result.
    """
    require_size(len(arms), seeds)
    executor = InProcess() if executor is None else executor
    registry, listener, kind = session.registry, session.listener, recipe.command
    executor.check(session)

    def ask(seeds: Sequence[int]) -> dict[str, Any]:
        return {
            "runs": [
                [label, asdict(config.but(seed=seed))] for label, config in arms for seed in seeds
            ],
            "data_fingerprint": session.dataset.fingerprint,
            **(measured or {}),
            **executor.recorded,  # times taken side by side are not mixed with others
        }

    if reuse and more_seeds:
        for found in registry.list_studies(kind=kind):
            there = StudyResult(found, ()).seeds
            if set(seeds) < set(there) and _same_study(
                registry, kind, ask(there), reuse=True, timed=timed, complete=True
            ):
                seeds = there
                break
    asked = ask(seeds)
    runs = {(label, seed): config.but(seed=seed) for label, config in arms for seed in seeds}
    listener.warning(registry.warning)
    with _alone(session, kind, asked):
        study = None if new else _same_study(registry, kind, asked, reuse=reuse, timed=timed)
        if study is None:
            study = registry.study(kind, asked, arms=[label for label, _ in arms])
        _await_other_machines(session, study)
        failures = _train_missing(session, study, runs, executor, recipe)
    result = replace(read_study(registry, study), failures=tuple(failures))
    if not result.runs:
        result.require_complete()
    return result


def _alone(session: Session, kind: str, asked: Mapping[str, Any]) -> AbstractContextManager[None]:
    """For the one process that trains a study; while another does, it waits, and says who."""
    registry = session.registry
    wait = _waiter(session, lambda: _same_study(registry, kind, asked, reuse=False, timed=True))
    digest = hashlib.sha256(json.dumps([kind, asked], sort_keys=True).encode()).hexdigest()
    return one_at_a_time(registry.files / "locks" / f"study-{digest[:16]}.lock", wait)


def _await_other_machines(session: Session, study: StudyRecord) -> None:
    """Wait for runs that processes train which do not share this machine's locks."""
    wait = _waiter(session, lambda: study)
    while any(run.status == "running" for run in session.registry.study_runs(study.id)):
        wait()


def _waiter(session: Session, find: Callable[[], StudyRecord | None]) -> Callable[[], None]:
    """What waits a moment, and the first time says who trains the study that ``find`` finds."""

    @cache
    def tell() -> None:
        study = find()
        runs = session.registry.study_runs(study.id) if study else []
        where = [f"process {r.pid} on {r.host} (run {r.id})" for r in runs if r.status == "running"]
        which = f"Study {study.id}" if study else "The same study"
        by = ", ".join(where) or "another process"
        session.listener.message(f"{which} is being trained by {by}; waiting for it.")

    def wait() -> None:
        tell()
        time.sleep(WAIT_SECONDS)

    return wait


def _train_missing(
    session: Session,
    study: StudyRecord,
    runs: Mapping[Key, TrainConfig],
    executor: Executor,
    recipe: Recipe,
) -> list[str]:
    """Train the runs that have no result yet, and return the failures."""
    registry, listener = session.registry, session.listener
    interrupted = _interrupted(registry, study)
    done = _results(registry, study)
    if len(done) == len(runs):
        listener.message(f"Study {study.id} is complete: {pluralize(len(runs), 'run')}.")
    elif done:
        listener.message(f"Continuing study {study.id}: {len(done)} of {len(runs)} runs are done.")
    several_seeds = len(runs) > len(study.arms)
    jobs = []
    for (label, seed), config in runs.items():
        if (label, seed) not in done:
            name = f"{label}, seed {seed}" if several_seeds else label
            begun = interrupted.get((label, seed))
            run_uuid = begun.uuid if begun else uuid.uuid4().hex
            jobs.append(Job(name, config, StudyCondition(study.id, label), run_uuid, begun))

    def kept() -> Kept:
        n = len(_results(registry, study))
        results = f"{n} of {pluralize(len(runs), 'run')}"
        text = f"study {study.id} keeps {results}, and the epochs of what was under way"
        return Kept(text, repeat=True)

    progress = listener.progress(len(runs), recipe.command, unit="run", initial=len(done))
    events = executor.run(session, jobs, recipe)
    with note_on_interrupt(kept), progress as bar, closing(events):
        return _follow(events, listener, bar)


def _follow(events: Events, listener: Listener, bar: ProgressBar) -> list[str]:
    """Pass on what happens, and return the failures: each the job's name and why."""
    failures = []
    under_way: dict[str, str] = {}
    for event in events:
        match event:
            case Message(text):
                listener.message(text)
            case JobProgress(name, epoch, epochs):
                under_way[name] = f"{name} {epoch}/{epochs}" if epoch else name
            case Done(name) | Failed(name):
                if isinstance(event, Failed):
                    failures.append(f"{name}: {event.message}")
                    if event.trace:
                        listener.message(event.trace)
                under_way.pop(name, None)
                bar.update()
        bar.status("; ".join(under_way.values()))
    return failures


def require_size(n_arms: int, seeds: Sequence[int]) -> None:
    """UsageError for a study of more runs than a registry can hold."""
    n = n_arms * len(seeds)
    received = f"{n:,}, {n_arms:,} settings with {pluralize(len(seeds), 'seed')}"
    require(n <= MOST_RUNS, f"a study must have at most {MOST_RUNS:,} runs", received)


def executor_of(jobs: int, scheduler: str | None = None) -> Executor:
    """Who trains the runs: this process, several, or the workers of a Dask scheduler."""
    if scheduler is not None:
        from fmnist_cli.runner.cluster import Cluster

        cluster = Cluster(scheduler)
        cluster.require_scheduler()
        return cluster
    if jobs > 1:
        from fmnist_cli.runner.processes import Processes

        return Processes(jobs)
    return InProcess()


def read_study(registry: Registry, study: StudyRecord) -> StudyResult:
    """The study's newest result of each arm and seed."""
    place = {arm: i for i, arm in enumerate(study.arms)}
    found = sorted(_results(registry, study).items(), key=lambda item: (place[item[0][0]], item[0]))
    return StudyResult(study, tuple(recorded(registry, run) for _, run in found))


def overview(registry: Registry, study: StudyRecord) -> dict[str, Any]:
    """What a study compares, and how many of its runs have a result, as plain values."""
    runs = registry.list_runs(study_id=study.id)
    asked = {(arm, config["seed"]) for arm, config in study.config.get("runs", ())}
    asked = asked or {(run.arm, run.seed) for run in runs}  # one that Python began by itself
    there = {(run.arm, run.seed) for run in runs if run.status in WITH_RESULT}
    return {
        "id": study.id,
        "uuid": study.uuid,
        "kind": study.kind,
        "name": study.name,
        "arms": list(study.arms),
        "seeds": sorted({seed for _, seed in asked}),
        "runs_with_result": len(there & asked),
        "runs_asked": len(asked),
        "created_at": study.created_at,
        "jobs": study.config.get("jobs", 1),
    }


def _same_study(
    registry: Registry,
    kind: str,
    asked: Mapping[str, Any],
    *,
    reuse: bool,
    timed: bool,
    complete: bool = False,
) -> StudyRecord | None:
    """The newest study that asked for exactly this, if it can be continued; to be reused, also one
    that is complete (``complete``: only such), and if times do not matter, one whose runs were
    trained side by side."""

    def numbers(config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in config.items() if name not in SIDE_BY_SIDE}

    def is_complete(study: StudyRecord) -> bool:
        return len(_results(registry, study)) == len(asked["runs"])

    for study in registry.list_studies(kind=kind):
        if dict(study.config) == asked and (is_complete(study) or not complete):
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


def _interrupted(registry: Registry, study: StudyRecord) -> dict[Key, RunRecord]:
    """The newest run of each arm and seed that can continue, if only from its start."""
    found = {}
    for run in registry.study_runs(study.id):
        if run.arm is not None and run.status in RESUMABLE:
            with suppress(UsageError):  # its journal may turn out to hold its end
                found[run.arm, run.seed] = registry.resumable(run.id)
    return found
