"""A training as `train` and `runs resume` do it and show it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.commands._output import Output, make_facts
from fmnist_cli.errors import Diverged
from fmnist_cli.formatting import percent, pluralize, seconds

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.training import TrainResult
    from fmnist_cli.epoch import Epoch
    from fmnist_cli.registry import Run, RunRecord
    from fmnist_cli.runner.run import BackendOf, Recorded, Session

N_BESIDE = 10  # epochs of layers of one's own that are compared with the textbook's


@dataclass(frozen=True)
class Extras:
    """What a run does besides training."""

    check_gradient: bool = False
    check_magnitude: bool = False
    dynamics: bool = False
    layers: Path | None = None
    log: bool = False


def train_one(
    session: Session,
    config: TrainConfig,
    out: Output,
    extras: Extras,
    results: Path,
    resume: RunRecord | None = None,
) -> None:
    """Train one configuration, as a new run or continuing a recorded one, and show how it went."""
    from rich.markup import escape

    from fmnist_cli.commands._checks import show_gradient, show_magnitude
    from fmnist_cli.files import replace_file
    from fmnist_cli.runner.checks import magnitude_document, record_checks, require_checks
    from fmnist_cli.runner.result_file import (
        hand_in,
        keep_result_file,
        result_content,
        result_file_name,
    )
    from fmnist_cli.runner.run import train_recorded

    checks: dict[str, Any] = {}
    result_path = results

    def before(run: Run, backend: Backend) -> None:
        if extras.layers is not None:
            kept = run.folder / extras.layers.name
            replace_file(kept, extras.layers.read_bytes())
            run.add_artefact("layers", kept)
        gradient, magnitude = record_checks(
            run,
            config,
            session.dataset.train,
            gradient=extras.check_gradient,
            magnitude=extras.check_magnitude,
        )
        if gradient is not None:
            show_gradient(out, gradient)
            checks["gradient"] = gradient.document()
        if magnitude is not None:
            show_magnitude(out, magnitude)
            checks["magnitude"] = magnitude_document(magnitude)
        require_checks(run, gradient, magnitude)

    def after(run: Run, backend: Backend, result: TrainResult, data: Dataset) -> None:
        nonlocal result_path
        if extras.layers is not None:
            checks["textbook"] = _beside_textbook(run, config, result, data)
        keep_result_file(run, backend, result, data)
        diverged = result.stop_reason == "diverged"
        name = result_file_name(config, data.fingerprint, diverged=diverged)
        test = None if result.test is None else result.test.accuracy
        content = result_content(run.id, run.uuid, result.epochs, test, result.train_seconds)
        result_path = hand_in(results, name, content, out)

    recorded = train_recorded(
        session,
        config,
        command="train",
        before=before,
        after=after,
        on_epoch=(lambda epoch: out.text(epoch_line(epoch))) if extras.log else None,
        dynamics=extras.dynamics,
        resume=resume,
        backend_of=_backend_of(extras.layers),
    )

    out.document("fmnist.train/1", _document(config, recorded, checks, result_path))
    out.section(
        f"Run {recorded.run.id}: {describe(config)}",
        _summary(config, recorded, result_path, session.registry.display_name),
    )
    if "textbook" in checks:
        advice = "" if checks["textbook"]["epochs"] else f" Try: fmnist check {extras.layers}"
        statement = checks["textbook"]["statement"]
        out.section("Beside fmnist's own layers in float64, on the same batches",
                    f"Running losses: {statement}.{escape(advice)}")  # fmt: skip
    if recorded.result.stop_reason == "diverged":
        raise Diverged(
            f"{recorded.result.divergence}. Try a smaller --lr. "
            f"What was recorded is kept: fmnist runs show {recorded.run.id}",
            run_id=recorded.run.id,
        )
    run_id = recorded.run.id
    out.next(f"plot train --run {run_id}", f"runs show {run_id}", "runs list")


def _backend_of(layers: Path | None) -> BackendOf | None:
    """What makes the backend of a file of layers; None leaves it to the engine's name."""
    if layers is None:
        return None
    from fmnist_cli.usercode.backend import UserNetwork

    return partial(UserNetwork, layers)


def _beside_textbook(
    run: Run, config: TrainConfig, result: TrainResult, data: Dataset
) -> dict[str, Any]:
    """Record how far the user's layers follow the textbook's, in their first epochs."""
    from dataclasses import asdict

    from fmnist_cli.analysis.agreement import agreement, agreement_statement
    from fmnist_cli.usercode.backend import textbook_losses

    losses = [epoch.value("running_loss") for epoch in result.epochs[:N_BESIDE]]
    found = agreement(losses, textbook_losses(config, data.train))
    run.record_check("layers", "textbook", asdict(found), found.parted_by is None)
    return asdict(found) | {"statement": agreement_statement(found)}


def epoch_line(epoch: Epoch) -> str:
    """The epoch's numbers on a line."""
    parts = [
        f"epoch {epoch.epoch:>3}",
        *(
            f"{words} loss {epoch.value(f'{name}_loss'):.4f}, "
            f"accuracy {percent(epoch.value(f'{name}_accuracy'))}"
            for name, words in (("train", "training"), ("val", "validation"))
        ),
        seconds(epoch.train_seconds),
    ]
    return "; ".join(parts) + "\n"


def _document(
    config: TrainConfig, recorded: Recorded, checks: dict[str, Any], result_path: Path
) -> dict[str, Any]:
    from dataclasses import asdict

    from fmnist_cli.analysis.sampling import accuracy_interval

    result, best, test = recorded.result, recorded.result.best, recorded.result.test
    low, high = accuracy_interval(test.accuracy, test.n) if test else (None, None)
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
        "test_accuracy": test.accuracy if test else None,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_loss": result.test.loss if result.test else None,
        "train_seconds": result.train_seconds,
        "checks": checks,
        "result_file": str(result_path),
        "epochs": [asdict(epoch) for epoch in result.epochs],
    }


def _summary(config: TrainConfig, recorded: Recorded, result_path: Path, db: str) -> Table:
    from rich.markup import escape

    from fmnist_cli.analysis.sampling import with_interval

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
            f"[bold]{with_interval(test.accuracy, test.n)}[/bold], on one seed",
        )
        table.add_row(
            "test loss",
            f"{test.loss:.4f}",
        )
    table.add_row(
        "training time",
        f"{seconds(result.train_seconds)} ({seconds(result.train_seconds / n)} per epoch)",
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
