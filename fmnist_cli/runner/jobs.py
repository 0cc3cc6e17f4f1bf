"""The runs of a study as jobs, and who trains them.

An executor takes jobs and yields what happens to them; `InProcess` trains them here, one after the
other, `processes.Processes` and `cluster.Cluster` elsewhere. `run_study` is the one that reads the
events.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from fmnist_cli import host
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset, load
from fmnist_cli.engine.keras_models.runtime import limit_pool
from fmnist_cli.engine.numpy_mlp.threads import use_single_thread
from fmnist_cli.errors import DataError, FmnistError, RunNotFound, shortage
from fmnist_cli.registry import Registry, RunRecord
from fmnist_cli.runner.listener import ProgressBar, Silent, SilentBar
from fmnist_cli.runner.run import (
    Recipe,
    Session,
    StudyCondition,
    summary_line,
    train_recorded,
)

HELD_SECONDS = 5.0  # how long the kernel may take to free what a dead process held


@dataclass(frozen=True)
class Job:
    """One run to train, or one that was interrupted to continue.

    Attributes
    ----------
    name : str
        What messages call it.
    run_uuid : str
        Of the run that it begins or continues: by it a second worker finds what the first one
        began.
    """

    name: str
    config: TrainConfig
    condition: StudyCondition
    run_uuid: str
    resume: RunRecord | None = None


# What happens to jobs


@dataclass(frozen=True)
class Message:
    """Something to tell the user."""

    text: str


@dataclass(frozen=True)
class JobProgress:
    """How far a job has come."""

    name: str
    epoch: int
    epochs: int


@dataclass(frozen=True)
class Done:
    """A job has its result."""

    name: str


@dataclass(frozen=True)
class Failed:
    """Why a job has none, in one line; and the traceback of a bug."""

    name: str
    message: str
    trace: str = ""

    @classmethod
    def by(cls, name: str, error: Exception) -> Failed:
        """What is told of an error that is being handled."""
        line = str(error) if isinstance(error, FmnistError) else shortage(error)
        if line is not None:
            return cls(name, line)
        return cls(name, f"{type(error).__name__}: {error}", traceback.format_exc().rstrip())


Event = Message | JobProgress | Done | Failed
Events = Generator[Event, None, None]


class Executor:
    """Who trains the jobs of a study."""

    @property
    def recorded(self) -> Mapping[str, Any]:
        """What the study's configuration says of it, for times depend on it."""
        return {}

    def check(self, session: Session) -> None:
        """Refuse a session whose jobs it could not train, before anything is recorded."""

    def run(self, session: Session, jobs: Sequence[Job], recipe: Recipe) -> Events:
        """Train every job, each to ``Done`` or ``Failed``; closing it interrupts those under way.

        A job that fails does not keep the others from being trained.
        """
        raise NotImplementedError


class InProcess(Executor):
    """Trains one job after the other, in this process."""

    def run(self, session: Session, jobs: Sequence[Job], recipe: Recipe) -> Events:
        for job in jobs:
            yield JobProgress(job.name, 0, job.config.epochs)
            try:
                train_job(session, job, recipe)
            except FmnistError as error:
                yield Failed.by(job.name, error)
            else:
                yield Done(job.name)


def train_job(session: Session, job: Job, recipe: Recipe) -> None:
    """Train one job in this process, and tell how it went."""
    recorded = train_recorded(
        session,
        job.config,
        recipe,
        condition=job.condition,
        resume=job.resume,
        run_uuid=job.run_uuid,
    )
    session.listener.message(summary_line(job.name, recorded))


# Jobs in other processes


@dataclass(frozen=True)
class Elsewhere:
    """A session as another process makes it again.

    Attributes
    ----------
    db : str
        What opens the registry.
    data_source, data_fingerprint : str
        What the session's data is, and where it was found.
    """

    db: str
    data_folder: Path
    data_source: str
    data_fingerprint: str
    argv: tuple[str, ...]

    @classmethod
    def of(cls, session: Session) -> Elsewhere:
        data = session.dataset
        return cls(
            db=session.registry.target,
            data_folder=data.folder.absolute(),
            data_source=data.source,
            data_fingerprint=data.fingerprint,
            argv=session.argv,
        )

    def session(self, config: TrainConfig, registry: Registry, listener: RemoteListener) -> Session:
        """The session in this process, with the data from where the other one found it; on a
        machine that has no such folder, from the usual places.

        Raises
        ------
        DataError
            When it is not the same data.
        """
        dataset = self._load(config.train_size, config.val_size)
        return Session(registry, dataset, listener, self.argv)

    @lru_cache(maxsize=1)  # noqa: B019  (a worker's jobs have the same)
    def _load(self, train_size: int, val_size: int) -> Dataset:
        there = self.data_folder.is_dir()
        folder = self.data_folder if there else None
        data = load(train_size, val_size, data_dir=folder, allow_custom=True)
        if data.fingerprint != self.data_fingerprint:
            raise DataError(
                f"the data in {data.folder} must be those that the study began with, fingerprint "
                f"{self.data_fingerprint[:12]}. Received: {data.fingerprint[:12]}."
            )
        return replace(data, source=self.data_source) if there else data


def train_elsewhere(
    job: Job, recipe: Recipe, origin: Elsewhere, registry: Registry, listener: RemoteListener
) -> None:
    """Train a job in this worker, or continue it where a worker that died left it."""
    run = _begun(registry, job.run_uuid)
    if run is not None and run.status in ("finished", "diverged"):
        listener.message(f"{job.name}: run {run.id} has its result already.")
        return
    session = origin.session(job.config, registry, listener)
    if run is not None:
        job = replace(job, resume=registry.resumable(run.id, take_over=True))
    train_job(session, job, recipe)


def _begun(registry: Registry, run_uuid: str) -> RunRecord | None:
    """The run, if this job began it before, or somebody else whom it continues."""
    deadline = time.monotonic() + HELD_SECONDS
    while True:
        try:
            run = registry.get_run(run_uuid)
        except RunNotFound:
            return None
        # here its lock decides, which the kernel frees once the dead process is cleared away
        here = (run.boot_id or run.host) == machine()
        if run.status != "running" or not here or time.monotonic() > deadline:
            return run
        time.sleep(0.05)


def machine() -> str:
    """Tells this machine from others; containers on it have names of their own."""
    return host.boot_id() or os.uname().nodename


def share_of(count: int) -> int:
    """How many cores each of ``count`` processes has."""
    return max(1, (host.cpus_usable() or 1) // count)


def use_cores(n: int) -> None:
    """Leave the other cores to other processes, from now on."""
    limit_pool(n)
    if n == 1:
        use_single_thread()


class RemoteListener(Silent):
    """A worker's listener: what it hears of a job goes to the process that shows it; which has
    heard the warnings itself.

    Parameters
    ----------
    pass_on : callable
        Raises BrokenPipeError where nobody listens any more.
    """

    def __init__(self, pass_on: Callable[[Event], object], name: str) -> None:
        self.pass_on, self.name = pass_on, name

    def send(self, event: Event) -> None:
        try:
            self.pass_on(event)
        except BrokenPipeError:
            raise KeyboardInterrupt from None  # nobody listens: the run is interrupted

    def message(self, text: str, /) -> None:
        self.send(Message(text))

    def progress(
        self, total: int, label: str, *, unit: str, initial: int = 0
    ) -> AbstractContextManager[ProgressBar]:
        return nullcontext(_RemoteBar(self, initial, total))


class _RemoteBar(SilentBar):
    """Sends how far the job has come."""

    def __init__(self, listener: RemoteListener, epoch: int, epochs: int) -> None:
        self.listener, self.epoch, self.epochs = listener, epoch, epochs

    def update(self, n: int = 1, /) -> None:
        self.epoch += n
        self.listener.send(JobProgress(self.listener.name, self.epoch, self.epochs))
