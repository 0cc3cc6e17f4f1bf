"""Runs as files that any program reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import UsageError
from fmnist_cli.runner.result_file import recorded_content

if TYPE_CHECKING:
    from fmnist_cli.registry import Registry, RunRecord
    from fmnist_cli.registry.sql import Answer


def as_csv(answer: Answer) -> str:
    """Comma-separated values with a heading; what is NULL is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)
    return text.getvalue()


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
        cells = ("" if values[i] is None else str(values[i]) for i in kept)
        return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |\n"

    rule = "|" + " --- |" * len(kept) + "\n"
    return line(answer.columns) + rule + "".join(map(line, answer.rows))


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
