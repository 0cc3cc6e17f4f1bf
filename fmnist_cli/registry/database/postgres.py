"""A registry on a PostgreSQL server, which several machines share.

What its runs save (weights, checkpoints) is in a folder, not on the server: the one that the URL
names, ``postgresql+psycopg://host/runs?files=/mnt/fmnist``, or one of this user's on this
machine. Where it is a folder that the machines share as well, a run can be resumed on another.

Transactions: one that reads sees one state (REPEATABLE READ, READ ONLY); one that writes locks
the rows that it changes, so that runs do not wait for each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from fmnist_cli.errors import RegistryError, RegistryUnavailable
from fmnist_cli.files import expand
from fmnist_cli.registry.database.base import BUSY_SECONDS, Database
from fmnist_cli.registry.schema import metadata

_MIGRATION = 7_286_475  # the key of an advisory lock; any number that no other program takes

# libpq's: a server that is gone is noticed within a minute
_CONNECT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


class Postgres(Database):
    """One database of a PostgreSQL server."""

    is_shared = True

    def __init__(self, url: URL, name: str) -> None:
        self.target = url.render_as_string(hide_password=False)
        self.display_name = name
        given = url.query.get("files")
        self._url = url.difference_update_query(["files"]).set(drivername="postgresql+psycopg")
        self.identity = URL.create(
            self._url.drivername,
            host=self._url.host,
            port=self._url.port,
            database=self._url.database,
            query=self._url.query,
        ).render_as_string()
        self.files = expand(str(given)).absolute() if given else self._own_folder()
        self._writer = self._engine()
        self._reader = self._writer.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @contextmanager
    def migrate(self) -> Iterator[Connection]:
        with self._translating_errors(), self._writer.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION})
            yield connection

    def check_usable(self, *, readonly: bool) -> None:
        with self._translating_errors(), self._writer.connect():
            pass

    def normalize_settings(self) -> None:
        pass  # a server's settings are its owner's

    def back_up(self, connection: Connection, revision: str) -> None:
        schema = f"backup_{revision}_{datetime.now(UTC):%Y%m%dt%H%M%Sz}"
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        there = set(connection.dialect.get_table_names(connection))
        for table in metadata.sorted_tables:
            if table.name in there:
                connection.execute(
                    text(f"CREATE TABLE {schema}.{table.name} AS TABLE {table.name}")
                )

    def snapshot(self, folder: Path) -> Database:
        return self  # one transaction that reads is all that is asked of it

    def clock(self, connection: Connection) -> datetime:
        found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return found.astimezone(UTC)

    def dispose(self) -> None:
        self._writer.dispose()

    @staticmethod
    def translate_error(name: str, error: BaseException | None) -> RegistryError:
        import psycopg

        said = " ".join(str(error).split()).rstrip(".")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return RegistryError(f"{name} does not let this login do that ({said}); ask its owner.")
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            return RegistryError(f"{name} cannot be written ({said}).")
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            return RegistryUnavailable(f"{name} is not whole ({said}).")
        if isinstance(error, psycopg.OperationalError):
            return RegistryUnavailable(
                f"{name} cannot be used just now ({said}); see that the server runs, and lets this "
                "login in."
            )
        return RegistryError(f"{name}: {said}.")

    def _own_folder(self) -> Path:
        """This user's folder for the files of the runs that this machine records there."""
        import platformdirs

        # what is in the folder and in no registry is garbage, so no two share one
        which = hashlib.sha256(self.identity.encode()).hexdigest()[:8]
        return platformdirs.user_data_path("fmnist") / f"{self._url.database}-{which}.files"

    def _engine(self) -> Engine:
        try:
            engine = create_engine(
                self._url, pool_size=2, pool_pre_ping=True, connect_args=dict(_CONNECT)
            )
        except ModuleNotFoundError as error:
            raise RegistryError(needs_psycopg(self.display_name)) from error

        @event.listens_for(engine, "connect")
        def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS:.0f}s'")
            cursor.execute("SET application_name = 'fmnist'")
            cursor.close()
            connection.commit()

        return engine


def needs_psycopg(name: str) -> str:
    return f"{name} needs psycopg, which is not installed: pip install 'fmnist[postgres]'"
