"""What the `runs` commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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


def resume_of(context: typer.Context, registry: Reader, run: RunRecord) -> str | None:
    """What to type after ``fmnist`` to continue the run, whatever the file and the environment
    set at present; None where there is nothing to continue."""
    from fmnist_cli.commands._settings import taken_today
    from fmnist_cli.runner.command_line import resume_hint

    seeds: set[int] = set()
    if run.study_id is not None:
        asked = registry.get_study(run.study_id).config.get("runs", ())
        seeds = {config["seed"] for _, config in asked}
    command = _command(context, "".join(run.argv[1:2]))
    taken = taken_today(command) if command is not None else {}
    folder = registry.environment(run.id).get("data_folder")
    return resume_hint(run, folder, taken, [*seeds])


def repeat_of(context: typer.Context, registry: Reader, run: RunRecord) -> str:
    """What repeats the run, whatever the file and the environment set at present."""
    from fmnist_cli.commands._settings import set_today
    from fmnist_cli.runner.command_line import repeat_command

    command = _command(context, "train" if run.arm is not None else run.command)
    today = set_today(command) if command is not None else {}
    return repeat_command(run, registry.environment(run.id).get("data_folder"), today)


def _command(context: typer.Context, name: str) -> Any:
    return getattr(context.find_root().command, "commands", {}).get(name)
