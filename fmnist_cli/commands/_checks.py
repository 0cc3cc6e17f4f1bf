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
    out.section(f"Gradient check: {title}", table, *_verdicts(report))


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


def _verdicts(report: GradientReport) -> list[str]:
    """What the whole check says, line by line."""
    found = report.summary
    judged = found["entries_checked"] - found.get("unresolved", 0)
    lines = [
        f"backpropagation {_agrees(report.backpropagation_holds)} with the differences: "
        f"{judged:,} entries, largest relative error {found['max_relative_error']:.1e}, "
        f"norm {found['norm_relative_error']:.1e}"
    ]
    kinks, coarse = found["kinks"], found.get("coarse", 0)
    if "unresolved" in found and kinks:
        lines.append(
            f"{kinks:,} straddle a kink of a ReLU or a max-pool at this e: judged by a "
            f"smaller difference that stays on one side; {found['unresolved']:,} have none and "
            "are not judged"
        )
    elif kinks or coarse:
        has_pools = any(row.entry.parameter == "conv1/kernel" for row in report.rows)
        corners = "a ReLU or a max-pool" if has_pools else "the ReLU"
        lines.append(
            f"{kinks:,} straddle a kink of {corners} and {coarse:,} are too small "
            f"for a difference at this e: judged by the complex step, largest relative error "
            f"{found['max_relative_error_complex_step']:.1e}"
        )
    lines.append(
        f"the training step {_agrees(report.training_holds)}: its update / learning rate is this "
        f"gradient to {found['training_step_norm_relative_error']:.1e} (norm, all parameters)"
    )
    if report.silent:
        lines.append(
            f"{', '.join(report.silent)}: the first entry's gradient is exactly 0 on these images "
            "(a black pixel, or a silent unit) and proves nothing, so the largest is shown as well"
        )
    return lines


def _agrees(holds: bool) -> str:
    return "[green]agrees[/green]" if holds else "[red]DOES NOT AGREE[/red]"
