"""`fmnist grade`: a folder of students' files, graded by a rubric."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._data import open_registry
from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.commands.check import load_images
from fmnist_cli.errors import UsageError, require
from fmnist_cli.files import write_file

if TYPE_CHECKING:
    from fmnist_cli.usercode.grading import Grade
    from fmnist_cli.usercode.rubric import Rubric


@with_options()
def grade(
    data: DataOptions,
    out: Output,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="The folder with the files.", show_default=False),
    ] = None,
    rubric: Annotated[
        Path | None,
        typer.Option("--rubric", help="Points, hints, forbidden imports, limits: a TOML file."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the table into this file too.")
    ] = None,
    feedback: Annotated[
        Path | None,
        typer.Option("--feedback", help="Write a Markdown page for every file into this folder."),
    ] = None,
    gradescope: Annotated[
        Path | None,
        typer.Option("--gradescope", help="Write a results.json for every file into this folder."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Files at a time.")] = 2,
    make_autograder: Annotated[
        Path | None,
        typer.Option(
            "--make-autograder", help="Write an autograder for Gradescope into this folder."
        ),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="Record the result in the registry.")
    ] = True,
) -> None:
    """Grade a folder of students' files: which check holds for whom, and which mistake it is.

    Every file runs in a process of its own, within limits, in an empty folder, without network;
    what one file does touches no other. That keeps mistakes and everyday tricks in, not a
    determined attacker: for files of strangers use a container. Prints a table, and writes CSV,
    Markdown feedback or Gradescope's results.json where asked.

    Examples:
      # a class, with the default rubric of 100 points
      fmnist grade submissions
      # with a rubric of one's own, and a page for every student
      fmnist grade submissions --rubric rubric.toml --feedback pages
      # an autograder to upload to Gradescope
      fmnist grade --make-autograder autograder --rubric rubric.toml
    """
    from fmnist_cli.usercode import grading
    from fmnist_cli.usercode.rubric import read_rubric

    scheme = read_rubric(rubric)
    require(1 <= jobs <= 256, "jobs must be between 1 and 256", jobs)
    files = [] if folder is None else grading.find_files(folder, scheme.files)
    if make_autograder is not None:
        text = rubric.read_text(encoding="utf-8") if rubric else grading.default_rubric_text()
        for name, (content, mode) in grading.autograder_files(text, scheme).items():
            write_file(make_autograder / name, content, parents=True)
            (make_autograder / name).chmod(mode)
        out.say(f"Written: {make_autograder}. Its README.md says how to upload it.")
    if folder is None:
        if make_autograder is None:
            raise UsageError("grade takes a folder, or --make-autograder. Received: neither.")
        out.document("fmnist.grade/1", {"id": None, "files": []})
        return
    dataset = load_images(data, out)
    grades: list[Grade] = []
    grading_all = closing(grading.grade_all(folder, files, scheme, dataset.train, at_once=jobs))
    with out.bar(len(files), "grading", unit="file") as bar, grading_all as all_graded:
        for graded in all_graded:
            grades.append(graded)
            bar.update()
            grading.write_pages(graded, scheme, feedback, gradescope)
    if csv is not None:
        write_file(csv, grading.to_csv(grades), parents=True)
    reports = {one.name: one.report for one in grades}
    run_id = None
    if record:
        with open_registry(out.db) as registry:
            run_id = grading.record_reports(registry, "grade", reports, dataset, out.argv)
    out.document("fmnist.grade/1", {
        "id": run_id,
        "max_score": scheme.max_score,
        "files": [
            {"name": g.name, "score": g.score, "remark": g.remark,
             **g.report.document(scheme.hints)}
            for g in grades
        ],
    })  # fmt: skip
    _show(out, grades, scheme)


def _show(out: Output, grades: list[Grade], rubric: Rubric) -> None:
    table = make_table("file", ">points", ">failed", ">to look at", "what was found")
    for one in grades:
        table.add_row(
            escape(one.name),
            f"{one.score:g}",
            str(one.report.count("failed")),
            str(one.report.count("unclear") or ""),
            escape(one.remark),
        )
    out.result(table)
    scores = sorted(one.score for one in grades)
    middle = scores[len(scores) // 2]
    out.result(f"{len(grades)} files; of {rubric.max_score:g} points the median is {middle:g}.")
