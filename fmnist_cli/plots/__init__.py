"""Results as matplotlib figures: plain data in, a Figure out; ``save`` is the one that writes.

No command line, no registry, no pyplot. Importing this package does not import matplotlib.
"""

from __future__ import annotations

from fmnist_cli.plots.batch import batch_figure
from fmnist_cli.plots.compare import compare_figure
from fmnist_cli.plots.conditions import conditions_figure
from fmnist_cli.plots.data import (
    Band,
    BatchRun,
    Curve,
    Ending,
    GridCell,
    Line,
    ModelAccuracies,
    PatienceStop,
    RunCaption,
    ShiftedExample,
)
from fmnist_cli.plots.dynamics import dynamics_figure
from fmnist_cli.plots.grid import grid_figure
from fmnist_cli.plots.luck import luck_figure
from fmnist_cli.plots.ood import accuracy_map_figure, ood_figure, ood_samples_figure
from fmnist_cli.plots.ood_curves import OodCurve, ood_curve_figure
from fmnist_cli.plots.samples import samples_figure
from fmnist_cli.plots.saving import check_path, save
from fmnist_cli.plots.style import narrow
from fmnist_cli.plots.svg import to_svg
from fmnist_cli.plots.training import early_stop_figure, train_figure

__all__ = [
    "Band",
    "BatchRun",
    "Curve",
    "Ending",
    "GridCell",
    "Line",
    "ModelAccuracies",
    "OodCurve",
    "PatienceStop",
    "RunCaption",
    "ShiftedExample",
    "accuracy_map_figure",
    "batch_figure",
    "check_path",
    "compare_figure",
    "conditions_figure",
    "dynamics_figure",
    "early_stop_figure",
    "grid_figure",
    "luck_figure",
    "narrow",
    "ood_curve_figure",
    "ood_figure",
    "ood_samples_figure",
    "samples_figure",
    "save",
    "to_svg",
    "train_figure",
]
