"""The registry of runs: an SQLite file that keeps every run, whatever happens to it.

It never imports the engine: plain values go in, frozen records come out.
"""

from __future__ import annotations

from fmnist_cli.registry.records import (
    ArtefactRecord,
    CheckRecord,
    EpochRecord,
    EvaluationRecord,
    Outcome,
    RunRecord,
    RunSpec,
    StudyRecord,
)
from fmnist_cli.registry.run import Run
from fmnist_cli.registry.store import Registry

__all__ = [
    "ArtefactRecord",
    "CheckRecord",
    "EpochRecord",
    "EvaluationRecord",
    "Outcome",
    "Registry",
    "Run",
    "RunRecord",
    "RunSpec",
    "StudyRecord",
]
