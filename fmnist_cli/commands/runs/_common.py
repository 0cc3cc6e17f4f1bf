"""What the `runs` commands share: how runs are named and chosen, and how one is typed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._completion import (
    complete_columns,
    complete_run,
    complete_study,
    complete_tag,
)
from fmnist_cli.commands._settings import set_today, taken_today
from fmnist_cli.registry.records import Status

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord
    from fmnist_cli.registry.queries import Reader
    from fmnist_cli.registry.sql import Selection

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


def _filter(flag: str, help: str, **more: Any) -> Any:
    return typer.Option(flag, help=help, rich_help_panel="Which runs", **more)


WHERE = (
    "Only those for which this holds, over the columns of run_summary: "
    '"batch = 5 and test_accuracy > 0.85".'
)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which runs.

    A field of the name of an option that fmnist.toml sets would be filled from there: hence
    ``only_model``.
    """

    where: Annotated[str | None, _filter("--where", WHERE, metavar="SQL")] = None
    study: Annotated[
        int | None,
        _filter("--study", "Only this study's.", metavar="ID", autocompletion=complete_study),
    ] = None
    tag: Annotated[
        list[str] | None,
        _filter("--tag", "Only those with this tag; several times: all.",
                autocompletion=complete_tag),
    ] = None  # fmt: skip
    only_model: Annotated[str | None, _filter("--model", "Only this model's.")] = None
    command: Annotated[str | None, _filter("--command", "Only those of this command.")] = None
    status: Annotated[Status | None, _filter("--status", "Only those in this state.")] = None

    def selection(self, ids: Sequence[int] | None = None) -> Selection:
        """The runs for which everything given holds."""
        from fmnist_cli.registry.sql import Selection

        given = {name: value for name, value in vars(self).items() if name != "only_model"}
        return Selection(**given | {"tag": self.tag or (), "model": self.only_model, "ids": ids})


def column_names(columns: str | None) -> list[str]:
    """What ``--columns`` names; nothing where it is not given."""
    return [name.strip() for name in columns.split(",")] if columns else []


Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B,...",
        help="These columns of run_summary.",
        autocompletion=complete_columns,
    ),
]


def resume_of(context: typer.Context, registry: Reader, run: RunRecord) -> str | None:
    """What to type after ``fmnist`` to continue the run, whatever the file and the environment
    set at present; None where there is nothing to continue."""
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
    from fmnist_cli.runner.command_line import repeat_command

    command = _command(context, "train" if run.arm is not None else run.command)
    today = set_today(command) if command is not None else {}
    return repeat_command(run, registry.environment(run.id).get("data_folder"), today)


def _command(context: typer.Context, name: str) -> Any:
    return getattr(context.find_root().command, "commands", {}).get(name)
