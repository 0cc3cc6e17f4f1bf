"""`fmnist runs list`, `studies` and `query`: what is recorded."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fmnist_cli.commands._completion import complete_columns
from fmnist_cli.commands._data import open_registry
from fmnist_cli.commands._options import nearness, typed, with_options
from fmnist_cli.commands._output import Output, escape, make_table, stdout_console
from fmnist_cli.commands.runs import _columns
from fmnist_cli.commands.runs._common import Columns, Filters, column_names
from fmnist_cli.errors import UsageError, require

SHOWN_ROWS = 500  # of a table; --csv and --json have no such end


@with_options()
def list_runs(
    context: typer.Context,
    filters: Filters,
    out: Output,
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
    from fmnist_cli.registry.sql import MAX_INTEGER, open_reader, summary_document

    if every and (given := typed(context).get("limit")):
        raise UsageError(f"--all and --limit exclude each other. Received: --all {given}.")
    require(limit >= 1, "limit must be at least 1", limit)
    require(limit < MAX_INTEGER, f"limit must be less than {MAX_INTEGER}; or give --all", limit)
    named = column_names(columns)
    chosen = filters.selection()
    with open_reader(out.db) as reader:
        reader.check_columns("columns", named)
        answer = reader.summaries(chosen, sort=sort, limit=None if every else limit + 1)
        nothing = [] if answer.rows else reader.filters_without_runs(chosen)
    for line in answer.left_out:
        out.warning(line)
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
    shown = _columns.named_columns(named, rows) if named else _columns.usual_columns(rows)
    table, left_out = _columns.fitting_table(shown, rows, stdout_console().width)
    if isinstance(table, str):
        out.text(table)
    else:
        out.result(table)
    _hints(out, rows, left_out, named, limit if more else None)


@with_options()
def studies(
    out: Output,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number of studies.")] = 20,
    kind: Annotated[str | None, typer.Option("--kind", help="Only those of this command.")] = None,
) -> None:
    """List the studies, newest first: their arms and seeds, and how many runs have a result.

    Prints one row per study, with the id that --study takes. One that lacks results continues when
    its command is given again.

    Examples:
      # the newest 20
      fmnist runs studies
      # those of momentum
      fmnist runs studies --kind momentum --limit 5
    """
    from fmnist_cli.runner.study import overview
    from fmnist_cli.studies import STUDIES

    require(limit >= 1, "limit must be at least 1", limit)
    with open_registry(out.db, readonly=True) as registry:
        if kind is not None:
            known = dict.fromkeys([*STUDIES, *(study.kind for study in registry.list_studies())])
            require(kind in known, f"kind must be one of {', '.join(known)}", kind)
        found = registry.list_studies(kind=kind)
        rows = [overview(registry, study) for study in found[:limit]]
    out.document("fmnist.runs.studies/1", {"studies": rows, "more": len(found) > limit})
    if not rows:
        out.say("No study fits." if kind else "There is no study yet: fmnist sweep-batch")
        return
    named = any(row["name"] for row in rows)
    table = make_table(
        *(">study", "<kind", *(["name"] if named else []), "arms", ">seeds", ">with a result"),
        *(">jobs", "<created (UTC)"),
        heading_width=8,
    )
    for row in rows:
        table.add_row(
            str(row["id"]),
            row["kind"],
            *([escape(row["name"] or "-")] if named else []),
            escape(", ".join(row["arms"])),
            str(len(row["seeds"])),
            f"{row['runs_with_result']} of {row['runs_asked']}",
            str(row["jobs"]),
            f"{row['created_at']:%Y-%m-%d %H:%M}",
        )
    out.result(table)
    if len(found) > limit:
        out.say(f"The first {limit} of {len(found)}; for more: --limit N")
    out.next(f"runs list --study {rows[0]['id']}", f"runs compare study:{rows[0]['id']}")


@with_options()
def query(
    context: typer.Context,
    out: Output,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.", show_default=False)],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask the registry in SQL; nothing can be changed.

    Prints the rows as a table, as CSV or as JSON. The views [bold]run_summary[/bold] (one row a
    run) and [bold]epoch_curve[/bold] (one row per epoch) have all numbers.

    Examples:
      # how many runs there are of each batch size
      fmnist runs query "SELECT batch, count(*) FROM run_summary GROUP BY batch"
      # every epoch, for another program
      fmnist runs query "SELECT run_id, epoch, val_loss FROM epoch_curve" --csv
    """
    from rich.text import Text

    from fmnist_cli.registry.exporting import csv_parts
    from fmnist_cli.registry.sql import open_reader

    if as_csv and out.json:
        if nearness(context, "json") == nearness(context, "as_csv"):
            raise UsageError("--csv and --json exclude each other. Received: --csv --json.")
        out.json = False  # which a file or the environment set
    with open_reader(out.db) as reader:
        answer = reader.query(sql)
    out.documents("fmnist.runs.query/1", {"columns": answer.columns}, "rows", answer.rows)
    if out.json:
        return
    if as_csv:
        for part in csv_parts(answer):
            out.data(part)
        return
    shown = answer.rows[:SHOWN_ROWS]
    table = make_table(*(escape(name) for name in answer.columns))
    for column, values in zip(table.columns, zip(*answer.rows, strict=True), strict=False):
        if all(map(_columns.is_number, values)):
            column.justify = "right"
    for row in shown:
        table.add_row(*(Text(_columns.plain(value, 10)) for value in row))
    out.result(table)
    if len(answer.rows) > SHOWN_ROWS:
        out.say(f"The first {SHOWN_ROWS} of {len(answer.rows):,} rows; all of them: --csv")


def _hints(
    out: Output,
    rows: Sequence[dict[str, Any]],
    left_out: Sequence[str],
    named: Sequence[str],
    limit: int | None,
) -> None:
    if not named:
        if same := _columns.in_common(rows):
            out.say(f"In all: {same}")
        if any(row["still_improving"] for row in rows) and "best" not in left_out:
            out.say("best: best epoch / epochs run; + stopped at its limit while still improving")
    if left_out:
        out.say(f"No room for: {', '.join(left_out)}; choose with --columns, or widen the terminal")
    if limit is not None:
        out.say(f"The first {limit}; for more: --limit N, or --all")
