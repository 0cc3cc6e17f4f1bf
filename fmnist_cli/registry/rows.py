"""How the rows of a run are written, as it trains and from a journal alike, and their digest.

By the digest of an ended run's values a changed bit in the file is found: SQLite's integrity
check looks at the structure of the file, not at the numbers in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, UniqueConstraint, delete, func, insert, select, update

from fmnist_cli.registry import schema
from fmnist_cli.registry.values import to_json

Entry = tuple[str, Mapping[str, Any]]
"""A kind (``run``, ``end`` or the name of a table) and the row."""

TABLES = {table.name: table for table in schema.PARTS}
"""The tables of what belongs to a run, by name."""

# what another registry, or a new name, note or place, may change without changing the run
_NOT_DIGESTED = frozenset({"id", "run_id", "study_id", "path", "digest", "note", "heartbeat_at"})
# columns that a later schema added, with what they say of the runs from before
_ADDED = {("augment", "none"), ("head", "flatten"), ("resumes", 0)}


def insert_row(connection: Connection, table: Table, row: Mapping[str, Any]) -> int:
    """Insert one row and return the id that it was given."""
    key: Any = connection.execute(insert(table).values(row)).inserted_primary_key
    return int(key[0])


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
        if kind in TABLES:
            table, row = TABLES[kind], {**row, "run_id": run_id}
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


def stored_digest(connection: Connection, run_id: int) -> str | None:
    """SHA-256 over a run's row and the rows of its parts, as they are stored; None if no such run.

    NULLs and the defaults of columns that a later schema added are left out, so that they leave
    old digests valid.
    """
    row = connection.execute(select(schema.run).where(schema.run.c.id == run_id)).first()
    if row is None:
        return None
    sha = hashlib.sha256(_line("run", {**row._mapping, "name": None}))  # a run may be renamed
    for table in schema.PARTS:
        # sorted here: databases differ in how they order texts
        key = [column.name for column in table.primary_key]
        parts = connection.execute(select(table).where(table.c.run_id == run_id)).mappings()
        for part in sorted(parts, key=lambda part: [part[name] for name in key]):
            sha.update(_line(table.name, part))
    return sha.hexdigest()


def _line(table: str, row: Mapping[Any, Any]) -> bytes:
    kept = {
        k: row[k]
        for k in sorted(row)
        if k not in _NOT_DIGESTED and row[k] is not None and (k, row[k]) not in _ADDED
    }
    return to_json([table, kept]).encode() + b"\n"
