"""Ctrl-C while modules are imported, options read or tables made: a line, and no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import SMALL, Fmnist

MOMENTS = 8
AT_IMPORT = """
import signal, sys
from fmnist_cli.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)
wanted, imports = int(sys.argv.pop(1)), 0

def interrupt(event, _):
    global imports
    if event == "import":
        imports += 1
        if imports == wanted:
            signal.raise_signal(signal.SIGINT)

sys.addaudithook(interrupt)
try:
    main()
finally:
    if not wanted:
        print(imports)
"""


def interrupted_at(wanted: int, *args: str) -> subprocess.CompletedProcess[str]:
    """``fmnist ARGS``, and Ctrl-C as it imports its module of that number; at 0 their number."""
    words = [sys.executable, "-c", AT_IMPORT, str(wanted), *args]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    "args",
    [("--help",), ("runs", "list"), ("train", *SMALL, "--epochs", "1", "--quiet")],
    ids=lambda args: args[0],
)
def test_no_moment_shows_a_traceback(fmnist: Fmnist, args: tuple[str, ...]) -> None:
    fmnist.small("train", "--epochs", 1)
    imports = int(interrupted_at(0, *args).stdout.split()[-1])
    assert imports > 100
    for moment in range(MOMENTS):
        run = interrupted_at(1 + moment * (imports - 1) // MOMENTS, *args)
        assert run.returncode == 130, run
        assert run.stderr.startswith("Error: Interrupted"), run
        assert len(run.stderr.splitlines()) == 1
