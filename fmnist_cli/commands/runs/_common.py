"""What the `runs` commands share."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord

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
