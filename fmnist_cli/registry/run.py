"""The run context: a row before the training, its epochs as they come, an end always."""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Table, delete, select, update

from fmnist_cli import errors, host
from fmnist_cli.epoch import Epoch
from fmnist_cli.files import temporary_folders
from fmnist_cli.formatting import printable, without_password
from fmnist_cli.registry import provenance, schema
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.journal import Journal
from fmnist_cli.registry.layout import artefact_file, claim, run_folder, sha256_of
from fmnist_cli.registry.liveness import Heartbeat, RunLock, lock_file
from fmnist_cli.registry.records import BY_ITSELF, CONFIG_COLUMNS, ArtefactRecord, Outcome, RunSpec
from fmnist_cli.registry.rows import Entry, end_run, insert_row, put_entries, put_epochs
from fmnist_cli.registry.values import now, to_row, utc_text
from fmnist_cli.version import __version__

FLUSH_SECONDS = 0.25  # epochs that are shorter than this share a transaction


class Run(ABC):
    """One run, from ``with`` to its end; made by ``Registry.run`` and ``Registry.resume``.

    Entering commits the run's row. ``finish`` ends it; whatever leaves the body before that ends
    it too, as failed, or as interrupted for KeyboardInterrupt and Terminated, and goes on its way.
    After the end nothing can be recorded.

    A registry that cannot be written once the run has begun does not stop it: what it records
    goes to a journal, and into the registry at the end if that can be written by then.

    Attributes
    ----------
    uuid : str
        32 hexadecimal digits.
    write_error : RegistryUnavailable or None
        Why the registry could not be written; None while it can.
    last_epoch : int
        The newest that is recorded, or waits to be; 0 before the first.
    """

    id: int

    def __init__(self, database: Database, uuid: str, clock: Callable[[], float]) -> None:
        self.uuid = uuid
        self.write_error: errors.RegistryError | None = None
        self._database = database
        self._clock = clock
        self._lock = RunLock(lock_file(database.files, uuid))
        self._entries: list[Entry] = []  # all that was recorded, should a journal be needed
        self._journal: Journal
        self._pending: list[Entry] = []  # of epochs, not committed yet
        self.last_epoch = 0
        self._seconds_before = 0.0  # spent on the run by processes before this one
        self._resumes = 0  # tells this process's hold of the run from a later one's
        self._heartbeat = Heartbeat(self._beat) if database.is_shared else None
        self._ended = False

    @property
    def folder(self) -> Path:
        """The run's own folder, ``<id>-<uuid's beginning>``, made when first used."""
        folder = run_folder(self._database, self.id, self.uuid)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            claim(self._database, folder)
        except OSError as error:
            raise errors.RegistryError(
                f"folder {folder} cannot be made: {error.strerror}."
            ) from error
        return folder

    @property
    def unrecorded(self) -> str:
        """What has become of a run that the registry could not take, in one line."""
        if self._journal.path is None:
            return f"{self.write_error} Nor can a journal of run {self.id} be written anywhere."
        return (
            f"{self.write_error} Run {self.id} is kept in {self._journal.path}, from where it can "
            "be recovered once the registry can be written again."
        )

    @abstractmethod
    def _begin(self) -> Mapping[str, Any]:
        """Commit the row as running, set ``id``, and return the row."""

    def __enter__(self) -> Run:
        # locked before the row can be seen, or a reader would take the run for lost
        self._lock.acquire()
        begun = False
        try:
            with host.signals_deferred():
                row = self._begin()
                self._entries.append(("run", {**row, "registry": self._database.identity}))
                own = run_folder(self._database, self.id, self.uuid)
                self._journal = Journal(self._entries, (own, *temporary_folders()), self.uuid)
                self._started = self._flushed = self._clock()
                if self._heartbeat is not None:
                    self._heartbeat.start()
                begun = True
        except BaseException as error:
            if begun:  # a signal came meanwhile
                self.__exit__(type(error), error, None)
            else:
                self._lock.release()
            raise
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
                self._end(*_failure_status(error))
            except errors.RegistryError as unrecorded:
                # what broke the run off matters more than that it could not be recorded
                error.add_note(f"the end of run {self.id} could not be recorded: {unrecorded}")
        finally:
            if self._heartbeat is not None:
                self._heartbeat.stop()
            self._lock.release()

    def record_epoch(self, epoch: Epoch) -> None:
        """Record an epoch, at once or with the next ones of the same quarter of a second."""
        # rows of one statement have the same columns
        values = {"run_id": self.id, **vars(epoch), "nonfinite": None}
        self._must_be_open()
        self._buffer(schema.epoch, values)
        self.last_epoch = epoch.epoch
        if self._clock() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def record_dynamics(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Record an epoch's further figures by name: ``(3, {"gradient_norm/W1": 0.2, ...})``.

        They are committed together with the epoch when this is called before ``record_epoch``.
        """
        self._must_be_open()
        for name, value in figures.items():
            row = {"run_id": self.id, "epoch": epoch, "name": name, "value": value}
            self._buffer(schema.dynamics, {**row, "nonfinite": None})

    def flush(self) -> None:
        """Commit the epochs that wait for the next transaction, now."""
        if self._pending:
            self._write(lambda connection: put_epochs(connection, self._pending))
            self._pending.clear()
            self._flushed = self._clock()

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
        answers: bytes | None = None,
    ) -> None:
        """Record the result on a named test set.

        Parameters
        ----------
        n : int
            Images in it.
        confusion : (10, 10) int
            ``confusion[true class][predicted class]``.
        answers : bytes, optional
            One bit per image, whether it was classified correctly (``analysis.sampling`` packs
            them): what two runs are compared by, image by image.
        """
        self._add(
            schema.evaluation,
            {
                "test_set": test_set,
                "n": n,
                "loss": loss,
                "accuracy": accuracy,
                "confusion": confusion,
                "answers": None if answers is None else answers.hex(),
            },
        )

    def add_artefact(self, kind: str, path: Path) -> ArtefactRecord:
        """Record a file that the run saved in its folder, with its size and SHA-256."""
        relative = os.path.relpath(path, self._database.folder)
        absolute = artefact_file(self._database, self.uuid, relative)
        try:
            sha256, size = sha256_of(absolute), absolute.stat().st_size
        except OSError as error:
            raise errors.ArtefactError(
                f"{relative} cannot be read: {error.strerror}.", run_id=self.id, path=absolute
            ) from error
        artefact = ArtefactRecord(
            run_id=self.id,
            kind=kind,
            path=printable(Path(relative).as_posix()),
            sha256=sha256,
            bytes=size,
        )
        self._add(schema.artefact, asdict(artefact))
        return artefact

    def finish(self, outcome: Outcome) -> None:
        """End the run; the last thing to record."""
        self._must_be_open()
        status = "diverged" if outcome.stop_reason == "diverged" else "finished"
        self._end(status, asdict(outcome))

    def _heartbeat_columns(self, connection: Connection) -> dict[str, str]:
        """The columns that say in a shared registry that the run lives; none in another."""
        if not self._database.is_shared:
            return {}
        return {"heartbeat_at": utc_text(self._database.clock(connection))}

    def _assert_owner(self, connection: Connection) -> None:
        """Learn whether the run is there and ours; in a shared registry, say that it lives."""
        run = schema.run
        this = select(run.c.resumes, run.c.status).where(
            run.c.id == self.id, run.c.uuid == self.uuid
        )
        row = connection.execute(this.with_for_update()).first()
        if row is not None and row.resumes > self._resumes:
            raise errors.RunTakenOver(
                f"run {self.id} was taken over by another process while nothing was heard of "
                "this one; nothing more is recorded here."
            )
        if row is None or row.resumes < self._resumes or row.status != "running":
            raise errors.RegistryUnavailable(
                f"{self._database.display_name} does not hold run {self.id} as it runs: it was "
                "emptied or replaced by another.",
                run_id=self.id,
            )
        if self._database.is_shared:
            ours = update(run).where(run.c.id == self.id)
            connection.execute(ours.values(self._heartbeat_columns(connection)))

    def _beat(self) -> None:
        # what goes wrong here shows, and is dealt with, when there is something to record
        with suppress(errors.RegistryError), self._database.write() as connection:
            self._assert_owner(connection)

    def _must_be_open(self) -> None:
        if self._ended:
            raise RuntimeError(f"run {self.id} has ended: nothing more can be recorded")

    def _buffer(self, table: Table, values: Mapping[str, Any]) -> None:
        """Have a row of an epoch wait for the next transaction."""
        entry = (table.name, to_row(table, values))
        self._pending.append(entry)
        self._entries.append(entry)

    def _add(self, table: Table, values: Mapping[str, Any]) -> None:
        self._must_be_open()
        row = to_row(table, {"run_id": self.id, **values})
        self._write(lambda connection: insert_row(connection, table, row), (table.name, row))

    def _write(self, write: Callable[[Connection], object], *entries: Entry) -> None:
        """Write to the registry, or the ``entries`` and what waits for it to the journal."""
        if self.write_error is None:
            try:
                with self._database.write() as connection:
                    self._assert_owner(connection)
                    write(connection)
            except errors.RegistryUnavailable as error:
                self.write_error = error
        self._entries += entries
        if self.write_error is not None:
            self._journal.sync()

    def _end(self, status: str, outcome: Mapping[str, Any]) -> None:
        values = to_row(
            schema.run,
            {
                **outcome,
                "status": status,
                "ended_at": now(),
                "total_seconds": self._seconds_before + self._clock() - self._started,
            },
        )
        epoch = schema.epoch
        later = (epoch.c.run_id == self.id) & (epoch.c.epoch > self.last_epoch)
        try:
            with self._database.write() as connection:
                self._assert_owner(connection)
                if self.write_error is not None:
                    put_entries(connection, self.id, self._entries)
                put_epochs(connection, self._pending)
                if status in BY_ITSELF:
                    # a resumed run may, on another machine, have ended earlier than it once got
                    connection.execute(delete(epoch).where(later))
                end_run(connection, self.id, values)
        except errors.RegistryError as error:
            if self.write_error is None and not isinstance(error, errors.RegistryUnavailable):
                raise
            self.write_error = self.write_error or error
            self._entries.append(("end", values))
            self._journal.sync()
        else:
            self.write_error = None
            self._journal.remove()
        self._ended = True


class NewRun(Run):
    """A run that has no row yet."""

    def __init__(self, database: Database, spec: RunSpec, clock: Callable[[], float]) -> None:
        super().__init__(database, spec.uuid or uuid.uuid4().hex, clock)
        self._columns = _run_columns(spec)
        self._more_environment = dict(spec.facts)
        if spec.data_folder is not None:
            self._more_environment["data_folder"] = str(spec.data_folder.absolute())

    def _begin(self) -> Mapping[str, Any]:
        row = to_row(
            schema.run,
            {
                **self._columns,
                **process_columns(),
                "uuid": self.uuid,
                "fmnist_version": __version__,
                "environment": provenance.environment() | self._more_environment,
                "status": "running",
                "started_at": now(),
            },
        )
        with self._database.write() as connection:
            row |= self._heartbeat_columns(connection)
            self.id = insert_row(connection, schema.run, row)
        return {**row, "id": self.id}


def _failure_status(error: BaseException) -> tuple[str, dict[str, Any]]:
    """The end state, and its columns, of a run whose body raised ``error``."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", {"stop_reason": "interrupted", "message": "interrupted (SIGINT)"}
    if isinstance(error, errors.Terminated):
        return "interrupted", {"stop_reason": "interrupted", "message": "terminated (SIGTERM)"}
    if isinstance(error, errors.FmnistError):
        return "failed", {"message": str(error)}
    return "failed", {"message": f"{type(error).__name__}: {error}"}


def process_columns() -> dict[str, Any]:
    """The columns that name this process."""
    started = provenance.process_started()
    return {
        "host": os.uname().nodename,
        "boot_id": host.boot_id(),
        "pid": os.getpid(),
        "process_started": None if started is None else utc_text(started),
    }


def _run_columns(spec: RunSpec) -> dict[str, Any]:
    """The columns that say what is asked."""
    if spec.config.keys() != CONFIG_COLUMNS.keys():
        raise TypeError(
            f"config must have the keys {sorted(CONFIG_COLUMNS)}. Received: {sorted(spec.config)}"
        )
    columns = {column: spec.config[name] for name, column in CONFIG_COLUMNS.items()}
    if columns["model"] != "mlp":
        columns["hidden"] = None
    columns["argv"] = [without_password(word) for word in spec.argv]
    others = ("command", "data_fingerprint", "data_source", "study_id", "arm", "name")
    return columns | {name: getattr(spec, name) for name in others}
