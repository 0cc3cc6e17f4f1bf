"""`fmnist runs list`: the recorded runs, newest first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fmnist_cli.commands._completion import complete_columns
from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._options import typed, with_options
from fmnist_cli.commands._output import Output, stdout_console
from fmnist_cli.commands.runs._selecting import Columns, Filters
from fmnist_cli.errors import UsageError, require


@with_options()
def list_runs(
    context: typer.Context,
    filters: Filters,
    common: Common,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number of runs.")] = 20,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="Order by a column of run_summary; with - before it, the greatest first.",
            autocompletion=complete_columns,
        ),
    ] = "-run_id",
    columns: Columns = None,
) -> None:
    """List the runs, newest first.

    Prints one row per run with what varies between them, and says what they have in common. --where
    and --sort take the columns of the view run_summary.

    Examples:
      # the newest 20
      fmnist runs list
      # the five best of the MLP
      fmnist runs list --model mlp --sort -test_accuracy --limit 5
      # any condition that SQL can say
      fmnist runs list --where "batch = 5 and test_accuracy > 0.85"
    """
    from fmnist_cli.commands.runs import _columns
    from fmnist_cli.registry.sql import MAX_INTEGER, open_reader, summary_document

    if every and (given := typed(context).get("limit")):
        raise UsageError(f"--all and --limit exclude each other. Received: --all {given}.")
    require(limit >= 1, "limit must be at least 1", limit)
    require(limit < MAX_INTEGER, f"limit must be less than {MAX_INTEGER}; or give --all", limit)
    named = [name.strip() for name in columns.split(",")] if columns else []
    out = Output(common)
    chosen = filters.selection()
    with open_reader(common.db) as reader:
        reader.check_columns("columns", named)
        answer = reader.summaries(chosen, sort=sort, limit=None if every else limit + 1)
        nothing = [] if answer.rows else reader.filters_without_runs(chosen)
    more = not every and len(answer.rows) > limit
    answer = answer if every else answer.first(limit)
    if out.json:
        documents = map(summary_document, answer)
        out.documents("fmnist.runs.list/1", {"more": more}, "runs", documents)
        return
    rows = list(answer)
    if not rows:
        unfit = [f"--{name} {shlex.quote(value)}" for name, value in nothing]
        out.say(f"No run fits{': ' if nothing else ''}{', '.join(unfit)}.")
        return
    usual = _columns.usual_columns
    shown = _columns.named_columns(named, rows) if named else usual(rows)
    table, left_out = _columns.fitting_table(shown, rows, stdout_console().width)
    if isinstance(table, str):
        out.text(table)
    else:
        out.result(table)
    _hints(out, rows, left_out, named, limit if more else None)


def _hints(
    out: Output,
    rows: Sequence[dict[str, Any]],
    left_out: Sequence[str],
    named: Sequence[str],
    limit: int | None,
) -> None:
    from fmnist_cli.commands.runs._columns import in_common

    if not named:
        if same := in_common(rows):
            out.say(f"In all: {same}")
        if any(row["still_improving"] for row in rows) and "best" not in left_out:
            out.say("best: best epoch / epochs run; + stopped at its limit while still improving")
    if left_out:
        out.say(f"No room for: {', '.join(left_out)}; choose with --columns, or widen the terminal")
    if limit is not None:
        out.say(f"The first {limit}; for more: --limit N, or --all")
