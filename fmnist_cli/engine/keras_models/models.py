"""The three models as Keras defines them: the mlp, cnn2 and cnn3, all with logits as output."""

from __future__ import annotations

from typing import Any

from fmnist_cli.engine.config import HEADS, IMAGE_SIDE, N_CLASSES, N_INPUTS, Head, ModelName
from fmnist_cli.engine.keras_models.runtime import import_tensorflow
from fmnist_cli.engine.numpy_cnn import layers as numpy_cnn
from fmnist_cli.engine.numpy_mlp import layers as numpy_mlp
from fmnist_cli.engine.seeding import weights_rng


def build(
    model: ModelName,
    *,
    hidden: int = 128,
    head: Head = "flatten",
    seed: int,
    dtype: str = "float32",
) -> Any:
    """A new model with its initial weights, the numbers that the NumPy engine starts from.

    Parameters
    ----------
    model : "mlp", "cnn2" or "cnn3"
    hidden : int
        Hidden units of the mlp (H); the CNNs have none.
    head : "flatten", "gap" or "gmp"
        Of the CNNs, before the dense layer; the mlp has none.
    dtype : "float32" or "float64"

    Returns
    -------
    keras.Sequential
        (N, 784) -> (N, 10) for the mlp, (N, 28, 28, 1) -> (N, 10) for the CNNs; logits.
    """
    import_tensorflow()
    import keras

    options = {"data_format": "channels_last", "dtype": dtype}

    def block(filters: int, side: int, name: str) -> list[Any]:
        conv = keras.layers.Conv2D(filters, side, activation="relu", name=name, **options)
        return [conv, keras.layers.MaxPooling2D(2, **options)]

    heads = {
        "flatten": keras.layers.Flatten,
        "gap": keras.layers.GlobalAveragePooling2D,
        "gmp": keras.layers.GlobalMaxPooling2D,
    }
    if model == "mlp":
        layers = [
            keras.Input((N_INPUTS,), dtype=dtype),
            keras.layers.Dense(hidden, activation="relu", dtype=dtype, name="hidden"),
        ]
        drawn = numpy_mlp.initial_weights(weights_rng(seed), hidden=hidden)
    else:
        image = keras.Input((IMAGE_SIDE, IMAGE_SIDE, 1), dtype=dtype)
        layers = [image, *block(64, 7, "conv1")]  # 28x28 -> 22x22 -> 11x11
        if model == "cnn3":
            layers += block(128, 2, "conv2")  # 11x11 -> 10x10 -> 5x5
        layers.append(heads[head](name=head, **options))
        drawn = numpy_cnn.initial_weights(weights_rng(seed), model=model, head=head)
    layers.append(keras.layers.Dense(N_CLASSES, dtype=dtype, name="output"))
    network = keras.Sequential(layers, name=model)
    for name, variable in variables(network).items():
        variable.assign(drawn[name].astype(dtype))
    return network


def head_of(model: Any) -> Head:
    """The head of a model from ``build``; ``flatten`` for the mlp, which has none."""
    names = {layer.name for layer in model.layers}
    return next((head for head in HEADS if head in names), "flatten")


def variables(model: Any) -> dict[str, Any]:
    """The trainable ``tf.Variable`` s by the names that weights are saved under.

    ``W1``, ``b1``, ``W2``, ``b2`` for the mlp, as on the NumPy engine; ``conv1/kernel``,
    ``conv1/bias``, ..., ``output/kernel``, ``output/bias`` for the CNNs, in layer order. A
    convolution's kernel is (height, width, channels in, channels out).
    """
    with_weights = [layer for layer in model.layers if layer.weights]
    named: dict[str, Any] = {}
    for i, layer in enumerate(with_weights, start=1):
        names = (f"W{i}", f"b{i}")
        if model.name != "mlp":
            names = (f"{layer.name}/kernel", f"{layer.name}/bias")
        named |= zip(names, (layer.kernel.value, layer.bias.value), strict=True)
    return named
