"""Runs as files that any program reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fmnist_cli.errors import UsageError

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


def table_to_paste(
    registry: Registry, runs: Sequence[RunRecord], study: int | None, every_epoch: bool
) -> str:
    """A table in Markdown with the columns and digits that one reads.

    Parameters
    ----------
    study
        Where the runs are those of a study: its own table. Else one row per run.
    every_epoch
        One row per epoch.
    """
    from fmnist_cli.report.markdown import table_lines
    from fmnist_cli.report.tables import epochs_table, runs_table

    if every_epoch:
        table = epochs_table([(run.id, registry.epochs(run.id)) for run in runs])
    elif study is not None:
        from fmnist_cli.runner.study import read_study
        from fmnist_cli.studies import View, study_of

        record = registry.get_study(study)
        table = study_of(record.kind).table(read_study(registry, record), View())
    else:
        table = runs_table(runs)
    return "\n".join(table_lines(table)) + "\n"


def chosen(answer: Answer, names: Sequence[str]) -> Answer:
    """The answer with these columns only, in this order."""
    at = [answer.columns.index(name) for name in names]
    return replace(
        answer, columns=tuple(names), rows=[tuple(row[i] for i in at) for row in answer.rows]
    )


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
    "parquet": as_parquet,
}


def needs(extra: str, what: str) -> UsageError:
    return UsageError(
        f"{what} must have the extra {extra}. Received: none; install it: "
        f'pip install "fmnist[{extra}]".'
    )
