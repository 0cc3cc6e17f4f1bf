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
    from fmnist_cli.engine.keras_models.gradcheck import KerasGradientCheck
    from fmnist_cli.registry import Run

N_SHOWN = 40  # entries in the table; the JSON document has as many, and every kink


@dataclass(frozen=True)
class Shown:
    """An entry and what stands beside it.

    Attributes
    ----------
    difference, training : float or None
        The central difference at the step that was asked for (which does not judge the entry at
        a kink), and the gradient that one training step used; None where not kept by entry.
    """

    entry: Entry
    difference: float | None = None
    training: float | None = None


@dataclass(frozen=True)
class GradientReport:
    """A gradient check on either engine, ready to be recorded and shown.

    Attributes
    ----------
    summary : dict
        The whole check in numbers.
    rows : at most about ``N_SHOWN`` entries
    kinks : (parameter, index) of every entry at a kink
    verdicts : what to say below the table, line by line
    """

    n_examples: int
    e: float
    holds: bool
    summary: dict[str, Any]
    rows: list[Shown]
    kinks: list[tuple[str, tuple[int, ...]]]
    verdicts: list[str]

    def document(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "examples": self.n_examples,
            "e": self.e,
            **self.summary,
            "holds": self.holds,
            "entries": [_row_document(row) for row in self.rows],
            "kink_indices": [
                {"parameter": parameter, "index": list(index)} for parameter, index in self.kinks
            ],
        }

    def record(self, run: Run) -> None:
        """Put the summary and every entry shown into the run."""
        figures = {"examples": self.n_examples, "e": self.e, **self.summary}
        run.record_check("gradient", "summary", figures, self.holds)
        for row in self.rows:
            document = _row_document(row)
            index = ",".join(map(str, row.entry.index))
            name = f"{row.entry.parameter}[{index}]"
            run.record_check("gradient", name, document, self.holds)

    def show(self, out: Output) -> None:
        """Print the entries, one a line, and below them what the whole check says."""
        with_training = any(row.training is not None for row in self.rows)
        table = make_table(
            *("<entry", ">backpropagation", ">numeric", ">relative error"),
            *([">training step"] if with_training else []),
            "<judged by",
        )
        for row in self.rows:
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
        title = f"first {self.n_examples} training images, e = {self.e:g}, float64"
        out.section(f"Gradient check: {title}", table, *self.verdicts)


def check_gradient(
    config: TrainConfig, train: Split, *, n: int, e: float, select: Selection
) -> GradientReport:
    """Check the configured model's gradient on the first ``n`` training examples."""
    import numpy as np

    from fmnist_cli.engine.backend import Split

    examples = Split(train.images[:n], train.labels[:n])
    rng = np.random.default_rng(config.seed)
    if config.engine == "keras":
        from fmnist_cli.engine.keras_models.gradcheck import check_keras_gradients

        return _keras_report(check_keras_gradients(config, examples, e=e, select=select, rng=rng))

    if config.model != "mlp":
        from fmnist_cli.engine.numpy_cnn.gradcheck import check_initial_cnn

        return _numpy_report(check_initial_cnn(config, examples, e=e, select=select, rng=rng))

    from fmnist_cli.engine.gradients import check_mlp, training_step_gradient
    from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
    from fmnist_cli.engine.numpy_mlp.layers import initial_weights
    from fmnist_cli.engine.seeding import weights_rng

    weights = initial_weights(weights_rng(config.seed), hidden=config.hidden)

    def step(lr: float) -> tuple[dict[str, Any], dict[str, Any]]:
        mlp = NumPyMLP(examples, weights=weights, batch=n, lr=lr, momentum=0.0, dtype=np.float64)
        before = mlp.weights()
        mlp.train_epoch(np.arange(n))
        return before, mlp.weights()

    training = training_step_gradient(step)
    check = check_mlp(weights, examples, training_gradient=training, e=e, select=select, rng=rng)
    return _numpy_report(check)


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


def _row_document(row: Shown) -> dict[str, Any]:
    return {
        "parameter": row.entry.parameter,
        "index": list(row.entry.index),
        "backpropagation": row.entry.analytic,
        "numeric": row.entry.numeric,
        "difference": row.difference,
        "method": row.entry.method,
        "kink": row.entry.kink,
        "step": row.entry.e,
        "relative_error": row.entry.relative_error,
        "training_step": row.training,
    }


def _numpy_report(check: GradientCheck) -> GradientReport:
    rows: list[Shown] = []
    kinks: list[tuple[str, tuple[int, ...]]] = []
    for parameter in check.parameters:
        found = [
            Shown(entry, float(difference), float(training))
            for entry, difference, training in zip(
                parameter.entries(), parameter.difference, parameter.training, strict=True
            )
        ]
        kinks += [(row.entry.parameter, row.entry.index) for row in found if row.entry.kink]
        rows += _worst(found, N_SHOWN // len(check.parameters))
    verdicts = [
        f"backpropagation {_agrees(check.backpropagation_holds)} with the differences: "
        f"{check.n_entries:,} entries, largest relative error {check.worst_difference:.1e}, "
        f"norm {check.norm_difference:.1e}"
    ]
    if check.n_kinks or check.n_coarse:
        has_pools = any(parameter.parameter == "conv1/kernel" for parameter in check.parameters)
        corners = "a ReLU or a max-pool" if has_pools else "the ReLU"
        verdicts.append(
            f"{check.n_kinks:,} straddle a kink of {corners} and {check.n_coarse:,} are too small "
            f"for a difference at this e: judged by the complex step, largest relative error "
            f"{check.worst_exact:.1e}"
        )
    verdicts.append(_training_verdict(check.training_holds, check.norm_training))
    if zeros := [p.parameter for p in check.parameters if p.analytic[0] == 0 and len(p) == 2]:
        verdicts.append(_proves_nothing(zeros))
    return GradientReport(
        n_examples=check.n_examples,
        e=check.e,
        holds=check.holds,
        summary={
            "entries_checked": check.n_entries,
            "kinks": check.n_kinks,
            "coarse": check.n_coarse,
            "max_relative_error": check.worst_difference,
            "norm_relative_error": check.norm_difference,
            "max_relative_error_complex_step": check.worst_exact,
            "training_step_norm_relative_error": check.norm_training,
        },
        rows=rows,
        kinks=kinks,
        verdicts=verdicts,
    )


def _keras_report(check: KerasGradientCheck) -> GradientReport:
    parameters = list(dict.fromkeys(entry.parameter for entry in check.entries))
    rows: list[Shown] = []
    for parameter in parameters:
        found = [Shown(entry) for entry in check.entries if entry.parameter == parameter]
        rows += _worst(found, N_SHOWN // len(parameters))
    unresolved = len(check.entries) - len(check.judged)
    verdicts = [
        f"backpropagation {_agrees(check.backpropagation_holds)} with the differences: "
        f"{len(check.judged):,} entries, largest relative error {check.worst:.1e}, "
        f"norm {check.norm:.1e}"
    ]
    if check.n_kinks:
        verdicts.append(
            f"{check.n_kinks:,} straddle a kink of a ReLU or a max-pool at this e: judged by a "
            f"smaller difference that stays on one side; {unresolved:,} have none and are not "
            "judged"
        )
    verdicts.append(_training_verdict(check.training_holds, check.norm_training))
    return GradientReport(
        n_examples=check.n_examples,
        e=check.e,
        holds=check.holds,
        summary={
            "entries_checked": len(check.entries),
            "kinks": check.n_kinks,
            "unresolved": unresolved,
            "max_relative_error": check.worst,
            "norm_relative_error": check.norm,
            "training_step_norm_relative_error": check.norm_training,
        },
        rows=rows,
        kinks=[(entry.parameter, entry.index) for entry in check.entries if entry.kink],
        verdicts=verdicts,
    )


def _worst(rows: list[Shown], most: int) -> list[Shown]:
    """All, or where there are more the worst, half of them kinks: those whose difference is the
    furthest off, since that is what a kink does."""
    from fmnist_cli.engine.gradients import relative_error

    if len(rows) <= most:
        return rows

    def error(row: Shown) -> float:
        if row.difference is None:
            return row.entry.relative_error
        return relative_error(row.entry.analytic, row.difference)

    rows = sorted(rows, key=lambda row: -error(row))
    kinks = [row for row in rows if row.entry.kink][: most // 2]
    return [row for row in rows if not row.entry.kink][: most - len(kinks)] + kinks


def _agrees(holds: bool) -> str:
    return "[green]agrees[/green]" if holds else "[red]DOES NOT AGREE[/red]"


def _training_verdict(holds: bool, norm: float) -> str:
    return (
        f"the training step {_agrees(holds)}: its update / learning rate is this gradient to "
        f"{norm:.1e} (norm, all parameters)"
    )


def _proves_nothing(parameters: list[str]) -> str:
    return (
        f"{', '.join(parameters)}: the first entry's gradient is exactly 0 on these images (a "
        "black pixel, or a silent unit) and proves nothing, so the largest is shown as well"
    )
