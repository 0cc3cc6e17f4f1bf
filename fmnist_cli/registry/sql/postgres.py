"""The reader of SQL for a PostgreSQL server, with psycopg alone.

What is asked becomes a cursor's declaration, which takes one SELECT and nothing else, in a
read-only transaction, with the rights of the login that the URL names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fmnist_cli.errors import RegistryError, UsageError
from fmnist_cli.formatting import without_password
from fmnist_cli.registry.liveness import Running
from fmnist_cli.registry.migrations import HEAD
from fmnist_cli.registry.sql import reader


class PostgresReader(reader.SqlReader):
    """See ``SqlReader``."""

    def __init__(self, target: str) -> None:
        try:
            import psycopg
        except ModuleNotFoundError as error:
            from fmnist_cli.registry.database.postgres import needs_psycopg

            raise RegistryError(needs_psycopg(without_password(target))) from error
        self._error: type[Exception] = psycopg.Error
        self.display_name = without_password(target)
        try:
            with ExitStack() as on_error:
                self._connection = psycopg.connect(conninfo(target), autocommit=True)
                on_error.callback(self._connection.close)
                if not self._is_ready():
                    from fmnist_cli.registry.registry import Registry

                    Registry.open(target, readonly=True).close()
                self._show_lost(target)
                self._connection.execute(f"SET statement_timeout = '{reader.QUERY_SECONDS:g}s'")
                self._connection.autocommit = False
                self._connection.read_only = True
                on_error.pop_all()
        except psycopg.Error as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        self._connection.close()

    def columns(self, view: str = "run_summary") -> tuple[str, ...]:
        return self._names(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            view,
        )

    def tables(self) -> tuple[str, ...]:
        return self._names(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = current_schema() AND table_name <> %s "
            "ORDER BY table_type DESC, table_name",
            "alembic_version",
        )

    def value(self, name: str) -> str:
        return f"%({name})s"

    def escape_placeholders(self, sql: str) -> str:
        return sql.replace("%", "%%")

    def execute(
        self, what: str, asked: str, sql: str, values: Mapping[str, Any], at_most: int | None
    ) -> reader.QueryResult:
        try:
            with self._connection.cursor(name="asked") as cursor:
                cursor.execute(sql.encode(), values or None)
                columns = tuple(column.name for column in cursor.description or ())
                rows = reader.fetch(cursor, at_most)
        except self._error as error:
            self._connection.rollback()
            raise self._translate_error(what, asked, error) from error
        finally:
            self._connection.rollback()
        return reader.QueryResult(columns, [tuple(map(_plain, row)) for row in rows])

    def _names(self, sql: str, name: str) -> tuple[str, ...]:
        rows = self._connection.execute(sql.encode(), (name,)).fetchall()
        if not self._connection.autocommit:
            self._connection.rollback()
        return tuple(row[0] for row in rows)

    def _is_ready(self) -> bool:
        """Whether it is a registry of the present schema."""
        known = self._connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if known == (None,):
            return False
        rows = self._connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return rows == [(HEAD,)]

    def _show_lost(self, target: str) -> None:
        rows = self._connection.execute(reader.RUNNING).fetchall()
        running = [Running._make(row) for row in rows]
        if running:
            from fmnist_cli.registry.database import open_database

            view = self.lost_view(running, open_database(target).files, self._clock)
            if view is not None:
                (schema,) = self._connection.execute("SELECT current_schema()").fetchone() or ()
                self._connection.execute(view.format(f'"{schema}"').encode())

    def _clock(self) -> datetime:
        (now,) = self._connection.execute("SELECT clock_timestamp()").fetchone() or ()
        assert isinstance(now, datetime)
        return now

    def _translate_error(self, what: str, asked: str, error: Any) -> RegistryError | UsageError:
        state = error.sqlstate or ""
        said = error.diag.message_primary or str(error)
        if state == "57014":  # query_canceled
            return reader.too_slow(what, asked)
        if state == "42703" and (match := re.match(r'column "?([^" ]+)"? does not exist', said)):
            return self.unknown(what, "column", match[1].rpartition(".")[2], asked)
        if state == "42P01" and (match := re.match(r'relation "(.+)" does not exist', said)):
            return self.unknown(what, "table", match[1].rpartition(".")[2], asked)
        if state in ("25001", "25006", "42501", "0A000") or "multiple commands" in said:
            return reader.refused(what, asked, said, reader.UNCHANGED)
        if state[:2] in ("42", "22", "21", "54"):  # as written, or with the values that are there
            return reader.refused(what, asked, said)
        return self._unreadable(error)

    def _unreadable(self, error: BaseException) -> RegistryError:
        from fmnist_cli.registry.database.postgres import Postgres

        return Postgres.translate_error(self.display_name, error)


def conninfo(target: str) -> str:
    """The URL as libpq takes it."""
    url = urlsplit(target)
    query = urlencode([pair for pair in parse_qsl(url.query) if pair[0] != "files"])
    return url._replace(scheme="postgresql", query=query).geturl()


def _plain(value: object) -> Any:
    """A value as SQLite would have given it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)
