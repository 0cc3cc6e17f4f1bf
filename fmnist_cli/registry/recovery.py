"""Bringing the journals of runs that could not be recorded into the registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from fmnist_cli.errors import RegistryError
from fmnist_cli.files import temporary_folders
from fmnist_cli.registry import schema
from fmnist_cli.registry.database import Database
from fmnist_cli.registry.journal import SUFFIX, read_journal
from fmnist_cli.registry.layout import lock_path
from fmnist_cli.registry.locks import RunLock
from fmnist_cli.registry.rows import insert_row, put_entries


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """A journal that was brought in.

    Attributes
    ----------
    epochs : int
        How many it held.
    ended : bool
        Whether it held the run's end; if not, the run can be resumed.
    """

    run_id: int
    uuid: str
    path: Path
    epochs: int
    ended: bool


def find_journals(database: Database) -> list[Path]:
    """This user's journals of this registry: in its folder, and where there was no room in it."""
    elsewhere = []
    found = [path for folder in temporary_folders() for path in folder.glob(f"*{SUFFIX}")]
    for path in sorted(found):
        if path.is_symlink() or not path.is_file() or path.stat().st_uid != os.getuid():
            continue  # anyone can put files there
        try:
            row = dict(read_journal(path)[0][1])
        except RegistryError:
            continue
        if row.get("registry") == database.identity:
            elsewhere.append(path)
    return [*sorted(database.files.glob(f"*/*{SUFFIX}")), *elsewhere]


def recover_journal(database: Database, path: Path) -> Recovered:
    """Bring one journal in, in one transaction, and remove it; harmless to repeat.

    Raises
    ------
    RegistryError
        When it is damaged, or its run is still training.
    """
    entries = read_journal(path)
    row = dict(entries[0][1])
    row.pop("registry", None)
    lock = RunLock(lock_path(database, row["uuid"]))
    lock.acquire()
    try:
        with database.write() as connection:
            run_id = _find_or_insert(connection, row, path)
            put_entries(connection, run_id, entries)
        path.unlink()
    except OSError as error:
        raise RegistryError(
            f"{path} is in the registry, and cannot be removed: {error.strerror}."
        ) from error
    finally:
        lock.release()
    return Recovered(
        run_id=run_id,
        uuid=row["uuid"],
        path=path,
        epochs=len({row["epoch"] for kind, row in entries if kind == schema.epoch.name}),
        ended=entries[-1][0] == "end",
    )


def _find_or_insert(connection: Connection, row: Mapping[str, Any], path: Path) -> int:
    run, study = schema.run.c, schema.study.c
    this = select(run.id, run.resumes).where(run.uuid == row["uuid"]).with_for_update()
    there = connection.execute(this).first()
    if there is not None:
        if there.resumes != row.get("resumes", 0):
            raise RegistryError(
                f"{path} must be of run {there.id} as it is. Received: from before it was resumed; "
                "what it holds was trained again, so it can be removed."
            )
        return int(there.id)
    # a registry that has lost the run, or another one: ids, too, may be taken, and a server
    # would give this one again
    new = dict(row)
    if (
        connection.dialect.name != "sqlite"
        or connection.execute(select(run.id).where(run.id == row["id"])).first() is not None
    ):
        del new["id"]
    if connection.execute(select(study.id).where(study.id == row["study_id"])).first() is None:
        new["study_id"] = None
    return insert_row(connection, schema.run, new)
