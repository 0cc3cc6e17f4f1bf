"""Runs on the workers of a Dask cluster: `_jobs`, with machines in place of processes.

Each run is a task, which the scheduler starts again where its worker died. A run's uuid is made
before the task is submitted, so a task that is started again finds the run that it began, takes
it over and goes on from its checkpoint. One process trains one run at a time.

What a worker says reaches the client as an event at the scheduler. The other way there is no
message: a task that is not wanted any more (the client was interrupted, or is gone; the worker is
told to close) sees so in its worker's own state, after every epoch, and ends as interrupted.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing import resource_tracker
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from fmnist_cli import host
from fmnist_cli.commands._options import LOCAL
from fmnist_cli.commands._output import Output
from fmnist_cli.errors import RunNotFound, UsageError
from fmnist_cli.runner.processes import (
    Done,
    Failed,
    Job,
    Progress,
    Reporting,
    Shared,
    load_again,
    share_of,
    train_job,
    use_cores,
)
from fmnist_cli.runner.run import typed_as
from fmnist_cli.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

    from fmnist_cli.registry import Registry, RunRecord

TOPIC = "fmnist"  # of the events at the scheduler
REPORT_SECONDS = 0.5  # a task tells of its progress at most so often
CONNECT_SECONDS = 10.0
HELD_SECONDS = 5.0  # how long the kernel may take to free what a dead process held


@dataclass(frozen=True)
class _Task:
    """A job as it goes to a worker.

    Attributes
    ----------
    key : str
        Names it at the scheduler.
    home : str
        The client's machine.
    share : int or None
        How many cores it has; None: as many as its worker has threads.
    """

    key: str
    job: Job
    shared: Shared
    home: str
    share: int | None

    @property
    def run_uuid(self) -> str:
        """Of the run that it begins or goes on with."""
        assert self.job.arm.run_uuid is not None
        return self.job.arm.run_uuid


def check_cluster(scheduler: str, registry: Registry, out: Output) -> None:
    """Refuse a cluster that cannot train; say what to know of one that can.

    Raises
    ------
    UsageError
        When Dask is not installed, nobody answers, or a worker cannot record runs in the registry.
    """
    if scheduler == LOCAL:
        _require_dask()
        return
    probe = registry.files / f".fmnist-probe-{uuid.uuid4().hex}"
    with _client(scheduler) as client:
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            found: dict[str, _Place] = client.run(_look, probe)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"every worker of {scheduler} must have fmnist {__version__} installed. "
                f"Received: {error}."
            ) from error
        except OSError as error:
            raise UsageError(
                f"the registry's folder must be one that can be written. Received: {probe.parent} "
                f"({error.strerror})."
            ) from error
        finally:
            probe.unlink(missing_ok=True)
    if not found:
        out.say(
            f"{scheduler} has no worker yet; the runs wait for one: "
            f"dask worker {scheduler} --nthreads 1"
        )
    others = {place.version for place in found.values()} - {__version__}
    if others:
        raise UsageError(
            f"every worker of {scheduler} must have fmnist {__version__} installed. "
            f"Received: {', '.join(sorted(others))}."
        )
    apart = sorted({p.host for p in found.values() if p.machine != _machine() or not p.sees_files})
    if apart and not registry.is_shared:
        _refuse_file(registry.shown, apart)
    blind = sorted({place.host for place in found.values() if not place.sees_files})
    if blind:
        out.say(
            f"The folder {registry.files} is not the same one on {', '.join(blind)}: weights of "
            "runs there stay there, and such a run begins again where its worker dies. "
            "A folder that all share is named in the URL: ?files=/shared/folder"
        )


def train_on_cluster(
    jobs: Sequence[Job], shared: Shared, scheduler: str, processes: int, out: Output, bar: Any
) -> list[str]:
    """Train every job; one that fails does not keep the others from it.

    Parameters
    ----------
    scheduler : str
        A Dask scheduler's address, or ``local``.
    processes : int
        How many a local cluster has.
    bar
        Counts the runs, and shows the epochs of those that are under way.

    Returns
    -------
    list of str
        The failures: the job's name and why.
    """
    if not jobs:
        return []
    if scheduler != LOCAL:
        with _client(scheduler) as client:
            return _train_all(client, jobs, shared, None, out, bar)
    count = min(processes, len(jobs))
    with _local_client(count) as client:
        return _train_all(client, jobs, shared, share_of(count), out, bar)


def _train_all(
    client: Client, jobs: Sequence[Job], shared: Shared, share: int | None, out: Output, bar: Any
) -> list[str]:
    from distributed import Future

    messages: SimpleQueue[Any] = SimpleQueue()
    client.subscribe_topic(TOPIC, lambda event: messages.put(event[1]))
    home = _machine()
    waiting: dict[str, tuple[Job, Future]] = {}
    places: dict[str, str] = {}
    failures = []
    try:
        for job in jobs:
            run_uuid = job.resume.uuid if job.resume else uuid.uuid4().hex
            arm = replace(job.arm, run_uuid=run_uuid)
            key = f"fmnist-{uuid.uuid4().hex}"
            task = _Task(key, replace(job, arm=arm), shared, home, share)
            future = client.submit(_train_one, task, key=key, pure=False, retries=0)
            waiting[key] = job, future
            future.add_done_callback(messages.put)
        while waiting:
            message = messages.get()
            if isinstance(message, Future):
                job, _ = waiting.pop(message.key)
                places.pop(message.key, None)
                ended = _outcome(message)
                if isinstance(ended, Failed):
                    failures.append(f"{job.name}: {ended.message}")
                    if ended.trace:
                        out.say(ended.trace)
                message.release()  # or its worker's death would have it computed again
                bar.update()
            elif message["key"] in waiting:  # others may use the cluster at the same time
                if "text" in message:
                    out.say(message["text"])
                else:
                    name = waiting[message["key"]][0].name
                    places[message["key"]] = f"{name} {message['epoch']}/{message['epochs']}"
            bar.set_postfix_str("; ".join(places.values()))
    except BaseException:
        _stop(client, [future for _, future in waiting.values()])
        raise
    return failures


def _outcome(future: Future) -> Done | Failed:
    """How a task ended, whoever ended it."""
    from distributed import CancelledError, KilledWorker

    try:
        ended: Done | Failed = future.result()
    except KilledWorker as error:
        return Failed(f"its worker died, and so did {error.allowed_failures} others before it")
    except CancelledError:
        return Failed("the scheduler is gone, or has forgotten it")
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}")
    return ended


def _stop(client: Client, futures: Sequence[Future]) -> None:
    """Have every task under way record its run as interrupted."""
    keys = [future.key for future in futures]
    with suppress(Exception):  # without a scheduler the workers stop by themselves
        client.cancel(list(futures))
        while any(client.run(_is_training, keys, on_error="ignore").values()):
            time.sleep(0.1)


# The client's connections


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            "scheduler needs Dask, which is not installed: pip install 'fmnist[dask]'"
        ) from error
    for name in ("distributed", "distributed.client", "distributed.gc"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said by us


@contextmanager
def _client(scheduler: str) -> Iterator[Client]:
    _require_dask()
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            "scheduler must be the address of a Dask scheduler that runs, such as "
            f"tcp://host:8786, or {LOCAL}. Received: {scheduler} "
            f"({' '.join(str(error).split()) or type(error).__name__})."
        ) from error
    with client:
        yield client


@contextmanager
def _local_client(count: int) -> Iterator[Client]:
    """The client of a cluster of so many processes here, which ends with it."""
    _require_dask()
    import dask
    from distributed import Client, LocalCluster

    settings = {
        # those of Dask would change how fast a run is, and what is recorded of its environment
        "distributed.nanny.pre-spawn-environ": {},
        "distributed.worker.profile.enabled": False,
        # pages that nobody asked for
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    resource_tracker.ensure_running()  # it would unblock SIGINT while a worker is started
    with ExitStack() as stack:
        # its threads and processes inherit the mask
        with _signals_held(), dask.config.set(settings):
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                security=True,  # for others may use the machine as well
                silence_logs=logging.CRITICAL,
            )
            stack.callback(_end, cluster)
        yield stack.enter_context(Client(cluster, set_as_default=False))


def _end(cluster: LocalCluster) -> None:
    """End a cluster at once: what its workers had to do is done, or given up."""
    with _signals_held():
        for nanny in cluster.workers.values():
            nanny.auto_restart = False
            if nanny.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)
        cluster.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Have a Ctrl-C, which a terminal sends to the workers as well, and SIGTERM wait."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# What runs on a worker


@dataclass(frozen=True)
class _Place:
    """A worker as the client must know it."""

    machine: str
    host: str
    version: str
    sees_files: bool


def _machine() -> str:
    """Tells this machine from others; containers on it have names of their own."""
    return host.boot_id() or os.uname().nodename


def _look(probe: Path) -> _Place:
    return _Place(_machine(), os.uname().nodename, __version__, probe.exists())


def _refuse_file(shown: str, hosts: Sequence[str]) -> None:
    raise UsageError(
        "a registry in which workers on other machines record runs must be on a PostgreSQL "
        "server: --db postgresql+psycopg://user@host/database?files=/shared/folder. Received: "
        f"{shown}, and workers on {', '.join(hosts)}."
    )


_one_at_a_time = threading.Lock()
_training: set[str] = set()  # the keys of this worker's tasks


def _is_training(keys: Sequence[str]) -> bool:
    """Whether one of these tasks is under way on this worker."""
    return not _training.isdisjoint(keys)


def _train_one(task: _Task) -> Done | Failed:
    """A task: train the job to its end, or go on with it where a worker that died left it.

    What is raised here would be Dask's to deal with, so nothing is.
    """
    wire = _Wire(task.key)
    _training.add(task.key)
    try:
        with _turn(wire), typed_as(task.shared.argv):
            _train_recorded(task, wire)
    except KeyboardInterrupt:
        return Failed("interrupted")
    except Exception as error:
        return Failed.by(error)
    finally:
        _training.discard(task.key)
    return Done()


@contextmanager
def _turn(wire: _Wire) -> Iterator[None]:
    """Wait for the other threads of this worker; BLAS, lanes and TensorFlow are the process's."""
    wire.require_wanted()
    while not _one_at_a_time.acquire(timeout=REPORT_SECONDS):
        wire.require_wanted()
    try:
        yield
    finally:
        _one_at_a_time.release()


def _train_recorded(task: _Task, wire: _Wire) -> None:
    from fmnist_cli.registry.database import open_database

    job, shared = task.job, task.shared
    database = open_database(shared.db)
    if not database.is_shared and _machine() != task.home:
        _refuse_file(database.shown, [os.uname().nodename])
    use_cores(task.share or wire.worker.state.nthreads)
    out = Reporting(wire)
    with _registry(shared.db) as registry:
        run = _begun(registry, task.run_uuid)
        if run is not None and run.status in ("finished", "diverged"):
            out.say(f"{job.name}: run {run.id} has its result already.")
            return
        data = load_again(job.config, shared)
        if run is not None:
            job = replace(job, resume=registry.resumable(run.id, take_over=True))
        train_job(job, shared, data, registry, out)


@lru_cache(maxsize=1)  # its compiled statements serve the tasks that follow
def _registry(db: str) -> Registry:
    from fmnist_cli.registry import Registry

    return Registry.open(db)


def _begun(registry: Registry, run_uuid: str) -> RunRecord | None:
    """The run, if this task began it before, or somebody else whom it goes on from."""
    deadline = time.monotonic() + HELD_SECONDS
    while True:
        try:
            run = registry.get_run(run_uuid)
        except RunNotFound:
            return None
        # here its lock decides, which the kernel frees once the dead process is cleared away
        here = (run.boot_id or run.host) == _machine()
        if run.status != "running" or not here or time.monotonic() > deadline:
            return run
        time.sleep(0.05)


class _Wire:
    """A task's end of the line to its client; it takes a pipe's place."""

    def __init__(self, key: str) -> None:
        from distributed import get_worker

        self.worker = get_worker()
        self.key = key
        self._next = 0.0

    def send(self, message: Any) -> None:
        """Pass on what is said, and now and then the progress.

        Raises
        ------
        BrokenPipeError
            When nobody wants the run any more.
        """
        if not self._is_wanted():
            raise BrokenPipeError
        if isinstance(message, Progress):
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + REPORT_SECONDS
        self.worker.log_event(TOPIC, {"key": self.key, **asdict(message)})

    def require_wanted(self) -> None:
        if not self._is_wanted():
            raise KeyboardInterrupt

    def _is_wanted(self) -> bool:
        from distributed import Status

        task = self.worker.state.tasks.get(self.key)
        is_closing = self.worker.status in (Status.closing, Status.closed)
        return task is not None and task.state == "executing" and not is_closing
