"""Bring a registry to the schema of this program: recognise it, back it up, migrate it, once.

Alembic is imported only when there is something to migrate.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from fmnist_cli.errors import RegistryError, SchemaTooNew
from fmnist_cli.registry.database import Database
from fmnist_cli.registry.schema import HEAD, views_for
from fmnist_cli.version import __version__

MIGRATIONS = Path(__file__).parent / "migrations"


def prepare(database: Database, *, readonly: bool) -> None:
    """Make the registry usable: created if absent (not by a reader), upgraded if behind.

    Raises
    ------
    RegistryError
        When it cannot be a registry; it is left untouched.
    SchemaTooNew
        When a newer fmnist wrote it; it is left untouched.
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
    if not tables:
        return None
    if not {"alembic_version", "run", "study"} <= tables:
        raise RegistryError(f"{name} is not a registry of fmnist.", remedy="another_registry")
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if not (isinstance(revision, str) and revision.isdigit()):
        raise RegistryError(
            f"{name} is not a registry of fmnist (its schema is {revision!r}).",
            remedy="another_registry",
        )
    if int(revision) > int(HEAD):
        raise SchemaTooNew(
            f"{name} has schema {revision}, and fmnist {__version__} knows schemas up to {HEAD}.",
            remedy="upgrade_fmnist",
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
