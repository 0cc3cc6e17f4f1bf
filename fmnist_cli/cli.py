"""The root command and the one error boundary."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command_from_info, get_command_name
from typer.models import CommandInfo

from fmnist_cli.commands._advice import advised, left_behind
from fmnist_cli.commands._options import origin
from fmnist_cli.commands._output import (
    drop_unwritten,
    prepare_streams,
    require_written,
    write_message,
)
from fmnist_cli.commands._settings import default_map, read_settings
from fmnist_cli.errors import FmnistError, Terminated, shortage
from fmnist_cli.host import raise_at
from fmnist_cli.version import __version__

INTERRUPTED = 130
HELP_NAMES = ["-h", "--help"]

# as `fmnist --help` lists them: functions of modules of their names (of the studies: of one),
# imported when asked for
PANELS = {
    "Train and check": ("train", "gradcheck", "check", "grade"),
    "Studies": ("sweep-batch", "sweep-lr", "early-stop", "momentum", "ood", "luck"),
    "Exercises": ("count-params", "mini-cnn"),
    "Write up": ("report", "plot"),
    "Records, data and settings": ("runs", "data", "config", "doctor"),
}
MODULES = dict.fromkeys(("sweep-batch", "sweep-lr", "early-stop", "momentum", "luck"), "studies")
COMMANDS = tuple(name for names in PANELS.values() for name in names)
GROUPS = {
    "plot": "Draw figures of recorded runs, and of the data.",
    "runs": "Find, compare, label and share the recorded runs.",
    "data": "Fetch, verify and describe the images.",
    "config": "Your own defaults, and where each comes from.",
}

_SHORTER = {
    "Input should be a valid integer": "must be a whole number",
    "Input should be a valid number": "must be a number",
}


class _Ended(FmnistError):
    """What a signal stopped, in words; the signal itself ends here."""

    def __init__(self, word: str, error: BaseException, argv: Sequence[str]) -> None:
        super().__init__(left_behind(word, error, argv))
        self.exit_code = getattr(error, "exit_code", INTERRUPTED)


class Commands(Mapping[str, Any]):
    """The commands of a group by name, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]]) -> None:
        self._makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class CommandGroup(TyperGroup):
    """A group of commands, whose module is imported when one of them is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, help=GROUPS[name], no_args_is_help=True)
        del self.commands  # which hides what follows
        _show_no_value_of_flags(self)

    @cached_property
    def commands(self) -> Commands:  # type: ignore[override]
        infos = import_module(f"fmnist_cli.commands.{self.name}").app.registered_commands
        return Commands(
            {
                info.name or get_command_name(info.callback.__name__): partial(_command, info)
                for info in infos
            }
        )


class FmnistGroup(TyperGroup):
    """Turns every error that we raise, and every wrong usage, into one line and an exit code.

    Whatever else escapes a command is a bug, and keeps its traceback.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.help = _flowing(self.help or "")
        self.commands = Commands({name: partial(_made, name) for name in COMMANDS})  # type: ignore[assignment]

    def invoke(self, ctx: Any) -> Any:
        handler = signal.getsignal(signal.SIGINT)
        try:
            if handler != signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # Typer would make a bare exit code of it
            raise _Ended("Interrupted", error, ctx.obj) from None
        except Terminated as error:
            raise _Ended("Terminated", error, ctx.obj) from None
        finally:
            signal.signal(signal.SIGINT, handler)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        ending = (signal.SIGTERM, signal.SIGHUP)
        heard = [one for one in ending if signal.getsignal(one) != signal.SIG_IGN]  # not by nohup
        raise_at(dict.fromkeys(heard, Terminated))
        prepare_streams()
        _show_no_value_of_flags(self)
        given = args[0] if args else kwargs.get("args")
        words = sys.argv[1:] if given is None else given
        argv = ("fmnist", *words)
        try:
            own = {
                "standalone_mode": False,
                "default_map": default_map(self, _settings(words), words),
            }
            code = super().main(*args, **kwargs | own, obj=argv)
            if code == INTERRUPTED:  # before the command began
                _fail("Interrupted.", code)
            require_written()
        except SystemExit:  # Typer's answer to a reader, such as head, that has had enough
            code = 0
        except FmnistError as error:
            code = _fail(advised(error), error.exit_code)
        except typer.TyperException as error:  # a usage error that Typer found
            code = _fail(_usage(error), error.exit_code)
        except typer.Abort:
            code = _fail("Aborted.", 1)
        except Terminated as signalled:
            code = _fail(left_behind("Terminated", signalled, argv), signalled.exit_code)
        except (OSError, MemoryError, ImportError, RuntimeError) as error:
            line = shortage(error)
            if line is None:
                raise
            code = _fail(line, 1)
            drop_unwritten()
        sys.exit(code or 0)


def _made(name: str) -> Any:
    """A command of ``COMMANDS``."""
    if name in GROUPS:
        command: Any = CommandGroup(name)
    else:
        function = name.replace("-", "_")
        module = import_module(f"fmnist_cli.commands.{MODULES.get(name, function)}")
        command = _command(CommandInfo(name, callback=getattr(module, function)))
    command.rich_help_panel = next(panel for panel, names in PANELS.items() if name in names)
    return command


def _command(info: CommandInfo) -> Any:
    """Typer's command of a function, whose docstring is the help page: its prose flows, its
    examples come after the options."""
    command = get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="rich")
    prose, _, examples = (command.help or "").partition("\n\nExamples:\n")
    command.help = _flowing(prose)
    examples = re.sub("(?m)^ *#.*$", r"[dim]\g<0>[/dim]", examples)
    command.epilog = f"\n[bold]Examples[/bold]\n{examples}" if examples else None
    _show_no_value_of_flags(command)
    return command


def _flowing(prose: str) -> str:
    """Each paragraph on one line, to be broken where the terminal ends."""
    return "\n\n".join(" ".join(part.split()) for part in prose.split("\n\n"))


def _show_no_value_of_flags(command: Any) -> None:
    """Have the help say nothing where Typer would say ``<bool>``."""
    context = typer.Context(command, help_option_names=HELP_NAMES)
    for parameter in command.get_params(context):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""


def _settings(words: Sequence[str]) -> dict[str, Any]:
    """What the user's file sets; a bad file is no obstacle to help, nor to what examines it."""
    try:
        return read_settings()
    except FmnistError:
        if not words or words[0] == "doctor" or {*HELP_NAMES, "--version"} & {*words}:
            return {}
        raise


def _usage(error: typer.TyperException) -> str:
    """A usage error in one line, with the help page to read."""
    message = error.format_message().replace("Value error, ", "").strip()
    for verbose, short in _SHORTER.items():
        if verbose in message:
            message = f"{message.partition(verbose)[0]}{short}."
            # the value that Pydantic refused, where it is behind the error
            causes: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
            message += f" Received: {causes[0]['input']}." if causes else ""
    message = _with_origin(message, error)
    if not message:  # a group without a command: its help is on the screen already
        return ""
    if message[-1] not in ".?!":
        message += "."
    context = getattr(error, "ctx", None)
    return f"{message} Try: {context.command_path} --help" if context else message


def _with_origin(message: str, error: typer.TyperException) -> str:
    """The message with where the value comes from, if nobody typed it."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None or not parameter.opts:
        return message
    flag = f"'{parameter.opts[0]}'"
    return message.replace(flag, flag + origin(context, parameter.name), 1)


def _fail(message: str, exit_code: int) -> int:
    if not message:
        return exit_code
    line = " ".join(message.split())
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    terminal = sys.stderr.isatty()
    over = "\r" if terminal else ""  # the ^C that a terminal has echoed
    red = terminal and not plain
    write_message(line, over + ("\033[1;31mError:\033[0m {}" if red else "Error: {}"))
    return exit_code


app = typer.Typer(
    name="fmnist",
    cls=FmnistGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP_NAMES},
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fmnist {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """A laboratory for training dynamics on Fashion-MNIST.

    Trains a multi-layer perceptron and CNNs, written in NumPy, and records every run.
    Start with [bold]fmnist train[/bold], then [bold]fmnist runs list[/bold] and
    [bold]fmnist plot train[/bold].
    """
