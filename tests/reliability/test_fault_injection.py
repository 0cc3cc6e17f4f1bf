"""The n-th call of open, write, fsync, rename or commit fails, or the process is killed there, for
n = 1, 2, ... until the command passes: at every n the promises hold.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from reliability_rig import EAGER, TRAIN, epoch_numbers, fmnist, outcome, start

from fmnist_cli.errors import RunNotFound
from fmnist_cli.registry import Registry

SHORT = (*TRAIN, "--epochs", "4")

# Counts the calls that concern the current folder.
INJECT = (
    EAGER
    + """
import builtins, errno, io, os, pathlib, signal
import sqlalchemy
what, n, kills, home = {what!r}, {n}, {kills}, os.getcwd()
calls = 0

def strike():
    global calls
    calls += 1
    if calls == n:
        os.write(2, b"struck\\n")
        if kills:
            os.kill(os.getpid(), signal.SIGKILL)
        return True
    return False

def fails(real, concerns=lambda *a: True):
    def call(*arguments, **keywords):
        if concerns(*arguments) and strike():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **keywords)
    return call

def is_local_host(path, *rest):
    return isinstance(path, (str, os.PathLike)) and home in os.path.abspath(path)

class Writer:
    def __init__(self, file):
        self._file = file
    def __enter__(self):
        self._file.__enter__()
        return self
    def __exit__(self, *rest):
        return self._file.__exit__(*rest)
    def __getattr__(self, name):
        return getattr(self._file, name)
    def write(self, content):
        if strike():
            self._file.write(content[: len(content) // 2])  # a disk fills up in mid-write
            self._file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(content)
    def writelines(self, contents):
        for content in contents:
            self.write(content)

def opened(real):
    def call(path, mode="r", *rest, **keywords):
        file = real(path, mode, *rest, **keywords)
        return Writer(file) if is_local_host(path) and set(mode) & set("wax+") else file
    return call

if what == "open":
    io.open = fails(io.open, is_local_host)
    os.open = fails(os.open, is_local_host)
elif what == "write":
    io.open = opened(io.open)
elif what == "fsync":
    os.fsync = fails(os.fsync)
elif what == "rename":
    os.replace = fails(os.replace)
elif what == "commit":
    def commit(self, connection, real=sqlalchemy.engine.default.DefaultDialect.do_commit):
        if strike():
            import sqlite3
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        real(self, connection)
    sqlalchemy.engine.default.DefaultDialect.do_commit = commit
"""
)


def promises(expected: dict[str, Any], code: int | None, err: str) -> None:
    """What holds wherever it failed: one line, an undamaged registry, a run that can go on."""
    assert code in (0, 1, 2, -9)
    assert "Traceback" not in err, err
    if code in (1, 2):
        assert re.match("Error: ", err.strip().splitlines()[-1])
    assert fmnist("runs", "verify", prologue="")[0] == 0
    fmnist("runs", "recover", prologue="")
    with Registry.open("runs.db", readonly=True) as registry:
        try:
            status = registry.get_run("latest").status
        except RunNotFound:
            assert code != 0
            return  # it failed before it began
    numbers = epoch_numbers(Path("runs.db"))
    assert list(numbers) == list(range(1, len(numbers) + 1))
    if code == 0:
        assert status == "finished"
    if status != "finished":
        assert status in ("failed", "lost")
        resumed, _, err = fmnist("runs", "resume", "latest", prologue="")
        assert resumed == 0, err
    assert outcome(Path("runs.db")) == expected
    assert fmnist("runs", "verify", prologue="")[0] == 0
    assert fmnist("runs", "gc", prologue="")[0] == 0
    assert not list(Path("runs.files").glob("*/*.ckpt"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> dict[str, Any]:
    """What the run comes to where nothing fails."""
    folder = tmp_path_factory.mktemp("whole")
    environment = {"FMNIST_DATA_DIR": str(tiny_data), "XDG_CACHE_HOME": str(folder / "cache")}
    assert fmnist(*SHORT, folder=folder, **environment)[0] == 0
    return outcome(folder / "runs.db")


def inject(
    what: str, n: int, kills: bool, folder: Path, empty: Path, expected: dict[str, Any]
) -> bool:
    """One training with the fault in its n-th call; whether there was an n-th call."""
    work = folder / f"{what}-{n}-{'kill' if kills else 'fail'}"
    work.mkdir()
    (work / "runs.db").write_bytes(empty.read_bytes())
    os.chdir(work)
    process = start(*SHORT, prologue=INJECT.format(what=what, n=n, kills=kills))
    _, err = process.communicate(timeout=120)
    struck = "struck\n" in err
    assert (process.returncode == -9) == (struck and kills)
    promises(expected, process.returncode, err.replace("struck\n", ""))
    return struck


@pytest.mark.parametrize(
    ("what", "n", "kills"),
    [("write", 1, False), ("fsync", 2, True), ("rename", 3, True), ("commit", 2, False)],
)
def test_one_call(
    folder: Path,
    empty_registry: Path,
    expected: dict[str, Any],
    what: str,
    n: int,
    kills: bool,
) -> None:
    assert inject(what, n, kills, folder, empty_registry, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [False, True], ids=["fails", "kills"])
@pytest.mark.parametrize("what", ["open", "write", "fsync", "rename", "commit"])
def test_every_call(
    folder: Path, empty_registry: Path, expected: dict[str, Any], what: str, kills: bool
) -> None:
    n = 1
    while inject(what, n, kills, folder, empty_registry, expected):
        n += 1
    assert n > 4
