"""The registry of runs: an SQLite file that keeps every run, whatever happens to it.

It never imports the engine: plain values go in, frozen records come out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_cli.registry.records import ArtefactRecord as ArtefactRecord
    from fmnist_cli.registry.records import CheckRecord as CheckRecord
    from fmnist_cli.registry.records import EvaluationRecord as EvaluationRecord
    from fmnist_cli.registry.records import Outcome as Outcome
    from fmnist_cli.registry.records import RunRecord as RunRecord
    from fmnist_cli.registry.records import RunSpec as RunSpec
    from fmnist_cli.registry.records import StudyRecord as StudyRecord
    from fmnist_cli.registry.registry import Registry as Registry
    from fmnist_cli.registry.run import Run as Run
    from fmnist_cli.registry.sql import Selection as Selection
    from fmnist_cli.registry.sql import open_reader as open_reader

_ELSEWHERE = {"Registry": "registry", "Run": "run", "Selection": "sql", "open_reader": "sql"}


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes longer to import than a list of runs to make, which does without it
    if not name.startswith("_"):
        module = import_module(f"{__name__}.{_ELSEWHERE.get(name, 'records')}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
