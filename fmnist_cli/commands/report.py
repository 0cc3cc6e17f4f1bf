"""`fmnist report`: the whole assignment, done where it is not, and written up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import nearness, with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.formatting import seconds

FOLDER = Path("results/report")
SEEDS = 3  # of the MLP's studies; the CNNs, which take the most time, have one


@with_options(
    omit=(
        *("model", "batch", "lr", "momentum", "epochs", "patience", "monitor", "augment"),
        *("head", "init_seed", "order_seed"),
        *("new", "plot"),
    ),
    defaults={"seeds": SEEDS},
)
def report(
    context: typer.Context,
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    output: Output,
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
    recorded. The MLP's studies have three seeds, that of the CNNs, which take most of the time,
    one, unless --seeds sets them. Interrupted, it continues from there when started again. Prints
    what each part took, and writes index.html, which needs nothing beside it, and report.md with
    its figures.

    Examples:
      # everything, into results/report
      fmnist report
      # a draft in seconds, on fewer images and epochs
      fmnist report --quick --out draft
      # and why: each cause with the counterfactual runs that test it
      fmnist report --why
      # every study with five seeds, the CNNs' as well: intervals
      fmnist report --why --seeds 5
    """
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.report.work import Work, quick_config
    from fmnist_cli.report.write import write_report

    if quick:
        config = quick_config(config)
    seeds, executor = study.seeds_from(config.seed), study.executor()
    with open_session(config, data, output, quick, out=out) as session:
        found = len(session.dataset.train), len(session.dataset.val)
        if found != (config.train_size, config.val_size):
            output.say(f"The data set is small: {found[0]:,} images to train, {found[1]:,} beside.")
            config = config.but(train_size=found[0], val_size=found[1])
        first = (config.seed,)
        chosen = study.seed_list is not None or nearness(context, "seeds") > 0
        if quick and not chosen:
            seeds = first
        work = Work(
            session, config, seeds, executor, quick, study.why, _data_flags(data),
            cnn_seeds=seeds if chosen else first, more_seeds=not chosen,
        )  # fmt: skip
        written = write_report(work, out, author=author, course=course)
    output.document(
        "fmnist.report/1",
        {
            "html": written.html,
            "markdown": written.markdown,
            "figures": written.figures,
            "quick": quick,
            "seconds": written.seconds,
            "parts": [
                {
                    "key": one.section.key,
                    "name": one.name,
                    "command": one.section.command,
                    "runs": one.section.run_ids,
                    "new_runs": one.n_new,
                    "seconds": one.seconds,
                }
                for one in written.parts
            ],
        },
    )
    table = make_table("<part", ">time now", ">runs", ">new")
    for one in written.parts:
        runs = str(len(one.section.run_ids))
        table.add_row(one.name, seconds(one.seconds), runs, str(one.n_new))
    table.add_section()
    n_new = sum(one.n_new for one in written.parts)
    table.add_row("all, and writing", seconds(written.seconds), "", str(n_new))
    output.section("Report: time by part", table)
    output.result(f"Wrote {escape(written.html)} and {escape(written.markdown)}")


def _data_flags(data: DataOptions) -> tuple[str, ...]:
    flags = ("--data-dir", str(data.data_dir)) if data.data_dir is not None else ()
    return (*flags, "--allow-custom-data") if data.allow_custom_data else flags
