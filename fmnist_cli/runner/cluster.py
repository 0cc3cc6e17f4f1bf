"""Runs on the workers of a Dask cluster: `processes`, with machines in place of processes.

Each run is a task, which the scheduler starts again where its worker died. A run's uuid is made
before the task is submitted, so a task that is started again finds the run that it began, takes
it over and continues it from its checkpoint. One process trains one run at a time.

What a worker hears reaches the client as an event at the scheduler. The other way there is no
message: a task that is not wanted any more (the client was interrupted, or is gone; the worker is
told to close) sees so in its worker's own state, after every epoch, and ends as interrupted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn

from fmnist_cli.errors import RunNotFound, UsageError
from fmnist_cli.registry import Registry
from fmnist_cli.registry.database import open_database
from fmnist_cli.runner.jobs import (
    Done,
    Elsewhere,
    Event,
    Events,
    Executor,
    Failed,
    Job,
    JobProgress,
    Message,
    RemoteListener,
    machine,
    train_elsewhere,
    use_cores,
)
from fmnist_cli.runner.run import Recipe, Session
from fmnist_cli.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

TOPIC = "fmnist"  # of the events at the scheduler
REPORT_SECONDS = 0.5  # the least time between two reports of a task's progress
CONNECT_SECONDS = 10.0
MOST_SUBMISSIONS = 3  # of a job that no worker has begun


@dataclass(frozen=True)
class Cluster(Executor):
    """Trains jobs on the workers of the Dask scheduler that has this address."""

    address: str

    @property
    def recorded(self) -> Mapping[str, Any]:
        return {"cluster": True}

    def require_scheduler(self) -> None:
        """UsageError where nobody answers, before anything is made."""
        with _client(self.address):
            pass

    def check(self, session: Session) -> None:
        """Refuse a cluster that cannot train; say what to know of one that can.

        Raises
        ------
        UsageError
            When Dask is not installed, nobody answers, or a worker cannot record runs in the
            registry.
        """
        registry, listener = session.registry, session.listener
        found = self._workers(registry)
        if not found:
            listener.message(f"{self.address} has no worker yet; the runs wait for one.")
        others = {worker.version for worker in found} - {__version__}
        if others:
            self._refuse_versions(", ".join(sorted(others)))
        apart = sorted({w.host for w in found if w.machine != machine() or not w.sees_files})
        if apart and not registry.is_shared:
            _refuse_file(registry.display_name, apart)
        blind = sorted({worker.host for worker in found if not worker.sees_files})
        if blind:
            listener.message(
                f"The folder {registry.files} is not the same one on {', '.join(blind)}: weights "
                "of runs there stay there, and such a run begins again where its worker dies. "
                "A folder that all share is named in the URL: ?files=/shared/folder"
            )

    def _workers(self, registry: Registry) -> Sequence[_WorkerInfo]:
        probe = registry.files / f".fmnist-probe-{uuid.uuid4().hex}"
        with _client(self.address) as client:
            try:
                probe.parent.mkdir(parents=True, exist_ok=True)
                probe.touch()
                found: dict[str, _WorkerInfo] = client.run(_worker_info, probe)
            except ModuleNotFoundError as error:
                self._refuse_versions(str(error))
            except OSError as error:
                raise UsageError(
                    "the registry's folder must be one that can be written. Received: "
                    f"{probe.parent} ({error.strerror}).",
                    path=probe.parent,
                ) from error
            finally:
                probe.unlink(missing_ok=True)
        return list(found.values())

    def _refuse_versions(self, received: str) -> NoReturn:
        raise UsageError(
            f"every worker of {self.address} must have fmnist {__version__} installed. "
            f"Received: {received}."
        )

    def run(self, session: Session, jobs: Sequence[Job], recipe: Recipe) -> Events:
        from distributed import Future

        if not jobs:
            return
        events: SimpleQueue[Any] = SimpleQueue()
        waiting: dict[str, tuple[Job, Future]] = {}
        submissions: Counter[str] = Counter()  # by the job's name
        with _client(self.address) as client:
            client.subscribe_topic(TOPIC, lambda event: events.put(event[1]))
            try:

                def submit(job: Job) -> None:
                    submissions[job.name] += 1
                    key = f"fmnist-{uuid.uuid4().hex}"
                    task = _Task(key, job, recipe, Elsewhere.of(session), machine())
                    future = client.submit(_train_one, task, key=key, pure=False, retries=0)
                    waiting[key] = job, future
                    future.add_done_callback(events.put)

                for job in jobs:
                    submit(job)
                while waiting:
                    event = events.get()
                    if isinstance(event, Future):
                        job, _ = waiting.pop(event.key)
                        ended = _outcome(job, event)
                        again = submissions[job.name] < MOST_SUBMISSIONS
                        if again and _was_killed(event) and not _has_begun(session.registry, job):
                            event.release()
                            submit(job)
                            continue
                        event.release()  # or its worker's death would have it computed again
                        yield ended
                    elif event["key"] in waiting:  # others may use the cluster at the same time
                        values = event["event"]
                        yield Message(**values) if "text" in values else JobProgress(**values)
            except BaseException:
                _stop(client, [future for _, future in waiting.values()])
                raise


def _outcome(job: Job, future: Future) -> Done | Failed:
    """How a task ended, whoever ended it."""
    from distributed import CancelledError, KilledWorker

    try:
        ended: Done | Failed = future.result()
    except KilledWorker as error:
        others = f"and so did {error.allowed_failures} others before it"
        return Failed(job.name, f"its worker died, {others}")
    except CancelledError:
        return Failed(job.name, "the scheduler is gone, or has forgotten it")
    except Exception as error:
        return Failed(job.name, f"{type(error).__name__}: {error}")
    return ended


def _was_killed(future: Future) -> bool:
    """Whether Dask gave the task up because too many workers died that it was assigned to."""
    from distributed import KilledWorker

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _has_begun(registry: Registry, job: Job) -> bool:
    """Whether a worker has begun to train the job.

    Dask blames a worker's death on every task that was assigned to it, those included that were
    still waiting there for another one to end.
    """
    try:
        run = registry.get_run(job.run_uuid)
    except RunNotFound:
        return False
    return job.resume is None or run.resumes > job.resume.resumes


def _stop(client: Client, futures: Sequence[Future]) -> None:
    """Have every task under way record its run as interrupted."""
    keys = [future.key for future in futures]
    with suppress(Exception):  # without a scheduler the workers stop by themselves
        client.cancel(list(futures))
        while any(client.run(_is_training, keys, on_error="ignore").values()):
            time.sleep(0.1)


@contextmanager
def _client(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port
    except ModuleNotFoundError as error:
        raise UsageError(
            "scheduler needs Dask, which is not installed: pip install 'fmnist[dask]'"
        ) from error
    for name in ("distributed", "distributed.client", "distributed.gc"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said by us
    try:
        if not address.startswith("ucx"):
            get_address_host_port(address)  # a client that was not made whole hangs as it ends
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            "scheduler must be the address of a Dask scheduler that runs, such as "
            f"tcp://host:8786. Received: {address} "
            f"({' '.join(str(error).split()) or type(error).__name__})."
        ) from error
    with client:
        yield client


# What runs on a worker


@dataclass(frozen=True)
class _WorkerInfo:
    """A worker as the client must know it."""

    machine: str
    host: str
    version: str
    sees_files: bool


def _worker_info(probe: Path) -> _WorkerInfo:
    return _WorkerInfo(machine(), os.uname().nodename, __version__, probe.exists())


def _refuse_file(shown: str, hosts: Sequence[str]) -> NoReturn:
    raise UsageError(
        "a registry in which workers on other machines record runs must be on a server. "
        f"Received: {shown}, and workers on {', '.join(hosts)}.",
        remedy="shared_registry",
        registry=shown,
    )


@dataclass(frozen=True)
class _Task:
    """A job as it goes to a worker.

    Attributes
    ----------
    key : str
        Names it at the scheduler.
    home : str
        The client's machine.
    """

    key: str
    job: Job
    recipe: Recipe
    origin: Elsewhere
    home: str


_one_at_a_time = threading.Lock()
_training: set[str] = set()  # the keys of this worker's tasks


def _is_training(keys: Sequence[str]) -> bool:
    """Whether one of these tasks is under way on this worker."""
    return not _training.isdisjoint(keys)


def _train_one(task: _Task) -> Done | Failed:
    """A task: train the job to its end, or continue it where a worker that died left it.

    What is raised here would be Dask's to deal with, so nothing is.
    """
    channel = _WorkerChannel(task.key)
    _training.add(task.key)
    try:
        with _turn(channel):
            _train(task, channel)
    except KeyboardInterrupt:
        return Failed(task.job.name, "interrupted")
    except Exception as error:
        return Failed.by(task.job.name, error)
    finally:
        _training.discard(task.key)
    return Done(task.job.name)


@contextmanager
def _turn(channel: _WorkerChannel) -> Iterator[None]:
    """Wait for the other threads of this worker; BLAS, lanes and TensorFlow are the process's."""
    while channel.is_wanted():
        if _one_at_a_time.acquire(timeout=REPORT_SECONDS):
            break
    else:
        raise KeyboardInterrupt
    try:
        yield
    finally:
        _one_at_a_time.release()


def _train(task: _Task, channel: _WorkerChannel) -> None:
    database = open_database(task.origin.db)
    if not database.is_shared and machine() != task.home:
        _refuse_file(database.display_name, [os.uname().nodename])
    use_cores(channel.worker.state.nthreads)
    listener = RemoteListener(channel.send, task.job.name)
    with _registry(task.origin.db) as registry:
        train_elsewhere(task.job, task.recipe, task.origin, registry, listener)


_registry = lru_cache(maxsize=1)(Registry.open)  # its compiled statements serve later tasks


class _WorkerChannel:
    """A task's channel to its client."""

    def __init__(self, key: str) -> None:
        from distributed import get_worker

        self.worker = get_worker()
        self.key = key
        self._next = 0.0

    def send(self, event: Event, /) -> None:
        """Pass on messages, and now and then the progress.

        Raises
        ------
        BrokenPipeError
            When nobody wants the run any more.
        """
        if not self.is_wanted():
            raise BrokenPipeError
        if isinstance(event, JobProgress):
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + REPORT_SECONDS
        self.worker.log_event(TOPIC, {"key": self.key, "event": asdict(event)})

    def is_wanted(self) -> bool:
        """Whether somebody still waits for the run."""
        from distributed import Status

        task = self.worker.state.tasks.get(self.key)
        is_closing = self.worker.status in (Status.closing, Status.closed)
        return task is not None and task.state == "executing" and not is_closing
