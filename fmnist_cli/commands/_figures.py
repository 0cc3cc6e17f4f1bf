"""From the registry's records to what the figures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli import plots
from fmnist_cli.errors import RegistryError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.commands._output import Output
    from fmnist_cli.registry import EpochRecord, Registry, RunRecord, StudyRecord

METRICS = (
    "train_loss",
    "running_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
)


def curve_of(epochs: Sequence[EpochRecord]) -> plots.Curve:
    """The recorded epochs as a curve."""
    values: dict[str, Any] = {name: [getattr(epoch, name) for epoch in epochs] for name in METRICS}
    for name in ("test_loss", "test_accuracy"):
        if all(value is None for value in values[name]):
            values[name] = None
    return plots.Curve(epochs=[epoch.epoch for epoch in epochs], **values)


def caption_of(run: RunRecord) -> plots.RunCaption:
    """What a figure of one run says of it."""
    return plots.RunCaption(
        run_id=run.id,
        model=run.model,
        engine=run.engine,
        batch=run.batch,
        lr=run.lr,
        momentum=run.momentum,
        seed=run.seed,
        hidden=run.hidden,
        train_size=run.train_size,
    )


def ending_of(run: RunRecord) -> plots.Ending | None:
    """How the run ended, as a figure marks it; None while it runs."""
    stop_reason = run.stop_reason or ("interrupted" if run.status != "running" else None)
    if stop_reason is None:
        return None
    return plots.Ending(
        stop_reason=stop_reason,
        best_epoch=run.best_epoch,
        patience=run.patience,
        still_improving=bool(run.still_improving),
    )


def chosen_study(registry: Registry, kind: str, study_id: int | None) -> StudyRecord:
    """The study of that id, or else the newest of its kind."""
    if study_id is not None:
        study = registry.get_study(study_id)
        if study.kind != kind:
            raise RegistryError(
                f"study {study_id} must be of kind {kind}. Received: one of {study.kind}."
            )
        return study
    latest = registry.latest_study(kind)
    if latest is None:
        raise RegistryError(f"there is no {kind} study in {registry.path} yet: fmnist {kind}")
    return latest


def save_figure(figure: Figure, path: Path, out: Output, schema: str, **content: Any) -> None:
    """Write the figure and say where it is."""
    if path.parent == Path("results"):
        path.parent.mkdir(exist_ok=True)
    plots.save(figure, path)
    out.document(schema, {"file": str(path), **content})
    out.result(f"Saved {path}")
