"""The fast graphs against plain Keras layers, TensorFlow's own gradients and Keras' own SGD."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.keras_models import graphs
from fmnist_cli.engine.keras_models.backend import KerasBackend
from fmnist_cli.engine.keras_models.models import build, head_of, variables
from fmnist_cli.engine.keras_models.runtime import import_tensorflow

pytestmark = pytest.mark.keras

MODELS = ("mlp", "cnn2", "cnn3", "cnn2 gap", "cnn2 gmp", "cnn3 gap", "cnn3 gmp")


def examples(n: int, seed: int = 0) -> Split:
    """Images with black and white areas, as the real ones have: pooling windows full of ties."""
    rng = np.random.default_rng(seed)
    images = rng.random((n, 28, 28), np.float32)
    images[:, :10], images[:, :, 18:] = 0, 1
    return Split(images.reshape(n, 784), rng.integers(0, 10, n))


def model_off_zero(name: str):
    """The model in float64, its biases not 0, so that ties carry a gradient."""
    model, _, head = name.partition(" ")
    net = build(model, hidden=16, head=head or "flatten", seed=3, dtype="float64")
    rng = np.random.default_rng(1)
    for variable in variables(net).values():
        variable.assign_add(rng.normal(0, 0.02, variable.shape))
    return net


def keras_loss(net, x, labels):
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    images = x if net.name == "mlp" else x.reshape(-1, 28, 28, 1)
    return loss(labels, net(images, training=True))


def keras_gradients(net, x, labels):
    tf = import_tensorflow()
    with tf.GradientTape() as tape:
        loss = keras_loss(net, x, labels)
    return float(loss), tape.gradient(loss, variables(net))


@pytest.mark.parametrize("name", MODELS)
def test_forward_is_the_models(name):
    net, data = model_off_zero(name), examples(6)
    x = data.images.astype(np.float64)
    logits = graphs.forward(variables(net), x, head=head_of(net)).logits.numpy()
    assert logits == pytest.approx(
        net(x if name == "mlp" else x.reshape(-1, 28, 28, 1)).numpy(), rel=1e-12, abs=1e-13
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("n", "shards"), [(7, 1), (7, 3), (20, 2)])  # 8 are few, 10 are not
def test_gradient_is_that_of_the_plain_layers(name, n, shards):
    net, data = model_off_zero(name), examples(n)
    x, labels = data.images.astype(np.float64), data.labels.astype(np.int32)
    loss, gradients = graphs.loss_and_gradients(
        variables(net), x, labels, head=head_of(net), shards=shards
    )
    expected_loss, expected = keras_gradients(net, x, labels)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-12)
    for parameter, g in expected.items():
        scale = np.abs(g).max()
        assert np.allclose(gradients[parameter], g, rtol=0, atol=1e-12 * scale), parameter


def test_max_pool_gradient_goes_to_the_first_of_equals_as_in_tensorflow():
    tf = import_tensorflow()
    rng = np.random.default_rng(0)
    z = tf.constant(rng.integers(0, 3, (4, 6, 8, 5)).astype(np.float32))  # nearly all are ties
    upstream = tf.constant(rng.normal(size=(4, 3, 4, 5)).astype(np.float32))
    gradients = []
    for pool in (graphs.max_pool, lambda z: tf.nn.max_pool2d(z, 2, 2, "VALID")):
        with tf.GradientTape() as tape:
            tape.watch(z)
            m = pool(z)
        gradients.append(tape.gradient(m, z, upstream).numpy())
    assert np.array_equal(*gradients)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("momentum", [0.0, 0.875])
def test_an_epoch_is_step_by_step_keras(name, momentum):
    """A last batch of 2 after four of 5; float64, so rounding stays near 1e-16 a step.

    The rate and momentum are binary fractions because Keras' SGD keeps them in float32.
    """
    import keras

    train = examples(22)
    backend = KerasBackend(
        model_off_zero(name), train, batch=5, lr=0.0625, momentum=momentum, shards=2
    )
    order = np.random.default_rng(2).permutation(22)
    running = [backend.train_epoch(order), backend.train_epoch(order[::-1].copy())]

    net = model_off_zero(name)
    sgd = keras.optimizers.SGD(0.0625, momentum=momentum)
    expected = []
    for epoch in (order, order[::-1]):
        losses = []
        for rows in (epoch[i : i + 5] for i in range(0, 22, 5)):
            x, labels = train.images[rows].astype(np.float64), train.labels[rows]
            loss, gradients = keras_gradients(net, x, labels)
            losses += [loss] * len(rows)
            in_order = [gradients[parameter] for parameter in variables(net)]
            sgd.apply(in_order, net.trainable_variables)
        expected.append(np.mean(losses))

    assert running == pytest.approx(expected, rel=1e-11)
    for parameter, v in variables(net).items():
        assert np.allclose(backend.weights()[parameter], v, rtol=0, atol=1e-11), parameter
