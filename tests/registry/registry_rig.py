"""What the registry's tests share, here and in the processes that they start.

Run as a program, it writes the sample registry that is kept of each released schema:
``python registry_rig.py data/schema_0002.db``.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from fmnist_cli.epoch import Epoch
from fmnist_cli.registry import Outcome, Registry, RunSpec

Target = Path | str  # of an SQLite file, or of a PostgreSQL server

CONFIG = {
    "model": "mlp",
    "engine": "numpy",
    "batch": 5,
    "lr": 0.01,
    "momentum": 0.0,
    "epochs": 200,
    "patience": 3,
    "monitor": "val_accuracy",
    "seed": 42,
    "hidden": 128,
    "train_size": 10_000,
    "val_size": 2_000,
    "augment": "none",
    "head": "flatten",
    "init_seed": None,
    "order_seed": None,
}


def spec(**changes: Any) -> RunSpec:
    """A run of the defaults; a key of the configuration or a field of RunSpec may differ."""
    config = {name: changes.pop(name, value) for name, value in CONFIG.items()}
    fields: dict[str, Any] = {
        "command": "train",
        "config": config,
        "data_fingerprint": "f" * 64,
        "data_source": "cache",
        "argv": ("fmnist", "train"),
    }
    return RunSpec(**fields | changes)


def epoch(number: int, **changes: Any) -> Epoch:
    """An epoch with plausible numbers; any of them may differ."""
    values: dict[str, Any] = {
        "epoch": number,
        "updates": 2000 * number,
        "train_seconds": 0.5,
        "eval_seconds": 0.25,
        "running_loss": 1.0 / number,
        "train_loss": 0.9 / number,
        "train_accuracy": 1 - 0.5 / number,
        "val_loss": 1.1 / number,
        "val_accuracy": 1 - 0.6 / number,
        "dead_units": 0,
    }
    return Epoch(**values | changes)


OUTCOME = Outcome(
    stop_reason="patience",
    train_seconds=1.5,
    best_epoch=2,
    updates_to_best=4000,
    best_val_accuracy=0.7,
    best_val_loss=0.55,
    test_accuracy=0.84,
    test_loss=0.4375,
)

OUTCOME_AT_ONCE = Outcome(stop_reason="max_epochs", train_seconds=0.0)  # of no epochs


class Ticking:
    """A clock that goes on by so many seconds whenever it is read."""

    def __init__(self, seconds: float) -> None:
        self._readings: Iterator[int] = count()
        self._seconds = seconds

    def __call__(self) -> float:
        return next(self._readings) * self._seconds


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run ``code`` in a process of its own, this module imported and arguments in ``argv``."""
    prologue = "import sys; from registry_rig import *; argv = sys.argv[1:]\n"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", prologue + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )


# opens each file as another user and prints how many runs it holds, or the error
UNPRIVILEGED = """
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
for name, mode in zip(argv[::2], argv[1::2]):
    try:
        with Registry.open(name, readonly=mode == "r") as registry:
            print(len(registry.list_runs()))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


def forked(n: int, work: Callable[[int], None]) -> None:
    """Do ``work(0)`` ... ``work(n - 1)`` at once in as many processes; for scripts of ``start``."""
    ready, go = os.pipe()
    children = []
    for i in range(n):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)  # returns when the parent closes its end
            try:
                work(i)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    os.close(go)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, once the process has ended."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def raw(target: Target, sql: str) -> list[tuple[Any, ...]]:
    """Execute SQL with the database's own module alone, as a user of the registry would."""
    if isinstance(target, str):
        import psycopg

        from fmnist_cli.registry.sql.postgres import conninfo

        with psycopg.connect(conninfo(target)) as server:
            cursor = server.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []
    connection = sqlite3.connect(target)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


def write_sample(target: Target) -> None:
    """A small registry with something in every table."""
    with Registry.open(target) as registry:
        study = registry.study("sweep-batch", {"seeds": [42]}, arms=("batch 5", "batch 50"))
        with registry.run(spec(study_id=study.id, arm="batch 5")) as run:
            run.record_check("gradient", "W1", {"relative_error": 1e-9}, True)
            run.record_dynamics(1, {"gradient_norm/W1": 0.5, "update_ratio/W1": float("inf")})
            run.record_epoch(epoch(1))
            run.record_epoch(epoch(2, train_loss=float("nan")))
            run.record_evaluation("test", 10, 0.5, 0.9, [[1] * 10] * 10, b"\xff\x80")
            weights = run.folder / "weights.npz"
            weights.write_bytes(b"weights")
            run.add_artefact("weights", weights)
            run.finish(OUTCOME)
    if isinstance(target, str):
        return
    connection = sqlite3.connect(target)
    connection.execute("PRAGMA page_size = 512")
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]))
