"""`fmnist plot`: figures of recorded runs and of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fmnist_cli.commands._completion import complete_run, complete_study
from fmnist_cli.commands._options import Common, DataOptions, require_distinct, typed, with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands.ood import CurveWord, asked_curves
from fmnist_cli.commands.runs._groups import Groups
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import RegistryError, UsageError, require

app = typer.Typer(no_args_is_help=True, help="Draw figures of recorded runs, and of the data.")

Out = Annotated[
    Path | None,
    typer.Option("--out", help="The file: .png, .svg or .pdf.", show_default="results/NAME.png"),
]
RunId = Annotated[
    str,
    typer.Option(
        "--run",
        metavar="ID",
        help="A run's id, a uuid's beginning, or latest.",
        autocompletion=complete_run,
    ),
]
StudyId = Annotated[
    int | None,
    typer.Option(
        "--study",
        metavar="ID",
        help="A study's id.",
        show_default="latest",
        autocompletion=complete_study,
    ),
]


Band = Annotated[
    Literal["range", "sd", "ci"],
    typer.Option(
        "--band",
        help="With several seeds: lowest to highest, standard deviation, or 95 % interval.",
    ),
]


@app.command()
@with_options()
def train(
    context: typer.Context,
    common: Common,
    run: RunId = "latest",
    study: Annotated[
        int | None,
        typer.Option("--study", metavar="ID", help="The seeds of train --seeds, instead."),
    ] = None,
    band: Band = "ci",
    out: Out = None,
) -> None:
    """Draw one run: accuracy and loss against epochs, with the best epoch and the stop.

    Reads the registry, trains nothing, and prints the name of the file that it saves. With --study
    it draws the seeds of fmnist train --seeds: the mean and a band.

    Examples:
      # the newest run, into results/
      fmnist plot train
      # run 3, for a document
      fmnist plot train --run 3 --out run3.svg
    """
    if study is not None:
        if one := typed(context).get("run"):
            raise UsageError(f"run and study exclude each other. Received: --study {study} {one}.")
        _draw(common, "train", study, out, band=band)
        return
    from fmnist_cli import plots
    from fmnist_cli.plots.from_records import caption_of, curve_of, ending_of, save_figure
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
    figure = plots.train_figure(curve_of(epochs), caption_of([record]), ending_of(record))
    path = out or Path(f"results/train-run{record.id}.png")
    save_figure(figure, path, output, "fmnist.plot.train/1", run=record.id)


@app.command()
@with_options(omit=("db",))
def samples(
    common: Common,
    data: DataOptions,
    per_class: Annotated[int, typer.Option("--per-class", help="Images a class.")] = 10,
    out: Out = None,
) -> None:
    """Draw images of the ten classes, from the head of the training set.

    Prints the name of the file that it saves; nothing is recorded.

    Examples:
      # ten images of each class
      fmnist plot samples
      # a smaller picture
      fmnist plot samples --per-class 4 --out classes.png
    """
    from fmnist_cli import plots
    from fmnist_cli.commands._data import load_data
    from fmnist_cli.plots.from_records import save_figure

    output = Output(common)
    if out is not None:
        plots.check_path(out)
    train = load_data(TrainConfig(), data, output).train
    figure = plots.samples_figure(train.images, train.labels, per_class=per_class)
    save_figure(figure, out or Path("results/samples.png"), output, "fmnist.plot.samples/1")


@app.command()
@with_options()
def batch(common: Common, study: StudyId = None, band: Band = "ci", out: Out = None) -> None:
    """Draw a batch-size sweep: test accuracy, time, epochs and updates to the best model.

    Reads a study of fmnist sweep-batch from the registry, trains nothing, and prints the name of
    the file that it saves.

    Examples:
      # the newest sweep
      fmnist plot batch
      # study 1, where it has several seeds from the lowest to the highest
      fmnist plot batch --study 1 --band range --out sweep.pdf
    """
    _draw(common, "sweep-batch", study, out, band=band)


@app.command("early-stop")
@with_options()
def early_stop(
    common: Common,
    study: StudyId = None,
    patience: Annotated[
        list[int] | None,
        typer.Option("--patience", help="Mark where it stops; several times.", show_default="3"),
    ] = None,
    band: Band = "ci",
    out: Out = None,
) -> None:
    """Draw an early-stopping study: three accuracies, and where each patience stops.

    Reads a study of fmnist early-stop from the registry, trains nothing, and prints the name of the
    file that it saves.

    Examples:
      # the newest one, with patience 3
      fmnist plot early-stop
      # three patiences, whatever the study was asked for
      fmnist plot early-stop --patience 1 --patience 3 --patience 5
    """
    patiences = tuple(sorted(patience or [3]))
    require(patiences[0] >= 1, "patience must be at least 1", patiences[0])
    require_distinct("patience", patiences)
    _draw(common, "early-stop", study, out, band=band, patiences=patiences)


@app.command()
@with_options()
def momentum(common: Common, study: StudyId = None, band: Band = "ci", out: Out = None) -> None:
    """Draw a momentum study: one training-loss curve per alpha.

    Reads a study of fmnist momentum from the registry, trains nothing, and prints the name of the
    file that it saves.

    Examples:
      # the newest one
      fmnist plot momentum
      # study 3, for a document
      fmnist plot momentum --study 3 --out momentum.svg
    """
    _draw(common, "momentum", study, out, band=band)


@app.command()
@with_options()
def ood(
    common: Common,
    data: DataOptions,
    study: StudyId = None,
    samples: Annotated[
        bool,
        typer.Option("--samples", help="Shifted images with the predictions, instead of bars."),
    ] = False,
    curve: Annotated[
        CurveWord | None,
        typer.Option("--curve", help="Lines by distance or by angle, instead of bars."),
    ] = None,
    band: Band = "ci",
    out: Out = None,
) -> None:
    """Draw a study of shifted images: accuracy of each model on each set.

    Reads a study of fmnist ood from the registry, trains nothing, and prints the name of the file
    that it saves.

    Examples:
      # bars, a group a set
      fmnist plot ood
      # images, and what each model takes them for
      fmnist plot ood --samples
      # by angle, where the study measured it (fmnist ood --curve rotation)
      fmnist plot ood --curve rotation
    """
    if not samples:
        _draw(common, "ood", study, out, band=band, curve=curve)
        return
    if curve is not None:
        raise UsageError(
            f"samples and curve exclude each other. Received: --samples --curve {curve}."
        )
    from fmnist_cli import plots
    from fmnist_cli.commands._data import load_data
    from fmnist_cli.plots import from_records as _figures
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import read_study

    output = Output(common)
    if out is not None:
        plots.check_path(out)
    with Registry.open(common.db, readonly=True) as registry:
        result = read_study(registry, _figures.chosen_study(registry, "ood", study))
        if not result.runs:
            raise RegistryError(f"study {result.study.id} must have a finished run. It has none.")
        dataset = load_data(TrainConfig(**result.runs[0].run.config), data, output)
        figure = _figures.ood_samples_figure(registry, result, dataset)
    path = out or Path(f"results/ood-samples-study{result.study.id}.png")
    _figures.save_figure(figure, path, output, "fmnist.plot.ood/1", study=result.study.id)


@app.command()
@with_options()
def dynamics(common: Common, run: RunId = "latest", out: Out = None) -> None:
    """Draw what train --dynamics recorded: gradients, changes and dead units by layer.

    Reads the registry, trains nothing, and prints the name of the file that it saves.

    Examples:
      # the newest run
      fmnist plot dynamics
      # run 3, for a document
      fmnist plot dynamics --run 3 --out dynamics.svg
    """
    from fmnist_cli import plots
    from fmnist_cli.plots.from_records import caption_of, save_figure
    from fmnist_cli.registry import Registry

    output = Output(common)
    if out is not None:
        plots.check_path(out)
    with Registry.open(common.db, readonly=True) as registry:
        record = registry.get_run(run)
        figures = registry.dynamics(record.id)
    if not figures:
        raise RegistryError(
            f"run {record.id} must have recorded its dynamics. It has not: fmnist train --dynamics"
        )
    figure = plots.dynamics_figure(figures, caption_of([record]))
    path = out or Path(f"results/dynamics-run{record.id}.png")
    save_figure(figure, path, output, "fmnist.plot.dynamics/1", run=record.id)


@app.command()
@with_options()
def compare(
    common: Common,
    names: Groups,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="What to draw; several times: a panel each.",
            show_default="val_accuracy and train_loss",
        ),
    ] = None,
    band: Band = "range",
    out: Out = None,
) -> None:
    """Overlay the curves of runs, of a study's arms, or of the runs with a tag.

    Reads the registry, trains nothing, and prints the name of the file that it saves.

    Examples:
      # two runs and the newest
      fmnist plot compare 3 4 latest
      # the arms of study 2, by the losses seen in training
      fmnist plot compare study:2 --metric running_loss
      # two groups of runs that you have tagged
      fmnist plot compare tag:baseline tag:shifted --out compare.png
    """
    from fmnist_cli import plots
    from fmnist_cli.commands.runs._groups import resolve
    from fmnist_cli.epoch import METRICS
    from fmnist_cli.plots.from_records import curve_of, save_figure
    from fmnist_cli.registry import Registry

    metrics: Any = metric or ["val_accuracy", "train_loss"]
    for one in metrics:
        require(one in METRICS, f"metric must be one of {', '.join(METRICS)}", one)
    require_distinct("metric", metrics)
    output = Output(common)
    if out is not None:
        plots.check_path(out)
    with Registry.open(common.db, readonly=True) as registry:
        arms = []
        for group in resolve(registry, names):
            curves = [epochs for run in group.runs if (epochs := registry.epochs(run.id))]
            if curves:
                arms.append(plots.Arm(group.label, [curve_of(epochs) for epochs in curves]))
    if not arms:
        raise RegistryError(
            "what is compared must have recorded an epoch to be drawn. "
            f"Received: {' '.join(names)}, which has none."
        )
    figure = plots.compare_figure(arms, metrics=metrics, band=band)
    save_figure(figure, out or Path("results/compare.png"), output, "fmnist.plot.compare/1")


def _draw(
    common: Common,
    kind: str,
    study_id: int | None,
    out: Path | None,
    *,
    band: Literal["range", "sd", "ci"],
    patiences: tuple[int, ...] = (3,),
    curve: CurveWord | None = None,
) -> None:
    from fmnist_cli import plots
    from fmnist_cli.plots import from_records as _figures
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import read_study

    output = Output(common)
    if out is not None:
        plots.check_path(out)
    with Registry.open(common.db, readonly=True) as registry:
        result = read_study(registry, _figures.chosen_study(registry, kind, study_id))
    figure = _figures.study_figure(
        result, patiences=patiences, curves=asked_curves(curve), band=band
    )
    name = kind.removeprefix("sweep-")
    by = f"-{curve}" if curve else ""
    path = out or Path(f"results/{name}{by}-study{result.study.id}.png")
    _figures.save_figure(figure, path, output, f"fmnist.plot.{name}/1", study=result.study.id)
