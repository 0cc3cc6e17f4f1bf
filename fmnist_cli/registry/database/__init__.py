"""Where a registry is, and transactions on it: the only place that begins, commits, rolls back
and turns a database's errors into ours.

``sqlite.py`` has the file that every user begins with, ``postgres.py`` the server that several
machines share. Nothing else knows which of the two it works on.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from fmnist_cli.errors import RegistryError
from fmnist_cli.files import expand
from fmnist_cli.formatting import without_password
from fmnist_cli.registry.database.base import Database


def open_database(target: str | Path) -> Database:
    """The database that a path or a URL names; nothing is touched yet.

    Raises
    ------
    RegistryError
        When it names no file and no server, or another kind of database.
    """
    text = str(target)
    must = (
        "a registry must be a path, or a URL such as sqlite:///runs.db or "
        "postgresql+psycopg://user@host/database"
    )
    if "://" in text:
        try:
            url = make_url(text)
        except (ArgumentError, ValueError) as error:  # the latter of a port
            raise RegistryError(f"{must}. Received: {without_password(text)}.") from error
        if url.drivername in ("postgresql", "postgresql+psycopg") and url.database:
            from fmnist_cli.registry.database.postgres import Postgres

            return Postgres(url, without_password(text))
        if url.get_backend_name() != "sqlite" or url.query:
            raise RegistryError(f"{must}. Received: {without_password(text)}.")
        text = url.database or ""
    if text in ("", ":memory:") or os.path.realpath(expand(text)) == "/":
        raise RegistryError(f"{must}. Received: {text or 'nothing'}.")
    from fmnist_cli.registry.database.sqlite import SQLite

    return SQLite(expand(text))
