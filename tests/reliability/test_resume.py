"""A run that was cut short, in any way, ends as if it had not been."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from reliability_rig import EAGER, SMALL, TRAIN, epoch_numbers, fmnist, outcome, start
from torture import torture

from fmnist_cli.engine.checkpoint import SLOTS
from fmnist_cli.registry import Registry, RunRecord

# ends itself, by a signal, as epoch 6 is about to be trained
CUT_SHORT = """
import os
from fmnist_cli.engine import training
order = training.epoch_order
def cut_short(seed, epoch, n):
    if epoch == 6:
        os.kill(os.getpid(), {signum})
    return order(seed, epoch, n)
training.epoch_order = cut_short
"""


def cut_short(*arguments: object, signum: int = signal.SIGKILL) -> int:
    """Run a command that a signal ends; its exit code."""
    process = start(*arguments, prologue=EAGER + CUT_SHORT.format(signum=int(signum)))
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode


def latest(db: str = "runs.db") -> RunRecord:
    with Registry.open(db, readonly=True) as registry:
        return registry.get_run("latest")


def folder_of(run: RunRecord) -> Path:
    with Registry.open("runs.db", readonly=True) as registry:
        return registry.run_folder(run)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> dict[str, object]:
    """What the run comes to that is not cut short."""
    folder = tmp_path_factory.mktemp("whole")
    environment = {"FMNIST_DATA_DIR": str(tiny_data), "XDG_CACHE_HOME": str(folder / "cache")}
    assert fmnist(*TRAIN, folder=folder, **environment)[0] == 0
    return outcome(folder / "runs.db")


@pytest.mark.parametrize(
    ("signum", "code", "status"),
    [
        (signal.SIGKILL, -signal.SIGKILL, "lost"),
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "interrupted"),
    ],
)
def test_after_a_signal_it_goes_on(
    folder: Path, expected: dict[str, object], signum: int, code: int, status: str
) -> None:
    assert cut_short(*TRAIN, signum=signum) == code
    run = latest()
    assert run.status == status
    assert epoch_numbers("runs.db") == [1, 2, 3, 4, 5]
    code, out, err = fmnist("train", "--resume", run.id, prologue="")
    assert code == 0, err
    assert "Run 1: mlp (numpy)" in out
    assert "Run 1 continues after epoch 5." in err
    assert outcome("runs.db") == expected
    ended = latest()
    assert (ended.id, ended.uuid, ended.resumes) == (run.id, run.uuid, 1)
    assert not any((folder_of(run) / slot).exists() for slot in SLOTS)
    assert len(list(Path("results").glob("MLP_lr0.01_b5_*.json"))) == 1


def test_the_times_add_up(folder: Path) -> None:
    cut_short(*TRAIN, signum=signal.SIGTERM)
    with Registry.open("runs.db", readonly=True) as registry:
        before = registry.epochs(1)
        first = registry.get_run(1)
    time.sleep(0.3)  # nobody trained meanwhile
    assert fmnist("runs", "resume", "1")[0] == 0
    with Registry.open("runs.db", readonly=True) as registry:
        after = registry.epochs(1)
        ended = registry.get_run(1)
    assert after[:5] == before  # with their times
    assert ended.train_seconds == pytest.approx(sum(e.train_seconds for e in after))
    assert first.total_seconds is not None
    assert ended.total_seconds is not None
    assert ended.total_seconds > first.total_seconds
    assert ended.started_at == first.started_at


@pytest.mark.parametrize("damage", ["flipped", "gone"])  # others: test_checkpoint.py
@pytest.mark.parametrize("both", [False, True])
def test_from_the_checkpoint_before_a_damaged_one_or_from_the_start(
    folder: Path, expected: dict[str, object], damage: str, both: bool
) -> None:
    cut_short(*TRAIN, signum=signal.SIGKILL)
    older, newest = sorted(folder_of(latest()).iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for checkpoint in (older, newest) if both else (newest,):
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 4
        match damage:
            case "flipped":
                checkpoint.write_bytes(content)
            case "gone":
                checkpoint.unlink()
    code, _, err = fmnist("runs", "resume", "latest")
    assert code == 0, err
    assert outcome("runs.db") == expected
    assert f"continues {'from the start' if both else 'after epoch 4'}" in err
    assert err.count("is damaged: its checksum does not hold.") == (damage != "gone") * (1 + both)


def test_a_kill_during_the_resumed_training_loses_no_epoch(
    folder: Path, expected: dict[str, object]
) -> None:
    cut_short(*TRAIN, signum=signal.SIGKILL)
    for checkpoint in folder_of(latest()).iterdir():
        checkpoint.unlink()
    cut = CUT_SHORT.format(signum=9).replace("epoch == 6", "epoch == 3")
    start("runs", "resume", "1", prologue=EAGER + cut).communicate()
    assert latest().status == "lost"
    assert epoch_numbers("runs.db") == [1, 2, 3, 4, 5]  # of which 1 and 2 were trained anew
    assert fmnist("runs", "resume", "1")[0] == 0
    assert outcome("runs.db") == expected


def test_what_cannot_be_resumed_is_refused_in_one_line(folder: Path) -> None:
    assert fmnist(*TRAIN, "--epochs", 2)[0] == 0
    code, _, err = fmnist("runs", "resume", 1, prologue="")
    assert (code, err) == (
        2,
        "Error: a run must have been interrupted to be resumed (lost, interrupted, failed). "
        "Received: run 1, finished.\n",
    )
    code, _, err = fmnist("train", "--resume", 1, "--lr", "0.5", "--new", prologue="")
    assert (code, err) == (
        2,
        "Error: a resumed run keeps the settings it began with. Received: --lr 0.5 --new.\n",
    )
    code, _, err = fmnist("runs", "resume", 7, prologue="")
    assert (code, err) == (
        1,
        "Error: there is no run 7 in runs.db. See which there are: fmnist runs list\n",
    )


def test_other_data_is_refused(folder: Path, tiny_data: Path) -> None:
    cut_short(*TRAIN)
    other = folder / "other"
    other.mkdir()
    for file in tiny_data.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    swapped = (other / "train-labels-idx1-ubyte.gz", other / "t10k-labels-idx1-ubyte.gz")
    import gzip

    labels = bytearray(gzip.decompress(swapped[0].read_bytes()))
    labels[-1] = (labels[-1] + 1) % 10
    swapped[0].write_bytes(gzip.compress(bytes(labels)))
    code, _, err = fmnist("runs", "resume", 1, "--data-dir", other, prologue="")
    assert code == 2
    assert err.startswith("Error: run 1 must have the data it began with, fingerprint ")
    assert latest().status == "lost"
    assert fmnist("runs", "resume", 1)[0] == 0


def test_a_live_run_is_neither_resumed_nor_deleted(folder: Path) -> None:
    process = start(*TRAIN, "--epochs", 1_000_000, "--patience", 1_000_000)
    try:
        _wait_for_epoch(process)
        os.kill(process.pid, signal.SIGSTOP)  # paused, and alive
        for command in (("runs", "resume", 1), ("runs", "delete", 1, "--yes")):
            code, _, err = fmnist(*command, prologue="")
            assert code == 2
            assert f"Received: it runs, as process {process.pid} on" in err
    finally:
        process.kill()
        process.communicate()
    assert fmnist("runs", "delete", 1, "--yes", prologue="")[0] == 0


def _wait_for_epoch(process: Any) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with sqlite3.connect("file:runs.db?mode=ro", uri=True) as connection:
                if connection.execute("SELECT max(epoch) FROM epoch").fetchone()[0]:
                    return
        except sqlite3.Error:
            pass
        time.sleep(0.02)
    raise AssertionError("no epoch was recorded")


def test_a_study_goes_on_with_the_run_that_was_cut_short(folder: Path) -> None:
    study = ("momentum", *SMALL, "--hidden", "16", "--epochs", "8", "--alpha", "0.1", "--alpha")
    cut_short(*study, "0.5", signum=signal.SIGTERM)
    assert latest().status == "interrupted"
    code, _, err = fmnist("runs", "resume", 1, prologue="")
    assert code == 2
    assert (
        "continues, from where it stopped, with study 1. Continue it with: fmnist momentum" in err
    )
    code, _, err = fmnist(*study, "0.5", prologue="")
    assert code == 0, err
    assert "Run 1 continues after epoch 5." in err
    with Registry.open("runs.db", readonly=True) as registry:
        runs = registry.list_runs()
        assert [(run.id, run.status, run.resumes) for run in runs] == [
            (2, "finished", 0),
            (1, "finished", 1),
        ]
        resumed = registry.epochs(1)
    assert fmnist(*study, "0.5", "--new", prologue="")[0] == 0
    with Registry.open("runs.db", readonly=True) as registry:
        anew = registry.epochs(3)
    assert [(e.train_loss, e.test_accuracy) for e in resumed] == [
        (e.train_loss, e.test_accuracy) for e in anew
    ]


def test_a_check_that_did_not_hold_is_made_again(folder: Path) -> None:
    wrong = """
from fmnist_cli.engine.numpy_mlp.layers import SoftmaxCrossEntropy
right = SoftmaxCrossEntropy.backward
SoftmaxCrossEntropy.backward = lambda self: -right(self)
"""
    for command in ((*TRAIN, "--check-gradient"), ("runs", "resume", 1)):
        code, _, err = fmnist(*command, prologue=wrong)
        assert code == 3
        assert "the gradient check must hold before training" in err
        assert (latest().status, latest().epochs_run) == ("failed", 0)
    assert fmnist("runs", "resume", 1)[0] == 0
    with Registry.open("runs.db", readonly=True) as registry:
        assert all(check.held for check in registry.checks(1))


def test_eight_kills_at_random_moments(folder: Path) -> None:
    tally = torture(8, folder, epochs=12, whole=False)
    assert tally.holds, str(tally)


@pytest.mark.keras
@pytest.mark.slow
def test_three_kills_on_keras(folder: Path) -> None:
    tally = torture(3, folder, engine="keras", epochs=10)
    assert tally.holds, str(tally)
