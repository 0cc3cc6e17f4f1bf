"""Tables on a terminal: as wide as it allows, and row by row where it is too narrow."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table as RichTable

    from fmnist_cli.tables import Table

UNBOUNDED = 100_000  # columns: no line is broken
HEADING_WIDTH = 14  # characters, where a heading has several words
LABEL = 24  # characters of a heading that stands beside its cell
NARROW_HEADING = 8  # characters, where a short heading has several words
BREAKS = re.compile(r" (?=± |to )|(?<=,) ")  # where a cell of several seeds may be broken
RANGE = re.compile(r" \((.+ to .+)\)$")  # lowest to highest seed, which stands below the mean
COLOURS = {"diverged": "red", "+": "yellow"}  # by how a cell ends


def rendered(table: Table, console: Console) -> list[RenderableType]:
    """The table in the widest form that the terminal has room for, and its notes."""
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

    signs = ["" if c.wraps else ">" if c.numeric else "<" for c in table.columns]
    made = make_table(
        *(f"{sign}{heading}" for sign, heading in zip(signs, headings, strict=True)),
        heading_width=heading_width,
    )
    for row in table.cells:
        if narrow:
            row = tuple(BREAKS.sub("\n", RANGE.sub(r"\n\1", cell)) for cell in row)
        made.add_row(*(_coloured(escape(cell)) for cell in row))
    return made


def _coloured(cell: str) -> str:
    for ending, colour in COLOURS.items():
        if cell.endswith(ending):
            return f"[{colour}]{cell}[/{colour}]"
    return cell


def make_table(*headings: str, heading_width: int = HEADING_WIDTH) -> RichTable:
    """A table in the house's one style.

    ``>`` before a heading makes a column of numbers, ``<`` one of words that are not wrapped; the
    words of their headings stand below each other where they are long. Headings stand at the
    bottom of their row, cells at the top.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    wrapped = [
        textwrap.wrap(heading[1:], heading_width, break_long_words=False)
        if heading[:1] in ("<", ">")
        else [heading]
        for heading in headings
    ]
    height = max(map(len, wrapped), default=0)
    for heading, lines in zip(headings, wrapped, strict=True):
        words = "\n".join([*[""] * (height - len(lines)), *lines])
        if heading[:1] in ("<", ">"):
            justify: Literal["left", "right"] = "left" if heading[0] == "<" else "right"
            table.add_column(words, justify=justify, no_wrap=True)
        else:
            table.add_column(words, overflow="fold")
    return table


def fitting(renderable: RenderableType, console: Console) -> RenderableType:
    """What is printed of it: a table that the terminal is too narrow for, row by row."""
    from rich.table import Table

    if not isinstance(renderable, Table) or not renderable.show_header or not renderable.row_count:
        return renderable
    if needed_width(renderable, console) <= console.width:
        return renderable
    headings = [_on_one_line(column.header) for column in renderable.columns]
    stacked = make_facts()
    for row in zip(*(column.cells for column in renderable.columns), strict=True):
        if stacked.row_count:
            stacked.add_row()
        for heading, cell in zip(headings, row, strict=True):
            if cell != "":
                stacked.add_row(heading, _on_one_line(cell))
    return stacked


def needed_width(table: RichTable, console: Console) -> int:
    """The columns of the terminal that the table needs: only what may be wrapped is."""
    options = console.options.update(width=UNBOUNDED)
    needed = console.measure(table, options=options).maximum
    for column in table.columns:
        if not column.no_wrap:
            cells = (column.header, *column.cells)
            measured = [console.measure(cell, options=options) for cell in cells]
            needed += max(m.minimum for m in measured) - max(m.maximum for m in measured)
    return needed


def _on_one_line(cell: RenderableType) -> RenderableType:
    return " ".join(cell.split()) if isinstance(cell, str) else cell


def make_facts() -> RichTable:
    """A table of labels and values, without headings."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table
