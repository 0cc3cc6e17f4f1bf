"""From the registry's records to what the figures are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fmnist_cli import plots
from fmnist_cli.analysis.axes import AXIS_TITLES, gap_note, gaps, positions
from fmnist_cli.analysis.result import RecordedRun, StudyResult
from fmnist_cli.epoch import METRICS, Axis, Metric
from fmnist_cli.errors import RegistryError
from fmnist_cli.registry import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli.analysis.groups import Group

CAPTION = ("engine", "batch", "lr", "momentum", "seed", "hidden", "train_size")


def curve_of(run: RecordedRun, axis: Axis = "epoch") -> plots.Curve:
    """The run's curve, drawn against the axis."""
    values: dict[str, Any] = {name: [getattr(e, name) for e in run.epochs] for name in METRICS}
    if axis != "epoch":
        values |= {"x": positions(run, axis), "x_title": AXIS_TITLES[axis]}
    return plots.Curve(epochs=[epoch.epoch for epoch in run.epochs], **values)


def lines_of(
    result: StudyResult,
    name: Callable[[RecordedRun], str],
    order: Callable[[RecordedRun], float] | None = None,
    axis: Axis = "epoch",
) -> list[plots.Line]:
    """One line per condition, from the runs with an epoch; a diverged run is in no mean."""
    groups = list(result.by_label().values())
    if order is not None:
        groups.sort(key=lambda runs: order(runs[0]))
    lines = []
    for runs in groups:
        drawn = averaged(runs)
        n_diverged = sum(run.diverged for run in runs)
        share = f"{n_diverged} of {len(runs)} " if n_diverged < len(runs) else ""
        suffix = f", {share}diverged" if n_diverged else ""
        curves = [curve_of(run, axis) for run in drawn if run.epochs]
        if curves:
            lines.append(plots.Line(f"{name(runs[0])}{suffix}", curves))
    return lines


def averaged(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs of one condition that a mean is drawn of: no diverged one, unless all are."""
    return [run for run in runs if not run.diverged] or list(runs)


def groups_figure(
    groups: Sequence[Group],
    *,
    metrics: Sequence[Metric] = ("val_accuracy", "train_loss"),
    axis: Axis = "epoch",
    band: plots.Band = "range",
) -> Figure:
    """The curves of runs, or of groups of them, above each other; RegistryError for no epoch."""
    lines = [
        plots.Line(group.label, curves)
        for group in groups
        if (curves := [curve_of(run, axis) for run in averaged(group.runs) if run.epochs])
    ]
    if not lines:
        raise RegistryError(
            "what is compared must have recorded an epoch to be drawn. "
            f"Received: {', '.join(group.label for group in groups)}, which has none."
        )
    notes = []
    if axis != "epoch":
        notes.append(gap_note(gaps(labelled(groups), metrics[0]), axis, metrics[0]))
    return plots.compare_figure(lines, metrics=metrics, band=band, notes=notes)


def labelled(groups: Sequence[Group]) -> list[RecordedRun]:
    """The groups' runs, as conditions of their groups' labels."""
    return [
        replace(run, run=replace(run.run, arm=group.label))
        for group in groups
        for run in group.runs
    ]


def run_figure(run: RecordedRun) -> Figure:
    """One run: accuracy and loss by epoch, the best epoch and the stop; RegistryError for none."""
    if not run.epochs:
        raise RegistryError(
            f"run {run.run.id} must have recorded an epoch to be drawn. It has none."
        )
    caption = run_caption(run.run, len(run.epochs))
    return plots.train_figure(curve_of(run), caption, ending_of(run.run))


def drawable(result: StudyResult) -> list[RecordedRun]:
    """The runs with an epoch; RegistryError where there is none."""
    runs = [run for run in result.runs if run.epochs]
    if not runs:
        raise RegistryError(f"study {result.study.id} must have a finished run. It has none yet.")
    return runs


def caption_of(
    runs: Sequence[RunRecord], *, varied: Sequence[str] = (), state: str = ""
) -> plots.RunCaption:
    """What a figure says of its runs: all that is the same in each, and which runs they are."""
    values: dict[str, Any] = {}
    for name in CAPTION:
        found = {getattr(run, name) for run in runs}
        if name not in varied and len(found) == 1:
            values[name] = found.pop()
    if len({run.seed for run in runs}) > 1:
        values["seed"] = sorted({run.seed for run in runs})
    models = ", ".join(dict.fromkeys(run.model for run in runs))
    ids = [run.id for run in runs]
    run_id = ids[0] if len(ids) == 1 else ids
    return plots.RunCaption(run_id=run_id, model=models, state=state, **values)


def study_caption(
    result: StudyResult, *, varied: Sequence[str] = (), first: bool = False
) -> plots.RunCaption:
    """The same of a study; ``first``: of each condition's first run alone."""
    runs = [run.run for run in drawable(result)]
    if first:
        runs = [of_one[0].run for of_one in result.by_label().values()]
    n_asked = len(result.study.config.get("runs", ()))
    missing = len(result.runs) < n_asked
    state = f"incomplete: {len(result.runs)} of {n_asked} runs have a result" if missing else ""
    return caption_of(runs, varied=varied, state=state)


def run_caption(run: RunRecord, n_epochs: int) -> plots.RunCaption:
    """The same of one run, which may still be under way."""
    running = run.status == "running"
    state = f"still running: {n_epochs} of at most {run.max_epochs} epochs" if running else ""
    return caption_of([run], state=state)


def ending_of(run: RunRecord) -> plots.Ending | None:
    """How the run ended, as a figure marks it; None while it runs."""
    if run.status == "running":
        return None
    unfinished = run.status if run.status in ("failed", "lost") else "interrupted"
    return plots.Ending(
        stop_reason=run.stop_reason or unfinished,
        best_epoch=run.best_epoch,
        patience=run.patience,
        still_improving=bool(run.still_improving),
    )
