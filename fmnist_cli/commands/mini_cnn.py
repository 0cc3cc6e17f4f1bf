"""`fmnist mini-cnn`: four weights, every step of the chain rule, and the loop that trains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._data import open_registry
from fmnist_cli.commands._options import typed, with_options
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.commands._study import show_tables
from fmnist_cli.errors import CheckFailed, Diverged, require
from fmnist_cli.formatting import percent
from fmnist_cli.runner.mini_cnn import Training, check_document, record_exercise, said_of_examples

if TYPE_CHECKING:
    from fmnist_cli.engine.mini_cnn import DerivativeCheck, MiniCNNResult

MOST_ROWS = 12  # of the table of a training
_TRAINING = ("examples", "n", "lr", "steps", "seed")


@with_options()
def mini_cnn(
    context: typer.Context,
    out: Output,
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
    n: Annotated[int, typer.Option("--examples", help="How many examples to make.")] = Training.n,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate.")] = Training.lr,
    steps: Annotated[int, typer.Option("--steps", help="Gradient updates.")] = Training.steps,
    seed: Annotated[
        int, typer.Option("--seed", help="Makes and picks the examples.")
    ] = Training.seed,
) -> None:
    """Work through the mini CNN: forward values, derivation, algorithm, training.

    y^ = o1 v1 + o2 v2, o = max(0, a), a1 = x1 w1 + x2 w2, a2 = x2 w1 + x3 w2; the loss is ln(1 +
    exp(-y y^)). Prints the derivation of the four derivatives by symbols and with the numbers put
    in, their check by differences, backpropagation as pseudo-code and as the loop that runs, and
    with --train the loss and the weights as they learn; all is recorded as a run.

    Exits 3 if a derivative does not hold, 4 if the training diverges.

    Examples:
      # the exercise as it is set
      fmnist mini-cnn
      # with the other label
      fmnist mini-cnn --x 1 2 -1 --y -1
      # 8,000 updates on examples made from the seed
      fmnist mini-cnn --train --steps 8000
    """
    from fmnist_cli.engine import mini_cnn as engine
    from fmnist_cli.engine.mini_cnn_examples import read_examples
    from fmnist_cli.report.tables import derivative_checks_table

    given = typed(context)
    idle = " ".join(flag for name, flag in given.items() if name in _TRAINING)
    must = "--data, --examples, --lr, --steps and --seed are about the training"
    require(train or not idle, must, f"{idle} without --train")
    both = f"{given.get('examples')} {given.get('n')}"
    must = "--data and --examples exclude each other"
    require(not {"examples", "n"} <= given.keys(), must, both)
    numbers = {"x": x, "y": y, "w": w, "v": v}
    exercise = engine.Exercise(**{name: one for name, one in numbers.items() if one is not None})  # type: ignore[arg-type]
    training = Training(examples, n, lr, steps, seed) if train else None
    derivation, checks = engine.derive(exercise), engine.check(exercise, e=e)
    if train and examples is not None:
        read_examples(examples)  # what is refused leaves no registry
    with open_registry(out.db) as registry:
        run, result = record_exercise(registry, out, out.argv, exercise, checks, training)

    out.document(
        "fmnist.mini-cnn/2",
        {
            "id": run.id,
            **asdict(exercise),
            "forward": {name: exercise.numbers()[name] for name in engine.FORWARD_NAMES},
            "loss": derivation["forward"][-1].value,
            "derivatives": [
                {"name": check.name, "value": check.analytic, **check_document(check)}
                for check in checks
            ],
            "derivation": {
                part: [equation._asdict() for equation in equations]
                for part, equations in derivation.items()
            },
            "algorithm": engine.ALGORITHM,
            "loop": engine.worked(exercise)[-1][1],
            "holds": all(check.holds for check in checks),
            "training": asdict(result) if result else None,
        },
    )
    out.section(f"At {exercise}")
    for caption, text in engine.worked(exercise):
        out.section(caption)
        out.text(f"{text}\n")
    show_tables(out, [derivative_checks_table(checks)])
    if result and training:
        out.section("Training", said_of_examples(training), _training_table(result))
    _raise_unless_held(checks)
    if result and result.divergence:
        raise Diverged(f"{result.divergence}; try a smaller lr. It is recorded as run {run.id}.")


def check_mini_cnn(out: Output, *, e: float) -> None:
    """`gradcheck --model mini-cnn`: the four derivatives at the default values."""
    from fmnist_cli.engine.mini_cnn import Exercise, check
    from fmnist_cli.report.tables import derivative_checks_table

    checks = check(Exercise(), e=e)
    with open_registry(out.db) as registry:
        run, _ = record_exercise(registry, out, out.argv, Exercise(), checks, command="gradcheck")
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
    show_tables(out, [derivative_checks_table(checks)])
    _raise_unless_held(checks)


def _raise_unless_held(checks: tuple[DerivativeCheck, ...]) -> None:
    wrong = [check.name for check in checks if not check.holds]
    if wrong:
        raise CheckFailed(
            f"the chain rule must agree with the differences and the loop. {wrong} do not."
        )


def _training_table(result: MiniCNNResult) -> Any:
    history = result.history
    step = max(1, (len(history) - 1) // (MOST_ROWS - 1))
    table = make_table(">updates", ">loss (nats)", ">accuracy", ">w1", ">w2", ">v1", ">v2")
    for state in [*history[:-1:step], history[-1]]:
        weights = [_fixed(value, 4) for value in (*state.w, *state.v)]
        table.add_row(f"{state.step:,}", _fixed(state.loss, 5), percent(state.accuracy), *weights)
    return table


def _fixed(value: float, digits: int) -> str:
    """So many decimals, unless the number has run away."""
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.4g}"
