"""`fmnist check`: is my backpropagation right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._data import open_registry
from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import CheckFailed, DataError, require
from fmnist_cli.files import write_file
from fmnist_cli.formatting import to_json

if TYPE_CHECKING:
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.usercode.results import CheckReport

N_IMAGES = 1_000
STATUS_STYLES = {"passed": "green", "failed": "bold red", "skipped": "dim", "absent": "dim",
                 "unclear": "yellow"}  # fmt: skip

Hints = Annotated[
    int,
    typer.Option("--hints", help="0: what is wrong; 1: and where; 2: and a question to ask."),
]


@with_options(omit=("seed",))
def check(
    data: DataOptions,
    out: Output,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A file with the layers.", show_default=False),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option(
            "--interface",
            metavar="MODULE:FACTORY",
            help="In place of a file: what makes a network with forward, backward, parameters and "
            "gradients.",
        ),
    ] = None,
    hints: Hints = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the tensors that are tried.")] = 0,
    rubric: Annotated[
        Path | None, typer.Option("--rubric", help="Points and limits, from this TOML file.")
    ] = None,
    gradescope: Annotated[
        Path | None, typer.Option("--gradescope", help="Write results.json for Gradescope here.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let the file read, write and start what it likes.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="Record the result in the registry.")
    ] = True,
) -> None:
    """Check layers that you wrote: which one is wrong, and which mistake it is.

    Tries linear_layer, relu, miniBatchGradientDescent and what else the file has on small random
    tensors and on real images, and compares with the textbook's layers and with central differences
    of your own forward pass. Where the numbers are those of a mistake that fmnist knows it names
    it, and the line; it never shows a solution. The file runs in a process of its own, without
    network, within limits of time and memory; its main for a few updates on a few images.

    Exits 3 if a check does not hold.

    Examples:
      # are my layers right?
      fmnist check neural_networks.py
      # with a question that leads to the cause
      fmnist check neural_networks.py --hints 2
      # any other network, by the second interface
      fmnist check --interface mynet:make_network
    """
    from fmnist_cli.usercode.examine import check_file, read_source
    from fmnist_cli.usercode.grading import grade, gradescope_results, record_reports
    from fmnist_cli.usercode.network_checks import check_interface
    from fmnist_cli.usercode.results import HINT_LEVELS
    from fmnist_cli.usercode.rubric import read_rubric

    require(hints in HINT_LEVELS, "hints must be 0, 1 or 2", hints)
    require(seed >= 0, "seed must be at least 0", seed)
    received = "neither" if file is None else "both"
    require((file is None) != (interface is None), "check takes a file or an interface", received)
    if file is not None and rubric is None and gradescope is None:
        read_source(file)  # refused before any data is looked for; a grade says it of the file
    dataset = load_images(data, out)
    if file is None:
        assert interface is not None
        report = check_interface(interface, dataset.train, folder=Path.cwd(), seed=seed)
    elif rubric is None and gradescope is None:
        report = check_file(file, dataset.train, seed=seed, restricted=not trust)
    else:
        scheme = read_rubric(rubric)
        graded = grade(file, scheme, dataset.train)
        out.result(f"{graded.score:g} of {graded.max_score:g} points", "")
        if gradescope is not None:
            write_file(gradescope, to_json(gradescope_results(graded, scheme)) + "\n", parents=True)
        report = graded.report
    run_id = None
    if record:
        with open_registry(out.db) as registry:
            run_id = record_reports(registry, "check", {report.file: report}, dataset, out.argv)
    out.document("fmnist.check/1", {"id": run_id, **report.document(hints)})
    show(out, report, hints)
    if not report.holds:
        raise CheckFailed(
            f"every check must hold. Received: {report.count('failed')} of "
            f"{len(report.results)} that do not. See above"
            + ("" if hints == 2 else ", and --hints 2 asks a question that leads further")
        )


def load_images(data: DataOptions, out: Output) -> Dataset:
    """The images that layers are trained on, from the head of the training file."""
    from fmnist_cli.commands._data import load_data

    config = TrainConfig(train_size=N_IMAGES, val_size=1)
    try:
        return load_data(config, data, out)
    except DataError:
        if not data.allow_custom_data:
            raise
        return load_data(config.but(train_size=100, batch=5), data, out)  # a small data set


def show(out: Output, report: CheckReport, hints: int) -> None:
    """The checks as a table, and of what failed the hints below each other."""
    from fmnist_cli.usercode.results import NOT_LOADED

    table = make_table("<check", "<result", "what was found")
    for result in report.results:
        if result.message == NOT_LOADED:
            continue
        style = STATUS_STYLES[result.status]
        table.add_row(result.title, f"[{style}]{result.status}[/{style}]", escape(result.message))
    out.result(table)
    for result in report.results:
        if result.diagnosis is not None:
            steps = result.diagnosis.hints(hints)
            out.section(escape(result.title), *(f"  {escape(step)}" for step in steps))
