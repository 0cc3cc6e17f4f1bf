"""A run's own journal: where its numbers go while the registry cannot be written.

A file of JSON lines, each ``[kind, row]`` and on the disk before the training goes on: first the
run's own row and the registry's path, then every epoch and whatever else was recorded, last its
end. It is complete, so that even a registry that has lost the run gets it back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, UniqueConstraint, delete, func, insert, select, update

from fmnist_cli.errors import RegistryError
from fmnist_cli.registry import schema
from fmnist_cli.registry.digest import stored_digest
from fmnist_cli.registry.values import to_json

Entry = tuple[str, Mapping[str, Any]]
"""A kind (``run``, ``end`` or the name of a table) and the row."""

SUFFIX = ".journal"

_TABLES = {table.name: table for table in schema.PARTS}


class Journal:
    """Puts a growing list of entries on the disk.

    Parameters
    ----------
    entries : list of Entry
        Shared with the run that adds to it.
    folders : sequence of Path
        Tried in this order.
    name : str
        The file's, without its suffix.

    Attributes
    ----------
    path : Path or None
        The file that holds all entries; None before the first ``sync``, and where no folder takes
        them.
    """

    def __init__(self, entries: list[Entry], folders: Sequence[Path], name: str) -> None:
        self.path: Path | None = None
        self._entries = entries
        self._places = [folder / f"{name}{SUFFIX}" for folder in folders]
        self._n_written = 0

    def sync(self) -> None:
        """Write the entries that are not on the disk yet, wherever there is room."""
        if self.path is not None and self._append(self.path):
            return
        self.path, self._n_written = None, 0
        for place in self._places:
            if self._begin(place) and self._append(place):
                self.path = place
                return

    def remove(self) -> None:
        """Remove the file: the registry has it all."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None

    def _begin(self, place: Path) -> bool:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.touch(mode=0o600, exist_ok=False)  # in /tmp, never through somebody's link
        except OSError:
            return False
        return True

    def _append(self, place: Path) -> bool:
        new = self._entries[self._n_written :]
        try:
            with place.open("r+b") as file:  # a file that is gone is not made again, headless
                file.seek(0, os.SEEK_END)
                file.write(b"".join(to_json(entry).encode() + b"\n" for entry in new))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        self._n_written += len(new)
        return True


def read_journal(path: Path) -> list[Entry]:
    """The entries of a file; a last line that was cut short is left out.

    Raises
    ------
    RegistryError
        When it cannot be read, or is no journal.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        entries: list[Entry] = [(kind, dict(row)) for kind, row in map(json.loads, lines[:-1])]
    except (ValueError, TypeError) as error:
        raise RegistryError(f"{path} is damaged: {error}.") from error
    if not entries or entries[0][0] != "run" or "uuid" not in entries[0][1]:
        raise RegistryError(f"{path} must be the journal of a run. Its first line is none.")
    for kind, row in entries:
        known = set(_TABLES.get(kind, schema.run).c.keys())
        unknown = row.keys() - (known | {"registry"} if kind == "run" else known)
        if kind not in {*_TABLES, "run", "end"} or unknown:
            raise RegistryError(
                f"{path} must hold what this fmnist knows; upgrade it. "
                f"Received: {kind} {', '.join(sorted(unknown))}."
            )
    return entries


def put_epochs(connection: Connection, entries: Sequence[Entry]) -> None:
    """Insert the rows of consecutive epochs of one run, in place of any that are there."""
    for table in (schema.epoch, schema.dynamics):
        rows = [row for kind, row in entries if kind == table.name]
        if rows:
            # there are some where a run was resumed, and where an interrupt came just after a
            # commit, before that was known
            connection.execute(
                delete(table)
                .where(table.c.run_id == rows[0]["run_id"])
                .where(table.c.epoch.between(rows[0]["epoch"], rows[-1]["epoch"]))
            )
            connection.execute(insert(table), rows)


def put_entries(connection: Connection, run_id: int, entries: Sequence[Entry]) -> None:
    """Put everything but the run's own row into the registry, once, however often it is done."""
    for kind, row in entries:
        if kind in _TABLES:
            table, row = _TABLES[kind], {**row, "run_id": run_id}
            same = [column == row[column.name] for column in _identity(table)]
            connection.execute(delete(table).where(*same))
            connection.execute(insert(table).values(row))
        elif kind == "end":
            end_run(connection, run_id, row)


def end_run(connection: Connection, run_id: int, outcome: Mapping[str, Any]) -> None:
    """Give a run that is not ended its end, the sums over its epochs and its digest."""
    run, epoch = schema.run, schema.epoch.c
    n, seconds = connection.execute(
        select(func.count(), func.coalesce(func.sum(epoch.train_seconds), 0.0)).where(
            epoch.run_id == run_id
        )
    ).one()
    values = {"epochs_run": n, "train_seconds": seconds, **outcome}
    this = update(run).where(run.c.id == run_id)
    if connection.execute(this.where(run.c.status == "running").values(values)).rowcount:
        # of what is stored, so it is made here, the one computation in a transaction
        connection.execute(this.values(digest=stored_digest(connection, run_id)))


def _identity(table: Table) -> Sequence[Any]:
    """The columns by which a row of a run's parts is that row."""
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            return list(constraint.columns)
    return list(table.primary_key)
