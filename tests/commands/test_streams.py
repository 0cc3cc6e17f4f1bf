"""Where the output goes: a full disk, a reader that has had enough, any encoding, any width."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .conftest import SMALL, Fmnist

pytestmark = pytest.mark.usefixtures("fmnist", "recorded")

TRAIN = ("train", *SMALL, "--epochs", "1", "--log")
STUDY = ("momentum", *SMALL, "--epochs", "1", "--alpha", "0.5")
COMMANDS = {
    "train": TRAIN,
    "study": STUDY,
    "gradcheck": ("gradcheck", *SMALL),
    "list": ("runs", "list"),
    "show": ("runs", "show", "1", "--epochs"),
    "compare": ("runs", "compare", "study:1", "--json"),
    "query": ("runs", "query", "SELECT * FROM epoch_curve", "--csv"),
    "export": ("runs", "export", "--format", "md"),
    "config": ("config", "show"),
    "help": ("train", "--help"),
}
WIDTHS = ("0", "1", "-5", "1000000000", "x", "٣")

every_command = pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS.keys())


def start(*args: str, stdout: int = subprocess.PIPE, **environment: str) -> tuple[int, bytes, str]:
    """The exit code of ``fmnist ARGS`` in a process of its own, its stdout and its stderr."""
    run = subprocess.run(
        [sys.executable, "-m", "fmnist_cli", *args],
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr.decode()


@contextmanager
def full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def no_reader() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@every_command
def test_a_full_disk_ends_the_output_not_the_work(fmnist: Fmnist, args: tuple[str, ...]) -> None:
    before = len(fmnist.document("runs", "list")["runs"])
    with full_disk() as descriptor:
        code, _, stderr = start(*args, stdout=descriptor)
    assert code == 1
    *_, last = stderr.splitlines()
    wanted = "Error: the output must be written somewhere. Received: No space left on device."
    assert last.startswith(wanted)
    assert stderr.count("Error") == 1
    new = fmnist.document("runs", "list")["runs"][:-before]
    assert [run["status"] for run in new] == ["finished"] * (
        args in (TRAIN, STUDY, COMMANDS["gradcheck"])
    )


@every_command
def test_a_reader_that_has_had_enough_is_no_error(args: tuple[str, ...]) -> None:
    with no_reader() as descriptor:
        code, _, stderr = start(*args, stdout=descriptor)
    assert (code, "Traceback" in stderr, "Error" in stderr) == (0, False, False)


@every_command
def test_a_poor_encoding(args: tuple[str, ...]) -> None:
    code, stdout, stderr = start(*args, PYTHONIOENCODING="ascii")
    assert code == 0, stderr
    assert stdout.isascii()
    assert stdout


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_width_that_no_terminal_has(columns: str) -> None:
    settings = {"COLUMNS": columns, "NO_COLOR": "1", "TERM": "dumb", "LINES": "x"}
    for args in (COMMANDS["list"], COMMANDS["help"]):
        code, stdout, stderr = start(*args, **settings)
        assert code == 0, stderr
        assert 20 < max(map(len, stdout.decode().splitlines())) <= 200
        assert b"\x1b" not in stdout


def test_the_encoding_of_the_locale() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, stdout, stderr = start("runs", "show", "1", **plain)
    assert code == 0, stderr
    assert stdout.isascii()
