"""Reading the registry with SQL, on a connection that can do nothing else.

Made with the standard library alone, for what is to answer at once. What is asked sees the
tables and views of ``schema.py``; ``run_summary`` also tells which runs are lost.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from fmnist_cli.errors import RegistryError, UsageError
from fmnist_cli.registry import locks, provenance
from fmnist_cli.registry.migrations import HEAD

QUERY_SECONDS = 10.0
MAX_ROWS = 100_000
MAX_BYTES = 10_000_000  # of one value
MAX_INTEGER = 2**63 - 1  # which SQLite can take

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_READING_PRAGMAS = {"table_info", "table_list"}

_WHERE = {
    "study": "study_id = :study",
    "model": "model = :model",
    "command": "command = :command",
    "status": "status = :status",
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which runs: those for which everything given holds.

    Attributes
    ----------
    where : str, optional
        An SQL expression over the columns of ``run_summary``.
    tag : sequence of str
        Each of them.
    ids : sequence of int, optional
        One of them.
    """

    where: str | None = None
    study: int | None = None
    tag: Sequence[str] = ()
    model: str | None = None
    command: str | None = None
    status: str | None = None
    ids: Sequence[int] | None = None


@dataclass(frozen=True)
class Answer:
    """Rows of plain values, and the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class SqlReader:
    """Answers SELECTs; a statement that would do anything else is refused."""

    def __init__(self, target: str | Path) -> None:
        """Open a registry, upgrading its schema where it is behind.

        Raises
        ------
        RegistryError
            When it cannot be opened.
        """
        self.shown = str(target)
        path = _path(target)
        if not _is_ready(path):
            from fmnist_cli.registry.store import Registry

            with Registry.open(target, readonly=True) as registry:
                registry.list_runs(limit=1)  # which finds out what else may be wrong
        self._connection = _connect(path)
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        try:
            self._show_lost(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unreadable(error) from error
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
        self._connection.set_authorizer(_authorise)

    def __enter__(self) -> SqlReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def query(self, sql: str) -> Answer:
        """The answer to one SELECT.

        Raises
        ------
        UsageError
            When it is not one SELECT, names what does not exist, takes longer than
            ``QUERY_SECONDS`` or answers with more than ``MAX_ROWS`` rows.
        """
        answer = self._answer("query", sql, sql, {}, MAX_ROWS)
        if len(answer.rows) > MAX_ROWS:
            raise UsageError(
                f"query must answer with at most {MAX_ROWS:,} rows; end it with a LIMIT."
            )
        return answer

    def summaries(
        self, chosen: Selection, *, sort: str = "-run_id", limit: int | None = None
    ) -> Answer:
        """Rows of ``run_summary``.

        Parameters
        ----------
        chosen : Selection
        sort : str
            A column, ``-`` before it for descending; what is NULL comes last.
        limit : int, optional

        Raises
        ------
        UsageError
            When ``where`` is no expression over the view's columns, or ``sort`` none of them.
        """
        return self._selected("run_summary", chosen, sort, limit)

    def curves(self, chosen: Selection) -> Answer:
        """Rows of ``epoch_curve``, by run and epoch."""
        return self._selected("epoch_curve", chosen, "run_id", None)

    def columns(self, view: str = "run_summary") -> tuple[str, ...]:
        """The names of a view's (or a table's) columns."""
        rows = self._connection.execute(f"PRAGMA table_info({view})")
        return tuple(row[1] for row in rows)

    def check_columns(self, what: str, names: Sequence[str]) -> None:
        """Refuse a name that is no column of ``run_summary``; UsageError names the nearest."""
        columns = self.columns()
        for name in names:
            if name not in columns:
                raise UsageError(
                    f"{what} must name a column of run_summary. "
                    f"Received: {name}{_nearest(name, columns)}."
                )

    def _selected(self, view: str, chosen: Selection, sort: str, limit: int | None) -> Answer:
        if chosen.study is not None and not 0 < chosen.study <= MAX_INTEGER:
            raise UsageError(f"study must be the id of a study. Received: {chosen.study}.")
        column = sort.removeprefix("-")
        self.check_columns("sort", [column])
        values = {name: getattr(chosen, name) for name in _WHERE}
        conditions = [sql for name, sql in _WHERE.items() if values[name] is not None]
        for i, tag in enumerate(chosen.tag):
            values[f"tag{i}"] = tag
            conditions.append(f"run_id IN (SELECT run_id FROM tag WHERE tag = :tag{i})")
        if chosen.ids is not None:
            conditions.append(f"run_id IN ({', '.join(str(int(i)) for i in chosen.ids)})")
        if chosen.where is not None:
            # alone at first: an expression that closes a bracket of ours is none
            asked = re.sub(r"[\s;]+\Z", "", chosen.where)
            self._answer("where", asked, f"EXPLAIN SELECT\n{asked}\nFROM run_summary", {}, 0)
            conditions.append(f"(\n{asked}\n)")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = f"{column} {'DESC' if sort.startswith('-') else 'ASC'} NULLS LAST, run_id DESC"
        values["limit"] = -1 if limit is None else limit
        sql = f"SELECT * FROM run_summary {where} ORDER BY {order} LIMIT :limit"
        if view == "epoch_curve":
            ids = f"SELECT run_id FROM run_summary {where}"
            sql = f"SELECT * FROM epoch_curve WHERE run_id IN ({ids}) ORDER BY run_id, epoch"
        return self._answer("where", chosen.where or "", sql, values, None)

    def _answer(
        self, what: str, asked: str, sql: str, values: Mapping[str, Any], at_most: int | None
    ) -> Answer:
        """Execute ``sql``, which was made of ``asked``; one row more than ``at_most``."""
        deadline = time.monotonic() + QUERY_SECONDS
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        try:
            with closing(self._connection.execute(sql, values)) as cursor:
                if cursor.description is None:
                    raise UsageError(f"{what} must be {_WANTED[what]}. Received: {_short(asked)}.")
                columns = tuple(column[0] for column in cursor.description)
                rows = cursor.fetchall() if at_most is None else cursor.fetchmany(at_most + 1)
        except (sqlite3.Error, sqlite3.Warning) as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT and (
                time.monotonic() <= deadline
            ):
                raise KeyboardInterrupt from error  # it came while SQLite asked for the time
            raise self._explained(what, asked, error) from error
        finally:
            self._connection.set_progress_handler(None, 0)
        if any(isinstance(value, bytes) for row in rows for value in row):
            rows = [tuple(v.hex() if isinstance(v, bytes) else v for v in row) for row in rows]
        return Answer(columns, rows)

    def _explained(self, what: str, asked: str, error: BaseException) -> RegistryError | UsageError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        text = str(error)
        must, received = f"{what} must be {_WANTED[what]}", f"Received: {_short(asked)}"
        if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
            return UsageError(f"{must}; nothing was changed. {received}.")
        if code == sqlite3.SQLITE_INTERRUPT:
            return UsageError(
                f"{what} must end within {QUERY_SECONDS:g} s. {received}, which does not."
            )
        if code not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH):
            return self._unreadable(error)
        if match := re.fullmatch(r"no such (column|table): (.+)", text):
            kind, name = match[1], match[2].rpartition(".")[2]
            known, where = self._known(kind, what)
            if what == "where" and name in known:  # a semicolon cut it off from the view
                return UsageError(f"{must}. {received}.")
            return UsageError(
                f"{what} must name a {kind} of {where}. Received: {name}{_nearest(name, known)}."
            )
        if "one statement at a time" in text:
            return UsageError(f"{must}; nothing was changed. {received}.")
        return UsageError(f"{must}. {received} ({text}).")

    def _unreadable(self, error: BaseException) -> RegistryError:
        from fmnist_cli.registry.database import explained

        return explained(self.shown, error)

    def _known(self, kind: str, what: str) -> tuple[Sequence[str], str]:
        if what == "where":
            return self.columns(), "run_summary"
        rows = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type DESC"
        )
        tables = [name for (name,) in rows if name != "alembic_version"]
        if kind == "table":
            return tables, "the registry"
        names = [name for table in tables for name in self.columns(table)]
        return list(dict.fromkeys(names)), "what it selects from"

    def _show_lost(self, path: Path) -> None:
        """Let ``run_summary`` show as ``lost`` what is running in the table and has no process."""
        running = self._connection.execute(
            "SELECT id, uuid, host, boot_id FROM run WHERE status = 'running'"
        ).fetchall()
        files = path.with_name(path.stem + ".files")
        here = (os.uname().nodename, provenance.boot_id())
        lost = [
            str(run_id)
            for run_id, uuid, host, boot_id in running
            if (host == here[0] or (boot_id or "") == here[1])
            and not locks.is_held(files / "locks" / f"{uuid}.lock")
        ]
        if lost:
            gone = f"status = 'running' AND run_id IN ({', '.join(lost)})"
            status = f"CASE WHEN {gone} THEN 'lost' ELSE status END AS status"
            columns = (status if name == "status" else name for name in self.columns())
            self._connection.execute(
                f"CREATE TEMP VIEW run_summary AS SELECT {', '.join(columns)} FROM main.run_summary"
            )


_WANTED = {
    "query": "one SELECT, which only reads",
    "where": "one SQL expression over the columns of run_summary",
}


def _authorise(action: int, first: str | None, *_: str | None) -> int:
    allowed = action in _READING or (action == sqlite3.SQLITE_PRAGMA and first in _READING_PRAGMAS)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _path(target: str | Path) -> Path:
    if "://" not in str(target):
        return Path(os.path.realpath(Path(target).expanduser()))
    from fmnist_cli.registry.database import locate

    return Path(os.path.realpath(locate(str(target))))


def _is_ready(path: Path) -> bool:
    """Whether the file is a registry of the present schema that can be read as it stands."""
    if path.with_name(path.name + "-journal").exists():
        return False
    try:
        with closing(_connect(path)) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            return rows == [(HEAD,)]
    except sqlite3.Error:
        return False


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, timeout=30.0, isolation_level=None
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}" if nearest else f"; there are {', '.join(known)}"


def _short(sql: str) -> str:
    text = " ".join(sql.split()) or "nothing"
    return text if len(text) <= 100 else f"{text[:99]}…"
