"""The gradient and magnitude checks: made, and recorded in a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist_cli.engine import gradients
from fmnist_cli.engine.backend import Arrays, Split
from fmnist_cli.engine.config import MAGNITUDE_IMAGES, TrainConfig
from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
from fmnist_cli.engine.numpy_mlp.layers import initial_weights
from fmnist_cli.engine.seeding import weights_rng
from fmnist_cli.errors import CheckFailed, require
from fmnist_cli.registry import Outcome, Run
from fmnist_cli.runner.run import Session, run_spec

if TYPE_CHECKING:
    from fmnist_cli.engine.keras_models.gradcheck import KerasGradientCheck

N_REPORTED = 40  # entries of a report; its document has as many, and every kink


@dataclass(frozen=True)
class GradientReport:
    """A gradient check on either engine.

    Attributes
    ----------
    e : float
        Step of the central difference.
    holds, backpropagation_holds, training_holds : bool
        Whether all holds; whether backpropagation agrees with the differences; whether the update
        of one training step is this gradient.
    summary : dict
        The whole check in numbers.
    rows : at most about ``N_REPORTED`` entries
    parameters : (name, entries, kinks, largest relative error) of each parameter
    kinks : (parameter, index) of every entry at a kink
    silent : list of str
        Parameters whose first entry's gradient is exactly 0, which proves nothing.
    """

    n_examples: int
    e: float
    holds: bool
    backpropagation_holds: bool
    training_holds: bool
    summary: dict[str, Any]
    rows: list[gradients.Entry]
    parameters: list[tuple[str, int, int, float]]
    kinks: list[tuple[str, tuple[int, ...]]]
    silent: list[str]

    def document(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "examples": self.n_examples,
            "e": self.e,
            **self.summary,
            "holds": self.holds,
            "entries": [_entry_document(entry) for entry in self.rows],
            "kink_indices": [
                {"parameter": parameter, "index": list(index)} for parameter, index in self.kinks
            ],
        }

    def statements(self) -> list[str]:
        """What the whole check says, line by line."""
        found = self.summary
        judged = found["entries_checked"] - found.get("unresolved", 0)
        lines = [
            f"backpropagation {_agrees(self.backpropagation_holds)} with the differences: "
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
            has_pools = any(entry.parameter == "conv1/kernel" for entry in self.rows)
            corners = "a ReLU or a max-pool" if has_pools else "the ReLU"
            lines.append(
                f"{kinks:,} straddle a kink of {corners} and {coarse:,} are too small "
                f"for a difference at this e: judged by the complex step, largest relative error "
                f"{found['max_relative_error_complex_step']:.1e}"
            )
        lines.append(
            f"the training step {_agrees(self.training_holds)}: its update / learning rate is this "
            f"gradient to {found['training_step_norm_relative_error']:.1e} (norm, all parameters)"
        )
        if self.silent:
            lines.append(
                f"{', '.join(self.silent)}: the first entry's gradient is exactly 0 on these "
                "images (a black pixel, or a silent unit) and proves nothing, so the largest is "
                "shown as well"
            )
        return lines

    def record(self, run: Run) -> None:
        """Put the summary and every entry shown into the run."""
        figures = {"examples": self.n_examples, "e": self.e, **self.summary}
        run.record_check("gradient", "summary", figures, self.holds)
        for entry in self.rows:
            index = ",".join(map(str, entry.index))
            name = f"{entry.parameter}[{index}]"
            run.record_check("gradient", name, _entry_document(entry), self.holds)


def run_gradient_check(
    session: Session, config: TrainConfig, *, n: int, e: float, select: gradients.Selection
) -> tuple[Run, GradientReport]:
    """Check the gradient inside a run of its own, which records it."""
    with session.registry.run(run_spec(session, "gradcheck", asdict(config))) as run:
        report = check_gradient(config, session.dataset.train, n=n, e=e, select=select)
        report.record(run)
        run.finish(Outcome(stop_reason=None, train_seconds=0.0))
    return run, report


def record_checks(
    run: Run,
    config: TrainConfig,
    train: Split,
    *,
    gradient: bool = True,
    magnitude: bool = True,
    magnitude_images: tuple[int, int] | None = None,
) -> tuple[GradientReport | None, gradients.MagnitudeCheck | None]:
    """Make the checks that a training is preceded by, and record them in its run.

    Parameters
    ----------
    magnitude_images
        The few images and the many, from the first on; the usual ones if not given.
    """
    report = size = None
    if gradient:
        report = check_gradient(config, train, n=config.batch, e=gradients.E, select="first")
        report.record(run)
    if magnitude:
        weights = initial_weights(weights_rng(config.weights_seed), hidden=config.hidden)
        few, many = magnitude_images or MAGNITUDE_IMAGES
        size = gradients.check_magnitude(weights, train, n_few=few, n_many=many)
        figures = magnitude_document(size) | _predicted(weights, train, few, many)
        run.record_check("magnitude", "W1", figures, size.holds)
    return report, size


def require_checks(
    run: Run, gradient: GradientReport | None, magnitude: gradients.MagnitudeCheck | None
) -> None:
    """Raise CheckFailed, which names what does not hold, unless all that was checked does."""
    checks = {"gradient": gradient, "magnitude": magnitude}
    failed = [name for name, check in checks.items() if check is not None and not check.holds]
    if failed:
        raise CheckFailed(
            f"the {' and the '.join(failed)} check must hold before training; it did not, so "
            "nothing was trained.",
            remedy="show_run",
            run_id=run.id,
        )


def check_gradient(
    config: TrainConfig, train: Split, *, n: int, e: float, select: gradients.Selection
) -> GradientReport:
    """Check the configured model's gradient on the first ``n`` training examples."""
    require(n >= 1, "n must be at least 1", n)
    examples = Split(train.images[:n], train.labels[:n])
    rng = np.random.default_rng(config.seed)
    if config.engine == "keras":
        from fmnist_cli.engine.keras_models.gradcheck import check_keras_gradients

        return _keras_report(check_keras_gradients(config, examples, e=e, select=select, rng=rng))

    drawn = weights_rng(config.weights_seed)
    if config.model != "mlp":
        from fmnist_cli.engine.numpy_cnn import gradcheck, layers

        of_cnn = layers.initial_weights(drawn, model=config.model, head=config.head)
        return _numpy_report(
            gradcheck.check_cnn(of_cnn, examples, head=config.head, e=e, select=select, rng=rng)
        )

    weights = initial_weights(drawn, hidden=config.hidden)

    def step(lr: float) -> tuple[dict[str, Any], dict[str, Any]]:
        mlp = NumPyMLP(examples, weights=weights, batch=n, lr=lr, momentum=0.0, dtype=np.float64)
        before = mlp.weights()
        mlp.train_epoch(np.arange(n))
        return before, mlp.weights()

    training = gradients.training_step_gradient(step)
    check = gradients.check_mlp(
        weights, examples, training_gradient=training, e=e, select=select, rng=rng
    )
    return _numpy_report(check)


def _predicted(weights: Arrays, train: Split, few: int, many: int) -> dict[str, float]:
    """The ratio that the noise of the single images' gradients makes a mean show; of one image
    there is no noise."""
    from fmnist_cli.engine import noise_scale

    if many < 2:
        return {}
    noise = noise_scale.measure(weights, train, n_examples=many)
    return {"ratio_predicted": noise_scale.predicted_ratio(noise, few, many)}


def _agrees(holds: bool) -> str:
    return "agrees" if holds else "DOES NOT AGREE"


def magnitude_document(check: gradients.MagnitudeCheck) -> dict[str, Any]:
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


def _entry_document(entry: gradients.Entry) -> dict[str, Any]:
    return {
        "parameter": entry.parameter,
        "index": list(entry.index),
        "backpropagation": entry.analytic,
        "numeric": entry.numeric,
        "difference": entry.difference,
        "method": entry.method,
        "kink": entry.kink,
        "step": entry.e,
        "relative_error": entry.relative_error,
        "training_step": entry.training,
    }


def _numpy_report(check: gradients.GradientCheck) -> GradientReport:
    summary = {
        "entries_checked": check.n_entries,
        "kinks": check.n_kinks,
        "coarse": check.n_coarse,
        "max_relative_error": check.worst_difference,
        "norm_relative_error": check.norm_difference,
        "max_relative_error_complex_step": check.worst_exact,
        "training_step_norm_relative_error": check.norm_training,
    }
    silent = [p.parameter for p in check.parameters if p.analytic[0] == 0 and len(p) == 2]
    return _report(check, summary, silent)


def _keras_report(check: KerasGradientCheck) -> GradientReport:
    summary = {
        "entries_checked": len(check.entries),
        "kinks": check.n_kinks,
        "unresolved": len(check.entries) - len(check.judged),
        "max_relative_error": check.worst,
        "norm_relative_error": check.norm,
        "training_step_norm_relative_error": check.norm_training,
    }
    return _report(check, summary, silent=[])


def _report(
    check: gradients.GradientCheck | KerasGradientCheck, summary: dict[str, Any], silent: list[str]
) -> GradientReport:
    alike = ("n_examples", "e", "holds", "backpropagation_holds", "training_holds")
    entries = check.entries
    by_parameter: dict[str, list[gradients.Entry]] = {}
    for entry in entries:
        by_parameter.setdefault(entry.parameter, []).append(entry)
    most = N_REPORTED // len(by_parameter)
    return GradientReport(
        **{name: getattr(check, name) for name in alike},
        summary=summary,
        rows=[entry for found in by_parameter.values() for entry in _worst(found, most)],
        parameters=[_totals(found) for found in by_parameter.values()],
        kinks=[(entry.parameter, entry.index) for entry in entries if entry.kink],
        silent=silent,
    )


def _totals(entries: list[gradients.Entry]) -> tuple[str, int, int, float]:
    """Of one parameter's entries: its name, how many they are, how many kinks, the worst error."""
    errors = [entry.relative_error for entry in entries]
    kinks = sum(entry.kink for entry in entries)
    return entries[0].parameter, len(entries), kinks, max(errors)


def _worst(entries: list[gradients.Entry], most: int) -> list[gradients.Entry]:
    """All, or where there are more the worst, half of them kinks: those whose difference is the
    furthest off, since that is what a kink does."""
    if len(entries) <= most:
        return entries

    def error(entry: gradients.Entry) -> float:
        if entry.difference is None:
            return entry.relative_error
        return gradients.relative_error(entry.analytic, entry.difference)

    entries = sorted(entries, key=lambda entry: -error(entry))
    kinks = [entry for entry in entries if entry.kink][: most // 2]
    return [entry for entry in entries if not entry.kink][: most - len(kinks)] + kinks
