"""How the rows of a run are written, as it trains and from a journal alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, UniqueConstraint, delete, func, insert, select, update

from fmnist_cli.registry import schema
from fmnist_cli.registry.digest import stored_digest

Entry = tuple[str, Mapping[str, Any]]
"""A kind (``run``, ``end`` or the name of a table) and the row."""

TABLES = {table.name: table for table in schema.PARTS}
"""The tables of what belongs to a run, by name."""


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
