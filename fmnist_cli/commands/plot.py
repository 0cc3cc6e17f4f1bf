"""`fmnist plot`: figures of recorded runs and of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fmnist_cli.commands._completion import complete_metric, complete_run, complete_study
from fmnist_cli.commands._data import load_data, open_registry
from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._options import require_distinct, typed, with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands.ood import CurveWord, curves_of
from fmnist_cli.commands.runs.comparing import Groups
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import METRICS, Axis, Metric
from fmnist_cli.errors import RegistryError, require
from fmnist_cli.files import writable_folder
from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.early_stopping import EARLY_STOPPING
from fmnist_cli.studies.grid import GRID
from fmnist_cli.studies.learning_rate import LEARNING_RATE
from fmnist_cli.studies.luck import LUCK
from fmnist_cli.studies.momentum import MOMENTUM
from fmnist_cli.studies.shifted_images import SHIFTED_IMAGES
from fmnist_cli.studies.study import Study, View
from fmnist_cli.studies.training import TRAINING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.result import RecordedRun
    from fmnist_cli.registry import Registry

app = typer.Typer()

DEFAULT_FOLDER = Path("results")

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

X = Annotated[
    Axis | None,
    typer.Option(
        "--x", help="What to draw against; cumulative-lr: the sum over updates of lr/(1-momentum)."
    ),
]

OneMetric = Annotated[
    Metric,
    typer.Option(
        "--metric", help="What to draw above the test accuracy; running_loss is Keras' loss."
    ),
]


@app.command()
@with_options()
def train(
    context: typer.Context,
    output: Output,
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
        one = typed(context).get("run")
        require(not one, "--run and --study exclude each other", f"--study {study} {one}")
        _draw(output, (TRAINING,), study, out, View(band=band))
        return
    from fmnist_cli.plots.from_records import run_figure
    from fmnist_cli.runner.find import find_fitting_run, has_epochs, recorded

    with _registry(output, out) as registry:
        record = find_fitting_run(registry, run, has_epochs, "have recorded an epoch")
        figure = run_figure(recorded(registry, record))
    _save(output, figure, out, "train", f"train-run{record.id}", run=record.id)


@app.command()
@with_options(omit=("db",))
def samples(
    output: Output,
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

    plots.check_path(out)
    train = load_data(TrainConfig(), data, output, fit=True).train
    figure = plots.samples_figure(train.images, train.labels, per_class=per_class)
    _save(output, figure, out, "samples", "samples")


@app.command()
@with_options()
def batch(
    output: Output, study: StudyId = None, x: X = None, band: Band = "ci", out: Out = None
) -> None:
    """Draw a batch-size sweep: test accuracy, time, epochs and updates to the best model.

    With --x it draws the curves instead: validation accuracy and training loss. Of a sweep with
    several learning rates it draws heat maps, and examples against updates.

    Reads a study of fmnist sweep-batch from the registry, trains nothing, and prints the name of
    the file that it saves.

    Examples:
      # the newest sweep
      fmnist plot batch
      # study 1, where it has several seeds from the lowest to the highest
      fmnist plot batch --study 1 --band range --out sweep.pdf
    """
    _draw(output, (BATCH_SIZE, GRID), study, out, View(band=band, axis=x))


@app.command()
@with_options()
def lr(
    output: Output,
    study: StudyId = None,
    metric: OneMetric = LEARNING_RATE.metric,
    x: X = None,
    band: Band = "ci",
    out: Out = None,
) -> None:
    """Draw a learning-rate sweep: loss and validation accuracy by epoch, one line per rate.

    Reads a study of fmnist sweep-lr from the registry, trains nothing, and prints the name of the
    file that it saves.

    Examples:
      # the newest sweep
      fmnist plot lr
      # study 2, by the validation loss
      fmnist plot lr --study 2 --metric val_loss --out lr.svg
    """
    _draw(output, (LEARNING_RATE,), study, out, View(metric=metric, band=band, axis=x))


@app.command()
@with_options()
def luck(output: Output, study: StudyId = None, out: Out = None) -> None:
    """Draw how much is luck: every run's test accuracy, by its initial weights.

    Reads a study of fmnist luck from the registry, trains nothing, and prints the name of the file
    that it saves.

    Examples:
      # the newest one
      fmnist plot luck
      # study 3
      fmnist plot luck --study 3 --out luck.svg
    """
    _draw(output, (LUCK,), study, out, View())


@app.command("early-stop")
@with_options()
def early_stop(
    output: Output,
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
    view = View(patiences=tuple(sorted(patience or [3])), band=band)
    _draw(output, (EARLY_STOPPING,), study, out, view)


@app.command()
@with_options()
def momentum(
    output: Output,
    study: StudyId = None,
    metric: OneMetric = MOMENTUM.metric,
    x: X = None,
    band: Band = "ci",
    out: Out = None,
) -> None:
    """Draw a momentum study: loss and test accuracy by epoch, one line per alpha.

    Reads a study of fmnist momentum from the registry, trains nothing, and prints the name of the
    file that it saves.

    Examples:
      # the newest one
      fmnist plot momentum
      # study 3, by the loss over the whole training set after each epoch
      fmnist plot momentum --study 3 --metric train_loss --out momentum.svg
    """
    _draw(output, (MOMENTUM,), study, out, View(metric=metric, band=band, axis=x))


@app.command()
@with_options()
def ood(
    output: Output,
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
    map: Annotated[
        bool,
        typer.Option("--map", help="The accuracy under every shift of up to 8 pixels, as maps."),
    ] = False,
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
      # how far may an image move, and in which direction?
      fmnist plot ood --map
      # by angle, where the study measured it (fmnist ood --curve rotation)
      fmnist plot ood --curve rotation
    """
    given = ["--samples"] * samples + [f"--curve {curve}"] * bool(curve) + ["--map"] * map
    require(len(given) < 2, "--samples, --curve and --map exclude each other", " ".join(given))
    if not (samples or map):
        _draw(output, (SHIFTED_IMAGES,), study, out, View(curves=curves_of(curve), band=band))
        return
    from fmnist_cli.plots.from_records import drawable
    from fmnist_cli.runner.find import find_study
    from fmnist_cli.runner.study import read_study
    from fmnist_cli.studies.shifted_results import map_figure, samples_figure

    with _registry(output, out) as registry:
        result = read_study(registry, find_study(registry, [SHIFTED_IMAGES.kind], study))
        dataset = load_data(TrainConfig(**drawable(result)[0].run.config), data, output)
        if map:
            figure = map_figure(registry, result, dataset, output)
        else:
            figure = samples_figure(registry, result, dataset)
    study_id, what = result.study.id, "map" if map else "samples"
    _save(output, figure, out, "ood", f"ood-{what}-study{study_id}", study=study_id)


@app.command()
@with_options()
def dynamics(output: Output, run: RunId = "latest", out: Out = None) -> None:
    """Draw what train --dynamics recorded: gradients, changes and dead units by layer.

    Reads the registry, trains nothing, and prints the name of the file that it saves.

    Examples:
      # the newest run
      fmnist plot dynamics
      # run 3, for a document
      fmnist plot dynamics --run 3 --out dynamics.svg
    """
    from fmnist_cli import plots
    from fmnist_cli.plots.from_records import run_caption
    from fmnist_cli.runner.find import find_fitting_run, has_dynamics

    with _registry(output, out) as registry:
        must = "have recorded its dynamics"
        record = find_fitting_run(registry, run, has_dynamics(registry), must, "train_dynamics")
        figures = registry.dynamics(record.id)
    if not figures:
        raise RegistryError(
            f"run {record.id} must have recorded its dynamics. It has not: fmnist train --dynamics"
        )
    figure = plots.dynamics_figure(figures, run_caption(record, record.epochs_run))
    _save(output, figure, out, "dynamics", f"dynamics-run{record.id}", run=record.id)


@app.command()
@with_options()
def compare(
    output: Output,
    names: Groups,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            autocompletion=complete_metric,
            help="What to draw; several times: a panel each.",
            show_default="val_accuracy and train_loss",
        ),
    ] = None,
    x: X = None,
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
      # batch sizes on the axis on which they collapse
      fmnist plot compare study:1 --x cumulative-lr
      # two groups of runs that you have tagged
      fmnist plot compare tag:baseline tag:shifted --out compare.png
    """
    from fmnist_cli.plots.from_records import groups_figure, labelled
    from fmnist_cli.runner.find import find_groups, told_apart

    metrics: Any = metric or ["val_accuracy", "train_loss"]
    for one in metrics:
        require(one in METRICS, f"metric must be one of {', '.join(METRICS)}", one)
    require_distinct("metric", metrics)
    with _registry(output, out) as registry:
        groups = told_apart(find_groups(registry, names))
    figure = groups_figure(groups, metrics=metrics, axis=x or "epoch", band=band)
    gap = _gaps(output, labelled(groups), x, metrics[0])
    _save(output, figure, out, "compare", "compare", **gap)


def _draw(
    output: Output,
    studies: tuple[Study, ...],
    study_id: int | None,
    out: Path | None,
    view: View,
) -> None:
    """Draw the study of that id, or the newest of these."""
    from fmnist_cli.runner.find import find_study
    from fmnist_cli.runner.study import read_study

    with _registry(output, out) as registry:
        record = find_study(registry, [study.kind for study in studies], study_id)
        result = read_study(registry, record)
    (study,) = (one for one in studies if one.kind == record.kind)
    by = f"-by-{view.axis}" if view.axis else ""
    by += f"-{view.curves_word}" if view.curves else ""
    name, number = study.plot_name, result.study.id
    figure = study.figure(result, view)
    gap = _gaps(output, result.runs, view.axis, view.metric or study.metric)
    _save(output, figure, out, name, f"{name}{by}-study{number}", study=number, **gap)


def _gaps(
    output: Output, runs: Sequence[RecordedRun], axis: Axis | None, metric: Metric
) -> dict[str, Any]:
    """Say how far the curves lie apart on the axis, if one is asked for; it, for the document."""
    from fmnist_cli.analysis.axes import gap_note, gaps

    if axis is None:
        return {}
    gap = gaps(runs, metric)
    output.text(f"{gap_note(gap, axis, metric)}\n")
    return {"metric": metric, "gap_by_axis": gap}


def _registry(output: Output, out: Path | None) -> Registry:
    """The registry to be read, once it is known that the figure can be saved."""
    from fmnist_cli import plots

    plots.check_path(out)
    return open_registry(output.db, readonly=True)


def _save(
    output: Output, figure: Figure, out: Path | None, kind: str, name: str, **content: Any
) -> None:
    """Write the figure, and say where it is."""
    from fmnist_cli import plots

    path = out or writable_folder(DEFAULT_FOLDER, "the plot's folder") / f"{name}.png"
    plots.save(figure, path)
    output.document(f"fmnist.plot.{kind}/1", {"file": path, **content})
    output.text(f"Saved {path}\n")
