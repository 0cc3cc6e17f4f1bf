"""What every study's command does: train what is missing, show the result, draw it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.commands._output import Output, escape
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.runner.command_line import figure_commands, figure_words
from fmnist_cli.studies import Study
from fmnist_cli.studies.study import View
from fmnist_cli.tables import Table

if TYPE_CHECKING:
    from fmnist_cli.analysis.answers import Answer
    from fmnist_cli.analysis.result import RecordedRun, StudyResult
    from fmnist_cli.analysis.why.causes import Explanation
    from fmnist_cli.commands._option_groups import DataOptions, StudyOptions

_USUAL = View()


def run_study_command(
    study: Study,
    config: TrainConfig,
    values: Sequence[Any] | None,
    options: StudyOptions,
    data: DataOptions,
    out: Output,
    *,
    view: View = _USUAL,
    results: Path | None = None,
    left_out: Sequence[str] = (),
) -> None:
    """Train the study, unless it is complete, and show it.

    Parameters
    ----------
    values
        What is compared; None for the study's own choice, as far as it fits.
    left_out
        Which values are not, and why.
    results
        Where each run's file that course scripts read goes, if anywhere.
    """
    from fmnist_cli import plots
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.runner.result_file import hand_in_recorded
    from fmnist_cli.runner.study import require_size

    if values is None:
        values, left_out = study.usual_values(config)
    seeds = options.seeds_from(config.seed)
    require_size(len(study.conditions(config, values)), seeds)  # refused before anything is made
    plots.check_path(options.plot)
    for line in left_out:
        out.say(line)
    how = options.how(config.seed)
    folders = {} if results is None else {"results": results}
    with open_session(config, data, out, **folders) as session:
        newest = max((run.id for run in session.registry.list_runs(limit=1)), default=0)
        result = study.run(session, config, values, view, reuse=not options.new, **how)
        explanations: tuple[Explanation, ...] = ()
        if options.why:
            explanations, _ = study.explained(session, config, result, view, **how)
            if not explanations:
                out.say("There is nothing to explain: too few settings have a result.")
        more = {}
        if results is not None:
            runs = [run.run for run in result.runs]
            more["result_files"] = hand_in_recorded(session.registry, runs, results, out)
    if result.runs and all(run.run.id <= newest for run in result.runs):
        out.say("To train it once more: --new")
    show_study(out, study, result, view, explanations, **more)
    draw_study(out, study, result, view, options.plot)
    result.require_complete()
    result.require_converged()


def show_study(
    out: Output,
    study: Study,
    result: StudyResult,
    view: View,
    explanations: Sequence[Explanation] = (),
    **more: Any,
) -> None:
    """The document, or the tables and the answers, and with them the explanations."""
    table = study.table(result, view)
    answers = study.answers(result, view)
    if out.json:
        found = [{**one.document(), "figure": figure_words(one)} for one in explanations]
        out.document(
            f"fmnist.{study.document_name}/1",
            {
                **result.document(),
                **study.document(result, view),
                "table": table.records(),
                "answers": answers,
                **({"explanations": found} if found else {}),
                **more,
            },
        )
        return
    show_tables(out, [table, *study.details(result, view)])
    show_answers(out, answers, result.runs)
    show_explanations(out, explanations)


def show_tables(out: Output, tables: Sequence[Table]) -> None:
    """Each table under its caption."""
    for table in tables:
        out.section(escape(table.caption), table)


def show_answers(out: Output, given: Sequence[Answer], runs: Sequence[RecordedRun]) -> None:
    """On how many seeds the answers rest, then each question with its answer; questions in a row
    that have the same answer share it."""
    from fmnist_cli.analysis.answers import study_note

    if given:
        out.section("Answers", escape(study_note(runs)))
    for statement, answers in groupby(given, key=lambda answer: answer.statement):
        questions = "\n".join(answer.question for answer in answers)
        out.section(escape(questions), escape(statement))


def show_explanations(out: Output, explanations: Sequence[Explanation]) -> None:
    """Each question with its causes and how each was tested; at the end, the figures of all."""
    from fmnist_cli.report.tables import causes_table

    for one in explanations:
        out.section(
            escape(f"{one.heading} ({one.part})"),
            *map(escape, (one.answer, *one.measured)),
            *((causes_table(one),) if one.causes else ()),
        )
    if explanations:
        out.result(escape(f"Figures: {', '.join(figure_commands(explanations, out.command))}"))


def draw_study(
    out: Output, study: Study, result: StudyResult, view: View, path: Path | None
) -> None:
    """Draw the study into the file that was asked for, or say which command draws it."""
    from fmnist_cli import plots

    if path is not None:
        plots.save(study.figure(result, view), path)
        out.say(f"Saved {path}")
        return
    words = [f"plot {study.plot_name} --study {result.study.id}"]
    if view.curves:
        words.append(f"--curve {view.curves_word}")
    if view.patiences != _USUAL.patiences:
        words += [f"--patience {patience}" for patience in view.patiences]
    out.next(" ".join(words), f"runs compare study:{result.study.id}")
