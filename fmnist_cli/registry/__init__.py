"""The registry of runs: an SQLite file that keeps every run, whatever happens to it.

It never imports the engine: plain values go in, frozen records come out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_cli.registry.records import (
        ArtefactRecord,
        CheckRecord,
        EvaluationRecord,
        Outcome,
        RunRecord,
        RunSpec,
        StudyRecord,
    )
    from fmnist_cli.registry.registry import Registry
    from fmnist_cli.registry.run import Run
    from fmnist_cli.registry.sql import Selection, open_reader

__all__ = [
    "ArtefactRecord",
    "CheckRecord",
    "EvaluationRecord",
    "Outcome",
    "Registry",
    "Run",
    "RunRecord",
    "RunSpec",
    "Selection",
    "StudyRecord",
    "open_reader",
]

_ELSEWHERE = {
    "Registry": "registry",
    "Run": "run",
    "Selection": "sql",
    "open_reader": "sql",
}


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes longer to import than a list of runs to make, which does without it
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_ELSEWHERE.get(name, 'records')}")
    return getattr(module, name)
