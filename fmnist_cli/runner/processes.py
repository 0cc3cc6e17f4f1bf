"""Runs side by side, each in a process of its own.

The workers are spawned, open the registry and load the data for themselves, and take one run after
the other. Each talks with the parent over a pipe of its own, so that a worker that is killed
harms no other. The parent shows the progress, collects the failures and passes signals on: the
workers see no Ctrl-C, which a terminal would send to all of them at once.

The cores are shared out: with as many workers as cores, the NumPy engine does its two lanes in
turn and TensorFlow's pool is smaller. How the work is split stays the same, and so do the bits.

The other way to train ten seeds, stacked as one array in one process, was measured and left: the
step loop, all that stacking can shorten, is 0.38 of an epoch at batch 1 and 0.16 at batch 5 on one
core (the rest are products that no two seeds share, for their batches differ), so that even a
loop that runs 2.1 and 2.8 times faster, to the same bits, makes the epoch 1.25 and 1.11 times
faster; a second process makes a study up to 1.8 times as fast where a core is free.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from fmnist_cli.commands._options import Common
from fmnist_cli.commands._output import Output
from fmnist_cli.errors import DataError, FmnistError, Terminated
from fmnist_cli.host import cpus_usable
from fmnist_cli.runner.run import Arm, told, train_recorded, typed_as

if TYPE_CHECKING:
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.registry import Registry, RunRecord
    from fmnist_cli.runner.run import After

INTERRUPT = signal.SIGUSR1  # what tells a worker of the parent's KeyboardInterrupt


@dataclass(frozen=True)
class Job:
    """One run to train, or one that was cut short to go on with, and what messages call it."""

    name: str
    config: TrainConfig
    arm: Arm
    resume: RunRecord | None = None


@dataclass(frozen=True)
class Shared:
    """What all jobs have in common; it is pickled, so ``after`` is a function of a module.

    Attributes
    ----------
    db : str
        What opens the registry.
    data_folder : Path
    data_source, data_fingerprint : str
        What the parent found there.
    argv : tuple of str
        The command line that the runs record.
    """

    command: str
    db: str
    data_folder: Path
    data_source: str
    data_fingerprint: str
    argv: tuple[str, ...]
    test_every_epoch: bool
    dynamics: bool
    after: After | None


@dataclass(frozen=True)
class Progress:
    """An epoch more, of at most so many."""

    epoch: int
    epochs: int


@dataclass(frozen=True)
class Said:
    text: str


@dataclass(frozen=True)
class Done:
    pass


@dataclass(frozen=True)
class Failed:
    """Why, in one line; and the traceback of a bug."""

    message: str
    trace: str = ""

    @classmethod
    def by(cls, error: Exception) -> Failed:
        """What is told of an error that is being handled."""
        if isinstance(error, FmnistError):
            return cls(str(error))
        return cls(f"{type(error).__name__}: {error}", traceback.format_exc().rstrip())


def train_job(job: Job, shared: Shared, data: Dataset, registry: Registry, out: Output) -> None:
    """Train one job in this process, and tell how it went."""
    recorded = train_recorded(
        job.config,
        data,
        registry,
        out,
        command=shared.command,
        arm=job.arm,
        test_every_epoch=shared.test_every_epoch,
        dynamics=shared.dynamics,
        after=shared.after,
        resume=job.resume,
    )
    out.say(told(job.name, recorded))


def train_side_by_side(
    jobs: Sequence[Job], shared: Shared, processes: int, out: Output, bar: Any
) -> list[str]:
    """Train every job; one that fails does not keep the others from it.

    Parameters
    ----------
    processes : int >= 2
        At most so many at a time.
    bar
        Counts the runs, and shows the epochs of those that are under way.

    Returns
    -------
    list of str
        The failures: the job's name and why.
    """
    context = multiprocessing.get_context("spawn")
    count = min(processes, len(jobs))
    waiting, failures = deque(jobs), []
    workers: dict[Any, _Worker] = {}

    def start() -> None:
        worker = _Worker(context, shared, count)
        workers[worker.connection] = worker
        worker.give(waiting.popleft())

    resource_tracker.ensure_running()  # it would unblock SIGINT while a worker is started
    try:
        for _ in range(count):
            start()
        while workers:
            for connection in wait(list(workers)):
                worker = workers[connection]
                try:
                    message = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    del workers[connection]
                    if worker.job is not None:
                        failures.append(f"{worker.job.name}: {worker.end()}")
                        bar.update()
                    if waiting:
                        start()
                    continue
                match message:
                    case Progress():
                        worker.place = f"{message.epoch}/{message.epochs}"
                    case Said():
                        out.say(message.text)
                    case Done() | Failed():
                        assert worker.job is not None
                        if isinstance(message, Failed):
                            failures.append(f"{worker.job.name}: {message.message}")
                            if message.trace:
                                out.say(message.trace)
                        bar.update()
                        worker.give(waiting.popleft() if waiting else None)
                places = (f"{w.job.name} {w.place}" for w in workers.values() if w.job)
                bar.set_postfix_str("; ".join(places), refresh=False)
    except BaseException as error:
        _stop(workers.values(), error)
        raise
    return failures


class _Worker:
    """A worker process as the parent sees it."""

    def __init__(self, context: Any, shared: Shared, count: int) -> None:
        self.job: Job | None = None
        self.place = ""
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, shared, count), daemon=True
        )
        # the mask is inherited, and holds from the worker's first instruction on
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()  # so that the worker's end is the last one

    def give(self, job: Job | None) -> None:
        """Send the next job, or None: there is none."""
        self.job, self.place = job, "starting"
        with suppress(BrokenPipeError):  # it ended on its own; reading its connection tells so
            self.connection.send(job)

    def end(self) -> str:
        """How the process ended, in words."""
        self.process.join()
        code = self.process.exitcode or 0
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"its process {how}"


def _stop(workers: Any, error: BaseException) -> None:
    """Have every worker record its run as interrupted; a second Ctrl-C kills them."""
    try:
        for worker in workers:
            if worker.process.is_alive():
                interrupted = isinstance(error, KeyboardInterrupt)
                os.kill(worker.process.pid, INTERRUPT if interrupted else signal.SIGTERM)
        for worker in workers:
            worker.process.join()
    except BaseException:
        for worker in workers:
            worker.process.kill()
        raise


def _work(connection: Connection, shared: Shared, count: int) -> None:
    """A worker's life."""
    signal.signal(signal.SIGTERM, _raise_once)
    signal.signal(INTERRUPT, _raise_once)
    try:
        use_cores(share_of(count))
        with typed_as(shared.argv):
            _train_all(connection, shared)
    except (KeyboardInterrupt, Terminated, EOFError):
        pass  # told to end, or nobody is there any more


def _raise_once(signum: int, frame: FrameType | None) -> NoReturn:
    # what the first signal began, the recording of the run's end, the next must not break
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(INTERRUPT, signal.SIG_IGN)
    if signum == INTERRUPT:
        raise KeyboardInterrupt
    raise Terminated


def share_of(count: int) -> int:
    """How many cores each of so many processes has."""
    return max(1, (cpus_usable() or 1) // count)


def use_cores(n: int) -> None:
    """Leave the other cores to other processes, from now on."""
    from fmnist_cli.engine.keras_models.runtime import limit_pool
    from fmnist_cli.engine.numpy_mlp.threads import use_single_thread

    limit_pool(n)
    if n == 1:
        use_single_thread()


def _train_all(connection: Connection, shared: Shared) -> None:
    from fmnist_cli.registry import Registry

    out = Reporting(connection)
    registry: Registry | None = None
    with ExitStack() as stack:
        for job in iter(connection.recv, None):
            try:
                registry = registry or stack.enter_context(Registry.open(shared.db))
                train_job(job, shared, load_again(job.config, shared), registry, out)
            except Exception as error:
                connection.send(Failed.by(error))
            else:
                connection.send(Done())


def load_again(config: TrainConfig, shared: Shared) -> Dataset:
    """The parent's data set, from the folder where the parent found it; on a machine that has no
    such folder, from the usual places.

    Raises
    ------
    DataError
        When it is not the same data.
    """
    return _load(
        *(config.train_size, config.val_size),
        *(shared.data_folder, shared.data_source, shared.data_fingerprint),
    )


@lru_cache(maxsize=1)  # a worker's jobs have the same
def _load(train_size: int, val_size: int, folder: Path, source: str, fingerprint: str) -> Dataset:
    from fmnist_cli.engine.data import load

    there = folder.is_dir()
    data = load(train_size, val_size, data_dir=folder if there else None, allow_custom=True)
    if data.fingerprint != fingerprint:
        raise DataError(
            f"the data in {data.folder} must be those that the study began with, fingerprint "
            f"{fingerprint[:12]}. Received: {data.fingerprint[:12]}."
        )
    return replace(data, source=source) if there else data


class Line(Protocol):
    """What leads to the parent."""

    def send(self, message: Any) -> None: ...


class Reporting(Output):
    """A worker's output: talk and progress go to the parent."""

    def __init__(self, connection: Line) -> None:
        super().__init__(Common(quiet=True))
        self.connection = connection

    def send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except BrokenPipeError:
            raise KeyboardInterrupt from None  # nobody listens: the run is interrupted

    def say(self, text: str) -> None:
        self.send(Said(text))

    def caution(self, text: str | None) -> None:
        pass  # the parent has said it

    def bar(self, total: float | None, label: str, *, unit: str, **keywords: Any) -> Any:
        return _RemoteBar(self, int(keywords.get("initial", 0)), int(total or 0))


class _RemoteBar:
    """Looks like tqdm's bar to the code that counts epochs."""

    def __init__(self, out: Reporting, epoch: int, epochs: int) -> None:
        self.out, self.epoch, self.epochs = out, epoch, epochs

    def __enter__(self) -> _RemoteBar:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        pass

    def update(self, n: int = 1) -> None:
        self.epoch += n
        self.out.send(Progress(self.epoch, self.epochs))
