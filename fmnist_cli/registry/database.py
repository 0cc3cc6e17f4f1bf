"""Transactions on the registry's file: the only place that begins, commits, rolls back and
turns a database's errors into ours. What is SQLite's own is here and in ``migrate.py``.

A connection lives for one transaction. That costs under a millisecond, and a file that was
moved away or replaced in the meantime is noticed instead of written to blindly.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from fmnist_cli.errors import RegistryError, RegistryUnavailable

BUSY_SECONDS = 30.0
TRAIN_FIRST = "train something first: fmnist train"


def locate(target: str | Path) -> Path:
    """The file that a path or an ``sqlite:///`` URL names.

    Raises
    ------
    RegistryError
        When it names no file, or another kind of database.
    """
    text = str(target)
    must = "a registry must be a path or a URL such as sqlite:///runs.db"
    if "://" in text:
        try:
            url = make_url(text)
        except ArgumentError as error:
            raise RegistryError(f"{must}. Received: {text}.") from error
        if url.get_backend_name() != "sqlite" or url.query:
            raise RegistryError(f"{must}. Received: {url.render_as_string(hide_password=True)}.")
        text = url.database or ""
    if text in ("", ":memory:"):
        raise RegistryError(f"{must}. Received: {target!s}.")
    return Path(text).expanduser()


def insert_row(connection: Connection, table: Table, row: Mapping[str, Any]) -> int:
    """Insert one row and return the id that it was given."""
    key: Any = connection.execute(insert(table).values(row)).inserted_primary_key
    return int(key[0])


class Database:
    """One SQLite file.

    Attributes
    ----------
    shown : str
        The path as the user gave it, for messages.
    path : Path
        The same, absolute, with symbolic links followed.
    files : Path
        The folder beside the file for what its runs save: ``runs.files`` for ``runs.db``.
    """

    def __init__(self, path: Path) -> None:
        self.shown = str(path)
        self.path = Path(os.path.realpath(path))
        self.files = self.path.with_name(self.path.stem + ".files")
        self._reader = _engine(self.path, "ro", "BEGIN")
        self._writer = _engine(self.path, "rw", "BEGIN IMMEDIATE")
        # a migration that rebuilds a table must not cascade into the rows that refer to it
        self._migrator = _engine(self.path, "rw", "BEGIN IMMEDIATE", foreign_keys=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction: one consistent state of the file."""
        if self.path.with_name(self.path.name + "-journal").exists():
            self._recover()
        with self._explaining(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start; keep it short."""
        with self._explaining(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def migrate(self) -> Iterator[Connection]:
        """A write transaction for changes of the schema, foreign keys checked at its end."""
        with self._explaining(), self._migrator.begin() as connection:
            yield connection
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise RegistryError(f"{self.shown} holds rows whose run is gone: {broken[:3]}.")

    def dispose(self) -> None:
        """Let go of whatever the connections hold."""
        for engine in (self._reader, self._writer, self._migrator):
            engine.dispose()

    def backup(self, to: Path) -> None:
        """Copy the file, as of the last commit; ``to`` appears whole or not at all."""
        partial = to.with_name(to.name + ".part")
        partial.unlink(missing_ok=True)
        try:
            with (
                self._explaining(),
                # never through open(): closing any descriptor of the file drops SQLite's locks
                closing(_connect(self.path, "ro")) as source,
                closing(sqlite3.connect(partial)) as copy,
            ):
                source.backup(copy)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(to)
        except OSError as error:
            raise RegistryError(f"{to.name} cannot be written: {error.strerror}.") from error
        finally:
            partial.unlink(missing_ok=True)

    def check_usable(self, *, readonly: bool) -> None:
        """Refuse what cannot be a registry, by name and before SQLite touches it."""
        try:
            self._check_usable(readonly)
        except OSError as error:
            raise RegistryError(f"{self.shown} cannot be reached: {error.strerror}.") from error

    def _check_usable(self, readonly: bool) -> None:
        path, shown, folder = self.path, self.shown, self.path.parent
        if path.is_dir():
            raise RegistryError(f"{shown} is a folder; name a file, such as {shown}/runs.db.")
        if not folder.is_dir():
            raise RegistryError(
                f"the folder of {shown} does not exist; make it first: mkdir -p {folder}."
            )
        if not path.exists():
            if readonly:
                raise RegistryError(f"{shown} does not exist; {TRAIN_FIRST}.")
        elif not path.is_file():
            raise RegistryError(f"{shown} is not a regular file; name another with --db.")
        elif not os.access(path, os.R_OK):
            raise RegistryError(f"{shown} cannot be read; ask its owner for permission.")
        elif readonly and path.stat().st_size == 0:
            raise RegistryError(f"{shown} is empty (0 bytes); {TRAIN_FIRST}.")
        elif path.stat().st_size == 1:  # which SQLite takes for an empty file
            raise RegistryError(f"{shown} {_EXPLANATIONS[sqlite3.SQLITE_NOTADB]}.")
        if not readonly:
            if path.exists() and not os.access(path, os.W_OK):
                raise RegistryError(f"{shown} cannot be written; name another with --db.")
            if not os.access(folder, os.W_OK):
                raise RegistryError(
                    f"the folder of {shown} cannot be written; name another with --db."
                )

    def create_empty(self) -> None:
        """Make the file, empty, where there is none."""
        try:
            self.path.touch()
        except OSError as error:
            raise RegistryError(f"{self.shown} cannot be made: {error.strerror}.") from error

    def use_rollback_journal(self) -> None:
        """Take the file out of WAL mode, where some other tool has put it."""
        with self._explaining(), closing(_connect(self.path, "rw")) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")

    def _recover(self) -> None:
        # a writer that was killed in mid-transaction leaves its journal, which a read-only
        # connection may not roll back; reading through a writable one does
        if os.access(self.path, os.W_OK):
            with self._explaining(), closing(_connect(self.path, "rw")) as connection:
                connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._explained(error.orig) from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._explained(error) from error

    def _explained(self, error: BaseException | None) -> RegistryError:
        return explained(self.shown, error)


def explained(shown: str, error: BaseException | None) -> RegistryError:
    """What a database's error means for the file ``shown``, and what to do."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    explain = _EXPLANATIONS.get(code) or _EXPLANATIONS.get(code & 0xFF)
    if explain is None:
        return RegistryError(f"{shown}: {error}.")
    return RegistryUnavailable(f"{shown} {explain}.")


_EXPLANATIONS = {
    sqlite3.SQLITE_BUSY: (
        f"has been locked by another process for {BUSY_SECONDS:.0f} s; "
        "end that process or try again later"
    ),
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see that it and its folder exist and are writable",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore a copy, or save the rest with sqlite3's .recover",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; free some space and try again",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error or is full",
    sqlite3.SQLITE_NOTADB: "is not an SQLite file; name another with --db",
    sqlite3.SQLITE_READONLY_DBMOVED: "was moved or removed while it was in use; put it back",
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "holds what a killed process left half written; "
        "open it once as a user who may write it: fmnist runs list"
    ),
    sqlite3.SQLITE_READONLY: "cannot be written; name another with --db",
}


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # the module begins no transactions of its own
    )


def _engine(path: Path, mode: str, begin: str, *, foreign_keys: bool = True) -> Engine:
    creator: Callable[[], sqlite3.Connection] = lambda: _connect(path, mode)  # noqa: E731
    engine = create_engine("sqlite://", creator=creator, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
