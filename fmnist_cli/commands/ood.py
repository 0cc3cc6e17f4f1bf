"""`fmnist ood`: how a model does on images it was not trained for."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fmnist_cli.commands._completion import complete_run
from fmnist_cli.commands._options import Common, DataOptions, StudyOptions, typed, with_options
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.engine.config import MODELS, TrainConfig
from fmnist_cli.errors import ArtefactError, UsageError
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from fmnist_cli.analysis.result import RecordedRun
    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.ood_curves import CurveName
    from fmnist_cli.engine.training import TrainResult
    from fmnist_cli.registry import Registry, Run


CurveWord = Literal["shift", "rotation", "both"]

# what `--run` takes beside the run
_GO_WITH_RUN = {"run_id", "curve", "data_dir", "allow_custom_data", "db", "json", "quiet"}


@with_options(omit=("model",))
def ood(
    context: typer.Context,
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    common: Common,
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
    from fmnist_cli import plots
    from fmnist_cli.analysis import augment_answer, ood_answers
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands._ood_curves import curve_tables, curves_document, measured
    from fmnist_cli.commands._summaries import answers_document, show_answers
    from fmnist_cli.engine.shifts import IN_DOMAIN
    from fmnist_cli.plots import from_records as _figures
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.study import run_study

    out = Output(common)
    curves = asked_curves(curve)
    if study.plot:
        plots.check_path(study.plot)
    others = typed(context, but=_GO_WITH_RUN)
    if run_id is not None and others:
        raise UsageError(
            "run evaluates recorded weights, so no option may ask for a training or its figure. "
            f"Received: --run {run_id} {' '.join(others.values())}."
        )
    with Registry.open(common.db) as registry:
        if run_id is not None:
            runs = [_evaluate_run(registry, run_id, data, out, curves)]
            document: dict[str, Any] = {"id": runs[0].run.id}
        else:
            arms = _arms(config, MODELS if model == "all" else (model,))
            session = open_session(registry, config, data, out)
            result = run_study(
                session,
                "ood",
                arms,
                after=partial(record_shifted, curves=curves),
                measured={"curves": list(curves)} if curves else None,
                **study.how(config.seed),
            )
            runs = [run for run in result.runs if run.evaluations]
            document = result.document()
    scores = _figures.scores_of(runs)
    answers = list(ood_answers(scores)) if scores else []
    if run_id is None and config.augment != "none":
        trained = {run.label for run in runs}
        for (usual, _), (label, _) in zip(arms[::2], arms[1::2], strict=True):
            if {usual, label} <= trained:
                answers.append(
                    augment_answer(scores, runs, usual=usual, augmented=label, in_domain=IN_DOMAIN)
                )
    out.document(
        "fmnist.ood/1",
        {
            **document,
            "evaluations": [
                {"run": run.run.id, "model": run.name, "seed": run.run.seed, **asdict(one)}
                for run in runs
                for one in run.evaluations
            ],
            "curves": curves_document(runs, curves),
            "answers": answers_document(answers),
        },
    )
    out.section("Accuracy on the test set and its shifted copies, and the change", _table(runs))
    for one in curves:
        for title, table in curve_tables(measured(runs, one)):
            out.section(title, table)
    show_answers(out, answers)
    if run_id is None:
        _figures.draw_study(study.plot, result, out, curves=curves)
        result.require_complete()


def asked_curves(word: CurveWord | None) -> tuple[CurveName, ...]:
    """The curves that ``--curve`` asks for."""
    if word is None:
        return ()
    return ("shift", "rotation") if word == "both" else (word,)


def _arms(config: TrainConfig, models: Sequence[str]) -> list[tuple[str, TrainConfig]]:
    """Each model as it is, and with ``--augment`` once again with it."""
    arms = []
    for name in models:
        of_model = config.but(model=name)
        arms.append((name, of_model.but(augment="none")))
        if config.augment != "none":
            arms.append((f"{name} + {config.augment}", of_model))
    return arms


def record_shifted(
    run: Run,
    backend: Backend,
    result: TrainResult,
    data: Dataset,
    *,
    curves: Sequence[CurveName] = (),
) -> None:
    """Evaluate a trained model on every shifted copy of the test set, and on the curves."""
    if result.test is not None:
        _record_sets(run, backend, data, curves)


def _record_sets(run: Run, backend: Backend, data: Dataset, curves: Sequence[CurveName]) -> None:
    """The test set itself is recorded already."""
    from fmnist_cli.commands._ood_curves import record_curves
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS, shifted_split
    from fmnist_cli.engine.training import assess
    from fmnist_cli.runner.run import record_assessment

    for shifted in SHIFTED_SETS:
        if shifted.name != IN_DOMAIN:
            split = shifted_split(data.test, shifted)
            record_assessment(run, shifted.name, assess(backend, split))
    record_curves(run, backend, data, curves)


def _evaluate_run(
    registry: Registry, run_id: str, data: DataOptions, out: Output, curves: Sequence[CurveName]
) -> RecordedRun:
    """A new run that evaluates the weights of a recorded one."""
    from fmnist_cli.analysis.result import RecordedRun
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.engine.training import assess
    from fmnist_cli.registry import Outcome
    from fmnist_cli.runner.run import record_assessment, run_spec

    record = registry.get_run(run_id)
    config = TrainConfig(**record.config)
    session = open_session(registry, config, data, out)
    dataset = session.dataset
    if dataset.fingerprint != record.data_fingerprint:
        raise UsageError(
            f"run {record.id} must be evaluated on the data it was trained on, fingerprint "
            f"{record.data_fingerprint[:12]}. Received: {dataset.fingerprint[:12]}."
        )
    backend = restored(registry, record.id, config, dataset)
    with registry.run(run_spec(session, "ood", asdict(config))) as run:
        test = assess(backend, dataset.test)
        record_assessment(run, "test", test)
        _record_sets(run, backend, dataset, curves)
        run.finish(
            Outcome(
                stop_reason=None,
                train_seconds=0.0,
                test_accuracy=test.accuracy,
                test_loss=test.loss,
            )
        )
    out.say(f"The weights of run {record.id}; recorded as run {run.id}.")
    return RecordedRun(registry.get_run(run.id), (), registry.evaluations(run.id))


def restored(registry: Registry, run_id: int, config: TrainConfig, dataset: Dataset) -> Backend:
    """A backend with the weights that a recorded run saved."""
    from fmnist_cli.engine.training import make_backend
    from fmnist_cli.engine.weights import load_weights

    artefacts = registry.artefacts(run_id, kind="weights")
    if not artefacts:
        raise ArtefactError(
            f"run {run_id} must have saved its weights. It has none: it trained nothing, or it "
            "did not end."
        )
    weights = load_weights(registry.artefact_path(artefacts[-1]))
    backend = make_backend(config, dataset.train)
    backend.set_weights(weights)
    return backend


def _table(runs: Sequence[RecordedRun]) -> Table:
    from fmnist_cli.commands._summaries import cell, interval_cell
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS
    from fmnist_cli.plots.from_records import RECORDED_AS

    table = make_table("<model", *(f">{shifted.name}" for shifted in SHIFTED_SETS))
    for model in dict.fromkeys(run.name for run in runs):
        cells, drops, intervals = [], [], []
        for shifted in SHIFTED_SETS:
            pairs = []
            for run in runs:
                if run.name == model:
                    by_set = {one.test_set: one.accuracy for one in run.evaluations}
                    pairs.append(
                        (by_set[RECORDED_AS[IN_DOMAIN]], by_set[RECORDED_AS[shifted.name]])
                    )
            cells.append(cell([accuracy for _, accuracy in pairs], percent))
            intervals.append(interval_cell([accuracy for _, accuracy in pairs], percent))
            change = sum((b or 0.0) - (a or 0.0) for a, b in pairs) / len(pairs)
            drops.append("" if shifted.name == IN_DOMAIN else f"{100 * change:+.2f}")
        table.add_row(f"[bold]{model}[/bold]", *cells)
        if len(pairs) > 1:
            table.add_row("[dim]  interval[/dim]", *(f"[dim]{one}[/dim]" for one in intervals))
        table.add_row("[dim]  change[/dim]", *(f"[dim]{drop}[/dim]" for drop in drops))
    return table
