"""How many parameters each model has, layer by layer, from the closed forms alone.

A convolution of C kernels of k x k over c channels has k*k*c*C weights and C biases; "valid"
means that a side of s becomes s - k + 1. A linear layer of n inputs and m outputs has n*m
weights and m biases. Pooling, ReLU, flatten and softmax have none. A global pool leaves one number
per channel, so that the dense layer after it has C inputs in place of rows x columns x C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from fmnist_cli.engine.config import HEADS, IMAGE_SIDE, N_CLASSES, N_INPUTS, Head
from fmnist_cli.errors import require

CountedModel = Literal["mlp", "cnn2", "cnn3", "mini-cnn"]
COUNTED_MODELS: tuple[CountedModel, ...] = get_args(CountedModel)

Shape = tuple[int, ...]  # of one example: (units,) or (rows, columns, channels)


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes
    ----------
    name : str
        Unique within the model, such as ``conv1``.
    operation : str
        What it does, such as ``convolution, 64 kernels 7x7``.
    input_shape, output_shape : tuple of int
        Of one example, without the batch axis.
    formula : str
        The count with its numbers put in, such as ``784 x 128 + 128``; ``0`` for a layer
        without parameters.
    size_formula : str
        Of the output's side or number, where the layer changes it: ``28 - 7 + 1 = 22``.
    """

    name: str
    operation: str
    input_shape: Shape
    output_shape: Shape
    formula: str
    count: int
    size_formula: str = ""


@dataclass(frozen=True)
class ParameterCount:
    """The layers of a model in the order an image passes them, and their sum."""

    model: CountedModel
    layers: tuple[Layer, ...]
    total: int

    @property
    def sizes(self) -> str:
        """How an image's side becomes the number of features, layer by layer; of a CNN."""
        steps = [
            f"{layer.name} {layer.size_formula}" for layer in self.layers if layer.size_formula
        ]
        return f"Sizes in {self.model}: {', '.join(steps)}." if steps else ""


@dataclass(frozen=True)
class CountComparison:
    """Which of two models has fewer parameters.

    Attributes
    ----------
    fewer : str or None
        The smaller model's name; None if both have the same number.
    difference : int >= 0
    statement : str
        The same in words.
    """

    fewer: str | None
    difference: int
    statement: str


def count(model: CountedModel, hidden: int = 128, head: Head = "flatten") -> ParameterCount:
    """The parameters of a model, layer by layer.

    Parameters
    ----------
    model : {"mlp", "cnn2", "cnn3", "mini-cnn"}
    hidden : int in [1, 65536]
        Units of the MLP's hidden layer; the other models have none and ignore it.
    head : {"flatten", "gap", "gmp"}
        Of cnn2 and cnn3; the other models have none and ignore it.

    Raises
    ------
    UsageError
        When the model or the head is unknown or ``hidden`` is out of range.
    """
    require(
        model in COUNTED_MODELS, f"model must be one of {', '.join(COUNTED_MODELS)}", repr(model)
    )
    require(1 <= hidden <= 65_536, "hidden must be between 1 and 65536", hidden)
    require(head in HEADS, f"head must be one of {', '.join(HEADS)}", repr(head))
    layers: list[Layer] = []

    def add(
        name: str,
        operation: str,
        input_shape: Shape | None = None,
        output_shape: Shape | None = None,
        factors: tuple[int, ...] = (),
        size_formula: str = "",
    ) -> None:
        """A layer after the last, of its shape where none is given; as many weights as the product
        of the factors, and as many biases as the last of them."""
        input_shape = input_shape or layers[-1].output_shape
        formula = f"{' x '.join(map(str, factors))} + {factors[-1]}" if factors else "0"
        n = math.prod(factors) + factors[-1] if factors else 0
        output_shape = output_shape or input_shape
        layers.append(Layer(name, operation, input_shape, output_shape, formula, n, size_formula))

    def add_linear(name: str, n_in: int, n_out: int) -> None:
        add(name, f"linear to {n_out}", (n_in,), (n_out,), (n_in, n_out))

    def add_convolution(number: int, input_shape: Shape, kernels: int, side: int) -> None:
        """Convolution (valid), ReLU, max-pool 2x2."""
        rows, columns, channels = input_shape
        convolved = (rows - side + 1, columns - side + 1, kernels)
        pooled = (convolved[0] // 2, convolved[1] // 2, kernels)
        add(
            f"conv{number}",
            f"convolution, {kernels} kernels {side}x{side}",
            input_shape,
            convolved,
            (side, side, channels, kernels),
            f"{rows} - {side} + 1 = {convolved[0]}",
        )
        add(f"relu{number}", "ReLU")
        halved = f"{convolved[0]} / 2 = {pooled[0]}"
        add(f"pool{number}", "max-pool 2x2", convolved, pooled, size_formula=halved)

    if model == "mlp":
        add_linear("linear1", N_INPUTS, hidden)
        add("relu", "ReLU")
        add_linear("linear2", hidden, N_CLASSES)
        add("softmax", "softmax")
    elif model == "mini-cnn":
        # One filter of two weights over three inputs, and no bias anywhere.
        layers.append(Layer("filter", "convolution, 1 filter of 2", (3,), (2,), "2", 2))
        add("relu", "ReLU")
        layers.append(Layer("linear", "linear, no bias", (2,), (1,), "2 x 1", 2))
    else:
        add_convolution(1, (IMAGE_SIDE, IMAGE_SIDE, 1), 64, 7)
        if model == "cnn3":
            add_convolution(2, layers[-1].output_shape, 128, 2)
        shape = layers[-1].output_shape
        if head == "flatten":
            flat = math.prod(shape)
            size = f"{' x '.join(map(str, shape))} = {flat}"
            add("flatten", "flatten", shape, (flat,), size_formula=size)
        else:
            pool = "global average pool" if head == "gap" else "global max-pool"
            add(head, pool, shape, shape[-1:])
        add_linear("linear", layers[-1].output_shape[0], N_CLASSES)
        add("softmax", "softmax")
    return ParameterCount(model, tuple(layers), sum(layer.count for layer in layers))


def compare(first: ParameterCount, second: ParameterCount) -> CountComparison:
    """Which of two models has fewer parameters, and by how many, from their totals."""
    if first.total == second.total:
        equal = f"{first.model} and {second.model} have {first.total:,} parameters each."
        return CountComparison(None, 0, equal)
    small, large = sorted((first, second), key=lambda counted: counted.total)
    difference = large.total - small.total
    share = 100 * difference / large.total
    return CountComparison(
        small.model,
        difference,
        f"{small.model} has {difference:,} fewer parameters than {large.model} "
        f"({small.total:,} against {large.total:,}, {share:.1f} % fewer).",
    )


def compare_in_order(counts: tuple[ParameterCount, ...]) -> tuple[CountComparison, ...]:
    """Each model against the one before it: cnn2 against mlp, cnn3 against cnn2."""
    return tuple(compare(second, first) for first, second in pairwise(counts))


def built_total(model: str, hidden: int, head: Head) -> int:
    """The parameters of the model as it is built to be trained, the CNNs by Keras."""
    if model == "mini-cnn":
        from fmnist_cli.engine.mini_cnn import Exercise

        return len(Exercise().w) + len(Exercise().v)
    from fmnist_cli.engine.keras_models.models import build

    return int(build(model, hidden=hidden, head=head, seed=0).count_params())  # type: ignore[arg-type]
