"""`fmnist plot`: figures of recorded runs and of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmnist_cli.commands._options import Common, DataOptions, with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import RegistryError

app = typer.Typer(no_args_is_help=True, help="Draw figures of recorded runs, and of the data.")

Out = Annotated[
    Path | None,
    typer.Option("--out", help="The file: .png, .svg or .pdf.", show_default="results/...png"),
]
RunId = Annotated[
    str, typer.Option("--run", metavar="ID", help="A run's id, a uuid's beginning, or latest.")
]


@app.command()
@with_options()
def train(common: Common, run: RunId = "latest", out: Out = None) -> None:
    """Draw one run: accuracy and loss against epochs, with the best epoch and the stop."""
    from fmnist_cli import plots
    from fmnist_cli.commands._figures import caption_of, curve_of, ending_of, save_figure
    from fmnist_cli.registry import Registry

    output = Output(common)
    if out is not None:
        plots.check_path(out)
    with Registry.open(common.db, readonly=True) as registry:
        record = registry.get_run(run)
        epochs = registry.epochs(record.id)
    if not epochs:
        raise RegistryError(
            f"run {record.id} must have recorded an epoch to be drawn. It has none."
        )
    figure = plots.train_figure(curve_of(epochs), caption_of(record), ending_of(record))
    save_figure(
        figure,
        out or Path(f"results/train-run{record.id}.png"),
        output,
        "fmnist.plot.train/1",
        run=record.id,
    )


@app.command()
@with_options(omit=("db",))
def samples(
    common: Common,
    data: DataOptions,
    per_class: Annotated[int, typer.Option("--per-class", help="Images a class.")] = 10,
    out: Out = None,
) -> None:
    """Draw images of the ten classes, from the head of the training set."""
    from fmnist_cli import plots
    from fmnist_cli.commands._figures import save_figure
    from fmnist_cli.commands._recording import load_data

    output = Output(common)
    if out is not None:
        plots.check_path(out)
    dataset = load_data(TrainConfig(), data, output)
    figure = plots.samples_figure(dataset.train.images, dataset.train.labels, per_class=per_class)
    save_figure(figure, out or Path("results/samples.png"), output, "fmnist.plot.samples/1")
