"""`fmnist ood`: how a model does on images it was not trained for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fmnist_cli.commands._options import Common, DataOptions, StudyOptions, with_options
from fmnist_cli.commands._output import Output, make_table, percent
from fmnist_cli.engine.config import MODELS, TrainConfig
from fmnist_cli.errors import ArtefactError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from fmnist_cli.commands._study import Trained
    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.training import TrainResult
    from fmnist_cli.registry import Registry, Run


@with_options(omit=("model",))
def ood(
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
        typer.Option("--run", metavar="ID", help="Take a recorded run's weights; train nothing."),
    ] = None,
) -> None:
    """Measure the accuracy on the test set and on four shifted copies of it.

    The copies: moved up 4 pixels (zero fill), and rotated by 90, 180 and 270 degrees
    counter-clockwise.

    Examples:

      fmnist ood --model all --plot ood.png

      fmnist ood --run latest
    """
    from fmnist_cli import plots
    from fmnist_cli.commands import _figures
    from fmnist_cli.commands._recording import load_data
    from fmnist_cli.commands._study import answers_document, run_study, show_answers
    from fmnist_cli.engine.answers import ood_answers
    from fmnist_cli.registry import Registry

    out = Output(common)
    if study.plot:
        plots.check_path(study.plot)
    with Registry.open(common.db) as registry:
        if run_id is not None:
            if study.plot or study.seeds > 1:
                raise UsageError("run cannot be combined with plot or seeds. Received: both.")
            runs = [_evaluate_run(registry, run_id, data, out)]
            document: dict[str, Any] = {"id": runs[0].run.id}
        else:
            names = MODELS if model == "all" else (model,)
            arms = [(name, config.but(model=name, engine=_engine(config, name))) for name in names]
            dataset = load_data(config, data, out)

            def after(run: Run, backend: Backend, result: TrainResult) -> None:
                if result.test is not None:
                    _record_shifted(run, backend, dataset)

            result = run_study("ood", arms, dataset, registry, out, study, after=after)
            runs = [run for run in result.runs if run.evaluations]
            document = result.document()
    scores = _figures.scores_of(runs)
    answers = ood_answers(scores) if scores else ()
    out.document(
        "fmnist.ood/1",
        {
            **document,
            "evaluations": [
                {"run": run.run.id, "model": run.run.model, "seed": run.run.seed, **asdict(one)}
                for run in runs
                for one in run.evaluations
            ],
            "answers": answers_document(answers),
        },
    )
    out.section("Accuracy on the test set and its shifted copies", _table(runs))
    show_answers(out, answers)
    if run_id is None:
        _figures.draw_study(study.plot, result, out)


def _engine(config: TrainConfig, model: str) -> str:
    """The CNNs have one engine; the MLP keeps the one that was asked for."""
    return config.engine if model == "mlp" else "keras"


def _record_shifted(run: Run, backend: Backend, dataset: Dataset) -> None:
    """Evaluate and record every shifted copy of the test set; the test set itself is recorded."""
    from fmnist_cli.commands._recording import record_assessment
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS, shifted_split
    from fmnist_cli.engine.training import assess

    for shifted in SHIFTED_SETS:
        if shifted.name != IN_DOMAIN:
            split = shifted_split(dataset.test, shifted)
            record_assessment(run, shifted.name, assess(backend, split))


def _evaluate_run(registry: Registry, run_id: str, data: DataOptions, out: Output) -> Trained:
    """A new run that evaluates the weights of a recorded one."""
    from fmnist_cli.commands._recording import load_data, record_assessment, run_spec
    from fmnist_cli.commands._study import Trained
    from fmnist_cli.engine.training import assess
    from fmnist_cli.registry import Outcome

    record = registry.get_run(run_id)
    config = TrainConfig(**record.config)
    dataset = load_data(config, data, out)
    if dataset.fingerprint != record.data_fingerprint:
        raise UsageError(
            f"run {record.id} must be evaluated on the data it was trained on, fingerprint "
            f"{record.data_fingerprint[:12]}. Received: {dataset.fingerprint[:12]}."
        )
    backend = restored(registry, record.id, config, dataset)
    with registry.run(run_spec("ood", asdict(config), dataset)) as run:
        test = assess(backend, dataset.test)
        record_assessment(run, "test", test)
        _record_shifted(run, backend, dataset)
        run.finish(
            Outcome(
                stop_reason=None,
                train_seconds=0.0,
                test_accuracy=test.accuracy,
                test_loss=test.loss,
            )
        )
    out.say(f"The weights of run {record.id}; recorded as run {run.id}.")
    return Trained(registry.get_run(run.id), (), registry.evaluations(run.id))


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


def _table(runs: Sequence[Trained]) -> Table:
    from fmnist_cli.commands._figures import RECORDED_AS
    from fmnist_cli.commands._study import mean_and_spread
    from fmnist_cli.engine.shifts import IN_DOMAIN, SHIFTED_SETS

    table = make_table("<model", *(f">{shifted.name}" for shifted in SHIFTED_SETS))
    for model in dict.fromkeys(run.run.model for run in runs):
        cells, drops = [], []
        for shifted in SHIFTED_SETS:
            pairs = []
            for run in runs:
                if run.run.model == model:
                    by_set = {one.test_set: one.accuracy for one in run.evaluations}
                    pairs.append(
                        (by_set[RECORDED_AS[IN_DOMAIN]], by_set[RECORDED_AS[shifted.name]])
                    )
            cells.append(mean_and_spread([accuracy for _, accuracy in pairs], percent))
            change = sum((b or 0.0) - (a or 0.0) for a, b in pairs) / len(pairs)
            drops.append("" if shifted.name == IN_DOMAIN else f"{100 * change:+.2f}")
        table.add_row(f"[bold]{model}[/bold]", *cells)
        table.add_row("[dim]  against in-domain[/dim]", *(f"[dim]{drop}[/dim]" for drop in drops))
    return table
