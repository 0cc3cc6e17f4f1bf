"""The gradient and magnitude checks, as `train` and `gradcheck` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_cli.commands._output import make_table

if TYPE_CHECKING:
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.gradients import MagnitudeCheck
    from fmnist_cli.runner.checks import GradientReport


def show_gradient(out: Output, report: GradientReport) -> None:
    """Print the entries, one a line, and below them what the whole check says."""
    with_training = any(row.training is not None for row in report.rows)
    table = make_table(
        *("<entry", ">backpropagation", ">numeric", ">relative error"),
        *([">training step"] if with_training else []),
        "<judged by",
    )
    for row in report.rows:
        entry = row.entry
        index = ", ".join(map(str, entry.index))
        note = ""
        if entry.kink:
            note = " (kink)"
            if row.difference is not None:
                note = f" (kink; difference {row.difference:.3g})"
        table.add_row(
            f"{entry.parameter}\\[{index}]",
            f"{entry.analytic:.9g}",
            f"{entry.numeric:.9g}",
            f"{entry.relative_error:.1e}",
            *([f"{row.training:.9g}"] if row.training is not None else []),
            entry.method + note,
        )
    title = f"first {report.n_examples} training images, e = {report.e:g}, float64"
    lines = [
        line.replace("DOES NOT AGREE", "[red]DOES NOT AGREE[/red]").replace(
            " agrees ", " [green]agrees[/green] "
        )
        for line in report.statements()
    ]
    out.section(f"Gradient check: {title}", table, *lines)


def show_magnitude(out: Output, check: MagnitudeCheck) -> None:
    """Print the two sizes, their ratio and the verdict."""
    verdict = (
        "[green]holds[/green]: the gradient of a mean does not grow with the number of examples"
        if check.holds
        else f"[red]DOES NOT HOLD[/red]: the ratio must be above 0 and below {check.limit:g}; is "
        "the loss a sum instead of a mean?"
    )
    table = make_table(">first training images", ">sum of |dL/dW1|")
    for n, l1 in ((check.n_few, check.l1_few), (check.n_many, check.l1_many)):
        table.add_row(f"{n:,}", f"{l1:.4f}")
    out.section(
        "Magnitude check: L1 norm of the W1 gradient",
        table,
        f"ratio {check.ratio:.3f}: {verdict}",
    )
