"""What the shell offers for run ids, studies and tags, by the quick reader: importing SQLAlchemy
would take longer than a key press may."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from fmnist_cli.epoch import METRICS

NEWEST = 50


def complete_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest runs, with what they are; and ``latest``."""
    sql = (
        "SELECT run_id, command, model, batch, status FROM run_summary "
        "WHERE CAST(run_id AS TEXT) LIKE {} ORDER BY run_id DESC"
    )
    found = [
        (str(run), f"{command} {model} batch {batch}, {status}")
        for run, command, model, batch, status in _rows(ctx, sql, incomplete)
    ]
    if found and "latest".startswith(incomplete):
        found.append(("latest", "the newest run"))
    return found


def complete_study(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest studies, with their kind."""
    sql = "SELECT id, kind, created_at FROM study WHERE CAST(id AS TEXT) LIKE {} ORDER BY id DESC"
    rows = _rows(ctx, sql, incomplete)
    return [(str(study), f"{kind}, {created[:16]}") for study, kind, created in rows]


def complete_tag(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tags in use."""
    sql = "SELECT DISTINCT tag FROM tag WHERE tag LIKE {} ORDER BY tag"
    return [tag for (tag,) in _rows(ctx, sql, incomplete)]


def complete_columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """The columns of ``run_summary``: the last of several with commas between."""
    before, comma, begins = incomplete.rpartition(",")
    columns = _rows(ctx, None, "")
    return [f"{before}{comma}{name}" for (name,) in columns if name.startswith(begins)]


def complete_metric(incomplete: str) -> list[str]:
    """What is recorded of every epoch."""
    return [name for name in METRICS if name.startswith(incomplete)]


def _rows(ctx: typer.Context, sql: str | None, incomplete: str) -> list[tuple[Any, ...]]:
    """The newest that fit, or the columns of ``run_summary``; nothing where there is no registry to
    ask: a completion has no place for an error."""
    from fmnist_cli.errors import FmnistError
    from fmnist_cli.registry.sql import open_reader

    target = str(ctx.params.get("db") or os.environ.get("FMNIST_DB") or "runs.db")
    if not target.startswith("postgresql") and not Path(target).is_file():
        return []
    os.environ.setdefault("PGCONNECT_TIMEOUT", "2")
    values = {"begins": incomplete.replace("%", "") + "%"}
    try:
        with open_reader(target) as reader:
            if sql is None:
                return [(name,) for name in reader.columns()]
            sql = sql.format(reader.value("begins"))
            return reader.execute("query", sql, sql, values, NEWEST - 1).rows
    except FmnistError:
        return []
