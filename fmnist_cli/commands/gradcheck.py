"""`fmnist gradcheck`: is the gradient right?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._options import typed, with_options
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.engine.config import SMALLEST_STEPS, TrainConfig
from fmnist_cli.errors import CheckFailed, require

if TYPE_CHECKING:
    from fmnist_cli.engine.gradients import MagnitudeCheck, Selection
    from fmnist_cli.runner.checks import GradientReport

N_WORST = 5  # entries that are shown of a check of all


@with_options(
    omit=(
        *("model", "lr", "momentum", "epochs", "patience", "monitor", "augment"),
        *("init_seed", "order_seed"),
    )
)
def gradcheck(
    context: typer.Context,
    config: TrainConfig,
    data: DataOptions,
    out: Output,
    model: Annotated[
        Literal["mlp", "mini-cnn", "cnn2", "cnn3"], typer.Option("--model", help="The model.")
    ] = "mlp",
    e: Annotated[float, typer.Option("--e", help="Step of the central difference.")] = 1e-3,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", help="Number of entries of each parameter to check, drawn from the seed."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Check every entry (on the numpy engine).")
    ] = False,
) -> None:
    """Compare backpropagation with central differences, in float64.

    Prints entries of the gradient from both, and whether all that were checked agree; by default
    the first entry of each weight matrix and bias. An entry whose difference straddles a kink (a
    ReLU that switches, a max-pool that chooses another pixel) is named and judged by the complex
    step, which has no step to straddle with. The update of one training step is compared as well:
    that is the code that trains. The figures are recorded as a run.

    Exits 3 if a gradient does not hold.

    Examples:
      # one entry of each parameter of the MLP, on 5 images
      fmnist gradcheck
      # all 101,770 of them, on 50 images
      fmnist gradcheck --batch 50 --all
      # five random entries of each parameter of a CNN
      fmnist gradcheck --model cnn3 --samples 5
      # TensorFlow's gradients
      fmnist gradcheck --model cnn3 --engine keras
    """
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands.mini_cnn import check_mini_cnn
    from fmnist_cli.runner.checks import run_gradient_check

    both = every and samples is not None
    require(not both, "--all and --samples exclude each other", f"--all --samples {samples}")
    require(samples is None or samples >= 1, "samples must be at least 1", samples)
    slow = every and config.engine == "keras" and model != "mini-cnn"
    must = "--all is for the numpy engine; use --samples N"
    require(not slow, must, "--all --engine keras")
    if model == "mini-cnn":
        others = typed(context, but=("model", "e", "every", "db", "json", "quiet"))
        require(
            not others,
            "the mini-cnn has four weights and one example of its own; of the options it takes "
            "--e and --all",
            " ".join(others.values()),
        )
        check_mini_cnn(out, e=e)
        return
    config = config.but(model=model)
    least = SMALLEST_STEPS[config.engine]
    require(least <= e <= 1, f"e must be between {least:g} and 1", e)
    with open_session(config, data, out) as session:
        select: Selection = "all" if every else samples or "first"
        run, check = run_gradient_check(session, config, n=config.batch, e=e, select=select)
    out.document("fmnist.gradcheck/1", {"id": run.id, "model": model, **check.document()})
    show_gradient(out, check, brief=every)
    if not check.holds:
        raise CheckFailed(
            "backpropagation must agree with the differences, and the training step with "
            "backpropagation. They do not: see above.",
            remedy="show_run",
            run_id=run.id,
        )


def show_gradient(out: Output, report: GradientReport, *, brief: bool = False) -> None:
    """Print the entries, one a line, and below them what the whole check says.

    ``brief``: a line per parameter, and of the entries the worst alone.
    """
    rows = report.rows
    above: list[Any] = []
    if brief:
        rows = sorted(rows, key=lambda entry: -entry.relative_error)[:N_WORST]
        totals = make_table("<parameter", ">entries", ">kinks", ">largest relative error")
        for name, entries, kinks, worst in report.parameters:
            totals.add_row(name, f"{entries:,}", f"{kinks:,}", f"{worst:.1e}")
        above = [totals, f"The worst {len(rows)} entries (--json has more):"]
    with_training = not brief and any(entry.training is not None for entry in rows)
    table = make_table(
        *("<entry", ">backpropagation", ">numeric", ">relative error"),
        *([">training step"] if with_training else []),
        "<judged by",
    )
    for entry in rows:
        index = ", ".join(map(str, entry.index))
        note = ""
        if entry.kink:
            note = " (kink)"
            if entry.difference is not None:
                note = f" (kink; difference {entry.difference:.3g})"
        table.add_row(
            f"{entry.parameter}\\[{index}]",
            f"{entry.analytic:.9g}",
            f"{entry.numeric:.9g}",
            f"{entry.relative_error:.1e}",
            *([f"{entry.training:.9g}"] if with_training else []),
            entry.method + note,
        )
    title = f"first {report.n_examples} training images, e = {report.e:g}, float64"
    lines = [
        line.replace("DOES NOT AGREE", "[red]DOES NOT AGREE[/red]").replace(
            " agrees ", " [green]agrees[/green] "
        )
        for line in report.statements()
    ]
    out.section(f"Gradient check: {title}", *above, table, *lines)


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
