"""What the shell offers for run ids, studies and tags, read with sqlite3 (or psycopg) alone:
importing SQLAlchemy would take longer than a key press may."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import typer

NEWEST = 50


def complete_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest runs, with what they are; and ``latest``."""
    rows = _rows(
        ctx,
        "SELECT id, command, model, batch, status FROM run "
        "WHERE CAST(id AS TEXT) LIKE ? ORDER BY id DESC LIMIT ?",
        incomplete,
    )
    found = [
        (str(run), f"{command} {model} batch {batch}, {status}")
        for run, command, model, batch, status in rows
    ]
    if found and "latest".startswith(incomplete):
        found.append(("latest", "the newest run"))
    return found


def complete_study(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest studies, with their kind."""
    rows = _rows(
        ctx,
        "SELECT id, kind, created_at FROM study "
        "WHERE CAST(id AS TEXT) LIKE ? ORDER BY id DESC LIMIT ?",
        incomplete,
    )
    return [(str(study), f"{kind}, {created[:16]}") for study, kind, created in rows]


def complete_tag(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tags in use."""
    sql = "SELECT DISTINCT tag FROM tag WHERE tag LIKE ? ORDER BY tag LIMIT ?"
    return [tag for (tag,) in _rows(ctx, sql, incomplete)]


def complete_columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """The columns of ``run_summary``: the last of several with commas between."""
    before, comma, begins = incomplete.rpartition(",")
    sql = "SELECT name FROM pragma_table_info('run_summary') WHERE name LIKE ? LIMIT ?"
    found = _rows(ctx, sql, begins)
    return [f"{before}{comma}{name}" for (name,) in found]


def _rows(ctx: typer.Context, sql: str, incomplete: str) -> Iterator[tuple[Any, ...]]:
    """Nothing where there is no registry to ask: a completion has no place for an error."""
    target = str(ctx.params.get("db") or os.environ.get("FMNIST_DB") or "runs.db")
    begins = incomplete.replace("%", "") + "%"
    if target.startswith("postgresql"):
        yield from _server_rows(target, sql.replace("?", "%s"), (begins, NEWEST))
        return
    path = Path(target)
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            yield from database.execute(sql, (begins, NEWEST))
    except sqlite3.Error:
        return


def _server_rows(target: str, sql: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    try:
        import psycopg

        from fmnist_cli.registry.sql.postgres import conninfo
    except ModuleNotFoundError:
        return
    try:
        with psycopg.connect(conninfo(target), connect_timeout=2) as connection:
            yield from connection.execute(sql.encode(), values)
    except psycopg.Error:
        return
