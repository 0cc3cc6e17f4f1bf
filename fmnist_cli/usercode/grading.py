"""A folder of files, each graded in a process of its own: one bad file stops nothing.

And what comes of it: a page for the student, CSV, a run in the registry; Gradescope's results.json,
and an autograder to upload, in the form of
https://gradescope-autograders.readthedocs.io/en/latest/specs/ (Output format).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.errors import FmnistError, UsageError
from fmnist_cli.files import write_file
from fmnist_cli.formatting import printable, to_json
from fmnist_cli.host import signals_deferred
from fmnist_cli.registry import Outcome, Registry, RunSpec
from fmnist_cli.usercode.examine import CHECK_NAMES, check_file
from fmnist_cli.usercode.results import NOT_LOADED, CheckReport, CheckResult
from fmnist_cli.usercode.rubric import Rubric
from fmnist_cli.usercode.subject import stop_all
from fmnist_cli.version import __version__

_SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when the autograder's image is built.
set -euo pipefail
apt-get update
apt-get install -y python3 python3-venv python3-pip dataset-fashion-mnist || \\
  apt-get install -y python3 python3-venv python3-pip
python3 -m venv /opt/fmnist
/opt/fmnist/bin/pip install "fmnist=={version}"
/opt/fmnist/bin/fmnist data fetch
"""
_RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for every submission; the working folder is /autograder.
set -uo pipefail
shopt -s nullglob
root="${{AUTOGRADER_ROOT:-/autograder}}"
fmnist="${{FMNIST:-/opt/fmnist/bin/fmnist}}"
files=("$root"/submission/{files})
file="${{files[0]:-$root/submission/no-file-was-handed-in.py}}"
"$fmnist" check "$file" --rubric "$root/source/rubric.toml" \\
  --gradescope "$root/results/results.json" --quiet --no-record
# what does not hold is in the results: the autograder itself has done its work
test -s "$root/results/results.json"
"""
_README = """\
# Autograder for Gradescope

1. Edit `rubric.toml`: points, hints, forbidden imports, limits.
2. Zip the files, not the folder: `zip autograder.zip setup.sh run_autograder rubric.toml`.
3. Upload `autograder.zip` under Configure Autograder.

Gradescope runs every submission in a container of its own.
"""


@dataclass(frozen=True)
class Grade:
    """One file's report and its points."""

    path: Path
    name: str  # the file below the graded folder, for a person
    report: CheckReport
    score: float
    max_score: float

    @property
    def remark(self) -> str:
        """The one thing to say of the file in a table."""
        failed = [r for r in self.report.results if r.status == "failed"]
        if failed and failed[0].check in ("loads", "conduct"):
            return failed[0].message
        if self.report.mistakes:
            return ", ".join(self.report.mistakes)
        if failed:
            return failed[0].message
        return "to be looked at" if self.report.count("unclear") else ""


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The files to grade, sorted by name; UsageError where there are none."""
    if not folder.is_dir():
        raise UsageError(f"the folder must exist. Received: {folder}.")
    try:
        files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise UsageError(f"files must be a pattern such as *.py. Received: {pattern}.") from error
    if not files:
        raise UsageError(f"the folder must have files that match {pattern}. Received: {folder}.")
    return files


def grade(path: Path, rubric: Rubric, images: Split, *, name: str = "") -> Grade:
    """One file, graded; it is never an error, whatever the file does."""
    try:
        report = check_file(
            path, images, seed=rubric.seed, limits=rubric.limits, forbidden=rubric.forbidden
        )
    except FmnistError as error:  # it is gone, or too large to read
        failed = CheckResult("loads", "The file loads", "failed", str(error))
        report = CheckReport(path.name, "", (failed,), 0.0)
    return Grade(path, name or path.name, report, rubric.score(report), rubric.max_score)


def grade_all(
    folder: Path, files: Sequence[Path], rubric: Rubric, images: Split, *, at_once: int = 2
) -> Generator[Grade, None, None]:
    """Every file, graded, in the given order; ``at_once`` processes run at a time.

    Where it is closed before its end, they are stopped.
    """

    def one(path: Path) -> Grade:
        return grade(path, rubric, images, name=path.relative_to(folder).as_posix())

    pool = ThreadPoolExecutor(at_once)  # each waits for a process of its own
    try:
        yield from pool.map(one, files)
    finally:
        with signals_deferred():
            stop_all()
            pool.shutdown(cancel_futures=True)


def feedback_text(graded: Grade, rubric: Rubric) -> str:
    """A Markdown page for the student: points, what failed, hints; never a solution."""
    report = graded.report
    lines = [
        f"# {rubric.title}: {graded.name}",
        "",
        f"**{graded.score:g} of {graded.max_score:g} points.**",
        "",
        "| check | result | points |",
        "| --- | --- | ---: |",
    ]
    for result in report.results:
        points = rubric.points.get(result.check)
        got = "" if points is None else f"{points if result.status == 'passed' else 0:g}/{points:g}"
        if result.status == "absent" and result.check in rubric.optional:
            got = "–"  # its points count neither way
        lines.append(f"| {result.title} | {result.status} | {got} |")
    for result in report.results:
        if result.status in ("failed", "unclear", "skipped") and result.message != NOT_LOADED:
            lines += ["", f"## {result.title}", ""]
            lines += [_escaped(line) for line in result.explanation(rubric.hints)]
    if report.sha256:
        lines += ["", f"File: {graded.name}, SHA-256 {report.sha256}."]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text from a student's error, without effect as Markdown or HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|") + "\n"


def to_csv(grades: Sequence[Grade]) -> str:
    """One row per file: name, SHA-256, score, and the status of every check."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["file", "sha256", "score", "max_score", "mistakes", *CHECK_NAMES])
    for one in grades:
        by_name = {result.check: result.status for result in one.report.results}
        statuses = [by_name.get(name, "") for name in CHECK_NAMES]
        writer.writerow([
            _cell(one.name), one.report.sha256, f"{one.score:g}", f"{one.max_score:g}",
            " ".join(one.report.mistakes), *statuses,
        ])  # fmt: skip
    return out.getvalue()


def _cell(text: str) -> str:
    """A file's name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


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
                found = {"status": result.status, "mistake": result.mistake or None}
                held = result.status not in ("failed", "unclear")
                run.record_check("layers", result.check, who | found | dict(result.figures), held)
        run.finish(Outcome(stop_reason=None, train_seconds=0.0))
    return run.id


def write_pages(
    graded: Grade, rubric: Rubric, feedback: Path | None, gradescope: Path | None
) -> None:
    """Write what a student is given back: a page of feedback, Gradescope's results."""
    stem = re.sub(r"[^\w.-]+", "_", graded.name.removesuffix(".py"))
    if feedback is not None:
        write_file(feedback / f"{stem}.md", feedback_text(graded, rubric), parents=True)
    if gradescope is not None:
        content = to_json(gradescope_results(graded, rubric)) + "\n"
        write_file(gradescope / stem / "results.json", content, parents=True)


def gradescope_results(graded: Grade, rubric: Rubric) -> dict[str, Any]:
    """The document that Gradescope reads: score, tests, extra_data."""
    report = graded.report
    tests = []
    for number, result in enumerate(report.results, start=1):
        points = rubric.points.get(result.check)
        if result.status == "absent" and result.check in rubric.optional:
            continue
        if points is None and result.status in ("passed", "skipped", "absent"):
            continue
        test: dict[str, Any] = {
            "name": result.title,
            "number": str(number),
            "output": "\n".join(result.explanation(rubric.hints)),
            "visibility": rubric.visibility.get(result.check, "visible"),
            "tags": [result.check],
        }
        if points is not None:
            test["score"] = float(points) if result.status == "passed" else 0.0
            test["max_score"] = float(points)
        else:
            test["status"] = "failed"
        tests.append(test)
    return {
        "score": float(graded.score),
        "execution_time": round(report.seconds),
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {
            "fmnist": __version__,
            "file": report.file,
            "sha256": report.sha256,
            "mistakes": list(report.mistakes),
        },
        "tests": tests,
    }


def autograder_files(rubric_text: str, rubric: Rubric) -> dict[str, tuple[str, int]]:
    """The files of an autograder: their text and mode, by name."""
    return {
        "setup.sh": (_SETUP.format(version=__version__), 0o755),
        "run_autograder": (_RUN.format(files=rubric.files), 0o755),
        "rubric.toml": (rubric_text, 0o644),
        "README.md": (_README, 0o644),
    }


def default_rubric_text() -> str:
    """The default rubric as the TOML that says it."""
    rubric = Rubric()
    points = "\n".join(f"{name} = {value:g}" for name, value in rubric.points.items())
    forbidden = ", ".join(f'"{name}"' for name in rubric.forbidden)
    optional = ", ".join(f'"{name}"' for name in rubric.optional)
    limits = rubric.limits
    return f"""\
title = "{rubric.title}"
# 0: what is wrong; 1: and where; 2: and a question that leads to the cause
hints = {rubric.hints}
files = "{rubric.files}"
# of the tensors that the layers are tried on
seed = {rubric.seed}
forbidden = [{forbidden}]
# of these a file may lack the part: its points then count neither way
optional = [{optional}]

[points]
{points}

[limits]
call_seconds = {limits.call_seconds:g}
file_seconds = {limits.file_seconds:g}
memory_bytes = {limits.memory_bytes}
file_bytes = {limits.file_bytes}
"""
