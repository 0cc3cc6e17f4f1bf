"""Reading the registry with SQL, on a connection that can do nothing else.

Made with the standard library (and for a server with psycopg) alone, for what is to answer at
once. What is asked sees the tables and views of ``schema.py``; ``run_summary`` also tells which
runs are lost. ``sqlite.py`` and ``postgres.py`` do what the two databases do each in their
own way.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import UsageError
from fmnist_cli.registry.liveness import Running, dead_runs
from fmnist_cli.registry.records import MAX_INTEGER, MAX_TEXT, RunRecord, is_time

QUERY_SECONDS = 10.0
MAX_ROWS = 100_000
MAX_ANSWER_BYTES = 200_000_000  # of a query's texts and blobs

UNCHANGED = "; nothing was changed"
WANTED = {
    "query": "one SELECT, which only reads",
    "where": "one SQL expression over the columns of run_summary",
}
# of the columns of the views, which are texts where nothing is said here
_TYPES = Epoch.__annotations__ | RunRecord.__annotations__
_TYPES |= {"run_id": "int", "train_seconds_per_epoch": "float"}
_COLUMNS = {"study": "study_id", "model": "model", "command": "command", "status": "status"}


def fetch(cursor: Iterable[Any], at_most: int | None) -> list[Any]:
    """The rows, at most one more than ``at_most``; UsageError as soon as they hold too much."""
    if at_most is None:
        return list(cursor)
    rows, size = [], 0
    for row in islice(cursor, at_most + 1):
        size += sum(len(value) for value in row if isinstance(value, (str, bytes)))
        if size > MAX_ANSWER_BYTES:
            raise UsageError(
                f"query must answer with at most {MAX_ANSWER_BYTES / 1e6:,.0f} MB; end it with a "
                "LIMIT."
            )
        rows.append(row)
    return rows


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which runs: those for which everything given holds.

    Attributes
    ----------
    where : str, optional
        An SQL expression over the columns of ``run_summary``.
    tag : sequence of str
        Each of them.
    ids : sequence of int, optional
        One of them.
    """

    where: str | None = None
    study: int | None = None
    tag: Sequence[str] = ()
    model: str | None = None
    command: str | None = None
    status: str | None = None
    ids: Sequence[int] | None = None


@dataclass(frozen=True)
class QueryResult:
    """Rows of plain values, and the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    left_out: tuple[str, ...] = ()  # a line about each row that is no sound one

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows by column."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def only(self, names: Sequence[str]) -> QueryResult:
        """These columns only, in this order."""
        at = [self.columns.index(name) for name in names]
        return QueryResult(tuple(names), [tuple(row[i] for i in at) for row in self.rows])

    def first(self, n: int) -> QueryResult:
        """The first ``n`` rows."""
        return QueryResult(self.columns, self.rows[:n])


RUNNING = f"SELECT {', '.join(Running._fields)} FROM run WHERE status = 'running'"


class SqlReader(ABC):
    """Answers SELECTs; a statement that would do anything else is refused."""

    def __enter__(self) -> SqlReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""

    @abstractmethod
    def columns(self, view: str = "run_summary") -> tuple[str, ...]:
        """The names of a view's (or a table's) columns."""

    @abstractmethod
    def tables(self) -> tuple[str, ...]:
        """The names of the views and the tables."""

    @abstractmethod
    def execute(
        self, what: str, asked: str, sql: str, values: Mapping[str, Any], at_most: int | None
    ) -> QueryResult:
        """Execute ``sql``, which was made of ``asked``; at most one row more than ``at_most``.

        Parameters
        ----------
        what : str
            What the user gave: ``query`` or ``where``.
        values : mapping
            Of the ``value`` placeholders in ``sql``, and perhaps others.

        Raises
        ------
        UsageError
            When it does anything but read, names what does not exist, or takes longer than
            ``QUERY_SECONDS``.
        """

    @abstractmethod
    def value(self, name: str) -> str:
        """The placeholder of a value in SQL."""

    def escape_placeholders(self, sql: str) -> str:
        """The user's SQL as it goes into a statement that has placeholders."""
        return sql

    def query(self, sql: str) -> QueryResult:
        """The answer to one SELECT.

        Raises
        ------
        UsageError
            When it is not one SELECT, names what does not exist, takes longer than
            ``QUERY_SECONDS`` or answers with more than ``MAX_ROWS`` rows or ``MAX_ANSWER_BYTES``.
        """
        answer = self.execute("query", sql, sql, {}, MAX_ROWS)
        if len(answer.rows) > MAX_ROWS:
            raise UsageError(
                f"query must answer with at most {MAX_ROWS:,} rows; end it with a LIMIT."
            )
        return answer

    def summaries(
        self, chosen: Selection, *, sort: str = "-run_id", limit: int | None = None
    ) -> QueryResult:
        """Rows of ``run_summary``.

        Parameters
        ----------
        sort : str
            A column, ``-`` before it for descending; what is NULL comes last.

        Raises
        ------
        UsageError
            When ``where`` is no expression over the view's columns, or ``sort`` none of them.
        """
        return self._selected("run_summary", chosen, sort, limit)

    def curves(self, chosen: Selection) -> QueryResult:
        """Rows of ``epoch_curve``, by run and epoch."""
        return self._selected("epoch_curve", chosen, "run_id", None)

    def filters_without_runs(self, chosen: Selection) -> list[tuple[str, str]]:
        """The filters that fit no run: each that leaves none alone, or all where only together."""
        given = {name: value for name, value in vars(chosen).items() if value not in (None, ())}
        alone = [
            name
            for name, value in given.items()
            if not self.summaries(Selection(**{name: value}), limit=1).rows
        ]
        return [
            (name, str(one))
            for name, value in given.items()
            if name in alone or not alone
            for one in (value if name == "tag" else [value])
        ]

    def check_columns(self, what: str, names: Sequence[str]) -> None:
        """Refuse a name that is no column of ``run_summary``; UsageError names the nearest."""
        columns = self.columns()
        for name in names:
            if name not in columns:
                raise UsageError(
                    f"{what} must name a column of run_summary. "
                    f"Received: {name}{_nearest(name, columns)}."
                )

    def _selected(self, view: str, chosen: Selection, sort: str, limit: int | None) -> QueryResult:
        if chosen.study is not None and not 0 < chosen.study <= MAX_INTEGER:
            raise UsageError(f"study must be the id of a study. Received: {chosen.study}.")
        column = sort.removeprefix("-")
        self.check_columns("sort", [column])
        values = {name: getattr(chosen, name) for name in _COLUMNS}
        conditions = [
            f"{_COLUMNS[name]} = {self.value(name)}"
            for name, value in values.items()
            if value is not None
        ]
        for i, tag in enumerate(chosen.tag):
            values[f"tag{i}"] = tag
            tagged = f"SELECT run_id FROM tag WHERE tag = {self.value(f'tag{i}')}"
            conditions.append(f"run_id IN ({tagged})")
        if chosen.ids is not None:
            conditions.append(f"run_id IN ({', '.join(str(int(i)) for i in chosen.ids)})")
        if chosen.where is not None:
            asked = re.sub(r"[\s;]+\Z", "", chosen.where)
            # alone at first: an expression that closes a bracket of ours is none
            alone = f"SELECT\n{asked}\nFROM run_summary LIMIT 0"
            self.execute("where", asked, alone, {}, 0)
            conditions.append(f"(\n{self.escape_placeholders(asked)}\n)")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = f"{column} {'DESC' if sort.startswith('-') else 'ASC'} NULLS LAST, run_id DESC"
        sql = f"SELECT * FROM run_summary {where} ORDER BY {order}"
        if limit is not None:
            sql += f" LIMIT {int(limit)}"
        if view == "epoch_curve":
            ids = f"SELECT run_id FROM run_summary {where}"
            sql = f"SELECT * FROM epoch_curve WHERE run_id IN ({ids}) ORDER BY run_id, epoch"
        return _sound(self.execute("where", chosen.where or "", sql, values, None))

    def unknown(self, what: str, kind: str, name: str, asked: str) -> UsageError:
        """The error for SQL that names a ``column`` or a ``table`` that does not exist."""
        known: Sequence[str]
        if kind == "table":
            known, where = self.tables(), "the registry"
        elif what == "where":
            known, where = self.columns(), "run_summary"
            if name in known:  # a semicolon cut it off from the view
                return refused(what, asked)
        else:
            names = [column for table in self.tables() for column in self.columns(table)]
            known, where = list(dict.fromkeys(names)), "what it selects from"
        return UsageError(
            f"{what} must name a {kind} of {where}. Received: {name}{_nearest(name, known)}."
        )

    def lost_view(
        self, running: Iterable[Running], files: Path, now: Callable[[], datetime]
    ) -> str | None:
        """A ``run_summary`` that shows as ``lost`` what is running in the table and has no
        process; None where there is no such run."""
        lost = sorted(dead_runs(running, files, now))
        if not lost:
            return None
        is_lost = f"status = 'running' AND run_id IN ({', '.join(map(str, lost))})"
        status = f"CASE WHEN {is_lost} THEN 'lost' ELSE status END AS status"
        columns = (status if name == "status" else name for name in self.columns())
        return f"CREATE TEMP VIEW run_summary AS SELECT {', '.join(columns)} FROM {{}}.run_summary"


def _sound(answer: QueryResult) -> QueryResult:
    """The answer without the rows that hold what no registry holds."""
    columns = zip(*answer.rows, strict=True)
    if all(map(_is_sound, answer.columns, columns)):
        return answer
    rows: list[tuple[Any, ...]] = []
    left_out: dict[str, None] = {}
    for row in answer.rows:
        pairs = zip(answer.columns, row, strict=True)
        wrong = [name for name, value in pairs if not _is_sound(name, (value,))]
        if wrong:
            run_id = row[answer.columns.index("run_id")]
            left_out[f"Left out, since its {wrong[0]} is none: run {run_id}"] = None
        else:
            rows.append(row)
    return replace(answer, rows=rows, left_out=tuple(left_out))


def _is_sound(name: str, values: Sequence[Any]) -> bool:
    """Whether a column of a view can have these values; None is what is not there."""
    values = [value for value in values if value is not None]
    kinds, wanted = set(map(type, values)), kind_of(name)
    if wanted is float:
        return kinds <= {int, float} and all(map(math.isfinite, values))
    if wanted is not str:
        return kinds <= {int, bool}
    if not kinds <= {str} or any(len(text) > MAX_TEXT for text in values):
        return False
    return "datetime" not in _TYPES.get(name, "") or all(map(is_time, values))


def kind_of(column: str) -> type:
    """What a column of the views holds: int, float, bool or str."""
    declared = _TYPES.get(column, "").partition(" ")[0]
    return {"int": int, "float": float, "bool": bool}.get(declared, str)


def summary_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ``run_summary`` as plain values: ``id``, tags as a list, true and false."""
    document = {"id": row["run_id"], **row}
    del document["run_id"]
    document["tags"] = sorted(row["tags"].split(",")) if row["tags"] else []
    if row["still_improving"] is not None:
        document["still_improving"] = bool(row["still_improving"])
    return document


def refused(what: str, asked: str, said: str = "", note: str = "") -> UsageError:
    """The error for SQL that is not what was to be given; ``said`` is the database's word on it."""
    why = f" ({said})" if said else ""
    return UsageError(f"{what} must be {WANTED[what]}{note}. Received: {short(asked)}{why}.")


def too_slow(what: str, asked: str) -> UsageError:
    return UsageError(
        f"{what} must end within {QUERY_SECONDS:g} s. Received: {short(asked)}, which does not."
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}" if nearest else f"; there are {', '.join(known)}"


def short(sql: str) -> str:
    text = " ".join(sql.split()) or "nothing"
    return text if len(text) <= 100 else f"{text[:99]}…"
