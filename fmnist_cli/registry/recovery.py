"""Bringing the journals of runs that could not be recorded into the registry."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from fmnist_cli.errors import RegistryError
from fmnist_cli.files import temporary_folders
from fmnist_cli.registry import schema
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.journal import SUFFIX, read_journal
from fmnist_cli.registry.layout import lock_file
from fmnist_cli.registry.locks import RunLock
from fmnist_cli.registry.rows import TABLES, Entry, insert_row, put_entries


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
    with RunLock(lock_file(database.files, row["uuid"])):
        with database.write() as connection:
            run_id, is_there = _find_or_insert(connection, row, entries, path)
            if not is_there:
                put_entries(connection, run_id, entries)
        try:
            path.unlink()
        except OSError as error:
            raise RegistryError(
                f"{path} is in the registry, and cannot be removed: {error.strerror}."
            ) from error
    return Recovered(
        run_id=run_id,
        uuid=row["uuid"],
        path=path,
        epochs=len({row["epoch"] for kind, row in entries if kind == schema.epoch.name}),
        ended=entries[-1][0] == "end",
    )


def _find_or_insert(
    connection: Connection, row: Mapping[str, Any], entries: Sequence[Entry], path: Path
) -> tuple[int, bool]:
    """The run's id, and whether the registry has all of the journal already."""
    run, study = schema.run, schema.study.c
    this = select(run).where(run.c.uuid == row["uuid"]).with_for_update()
    there = connection.execute(this).first()
    resumes = row.get("resumes", 0)
    if there is not None:
        if there.resumes > resumes:
            raise RegistryError(
                f"{path} must be of run {there.id} as it is. Received: from before it was resumed; "
                "what it holds was trained again, so it can be removed.",
                run_id=there.id,
                path=path,
            )
        if there.status != "running" and there.resumes == resumes:
            if _is_recorded(connection, there.id, entries):
                return int(there.id), True
            raise RegistryError(
                f"{path} must not change a run that has ended. Received: run {there.id}, "
                f"{there.status}.",
                run_id=there.id,
                path=path,
            )
        if there.resumes < resumes:  # an older copy of the registry was put in its place
            values = {k: v for k, v in row.items() if k not in ("id", "study_id", "name", "note")}
            connection.execute(update(run).where(run.c.id == there.id).values(values))
        return int(there.id), False
    # a registry that has lost the run, or another one: ids, too, may be taken, and a server
    # would give this one again
    new = dict(row)
    if (
        connection.dialect.name != "sqlite"
        or connection.execute(select(run.c.id).where(run.c.id == row["id"])).first() is not None
    ):
        del new["id"]
    if connection.execute(select(study.id).where(study.id == row["study_id"])).first() is None:
        new["study_id"] = None
    return insert_row(connection, schema.run, new), False


def _is_recorded(connection: Connection, run_id: int, entries: Sequence[Entry]) -> bool:
    """Whether every row of the journal is in the registry as it is there."""
    for kind, row in entries:
        if kind in TABLES:
            table = TABLES[kind]
            same = [table.c[k] == v for k, v in row.items() if v is not None and k != "run_id"]
            found = select(table.c.run_id).where(table.c.run_id == run_id, *same)
            if connection.execute(found).first() is None:
                return False
    return True
