"""Write ``docs/commands.md``, the reference of every command, from the app itself.

    make docs-reference

A test fails when the page is not what the app says today.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import typer.main

from fmnist_cli.cli import app

PAGE = Path(__file__).parent / "commands.md"
WIDTH = 96  # columns
HEAD = """# Commands

Made from the app by `make docs-reference`. What each command prints on the real data is on
[the page of the studies](studies.md).

Exit codes: 0 fine; 1 it failed; 2 wrong usage; 3 a check did not hold (a gradient, a checksum, a
reproduction); 4 the training diverged; 130 interrupted, 143 terminated.
"""


def reference() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *_group("fmnist", root)])


def _group(path: str, group: Any) -> list[str]:
    parts: list[str] = []
    for name, command in group.commands.items():
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            parts += _group(full, command)
        else:
            parts.append(_command(full, command))
    return parts


def _command(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([path, *(f"[{p.metavar or p.name.upper()}]" for p in arguments), "[OPTIONS]"])
    lines = [f"## {path}\n", f"```\n{usage}\n```\n", _filled(_plain(command.help or "")) + "\n"]
    if options:
        lines += ["| option | default | meaning |", "| --- | --- | --- |"]
        lines += [_row(option) for option in options]
        lines.append("")
    return "\n".join(lines)


def _row(option: Any) -> str:
    default = option.default
    shown = option.show_default if isinstance(option.show_default, str) else default
    if shown is None or shown is False or callable(shown):
        shown = ""
    meaning = _plain(option.help or "").replace("|", "\\|")
    if option.envvar:
        meaning += f" (environment: `{option.envvar}`)"
    return f"| `{', '.join(option.opts)}` | {shown} | {meaning} |"


def _filled(text: str) -> str:
    """Every paragraph in lines that fit the page's source."""
    return "\n\n".join(
        p if p.startswith(" ") else textwrap.fill(p, WIDTH, break_on_hyphens=False)
        for p in text.strip().split("\n\n")
    )


def _plain(text: str) -> str:
    """Help text without Typer's markup."""
    for markup in ("[bold]", "[/bold]", "[dim]", "[/dim]", "\\"):
        text = text.replace(markup, "")
    return text


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
