"""Two workers in step: each at work on a thread of its own, or both in turn on one.

A worker is a generator that yields what it has to say to the other. Where it is advanced, by
which thread and when, does not change what it computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import zip_longest
from queue import SimpleQueue

from fmnist_cli.engine.numpy_mlp.threads import run_on_two_threads, single_thread


class Signal(Enum):
    """What a worker yields. The two yield the same signals in the same order."""

    READY = "my part is there"
    NEEDED = "I need the other's part"


Worker = Iterator[Signal]


def run_in_step(first: Worker, second: Worker) -> None:
    """Run both to their ends."""
    if single_thread():
        for _ in zip_longest(_waits(first), _waits(second)):
            pass
        return
    queues: tuple[SimpleQueue[bool], SimpleQueue[bool]] = (SimpleQueue(), SimpleQueue())

    def run(worker: Worker, ready: SimpleQueue[bool], needed: SimpleQueue[bool]) -> None:
        try:
            for signal in worker:
                if signal is Signal.READY:
                    ready.put(True)
                elif not needed.get():
                    return  # the other failed; run_on_two_threads raises its error
        finally:
            ready.put(False)

    run_on_two_threads(lambda: run(first, *queues), lambda: run(second, *queues[::-1]))


def _waits(worker: Worker) -> Worker:
    return (signal for signal in worker if signal is Signal.NEEDED)
