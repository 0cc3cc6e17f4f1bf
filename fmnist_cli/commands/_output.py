"""The one place that prints: results on stdout, talk on stderr.

``--json`` puts one strict JSON document on stdout and nothing else; ``--quiet`` silences the
talk, never the results.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from fmnist_cli import tables
from fmnist_cli.commands._tables import fitting, rendered
from fmnist_cli.commands._tables import make_facts as make_facts
from fmnist_cli.commands._tables import make_table as make_table
from fmnist_cli.errors import FmnistError
from fmnist_cli.formatting import json_text, printable, to_json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from tqdm import tqdm

    from fmnist_cli.commands._option_groups import Common
    from fmnist_cli.progress import CountingBar


LINES_AT_ONCE = 1000
PIPED_WIDTH = 120  # columns, where there is no terminal to ask
LOOKALIKES = dict(zip("▁▂▃▄▅▆▇█−×→…±─", [*"_.:-=+*#-x>", "...", "+-", "-"], strict=True))
_unwritten: list[OSError] = []  # why a result is not on stdout


class Output:
    """Where a command's words and numbers go."""

    def __init__(self, common: Common) -> None:
        self.json = common.json
        self.quiet = common.quiet
        self.db = common.db
        self.argv = common.argv
        self._warnings: set[str] = set()

    def result(self, *renderables: RenderableType | tables.Table) -> None:
        """Print a result for a person; nothing where JSON was asked for."""
        if not self.json:
            console = stdout_console()
            with _writing():
                with console.capture() as printed:
                    for renderable in renderables:
                        console.print(*parts(renderable, console), sep="\n")
                _write(printed.get())

    def section(self, title: str, *renderables: RenderableType | tables.Table) -> None:
        """Print a bold title and what belongs under it, then an empty line."""
        self.result(f"[bold]{title}[/bold]", *renderables, "")

    def document(self, schema: str, content: Mapping[str, Any]) -> None:
        """Print the result for a program, where JSON was asked for."""
        if self.json:
            _write_json(to_json({"schema": schema, **content}) + "\n")

    def documents(
        self, schema: str, content: Mapping[str, Any], key: str, items: Iterable[Any]
    ) -> None:
        """As ``document``, with a long list under ``key``: an item a line, as they come."""
        if self.json:
            begin = json_text({"schema": schema, **content})
            lines = map(json_text, items)
            _write_json(f'{begin[:-1]}, "{key}": [')
            separator = "\n"
            while some := list(islice(lines, LINES_AT_ONCE)):
                _write_json(separator + ",\n".join(some))
                separator = ",\n"
            _write_json("\n]}\n")

    def text(self, text: str) -> None:
        """Write a result for a person that has its form; nothing where JSON was asked for."""
        if not self.json:
            _write(printable(text))

    def data(self, text: str) -> None:
        """Write a result for a program, as it is; nothing where JSON was asked for."""
        if self.json:
            return
        try:
            text.encode(sys.stdout.encoding)
        except UnicodeEncodeError as error:
            raise FmnistError(
                f"the output must be in an encoding that has {error.object[error.start]!r}. "
                f"Received: {error.encoding}. Set PYTHONIOENCODING=utf-8."
            ) from error
        _write(printable(text) if sys.stdout.isatty() else text)

    def say(self, text: str) -> None:
        """A line of talk: what happens now, or what to type next."""
        if not self.quiet:
            write_message(text)

    def message(self, text: str, /) -> None:
        """What the runner says, as a line of talk."""
        self.say(text)

    def warning(self, text: str | None, /) -> None:
        """Say once what the user must know of, if there is anything."""
        if text is not None and text not in self._warnings:
            self._warnings.add(text)
            self.say(text)

    def progress(
        self, total: int, label: str, *, unit: str, initial: int = 0
    ) -> AbstractContextManager[CountingBar]:
        """The runner's progress, as a bar."""
        from fmnist_cli.progress import CountingBar

        return closing(CountingBar(self.bar(total, label, unit=unit, initial=initial)))

    def next(self, *commands: str | None) -> None:
        """What to type next, with the registry that this command was given; None is left out."""
        typed = [self.command(command) for command in commands if command]
        if typed:
            self.say("Next: " + "   ".join(typed))

    def command(self, words: str) -> str:
        """``fmnist WORDS``, with the registry that this command was given."""
        from fmnist_cli.commands._settings import read_settings, source_of
        from fmnist_cli.formatting import without_password

        usual, _ = source_of("db", read_settings())
        shown = shlex.quote(without_password(self.db))
        flag = "" if self.db == usual or "--db" in words else f" --db {shown}"
        return f"fmnist {words}{flag}"

    def bar(self, total: float | None, label: str, *, unit: str, **keywords: Any) -> tqdm[Any]:
        """A progress bar on stderr; silent when quiet or not on a terminal."""
        from fmnist_cli.progress import terminal_bar

        return terminal_bar(total, label, quiet=self.quiet, unit=unit, **keywords)


def write_message(text: str, style: str = "{}") -> None:
    """Write a line to stderr, above the progress bars; a stderr that is gone stops the talk alone.

    Parameters
    ----------
    style : str
        What a terminal makes of the line, ``{}`` standing for it.
    """
    try:
        with _without_bars():
            print(style.format(printable(text)), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # the reader of a pipe, or the terminal, is gone; or it is closed
        _silence(sys.stderr)


def prepare_streams() -> None:
    """Have stdout and stderr take every character and every width, as far as they can."""
    _unwritten.clear()
    codecs.register_error("fmnist", _substituted)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the shell has closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
        if hasattr(stream := getattr(sys, name), "reconfigure"):
            stream.reconfigure(errors="fmnist")
    columns = os.environ.get("COLUMNS", "")
    if columns and not (columns.isdecimal() and 20 <= int(columns) <= 1000):
        del os.environ["COLUMNS"]


def _substituted(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that the stream's encoding has not."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(LOOKALIKES.get(character, "?") for character in text), error.end


@contextmanager
def _without_bars() -> Iterator[None]:
    """No progress bar is on the screen in the body."""
    if "tqdm" not in sys.modules:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        yield


def _silence(stream: Any) -> None:
    """Let what is written from now on go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_json(text: str) -> None:
    if not sys.stdout.encoding.lower().startswith("utf"):
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    _write(text)


def _write(text: str) -> None:
    with _writing(), _without_bars():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _writing() -> Iterator[None]:
    """What cannot be written to stdout ends the output, not the work."""
    try:
        yield
    except BrokenPipeError:  # whoever reads, such as head, has had enough
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        _unwritten.append(error)


def require_written() -> None:
    """FmnistError where a result could not be written to stdout."""
    with _writing():
        sys.stdout.flush()  # a help page, which Typer writes
    if _unwritten:
        raise FmnistError(
            f"the output must be written somewhere. Received: {_unwritten[0].strerror}. "
            "What was recorded is kept: fmnist runs list"
        )


def drop_unwritten() -> None:
    """Let go of what stdout could not take: the interpreter would fail over it as it ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _silence(sys.stdout)


def escape(text: object) -> str:
    """The text as rich prints it, with brackets that are no markup."""
    from rich.markup import escape

    return escape(str(text))


def stdout_console() -> Console:
    """A console on stdout, as wide as the terminal (120 columns where it is piped)."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:
        console.width = PIPED_WIDTH
    return console


def _printable(renderable: Any) -> Any:
    """The same with every text as it may be shown, whoever wrote it."""
    from rich.table import Table
    from rich.text import Text

    if isinstance(renderable, str):
        return printable(renderable)
    if isinstance(renderable, Text) and printable(renderable.plain) != renderable.plain:
        return Text(printable(renderable.plain), renderable.style)
    if isinstance(renderable, Table):
        for column in renderable.columns:
            column.header = _printable(column.header)
            column._cells[:] = map(_printable, column._cells)
    return renderable


def parts(renderable: RenderableType | tables.Table, console: Console) -> list[RenderableType]:
    """What is printed of it, as wide as the console allows."""
    if isinstance(renderable, tables.Table):
        return [_printable(part) for part in rendered(renderable, console)]
    return [fitting(_printable(renderable), console)]
