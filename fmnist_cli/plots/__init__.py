"""Results as matplotlib figures: plain data in, a Figure out; ``save`` is the one that writes.

No command line, no registry, no pyplot. Importing this package does not import matplotlib.
"""

from fmnist_cli.plots.curves import compare_figure as compare_figure
from fmnist_cli.plots.curves import conditions_figure as conditions_figure
from fmnist_cli.plots.curves import dynamics_figure as dynamics_figure
from fmnist_cli.plots.curves import early_stop_figure as early_stop_figure
from fmnist_cli.plots.curves import train_figure as train_figure
from fmnist_cli.plots.data import Band as Band
from fmnist_cli.plots.data import Curve as Curve
from fmnist_cli.plots.data import Ending as Ending
from fmnist_cli.plots.data import GridCell as GridCell
from fmnist_cli.plots.data import Line as Line
from fmnist_cli.plots.data import OodCurve as OodCurve
from fmnist_cli.plots.data import PatienceStop as PatienceStop
from fmnist_cli.plots.data import RunCaption as RunCaption
from fmnist_cli.plots.data import ShiftedExample as ShiftedExample
from fmnist_cli.plots.images import accuracy_map_figure as accuracy_map_figure
from fmnist_cli.plots.images import ood_samples_figure as ood_samples_figure
from fmnist_cli.plots.images import samples_figure as samples_figure
from fmnist_cli.plots.ood import ood_curve_figure as ood_curve_figure
from fmnist_cli.plots.ood import ood_figure as ood_figure
from fmnist_cli.plots.saving import check_path as check_path
from fmnist_cli.plots.saving import save as save
from fmnist_cli.plots.settings import batch_figure as batch_figure
from fmnist_cli.plots.settings import grid_figure as grid_figure
from fmnist_cli.plots.settings import luck_figure as luck_figure
from fmnist_cli.plots.style import narrow as narrow
from fmnist_cli.plots.svg import to_svg as to_svg
