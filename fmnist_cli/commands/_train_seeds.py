"""`fmnist train --seeds`: one configuration with several seeds, and how much they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_cli.commands._study import draw_study, show_study
from fmnist_cli.errors import Diverged
from fmnist_cli.studies.study import View
from fmnist_cli.studies.training import TRAINING

if TYPE_CHECKING:
    from fmnist_cli.commands._options import DataOptions, StudyOptions
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.config import TrainConfig


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
    from fmnist_cli.runner.result_file import hand_in_recorded, keep_result_file
    from fmnist_cli.runner.study import run_study

    with open_session(db, config, data, out, results=results) as session:
        result = run_study(
            session,
            TRAINING.kind,
            TRAINING.conditions(config, ()),
            reuse=not study.new,
            after=keep_result_file,
            dynamics=dynamics,
            measured={"dynamics": True} if dynamics else None,
            **study.how(config.seed),
        )
        paths = hand_in_recorded(session.registry, [result.runs[0].run], results, out)
    result_file = str(paths[0]) if paths else None
    show_study(out, TRAINING, result, View(), result_file=result_file)
    n = len(result.runs)
    draw_study(out, TRAINING, result, View(), None)
    result.require_complete()
    diverged = [str(run.run.seed) for run in result.runs if run.run.status == "diverged"]
    if diverged:
        raise Diverged(
            f"the training diverged with {len(diverged)} of {n} seeds ({', '.join(diverged)}); "
            "they are in no mean. Try a smaller --lr."
        )
