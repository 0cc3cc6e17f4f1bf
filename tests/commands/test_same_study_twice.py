"""One study, started by two processes: it is trained once, and the second says who trains it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmnist_cli.errors import FmnistError
from fmnist_cli.registry import Registry

from .conftest import SMALL

STUDY = ("momentum", "--alpha", "0", "--alpha", "0.5", *SMALL, "--epochs", "1000")


def start(*more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fmnist_cli", *STUDY, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def running() -> list[int | None]:
    try:
        with Registry.open("runs.db", readonly=True) as registry:
            return [run.pid for run in registry.list_runs(status="running") if run.epochs_run]
    except FmnistError:
        return []


def wait_until_training() -> None:
    deadline = time.monotonic() + 60
    while not running():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def results() -> list[tuple[str | None, int, str, int]]:
    with Registry.open("runs.db", readonly=True) as registry:
        runs = registry.list_runs()[::-1]
        return [(run.arm, run.seed, run.status, run.resumes) for run in runs]


@pytest.mark.usefixtures("fmnist")
def test_the_second_waits_and_takes_what_the_first_trained() -> None:
    first = start("--json")
    wait_until_training()
    second = start("--json")
    outputs = [process.communicate(timeout=120) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert results() == [("momentum 0", 42, "finished", 0), ("momentum 0.5", 42, "finished", 0)]
    (one, _), (two, said) = outputs
    assert f"Study 1 is being trained by process {first.pid} on {os.uname().nodename}" in said
    assert json.loads(one) == json.loads(two)
    assert not list(Path("runs.files/locks").glob("study-*.lock"))


@pytest.mark.usefixtures("fmnist")
def test_two_that_start_at_once_train_it_once() -> None:
    processes = [start(), start()]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(results()) == 2
    assert sum("waiting for it" in text for text in said) == 1


@pytest.mark.usefixtures("fmnist")
def test_the_second_continues_what_the_first_leaves() -> None:
    first = start()
    wait_until_training()
    second = start()
    time.sleep(2)  # it waits by now
    wait_until_training()  # not between two runs
    first.send_signal(signal.SIGTERM)
    _, left = first.communicate(timeout=60)
    _, said = second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (143, 0), left + said
    assert [arm for arm, *_ in results()] == ["momentum 0", "momentum 0.5"]
    assert {status for *_, status, _ in results()} == {"finished"}
    assert sum(resumes for *_, resumes in results()) == 1


@pytest.mark.usefixtures("fmnist")
def test_a_hang_up_and_a_closed_stderr() -> None:
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever nohup these tests run under
    try:
        process = start("--jobs", "2")
    finally:
        signal.signal(signal.SIGHUP, handler)
    wait_until_training()
    os.killpg(process.pid, signal.SIGHUP)  # as a terminal does that is closed
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Terminated: study 1 keeps" in said
    assert {status for *_, status, _ in results()} == {"interrupted"}

    command = [sys.executable, "-m", "fmnist_cli", *STUDY, "--jobs", "2"]
    ended = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert ended.stderr is not None
    ended.stderr.close()  # nobody hears of the work any more
    assert ended.wait(timeout=120) == 0
    assert {status for *_, status, _ in results()} == {"finished"}


@pytest.mark.usefixtures("fmnist")
def test_nohup_is_respected() -> None:
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a child inherits it
    try:
        process = start()
    finally:
        signal.signal(signal.SIGHUP, handler)
    wait_until_training()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0
