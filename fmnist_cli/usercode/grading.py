"""A folder of files, each graded in a process of its own: one bad file stops nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fmnist_cli.engine.backend import Split
from fmnist_cli.errors import FmnistError, UsageError
from fmnist_cli.host import signals_deferred
from fmnist_cli.usercode.examine import CHECK_NAMES, check_file
from fmnist_cli.usercode.results import NOT_LOADED, CheckReport, CheckResult
from fmnist_cli.usercode.rubric import Rubric
from fmnist_cli.usercode.subject import stop_all


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
        needs_a_person = self.report.count("unclear")
        failed = [r for r in self.report.results if r.status == "failed"]
        if failed and failed[0].check in ("loads", "conduct"):
            return failed[0].message
        if self.report.mistakes:
            return ", ".join(self.report.mistakes)
        if failed:
            return failed[0].message
        return "to be looked at" if needs_a_person else ""


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


def feedback(graded: Grade, rubric: Rubric) -> str:
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
