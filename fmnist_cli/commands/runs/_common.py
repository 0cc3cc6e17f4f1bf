"""What the `runs` commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._completion import complete_run

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord
    from fmnist_cli.registry.queries import Reader

OneRun = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A run's id, a uuid's beginning, or latest.",
        autocompletion=complete_run,
    ),
]

STATUS_STYLE = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "interrupted": "yellow",
    "diverged": "red",
    "lost": "red",
}


def repeat_of(context: typer.Context, registry: Reader, run: RunRecord) -> str:
    """What repeats the run, whatever the file and the environment set at present."""
    from fmnist_cli.commands._settings import set_today
    from fmnist_cli.runner.command_line import repeat_command

    commands = getattr(context.find_root().command, "commands", {})
    command = commands.get("train" if run.arm is not None else run.command)
    today = set_today(command) if command is not None else {}
    return repeat_command(run, registry.environment(run.id).get("data_folder"), today)
