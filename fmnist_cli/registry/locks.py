"""Whether a run's process still lives: an operating-system lock held for the run's life.

The kernel drops the lock when the process ends in any way, kill -9 included. There is no clock
and no process id to be reused in it, and a paused process keeps it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnist_cli.errors import RegistryError

_held: set[int] = set()


def _close_in_child() -> None:
    # a forked child shares the lock and would keep a dead parent's run alive
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


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
