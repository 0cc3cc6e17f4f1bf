"""The curves of `fmnist ood --curve`: accuracy by distance and by angle, as they were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fmnist_cli import plots
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.engine import ood_curves
from fmnist_cli.engine.config import CLASS_NAMES
from fmnist_cli.errors import RegistryError
from fmnist_cli.formatting import percent
from fmnist_cli.plots import Band, RunCaption
from fmnist_cli.tables import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class CurveScore:
    """One model at one point of a curve.

    Attributes
    ----------
    accuracy : by seed
    worst : (class, the share of it that is recognised, over all seeds)
    """

    model: str
    point: ood_curves.CurvePoint
    accuracy: dict[int, float]
    worst: tuple[int, float]

    @property
    def mean(self) -> float:
        return fmean(self.accuracy.values())


def curve_scores(runs: Sequence[RecordedRun], curve: ood_curves.CurveName) -> list[CurveScore]:
    """Every model at every point of the curve, from the runs that have all of it."""
    by_model: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for run in runs:
        found = {one.test_set: one for one in run.evaluations}
        if ood_curves.is_complete(found, curve):
            by_model.setdefault(run.name, []).append((run.seed, found))
    return [
        CurveScore(
            model=model,
            point=point,
            accuracy={seed: found[point.name].accuracy or 0.0 for seed, found in seeds},
            worst=ood_curves.worst_class([found[point.name].confusion for _, found in seeds]),
        )
        for model, seeds in by_model.items()
        for point in ood_curves.curve_points(curve)
    ]


def curves_document(
    runs: Sequence[RecordedRun], curves: Sequence[ood_curves.CurveName]
) -> list[dict[str, Any]]:
    """Every point as plain values."""
    return [
        {
            "curve": one.point.curve,
            "model": one.model,
            "test_set": one.point.name,
            "series": one.point.series,
            "x": one.point.x,
            "accuracy": one.mean,
            "accuracy_by_seed": {str(seed): value for seed, value in one.accuracy.items()},
            "worst_class": CLASS_NAMES[one.worst[0]],
            "worst_class_accuracy": one.worst[1],
        }
        for curve in curves
        for one in curve_scores(runs, curve)
    ]


def curve_tables(runs: Sequence[RecordedRun], curve: ood_curves.CurveName) -> list[Table]:
    """For each model accuracy and weakest class, one row per distance or angle."""
    scores = curve_scores(runs, curve)
    unit = "degrees" if curve == "rotation" else "pixels"
    made = []
    for model in dict.fromkeys(one.model for one in scores):
        of_model = {(p.point.series, p.point.x): p for p in scores if p.model == model}
        series = list(dict.fromkeys(name for name, _ in of_model))
        seeds = len(next(iter(of_model.values())).accuracy)
        columns = [Column(unit)]
        for name in series:
            columns += [
                Column(name, show=lambda value: percent(value, 1)),
                Column("weakest class", numeric=False, key=f"{name}_weakest_class"),
            ]
        rows = []
        for x in dict.fromkeys(x for _, x in of_model):
            row: list[Any] = [x]
            for name in series:
                one = of_model[name, x]
                klass, share = one.worst
                row += [one.mean, f"{CLASS_NAMES[klass]} {percent(share, 0)}"]
            rows.append(tuple(row))
        basis = "one seed" if seeds == 1 else f"mean of {seeds} seeds"
        caption = f"{model}: accuracy by {curve} ({basis})"
        made.append(Table(caption, tuple(columns), tuple(rows)))
    return made


def curves_figure(
    runs: Sequence[RecordedRun],
    curves: Sequence[ood_curves.CurveName],
    caption: RunCaption,
    *,
    where: str,
    band: Band,
) -> Figure:
    """Lines: accuracy against distance or angle.

    Raises
    ------
    RegistryError
        When no run has a curve; ``where`` names what must have it.
    """
    lines: dict[tuple[str, str], list[CurveScore]] = {}
    for curve in curves:
        scores = curve_scores(runs, curve)
        if not scores:
            raise RegistryError(
                f"{where} must have measured the {curve} curve. It has not: "
                f"fmnist ood --curve {curve}"
            )
        for one in scores:
            lines.setdefault((one.model, one.point.series), []).append(one)
    drawn = [
        plots.OodCurve(
            model=model,
            series=series,
            x=[one.point.x for one in of_line],
            accuracy=[[one.accuracy[seed] for one in of_line] for seed in of_line[0].accuracy],
        )
        for (model, series), of_line in lines.items()
    ]
    return plots.ood_curve_figure(drawn, caption, band=band)
