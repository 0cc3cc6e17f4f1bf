"""`fmnist train --seeds`: one configuration with several seeds, and how much they differ."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from fmnist_cli.commands._output import make_table
from fmnist_cli.errors import Diverged
from fmnist_cli.formatting import percent, seconds

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.analysis.result import StudyResult
    from fmnist_cli.commands._options import DataOptions, StudyOptions
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.training import TrainResult
    from fmnist_cli.registry import Run


def train_seeds(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    *,
    db: str,
    results: Path,
    dynamics: bool,
) -> None:
    """Train every seed as one study, and show each, their spread and their interval.

    Every run keeps its result file; the first seed's is the one in ``results``.
    """
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands._summaries import summary_table, times_note
    from fmnist_cli.commands.train import result_file_name
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import run_study

    name = result_file_name(config)
    label = f"{config.model} b{config.batch} lr{config.lr:g}"
    with Registry.open(db) as registry:
        session = open_session(registry, config, data, out)
        result = run_study(
            session,
            "train",
            [(label, config)],
            after=partial(_keep_result_file, name),
            dynamics=dynamics,
            **study.how(config.seed),
        )
        files = registry.artefacts(result.runs[0].run.id, kind="result")
        copyfile(registry.artefact_path(files[-1]), results / name)
    out.document("fmnist.train-seeds/1", {**result.document(), "result_file": str(results / name)})
    n = len(result.runs)
    out.section(f"Study {result.study.id}: {label}, {n} seeds", _table(result))
    out.section(f"Over {n} seeds", summary_table(result.runs), *times_note(result))
    out.next(f"plot train --study {result.study.id}", "runs list")
    result.require_complete()
    diverged = [str(run.run.seed) for run in result.runs if run.run.status == "diverged"]
    if diverged:
        raise Diverged(
            f"the training diverged with {len(diverged)} of {n} seeds ({', '.join(diverged)}); "
            "they are in no mean. Try a smaller --lr."
        )


def _keep_result_file(
    name: str, run: Run, backend: Backend, result: TrainResult, data: Dataset
) -> None:
    from fmnist_cli.commands.train import write_result_file

    write_result_file(run.folder / name, result)
    run.add_artefact("result", run.folder / name)


def _table(result: StudyResult) -> Table:
    table = make_table(
        *(">run", ">seed", ">best epoch", ">val acc", ">test acc", ">training time", "ended")
    )
    for run in result.runs:
        record = run.run
        limit = ", still improving" if record.still_improving else ""
        table.add_row(
            str(record.id),
            str(record.seed),
            str(record.best_epoch or "-"),
            percent(record.best_val_accuracy),
            percent(record.test_accuracy),
            seconds(record.train_seconds),
            f"{record.stop_reason}{limit}",
        )
    return table
