"""Kills trainings at random moments, resumes each to its end, and compares with an unbroken one.

    python tests/reliability/torture.py --kills 200
    python tests/reliability/torture.py --kills 20 --engine keras

Each trial is a registry of its own: a training is killed (SIGKILL) at a random moment after its
row is there, resumed, as often as not killed and resumed again, and then left to end. Checkpoints
and transactions are made at every epoch, so that most kills fall into one. Prints what it saw and
exits 1 unless every trial ended with the same epochs, evaluations and weights, in a registry
without a finding.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from reliability_rig import TRAIN, epoch_numbers, fmnist, outcome, start

from fmnist_cli.engine.data.idx import write_idx
from fmnist_cli.registry import Registry

FINISHED = "Received: run 1, finished"


@dataclass
class Tally:
    """What the trials came to."""

    trials: int = 0
    kills: int = 0
    lost_epochs: int = 0
    damaged: int = 0
    different: int = 0
    killed_after: Counter[int] = field(default_factory=Counter)
    """Kills by the number of epochs that were recorded then."""

    @property
    def holds(self) -> bool:
        return not (self.lost_epochs or self.damaged or self.different)

    def __str__(self) -> str:
        same = self.trials - self.different
        spread = ", ".join(f"{n}: {count}" for n, count in sorted(self.killed_after.items()))
        return (
            f"{self.kills} kills in {self.trials} trainings, each resumed to the end: "
            f"{same} identical results, {self.damaged} damaged registries, "
            f"{self.lost_epochs} lost epochs (kills by epochs recorded: {spread})"
        )


def torture(
    kills: int,
    folder: Path,
    *,
    engine: str = "numpy",
    seed: int = 0,
    epochs: int = 30,
    whole: bool = True,
) -> Tally:
    """Kill ``kills`` times.

    Parameters
    ----------
    folder : Path
        Where the registries are made; FMNIST_DATA_DIR names the data.
    whole : bool
        Every process from nothing, not a fork.
    """
    rng = random.Random(seed)
    train = (*TRAIN, "--engine", engine, "--epochs", epochs, "--patience", 1000)
    train += ("--dynamics",)
    empty = folder / "empty.db"
    Registry.open(empty).close()  # the migrations of each would take longer than its training
    unbroken = folder / "unbroken"
    unbroken.mkdir()
    shutil.copy(empty, unbroken / "runs.db")
    span = _span(train, unbroken, whole)
    expected = outcome(unbroken / "runs.db")

    tally = Tally()
    while tally.kills < kills:
        trial = folder / str(tally.trials)
        trial.mkdir()
        db = trial / "runs.db"
        shutil.copy(empty, db)
        tally.trials += 1
        command: tuple[Any, ...] = train
        acknowledged = 0
        while tally.kills < kills:
            wait = rng.random() < 0.9  # a few are killed before they have trained an epoch
            moment = rng.uniform(0, span)
            ended = _killed(command, trial, acknowledged if wait else -1, moment, whole)
            recorded = _recorded(db)
            tally.lost_epochs += max(0, acknowledged - recorded)
            acknowledged = recorded
            if ended:
                break
            tally.kills += 1
            tally.killed_after[recorded] += 1
            command = ("runs", "resume", "1", "--quiet")
            if rng.random() < 0.5:
                break
        if not ended:
            code, _, err = fmnist("runs", "resume", "1", "--quiet", folder=trial, whole=whole)
            assert code == 0 or FINISHED in err, err
        tally.damaged += fmnist("runs", "verify", folder=trial, whole=whole)[0] != 0
        tally.different += outcome(db) != expected
    return tally


def _span(command: tuple[Any, ...], folder: Path, whole: bool) -> float:
    """Train unbroken; the seconds from the first epoch to the end."""
    process = start(*command, folder=folder, whole=whole)
    _wait_for(process, folder / "runs.db", 0)
    first = time.monotonic()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return time.monotonic() - first


def _killed(
    command: tuple[Any, ...], folder: Path, epochs: int, after_seconds: float, whole: bool
) -> bool:
    """Kill the command so long after its run has more epochs; True if it ended before that."""
    process = start(*command, folder=folder, whole=whole)
    _wait_for(process, folder / "runs.db", epochs)
    with suppress(Exception):
        process.wait(timeout=after_seconds)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate()
    # the kill before this one may have come between the run's end and the process's
    ended = process.returncode == 0 or FINISHED in err
    assert ended or process.returncode == -signal.SIGKILL, err
    return ended


def _wait_for(process: Any, db: Path, epochs: int) -> None:
    """Wait until the process's run has more than so many epochs, or it has ended."""
    # asked with the standard library alone: opening a registry takes as long as an epoch
    sql = "SELECT count(epoch) FROM run LEFT JOIN epoch ON run_id = id WHERE pid = ? GROUP BY id"
    while process.poll() is None:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as file,
        ):
            row = file.execute(sql, (process.pid,)).fetchone()
            if row is not None and row[0] > epochs:
                return
        time.sleep(0.001)


def _recorded(db: Path) -> int:
    numbers = epoch_numbers(db)
    assert list(numbers) == list(range(1, len(numbers) + 1)), numbers
    return len(numbers)


def _write_data(folder: Path) -> None:
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.conftest import N_TINY_TEST, N_TINY_TRAIN, tiny_arrays

    rng = np.random.default_rng(7)
    for part, n in (("train", N_TINY_TRAIN), ("t10k", N_TINY_TEST)):
        images, labels = tiny_arrays(n, rng)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--engine", choices=("numpy", "keras"), default="numpy")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        _write_data(folder / "data")
        os.environ |= {"FMNIST_DATA_DIR": str(folder / "data"), "XDG_CACHE_HOME": name}
        tally = torture(arguments.kills, folder, engine=arguments.engine, seed=arguments.seed)
    print(f"{arguments.engine}: {tally}")
    sys.exit(0 if tally.holds else 1)


if __name__ == "__main__":
    main()
