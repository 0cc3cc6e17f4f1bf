"""Runs as files that any program reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import UsageError

if TYPE_CHECKING:
    from fmnist_cli.registry.sql import QueryResult


def as_csv(answer: QueryResult) -> str:
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


def as_jsonl(answer: QueryResult) -> str:
    """One JSON object a line."""
    return "".join(
        json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in answer.dicts()
    )


def as_parquet(answer: QueryResult) -> bytes:
    """A Parquet file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise needs("parquet", "the format parquet") from error
    # by name, not by what is there: files of several registries, or of no run, fit together
    kinds = {name: pyarrow.type_for_alias(_parquet_type(name)) for name in answer.columns}
    columns: Iterable[Sequence[Any]]
    columns = zip(*answer.rows, strict=True) if answer.rows else ([] for _ in answer.columns)
    arrays = [
        pyarrow.array(
            [bool(v) if pyarrow.types.is_boolean(kind) and v is not None else v for v in column],
            kind,
        )
        for column, kind in zip(columns, kinds.values(), strict=True)
    ]
    table = pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(kinds.items()))
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def _parquet_type(name: str) -> str:
    """The type of a column of the views."""
    from sqlalchemy import Boolean, Float, Integer

    from fmnist_cli.registry import schema

    if name in ("run_id", "study_id", "epoch"):
        return "int64"
    if name == "train_seconds_per_epoch":
        return "float64"
    for table in (schema.run, schema.epoch):
        if name in table.c:
            kinds = ((Boolean, "bool"), (Integer, "int64"), (Float, "float64"))
            kind = table.c[name].type
            return next((alias for one, alias in kinds if isinstance(kind, one)), "string")
    return "string"


FORMATS: Mapping[str, Callable[[QueryResult], str | bytes]] = {
    "csv": as_csv,
    "jsonl": as_jsonl,
    "parquet": as_parquet,
}


def needs(extra: str, what: str) -> UsageError:
    return UsageError(
        f"{what} must have the extra {extra}. Received: none; install it: "
        f'pip install "fmnist[{extra}]".'
    )
