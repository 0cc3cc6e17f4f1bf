"""Whether a run that has no end yet still lives.

On its own machine an operating-system lock that it holds decides. The kernel drops it when the
process ends in any way, kill -9 included. There is no clock and no process id to be reused in it,
and a paused process keeps it. Where several machines record in one registry, a run also says
every ``BEAT_SECONDS`` that it lives, by the registry's clock, and one that has not been heard of
for ``GRACE_SECONDS`` is presumed dead by the others. The grace is so long that a busy machine does
not miss it; and a run that was presumed dead in error, and then taken over, learns of it with the
next thing it records, and stops (``run.py``).
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fmnist_cli import host
from fmnist_cli.errors import RegistryError

BEAT_SECONDS = 20.0
GRACE_SECONDS = 300.0

_held: set[int] = set()


def _close_in_child() -> None:
    # a forked child shares the lock and would keep a dead parent's run alive
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


def lock_file(files: Path, uuid: str) -> Path:
    """The file whose lock a live run holds."""
    return files / "locks" / f"{uuid}.lock"


class RunLock:
    """An exclusive lock on a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock; RegistryError where the file cannot be made or another holds it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while (fd := self._locked()) is None:
                pass
        except OSError as error:
            raise RegistryError(
                f"the run's lock file {self.path} cannot be locked: {error.strerror}."
            ) from error
        self._fd = fd
        _held.add(fd)

    def _locked(self) -> int | None:
        """A descriptor that holds the lock; None where the file was removed meanwhile."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.path.exists() and os.path.samestat(os.fstat(fd), self.path.stat()):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def release(self) -> None:
        """Remove the file, then let go; harmless when the lock is not held."""
        if self._fd is None:
            return
        self.path.unlink(missing_ok=True)
        _held.discard(self._fd)
        os.close(self._fd)
        self._fd = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


@contextmanager
def one_at_a_time(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock in the body; while another process does, ``wait``, which may raise."""
    lock = RunLock(path)
    while True:
        try:
            lock.acquire()
            break
        except RegistryError:
            if not is_held(path):
                raise
            wait()
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether some process holds the lock; an absent file is held by none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # another user's run: nothing shows that it is gone
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


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
    path = lock_file(files, run.uuid)
    if is_local_host(run.host, run.boot_id) and (run.heartbeat_at is None or path.exists()):
        return not is_held(path)
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
