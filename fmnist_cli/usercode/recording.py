"""What is kept of checked files: one run in the registry, and pages to give back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.files import write_file
from fmnist_cli.formatting import printable, to_json
from fmnist_cli.registry import Outcome, RunSpec
from fmnist_cli.usercode import gradescope as export
from fmnist_cli.usercode import grading

if TYPE_CHECKING:
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.registry import Registry
    from fmnist_cli.usercode.grading import Grade
    from fmnist_cli.usercode.results import CheckReport
    from fmnist_cli.usercode.rubric import Rubric


def record_reports(
    registry: Registry,
    command: str,
    reports: Mapping[str, CheckReport],
    dataset: Dataset,
    argv: Sequence[str],
) -> int:
    """Record reports, by the files' names, as checks of one run; its id.

    Each says whose it is: the file's name and SHA-256. What does not apply to such a run has the
    value that says so.
    """
    config = asdict(TrainConfig()) | {"engine": "user", "epochs": 1, "patience": None}
    spec = RunSpec(
        command=command,
        config=config | {"train_size": len(dataset.train), "val_size": 0, "monitor": "none"},
        data_fingerprint=dataset.fingerprint,
        data_source=dataset.source,
        argv=tuple(argv),
    )
    with registry.run(spec) as run:
        for name, report in reports.items():
            who = {"file": name, "sha256": report.sha256}
            if command == "grade":
                statuses = {result.check: result.status for result in report.results}
                mistakes = {"mistakes": list(report.mistakes)}
                run.record_check("layers", printable(name), who | mistakes | statuses, report.holds)
                continue
            for result in report.results:
                mistake = result.diagnosis.mistake if result.diagnosis else ""
                figures: dict[str, Any] = {"status": result.status, "mistake": mistake or None}
                held = result.status not in ("failed", "unclear")
                run.record_check("layers", result.check, who | figures | dict(result.figures), held)
        run.finish(Outcome(stop_reason=None, train_seconds=0.0))
    return run.id


def write_pages(
    graded: Grade, rubric: Rubric, feedback: Path | None, gradescope: Path | None
) -> None:
    """Write what a student is given back: a page of feedback, Gradescope's results."""
    stem = re.sub(r"[^\w.-]+", "_", graded.name.removesuffix(".py"))
    if feedback is not None:
        write_file(feedback / f"{stem}.md", grading.feedback(graded, rubric), parents=True)
    if gradescope is not None:
        content = to_json(export.results(graded, rubric)) + "\n"
        write_file(gradescope / stem / "results.json", content, parents=True)
