"""This machine and this process, as far as those on it must know them."""

from __future__ import annotations

import errno
import math
import mmap
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType

ENDING_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # the last ends a worker
    if hasattr(signal, name)  # Windows has fewer
)
SAME_SECONDS = 5.0  # after one signal, in which others belong to it

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = re.compile(
    r"9p|afs|beegfs|ceph|cifs|fuse\.(glusterfs|s3fs|sshfs)|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?"
    r"|ocfs2|orangefs|smb3|smbfs"
)


def cpus_usable() -> int | None:
    """How many processors this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return os.cpu_count() if affinity is None else len(affinity(0))


def boot_id() -> str | None:
    """Identifies the machine's present boot (Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def network_mount(path: Path) -> str | None:
    """The kind of the network mount that the file is on, such as ``nfs4``; None: no such mount.

    There other machines may have it open as well. Known from Linux's list of mounts; elsewhere
    nothing is known, and the answer is None.
    """
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    found, kind = "", None
    for line in lines:
        # proc(5): 36 35 98:0 /root /mount/point options [...] - type source options
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        inside = os.path.commonpath([path, point]) == point
        if inside and len(point) >= len(found):  # the last of those mounted there is on top
            found, kind = point, after.split(" ")[0]
    return kind if kind and NETWORK.fullmatch(kind) else None


def has_room(size: int) -> bool:
    """Whether this process may have ``size`` bytes more; it takes none of them."""
    try:
        mmap.mmap(-1, size).close()
    except OSError:
        return False
    return True


def require_success(trial: Callable[[], object]) -> None:
    """OSError (ENOMEM) unless a fork of this process does ``trial``; nobody hears what it says.

    To be asked before OpenBLAS is: without memory for its buffers it ends the process, with a line
    of its own and no exception; without memory for its threads it sends a SIGINT.
    """
    pid = os.fork()
    if pid:
        if os.waitpid(pid, 0)[1]:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return
    code = 1
    try:
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(30)  # seconds: OpenBLAS that ends a process in a thread may wait for itself
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        trial()
        code = 0
    finally:
        os._exit(code)


class NumPyNeedsMemory:
    """A finder of modules (``sys.meta_path``): where memory is short, a fork loads NumPy first.

    Measured with OpenBLAS 0.3.31: 80 MB of address space, 40 MB for each thread but the first, and
    32 MB with the first product; the rest is for what else a command loads.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "numpy" and not has_room((150 + 40 * (cpus_usable() or 1)) << 20):
            require_success(self._load)

    def _load(self) -> None:
        sys.meta_path.remove(self)
        import_module("numpy")


def raise_at(exceptions: Mapping[int, type[BaseException]]) -> None:
    """Have each of these signals raise its exception in the main thread, once for several at once.

    A terminal that closes sends two, and timeout(1) sends one to the process and one to its group:
    what the first begins, the recording of a run's end, the next must not break.
    """
    last = -math.inf

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > SAME_SECONDS:
            last = now
            raise exceptions[number]

    for number in exceptions:
        signal.signal(number, handle)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Have the handlers of what may end the process run after the body, not in it."""
    if current_thread() is not main_thread():  # the one that handles them
        yield
        return
    handlers = {n: handler for n in ENDING_SIGNALS if callable(handler := signal.getsignal(n))}
    came: list[int] = []
    for number in handlers:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
