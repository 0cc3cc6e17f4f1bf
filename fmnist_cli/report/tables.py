"""The report's tables, from records to cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import MODELS
from fmnist_cli.formatting import format_count, mean_and_spread, percent, seconds
from fmnist_cli.report import Column, Section, Table, run_anchor

if TYPE_CHECKING:
    from fmnist_cli.analysis import PatienceOutcome, Score
    from fmnist_cli.analysis.result import StudyResult
    from fmnist_cli.engine.mini_cnn import Derivative, DerivativeCheck, Forward
    from fmnist_cli.engine.parameters import ParameterCount
    from fmnist_cli.registry import CheckRecord, RunRecord


def facts_table(caption: str, facts: Iterable[tuple[str, str]]) -> Table:
    """Names and values."""
    columns = (Column("What", numeric=False), Column("Value", numeric=False))
    return Table(caption, columns, tuple(facts))


def entries_table(entries: Sequence[CheckRecord]) -> Table:
    """The entries of a gradient check."""
    rows = []
    for check in entries:
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
    columns = (
        Column("Entry", numeric=False),
        Column("Backpropagation"),
        Column("Numeric"),
        Column("Relative error"),
        Column("Judged by", numeric=False),
    )
    return Table("Entries of the gradient", columns, tuple(rows))


def sweep_table(result: StudyResult) -> Table:
    """What each batch size took and reached."""
    rows = []
    for runs in result.by_label().values():
        records = [run.run for run in runs]
        per_epoch = [(r.train_seconds or 0.0) / max(r.epochs_run, 1) for r in records]
        rows.append(
            (
                f"{records[0].batch:,}",
                mean_and_spread([r.best_epoch for r in records], format_count),
                mean_and_spread([r.updates_to_best for r in records], lambda v: f"{v:,.0f}"),
                mean_and_spread([run.seconds_to_best for run in runs], lambda v: f"{v:.3g}"),
                mean_and_spread(per_epoch, lambda v: f"{v:.3f}"),
                mean_and_spread([r.best_val_accuracy for r in records], percent),
                mean_and_spread([r.test_accuracy for r in records], percent),
                ", ".join(sorted({ended(r) for r in records})),
            )
        )
    columns = (
        Column("Batch"),
        Column("Best epoch"),
        Column("Updates to best"),
        Column("Seconds to best"),
        Column("Seconds an epoch"),
        Column("Validation accuracy"),
        Column("Test accuracy"),
        Column("Ended by", numeric=False),
    )
    return Table(f"Study {result.study.id}: batch sizes", columns, tuple(rows))


def stops_table(result: StudyResult, kept: Sequence[PatienceOutcome]) -> Table:
    """Where each patience stops, and what that costs."""
    several = len(result.runs) > 1
    columns = (
        Column("Patience"),
        *((Column("Seed"),) if several else ()),
        Column("Stops after epoch"),
        Column("Keeps epoch"),
        Column("Its test accuracy"),
        Column("Best epoch of all"),
        Column("Its test accuracy"),
        Column("Cost in points"),
    )
    rows = tuple(
        (
            str(one.patience),
            *((str(one.seed),) if several else ()),
            str(one.stopped_after or "none"),
            str(one.best_epoch),
            percent(one.test_accuracy),
            str(one.curve_best_epoch),
            percent(one.curve_test_accuracy),
            f"{100 * one.cost:+.2f}",
        )
        for one in kept
    )
    return Table(f"Study {result.study.id}: what each patience keeps", columns, rows)


def momentum_table(result: StudyResult) -> Table:
    """Where each momentum ends, and the best it passes."""

    def loss(value: float) -> str:
        return f"{value:.4f}"

    rows = []
    for runs in result.by_label().values():
        last = [run.epochs[-1] for run in runs if run.epochs]
        best = [
            max((e.test_accuracy for e in run.epochs if e.test_accuracy is not None), default=None)
            for run in runs
        ]
        rows.append(
            (
                f"{runs[0].run.momentum:.12g}",
                ", ".join(sorted({str(len(run.epochs)) for run in runs})),
                mean_and_spread([e.running_loss for e in last], loss),
                mean_and_spread([e.train_loss for e in last], loss),
                mean_and_spread([e.test_accuracy for e in last], percent),
                mean_and_spread(best, percent),
            )
        )
    columns = (
        Column("Momentum"),
        Column("Epochs"),
        Column("Last running loss"),
        Column("Last training loss"),
        Column("Last test accuracy"),
        Column("Best test accuracy"),
    )
    return Table(f"Study {result.study.id}: momentum", columns, tuple(rows))


def parameters_table(counts: Sequence[ParameterCount]) -> Table:
    """Every layer that has parameters, and each model's sum."""
    rows: list[tuple[str, ...]] = []
    for counted in counts:
        rows += [
            (counted.model, layer.operation, layer.formula, f"{layer.count:,}")
            for layer in counted.layers
            if layer.count
        ]
        rows.append((counted.model, "all layers", "", f"{counted.total:,}"))
    columns = (
        Column("Model", numeric=False),
        Column("Layer", numeric=False),
        Column("Formula"),
        Column("Parameters"),
    )
    return Table("Weights and biases, layer by layer", columns, tuple(rows))


def scores_table(result: StudyResult, scores: Sequence[Score]) -> Table:
    """Every model's accuracy on every test set."""
    from fmnist_cli.engine.shifts import SHIFTED_SETS

    rows = []
    for model in (name for name in MODELS if any(score.model == name for score in scores)):
        cells = [
            [s.accuracy for s in scores if (s.model, s.set_name) == (model, shifted.name)]
            for shifted in SHIFTED_SETS
        ]
        rows.append((model, *(mean_and_spread(values, percent) for values in cells)))
    titles = [shifted.title for shifted in SHIFTED_SETS]
    columns = (
        Column("Model", numeric=False),
        *(Column(title[0].upper() + title[1:]) for title in titles),
    )
    caption = f"Study {result.study.id}: accuracy on the test set and its shifted copies"
    return Table(caption, columns, tuple(rows))


def forward_table(forward: Forward, loss: float) -> Table:
    """The mini CNN's forward pass at its default values."""
    from fmnist_cli.engine.mini_cnn import DEFAULT_V, DEFAULT_W, DEFAULT_X, DEFAULT_Y

    (x1, x2, x3), (w1, w2), (v1, v2) = DEFAULT_X, DEFAULT_W, DEFAULT_V
    steps = (
        ("a1", f"{x1:g} · {w1:g} + {x2:g} · {w2:g}", forward.a1),
        ("a2", f"{x2:g} · {w1:g} + {x3:g} · {w2:g}", forward.a2),
        ("o1", "max(0, a1)", forward.o1),
        ("o2", "max(0, a2)", forward.o2),
        ("y^", f"{forward.o1:g} · {v1:g} + {forward.o2:g} · {v2:g}", forward.y_hat),
        ("loss", "ln(1 + exp(-y y^))", loss),
    )
    columns = (Column("Value", numeric=False), Column("Formula", numeric=False), Column("Result"))
    return Table(
        f"Forward pass for x = ({x1:g}, {x2:g}, {x3:g}), y = {DEFAULT_Y:+d}",
        columns,
        tuple((name, formula, f"{float(value):.6g}") for name, formula, value in steps),
    )


def chain_rule_table(derivatives: Sequence[Derivative], found: Sequence[DerivativeCheck]) -> Table:
    """Each derivative as the product of its factors, beside what checks it."""
    rows = []
    for derivative, check in zip(derivatives, found, strict=True):
        symbols = [" · ".join(f.symbol for f in term.factors) for term in derivative.terms]
        numbers = [" · ".join(f"{f.value:.5g}" for f in term.factors) for term in derivative.terms]
        rows.append(
            (
                derivative.name,
                " + ".join(symbols),
                " + ".join(numbers),
                f"{derivative.value:.6g}",
                f"{check.judged.numeric:.6g}",
                f"{check.judged.relative_error:.1e}",
            )
        )
    columns = (
        Column("Derivative", numeric=False),
        Column("Factors", numeric=False),
        Column("Numbers", numeric=False),
        Column("Value"),
        Column("Numeric"),
        Column("Relative error"),
    )
    return Table("The chain rule, factor by factor", columns, tuple(rows))


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """Every run that the report rests on, where its links lead."""
    columns = (
        Column("Run"),
        Column("Command", numeric=False),
        Column("Model", numeric=False),
        Column("Batch"),
        Column("Rate"),
        Column("Momentum"),
        Column("Seed"),
        Column("Best epoch"),
        Column("Test accuracy"),
        Column("Training time"),
        Column("Ended by", numeric=False),
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
            ended(run),
        )
        for run in runs
    )
    anchors = tuple(run_anchor(run.id) for run in runs)
    return Table("Every run of this report", columns, rows, anchors)


def times_table(sections: Sequence[Section], recorded: Mapping[int, float]) -> Table:
    """What the runs of each part took, as they are recorded.

    Parameters
    ----------
    recorded : mapping
        Each run's seconds from its beginning to its end, by id.
    """
    rows = []
    for section in sections:
        spent = sum(recorded[run_id] for run_id in section.run_ids)
        runs = str(len(section.run_ids))
        rows.append((section.title, runs, seconds(spent) if section.run_ids else "-"))
    total = sum(recorded.values())
    rows.append(("all, each run once", str(len(recorded)), seconds(total)))
    columns = (Column("Part", numeric=False), Column("Runs"), Column("Recorded time"))
    return Table("From the beginning of each run to its end, evaluations included", columns,
                 tuple(rows))  # fmt: skip


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


def ended(run: RunRecord) -> str:
    """Why a run ended, in a word or two."""
    if run.still_improving:
        return "limit, still improving"
    return {"max_epochs": "limit"}.get(run.stop_reason or "", run.stop_reason or "-")
