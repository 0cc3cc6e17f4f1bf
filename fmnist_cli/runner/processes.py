"""Runs side by side, each in a process of its own.

The workers are spawned, open the registry and load the data for themselves, and take one run after
the other. Each talks with the parent over a pipe of its own, so that a worker that is killed
harms no other; its run is taken up again by another, from its checkpoint. The parent passes
signals on: the workers see no Ctrl-C and no hang-up, which a terminal sends to all of them at once.

The cores are shared out: with as many workers as cores, the NumPy engine does its two lanes in
turn and TensorFlow's pool is smaller. How the work is split stays the same, and so do the bits.

The other way to train ten seeds, stacked as one array in one process, was measured and left: the
step loop, all that stacking can shorten, is 0.38 of an epoch at batch 1 and 0.16 at batch 5 on one
core (the rest are products that no two seeds share, for their batches differ), so that even a
loop that runs 2.1 and 2.8 times faster, bit for bit, makes the epoch 1.25 and 1.11 times
faster; a second process makes a study up to 1.8 times as fast where a core is free.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from fmnist_cli.errors import Stopped, Terminated
from fmnist_cli.host import ENDING_SIGNALS, raise_at
from fmnist_cli.registry import Registry
from fmnist_cli.runner.jobs import (
    Done,
    Elsewhere,
    Event,
    Events,
    Executor,
    Failed,
    Job,
    JobProgress,
    RemoteListener,
    share_of,
    train_elsewhere,
    use_cores,
)
from fmnist_cli.runner.run import Recipe, Session

INTERRUPT = signal.SIGUSR1  # what tells a worker of the parent's KeyboardInterrupt
DEATHS = 3  # of workers, by a signal, after which a run is given up


@dataclass(frozen=True)
class Processes(Executor):
    """Trains up to ``n`` jobs at a time, each in a process of its own."""

    n: int

    @property
    def recorded(self) -> Mapping[str, Any]:
        return {"jobs": self.n}

    def run(self, session: Session, jobs: Sequence[Job], recipe: Recipe) -> Events:
        context = multiprocessing.get_context("spawn")
        count = min(self.n, len(jobs))
        waiting = deque(jobs)
        deaths: Counter[str] = Counter()
        workers: dict[Any, _Worker] = {}

        def start() -> Event:
            worker = _Worker(context, recipe, Elsewhere.of(session), count)
            workers[worker.connection] = worker
            worker.start()
            return worker.give(waiting.popleft())

        resource_tracker.ensure_running()  # it would unblock SIGINT while a worker is started
        try:
            for _ in range(count):
                yield start()
            while workers:
                for connection in wait(list(workers)):
                    worker = workers[connection]
                    try:
                        event = worker.connection.recv()
                    except (EOFError, ConnectionResetError):
                        del workers[connection]
                        if (job := worker.job) is not None:
                            deaths[job.name] += 1
                            if worker.was_killed() and deaths[job.name] < DEATHS:
                                waiting.appendleft(job)
                            else:
                                yield Failed(job.name, worker.end(deaths[job.name]))
                        if waiting:
                            yield start()
                        continue
                    if isinstance(event, Done | Failed):
                        worker.job = None
                    yield event
                    if worker.job is None:
                        if waiting:
                            yield worker.give(waiting.popleft())
                        else:
                            worker.send(None)
        except BaseException as error:
            _stop(workers.values(), error)
            raise


class _Worker:
    """A worker process as the parent sees it."""

    def __init__(self, context: Any, recipe: Recipe, origin: Elsewhere, count: int) -> None:
        self.job: Job | None = None
        self.connection, self._theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(self._theirs, recipe, origin, count), daemon=True
        )

    def start(self) -> None:
        # the mask is inherited, and holds from the worker's first instruction on
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            self.process.start()
            self._theirs.close()  # so that the worker's end is the last one
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def give(self, job: Job) -> Event:
        self.job = job
        self.send(job)
        return JobProgress(job.name, 0, job.config.epochs)

    def send(self, job: Job | None) -> None:
        """None: there is no other job."""
        with suppress(BrokenPipeError):  # it ended on its own; reading its connection tells so
            self.connection.send(job)

    def was_killed(self) -> bool:
        self.process.join()
        return (self.process.exitcode or 0) < 0

    def end(self, deaths: int) -> str:
        """How the process ended, in words."""
        self.process.join()
        code = self.process.exitcode or 0
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        others = f", and {deaths - 1} before it died as well" if deaths > 1 else ""
        return f"its process {how}{others}"


def _stop(workers: Any, error: BaseException) -> None:
    """Have every worker record its run as interrupted; a second Ctrl-C kills them."""
    started = [worker for worker in workers if worker.process.pid is not None]
    try:
        for worker in started:
            if worker.process.is_alive():
                signum = signal.SIGTERM if isinstance(error, Terminated) else INTERRUPT
                os.kill(worker.process.pid, signum)
        for worker in started:
            worker.connection.close()  # nor does one wait for a parent that reads no more
        for worker in started:
            worker.process.join()
    except BaseException:
        for worker in started:
            worker.process.kill()
        raise


def _work(connection: Connection, recipe: Recipe, origin: Elsewhere, count: int) -> None:
    """A worker's life."""
    ends: dict[int, type[BaseException]] = {
        signal.SIGTERM: Terminated,
        INTERRUPT: KeyboardInterrupt,
    }
    raise_at(ends)
    registry: Registry | None = None
    # told to end, or nobody is there any more
    ending = suppress(KeyboardInterrupt, Stopped, EOFError, ConnectionError)
    with ending, ExitStack() as stack:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
        use_cores(share_of(count))
        for job in iter(connection.recv, None):
            try:
                registry = registry or stack.enter_context(Registry.open(origin.db))
                listener = RemoteListener(connection.send, job.name)
                train_elsewhere(job, recipe, origin, registry, listener)
            except Exception as error:
                connection.send(Failed.by(job.name, error))
            else:
                connection.send(Done(job.name))
