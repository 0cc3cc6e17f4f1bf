"""Reading the registry with SQL, on a connection that can do nothing else: see ``reader``."""

from __future__ import annotations

from pathlib import Path

from fmnist_cli.registry.records import MAX_INTEGER as MAX_INTEGER
from fmnist_cli.registry.sql.reader import QueryResult as QueryResult
from fmnist_cli.registry.sql.reader import Selection as Selection
from fmnist_cli.registry.sql.reader import SqlReader
from fmnist_cli.registry.sql.reader import summary_document as summary_document


def open_reader(target: str | Path) -> SqlReader:
    """Open a registry for reading, upgrading its schema where it is behind.

    Raises
    ------
    RegistryError
        When it cannot be opened.
    """
    if str(target).startswith("postgresql"):
        from fmnist_cli.registry.sql.postgres import PostgresReader

        return PostgresReader(str(target))
    from fmnist_cli.registry.sql.sqlite import SqliteReader

    return SqliteReader(target)
