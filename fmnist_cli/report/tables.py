"""The report's tables, from records to cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fmnist_cli.analysis.why.causes import Explanation
from fmnist_cli.epoch import Epoch
from fmnist_cli.formatting import percent, seconds
from fmnist_cli.registry import CheckRecord, RunRecord
from fmnist_cli.report.blocks import Section, run_anchor
from fmnist_cli.studies.columns import ending, limit_note, loss
from fmnist_cli.tables import Column, Table, Value, headings

if TYPE_CHECKING:
    from fmnist_cli.engine.mini_cnn import DerivativeCheck
    from fmnist_cli.engine.parameters import ParameterCount


def facts_table(caption: str, facts: Iterable[tuple[str, str]]) -> Table:
    """Names and values."""
    return Table(caption, headings("<What", "<Value"), tuple(facts))


def layers_table() -> Table:
    """The MLP's layers as they are written."""
    columns = headings("<Layer", "<Forward", "<Backward")
    rows = (
        ("linear", "z = x W + b", "dW = xᵀ G, db = sum of G's rows, dx = G Wᵀ"),
        ("ReLU", "h = max(0, z)", "dz = G where z > 0, else 0"),
        ("softmax, loss", "p = exp(z) / sum of exp(z), L = mean of -ln p of the label",
         "dz = (p - one-hot label) / N"),
    )  # fmt: skip
    notes = (
        "x (N, D): N images or hidden activations as rows; W (D, H), b (H). L is the loss, and dW "
        "stands for dL/dW. G is the derivative of L by the layer's output, which backpropagation "
        "hands down: dL/dz for the linear layer, dL/dh for the ReLU.",
        "The update of a weight w with momentum α and learning rate η, from v = 0: v ← α v + dw, "
        "then w ← w - η v. With α = 0 it is plain SGD.",
    )
    return Table("The layers, as they are computed", columns, rows, notes)


def entries_table(entries: Sequence[CheckRecord]) -> Table:
    """The entries of a gradient check; one that is 0 on both sides gives way to another of its
    parameter."""
    told = {c.figures["parameter"] for c in entries if not _is_zero(c)}
    silent = [c for c in entries if _is_zero(c) and c.figures["parameter"] in told]
    rows = []
    for check in entries:
        if check in silent:
            continue
        figures = check.figures
        kink = " (kink)" if figures["kink"] else ""
        rows.append(
            (
                check.name,
                f"{figures['backpropagation']:.9g}",
                f"{figures['numeric']:.9g}",
                f"{figures['relative_error']:.1e}",
                f"{figures['method']}{kink}",
            )
        )
    columns = headings("<Entry", "Backpropagation", "Numeric", "Relative error", "<Judged by")
    notes = [
        "Checked are the first entry of each parameter and, where that is 0, the largest; "
        "fmnist gradcheck --all checks every one."
    ]
    if silent:
        names = ", ".join(check.name for check in silent)
        notes.append(
            f"Not shown: {names}, 0 on both sides, for the pixel is 0 in all these images or the "
            "unit is never active."
        )
    return Table("Entries of the gradient", columns, tuple(rows), tuple(notes))


def _is_zero(check: CheckRecord) -> bool:
    return bool(check.figures["backpropagation"] == check.figures["numeric"] == 0)


def causes_table(explanation: Explanation) -> Table:
    """The causes of one effect, each with its test."""
    columns = (
        Column("supposed cause", numeric=False, wraps=True),
        *headings("<effect", "<in the test", "<share of the effect"),
    )
    rows, tests = [], {}
    for cause in explanation.causes:
        share: str = cause.outcome
        if cause.share is not None and share == "supported":
            share = percent(cause.share, 0)
            if cause.low is not None and cause.high is not None:
                share += f" ({100 * cause.low:.0f} to {100 * cause.high:.0f})"
        elif cause.share is not None and cause.likely:
            share = f"{percent(cause.share, 0)}, {cause.outcome}"
        elif cause.outcome == "not tested" and cause.result:
            share = "no result"
        rows.append((cause.title, cause.effect, cause.result, share))
        tests[cause.name, cause.counterfactual] = cause.refuted_by
    notes = [
        f"{name}. Test: {test}; {refuted} would have refuted it."
        for (name, test), refuted in tests.items()
    ]
    notes += [explanation.note] if explanation.note else []
    shown = [
        c.share for c in explanation.causes if c.share and (c in explanation.supported or c.likely)
    ]
    if len(shown) > 1:
        notes.append(
            "Each test stands by itself: the shares of different tests overlap, and need not add "
            "up to 100 %."
        )
    if any(share > 1.005 for share in shown):
        notes.append("Above 100 %: the test changed more than the whole effect.")
    if any(cause.low is not None for cause in explanation.supported):
        notes.append("In brackets: the share's 95 % interval.")
    return Table(f"Causes and tests: {explanation.question}", columns, tuple(rows), tuple(notes))


def parameters_table(counts: Sequence[ParameterCount]) -> Table:
    """Every layer with its shapes and parameters, and each model's sum."""
    rows: list[tuple[Value, ...]] = []
    for counted in counts:
        rows += [
            (
                counted.model,
                layer.operation,
                _shape(layer.input_shape),
                _shape(layer.output_shape),
                _thousands(layer.size_formula),
                _thousands(layer.formula) if layer.count else "",
                layer.count or "",
            )
            for layer in counted.layers
        ]
        rows.append((counted.model, "all layers", "", "", "", "", counted.total))
    columns = (
        Column("Model", numeric=False),
        Column("Layer", numeric=False),
        Column("In"),
        Column("Out"),
        Column("Output size", formula=True),
        Column("Formula", formula=True),
        Column("Parameters", show="{:,}".format),
    )
    return Table("Shapes, weights and biases, layer by layer", columns, tuple(rows))


def _thousands(formula: str) -> str:
    """``7744 x 10`` as ``7,744 x 10``."""
    return re.sub(r"\d{4,}", lambda number: f"{int(number[0]):,}", formula)


def _shape(shape: Sequence[int]) -> str:
    """``22 × 22 × 64``."""
    return " × ".join(f"{n:,}" for n in shape)


def derivative_checks_table(found: Sequence[DerivativeCheck]) -> Table:
    """The mini CNN's derivatives beside what checks them."""
    columns = (
        Column("derivative", numeric=False),
        Column("chain rule", show="{:.7g}".format),
        Column("numeric", show="{:.7g}".format),
        Column("loop's update", show="{:.7g}".format),
        Column("relative error", show="{:.1e}".format),
        Column("verdict", numeric=False),
    )
    rows = tuple(
        (
            check.name, check.analytic, check.numeric, check.update, check.relative_error,
            f"{'holds' if check.holds else 'DOES NOT HOLD'}{' (kink)' if check.kink else ''}",
        )
        for check in found
    )  # fmt: skip
    caption = f"Against differences of e = {found[0].e:g}, and against one update of the loop"
    return Table(caption, columns, rows)


def typeset(notation: str) -> str:
    """The notation of the mini CNN with its symbols: ``∂l/∂w₁ = -y σ(-y ŷ)``."""
    text = re.sub(r"\bd(l|y\^|[ao]\d)/d", r"∂\1/∂", notation)
    text = re.sub(r"(?<=[a-z])\d\b", lambda digit: chr(0x2080 + int(digit[0])), text)
    symbols = {"y^": "ŷ", "sigma": "σ", "eta": "η", " <- ": " ← ", " * ": " · "}
    for plain, symbol in symbols.items():
        text = text.replace(plain, symbol)
    return text


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """Every run that the report rests on, where its links lead."""
    columns = headings(
        *("Run", "<Command", "<Model", "Batch", "Rate", "Momentum", "Seed", "Best epoch"),
        *("Test accuracy", "Training time", "<Ended"),
    )
    rows = tuple(
        (
            str(run.id),
            run.command,
            f"{run.model} ({run.engine})",
            f"{run.batch:,}",
            f"{run.lr:g}",
            f"{run.momentum:g}",
            str(run.seed),
            f"{run.best_epoch} of {run.epochs_run}" if run.best_epoch else "-",
            percent(run.test_accuracy),
            seconds(run.train_seconds or None),
            ending(run),
        )
        for run in runs
    )
    anchors = tuple(run_anchor(run.id) for run in runs)
    return Table("Runs", columns, rows, limit_note(runs), anchors)


EPOCH_COLUMNS: Mapping[str, Column] = {  # by the name of the epoch's attribute
    "epoch": Column("epoch"),
    "updates": Column("updates", show="{:,}".format),
    "running_loss": Column("running loss", show=loss),
    "train_loss": Column("train loss", show=loss),
    "train_accuracy": Column("train accuracy", short="train acc", show=percent),
    "val_loss": Column("val loss", show=loss),
    "val_accuracy": Column("val accuracy", short="val acc", show=percent),
    "test_accuracy": Column("test accuracy", short="test acc", show=percent),
    "dead_units": Column("dead units", short="dead"),
    "train_seconds": Column("seconds", show="{:.3f}".format),
}


def epochs_table(curves: Sequence[tuple[int | None, Sequence[Epoch]]]) -> Table:
    """Every epoch's numbers, of each run by its id; None where one run needs no naming."""
    columns = dict(EPOCH_COLUMNS)
    if all(epoch.test_accuracy is None for _, epochs in curves for epoch in epochs):
        del columns["test_accuracy"]
    rows = [
        (run_id, *(getattr(epoch, name) for name in columns))
        for run_id, epochs in curves
        for epoch in epochs
    ]
    heads = [Column("run"), *columns.values()]
    if all(run_id is None for run_id, _ in curves):
        heads, rows = heads[1:], [row[1:] for row in rows]
    return Table("Epoch by epoch", tuple(heads), tuple(rows))


def times_table(sections: Sequence[Section], recorded: Mapping[int, float]) -> Table:
    """What the runs of each part took: ``recorded`` has each run's seconds, by its id."""
    columns = (
        Column("Part", numeric=False),
        Column("Runs"),
        Column("Recorded time", show=seconds),
    )
    spent = [
        (
            section.title,
            len(section.run_ids),
            sum(recorded[run_id] for run_id in section.run_ids) if section.run_ids else None,
        )
        for section in sections
    ]
    total = ("all, each run once", len(recorded), sum(recorded.values()))
    caption = "From the beginning of each run to its end, evaluations included"
    return Table(caption, columns, (*spent, total))


def environment_table(environment: Mapping[str, Any]) -> Table:
    """What the runs ran on."""
    packages = ", ".join(
        f"{name} {version}" for name, version in environment["packages"].items() if version
    )
    blas = ", ".join(
        f"{library['internal_api']} {library['version'] or ''} ({library['num_threads']} threads)"
        for library in environment["blas"]
    )
    git = environment["git"]
    facts = [
        ("Python", f"{environment['implementation']} {environment['python']}"),
        ("Packages", packages),
        ("BLAS and OpenMP", blas or "-"),
        (
            "System",
            f"{environment['system']} {environment['release']}, {environment['machine']}",
        ),
        ("Processor", f"{environment['cpu'] or '-'}, {environment['cpus_usable']} usable"),
        (
            "fmnist's commit",
            "installed, not a checkout"
            if git is None
            else f"{git['commit']}{' with changes' if git['dirty'] else ''}",
        ),
    ]
    return facts_table("What the newest of these runs ran on", facts)
