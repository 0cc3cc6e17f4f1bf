"""The curves of `ood`: evaluated, recorded, shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fmnist_cli.commands._output import make_table
from fmnist_cli.engine.config import CLASS_NAMES
from fmnist_cli.errors import RegistryError
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.analysis.result import RecordedRun
    from fmnist_cli.engine.backend import Backend
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.engine.ood_curves import CurveName, CurvePoint
    from fmnist_cli.registry import Run


@dataclass(frozen=True)
class Measured:
    """One model at one point of a curve.

    Attributes
    ----------
    accuracy : by seed
    worst : (class, the share of it that is recognised, over all seeds)
    """

    model: str
    point: CurvePoint
    accuracy: dict[int, float]
    worst: tuple[int, float]

    @property
    def mean(self) -> float:
        return fmean(self.accuracy.values())


def record_curves(run: Run, backend: Backend, data: Dataset, curves: Sequence[CurveName]) -> None:
    """Evaluate and record every point; the first, the test set as it is, is recorded already."""
    from fmnist_cli.engine.ood_curves import curve_points, curve_split
    from fmnist_cli.engine.training import assess
    from fmnist_cli.runner.run import record_assessment

    for curve in curves:
        for point in curve_points(curve):
            if point.x:
                record_assessment(run, point.name, assess(backend, curve_split(data.test, point)))


def measured(runs: Sequence[RecordedRun], curve: CurveName) -> list[Measured]:
    """Every model at every point of the curve, from the runs that have all of it."""
    from fmnist_cli.engine.ood_curves import curve_points, is_complete, worst_class

    by_model: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for run in runs:
        found = {one.test_set: one for one in run.evaluations}
        if is_complete(found, curve):
            by_model.setdefault(run.name, []).append((run.run.seed, found))
    return [
        Measured(
            model=model,
            point=point,
            accuracy={seed: found[point.name].accuracy or 0.0 for seed, found in seeds},
            worst=worst_class([found[point.name].confusion for _, found in seeds]),
        )
        for model, seeds in by_model.items()
        for point in curve_points(curve)
    ]


def require_measured(
    runs: Sequence[RecordedRun], curve: CurveName, study_id: int
) -> list[Measured]:
    """As ``measured``; RegistryError where no run has the curve."""
    points = measured(runs, curve)
    if not points:
        raise RegistryError(
            f"study {study_id} must have measured the {curve} curve. It has not: "
            f"fmnist ood --curve {curve}"
        )
    return points


def curves_document(
    runs: Sequence[RecordedRun], curves: Sequence[CurveName]
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
        for one in measured(runs, curve)
    ]


def curve_tables(points: Sequence[Measured]) -> list[tuple[str, Table]]:
    """For each model a title and a table: accuracy and weakest class, a row a distance."""
    curve = points[0].point.curve
    unit = "degrees" if curve == "rotation" else "pixels"
    tables = []
    for model in dict.fromkeys(one.model for one in points):
        of_model = {(p.point.series, p.point.x): p for p in points if p.model == model}
        series = list(dict.fromkeys(name for name, _ in of_model))
        seeds = len(next(iter(of_model.values())).accuracy)
        headings = [f for name in series for f in (f">{name}", "<weakest class")]
        table = make_table(f">{unit}", *headings)
        for x in dict.fromkeys(x for _, x in of_model):
            cells = []
            for name in series:
                one = of_model[name, x]
                klass, share = one.worst
                cells += [percent(one.mean, 1), f"{CLASS_NAMES[klass]} {percent(share, 0)}"]
            table.add_row(str(x), *cells)
        basis = "one seed" if seeds == 1 else f"mean of {seeds} seeds"
        tables.append((f"{model}: accuracy by {curve} ({basis})", table))
    return tables
