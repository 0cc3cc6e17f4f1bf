"""Write ``docs/commands.md``, the reference of every command, from the app itself.

    make docs-reference

A test fails when the page is not what the app says today.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from fmnist_cli.cli import app

PAGE = Path(__file__).parent / "commands.md"
HEAD = """# Commands

Made from the app by `make docs-reference`. What each command prints on the real data is on
[the page of the studies](studies.md).

Exit codes: 0 fine; 1 it failed; 2 wrong usage; 3 a check did not hold (a gradient, a checksum, a
reproduction); 4 the training diverged; 130 interrupted, 143 terminated.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_command(path, command) for path, command in commands())])


def commands(path: str = "fmnist", group: Any = None) -> Iterator[tuple[str, Any]]:
    """Every command, and what is typed for it."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(f"{path} {name}", command)
        else:
            yield f"{path} {name}", command


def examples(command: Any) -> list[tuple[str, str]]:
    """A command's examples: what each is for, and what is typed."""
    _, *lines = _plain(command.epilog).strip().splitlines()
    words = [line.strip() for line in lines]
    return [
        (comment.removeprefix("# "), typed)
        for comment, typed in zip(words[::2], words[1::2], strict=True)
    ]


def _command(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([path, *(f"[{p.metavar or p.name.upper()}]" for p in arguments), "[OPTIONS]"])
    prose = [textwrap.fill(part, 100) for part in _prose(command.help).split("\n\n")]
    shown = [f"# {comment}\n{typed}\n" for comment, typed in examples(command)]
    lines = [
        f"## {path}\n",
        f"```\n{usage}\n```\n",
        "\n\n".join(prose) + "\n",
        "```sh\n" + "\n".join(shown) + "```\n",
        "| option | default | meaning |",
        "| --- | --- | --- |",
        *(_row(p.metavar or p.name.upper(), p) for p in arguments if p.help),
        *(_row(", ".join(p.opts), p) for p in options),
        "",
    ]
    return "\n".join(lines)


def _row(name: str, parameter: Any) -> str:
    default = parameter.default
    shown = parameter.show_default if isinstance(parameter.show_default, str) else default
    if shown is None or shown is False or callable(shown):
        shown = ""
    meaning = _prose(parameter.help or "").replace("|", "\\|")
    if parameter.envvar:
        meaning += f" (environment: `{parameter.envvar}`)"
    return f"| `{name}` | {shown} | {meaning} |"


def _prose(text: str) -> str:
    """Help text as Markdown, its options as code."""
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)", r"`\1`", _plain(text))


def _plain(text: str) -> str:
    """Help text without Typer's markup."""
    for markup in ("[bold]", "[/bold]", "[dim]", "[/dim]", "\\"):
        text = text.replace(markup, "")
    return text


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
