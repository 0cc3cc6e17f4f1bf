"""Runs as files that any program reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import UsageError
from fmnist_cli.runner.result_file import recorded_content

if TYPE_CHECKING:
    from fmnist_cli.registry import Registry, RunRecord
    from fmnist_cli.registry.sql import Answer


def as_csv(answer: Answer) -> str:
    """Comma-separated values with a heading, for spreadsheets; what is NULL is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(map(_harmless, row) for row in answer.rows)
    return text.getvalue()


def _harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula, with an apostrophe before it."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def as_jsonl(answer: Answer) -> str:
    """One JSON object a line."""
    return "".join(
        json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in answer.dicts()
    )


def as_markdown(answer: Answer) -> str:
    """A table in Markdown, without the columns that are empty."""
    kept = [
        i
        for i in range(len(answer.columns))
        if any(row[i] is not None for row in answer.rows) or not answer.rows
    ]

    def line(values: Sequence[Any]) -> str:
        cells = (_rounded(values[i]) for i in kept)
        return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |\n"

    rule = "|" + " --- |" * len(kept) + "\n"
    return line(answer.columns) + rule + "".join(map(line, answer.rows))


def _rounded(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def chosen(answer: Answer, names: Sequence[str]) -> Answer:
    """The answer with these columns only, in this order."""
    at = [answer.columns.index(name) for name in names]
    return replace(
        answer, columns=tuple(names), rows=[tuple(row[i] for i in at) for row in answer.rows]
    )


def for_people(answer: Answer) -> Answer:
    """What tells the runs apart, and how they went, as ``runs list`` shows it."""
    from fmnist_cli.commands.runs._columns import usual_columns

    rows = list(answer)
    shown = [column for column in usual_columns(rows) if column.heading != "age"]
    cells = zip(*(column.cells(rows) for column in shown), strict=True)
    return replace(answer, columns=tuple(column.heading for column in shown), rows=list(cells))


def as_parquet(answer: Answer) -> bytes:
    """A Parquet file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise needs("parquet", "the format parquet") from error
    columns = zip(*answer.rows, strict=True) if answer.rows else ([] for _ in answer.columns)
    table = pyarrow.table(dict(zip(answer.columns, map(list, columns), strict=True)))
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


FORMATS: Mapping[str, Callable[[Answer], str | bytes]] = {
    "csv": as_csv,
    "jsonl": as_jsonl,
    "md": as_markdown,
    "parquet": as_parquet,
}


def course(registry: Registry, runs: Sequence[RunRecord]) -> str:
    """The file that course scripts read, of one run."""
    if len(runs) != 1:
        raise UsageError(
            f"format course must be of one run; give its id. Received: {len(runs)} runs."
        )
    return recorded_content(registry, runs[0])


def needs(extra: str, what: str) -> UsageError:
    return UsageError(
        f"{what} must have the extra {extra}. Received: none; install it: "
        f'pip install "fmnist[{extra}]".'
    )
