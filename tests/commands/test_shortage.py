"""Too little memory, too few file descriptors: a line that says so, and no run that is lost."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from functools import partial

import pytest

from fmnist_cli.errors import FmnistError, shortage
from fmnist_cli.runner.jobs import Failed

from .conftest import SMALL, Fmnist

STUDY = ("sweep-batch", *SMALL, "--epochs", "1", "--batch", "5", "--batch", "50", "--jobs", "2")


def limited(kind: int, limit: int, *args: str) -> subprocess.CompletedProcess[str]:
    """``fmnist ARGS`` in a process of its own, which may have so much."""
    words = [sys.executable, "-m", "fmnist_cli", *args]
    limit_it = partial(resource.setrlimit, kind, (limit, limit))
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=120, preexec_fn=limit_it
    )


@pytest.mark.parametrize("megabytes", [60, 160, 225, 300])
@pytest.mark.parametrize("args", [STUDY, ("train", *SMALL, "--epochs", "1")], ids=["jobs", "train"])
def test_memory(fmnist: Fmnist, megabytes: int, args: tuple[str, ...]) -> None:
    fmnist.small("train", "--epochs", 1)
    run = limited(resource.RLIMIT_AS, megabytes << 20, *args)
    if run.returncode:  # what it needs depends on the machine
        assert run.returncode == 1
        (line,) = (line for line in run.stderr.splitlines() if "emory" in line)
        assert line.startswith("Error: ")  # OpenBLAS would end the process with a line of its own
        assert "there must be enough memory. Received: " in line
    statuses = {one["status"] for one in fmnist.document("runs", "list")["runs"]}
    assert statuses <= {"finished", "failed"}


def test_what_fits_is_not_refused(fmnist: Fmnist) -> None:
    """A second thread takes some 100 MB that the same training can do without, bit for bit."""
    peak = "print([line for line in open('/proc/self/status') if 'VmPeak' in line][0].split()[1])"
    command = f"import atexit; atexit.register(lambda: {peak})\n"
    command += "from fmnist_cli.__main__ import main; main()"
    args = ("train", *SMALL, "--epochs", "1", "--quiet")
    words = [sys.executable, "-c", command, *args]
    free = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    kilobytes = int(free.stdout.splitlines()[-1])
    run = limited(resource.RLIMIT_AS, (kilobytes << 10) - (60 << 20), *args)
    assert run.returncode == 0, run.stderr
    fmnist("runs", "reproduce", 2)


@pytest.mark.parametrize("files", [8, 32])
def test_file_descriptors(fmnist: Fmnist, files: int) -> None:
    fmnist.small("train", "--epochs", 1)
    run = limited(resource.RLIMIT_NOFILE, files, *STUDY)
    if run.returncode:
        (line,) = run.stderr.splitlines()
        assert line == (
            "Error: this process must be able to open more files. Received: Too many open files; "
            "raise the limit: ulimit -n 1024."
        )
    statuses = {one["status"] for one in fmnist.document("runs", "list")["runs"]}
    assert statuses <= {"finished", "failed"}


def test_what_a_shortage_is() -> None:
    memory = "there must be enough memory. Received: "
    for error, begin in (
        (MemoryError(), memory + "a MemoryError."),
        (MemoryError("Unable to allocate 7 MiB"), memory + "Unable to allocate 7 MiB."),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), memory),
        (ImportError("x.so: failed to map segment from shared object"), memory + "x.so: failed"),
        (RuntimeError("can't start new thread"), memory + "can't start new thread"),
        (OSError(errno.EMFILE, "x"), "this process must be able to open more files."),
        (OSError(errno.ENAMETOOLONG, "File name too long", "nnn"), "a name must be one that a"),
        (
            FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
            "there must be a",
        ),
        (OSError(errno.ENOSPC, "x"), "the output must be written somewhere."),
    ):
        assert (shortage(error) or "").startswith(begin)
        outer = ImportError("numpy could not be imported")
        outer.__cause__ = error
        assert shortage(outer) == shortage(error)
        assert Failed.by("batch 5", error) == Failed("batch 5", shortage(error) or "")
    for other in (RuntimeError("a bug"), OSError(errno.EIO, "x"), FmnistError("x"), None):
        assert shortage(other) is None
    assert "RuntimeError: a bug" in Failed.by("batch 5", RuntimeError("a bug")).message
