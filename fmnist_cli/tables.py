"""The one table of the house: columns that know how to write a number, and rows of plain values.

A table is defined once. The terminal, the report, the documents and ``--json`` write the same
columns in the same order; only a narrow terminal takes the short headings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from statistics import fmean, stdev
from typing import Any

FEW_SEEDS = 5  # below, the seeds' range says more than a standard deviation


@dataclass(frozen=True)
class Shown:
    """A value that is not written as its column writes values."""

    value: Any
    text: str


Value = str | float | tuple[float | None, ...] | Shown | None
"""A text, a number, one number per seed, or what is not there."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    heading : str
        In lower case but for names; the pages begin it with a capital.
    numeric : bool
        Whether its cells stand to the right.
    short : str
        The heading where there is little room; else ``heading``.
    key : str
        Its name in ``--json``; else the heading with underscores.
    show : callable
        A number as text.
    formula : bool
        Whether its texts are formulas, which a page may set as such.
    wraps : bool
        Whether its texts may stand in several lines.
    """

    heading: str
    numeric: bool = True
    _: KW_ONLY
    short: str = ""
    key: str = ""
    show: Callable[[float], str] = str
    formula: bool = False
    wraps: bool = False

    def text(self, value: Value) -> str:
        """The cell as text, without any markup."""
        if value is None:
            return "-"
        if isinstance(value, str):
            return value
        if isinstance(value, Shown):
            return value.text
        if isinstance(value, tuple):
            return over_seeds(value, self.show)
        return self.show(value) if math.isfinite(value) else "-"

    @property
    def name(self) -> str:
        return self.key or "_".join(self.heading.split())


def headings(*names: str) -> tuple[Column, ...]:
    """Columns of texts: ``<`` before a name makes one of words, to the left; else of numbers."""
    return tuple(Column(name.removeprefix("<"), name[0] != "<") for name in names)


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes
    ----------
    rows : tuple of rows, each as long as ``columns``
    notes : tuple of str
        What its marks mean, below it.
    anchors : tuple of str
        What a link can point at, one per row; none where nothing does.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    notes: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows as texts."""
        return tuple(
            tuple(column.text(value) for column, value in zip(self.columns, row, strict=True))
            for row in self.rows
        )

    def records(self) -> list[dict[str, Any]]:
        """The rows as plain values by the columns' names; a list has one number per seed."""
        return [
            {
                column.name: value.value if isinstance(value, Shown) else value
                for column, value in zip(self.columns, row, strict=True)
            }
            for row in self.rows
        ]


def over_seeds(values: Sequence[float | None], show: Callable[[float], str]) -> str:
    """What the seeds say of one number.

    One seed: the number. A few: the mean and their range. From five: the mean and the standard
    deviation (n - 1) after "±". The unit is written once.
    """
    present = [value for value in values if value is not None and math.isfinite(value)]
    if not present:
        return "-"
    mean = show(fmean(present))
    if len(present) == 1:
        return mean
    unit = mean[mean.rindex(" ") :] if " " in mean else ""

    def bare(value: float) -> str:
        return show(value).removesuffix(unit)

    if len(present) < FEW_SEEDS:
        return f"{mean} ({bare(min(present))} to {bare(max(present))})"
    return f"{mean} ± {bare(stdev(present)).removeprefix('+')}"


def seeds_notes(rows: Sequence[Sequence[Value]]) -> tuple[str, ...]:
    """What "±" and the brackets mean, where the rows have several seeds."""
    counts = {
        len([number for number in value if number is not None])
        for row in rows
        for value in row
        if isinstance(value, tuple)
    }
    notes = []
    if any(1 < n < FEW_SEEDS for n in counts):
        notes.append("With a mean: the lowest and highest seed.")
    if any(n >= FEW_SEEDS for n in counts):
        notes.append("±: standard deviation over the seeds.")
    return tuple(notes)
