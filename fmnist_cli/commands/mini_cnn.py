"""`fmnist mini-cnn`: four weights, and every step of the chain rule with its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._options import Common, typed, with_options
from fmnist_cli.commands._output import Output, make_facts, make_table
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import CheckFailed, UsageError, require
from fmnist_cli.formatting import percent

if TYPE_CHECKING:
    from fmnist_cli.engine.mini_cnn import Derivative, DerivativeCheck, Examples, RecordedRun
    from fmnist_cli.registry import Registry, Run
    from fmnist_cli.runner.listener import Listener

N_EXAMPLES, LR, STEPS = 200, 0.1, 2_000
MOST_STEPS = 10_000_000
_TRAINING = ("examples", "n", "lr", "steps", "seed")
MADE = "made from the seed"


@with_options()
def mini_cnn(
    context: typer.Context,
    common: Common,
    x: Annotated[
        tuple[float, float, float] | None,
        typer.Option("--x", help="The three inputs.", show_default="1 2 -1"),
    ] = None,
    y: Annotated[int, typer.Option("--y", help="The label, -1 or 1.")] = 1,
    w: Annotated[
        tuple[float, float] | None,
        typer.Option("--w", help="The filter (w1, w2).", show_default="0.5 0.25"),
    ] = None,
    v: Annotated[
        tuple[float, float] | None,
        typer.Option("--v", help="The linear layer (v1, v2).", show_default="1 -0.25"),
    ] = None,
    e: Annotated[float, typer.Option("--e", help="Step of the central difference.")] = 1e-3,
    train: Annotated[
        bool, typer.Option("--train", help="Train from these weights by SGD.")
    ] = False,
    examples: Annotated[
        Path | None,
        typer.Option("--data", help="CSV file x1,x2,x3,y to train on; else made from the seed."),
    ] = None,
    n: Annotated[int, typer.Option("--examples", help="How many examples to make.")] = N_EXAMPLES,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate.")] = LR,
    steps: Annotated[int, typer.Option("--steps", help="Gradient updates.")] = STEPS,
    seed: Annotated[int, typer.Option("--seed", help="Makes and picks the examples.")] = 42,
) -> None:
    """Work through the mini CNN: forward values, derivatives factor by factor, training.

    y^ = o1 v1 + o2 v2, o = max(0, a), a1 = x1 w1 + x2 w2, a2 = x2 w1 + x3 w2; the loss is ln(1 +
    exp(-y y^)). Prints each derivative as the product of its chain rule's factors, beside a central
    difference, and with --train the loss and the weights as they learn; all is recorded as a run.

    Exits 3 if a derivative does not hold.

    Examples:
      # the exercise as it is set
      fmnist mini-cnn
      # with the other label
      fmnist mini-cnn --x 1 2 -1 --y -1
      # 8,000 updates on examples made from the seed
      fmnist mini-cnn --train --steps 8000
    """
    from fmnist_cli.engine import mini_cnn as engine
    from fmnist_cli.registry import Registry

    _refuse_idle(typed(context), train)
    out = Output(common)
    x, w, v = x or engine.DEFAULT_X, w or engine.DEFAULT_W, v or engine.DEFAULT_V
    require(0 <= seed < 2**63, "seed must be between 0 and 2^63 - 1", seed)
    forward = engine.forward(x, w, v)
    derivatives = engine.gradients(x, y, w, v)
    checks = engine.check(x, y, w, v, e=e)
    loss = float(engine.loss(y, forward.y_hat))

    with Registry.open(common.db) as registry:
        data = load_examples(examples, n, seed) if train else None
        run, trained = record_exercise(
            registry, out, out.argv, checks, examples, data, w, v, lr=lr, steps=steps, seed=seed
        )

    values = {name: float(value) for name, value in asdict(forward).items()}
    out.document(
        "fmnist.mini-cnn/1",
        {
            "id": run.id,
            "x": x,
            "y": y,
            "w": w,
            "v": v,
            "forward": values,
            "loss": loss,
            "derivatives": [
                asdict(derivative) | check_document(check)
                for derivative, check in zip(derivatives, checks, strict=True)
            ],
            "holds": all(check.holds for check in checks),
            "training": asdict(trained) if trained else None,
        },
    )
    facts = make_facts()
    (x1, x2, x3), (w1, w2), (v1, v2) = x, w, v
    for label, formula, value in (
        ("a1", f"{x1:g} * {w1:g} + {x2:g} * {w2:g}", forward.a1),
        ("a2", f"{x2:g} * {w1:g} + {x3:g} * {w2:g}", forward.a2),
        ("o1", "max(0, a1)", forward.o1),
        ("o2", "max(0, a2)", forward.o2),
        ("y^", f"{forward.o1:g} * {v1:g} + {forward.o2:g} * {v2:g}", forward.y_hat),
        ("loss", "ln(1 + exp(-y y^))", loss),
    ):
        facts.add_row(label, f"{formula} = {value:.6g}")
    title = f"Forward pass: x = {_row(x)}, y = {y:+d}, w = {_row(w)}, v = {_row(v)}"
    out.section(title, facts)
    out.section("The chain rule", _chain_rule(derivatives))
    _show_checks(out, checks)
    if trained:
        title = "Training: a random example, forward, backward, update"
        out.section(title, _training_table(trained))
    _raise_unless_held(checks)


def _refuse_idle(given: Mapping[str, str], train: bool) -> None:
    """UsageError for an option that would change nothing."""
    idle = [flag for name, flag in given.items() if name in _TRAINING]
    if idle and not train:
        raise UsageError(
            "data, examples, lr, steps and seed are about the training. "
            f"Received: {' '.join(idle)} without --train."
        )
    if {"examples", "n"} <= given.keys():
        raise UsageError(
            f"data and examples exclude each other. Received: {given['examples']} {given['n']}."
        )


def check_mini_cnn(out: Output, db: str, *, e: float) -> None:
    """`gradcheck --model mini-cnn`: the four derivatives at the default values."""
    from fmnist_cli.engine import mini_cnn as engine
    from fmnist_cli.registry import Outcome, Registry

    checks = engine.check(
        engine.DEFAULT_X, engine.DEFAULT_Y, engine.DEFAULT_W, engine.DEFAULT_V, e=e
    )
    with Registry.open(db) as registry, registry.run(_spec("gradcheck", out.argv, None)) as run:
        _record(run, checks)
        run.finish(Outcome(stop_reason=None, train_seconds=0.0))
    out.document(
        "fmnist.gradcheck/1",
        {
            "id": run.id,
            "model": "mini-cnn",
            "e": e,
            "holds": all(check.holds for check in checks),
            "entries": [{"name": check.name, **check_document(check)} for check in checks],
        },
    )
    _show_checks(out, checks)
    _raise_unless_held(checks)


def record_exercise(
    registry: Registry,
    listener: Listener,
    argv: tuple[str, ...],
    checks: tuple[DerivativeCheck, ...],
    source: Path | None,
    data: Examples | None,
    w: Any,
    v: Any,
    *,
    lr: float,
    steps: int,
    seed: int,
) -> tuple[Run, RecordedRun | None]:
    """A run with the checks, and with the training where there is data for it."""
    from fmnist_cli.registry import Outcome

    settings: dict[str, Any] = {"lr": lr, "seed": seed}
    if data is not None:
        require(math.isfinite(lr) and lr > 0, "lr must be a finite number above 0", lr)
        require(1 <= steps <= MOST_STEPS, f"steps must be between 1 and {MOST_STEPS}", steps)
        settings |= {"train_size": len(data), "epochs": -(-steps // len(data))}
    with registry.run(_spec("mini-cnn", argv, source, **settings)) as run:
        _record(run, checks)
        trained = None
        if data is not None:
            trained = _train(run, listener, data, w, v, lr=lr, steps=steps, seed=seed)
        run.finish(Outcome(stop_reason="max_epochs" if trained else None, train_seconds=0.0))
    return run, trained


def load_examples(path: Path | None, n: int, seed: int) -> Examples:
    import numpy as np

    from fmnist_cli.engine import mini_cnn as engine

    if path is not None:
        return engine.read_examples(path)
    return engine.make_examples(np.random.default_rng([seed, 0]), n)


def _train(
    run: Run,
    listener: Listener,
    data: Examples,
    w: Any,
    v: Any,
    *,
    lr: float,
    steps: int,
    seed: int,
) -> RecordedRun:
    """Train, and record the state after every as many updates as there are examples."""
    import numpy as np

    from fmnist_cli.engine import mini_cnn as engine

    every = len(data)
    done = 0
    with listener.progress(steps, "mini-cnn", unit="update") as bar:

        def on_step(step: engine.Step) -> None:
            nonlocal done
            bar.update(step.step - done)
            done = step.step
            if step.step:
                run.record_epoch(
                    Epoch(
                        epoch=-(-step.step // every),
                        updates=step.step,
                        train_seconds=0.0,
                        eval_seconds=0.0,
                        running_loss=None,
                        train_loss=step.loss,
                        train_accuracy=step.accuracy,
                        val_loss=None,
                        val_accuracy=None,
                    )
                )

        return engine.train(
            data, w, v, lr=lr, steps=steps, rng=np.random.default_rng([seed, 1]), every=every,
            on_step=on_step,
        )  # fmt: skip


def _spec(command: str, argv: tuple[str, ...], path: Path | None, **settings: Any) -> Any:
    """The run of a mini CNN; what does not apply to it has the value that says so."""
    from fmnist_cli.registry import RunSpec

    defaults = asdict(TrainConfig()) | {"model": "mini-cnn", "engine": "numpy", "hidden": None}
    nothing = {"batch": 1, "lr": 0.0, "epochs": 1, "patience": None, "monitor": "none", "seed": 0}
    return RunSpec(
        command=command,
        config=defaults | nothing | {"train_size": 1, "val_size": 0} | settings,
        data_fingerprint="-",
        data_source=str(path) if path else MADE,
        argv=argv,
    )


def _record(run: Any, checks: tuple[DerivativeCheck, ...]) -> None:
    for check in checks:
        run.record_check("gradient", check.name, check_document(check), check.holds)


def check_document(check: DerivativeCheck) -> dict[str, Any]:
    judged = check.judged
    return {
        "backpropagation": judged.analytic,
        "difference": check.difference.numeric,
        "complex_step": check.complex_step.numeric,
        "kink": check.difference.kink,
        "method": judged.method,
        "relative_error": judged.relative_error,
        "holds": check.holds,
    }


def _raise_unless_held(checks: tuple[DerivativeCheck, ...]) -> None:
    wrong = [check.name for check in checks if not check.holds]
    if wrong:
        raise CheckFailed(f"the chain rule must agree with the differences. {wrong} do not.")


def _row(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"


def _chain_rule(derivatives: tuple[Derivative, ...]) -> Any:
    table = make_table("<derivative", "factors", "numbers", ">value")
    for derivative in derivatives:
        for i, term in enumerate(derivative.terms):
            table.add_row(
                derivative.name if i == 0 else "",
                ("" if i == 0 else "+ ") + " * ".join(factor.symbol for factor in term.factors),
                ("" if i == 0 else "+ ")
                + " * ".join(f"{factor.value:.5g}" for factor in term.factors),
                f"{term.value:.6g}" if len(derivative.terms) > 1 else f"{derivative.value:.6g}",
            )
        if len(derivative.terms) > 1:
            table.add_row("", "", "sum", f"{derivative.value:.6g}")
    return table


def _show_checks(out: Output, checks: tuple[DerivativeCheck, ...]) -> None:
    table = make_table(
        *("<derivative", ">chain rule", ">difference", ">complex step", ">relative error"),
        *("judged by", "verdict"),
    )
    for check in checks:
        judged = check.judged
        table.add_row(
            check.name,
            f"{judged.analytic:.9g}",
            f"{check.difference.numeric:.9g}",
            f"{check.complex_step.numeric:.9g}",
            f"{judged.relative_error:.1e}",
            judged.method + (" (kink)" if check.difference.kink else ""),
            "[green]holds[/green]" if check.holds else "[red]DOES NOT HOLD[/red]",
        )
    out.section(f"Against differences, e = {checks[0].difference.e:g}", table)


def _training_table(trained: RecordedRun, most: int = 12) -> Any:
    history = trained.history
    step = max(1, (len(history) - 1) // (most - 1))
    shown = [*history[:-1:step], history[-1]]
    table = make_table(">updates", ">loss (nats)", ">accuracy", ">w1", ">w2", ">v1", ">v2")
    for state in shown:
        weights = [f"{value:.4f}" for value in (*state.w, *state.v)]
        table.add_row(f"{state.step:,}", f"{state.loss:.5f}", percent(state.accuracy), *weights)
    return table
