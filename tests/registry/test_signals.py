"""A signal at any moment of a recording: the run has its end, and the registry is free."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from registry_rig import OUTCOME_AT_ONCE, Ticking, epoch, spec

from fmnist_cli.errors import Terminated
from fmnist_cli.host import raise_at, signals_deferred
from fmnist_cli.registry import Registry
from fmnist_cli.registry.database import sqlite

ENTERING = ("__enter__", "__exit__")  # where a block begins or ends


@contextmanager
def signal_at(moment: int) -> Iterator[list[int]]:
    """SIGTERM as a block begins or ends in the body, the moment-th time; the list counts them."""
    calls = [0]

    def count(frame: Any, event: str, argument: Any) -> None:
        if event != "return" and frame.f_code.co_name in ENTERING:  # none is heard there
            calls[0] += 1
            if calls[0] == moment:
                signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    raise_at({signal.SIGTERM: Terminated})
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGTERM, before)


def record(registry: Registry) -> None:
    with registry.run(spec(), clock=Ticking(1.0)) as run:
        run.record_epoch(epoch(1))
        run.record_epoch(epoch(2))
        run.finish(OUTCOME_AT_ONCE)


def test_no_moment_loses_a_run_or_leaves_the_registry_locked(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)  # one that waits for itself says so soon
    record(registry)
    with signal_at(0) as calls:
        record(registry)
    assert calls[0] > 100
    ends = set()
    for moment in range(1, calls[0] - 2, 2):
        n = len(registry.list_runs())
        with suppress(Terminated), signal_at(moment):
            record(registry)
        runs = registry.list_runs()
        if len(runs) > n:  # not before it had begun
            ends.add(runs[0].status)
            assert runs[0].status in ("interrupted", "finished"), moment
            assert runs[0].digest == registry.computed_digest(runs[0].id)
    assert ends == {"interrupted", "finished"}


def test_several_signals_are_one() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    came = []
    try:
        raise_at(dict.fromkeys(before, Terminated))
        try:
            signal.raise_signal(signal.SIGHUP)
        except Terminated:
            signal.raise_signal(signal.SIGTERM)
            came.append("once")
        with pytest.raises(ZeroDivisionError), signals_deferred():
            raise ZeroDivisionError
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert came == ["once"]
