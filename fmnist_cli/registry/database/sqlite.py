"""A registry in an SQLite file. What is SQLite's own is here and in ``sql/sqlite.py``.

A connection lives for one transaction. That costs under a millisecond, and a file that was
moved away or replaced in the meantime is noticed instead of written to blindly.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from fmnist_cli.errors import RegistryError, RegistryUnavailable, Remedy
from fmnist_cli.formatting import printable
from fmnist_cli.host import network_mount
from fmnist_cli.registry.database.base import BUSY_SECONDS, Database
from fmnist_cli.registry.layout import files_folder

_LONGEST_ENDING = ".backup-0000-20260101T000000Z.part-journal"  # of the names of files beside one
_LONGEST_NAME = 255 - len(_LONGEST_ENDING)  # bytes; 255 those of a file on any system


class SQLite(Database):
    """One SQLite file.

    Attributes
    ----------
    path : Path
        Absolute, with symbolic links followed.
    """

    def __init__(self, path: Path) -> None:
        self.display_name = str(path)
        self.path = Path(os.path.realpath(path))
        self.target = str(self.path)
        self.identity = printable(self.target)
        self.files = files_folder(self.path)
        kind = network_mount(self.path)
        self.is_shared = kind is not None
        if kind is not None:
            self.warning = (
                f"{self.display_name} is on a network mount ({kind}), where SQLite's locks cannot "
                "be trusted: let one machine at a time record in it, or share a PostgreSQL server."
            )
        self._reader = _engine(self.path, "ro", "BEGIN")
        # the write lock is held from the start: what is read cannot change before it is written
        self._writer = _engine(self.path, "rw", "BEGIN IMMEDIATE")
        # a migration that rebuilds a table must not cascade into the rows that refer to it
        self._migrator = _engine(self.path, "rw", "BEGIN IMMEDIATE", foreign_keys=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        journal = self.path.with_name(self.path.name + "-journal")
        if journal.exists() and os.access(self.path, os.W_OK):
            # a writer that was killed in mid-transaction leaves it, which a read-only connection
            # may not roll back; reading through a writable one does
            with self._translating_errors(), closing(_connect(self.path, "rw")) as writable:
                writable.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        with super().read() as connection:
            yield connection

    @contextmanager
    def migrate(self) -> Iterator[Connection]:
        with self._translating_errors(), self._migrator.begin() as connection:
            yield connection
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise RegistryError(
                    f"{self.display_name} holds rows whose run is not there: {broken[:3]}."
                )

    def dispose(self) -> None:
        for engine in (self._reader, self._writer, self._migrator):
            engine.dispose()

    def back_up(self, connection: Connection, revision: str) -> None:
        name = f"{self.path.name}.backup-{revision}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        self._copy(self.path.with_name(name))

    def snapshot(self, folder: Path) -> SQLite:
        copy = SQLite(folder / "runs.db")
        copy.display_name = self.display_name  # the file that the user knows
        self._copy(copy.path)
        return copy

    def clock(self, connection: Connection) -> datetime:
        return datetime.now(UTC)

    def integrity_errors(self, connection: Connection) -> Iterator[str]:
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if line != "ok":
                yield f"its structure is damaged: {line}"
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"a row of {row[0]} belongs to a run that is not there"

    @staticmethod
    def translate_error(name: str, error: BaseException | None) -> RegistryError:
        code = getattr(error, "sqlite_errorcode", None) or 0
        explain = _EXPLANATIONS.get(code) or _EXPLANATIONS.get(code & 0xFF)
        if str(error).startswith(("no such table", "no such column")):
            return RegistryUnavailable(f"{name} is not whole: {error}.")
        if code & 0xFF == sqlite3.SQLITE_CANTOPEN and not _can_open():
            return RegistryUnavailable(
                f"{name} cannot be opened: this process may open no more files (ulimit -n)."
            )
        if explain is None:
            return RegistryError(f"{name}: {error}.")
        remedy = _REMEDIES.get(code) or _REMEDIES.get(code & 0xFF)
        return RegistryUnavailable(f"{name} {explain}.", remedy=remedy)

    def _copy(self, to: Path) -> None:
        """Copy the file, as of the last commit; ``to`` appears whole or not at all."""
        partial = to.with_name(to.name + ".part")
        partial.unlink(missing_ok=True)
        try:
            with (
                self._translating_errors(),
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
        # by name, and before SQLite touches it
        try:
            self._check_usable(readonly)
            if not self.path.exists():
                self.path.touch()
        except OSError as error:
            raise RegistryError(
                f"{self.display_name} cannot be reached: {error.strerror}."
            ) from error

    def _check_usable(self, readonly: bool) -> None:
        path, name, folder = self.path, self.display_name, self.path.parent
        if path.is_dir():
            raise RegistryError(f"{name} is a folder; name a file, such as {name}/runs.db.")
        if not folder.is_dir():
            raise RegistryError(
                f"the folder of {name} does not exist; make it first: mkdir -p {folder}."
            )
        if not path.exists():
            if readonly:
                raise RegistryError(f"{name} does not exist.", remedy="train_first")
            if len(os.fsencode(path.name)) > _LONGEST_NAME:
                raise RegistryError(
                    f"the registry's name must be of at most {_LONGEST_NAME} bytes, for files "
                    f"beside it have longer ones. Received: {path.name}.",
                    remedy="another_registry",
                )
        elif not path.is_file():
            raise RegistryError(f"{name} is not a regular file.", remedy="another_registry")
        elif not os.access(path, os.R_OK):
            raise RegistryError(f"{name} cannot be read; ask its owner for permission.")
        elif readonly and path.stat().st_size == 0:
            raise RegistryError(f"{name} is empty (0 bytes).", remedy="train_first")
        elif path.stat().st_size == 1:  # which SQLite takes for an empty file
            raise RegistryError(f"{name} is not an SQLite file.", remedy="another_registry")
        if not readonly:
            if path.exists() and not os.access(path, os.W_OK):
                raise RegistryError(f"{name} cannot be written.", remedy="another_registry")
            if not os.access(folder, os.W_OK):
                raise RegistryError(
                    f"the folder of {name} cannot be written.", remedy="another_registry"
                )

    def normalize_settings(self) -> None:
        # out of WAL mode, where some other tool has put it
        with self._translating_errors(), closing(_connect(self.path, "rw")) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            with super()._translating_errors():
                yield
        except sqlite3.Error as error:  # of a connection that SQLAlchemy does not know
            raise self.translate_error(self.display_name, error) from error


def _can_open() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


_EXPLANATIONS = {
    sqlite3.SQLITE_BUSY: (
        f"has been locked by another process for {BUSY_SECONDS:.0f} s; "
        "end that process or try again later"
    ),
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see that it and its folder exist and are writable",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore a copy, or save the rest with sqlite3's .recover",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; free some space and try again",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error or is full",
    sqlite3.SQLITE_NOTADB: "is not an SQLite file",
    sqlite3.SQLITE_READONLY_DBMOVED: "was moved or removed while it was in use; put it back",
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "holds what a killed process left half written, which only a user who may write it can undo"
    ),
    sqlite3.SQLITE_READONLY: "cannot be written",
}
_REMEDIES: dict[int, Remedy] = {
    sqlite3.SQLITE_NOTADB: "another_registry",
    sqlite3.SQLITE_READONLY_ROLLBACK: "open_once_writable",
    sqlite3.SQLITE_READONLY: "another_registry",
}


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # the module begins no transactions of its own
    )


def _engine(path: Path, mode: str, begin: str, *, foreign_keys: bool = True) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _connect(path, mode), poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
