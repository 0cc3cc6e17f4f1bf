"""`fmnist runs query`: SQL on the registry, read-only."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._options import nearness, with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.commands.runs._columns import is_number
from fmnist_cli.errors import UsageError

SHOWN_ROWS = 500  # of a table; --csv and --json have no such end


@with_options()
def query(
    context: typer.Context,
    common: Common,
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

    from fmnist_cli.registry.exporting import as_csv as csv_of
    from fmnist_cli.registry.sql import open_reader

    if as_csv and common.json:
        if nearness(context, "json") == nearness(context, "as_csv"):
            raise UsageError("--csv and --json exclude each other. Received: --csv --json.")
        common = replace(common, json=False)  # which a file or the environment set
    out = Output(common)
    with open_reader(common.db) as reader:
        answer = reader.query(sql)
    out.document("fmnist.runs.query/1", {"columns": answer.columns, "rows": answer.rows})
    if as_csv:
        out.data(csv_of(answer))
        return
    shown = answer.rows[:SHOWN_ROWS]
    table = make_table(*(escape(name) for name in answer.columns))
    for column, values in zip(table.columns, zip(*answer.rows, strict=True), strict=False):
        if all(map(is_number, values)):
            column.justify = "right"
    for row in shown:
        table.add_row(*(Text(_shown(value)) for value in row))
    out.result(table)
    if len(answer.rows) > SHOWN_ROWS:
        out.say(f"The first {SHOWN_ROWS} of {len(answer.rows):,} rows; all of them: --csv")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
