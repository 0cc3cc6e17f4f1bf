"""`fmnist ood`: how a model does on images it was not trained for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fmnist_cli.commands._completion import complete_run
from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import typed, with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._study import run_study_command, show_answers, show_tables
from fmnist_cli.engine.config import MODELS, TrainConfig
from fmnist_cli.errors import require
from fmnist_cli.studies.shifted_images import SHIFTED_IMAGES
from fmnist_cli.studies.study import View

if TYPE_CHECKING:
    from fmnist_cli.engine.ood_curves import CurveName

CurveWord = Literal["shift", "rotation", "both"]

# what `--run` takes beside the run
_GO_WITH_RUN = {"run_id", "curve", "plot", "data_dir", "allow_custom_data", "db", "json", "quiet"}


def _with_head(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A head is one of a CNN's: of the model that is asked for, or of the CNNs among all."""
    if values["head"] == "flatten":
        return {}
    return {"model": "cnn2" if values["model"] == "all" else values["model"]}


@with_options(omit=("model",), further=_with_head)
def ood(
    context: typer.Context,
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    model: Annotated[
        Literal["mlp", "cnn2", "cnn3", "all"],
        typer.Option("--model", help="The model to train; all: each of them."),
    ] = "mlp",
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID",
            help="Take a recorded run's weights; train nothing.",
            autocompletion=complete_run,
        ),
    ] = None,
    curve: Annotated[
        CurveWord | None,
        typer.Option(
            "--curve",
            help="Also by distance (0 to 8 pixels, four directions) or angle (0 to 345 degrees).",
        ),
    ] = None,
) -> None:
    """Measure the accuracy on the test set and on four shifted copies of it.

    The copies: moved up 4 pixels (zero fill), and rotated by 90, 180 and 270 degrees
    counter-clockwise. Prints each model's accuracy on every set and the change, then what follows;
    the trainings are recorded as the runs of one study, with their confusion matrices. With
    --augment every model is trained with and without it, and the answer says what it repairs and
    what it costs.

    Examples:
      # the MLP and both CNNs, and the figure
      fmnist ood --model all --plot ood.png
      # train nothing: the newest run's weights, at every angle
      fmnist ood --run latest --curve rotation
      # does training on shifted images help on shifted images?
      fmnist ood --augment shift --curve shift --seeds 3
    """
    curves = curves_of(curve)
    view = View(curves=curves)
    if run_id is None:
        models = MODELS if model == "all" else (model,)
        run_study_command(SHIFTED_IMAGES, config, models, study, data, out, view=view)
        return
    others = " ".join(typed(context, but=_GO_WITH_RUN).values())
    must = "run evaluates recorded weights, so no option may ask for a training"
    require(not others, must, f"--run {run_id} {others}")
    _evaluate(run_id, view, study.plot, data, out)


def curves_of(word: CurveWord | None) -> tuple[CurveName, ...]:
    """The curves that ``--curve`` asks for."""
    if word is None:
        return ()
    return ("shift", "rotation") if word == "both" else (word,)


def _evaluate(run_id: str, view: View, path: Path | None, data: DataOptions, out: Output) -> None:
    """Evaluate the weights of a recorded run as a new run, and show that."""
    from fmnist_cli import plots
    from fmnist_cli.commands._data import load_data, open_existing
    from fmnist_cli.plots.from_records import caption_of
    from fmnist_cli.runner.find import find_fitting_run, has_weights, recorded
    from fmnist_cli.runner.run import Session
    from fmnist_cli.runner.shifted import evaluate_run
    from fmnist_cli.studies import shifted_results

    plots.check_path(path)
    with open_existing(out.db) as registry:
        record = find_fitting_run(registry, run_id, has_weights(registry), "have saved its weights")
        dataset = load_data(TrainConfig(**record.config), data, out)
        session = Session(registry, dataset, out, out.argv)
        run = evaluate_run(session, record, view.curves)
        runs = [recorded(registry, run)]
    table = shifted_results.scores_table(runs, "Accuracy on the test set and its shifted copies")
    answers = shifted_results.answers_of(runs)
    out.document(
        "fmnist.ood/1",
        {
            "id": run.id,
            **shifted_results.document_of(runs, view),
            "table": table.records(),
            "answers": answers,
        },
    )
    show_tables(out, [table, *shifted_results.details_of(runs, view)])
    show_answers(out, answers, runs)
    if path is not None:
        figure = shifted_results.figure_of(runs, view, caption_of([run]), where=f"run {run.id}")
        plots.save(figure, path)
        out.say(f"Saved {path}")
