"""Two workers in step: each at work on a thread of its own, or both in turn on one.

A worker is a generator that yields what it has to say to the other. Where it is advanced, by
which thread and when, does not change what it computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import zip_longest
from queue import SimpleQueue

from fmnist_cli.engine.numpy_mlp.threads import run_at_once, second_lane


class Signal(Enum):
    """What a worker yields. The two yield the same signals in the same order."""

    READY = "my part is there"
    NEEDED = "I need the other's part"


Worker = Iterator[Signal]


def run_in_step(first: Worker, second: Worker) -> None:
    """Run both to their ends."""
    if not second_lane.pays():
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
                    return  # the other failed; run_at_once raises its error
        finally:
            ready.put(False)

    run_at_once(lambda: run(first, *queues), lambda: run(second, *queues[::-1]))


def _waits(worker: Worker) -> Worker:
    return (signal for signal in worker if signal is Signal.NEEDED)
