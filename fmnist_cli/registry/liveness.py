"""Whether a run that has no end yet still lives.

On its own machine the lock that it holds (``locks.py``) decides. Where several machines record in
one registry, a run also says every ``BEAT_SECONDS`` that it lives, by the registry's clock, and
one that has not been heard of for ``GRACE_SECONDS`` is presumed dead by the others. The grace is
so long that a busy machine does not miss it; and a run that was presumed dead in error, and
then taken over, learns of it with the next thing it records, and stops (``run.py``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fmnist_cli import host
from fmnist_cli.registry import layout, locks

BEAT_SECONDS = 20.0
GRACE_SECONDS = 300.0


class Running(NamedTuple):
    """What the row of a run without an end says of its process."""

    id: int
    uuid: str
    host: str
    boot_id: str | None
    heartbeat_at: str | None


def dead_runs(running: Iterable[Running], files: Path, now: Callable[[], datetime]) -> set[int]:
    """The ids of those runs without an end that have lost their process.

    Parameters
    ----------
    now
        The registry's clock, read once, and only where there is a heartbeat to be judged.
    """
    once = cache(now)
    return {run.id for run in running if _is_dead(run, files, once)}


def is_local_host(name: str, boot_id: str | None) -> bool:
    """Whether a process of that host and boot is one of this machine.

    Containers on a machine have names of their own, and a laptop may change its name.
    """
    return name == os.uname().nodename or (boot_id is not None and boot_id == host.boot_id())


def _is_dead(run: Running, files: Path, now: Callable[[], datetime]) -> bool:
    path = layout.lock_file(files, run.uuid)
    if is_local_host(run.host, run.boot_id) and (run.heartbeat_at is None or path.exists()):
        return not locks.is_held(path)
    if run.heartbeat_at is None:
        return False  # another machine's, of which nothing is known
    silence = now() - datetime.fromisoformat(run.heartbeat_at)
    return silence.total_seconds() > GRACE_SECONDS


class Heartbeat:
    """Calls ``beat`` every ``BEAT_SECONDS`` in a thread of its own, from ``start`` to ``stop``."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, name="fmnist-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._beat()
