"""What the `runs` commands share."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._completion import complete_run

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord

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


def run_document(run: RunRecord) -> dict[str, Any]:
    """The run as plain values, times in ISO 8601."""
    document = asdict(run)
    for name, value in document.items():
        if isinstance(value, datetime):
            document[name] = value.isoformat()
    return document
