"""The options that say which runs, for the commands that take several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._completion import complete_columns, complete_study, complete_tag
from fmnist_cli.registry.records import Status

if TYPE_CHECKING:
    from fmnist_cli.registry.sql import Selection


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
