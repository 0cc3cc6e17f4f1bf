"""`fmnist report`: the whole assignment, done where it is not, and written up."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._options import Common, DataOptions, StudyOptions, with_options
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import Kept
from fmnist_cli.files import write_file
from fmnist_cli.formatting import seconds

if TYPE_CHECKING:
    from fmnist_cli.report import Report
    from fmnist_cli.report.parts import Part
    from fmnist_cli.report.work import Work

FOLDER = Path("results/report")


@dataclass(frozen=True)
class Timed:
    """A part, and what it took this time."""

    name: str
    part: Part
    seconds: float
    n_new: int  # runs that were trained for it


@with_options(
    omit=(
        *("model", "batch", "lr", "momentum", "epochs", "patience", "monitor", "augment"),
        *("head", "init_seed", "order_seed"),
        *("new", "plot"),
    )
)
def report(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    common: Common,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pages.")] = FOLDER,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Fewer images and epochs, and the report says so."),
    ] = False,
    author: Annotated[str, typer.Option("--author", help="Your name, at the top.")] = "",
    course: Annotated[str, typer.Option("--course", help="What it is for, at the top.")] = "",
) -> None:
    """Do the whole assignment, and write it up as one page.

    The checks, the training curve, the batch sizes, early stopping, momentum, the parameter counts,
    shifted images and the mini CNN: what the registry has is used, what is missing is trained and
    recorded. Interrupted, it goes on from there when started again. Prints what each part took, and
    writes index.html, which needs nothing beside it, and report.md with its figures.

    Examples:
      # everything, into results/report
      fmnist report
      # a draft in seconds, on fewer images and epochs
      fmnist report --quick --out draft
      # every study with five seeds: means, intervals, verdicts
      fmnist report --seeds 5
      # and why: each cause with the counterfactual runs that test it
      fmnist report --seeds 3 --why
    """
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.report.work import Work, quick_config
    from fmnist_cli.runner.run import note_on_interrupt

    output = Output(common)
    if quick:
        config = quick_config(config)
    begun = time.perf_counter()

    def kept() -> Kept:
        return Kept("what is done is kept", repeat=True)

    with (
        open_session(common.db, config, data, output, out=out) as session,
        note_on_interrupt(kept),
    ):
        seeds = study.seeds_from(config.seed)
        options = _data_flags(data), _seed_flags(study)
        work = Work(session, config, seeds, study.executor(), quick, study.why, *options)
        done = _do_all(work)
        page = replace(_compose(work, done), author=author, course=course)
    files = _write(out, page)
    total = time.perf_counter() - begun
    output.document(
        "fmnist.report/1",
        {
            "html": str(files[0]),
            "markdown": str(files[1]),
            "figures": [str(path) for path in files[2:]],
            "quick": quick,
            "seconds": total,
            "parts": [
                {
                    "key": one.part.section.key,
                    "name": one.name,
                    "command": one.part.section.command,
                    "runs": one.part.section.run_ids,
                    "new_runs": one.n_new,
                    "seconds": one.seconds,
                }
                for one in done
            ],
        },
    )
    table = make_table("<part", ">time now", ">runs", ">new")
    for one in done:
        runs = str(len(one.part.section.run_ids))
        table.add_row(one.name, seconds(one.seconds), runs, str(one.n_new))
    table.add_section()
    table.add_row("all, and writing", seconds(total), "", str(sum(one.n_new for one in done)))
    output.section("Report: time by part", table)
    output.result(f"Wrote {files[0]} and {files[1]}")


def _do_all(work: Work) -> list[Timed]:
    from fmnist_cli.report.parts import PARTS

    done = []
    for number, (name, do) in enumerate(PARTS.items(), start=1):
        work.session.listener.message(f"Report, part {number} of {len(PARTS)}: {name}")
        newest = max((run.id for run in work.registry.list_runs(limit=1)), default=0)
        begun = time.perf_counter()
        part = do(work)
        n_new = sum(run_id > newest for run_id in part.section.run_ids)
        done.append(Timed(name, part, time.perf_counter() - begun, n_new))
    return done


def _compose(work: Work, done: list[Timed]) -> Report:
    from fmnist_cli.report import Prose, Report, Section, tables
    from fmnist_cli.report.parts import questions

    sections = [one.part.section for one in done]
    run_ids = sorted({run_id for section in sections for run_id in section.run_ids})
    records = [work.registry.get_run(run_id) for run_id in run_ids]
    recorded = {run.id: run.total_seconds or 0.0 for run in records}
    environment = work.registry.environment(run_ids[-1])
    config, n_seeds = work.config, len(work.seeds)
    seeds = (
        f"Everything rests on one seed ({config.seed}); --seeds N says how sure it is."
        if n_seeds == 1
        else f"The studies rest on {n_seeds} seeds each, the training curve on one."
    )
    shortened = (
        f" This is the quick version: {config.train_size:,} training images and at most "
        f"{config.epochs} epochs, too few to settle anything."
        if work.quick
        else ""
    )
    lead = (
        f"Training dynamics on {'Fashion-MNIST' if work.dataset.is_official else 'a data set'}: "
        f"{config.train_size:,} training, {config.val_size:,} validation and "
        f"{len(work.dataset.test):,} test images. {seeds}{shortened}"
    )
    name = (
        "Fashion-MNIST, (c) Zalando SE, MIT licence"
        if work.dataset.is_official
        else "a data set of Fashion-MNIST's form"
    )
    data = f"Data: {name}; fingerprint {work.dataset.fingerprint}."
    executed = work.executor.recorded
    side_by_side: tuple[Prose, ...] = ()
    if "cluster" in executed:
        side_by_side = (Prose("The runs were trained on a Dask cluster, but for the batch sizes."),)
    elif "jobs" in executed:
        side_by_side = (
            Prose(
                f"Up to {executed['jobs']} runs were trained side by side, but for the batch sizes."
            ),
        )
    sections += [
        questions([one.part for one in done]),
        Section(
            "time",
            "What each part took",
            (tables.times_table(sections, recorded), *side_by_side),
        ),
        Section("runs", "The runs", (tables.runs_table(records),), "fmnist runs list"),
        Section("machine", "The machine and the data",
                (tables.environment_table(environment), Prose(data))),
    ]  # fmt: skip
    return Report(
        "Fashion-MNIST, step by step",
        lead,
        "quick version" if work.quick else "",
        tuple(finding for one in done for finding in one.part.findings),
        tuple(sections),
    )


def _write(folder: Path, page: Report) -> list[Path]:
    """The two pages and the figures; each file appears whole."""
    from fmnist_cli.report import FIGURES_FOLDER, to_html, to_markdown

    (folder / FIGURES_FOLDER).mkdir(exist_ok=True)
    contents = {
        folder / "index.html": to_html(page),
        folder / "report.md": to_markdown(page),
        **{folder / FIGURES_FOLDER / f"{p.name}.svg": p.svg for p in page.pictures},
    }
    for path, text in contents.items():
        write_file(path, text)
    return list(contents)


def _seed_flags(study: StudyOptions) -> tuple[str, ...]:
    if study.seed_list is not None:
        return ("--seed-list", study.seed_list)
    return ("--seeds", str(study.seeds)) if study.seeds > 1 else ()


def _data_flags(data: DataOptions) -> tuple[str, ...]:
    flags = ("--data-dir", str(data.data_dir)) if data.data_dir is not None else ()
    return (*flags, "--allow-custom-data") if data.allow_custom_data else flags
