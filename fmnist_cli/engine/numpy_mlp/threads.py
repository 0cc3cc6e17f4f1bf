"""One BLAS thread per call, and a second lane of our own where a batch is large enough for two.

OpenBLAS' own threads are not used, for three reasons. Their number changes how a product is
split and so its last bits, and it comes from the environment. They wait by spinning: with
another process on the second core, products that take 0.2 ms on one thread took 6 to 20 ms on
two (measured on 2 cores, OpenBLAS 0.3.31). And small products gain nothing from them. Two lanes
with fixed shares of the work give the same bits whatever the number of cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from queue import SimpleQueue
from threading import Thread
from time import perf_counter, process_time

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def blas_threads() -> Iterator[None]:
    """Run the body with one BLAS thread, and restore what was set before (12 us)."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


_single_thread = False


def use_single_thread() -> None:
    """From now on do in turn what two lanes would do at once, for other processes have the cores.

    The lanes' shares of the work stay as they are, and so do the bits.
    """
    global _single_thread
    _single_thread = True


class SecondLane:
    """Whether a second lane pays, from how much processor time the two have got.

    Beside a process that fills a core, two lanes wait for each other's turns on it: an epoch takes
    up to three times as long as in one lane on the free core. So when both together get little more
    than one core's time, the work continues in one lane, and the second is tried again after a
    pause, each longer than the one before while the core stays taken.
    """

    WINDOW = 0.02  # seconds that are judged together
    FEWEST_CORES = 1.25  # that two lanes must get
    FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.0  # seconds

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.pause, self.until = self.FIRST_PAUSE, 0.0

    def pays(self) -> bool:
        """Whether to use two lanes now."""
        return not _single_thread and len(allowed_cores()) != 1 and perf_counter() >= self.until

    @contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """Judge the body, which runs in two lanes; it may ask at times whether to go on so."""
        wall, cpu = perf_counter(), process_time()

        def go_on() -> bool:
            nonlocal wall, cpu
            since = wall, cpu
            wall, cpu = perf_counter(), process_time()
            return self.judge(wall - since[0], cpu - since[1])

        yield go_on
        go_on()

    def judge(self, wall: float, cpu: float) -> bool:
        """After so many seconds more, in which two lanes had so much of the cores: go on so?"""
        self.wall += wall
        self.cpu += cpu
        if self.wall < self.WINDOW:
            return True
        pays = self.cpu >= self.FEWEST_CORES * self.wall
        if not pays:
            self.until = perf_counter() + self.pause
            self.pause = min(2 * self.pause, self.LONGEST_PAUSE)
        else:
            self.pause = self.FIRST_PAUSE
        self.wall = self.cpu = 0.0
        return pays


second_lane = SecondLane()

_Task = tuple[Callable[[], None], SimpleQueue[BaseException | None]]


@cache
def _second_thread() -> SimpleQueue[_Task]:
    """The queue of the second lane's thread. (An executor's futures cost more than the wait.)"""
    tasks: SimpleQueue[_Task] = SimpleQueue()

    def work() -> None:
        while True:
            task, done = tasks.get()
            try:
                task()
            except BaseException as error:  # raised again by the thread that waits
                done.put(error)
            else:
                done.put(None)

    Thread(target=work, name="fmnist-second-thread", daemon=True).start()
    return tasks


# A forked child has the queue but not the thread.
os.register_at_fork(after_in_child=_second_thread.cache_clear)


def run_on_two_threads(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Run both, at the same time where that pays, and return when both are done."""
    if second_lane.pays():
        with second_lane.watched():
            run_at_once(first, second)
    else:
        first()
        second()


def run_at_once(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Run both at the same time, on this thread and on one other; return when both are done.

    The other runs in this one's context, which is where NumPy keeps ``np.errstate``. Each has half
    of the cores meanwhile: left to itself, Linux (6.18, two virtual cores) puts both on one of them
    after a pause, and takes 20 ms to part them.
    """
    cores = allowed_cores()
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    context = copy_context()
    _second_thread().put((lambda: context.run(_run_on, cores[1::2], second), done))
    try:
        _run_on(cores[::2], first)
    finally:
        move_to(cores)
        error = done.get()
    if error is not None:
        raise error


def in_pipeline(
    steps: int,
    lead: Callable[[int], None],
    first: Callable[[int], None],
    second: Callable[[int], None],
) -> None:
    """For each step t: ``lead(t)``, then ``first(t)`` here and ``second(t)`` on the other thread.

    ``lead(t)`` waits for ``second(t - 2)``: the other thread may be a step behind, and so finds its
    next task when it ends one. While a second lane does not pay, all is done here.
    """
    t = 0
    while t < steps:
        if second_lane.pays():
            t = _pipeline_at_once(t, steps, lead, first, second)
        else:
            lead(t)
            first(t)
            second(t)
            t += 1


def _pipeline_at_once(
    start: int,
    steps: int,
    lead: Callable[[int], None],
    first: Callable[[int], None],
    second: Callable[[int], None],
) -> int:
    """From ``start``, to the end or as long as that pays; the step to go on with."""
    led: SimpleQueue[int | None] = SimpleQueue()
    done: SimpleQueue[int | None] = SimpleQueue()
    stop = start

    def here() -> None:
        nonlocal stop
        try:
            for t in range(start, steps):
                if t > start + 1 and done.get() is None:
                    return  # the other failed; run_at_once raises its error
                lead(t)
                led.put(t)
                first(t)
                stop = t + 1
                if not go_on():
                    return
        finally:
            led.put(None)

    def there() -> None:
        try:
            for t in iter(led.get, None):
                second(t)
                done.put(t)
        finally:
            done.put(None)

    with second_lane.watched() as go_on:
        run_at_once(here, there)
    return stop


def allowed_cores() -> list[int]:
    """The cores that this thread may run on; none where that cannot be asked (macOS)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def move_to(cores: list[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)  # of this thread alone


def _run_on(cores: list[int], work: Callable[[], None]) -> None:
    move_to(cores)
    work()
