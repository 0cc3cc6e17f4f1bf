"""The NumPy CNNs behind the shared training loop: evaluation, state, checks, and Keras' numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import HEADS, Head, TrainConfig
from fmnist_cli.engine.numpy_cnn import blocks, layers, meeting
from fmnist_cli.engine.numpy_cnn.backend import NumPyCNN
from fmnist_cli.engine.numpy_cnn.gradcheck import check_cnn
from fmnist_cli.engine.numpy_cnn.inference import CHUNK_IMAGES
from fmnist_cli.engine.numpy_cnn.layers import CNN, initial_weights
from fmnist_cli.engine.seeding import epoch_order, weights_rng
from fmnist_cli.engine.training import make_backend
from fmnist_cli.errors import ArtefactError

CNNS = ("cnn2", "cnn3")


def examples(n: int, seed: int = 0) -> Split:
    """Class c is a bright band at rows 2c + 4 and 2c + 5 of an image that is black at the sides."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    images = rng.random((n, 28, 28), np.float32) * 0.4
    images[:, :, :5] = images[:, :, -8:] = 0
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 6, 4:20] += 0.5
    return Split(images.reshape(n, 784), labels)


def backend(
    model: str, train: Split, *, dtype: type = np.float32, head: Head = "flatten", **changes
) -> NumPyCNN:
    how = {"batch": 5, "lr": 0.05, "momentum": 0.9, "head": head, **changes}
    return NumPyCNN(train, weights=biased(model, head), dtype=dtype, **how)


def biased(model: str, head: Head = "flatten") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    weights = initial_weights(weights_rng(4), model=model, head=head)
    return {
        name: rng.normal(0, 0.1, w.shape) if name.endswith("bias") else w
        for name, w in weights.items()
    }


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("n", [1, 2, 3 * CHUNK_IMAGES[1] + 1])
@pytest.mark.parametrize("model", CNNS)
def test_an_evaluation_is_that_of_the_textbook(model, n, head):
    split = examples(n, seed=2)
    cnn = backend(model, examples(20), dtype=np.float64, head=head)
    weights = cnn.weights()
    last = "conv1/bias" if model == "cnn2" else "conv2/bias"
    weights[last][[1, 3]] = -9.0  # dead
    cnn.set_weights(weights)
    network = CNN(weights, head)
    loss = network.forward(split.images.astype(float), split.labels)
    logits = network.logits(split.images.astype(float))
    found = cnn.evaluate(split)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.accuracy == np.mean(logits.argmax(axis=1) == split.labels)
    alive = network.hidden.reshape(-1, network.hidden.shape[3]).max(axis=0) > 0
    assert (found.dead_units, found.hidden_units) == (np.sum(~alive), len(alive))
    assert found.dead_units >= 2
    assert np.array_equal(found.predicted, logits.argmax(axis=1))


@pytest.mark.parametrize("model", CNNS)
def test_an_evaluation_has_the_same_bits_in_one_process_and_in_two(model, monkeypatch):
    split, cnn = examples(67), backend(model, examples(20))
    found = []
    for pays in (True, False):
        monkeypatch.setattr(meeting, "_pays", lambda steps, pays=pays: pays and steps > 0)
        found.append(cnn.evaluate(split))
    assert found[0] == found[1]
    assert np.array_equal(found[0].predicted, found[1].predicted)


@pytest.mark.parametrize("model", CNNS)
def test_the_gradient_over_a_split_is_the_mean_over_its_examples(model, monkeypatch):
    monkeypatch.setattr("fmnist_cli.engine.numpy_cnn.backend.GRADIENT_IMAGES", 4)
    split = examples(9)
    cnn = backend(model, split, dtype=np.float64)
    network = CNN(cnn.weights())
    network.forward(split.images.astype(float), split.labels)
    for name, expected in network.backward().items():
        np.testing.assert_allclose(cnn.gradient(split)[name], expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("model", CNNS)
def test_a_resumed_run_has_the_same_bits(model):
    train, orders = examples(23), [epoch_order(1, e, 23) for e in (1, 2)]
    whole = backend(model, train)
    for order in orders:
        whole.train_epoch(order)
    first = backend(model, train)
    first.train_epoch(orders[0])
    resumed = backend(model, train)
    resumed.set_weights(first.weights())
    resumed.set_velocity(first.velocity())
    resumed.train_epoch(orders[1])
    for name, w in whole.weights().items():
        assert w.tobytes() == resumed.weights()[name].tobytes()
        assert whole.velocity()[name].tobytes() == resumed.velocity()[name].tobytes()


@pytest.mark.parametrize("model", CNNS)
def test_the_velocity_of_a_dead_channel_goes_to_zero_by_no_denormal_numbers(model):
    train = examples(160)
    cnn = backend(model, train, batch=1, momentum=0.5)
    last = "conv1" if model == "cnn2" else "conv2"
    weights = cnn.weights()
    weights[f"{last}/bias"][0] = -1e3
    cnn.set_weights(weights)
    cnn.set_velocity({name: np.full_like(v, 1e-3) for name, v in cnn.velocity().items()})
    cnn.train_epoch(epoch_order(1, 1, 160))
    for v in cnn.velocity().values():
        assert not np.any((v != 0) & (np.abs(v) < np.finfo(v.dtype).tiny))
    assert not cnn.velocity()[f"{last}/kernel"][..., 0].any()
    assert cnn.velocity()[f"{last}/kernel"][..., 1:].any()


def test_other_images_are_trained_on_where_given():
    train, other = examples(15), examples(15, seed=9)
    order = epoch_order(1, 1, 15)
    one = backend("cnn2", train)
    loss = one.train_epoch(order, other.images)
    two = backend("cnn2", Split(other.images, train.labels))
    assert loss == two.train_epoch(order)


def test_weights_of_another_shape_are_refused_whole():
    cnn = backend("cnn2", examples(10))
    before = cnn.weights()
    with pytest.raises(ArtefactError, match=r"must be conv1/kernel, .*\. Received: conv1/bias, "):
        cnn.set_weights(biased("cnn3"))
    wrong = before | {"output/kernel": np.zeros((3, 10))}
    with pytest.raises(ArtefactError, match=r"output/kernel must be floats of shape \(7744, 10\)"):
        cnn.set_weights(wrong)
    assert all(np.array_equal(before[name], w) for name, w in cnn.weights().items())


def test_make_backend_makes_it_with_the_seeds_weights():
    config = TrainConfig(model="cnn3", train_size=10, batch=5, seed=4)
    cnn = make_backend(config, examples(10))
    expected = initial_weights(weights_rng(4), model="cnn3")
    for name, w in cnn.weights().items():
        assert np.array_equal(w, expected[name].astype(np.float32))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("model", CNNS)
def test_the_gradient_check_holds_at_the_initial_weights_and_elsewhere(model, head):
    initial = initial_weights(weights_rng(4), model=model, head=head)
    for weights in (initial, biased(model, head)):
        found = check_cnn(weights, examples(3), head=head, select=20, rng=np.random.default_rng(0))
        assert found.holds
        assert found.n_kinks > 0
        assert found.n_entries == 10 + 20 * (len(weights) - 1)


class Biased(layers.Convolution):
    """Its backward pass forgets the last column of the gradient."""

    def backward(self, dy):
        dy = dy.copy()
        dy[:, :, -1] = 0
        return super().backward(dy)


def test_the_gradient_check_finds_planted_errors(monkeypatch):
    weights, rng = biased("cnn3"), np.random.default_rng(0)
    with monkeypatch.context() as patch:
        patch.setattr(layers, "Convolution", Biased)
        assert not check_cnn(weights, examples(3), select=20, rng=rng).backpropagation_holds
    with monkeypatch.context() as patch:
        patch.setattr(blocks.PooledReLU, "rectify", lambda self: None)
        found = check_cnn(weights, examples(3), select=20, rng=rng)
        assert found.backpropagation_holds  # the textbook's
        assert not found.training_holds


@pytest.mark.keras
@pytest.mark.parametrize(
    ("head", "momentum"), [("flatten", 0.0), ("flatten", 0.9), ("gap", 0.0), ("gmp", 0.9)]
)
@pytest.mark.parametrize("model", CNNS)
def test_keras_follows_in_float64(model, head, momentum):
    from fmnist_cli.engine.keras_models.backend import KerasBackend
    from fmnist_cli.engine.keras_models.models import build

    train, validation = examples(43), examples(30, seed=1)
    ours = backend(model, train, dtype=np.float64, head=head, momentum=momentum, lr=0.01)
    network = build(model, head=head, seed=1, dtype="float64")
    theirs = KerasBackend(network, train, batch=5, lr=0.01, momentum=momentum)
    theirs.set_weights(ours.weights())
    for epoch in (1, 2, 3):
        order = epoch_order(1, epoch, 43)
        assert ours.train_epoch(order) == pytest.approx(theirs.train_epoch(order), rel=1e-10)
        mine, other = ours.evaluate(validation), theirs.evaluate(validation)
        assert mine.loss == pytest.approx(other.loss, rel=1e-10)
        assert mine.accuracy == other.accuracy
        assert mine.dead_units == other.dead_units
