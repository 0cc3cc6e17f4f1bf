"""Runs as files that any program reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from fmnist_cli.errors import UsageError
from fmnist_cli.formatting import json_text
from fmnist_cli.registry.sql.reader import QueryResult, kind_of

ROWS_AT_ONCE = 1000


def csv_parts(answer: QueryResult) -> Iterator[str]:
    """Comma-separated values with a heading, for spreadsheets; what is NULL is empty."""
    rows = chain([answer.columns], answer.rows)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(map(_harmless, row) for row in some)
        yield text.getvalue()


def _harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula, with an apostrophe before it."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def as_jsonl(answer: QueryResult) -> str:
    """One JSON object a line."""
    return "".join(json_text(row) + "\n" for row in answer)


def as_parquet(answer: QueryResult) -> bytes:
    """A Parquet file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise needs("parquet", "the format parquet") from error
    # by name, not by what is there: files of several registries, or of no run, fit together
    aliases = {int: "int64", float: "float64", bool: "bool", str: "string"}
    kinds = {name: pyarrow.type_for_alias(aliases[kind_of(name)]) for name in answer.columns}
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


FORMATS: Mapping[str, Callable[[QueryResult], str | bytes]] = {
    "csv": lambda answer: "".join(csv_parts(answer)),
    "jsonl": as_jsonl,
    "parquet": as_parquet,
}


def needs(extra: str, what: str) -> UsageError:
    return UsageError(
        f"{what} must have the extra {extra}. Received: none; install it: "
        f'pip install "fmnist[{extra}]".'
    )
