"""A training as `train` and `runs resume` do it and show it, from its start or to its end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.analysis.comparison import agreement_statement
from fmnist_cli.analysis.sampling import with_interval
from fmnist_cli.commands._data import load_data, open_existing
from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._output import Output, escape, make_facts
from fmnist_cli.commands.gradcheck import show_gradient, show_magnitude
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.gradients import MagnitudeCheck
from fmnist_cli.engine.training import TrainResult
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import Diverged
from fmnist_cli.files import writable_folder
from fmnist_cli.formatting import percent, pluralize, seconds
from fmnist_cli.registry import Registry, RunRecord
from fmnist_cli.runner.again import had_dynamics, require_its_data, resumable_training
from fmnist_cli.runner.checks import GradientReport
from fmnist_cli.runner.run import Session
from fmnist_cli.runner.training import CheckedTraining, Extras, train_with_checks

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.usercode.parts import Parts


def train_one(
    session: Session,
    config: TrainConfig,
    out: Output,
    extras: Extras,
    results: Path,
    *,
    log: bool = False,
    resume: RunRecord | None = None,
    parts: Parts | None = None,
) -> None:
    """Train one configuration, as a new run or continuing a recorded one, and show how it went;
    ``parts`` are those of ``extras.layers``."""

    def show_checks(gradient: GradientReport | None, magnitude: MagnitudeCheck | None) -> None:
        if gradient is not None:
            show_gradient(out, gradient)
        if magnitude is not None:
            show_magnitude(out, magnitude)

    own_layers: dict[str, Any] = {}
    if extras.layers is not None:
        from fmnist_cli.usercode.backend import UserNetwork, textbook_losses

        own_layers["backend_of"] = partial(UserNetwork, extras.layers, parts=parts)
        own_layers["beside"] = partial(textbook_losses, config)
    training = train_with_checks(
        session,
        config,
        extras,
        results=results,
        on_checks=show_checks,
        on_epoch=(lambda epoch: out.text(epoch_line(epoch))) if log else None,
        resume=resume,
        **own_layers,
    )
    run_id, result = training.recorded.run.id, training.recorded.result
    out.document("fmnist.train/1", training.document())
    summary = _summary(training, session.registry.display_name)
    settings = (
        f"{config.model} ({config.engine}), batch {config.batch}, lr {config.lr:g}, "
        f"momentum {config.momentum:.12g}, seed {config.seed}"
    )
    out.section(f"Run {run_id}: {settings}", summary)
    if training.beside is not None:
        advice = "" if training.beside.epochs else f" Try: fmnist check {extras.layers}"
        out.section("Beside fmnist's own layers in float64, on the same batches",
                    f"Running losses: {agreement_statement(training.beside)}.{escape(advice)}"
                    )  # fmt: skip
    if result.stop_reason == "diverged":
        raise Diverged(
            f"{result.divergence}. Try a smaller --lr. "
            f"What was recorded is kept: fmnist runs show {run_id}",
            run_id=run_id,
        )
    out.next(f"plot train --run {run_id}", f"runs show {run_id}", "runs list")


def resume_training(which: str, data: DataOptions, out: Output, results: Path) -> None:
    """Train a run that was interrupted to its end, and show how it went."""
    with open_existing(out.db) as registry:
        run = resumable_training(registry, which)
        session = session_of_run(registry, run, data, out)
        writable_folder(results, "--results")
        extras = Extras(
            check_gradient="--check-gradient" in run.argv,
            check_magnitude="--check-magnitude" in run.argv,
            dynamics=had_dynamics(registry, run),
        )
        train_one(session, TrainConfig(**run.config), out, extras, results, resume=run)


def session_of_run(
    registry: Registry, run: RunRecord, options: DataOptions, out: Output
) -> Session:
    """A session with the data that a run saw; UsageError where other data is found."""
    # what it is, is settled by the fingerprint
    options = replace(options, allow_custom_data=True)
    dataset = load_data(TrainConfig(**run.config), options, out)
    session = Session(registry, dataset, out, out.argv)
    require_its_data(run, session.dataset)
    return session


def epoch_line(epoch: Epoch) -> str:
    """The epoch's numbers on a line."""
    loss, accuracy = epoch.value("train_loss"), percent(epoch.value("train_accuracy"))
    val_loss, val_accuracy = epoch.value("val_loss"), percent(epoch.value("val_accuracy"))
    return (
        f"epoch {epoch.epoch:>3}; training loss {loss:.4f}, accuracy {accuracy}; "
        f"validation loss {val_loss:.4f}, accuracy {val_accuracy}; {seconds(epoch.train_seconds)}\n"
    )


def _summary(training: CheckedTraining, db: str) -> Table:
    config, result = training.config, training.recorded.result
    best, test = result.best, result.test
    n = len(result.epochs)
    table = make_facts()
    table.add_row("stopped after", f"{pluralize(n, 'epoch')}: {why_stopped(config, result)}")
    if best and test:
        table.add_row("best epoch", f"{best.epoch} ({pluralize(best.updates, 'gradient update')})")
        table.add_row(
            "validation accuracy", f"{percent(best.val_accuracy)} (loss {best.val_loss:.4f})"
        )
        accuracy = with_interval(test.accuracy, test.n)
        table.add_row("test accuracy", f"[bold]{accuracy}[/bold], on one seed")
        table.add_row("test loss", f"{test.loss:.4f}")
    table.add_row(
        "training time",
        f"{seconds(result.train_seconds)} ({seconds(result.train_seconds / n)} per epoch)",
    )
    table.add_row("recorded", escape(f"{db}, {training.result_file}"))
    return table


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
