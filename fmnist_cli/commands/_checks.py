"""The gradient and magnitude checks, as `train` and `gradcheck` run, record and show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmnist_cli.commands._output import make_table

if TYPE_CHECKING:
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.gradients import Entry, GradientCheck, MagnitudeCheck, Selection
    from fmnist_cli.registry import Run

N_SHOWN = 40  # entries in the table; the JSON document has as many, and every kink


@dataclass(frozen=True)
class Shown:
    """An entry, its difference (which does not judge it at a kink), the training step's value."""

    entry: Entry
    difference: float
    training: float


def check_gradient(
    config: TrainConfig, train: Split, *, n: int, e: float, select: Selection
) -> GradientCheck:
    """Check the configured model's gradient on the first ``n`` training examples."""
    import numpy as np

    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.gradients import check_mlp, training_step_gradient
    from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
    from fmnist_cli.engine.numpy_mlp.layers import initial_weights
    from fmnist_cli.engine.seeding import weights_rng

    examples = Split(train.images[:n], train.labels[:n])
    weights = initial_weights(weights_rng(config.seed), hidden=config.hidden)

    def step(lr: float) -> tuple[dict[str, Any], dict[str, Any]]:
        mlp = NumPyMLP(examples, weights=weights, batch=n, lr=lr, momentum=0.0, dtype=np.float64)
        before = mlp.weights()
        mlp.train_epoch(np.arange(n))
        return before, mlp.weights()

    return check_mlp(
        weights,
        examples,
        training_gradient=training_step_gradient(step),
        e=e,
        select=select,
        rng=np.random.default_rng(config.seed),
    )


def gradient_document(check: GradientCheck) -> dict[str, Any]:
    """The check as plain values: a summary, the entries shown, and where every kink is."""
    import numpy as np

    return {
        "examples": check.n_examples,
        "e": check.e,
        "entries_checked": check.n_entries,
        "kinks": check.n_kinks,
        "coarse": check.n_coarse,
        "max_relative_error": check.worst_difference,
        "norm_relative_error": check.norm_difference,
        "max_relative_error_complex_step": check.worst_exact,
        "training_step_norm_relative_error": check.norm_training,
        "holds": check.holds,
        "entries": [
            {
                "parameter": row.entry.parameter,
                "index": list(row.entry.index),
                "backpropagation": row.entry.analytic,
                "numeric": row.entry.numeric,
                "difference": row.difference,
                "method": row.entry.method,
                "kink": row.entry.kink,
                "relative_error": row.entry.relative_error,
                "training_step": row.training,
            }
            for row in _shown(check)
        ],
        "kink_indices": {
            parameter.parameter: np.stack(parameter.indices, axis=1)[parameter.kink].tolist()
            for parameter in check.parameters
        },
    }


def magnitude_document(check: MagnitudeCheck) -> dict[str, Any]:
    """The check as plain values."""
    return {
        "examples_few": check.n_few,
        "examples_many": check.n_many,
        "l1_few": check.l1_few,
        "l1_many": check.l1_many,
        "ratio": check.ratio,
        "ratio_limit": check.limit,
        "holds": check.holds,
    }


def record_gradient(run: Run, check: GradientCheck) -> None:
    document = gradient_document(check)
    entries, _ = document.pop("entries"), document.pop("kink_indices")
    run.record_check("gradient", "summary", document, check.holds)
    for entry in entries:
        index = ",".join(map(str, entry["index"]))
        run.record_check("gradient", f"{entry['parameter']}[{index}]", entry, check.holds)


def show_gradient(out: Output, check: GradientCheck) -> None:
    """Print the entries, one a line, and below them what the whole check says."""
    table = make_table(
        "entry",
        ">backpropagation",
        ">numeric",
        ">relative error",
        ">training step",
        "judged by",
    )
    for row in _shown(check):
        entry = row.entry
        index = ", ".join(map(str, entry.index))
        reason = f" (kink; difference {row.difference:.3g})" if entry.kink else ""
        table.add_row(
            f"{entry.parameter}\\[{index}]",
            f"{entry.analytic:.9g}",
            f"{entry.numeric:.9g}",
            f"{entry.relative_error:.1e}",
            f"{row.training:.9g}",
            entry.method + reason,
        )
    out.section(
        f"Gradient check: first {check.n_examples} training images, e = {check.e:g}, float64",
        table,
        *_gradient_verdicts(check),
    )


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


def _shown(check: GradientCheck) -> list[Shown]:
    """At most ``N_SHOWN`` entries. Where there are more: of each parameter the worst, half of
    them kinks (the worst of which are those whose difference is the furthest off)."""
    from fmnist_cli.engine.gradients import relative_error

    shown = []
    for parameter in check.parameters:
        rows = [
            Shown(entry, float(difference), float(training))
            for entry, difference, training in zip(
                parameter.entries(), parameter.difference, parameter.training, strict=True
            )
        ]
        most = N_SHOWN // len(check.parameters)
        if len(rows) > most:
            rows.sort(key=lambda row: -relative_error(row.entry.analytic, row.difference))
            kinks = [row for row in rows if row.entry.kink][: most // 2]
            rows = [row for row in rows if not row.entry.kink][: most - len(kinks)] + kinks
        shown += rows
    return shown


def _gradient_verdicts(check: GradientCheck) -> list[str]:
    def verdict(holds: bool) -> str:
        return "[green]agrees[/green]" if holds else "[red]DOES NOT AGREE[/red]"

    lines = [
        f"backpropagation {verdict(check.backpropagation_holds)} with the differences: "
        f"{check.n_entries:,} entries, largest relative error {check.worst_difference:.1e}, "
        f"norm {check.norm_difference:.1e}"
    ]
    if check.n_kinks or check.n_coarse:
        lines.append(
            f"{check.n_kinks:,} straddle a kink of the ReLU and {check.n_coarse:,} are too small "
            f"for a difference at this e: judged by the complex step, largest relative error "
            f"{check.worst_exact:.1e}"
        )
    lines.append(
        f"the training step {verdict(check.training_holds)}: its update / learning rate is this "
        f"gradient to {check.norm_training:.1e} (norm, all parameters)"
    )
    if zeros := [p.parameter for p in check.parameters if p.analytic[0] == 0 and len(p) == 2]:
        lines.append(
            f"{', '.join(zeros)}: the first entry's gradient is exactly 0 on these images (a "
            "black pixel, or a silent unit) and proves nothing, so the largest is shown as well"
        )
    return lines
