"""One run, whole: what was asked, how it went and on what it ran, in lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_cli.analysis.sampling import accuracy_interval, with_interval
from fmnist_cli.engine.config import CLASS_NAMES
from fmnist_cli.epoch import METRIC_WORDS, Epoch, Metric
from fmnist_cli.formatting import percent, pluralize, seconds
from fmnist_cli.registry import ArtefactRecord, EvaluationRecord, RunRecord

SPARKS = "▁▂▃▄▅▆▇█"


def run_facts(
    run: RunRecord,
    curve: Sequence[Epoch],
    environment: Mapping[str, Any],
    artefacts: Sequence[ArtefactRecord],
    evaluations: Sequence[EvaluationRecord],
    repeat: str,
) -> list[tuple[str, str]]:
    """What was asked of a run, how it went and where, as labels and texts.

    ``curve`` is as far as the run has come, ``repeat`` the command that trains the same.
    """
    facts: list[tuple[str, str]] = []

    def row(label: str, value: object) -> None:
        if value not in (None, ""):
            facts.append((label, str(value)))

    hidden = f", {run.hidden} hidden units" if run.hidden else ""
    row("model", f"{run.model} ({run.engine}){hidden}")
    row(
        "training",
        f"batch {run.batch}, lr {run.lr:g}, momentum {run.momentum:.12g}, seed {run.seed}",
    )
    patience = f"patience {run.patience} on {run.monitor}" if run.patience else "no early stopping"
    row("limits", f"at most {pluralize(run.max_epochs, 'epoch')}, {patience}")
    row("augmentation", "" if run.augment == "none" else run.augment)
    row("head", "" if run.head == "flatten" else run.head)
    row("seed of the weights", run.init_seed)
    row("seed of the epochs", run.order_seed)
    row("tags", ", ".join(run.tags))
    row("note", run.note)
    row("study", f"{run.study_id}, arm {run.arm}" if run.study_id else "")
    reason = {"patience": "patience used up", "max_epochs": "the limit"}.get(run.stop_reason or "")
    improving = ", while still improving" if run.still_improving else ""
    row("stopped", f"{reason}{improving}" if reason else "")
    row("message", run.message)
    if run.best_epoch:
        updates = pluralize(run.updates_to_best or 0, "update")
        row("best epoch", f"{run.best_epoch} of {run.epochs_run} ({updates})")
        row("validation", f"{percent(run.best_val_accuracy)} (loss {loss(run.best_val_loss)})")
        accuracy, n_test = percent(run.test_accuracy), _n_test(evaluations)
        if n_test is not None and run.test_accuracy is not None:
            accuracy = with_interval(run.test_accuracy, n_test)
        row("test", f"{accuracy}, loss {loss(run.test_loss)}")
    if curve:
        metrics: tuple[Metric, ...] = ("train_loss", "val_loss", "val_accuracy")
        for metric in metrics:
            values = [e.value(metric) for e in curve]
            row(
                METRIC_WORDS[metric],
                f"{sparkline(values)}  {loss(values[0])} -> {loss(values[-1])}",
            )
        trained = sum(e.train_seconds for e in curve)
        row(
            "time",
            f"{seconds(trained)} training ({seconds(trained / len(curve))} per epoch), "
            f"{seconds(sum(e.eval_seconds for e in curve))} evaluating",
        )
    row("started", f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC on {run.host}")
    row("data", f"{run.train_size:,} + {run.val_size:,} of {run.data_source}")
    row("fingerprint", run.data_fingerprint)
    for label, value in _environment(environment).items():
        row(label, value)
    for artefact in artefacts:
        row("file", f"{artefact.kind}: {artefact.path}")
    row("repeat", repeat)
    return facts


def _environment(environment: Mapping[str, Any]) -> dict[str, str]:
    """What the run ran on, in a few lines."""

    def joined(*words: object) -> str:
        return " ".join(str(word) for word in words if word not in (None, ""))

    packages = environment.get("packages") or {}
    libraries = [
        joined(library.get("internal_api"), library.get("version"), library.get("architecture"))
        + f" ({library.get('num_threads')} threads)"
        for library in environment.get("blas") or []
    ]
    git = environment.get("git") or {}
    return {
        "software": ", ".join(
            [
                f"Python {environment.get('python')}",
                *(f"{name} {version}" for name, version in packages.items() if version),
            ]
        ),
        "machine": joined(
            *(environment.get(name) for name in ("cpu", "machine", "system", "release")),
            f"({environment.get('cpus_usable')} of {environment.get('cpus')} processors)",
        ),
        "BLAS": ", ".join(libraries),
        "variables": joined(*(f"{k}={v}" for k, v in (environment.get("variables") or {}).items())),
        "commit": joined(git.get("commit"), "with changes" if git.get("dirty") else ""),
    }


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """The values as a line of block characters, at most ``width``; what is not finite is blank."""
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width)]
    present = [value for value in values if value is not None and math.isfinite(value)]
    if not present:
        return ""
    low, span = min(present), (max(present) - min(present)) or 1.0
    top = len(SPARKS) - 1
    return "".join(
        " " if v is None or not math.isfinite(v) else SPARKS[round((v - low) / span * top)]
        for v in values
    )


def _n_test(evaluations: Sequence[EvaluationRecord]) -> int | None:
    return next((one.n for one in evaluations if one.test_set == "test"), None)


def test_interval(
    run: RunRecord, evaluations: Sequence[EvaluationRecord]
) -> dict[str, float | None]:
    """Of the test accuracy, for the sampling of the test images; where their number is known."""
    n, low, high = _n_test(evaluations), None, None
    if n is not None and run.test_accuracy is not None:
        low, high = accuracy_interval(run.test_accuracy, n)
    return {"test_accuracy_low": low, "test_accuracy_high": high}


def loss(value: float | None) -> str:
    """A loss in nats; a dash where it is not finite, or was not measured."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"


def weakest_class(confusion: Sequence[Sequence[int]]) -> str:
    """The class that is recognised least often, and how often; a dash where there is no image."""
    recalls = [
        (row[klass] / sum(row), klass) for klass, row in enumerate(confusion) if sum(row) > 0
    ]
    if not recalls:
        return "-"
    recall, klass = min(recalls)
    return f"{CLASS_NAMES[klass]} ({percent(recall, 1)})"
