"""What keeps a file's code within bounds in the process that runs it.

Three layers, each for what the one before cannot do: the system's limits (processor time,
memory, file size, open files, processes), a network namespace without a network where the system
permits it, and an audit hook that refuses what the file has no business with: starting
processes, sockets, native code, files outside its folder. The hook sees what Python does, not
what machine code does: it keeps honest mistakes and everyday tricks in, not a determined attacker.
For files of strangers the documentation says to use a container.
"""

from __future__ import annotations

import builtins
import ctypes
import os
import resource
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_STARTS_PROCESS = {
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile",
    "subprocess.Popen", "pty.spawn",
}  # fmt: skip
_CHANGES_FILES = {
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate",
    "os.chmod", "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile",
    "shutil.copytree", "os.chflags", "os.utime", "os.setxattr", "os.removexattr",
}  # fmt: skip
_READABLE = ("/dev/null", "/dev/urandom", "/dev/random", "/etc/localtime", "/usr/share/zoneinfo")
NEVER_IMPORTED = frozenset(
    ("ctypes", "_ctypes", "fmnist_cli", "_posixsubprocess", "multiprocessing", "subprocess",
     "socket", "_socket")
)  # fmt: skip
"""Modules that a file is never given where it is run for somebody else."""


@dataclass(frozen=True)
class Limits:
    """What one file may use.

    Attributes
    ----------
    call_seconds : float
        Wall time of one operation (a few calls of a layer; training has its own budget besides).
    file_seconds : float
        Wall time of all operations on the file together, and its processor time.
    memory_bytes : int
        Address space of the process.
    file_bytes : int
        The largest file that it may write.
    """

    call_seconds: float = 10.0
    file_seconds: float = 60.0
    memory_bytes: int = 2 << 30
    file_bytes: int = 1 << 20


class RefusedError(PermissionError):
    """The file tried what it may not; the message says what, as a continuation of "tried to"."""


def without_network() -> bool:
    """Enter a network namespace of one's own, without a network; whether that was possible."""
    if sys.platform != "linux":
        return False
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    return any(unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def limit(limits: Limits) -> None:
    """Set the system's limits for this process, for good."""
    seconds = int(limits.file_seconds) + 1
    wanted = {
        "RLIMIT_CPU": seconds,
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,  # not one more process or thread; root is exempt
    }
    for name, value in wanted.items():
        which = getattr(resource, name, None)
        if which is None:
            continue
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (value, value))
        except (ValueError, OSError):  # macOS refuses some; the judge's clock remains
            continue


def refuse(folder: str, refusals: list[str]) -> None:
    """From now on, refuse what a file has no business with, and note it in ``refusals``.

    Files are read below Python's own folders and ``folder``, and written below ``folder`` only.
    This cannot be undone in this process.
    """
    own = str(Path(__file__).resolve().parents[1])
    home = os.path.realpath(folder)
    roots = {sys.prefix, sys.base_prefix, str(Path(os.__file__).parent), *sys.path[1:]} - {""}
    readable = tuple(os.path.realpath(root) + os.sep for root in roots) + _READABLE
    hidden = os.path.realpath(own) + os.sep

    def refused(what: str) -> RefusedError:
        if what not in refusals and len(refusals) < 20:
            refusals.append(what)
        return RefusedError(f"fmnist refuses that the file tries to {what}")

    def is_ours(path: Any) -> bool:
        """Whether it is a file of fmnist: there are layers that are right in them."""
        return not isinstance(path, int) and os.path.realpath(os.fsdecode(path)).startswith(hidden)

    def within(path: Any, *, writing: bool) -> bool:
        if isinstance(path, int):
            return path < 3
        real = os.path.realpath(os.fsdecode(path))
        if real == home or real.startswith(home + os.sep):
            return True
        return not writing and not is_ours(path) and real.startswith(readable)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writing = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
            if not within(path, writing=writing and path != os.devnull):
                shown = "fmnist's own files" if is_ours(path) else _shown(path)
                raise refused(f"{'write' if writing else 'read'} {shown}")
        elif event in _STARTS_PROCESS:
            raise refused("start a process")
        elif event.startswith("socket."):
            raise refused("use the network")
        elif event.startswith("ctypes."):
            raise refused("call native code")
        elif event in ("os.kill", "os.killpg", "signal.pthread_kill"):
            raise refused("send a signal")
        elif event in _CHANGES_FILES:
            for path in arguments:
                if isinstance(path, str | bytes | os.PathLike) and not within(path, writing=True):
                    raise refused(f"change {_shown(path)}")

    sys.addaudithook(hook)


def _shown(path: Any) -> str:
    return f"the open file {path}" if isinstance(path, int) else os.fsdecode(path)[:200]


def guarded_builtins(
    forbidden: Collection[str], supplied: Mapping[str, ModuleType], refusals: list[str]
) -> dict[str, Any]:
    """Built-ins for the user's module whose ``import`` refuses the forbidden modules."""
    original: Callable[..., Any] = builtins.__import__

    def guarded(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        top = name.partition(".")[0]
        if level == 0 and top in forbidden:
            refusals.append(f"import {top}")
            raise ImportError(f"importing {top} is not allowed here")
        if level == 0 and top in supplied:
            return supplied.get(name, supplied[top]) if fromlist else supplied[top]
        return original(name, globals, locals, fromlist, level)

    return {**vars(builtins), "__import__": guarded}


def numpy_names() -> dict[str, dict[str, int]]:
    """The identity of every public object of NumPy, module by module: what must not change."""
    import numpy as np

    return {
        module.__name__: {
            name: id(value) for name, value in vars(module).items() if not name.startswith("_")
        }
        for module in (np, np.linalg, np.random)
    }
