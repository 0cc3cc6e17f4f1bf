"""What the tests of faults share: `fmnist` in processes of its own, and what a run came to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_cli.registry import Registry

SMALL = ("--train-size", "200", "--val-size", "50", "--allow-custom-data")
TRAIN = ("train", *SMALL, "--hidden", "16", "--momentum", "0.5", "--epochs", "12")
TRAIN += ("--patience", "6", "--quiet")

EAGER = """
import sys
from fmnist_cli.engine import checkpoint
from fmnist_cli.registry import run
checkpoint.LEAST_SECONDS = 0  # after every epoch,
checkpoint.GREATEST_SHARE = 1e9
run.FLUSH_SECONDS = 0  # and a transaction as well
"""


class Forked:
    """A process that runs ``fmnist``, forked from a server that has imported it already.

    Looks like ``subprocess.Popen``. The server has trained nothing, so it has no threads.
    """

    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload(
        [
            *("fmnist_cli.cli", "fmnist_cli.runner.run", "fmnist_cli.runner.study"),
            *("fmnist_cli.engine.numpy_mlp.backend", "fmnist_cli.registry.registry"),
            *("alembic.command", "alembic.config", "rich.table", "tqdm", "reliability_rig"),
        ]
    )

    def __init__(
        self, arguments: Sequence[str], prologue: str, folder: Path, environment: dict[str, str]
    ) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._process = self._context.Process(
            target=_run, args=(arguments, prologue, folder, environment, self._folder)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        assert self.returncode is not None, "it did not end"
        return (self._folder / "out").read_text(), (self._folder / "err").read_text()


def _run(
    arguments: Sequence[str], prologue: str, folder: Path, environment: dict[str, str], to: Path
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ |= environment
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(to / name, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.argv = ["fmnist", *arguments]
    exec(prologue, {})
    from fmnist_cli.__main__ import main

    main()


def start(
    *arguments: object,
    prologue: str = EAGER,
    folder: Path | None = None,
    whole: bool = False,
    **environment: str,
) -> Any:
    """Run ``fmnist ARGUMENTS`` in a process of its own, after some Python.

    Parameters
    ----------
    whole : bool
        A process from nothing, not a fork.
    """
    words, environment = [str(argument) for argument in arguments], {**os.environ, **environment}
    if not whole:
        return Forked(words, prologue, folder or Path.cwd(), environment)
    code = prologue + "\nfrom fmnist_cli.__main__ import main\nmain()\n"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    )


def fmnist(*arguments: object, **keywords: Any) -> tuple[int, str, str]:
    """The same to its end: exit code, stdout and stderr."""
    process = start(*arguments, **keywords)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def outcome(db: Path, run_id: int | str = "latest") -> dict[str, Any]:
    """All that a run came to but the times: what must be the same, break or no break."""
    with Registry.open(db, readonly=True) as registry:
        run = registry.get_run(run_id)
        epochs = [
            {k: v for k, v in asdict(epoch).items() if not k.endswith("_seconds")}
            for epoch in registry.epochs(run.id)
        ]
        evaluations = [asdict(evaluation) for evaluation in registry.evaluations(run.id)]
        dynamics = registry.dynamics(run.id)
        (weights,) = registry.artefacts(run.id, kind="weights")
        with np.load(registry.artefact_path(weights), allow_pickle=False) as file:
            arrays = {name: file[name].tobytes() for name in file.files}
        assert run.digest == registry.computed_digest(run.id)
    result = ("status", "stop_reason", "best_epoch", "updates_to_best", "best_val_accuracy")
    result += ("best_val_loss", "test_accuracy", "test_loss", "still_improving", "epochs_run")
    return {
        **{name: getattr(run, name) for name in result},
        "epochs": epochs,
        "evaluations": evaluations,
        "dynamics": dynamics,
        "weights": arrays,
    }


def epoch_numbers(db: Path, run_id: int | str = "latest") -> Sequence[int]:
    """The epochs that are recorded, in order."""
    with Registry.open(db, readonly=True) as registry:
        return [epoch.epoch for epoch in registry.epochs(registry.get_run(run_id).id)]
