"""`fmnist count-params`: how many parameters each model has, and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, make_table
from fmnist_cli.engine.config import MODELS, Head, TrainConfig
from fmnist_cli.errors import CheckFailed

if TYPE_CHECKING:
    from rich.table import Table

    from fmnist_cli.engine.parameters import ParameterCount


@with_options(omit=("db",))
def count_params(
    out: Output,
    model: Annotated[
        Literal["mlp", "cnn2", "cnn3", "mini-cnn", "all"],
        typer.Option("--model", help="One model; all: those of the course, side by side."),
    ] = "all",
    hidden: Annotated[
        int, typer.Option("--hidden", help="Hidden units of the MLP.")
    ] = TrainConfig.hidden,
    head: Annotated[
        Head, typer.Option("--head", help="Before the CNNs' dense layer: flatten, gap or gmp.")
    ] = TrainConfig.head,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Build each model and compare (imports TensorFlow)."),
    ] = False,
) -> None:
    """Count the parameters of each model, layer by layer, with the formula.

    Prints every layer's shapes, formula and count, and which model is the smaller by how much;
    nothing is recorded. With --verify the counts are compared with those of the built models.

    Exits 3 if they differ.

    Examples:
      # the three models of the course
      fmnist count-params
      # and are they built like that?
      fmnist count-params --verify
      # with a global average pool in place of the flattened features
      fmnist count-params --head gap
      # an MLP of 256 hidden units
      fmnist count-params --model mlp --hidden 256
    """
    from fmnist_cli.engine.parameters import built_total, compare_in_order, count

    names = MODELS if model == "all" else (model,)
    counts = tuple(count(name, hidden, head) for name in names)
    comparisons = compare_in_order(counts)
    built = {c.model: built_total(c.model, hidden, head) for c in counts} if verify else {}
    differ = [c for c in counts if verify and built[c.model] != c.total]

    out.document(
        "fmnist.count-params/1",
        {
            "models": [asdict(c) | {"built_total": built.get(c.model)} for c in counts],
            "comparisons": comparisons,
            "holds": not differ if verify else None,
        },
    )
    for counted in counts:
        out.section(counted.model, _layers(counted), *([counted.sizes] if counted.sizes else []))
    out.result(*(comparison.statement for comparison in comparisons))
    if verify and not differ:
        out.result("[green]The built models have the same counts.[/green]")
    if differ:
        raise CheckFailed(
            "the counts must be those of the built models. Received: "
            + ", ".join(f"{c.model} {c.total:,}, built {built[c.model]:,}" for c in differ)
            + "."
        )


def _layers(counted: ParameterCount) -> Table:
    table = make_table("<layer", "operation", ">input", ">output", ">formula", ">parameters")
    for layer in counted.layers:
        table.add_row(
            layer.name,
            layer.operation,
            " x ".join(map(str, layer.input_shape)),
            " x ".join(map(str, layer.output_shape)),
            layer.formula if layer.count else "",
            f"{layer.count:,}" if layer.count else "0",
        )
    table.add_section()
    table.add_row("total", "", "", "", "", f"[bold]{counted.total:,}[/bold]")
    return table
