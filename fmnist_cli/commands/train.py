"""`fmnist train`: train one model, record it, and say how it went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._options import Common, DataOptions, StudyOptions, typed, with_options
from fmnist_cli.commands._output import Output, make_facts
from fmnist_cli.engine.config import MAGNITUDE_IMAGES, TrainConfig
from fmnist_cli.errors import ArtefactError, CheckFailed, Diverged, UsageError, require
from fmnist_cli.formatting import percent, pluralize, seconds

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.training import TrainResult
    from fmnist_cli.registry import Run, RunRecord
    from fmnist_cli.runner.run import Recorded, Session

ResultsFolder = Annotated[
    Path, typer.Option("--results", help="Folder for the result file that scripts read.")
]


@with_options(omit=("plot",))
def train(
    context: typer.Context,
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    common: Common,
    check_gradient: Annotated[
        bool,
        typer.Option("--check-gradient", help="First compare backpropagation with differences."),
    ] = False,
    check_magnitude: Annotated[
        bool,
        typer.Option(
            "--check-magnitude", help="First compare the gradient's size on 50 and 5,000 images."
        ),
    ] = False,
    dynamics: Annotated[
        bool,
        typer.Option(
            "--dynamics",
            help="Record each layer's gradient norm and change, and the dead units, every epoch.",
        ),
    ] = False,
    results: ResultsFolder = Path("results"),
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="ID", help="Go on with a run that was cut short, as it was asked."
        ),
    ] = None,
) -> None:
    """Train one model on Fashion-MNIST and record every epoch.

    Stops early, and prints the best epoch, the test accuracy of its weights, and the time. The run
    goes to the registry (--db), its weights to the folder beside it, and its accuracies by epoch to
    the file in --results that course scripts read. With --seeds it trains once a seed, and says how
    much the seeds differ. A run that was interrupted or killed goes on with --resume, and ends as
    if it had not been.

    Exits 3 if a check does not hold (then nothing is trained), 4 if the training diverged.

    Examples:
      # the MLP of the course; first, is its gradient right?
      fmnist train --check-gradient --check-magnitude
      # a larger step on larger batches, with momentum
      fmnist train --lr 0.1 --batch 50 --momentum 0.5
      # five seeds, two at a time: how much of the result is chance?
      fmnist train --seeds 5 --jobs 2
      # the newest run was interrupted: go on with it
      fmnist train --resume latest
    """
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.files import writable_folder
    from fmnist_cli.registry import Registry

    out = Output(common)
    if resume is not None:
        from fmnist_cli.commands._resuming import refuse_settings, resume_training

        refuse_settings(context)
        resume_training(resume, data, common, results)
        return
    require(
        config.model == "mlp" or not check_magnitude,
        "check-magnitude is about the W1 of the mlp; model must be mlp",
        config.model,
    )
    most = MAGNITUDE_IMAGES[1]
    require(
        config.train_size >= most or not check_magnitude,
        f"check-magnitude needs a train-size of at least {most}",
        config.train_size,
    )
    seeds = study.seeds_from(config.seed)
    if len(seeds) > 1:
        from fmnist_cli.commands._train_seeds import train_seeds

        require(
            not (check_gradient or check_magnitude),
            "check-gradient and check-magnitude go with one seed",
            f"{len(seeds)} seeds",
        )
        writable_folder(results, "results")
        train_seeds(config, study, data, out, db=common.db, results=results, dynamics=dynamics)
        return
    beside = [flag for n, flag in typed(context).items() if n in ("jobs", "scheduler", "new")]
    if beside not in ([], ["--jobs 1"]):
        raise UsageError(
            "jobs, scheduler and new go with several seeds. "
            f"Received: {' '.join(beside)} and one seed."
        )
    config = config.but(seed=seeds[0])
    writable_folder(results, "results")
    extras = Extras(check_gradient, check_magnitude, dynamics)
    with Registry.open(common.db) as registry:
        session = open_session(registry, config, data, out)
        train_one(session, config, out, extras, results)


@dataclass(frozen=True)
class Extras:
    """What a run does besides training."""

    check_gradient: bool = False
    check_magnitude: bool = False
    dynamics: bool = False


def train_one(
    session: Session,
    config: TrainConfig,
    out: Output,
    extras: Extras,
    results: Path,
    resume: RunRecord | None = None,
) -> None:
    """Train one configuration, as a new run or continuing a recorded one, and show how it went."""
    from fmnist_cli.commands._checks import check_gradient, magnitude_document, show_magnitude
    from fmnist_cli.engine import gradients
    from fmnist_cli.engine.numpy_mlp.layers import initial_weights
    from fmnist_cli.engine.seeding import weights_rng
    from fmnist_cli.runner.run import train_recorded

    checks: dict[str, Any] = {}
    dataset = session.dataset

    def before(run: Run, backend: Backend) -> None:
        failed = []
        if extras.check_gradient:
            gradient = check_gradient(
                config, dataset.train, n=config.batch, e=gradients.E, select="first"
            )
            gradient.record(run)
            gradient.show(out)
            checks["gradient"] = gradient.document()
            failed += [] if gradient.holds else ["gradient"]
        if extras.check_magnitude:
            weights = initial_weights(weights_rng(config.seed), hidden=config.hidden)
            magnitude = gradients.check_magnitude(weights, dataset.train)
            checks["magnitude"] = magnitude_document(magnitude)
            run.record_check("magnitude", "W1", checks["magnitude"], magnitude.holds)
            show_magnitude(out, magnitude)
            failed += [] if magnitude.holds else ["magnitude"]
        if failed:
            raise CheckFailed(
                f"the {' and the '.join(failed)} check must hold before training; it did "
                "not, so nothing was trained. The figures are above and in the run's record."
            )

    def after(run: Run, backend: Backend, result: TrainResult, data: Dataset) -> None:
        # the file in results/ is the latest run's of its name; the run keeps its own
        for folder in (run.folder, results):
            write_result_file(folder / result_file_name(config), result)
        run.add_artefact("result", run.folder / result_file_name(config))

    recorded = train_recorded(
        session,
        config,
        command="train",
        before=before,
        after=after,
        dynamics=extras.dynamics,
        resume=resume,
    )

    result_path = results / result_file_name(config)
    out.document("fmnist.train/1", _document(config, recorded, checks, result_path))
    out.section(
        f"Run {recorded.run.id}: {describe(config)}",
        _summary(config, recorded, result_path, session.registry.shown),
    )
    if recorded.result.stop_reason == "diverged":
        raise Diverged(
            f"{recorded.result.divergence}. Try a smaller --lr. "
            f"What was recorded is kept: fmnist runs show {recorded.run.id}",
            run_id=recorded.run.id,
        )
    run_id = recorded.run.id
    out.next(f"plot train --run {run_id}", f"runs show {run_id}", "runs list")


def result_file_name(config: TrainConfig) -> str:
    """``MLP_lr0.01_b5.json``, as course scripts expect it."""
    return f"{config.model.upper()}_lr{config.lr:g}_b{config.batch}.json"


def write_result_file(path: Path, result: TrainResult) -> None:
    """The file that course scripts read: accuracies per epoch, test accuracy, seconds."""
    from fmnist_cli.files import replace_file
    from fmnist_cli.formatting import to_json

    content = {
        "train": [epoch.train_accuracy for epoch in result.epochs],
        "val": [epoch.val_accuracy for epoch in result.epochs],
        "test": result.test.accuracy if result.test else None,
        "time": result.train_seconds,
    }
    try:
        replace_file(path, to_json(content) + "\n")
    except OSError as error:
        raise ArtefactError(
            f"{path} cannot be written: {error.strerror}; make room, then: fmnist runs resume."
        ) from error


def _document(
    config: TrainConfig, recorded: Recorded, checks: dict[str, Any], result_path: Path
) -> dict[str, Any]:
    from dataclasses import asdict

    result, best = recorded.result, recorded.result.best
    return {
        "id": recorded.run.id,
        "uuid": recorded.run.uuid,
        "config": asdict(config),
        "status": "diverged" if result.stop_reason == "diverged" else "finished",
        "stop_reason": result.stop_reason,
        "still_improving": result.still_improving,
        "epochs_run": len(result.epochs),
        "best_epoch": best.epoch if best else None,
        "updates_to_best": best.updates if best else None,
        "best_val_accuracy": best.val_accuracy if best else None,
        "best_val_loss": best.val_loss if best else None,
        "test_accuracy": result.test.accuracy if result.test else None,
        "test_loss": result.test.loss if result.test else None,
        "train_seconds": result.train_seconds,
        "checks": checks,
        "result_file": str(result_path),
        "epochs": [asdict(epoch) for epoch in result.epochs],
    }


def _summary(config: TrainConfig, recorded: Recorded, result_path: Path, db: str) -> Table:
    from rich.markup import escape

    result, best, test = recorded.result, recorded.result.best, recorded.result.test
    n = len(result.epochs)
    table = make_facts()
    table.add_row("stopped after", f"{pluralize(n, 'epoch')}: {why_stopped(config, result)}")
    if best and test:
        table.add_row("best epoch", f"{best.epoch} ({pluralize(best.updates, 'gradient update')})")
        table.add_row(
            "validation accuracy", f"{percent(best.val_accuracy)} (loss {best.val_loss:.4f})"
        )
        table.add_row(
            "test accuracy",
            f"[bold]{percent(test.accuracy)}[/bold] (loss {test.loss:.4f}) on one seed",
        )
    table.add_row(
        "training time",
        f"{seconds(result.train_seconds)} ({seconds(result.train_seconds / n)} an epoch)",
    )
    table.add_row("recorded", escape(f"{db}, {result_path}"))
    return table


def describe(config: TrainConfig) -> str:
    """``mlp (numpy), batch 5, lr 0.01, momentum 0, seed 42``."""
    return (
        f"{config.model} ({config.engine}), batch {config.batch}, lr {config.lr:g}, "
        f"momentum {config.momentum:.12g}, seed {config.seed}"
    )


def why_stopped(config: TrainConfig, result: TrainResult) -> str:
    """The reason in words."""
    if result.stop_reason == "patience":
        watched = config.monitor.replace("val_", "validation ")
        return f"{watched} did not improve for {config.patience} in a row"
    if result.stop_reason == "diverged":
        return "diverged"
    if result.still_improving:
        return "the limit, [yellow]while still improving[/yellow]; more --epochs may be better"
    return "the limit"
