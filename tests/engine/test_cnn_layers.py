"""The CNNs' textbook layers: by hand, by differences, by the complex step, and by Keras' shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.config import HEADS
from fmnist_cli.engine.numpy_cnn.layers import (
    CNN,
    SHAPES,
    Convolution,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    initial_weights,
    shapes,
)
from fmnist_cli.engine.parameters import count
from fmnist_cli.engine.seeding import weights_rng

SMALL = {  # on 12 x 12: 10 x 10, pooled 5 x 5, then 4 x 4, pooled 2 x 2
    "conv1/kernel": (3, 3, 1, 3),
    "conv1/bias": (3,),
    "conv2/kernel": (2, 2, 3, 4),
    "conv2/bias": (4,),
    "output/kernel": (16, 10),
    "output/bias": (10,),
}


def small(
    *, layers: int, head: str = "flatten"
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Weights, images of which half are black, and labels."""
    rng = np.random.default_rng(3)
    shapes = dict(SMALL)
    if layers == 1:
        del shapes["conv2/kernel"], shapes["conv2/bias"]
        shapes["output/kernel"] = (75, 10)
    if head != "flatten":
        shapes["output/kernel"] = (3 if layers == 1 else 4, 10)
    weights = {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()}
    images = rng.random((4, 12, 12))
    images[:, 6:] = 0
    return weights, images.reshape(4, 144), rng.integers(0, 10, 4)


def moved(weights: dict[str, Any], name: str, index: tuple[int, ...], by: complex) -> dict:
    one = weights[name].astype(complex if isinstance(by, complex) else float)
    one[index] += by
    return weights | {name: one}


def test_a_convolution_worked_by_hand():
    x = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]).reshape(1, 3, 3, 1)
    kernel = np.array([[1.0, 0], [0, -2]]).reshape(2, 2, 1, 1)
    layer = Convolution(kernel, np.array([0.5]))
    y = layer.forward(x)  # 1 - 2 * 5 + 0.5, and so on: each is 4 less 1 than the one before
    assert y[0, :, :, 0].tolist() == [[-8.5, -9.5], [-11.5, -12.5]]
    dx = layer.backward(np.array([[1.0, 0], [0, 10]]).reshape(1, 2, 2, 1))
    assert dx[0, :, :, 0].tolist() == [[1, 0, 0], [0, -2 + 10, 0], [0, 0, -20]]
    assert layer.grads["kernel"][:, :, 0, 0].tolist() == [[1 + 50, 2 + 60], [4 + 80, 5 + 90]]
    assert layer.grads["bias"].tolist() == [11]


def test_a_pool_worked_by_hand_gives_the_first_of_equal_values_the_gradient():
    x = np.array([[1.0, 7, 0, 0], [7, 2, 0, 0]]).reshape(1, 2, 4, 1)
    pool = MaxPool()
    assert pool.forward(x)[0, 0, :, 0].tolist() == [7, 0]
    dx = pool.backward(np.array([3.0, 5.0]).reshape(1, 1, 2, 1))
    assert dx[0, :, :, 0].tolist() == [[0, 3, 5, 0], [0, 0, 0, 0]]


def test_global_pools_worked_by_hand():
    x = np.array([[[1.0, 5], [3, 5]], [[2, 0], [2, 5]]])[None]  # (1, 2, 2, 2)
    upstream = np.array([[4.0, 6.0]])
    average, largest = GlobalAveragePool(), GlobalMaxPool()
    assert average.forward(x).tolist() == [[2, 3.75]]
    assert average.backward(upstream)[0].tolist() == [[[1, 1.5]] * 2] * 2
    assert largest.forward(x).tolist() == [[3, 5]]
    # of the second channel three places are largest: 6 / 3 each
    assert largest.backward(upstream)[0].tolist() == [[[0, 2], [4, 2]], [[0, 0], [0, 2]]]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("layers", [1, 2])
def test_every_entry_of_the_gradient_is_that_of_the_complex_step(layers, head):
    weights, images, labels = small(layers=layers, head=head)
    network = CNN(weights, head)
    network.forward(images, labels)
    for name, gradient in network.backward().items():
        assert gradient.shape == weights[name].shape
        exact = np.empty_like(gradient)
        for index in np.ndindex(*gradient.shape):
            there = CNN(moved(weights, name, index, 1e-30j), head).forward(images, labels)
            exact[index] = there.imag / 1e-30
        np.testing.assert_allclose(gradient, exact, rtol=1e-11, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_gradient_is_that_of_central_differences_where_no_corner_is_near(layers):
    weights, images, labels = small(layers=layers)
    network = CNN(weights)
    network.forward(images, labels)
    e, rng = 1e-6, np.random.default_rng(0)
    for name, gradient in network.backward().items():
        for flat in rng.choice(gradient.size, 3):
            index = np.unravel_index(flat, gradient.shape)
            above = CNN(moved(weights, name, index, e)).forward(images, labels)
            below = CNN(moved(weights, name, index, -e)).forward(images, labels)
            assert gradient[index] == pytest.approx((above - below) / (2 * e), abs=1e-8), name


def test_a_wrong_sign_in_the_backward_pass_of_a_convolution_shows():
    weights, images, labels = small(layers=2)
    network = CNN(weights)
    network.forward(images, labels)
    network.convolutions["conv2"].kernel = -weights["conv2/kernel"]
    wrong = network.backward()["conv1/kernel"]
    there = CNN(moved(weights, "conv1/kernel", (0, 0, 0, 0), 1e-30j)).forward(images, labels)
    assert wrong[0, 0, 0, 0] != pytest.approx(there.imag / 1e-30, rel=1e-3)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_every_heads_shapes_are_the_closed_forms(model, head):
    found = shapes(model, head)
    assert sum(np.prod(shape) for shape in found.values()) == count(model, head=head).total
    drawn = initial_weights(weights_rng(1), model=model, head=head)
    assert {name: w.shape for name, w in drawn.items()} == found
    assert np.array_equal(
        drawn["conv1/kernel"], initial_weights(weights_rng(1), model=model)["conv1/kernel"]
    )


@pytest.mark.keras
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_every_head_is_keras_own(model, head):

    from fmnist_cli.engine.keras_models import graphs
    from fmnist_cli.engine.keras_models.runtime import import_tensorflow

    tf = import_tensorflow()

    rng = np.random.default_rng(1)
    weights = initial_weights(rng, model=model, head=head)
    weights |= {n: rng.normal(0, 0.1, w.shape) for n, w in weights.items() if n.endswith("bias")}
    images, labels = rng.random((6, 28, 28)), rng.integers(0, 10, 6)
    images[:, :, :12] = 0  # blank: places that are equally large
    network = CNN(weights, head)
    loss = network.forward(images.reshape(6, 784), labels)
    theirs, gradients = graphs.loss_and_gradients(
        {name: tf.constant(w) for name, w in weights.items()}, images.reshape(6, 784), labels,
        head=head, shards=1,
    )  # fmt: skip
    assert loss == pytest.approx(float(theirs), rel=1e-12)
    for name, gradient in network.backward().items():
        np.testing.assert_allclose(gradient, gradients[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_the_initial_weights_are_glorot_uniform_with_zero_biases(model):
    weights = initial_weights(weights_rng(42), model=model)
    assert sum(w.size for w in weights.values()) == count(model).total
    limits = {"conv1/kernel": np.sqrt(6 / (49 * 65)), "conv2/kernel": np.sqrt(6 / (4 * 192))}
    limits["output/kernel"] = np.sqrt(6 / (len(weights["output/kernel"]) + 10))
    for name, w in weights.items():
        assert w.shape == SHAPES[model][name]
        if name.endswith("/bias"):
            assert not w.any()
        else:
            assert 0.99 * limits[name] < np.abs(w).max() <= limits[name]
            assert w.std() == pytest.approx(limits[name] / np.sqrt(3), rel=0.03)
    again = initial_weights(weights_rng(42), model=model)
    assert all(np.array_equal(again[name], w) for name, w in weights.items())
    assert not np.array_equal(
        initial_weights(weights_rng(43), model=model)["conv1/kernel"], weights["conv1/kernel"]
    )
