"""Two workers in step: each at work in a process of its own, or both in turn in one.

A worker is a generator that yields what it has to say to the other. Where it is advanced, by
whom and when, does not change what it computes.

The second process is a fork of the first, which finds everything in its place, and lives no longer
than the work at hand; what the two have to show each other is in memory that they share. (Two
threads contend for the interpreter's lock at each of the forty calls of a step: an epoch of cnn2
took 0.87 s in two, and 1.05 s in one. Two processes side by side do not hold each other up.) They
meet at a pair of sockets, so that each is told when the other ends. Where forking is not safe, on
macOS and Windows, both work in turn.
"""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from enum import Enum
from time import perf_counter, process_time
from typing import Any

import numpy as np

from fmnist_cli.engine.numpy_mlp.negated import Array
from fmnist_cli.engine.numpy_mlp.threads import allowed_cores, move_to, second_lane
from fmnist_cli.errors import FmnistError
from fmnist_cli.host import ENDING_SIGNALS, signals_deferred

FEWEST_STEPS = 50  # for which a second process is made, which takes some milliseconds
WATCHED_SECONDS = 0.01  # at a time
TRIES = 50  # to read what the other says before sleeping till it does
MET, FAILED = b".", b"!"


class Signal(Enum):
    """What a worker yields. The two yield the same signals in the same order."""

    READY = "my part is there"
    NEEDED = "I need the other's part"
    DONE = "a step is done: another worker can go on from here"


Worker = Iterator[Signal]


def shared_zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array that this process and its forks share."""
    n_bytes = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return np.ndarray(shape, dtype, mmap.mmap(-1, n_bytes))


def run_in_step(workers: Callable[[int], tuple[Worker, Worker]], steps: int) -> None:
    """Do the steps.

    Parameters
    ----------
    workers : callable
        Makes the two that do the steps from the given one on. Each step ends with ``DONE``, and
        has a ``READY`` and a ``NEEDED`` before it.
    """
    start = 0
    while start < steps:
        run = _at_once if _pays(steps - start) else _in_turn
        start += run(*workers(start), steps - start)


def _pays(steps: int) -> bool:
    return sys.platform == "linux" and steps >= FEWEST_STEPS and second_lane.pays()


def _in_turn(first: Worker, second: Worker, steps: int) -> int:
    """Run both here, to the end or until two processes pay; how many steps they did."""
    done = 0
    for said, _ in zip(_waits(first), _waits(second), strict=False):
        if said is Signal.DONE:
            done += 1
            if _pays(steps - done):
                break
    return done


def _waits(worker: Worker) -> Worker:
    return (said for said in worker if said is not Signal.READY)


def _at_once(first: Worker, second: Worker, steps: int) -> int:
    """Run the second in a fork, to the end or as long as that pays; how many steps they did."""
    own_cores = allowed_cores()
    pid = 0
    with ExitStack() as open_links:
        try:
            ours, theirs = map(open_links.enter_context, socket.socketpair())
            for link in (ours, theirs):
                link.settimeout(None)  # whatever the caller's default
            shared = shared_zeros((2,), np.float64)
            # what a handler raises during a fork the interpreter swallows, or both processes raise
            with signals_deferred():
                pid = _fork(lambda: _Lane(theirs, shared).run_in_fork(second, own_cores[1::2]))
            theirs.close()
            move_to(own_cores[::2])
            lead = _Lane(ours, shared)
            done = lead.run(first, leads=True)
            lead.wait_for_end()
        except BaseException as error:
            if not pid and isinstance(error, OSError):  # too many processes or files, or no memory
                second_lane.judge(second_lane.WINDOW, 0.0)  # as one that gets nothing
                return _in_turn(first, second, steps)
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise
        finally:
            move_to(own_cores)
            if pid:
                with suppress(ChildProcessError):  # where SIGCHLD is ignored, it leaves nothing
                    os.waitpid(pid, 0)
    return done


def _fork(work: Callable[[], None]) -> int:
    """The process that does the work and ends, whatever happens."""
    with warnings.catch_warnings():  # of other threads, none of which the fork needs
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid


class _Lane:
    """One process of the two.

    The first watches whether they get more than one core between them. If not, it says so in the
    shared memory, one step ahead: before the other can have ended that step.
    """

    def __init__(self, link: socket.socket, shared: Array) -> None:
        self.link = link
        self.last_step, self.other_cpu = shared[:1], shared[1:]

    def run(self, worker: Worker, *, leads: bool) -> int:
        """To the end, or to the last step; how many steps were done."""
        done, wall, cpu, other = 0, perf_counter(), process_time(), 0.0
        for said in worker:
            if said is Signal.READY:
                with suppress(BrokenPipeError):  # what is received next says why
                    self.link.send(MET)
            elif said is Signal.NEEDED:
                self._wait()
            else:
                done += 1
                if self.last_step[0] == done:
                    break
                if not leads:
                    self.other_cpu[0] = process_time() - cpu
                elif perf_counter() > wall + WATCHED_SECONDS:
                    present = perf_counter(), process_time(), float(self.other_cpu[0])
                    both = present[1] - cpu + present[2] - other
                    if not second_lane.judge(present[0] - wall, both):
                        self.last_step[0] = done + 1
                    wall, cpu, other = present
        return done

    def _wait(self) -> None:
        for _ in range(TRIES):
            with suppress(BlockingIOError):
                said = self._receive(socket.MSG_DONTWAIT)
                break
        else:
            said = self._receive()
        if said != MET:
            self._raise(said)

    def wait_for_end(self) -> None:
        """Of the other process."""
        if said := self._receive():
            self._raise(said)

    def _receive(self, flags: int = 0) -> bytes:
        """One byte; none if the other process has ended."""
        try:
            return self.link.recv(1, flags)
        except ConnectionResetError:
            return b""

    def _raise(self, said: bytes) -> None:
        if said != FAILED:
            raise FmnistError(
                "the second process of the training must run to its end. "
                "Received: it was killed, perhaps for want of memory.",
                remedy="make_room_and_resume",
            )
        with self.link.makefile("rb") as file:
            raise pickle.load(file)

    def run_in_fork(self, worker: Worker, cores: list[int]) -> None:
        """Run; tell the other process of an error."""
        try:
            for number in ENDING_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
            gc.disable()  # nothing of the first process is finalised here
            own = self.link.fileno()  # the locks on files are the first process's alone
            os.closerange(3, own)
            os.closerange(max(own, 2) + 1, os.sysconf("SC_OPEN_MAX"))
            move_to(cores)
            self.run(worker, leads=False)
        except BaseException as error:
            self.link.sendall(FAILED + pickle.dumps(error))
