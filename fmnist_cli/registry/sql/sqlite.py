"""The reader of SQL for an SQLite file, with the standard library alone."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fmnist_cli.errors import RegistryError, UsageError
from fmnist_cli.files import expand
from fmnist_cli.registry.layout import files_folder
from fmnist_cli.registry.liveness import Running
from fmnist_cli.registry.migrations import HEAD, TABLES, VIEWS
from fmnist_cli.registry.sql import reader

MAX_BYTES = 10_000_000  # of one value

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_READING_PRAGMAS = {"table_info", "table_list"}


class SqliteReader(reader.SqlReader):
    """See ``SqlReader``; the connection is read-only, and allows nothing but to read."""

    def __init__(self, target: str | Path) -> None:
        self.display_name = str(target)
        path = _path(target)
        if not _is_ready(path):
            from fmnist_cli.registry.registry import Registry

            with Registry.open(target, readonly=True) as registry:
                registry.list_runs(limit=1)  # which finds out what else may be wrong
        self._connection = _connect(path)
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        try:
            running = map(Running._make, self._connection.execute(reader.RUNNING).fetchall())
            files = files_folder(path)
            view = self.lost_view(running, files, lambda: datetime.now(UTC))
            if view is not None:
                self._connection.execute(view.format("main"))
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unreadable(error) from error
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
        self._connection.set_authorizer(_authorise)

    def close(self) -> None:
        self._connection.close()

    def columns(self, view: str = "run_summary") -> tuple[str, ...]:
        rows = self._connection.execute(f"PRAGMA table_info({view})")
        return tuple(row[1] for row in rows)

    def tables(self) -> tuple[str, ...]:
        rows = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type DESC"
        )
        return tuple(name for (name,) in rows if name != "alembic_version")

    def value(self, name: str) -> str:
        return f":{name}"

    def execute(
        self, what: str, asked: str, sql: str, values: Mapping[str, Any], at_most: int | None
    ) -> reader.QueryResult:
        deadline = time.monotonic() + reader.QUERY_SECONDS
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        try:
            with closing(self._connection.execute(sql, values)) as cursor:
                if cursor.description is None:
                    raise reader.refused(what, asked)
                columns = tuple(column[0] for column in cursor.description)
                rows = reader.fetch(cursor, at_most)
        except (sqlite3.Error, sqlite3.Warning) as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT and (
                time.monotonic() <= deadline
            ):
                raise KeyboardInterrupt from error  # it came while SQLite asked for the time
            raise self._translate_error(what, asked, error) from error
        finally:
            self._connection.set_progress_handler(None, 0)
        if bytes in set(map(type, chain.from_iterable(rows))):
            rows = [tuple(v.hex() if isinstance(v, bytes) else v for v in row) for row in rows]
        return reader.QueryResult(columns, rows)

    def _translate_error(
        self, what: str, asked: str, error: BaseException
    ) -> RegistryError | UsageError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        text = str(error)
        if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
            return reader.refused(what, asked, note=reader.UNCHANGED)
        if code == sqlite3.SQLITE_TOOBIG and what == "where":  # nothing of what was asked
            return RegistryError(
                f"{self.display_name} must hold no value of more than {MAX_BYTES // 1_000_000} MB. "
                "Received: a larger one.",
                remedy="verify",
            )
        if code == sqlite3.SQLITE_INTERRUPT:
            return reader.too_slow(what, asked)
        if code not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH):
            return self._unreadable(error)
        if match := re.fullmatch(r"no such (column|table): (.+)", text):
            return self.unknown(what, match[1], match[2].rpartition(".")[2], asked)
        if "one statement at a time" in text:
            return reader.refused(what, asked, note=reader.UNCHANGED)
        return reader.refused(what, asked, text)

    def _unreadable(self, error: BaseException) -> RegistryError:
        from fmnist_cli.registry.database.sqlite import SQLite

        return SQLite.translate_error(self.display_name, error)


def _authorise(action: int, first: str | None, *_: str | None) -> int:
    allowed = action in _READING or (action == sqlite3.SQLITE_PRAGMA and first in _READING_PRAGMAS)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _path(target: str | Path) -> Path:
    if "://" not in str(target):
        return Path(os.path.realpath(expand(target)))
    from fmnist_cli.registry.database import open_database

    return Path(open_database(target).target)


def _is_ready(path: Path) -> bool:
    """Whether the file is a registry of the present schema that can be read as it stands."""
    if os.path.exists(f"{path}-journal"):  # noqa: PTH110  (the folder may be closed to us)
        return False
    try:
        with closing(_connect(path)) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            return rows == [(HEAD,)] and names.issuperset((*TABLES, *VIEWS))
    except sqlite3.Error:
        return False


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, timeout=30.0, isolation_level=None
    )
