"""Runs as a table to paste into a text."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_cli.registry import Registry, RunRecord
from fmnist_cli.report.markdown import table_paragraphs
from fmnist_cli.report.tables import epochs_table, runs_table
from fmnist_cli.runner.study import read_study
from fmnist_cli.studies import View, study_of


def table_to_paste(
    registry: Registry, runs: Sequence[RunRecord], study: int | None, every_epoch: bool
) -> str:
    """A table in Markdown with the columns and digits that one reads.

    One row per epoch, or the table of the study whose runs they are, or else one row per run.
    """
    if every_epoch:
        table = epochs_table([(run.id, registry.epochs(run.id)) for run in runs])
    elif study is not None:
        record = registry.get_study(study)
        table = study_of(record.kind).table(read_study(registry, record), View())
    else:
        table = runs_table(runs)
    return "\n\n".join(table_paragraphs(table)) + "\n"
