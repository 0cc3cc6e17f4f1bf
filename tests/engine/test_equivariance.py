"""Equivariance: zeros where they must be, and every fast path against the plain one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import Head
from fmnist_cli.engine.equivariance import (
    equivariance,
    input_change,
    shifted_back,
    turn_errors,
    turned_back,
)
from fmnist_cli.engine.numpy_cnn.layers import CNN
from fmnist_cli.engine.numpy_mlp.layers import MLP, initial_weights
from fmnist_cli.engine.shifts import rotate, shift
from fmnist_cli.errors import UsageError

Weights = dict[str, np.ndarray]


def cnn_weights(model: str, dtype: type = np.float64, head: str = "flatten") -> Weights:
    """Of a cnn2 or cnn3 of 4 and 6 channels, and biases so that a blank image shows something."""
    rng, c1, c2 = np.random.default_rng(2), 4, 6
    shapes = {"conv1/kernel": (7, 7, 1, c1), "conv1/bias": (c1,)}
    flat = 11 * 11 * c1
    if model == "cnn3":
        shapes |= {"conv2/kernel": (2, 2, c1, c2), "conv2/bias": (c2,)}
        flat = 5 * 5 * c2
    if head != "flatten":
        flat = c1 if model == "cnn2" else c2
    shapes |= {"output/kernel": (flat, 10), "output/bias": (10,)}
    return {name: rng.normal(0, 0.3, shape).astype(dtype) for name, shape in shapes.items()}


def mlp_weights() -> Weights:
    return initial_weights(np.random.default_rng(2), hidden=12)


def weights_of(model: str) -> Weights:
    return mlp_weights() if model == "mlp" else cnn_weights(model)


def pictures(n: int, margin: int = 0, dtype: type = np.float32) -> np.ndarray:
    """(n, 784), blank but for a square ``margin`` away from the frame."""
    images = np.zeros((n, 28, 28), dtype)
    inner = slice(margin, 28 - margin)
    side = 28 - 2 * margin
    images[:, inner, inner] = np.random.default_rng(3).random((n, side, side))
    return images.reshape(n, 784)


def plain_logits(weights: Weights, image: np.ndarray, head: Head = "flatten") -> np.ndarray:
    """(784,) -> (10,), by the textbook layers."""
    network = MLP(weights) if "W1" in weights else CNN(weights, head)
    return network.logits(image[None].astype(np.float64))[0]


@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
@pytest.mark.parametrize("move", [(-4, 0), (4, 0), (0, 8), (-8, 0), (4, -4), (12, 8)])
def test_convolution_and_pooling_move_with_the_picture(model: str, move: tuple[int, int]) -> None:
    spatial = equivariance(cnn_weights(model), pictures(5), *move)
    expected = [("conv1", 1), ("pool1", 2), ("conv2", 2), ("pool2", 4)]
    assert [(e.layer, e.stride) for e in spatial] == expected[: len(spatial)]
    for error in spatial:
        assert error.inside < 1e-14


def test_float32_is_zero_to_rounding() -> None:
    for error in equivariance(cnn_weights("cnn3", np.float32), pictures(5), -4, 4):
        assert error.inside < 1e-6


@pytest.mark.parametrize(("move", "kept"), [(1, 1), (2, 3), (3, 1), (6, 3)])
def test_a_shift_that_the_stride_does_not_divide_leaves_aliasing(move: int, kept: int) -> None:
    errors = equivariance(cnn_weights("cnn3"), pictures(5), 0, move)
    for i, error in enumerate(errors):
        assert (error.inside < 1e-14) == (i < kept)
    assert all(error.inside > 0.01 for error in errors[kept:])


@pytest.mark.parametrize("head", ["gap", "gmp"])
@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_a_global_pool_forgets_position(model: str, head: Head) -> None:
    weights, images = cnn_weights(model, head=head), pictures(20, margin=12)
    assert input_change(weights, images, shift(images, -4, 4), head) < 1e-13
    at_the_border = pictures(5)
    assert input_change(weights, at_the_border, shift(at_the_border, -4, 4), head) > 1e-3
    labels = np.array([plain_logits(weights, image, head).argmax() for image in images])
    moved = shift(images, -4, 4)
    assert [plain_logits(weights, image, head).argmax() for image in moved] == labels.tolist()
    assert shifted_back(weights, Split(images, labels), -4, 4, head=head) == 1


def test_a_dense_network_by_hand() -> None:
    # two hidden units: the sum of all pixels, and the pixel (14, 14)
    weights = {
        "W1": np.zeros((784, 2)),
        "b1": np.zeros(2),
    }
    weights["W1"][:, 0] = 1
    weights["W1"][14 * 28 + 14, 1] = 3
    image = np.zeros((1, 784))
    image[0, 14 * 28 + 14] = 1  # hidden (1, 3); moved away (1, 0)
    assert input_change(weights, image, shift(image, 2, 0)) == pytest.approx(3 / math.sqrt(10))
    assert equivariance(weights, image, 2, 0) == ()


@pytest.mark.parametrize("model", ["mlp", "cnn2", "cnn3"])
def test_what_stays_in_the_frame_costs_by_position_alone(model: str) -> None:
    weights, images = weights_of(model), pictures(40, margin=12)
    labels = np.array([plain_logits(weights, image).argmax() for image in images])
    moved = shift(images, -4, 0)
    guessed = np.array([plain_logits(weights, image).argmax() for image in moved])
    assert np.mean(guessed == labels) < 1
    assert shifted_back(weights, Split(images, labels), -4, 0) == 1


def test_what_leaves_the_frame_is_not_brought_back() -> None:
    weights = mlp_weights()
    images = pictures(40)
    labels = np.array([plain_logits(weights, image).argmax() for image in images])
    cut = images.reshape(-1, 28, 28).copy()
    cut[:, :4] = 0
    guessed = np.array([plain_logits(weights, image).argmax() for image in cut.reshape(-1, 784)])
    assert shifted_back(weights, Split(images, labels), -4, 0) == np.mean(guessed == labels) < 1


@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_filters_that_look_the_same_turned_turn_with_the_image(model: str, turns: int) -> None:
    """Kernels that are their own quarter turns: every layer is equivariant, and turning the
    features back gives all back. Of others neither holds."""
    weights, images = cnn_weights(model), pictures(30)
    other = [layer.inside for layer in turn_errors(weights, images, turns)]
    assert min(other) > 0.1
    for name, kernel in weights.items():
        if name.startswith("conv") and name.endswith("kernel"):
            four = [np.rot90(kernel, k, axes=(0, 1)) for k in range(4)]
            weights[name] = sum(four) / 4
    same = [layer.inside for layer in turn_errors(weights, images, turns)]
    assert same == pytest.approx([0] * len(same), abs=1e-13)
    logits = np.array([plain_logits(weights, image) for image in images])
    weights["output/bias"] -= logits.mean(axis=0)  # else a cnn3 takes all of them for one class
    labels = (logits - logits.mean(axis=0)).argmax(axis=1)
    guessed = [plain_logits(weights, image).argmax() for image in rotate(images, turns)]
    assert np.mean(guessed == labels) < 1
    assert turned_back(weights, Split(images, labels), turns) == 1


def test_an_image_turned_back_is_the_image() -> None:
    weights, images = mlp_weights(), pictures(40)
    labels = np.array([plain_logits(weights, image).argmax() for image in images])
    assert turned_back(weights, Split(images, labels), 1) == 1
    assert turn_errors(weights, images, 1) == ()


@pytest.mark.parametrize("model", ["mlp", "cnn2", "cnn3"])
def test_what_the_output_layer_reads_changes_by_what_it_does(model: str) -> None:
    weights, images = weights_of(model), pictures(5)
    moved = shift(images, -4, 0)
    if model == "mlp":
        read, of_moved = (np.maximum(x @ weights["W1"] + weights["b1"], 0) for x in (images, moved))
    else:
        network = CNN(weights)

        def through(x: np.ndarray) -> np.ndarray:
            network.logits(x.astype(np.float64))
            return network.hidden

        read, of_moved = through(images), through(moved)
    expected = np.linalg.norm(of_moved - read) / np.linalg.norm(read)
    assert input_change(weights, images, moved) == pytest.approx(expected)


def test_shifts_that_cannot_be_measured_are_refused() -> None:
    split = Split(pictures(2), np.zeros(2, np.int64))
    with pytest.raises(UsageError, match=r"multiple of 4\. Received: \(2, 0\)"):
        shifted_back(cnn_weights("cnn3"), split, 2, 0)
    with pytest.raises(UsageError, match=r"below 14 pixels\. Received: \(14, 0\)"):
        equivariance(mlp_weights(), split.images, 14, 0)


@pytest.mark.keras
def test_the_layers_are_those_that_train() -> None:
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.training import make_backend

    images = pictures(60)
    for model in ("cnn2", "cnn3"):
        split = Split(images, np.zeros(60, np.int64))
        backend = make_backend(TrainConfig(model=model, train_size=60), split)  # type: ignore[arg-type]
        labels = backend.evaluate(split).predicted
        assert shifted_back(backend.weights(), Split(images, labels), 0, 0) == 1
