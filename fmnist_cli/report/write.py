"""The report from its parts to its files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_cli.errors import Kept
from fmnist_cli.files import write_file
from fmnist_cli.formatting import pluralize
from fmnist_cli.report import tables
from fmnist_cli.report.blocks import FIGURES_FOLDER, Prose, Report, Section
from fmnist_cli.report.html import to_html
from fmnist_cli.report.markdown import to_markdown
from fmnist_cli.report.parts import PARTS, Part, questions
from fmnist_cli.report.work import Work
from fmnist_cli.runner.run import note_on_interrupt

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord

REPRODUCTION = (
    "On this machine, with these versions, the same seed gives the same numbers bit for bit, times "
    "apart. A machine with other vector instructions, or another BLAS, rounds otherwise: there a "
    "run may stop at another epoch and end as another seed would, within the spread of the seeds."
)
WHY = (
    " Each study says in short why its result is so; fmnist report --why also trains the "
    "counterfactual runs that test the causes."
)
BEYOND = "sweep-lr"  # the part that no assignment asks for


@dataclass(frozen=True)
class WrittenReport:
    """What was written, and what it took.

    Attributes
    ----------
    html, markdown : Path
        The two pages.
    seconds : float
        In all.
    """

    html: Path
    markdown: Path
    figures: tuple[Path, ...]
    parts: tuple[Part, ...]
    seconds: float


def write_report(work: Work, folder: Path, *, author: str = "", course: str = "") -> WrittenReport:
    """Do what the registry does not have yet, and write the pages into the folder, which exists."""
    begun = time.perf_counter()
    with note_on_interrupt(lambda: Kept("what is done is kept", repeat=True)):
        done = _do_all(work)
        page = replace(_compose(work, done), author=author, course=course)
    html, markdown, *figures = _write(folder, page)
    total = time.perf_counter() - begun
    return WrittenReport(html, markdown, tuple(figures), tuple(done), total)


def _do_all(work: Work) -> list[Part]:
    done = []
    for number, (name, do) in enumerate(PARTS.items(), start=1):
        work.session.listener.message(f"Report, part {number} of {len(PARTS)}: {name}")
        newest = max((run.id for run in work.registry.list_runs(limit=1)), default=0)
        begun = time.perf_counter()
        part = do(work)
        place = "Beyond" if part.section.key == BEYOND else number
        section = replace(part.section, title=f"{place}. {part.section.title}")
        n_new = sum(run_id > newest for run_id in section.run_ids)
        took = time.perf_counter() - begun
        done.append(replace(part, section=section, name=name, seconds=took, n_new=n_new))
    return done


def _rests_on(work: Work, records: Sequence[RunRecord]) -> str:
    """On how many seeds the studies rest: of the MLP, and of the CNNs where that differs."""
    seeds: dict[tuple[bool, int], set[int]] = {}
    for run in records:
        if run.study_id is not None:
            seeds.setdefault((run.command.startswith("ood"), run.study_id), set()).add(run.seed)
    mlp, cnns = (
        {len(found) for (is_ood, _), found in seeds.items() if is_ood is wanted} or {1}
        for wanted in (False, True)
    )
    if mlp == cnns == {1}:
        return f"Everything rests on one seed ({work.config.seed}); --seeds N says how sure it is."
    if mlp == cnns:
        return f"The studies rest on {_seeds(mlp)} each."
    on = "one" if cnns == {1} else _seeds(cnns)
    return f"The MLP's studies rest on {_seeds(mlp)} each, that of the CNNs on {on}."


def _seeds(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return pluralize(high, "seed") if low == high else f"{low} to {pluralize(high, 'seed')}"


def _compose(work: Work, done: list[Part]) -> Report:
    sections = [part.section for part in done]
    run_ids = sorted({run_id for section in sections for run_id in section.run_ids})
    records = [work.registry.get_run(run_id) for run_id in run_ids]
    recorded = {run.id: run.total_seconds or 0.0 for run in records}
    environment = work.registry.environment(run_ids[-1])
    config, seeds = work.config, _rests_on(work, records)
    name, licence = "a data set", "a data set of Fashion-MNIST's form"
    if work.dataset.is_official:
        name, licence = "Fashion-MNIST", "Fashion-MNIST, (c) Zalando SE, MIT licence"
    lead = (
        f"Training dynamics on {name}: {config.train_size:,} training, {config.val_size:,} "
        f"validation and {len(work.dataset.test):,} test images. {seeds}"
    )
    if work.quick:
        lead += (
            f" This is the quick version: {config.train_size:,} training images and at most "
            f"{config.epochs} epochs, too few to settle anything."
        )
    if not work.why:
        lead += WHY
    data = f"Data: {licence}; fingerprint {work.dataset.fingerprint}."
    executed = work.executor.recorded
    side_by_side = []
    if "cluster" in executed:
        side_by_side = [Prose("The runs were trained on a Dask cluster, but for the batch sizes.")]
    elif "jobs" in executed:
        together = f"Up to {executed['jobs']} runs were trained side by side"
        side_by_side = [Prose(f"{together}, but for the batch sizes.")]
    sections += [
        questions(done),
        Section(
            "time",
            "What each part took",
            (tables.times_table(sections, recorded), *side_by_side),
        ),
        Section("runs", "The runs", (tables.runs_table(records),), "fmnist runs list"),
        Section("machine", "The machine and the data",
                (tables.environment_table(environment), Prose(data), Prose(REPRODUCTION))),
    ]  # fmt: skip
    return Report(
        "Fashion-MNIST, step by step",
        lead,
        "quick version" if work.quick else "",
        tuple(finding for part in done for finding in part.findings),
        tuple(sections),
    )


def _write(folder: Path, page: Report) -> list[Path]:
    """The two pages and the figures; each file appears whole."""
    (folder / FIGURES_FOLDER).mkdir(exist_ok=True)
    contents = {
        folder / "index.html": to_html(page),
        folder / "report.md": to_markdown(page),
        **{folder / FIGURES_FOLDER / f"{p.name}.svg": p.svg for p in page.pictures},
    }
    for path, text in contents.items():
        write_file(path, text)
    return list(contents)
