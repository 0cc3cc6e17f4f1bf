"""The one place that prints: results on stdout, talk on stderr.

``--json`` puts one strict JSON document on stdout and nothing else; ``--quiet`` silences the
talk, never the results.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import textwrap
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from fmnist_cli.errors import FmnistError
from fmnist_cli.formatting import plain, to_json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from tqdm import tqdm

    from fmnist_cli.commands._options import Common

HEADING_WIDTH = 14  # characters, where a heading has several words
LINES_AT_ONCE = 1000
UNBOUNDED = 100_000  # columns: no line is broken
PIPED_WIDTH = 120  # columns, where there is no terminal to ask


class Output:
    """Where a command's words and numbers go."""

    def __init__(self, common: Common) -> None:
        self.json = common.json
        self.quiet = common.quiet
        self.db = common.db
        self.argv = common.argv
        self._warnings: set[str] = set()

    def result(self, *renderables: RenderableType) -> None:
        """Print a result for a person; nothing where JSON was asked for."""
        if not self.json:
            console = stdout_console()
            with console.capture() as printed:
                for renderable in renderables:
                    console.print(_fitting(renderable, console))
            _write(printed.get())

    def section(self, title: str, *renderables: RenderableType) -> None:
        """Print a bold title and what belongs under it, then an empty line."""
        self.result(f"[bold]{title}[/bold]", *renderables, "")

    def document(self, schema: str, content: Mapping[str, Any]) -> None:
        """Print the result for a program, where JSON was asked for."""
        if self.json:
            _write(to_json({"schema": schema, **content}) + "\n")

    def documents(
        self, schema: str, content: Mapping[str, Any], key: str, items: Iterable[Mapping[str, Any]]
    ) -> None:
        """As ``document``, with a long list under ``key``: an item a line, as they come."""
        if self.json:
            begin = json.dumps({"schema": schema, **plain(content)}, ensure_ascii=False)
            lines = (json.dumps(plain(i), allow_nan=False, ensure_ascii=False) for i in items)
            _write(f'{begin[:-1]}, "{key}": [')
            separator = "\n"
            while some := list(islice(lines, LINES_AT_ONCE)):
                _write(separator + ",\n".join(some))
                separator = ",\n"
            _write("\n]}\n")

    def text(self, text: str) -> None:
        """Write a result that has its form already, as it is; nothing where JSON was asked for."""
        if not self.json:
            _write(text)

    def say(self, text: str) -> None:
        """A line of talk: what happens now, or what to type next."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def message(self, text: str, /) -> None:
        """What the runner says, as a line of talk."""
        self.say(text)

    def warning(self, text: str | None, /) -> None:
        """Say once what the user must know of, if there is anything."""
        if text is not None and text not in self._warnings:
            self._warnings.add(text)
            self.say(text)

    def progress(self, total: int, label: str, *, unit: str, initial: int = 0) -> _Progress:
        """The runner's progress, as a bar."""
        return _Progress(self.bar(total, label, unit=unit, initial=initial))

    def next(self, *commands: str | None) -> None:
        """What to type next, with the registry that this command was given; None is left out."""
        typed = [self.command(command) for command in commands if command]
        if typed:
            self.say("Next: " + "   ".join(typed))

    def command(self, words: str) -> str:
        """``fmnist WORDS``, with the registry that this command was given."""
        from fmnist_cli.commands._settings import read_settings, source_of
        from fmnist_cli.registry.urls import without_password

        usual, _ = source_of("db", read_settings())
        shown = shlex.quote(without_password(self.db))
        flag = "" if self.db == usual or "--db" in words else f" --db {shown}"
        return f"fmnist {words}{flag}"

    def bar(self, total: float | None, label: str, *, unit: str, **keywords: Any) -> tqdm[Any]:
        """A progress bar on stderr; silent when quiet or not on a terminal."""
        from tqdm import tqdm

        return tqdm(
            total=total,
            desc=label,
            unit=unit,
            file=sys.stderr,
            disable=self.quiet or not sys.stderr.isatty(),
            dynamic_ncols=True,
            leave=False,
            **keywords,
        )


class _Progress:
    """A bar as the runner counts with it."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar = bar

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.bar.close()

    def update(self, n: int = 1, /) -> None:
        self.bar.update(n)

    def status(self, text: str, /) -> None:
        self.bar.set_postfix_str(text, refresh=False)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise FmnistError(
            f"the output must be written somewhere. Received: {error.strerror}. What was recorded "
            "is kept: fmnist runs list"
        ) from error


def stdout_console() -> Console:
    """A console on stdout, as wide as the terminal (120 columns where it is piped)."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:
        console.width = PIPED_WIDTH
    return console


def make_table(*headings: str, heading_width: int = HEADING_WIDTH) -> Table:
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


def _fitting(renderable: RenderableType, console: Console) -> RenderableType:
    """What is printed of it: a table that the terminal is too narrow for, row by row."""
    from rich.table import Table

    if not isinstance(renderable, Table) or not renderable.show_header or not renderable.row_count:
        return renderable
    if _needed(renderable, console) <= console.width:
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


def _needed(table: Table, console: Console) -> int:
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


def make_facts() -> Table:
    """A table of labels and values, without headings."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table
