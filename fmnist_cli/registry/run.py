"""The run context: a row before the training, its epochs as they come, an end always."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Table, func, insert, select, update

from fmnist_cli import __version__
from fmnist_cli.errors import FmnistError, RegistryError, Terminated
from fmnist_cli.registry import provenance, schema
from fmnist_cli.registry.database import Database, insert_row
from fmnist_cli.registry.digest import stored_digest
from fmnist_cli.registry.locks import RunLock
from fmnist_cli.registry.queries import lock_path, sha256_of
from fmnist_cli.registry.records import CONFIG_COLUMNS, ArtefactRecord, Outcome, RunSpec
from fmnist_cli.registry.values import now, to_row, utc_text

FLUSH_SECONDS = 0.25  # epochs that are shorter than this share a transaction

_INSERT_EPOCH = insert(schema.epoch)
_INSERT_DYNAMICS = insert(schema.dynamics)


class Run:
    """One run, from ``with`` to its end; made by ``Registry.run``.

    Entering commits the run's row. ``finish`` ends it; whatever leaves the body before that ends
    it too, as failed, or as interrupted for KeyboardInterrupt and Terminated, and goes on its way.
    After the end nothing can be recorded.

    Attributes
    ----------
    id : int
    uuid : str
        32 hexadecimal digits.
    """

    id: int

    def __init__(
        self, database: Database, spec: RunSpec, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.uuid = uuid.uuid4().hex
        self._database = database
        self._clock = clock
        self._lock = RunLock(lock_path(database, self.uuid))
        self._asked = _asked(spec)
        self._pending: list[dict[str, Any]] = []  # epochs that are not committed yet
        self._pending_dynamics: list[dict[str, Any]] = []
        self._ended = False

    @property
    def folder(self) -> Path:
        """The run's own folder, ``runs.files/<id>-<uuid's beginning>``, made when first used."""
        folder = self._database.files / f"{self.id}-{self.uuid[:8]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(f"folder {folder} cannot be made: {error.strerror}.") from error
        return folder

    def __enter__(self) -> Run:
        started = provenance.process_started()
        row = to_row(
            schema.run,
            self._asked
            | {
                "uuid": self.uuid,
                "fmnist_version": __version__,
                "environment": provenance.environment(),
                "host": os.uname().nodename,
                "boot_id": provenance.boot_id(),
                "pid": os.getpid(),
                "process_started": None if started is None else utc_text(started),
                "status": "running",
                "started_at": now(),
            },
        )
        # locked before the row can be seen, or a reader would take the run for lost
        self._lock.acquire()
        try:
            with self._database.write() as connection:
                self.id = insert_row(connection, schema.run, row)
        except BaseException:
            self._lock.release()
            raise
        self._started = self._flushed = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._ended:
                return
            if error is None:
                message = "the command left the run without an outcome"
                self._end("failed", {"message": message})
                raise RuntimeError(message)
            try:
                self._end(*_broken_off(error))
            except RegistryError as unrecorded:
                # what broke the run off matters more than that it could not be recorded
                error.add_note(f"the end of run {self.id} could not be recorded: {unrecorded}")
        finally:
            self._lock.release()

    def record_epoch(
        self,
        *,
        epoch: int,
        updates: int,
        train_seconds: float,
        eval_seconds: float,
        running_loss: float | None,
        train_loss: float | None,
        train_accuracy: float | None,
        val_loss: float | None,
        val_accuracy: float | None,
        dead_units: int | None,
        test_loss: float | None = None,
        test_accuracy: float | None = None,
    ) -> None:
        """Record an epoch, at once or with the next ones of the same quarter of a second.

        Parameters
        ----------
        epoch : int
            From 1.
        updates : int
            Gradient updates since the run began.
        train_seconds, eval_seconds : float
            Spent in this epoch on updates, and on evaluation.
        running_loss, train_loss, ... : float or None
            None where it was not measured; NaN and infinities where it was, and is not finite.
        """
        values = {
            "run_id": self.id,
            "epoch": epoch,
            "updates": updates,
            "train_seconds": train_seconds,
            "eval_seconds": eval_seconds,
            "running_loss": running_loss,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "dead_units": dead_units,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "nonfinite": None,  # rows of one statement have the same columns
        }
        self._must_be_open()
        self._pending.append(to_row(schema.epoch, values))
        if self._clock() - self._flushed >= FLUSH_SECONDS:
            with self._database.write() as connection:
                connection.execute(_INSERT_EPOCH, self._pending)
                if self._pending_dynamics:
                    connection.execute(_INSERT_DYNAMICS, self._pending_dynamics)
            self._pending.clear()
            self._pending_dynamics.clear()
            self._flushed = self._clock()

    def record_dynamics(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Record an epoch's further figures by name: ``(3, {"gradient_norm/W1": 0.2, ...})``.

        They are committed together with the epoch when this is called before ``record_epoch``.
        """
        self._must_be_open()
        for name, value in figures.items():
            row = {"run_id": self.id, "epoch": epoch, "name": name, "value": value}
            self._pending_dynamics.append(to_row(schema.dynamics, row | {"nonfinite": None}))

    def record_check(self, kind: str, name: str, figures: Mapping[str, Any], held: bool) -> None:
        """Record a check's figures, and whether it held: ``("gradient", "W1", {...}, True)``."""
        self._add(schema.run_check, {"kind": kind, "name": name, "figures": figures, "held": held})

    def record_evaluation(
        self,
        test_set: str,
        n: int,
        loss: float | None,
        accuracy: float,
        confusion: Sequence[Sequence[int]],
    ) -> None:
        """Record the result on a named test set.

        Parameters
        ----------
        n : int
            Images in it.
        confusion : (10, 10) int
            ``confusion[true class][predicted class]``.
        """
        self._add(
            schema.evaluation,
            {
                "test_set": test_set,
                "n": n,
                "loss": loss,
                "accuracy": accuracy,
                "confusion": confusion,
            },
        )

    def add_artefact(self, kind: str, path: Path) -> ArtefactRecord:
        """Record a file that the run saved, with its size and SHA-256.

        A file elsewhere than under the registry's folder is recorded with ``..`` in its path; it
        is found again as long as the two keep their places.
        """
        absolute = path.resolve()
        relative = os.path.relpath(absolute, self._database.path.parent)
        artefact = ArtefactRecord(
            run_id=self.id,
            kind=kind,
            path=Path(relative).as_posix(),
            sha256=sha256_of(absolute),
            bytes=absolute.stat().st_size,
        )
        self._add(schema.artefact, asdict(artefact))
        return artefact

    def finish(self, outcome: Outcome) -> None:
        """End the run; the last thing to record."""
        self._must_be_open()
        status = "diverged" if outcome.stop_reason == "diverged" else "finished"
        self._end(status, asdict(outcome))

    def _must_be_open(self) -> None:
        if self._ended:
            raise RuntimeError(f"run {self.id} has ended: nothing more can be recorded")

    def _add(self, table: Table, values: Mapping[str, Any]) -> None:
        self._must_be_open()
        row = to_row(table, {"run_id": self.id, **values})
        with self._database.write() as connection:
            insert_row(connection, table, row)

    def _end(self, status: str, outcome: Mapping[str, Any]) -> None:
        values = to_row(
            schema.run,
            {
                **outcome,
                "status": status,
                "ended_at": now(),
                "total_seconds": self._clock() - self._started,
            },
        )
        run, epoch = schema.run, schema.epoch.c
        with self._database.write() as connection:
            # an interrupt may come just after a commit, before that is known here: epochs that
            # are in the table are not inserted again, and an end that is there stays
            recorded = select(func.max(epoch.epoch)).where(epoch.run_id == self.id)
            last = connection.execute(recorded).scalar() or 0
            pending = [row for row in self._pending if row["epoch"] > last]
            if pending:
                connection.execute(_INSERT_EPOCH, pending)
            dynamics = schema.dynamics.c
            named = select(dynamics.epoch, dynamics.name).where(dynamics.run_id == self.id)
            there = {tuple(row) for row in connection.execute(named)}
            figures = [r for r in self._pending_dynamics if (r["epoch"], r["name"]) not in there]
            if figures:
                connection.execute(_INSERT_DYNAMICS, figures)
            n, seconds = connection.execute(
                select(func.count(), func.coalesce(func.sum(epoch.train_seconds), 0.0)).where(
                    epoch.run_id == self.id
                )
            ).one()
            values = {"epochs_run": n, "train_seconds": seconds} | values
            this = update(run).where(run.c.id == self.id)
            if connection.execute(this.where(run.c.status == "running").values(values)).rowcount:
                # of what is stored, so it is made here, the one computation in a transaction
                connection.execute(this.values(digest=stored_digest(connection, self.id)))
        self._ended = True


def _asked(spec: RunSpec) -> dict[str, Any]:
    if spec.config.keys() != CONFIG_COLUMNS.keys():
        raise TypeError(
            f"config must have the keys {sorted(CONFIG_COLUMNS)}. Received: {sorted(spec.config)}"
        )
    asked = {column: spec.config[name] for name, column in CONFIG_COLUMNS.items()}
    if asked["model"] != "mlp":
        asked["hidden"] = None
    return asked | {
        "command": spec.command,
        "argv": list(spec.argv),
        "data_fingerprint": spec.data_fingerprint,
        "data_source": spec.data_source,
        "study_id": spec.study_id,
        "arm": spec.arm,
        "name": spec.name,
    }


def _broken_off(error: BaseException) -> tuple[str, dict[str, Any]]:
    """The end state, and its columns, of a run whose body raised ``error``."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", {"stop_reason": "interrupted", "message": "interrupted (SIGINT)"}
    if isinstance(error, Terminated):
        return "interrupted", {"stop_reason": "interrupted", "message": "terminated (SIGTERM)"}
    if isinstance(error, FmnistError):
        return "failed", {"message": str(error)}
    return "failed", {"message": f"{type(error).__name__}: {error}"}
