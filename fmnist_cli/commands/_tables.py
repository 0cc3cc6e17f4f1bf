"""The house's tables on a terminal: as wide as it allows, and row by row where it is too narrow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table as RichTable

    from fmnist_cli.tables import Table

LABEL = 24  # characters of a heading that stands beside its cell
NARROW_HEADING = 8  # characters, where a short heading has several words
BREAKS = re.compile(r" (?=± |to )|(?<=,) ")  # where a cell of several seeds may be broken
RANGE = re.compile(r" \((.+ to .+)\)$")  # lowest to highest seed, which stands below the mean
COLOURS = {"diverged": "red", "+": "yellow"}  # by how a cell ends


def rendered(table: Table, console: Console) -> list[RenderableType]:
    """The table in the widest form that the terminal has room for, and its notes."""
    from fmnist_cli.commands._output import HEADING_WIDTH, fitting, needed_width

    long = [column.heading for column in table.columns]
    short = [column.short or column.heading for column in table.columns]
    for headings, heading_width, narrow in (
        (long, HEADING_WIDTH, False),
        (short, NARROW_HEADING, False),
        (short, NARROW_HEADING, True),
    ):
        made = _rich(table, headings, heading_width, narrow)
        if needed_width(made, console) <= console.width:
            return [made, *table.notes]
    labels = [a if len(a) <= LABEL else b for a, b in zip(long, short, strict=True)]
    return [fitting(_rich(table, labels, HEADING_WIDTH, False), console), *table.notes]


def _rich(table: Table, headings: list[str], heading_width: int, narrow: bool) -> RichTable:
    from rich.markup import escape

    from fmnist_cli.commands._output import make_table

    signs = [">" if column.numeric else "<" for column in table.columns]
    made = make_table(
        *(f"{sign}{heading}" for sign, heading in zip(signs, headings, strict=True)),
        heading_width=heading_width,
    )
    for row in table.cells:
        made.add_row(*(_coloured(escape(_broken(cell) if narrow else cell)) for cell in row))
    return made


def _broken(cell: str) -> str:
    """The cell in several lines."""
    return BREAKS.sub("\n", RANGE.sub(r"\n\1", cell))


def _coloured(cell: str) -> str:
    for ending, colour in COLOURS.items():
        if cell.endswith(ending):
            return f"[{colour}]{cell}[/{colour}]"
    return cell
