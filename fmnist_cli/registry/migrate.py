"""Bring a registry to the schema of this program: recognise it, back it up, migrate it, once.

Alembic is imported only when there is something to migrate.
"""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection

from fmnist_cli.errors import RegistryError, SchemaTooNew
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.migrations import TABLES, VIEWS
from fmnist_cli.registry.schema import HEAD, views_for
from fmnist_cli.version import __version__

MIGRATIONS = Path(__file__).parent / "migrations"


def prepare(database: Database, *, readonly: bool) -> None:
    """Make the registry usable: created if absent (not by a reader), upgraded if behind.

    What cannot be a registry (RegistryError), or is too new (SchemaTooNew), is left untouched.
    """
    database.check_usable(readonly=readonly)
    with database.read() as connection:
        revision = stored_revision(connection, database.display_name)
    if revision is None and readonly:
        raise RegistryError(f"{database.display_name} is an empty database.", remedy="train_first")
    if not readonly:
        database.normalize_settings()
    if revision != HEAD:
        _upgrade(database)


def stored_revision(connection: Connection, name: str) -> str | None:
    """The revision of the schema in the file; None where there is no table at all."""
    tables = set(connection.dialect.get_table_names(connection))
    views = set(connection.dialect.get_view_names(connection))
    no_registry = f"{name} is not a registry of fmnist"
    if not tables:
        mark = "PRAGMA application_id"  # of another program, whose file is empty as yet
        if connection.dialect.name == "sqlite" and connection.exec_driver_sql(mark).scalar():
            raise RegistryError(f"{no_registry}.", remedy="another_registry")
        return None
    if "alembic_version" not in tables or not {"run", "study"} & tables:
        raise RegistryError(f"{no_registry}.", remedy="another_registry")
    rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    revision = rows[0] if len(rows) == 1 else None
    if not (isinstance(revision, str) and re.fullmatch("[0-9]{4}", revision)):
        found = ", ".join(map(repr, rows)) or "none"
        raise RegistryError(f"{no_registry} (its schema is {found}).", remedy="another_registry")
    if revision > HEAD:
        raise SchemaTooNew(
            f"{name} has schema {revision}, and fmnist {__version__} knows schemas up to {HEAD}.",
            remedy="upgrade_fmnist",
        )
    if revision < min(TABLES.values()):
        raise RegistryError(
            f"{no_registry} (its schema is {revision!r}).", remedy="another_registry"
        )
    missing = [
        table for table, since in TABLES.items() if since <= revision and table not in tables
    ]
    missing += [view for view in VIEWS if view not in views and revision == HEAD]
    if missing:
        raise RegistryError(
            f"{name} is not whole: it must have {', '.join(missing)}, which it has not. "
            "Use a copy of it.",
            registry=name,
        )
    return revision


def _upgrade(database: Database) -> None:
    with database.migrate() as connection:
        # of several processes that arrive here, the first one migrates
        revision = stored_revision(connection, database.display_name)
        if revision == HEAD:
            return
        if revision is not None:
            database.back_up(connection, revision)
        views = views_for(connection.dialect.name)
        for view in views:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view}")
        _run_alembic(connection)
        for sql in views.values():
            connection.exec_driver_sql(sql)


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
