"""The Keras backend against the NumPy textbook, plain counting, and itself in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.keras_models.backend import KerasBackend
from fmnist_cli.engine.numpy_mlp.layers import MLP, initial_weights, sgd_step
from fmnist_cli.engine.seeding import epoch_order, weights_rng
from fmnist_cli.errors import ArtefactError

pytestmark = pytest.mark.keras


def examples(n: int, seed: int = 0) -> Split:
    """Learnable: class c is a bright band at rows 2c + 4 and 2c + 5, under noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    images = rng.random((n, 28, 28), np.float32) * 0.4
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 6] += 0.5
    return Split(images.reshape(n, 784), labels)


def backend(model: str, train: Split, **changes) -> KerasBackend:
    config = TrainConfig(
        model=model,
        engine="keras",
        train_size=len(train),
        **{"batch": 5, "hidden": 32, "seed": 4, **changes},
    )
    return KerasBackend.from_config(config, train)


@pytest.mark.parametrize("batch", [1, 5, 7, 120])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_mlp_follows_the_numpy_textbook(batch, momentum):
    """Five epochs from the same numbers in float32 on both sides.

    A step's rounding is about 6e-8 of a weight; over 5 x 120 steps it grows to some 1e-6, and
    the learning rate is kept where SGD does not amplify it. 2e-4 on the loss leaves room for
    another BLAS, and is a thousandth of what one forgotten update of the batch of 120 changes.
    """
    train, validation = examples(120), examples(80, seed=1)
    keras = backend("mlp", train, batch=batch, momentum=momentum, lr=0.01)
    weights = {
        name: w.astype(np.float32) for name, w in initial_weights(weights_rng(4), hidden=32).items()
    }
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    network = MLP(weights)
    for epoch in range(1, 6):
        order = epoch_order(4, epoch, 120)
        losses = []
        for rows in (order[i : i + batch] for i in range(0, 120, batch)):
            loss = network.forward(train.images[rows], train.labels[rows])
            losses += [loss] * len(rows)
            sgd_step(weights, velocity, network.backward(), lr=0.01, momentum=momentum)

        assert keras.train_epoch(order) == pytest.approx(np.mean(losses), abs=2e-4)
        on_validation = keras.evaluate(validation)
        expected = network.forward(validation.images, validation.labels)
        assert on_validation.loss == pytest.approx(expected, abs=2e-4)
        classes = network.logits(validation.images).argmax(axis=1)
        assert on_validation.accuracy == np.mean(classes == validation.labels)
    for name, w in keras.weights().items():
        assert w == pytest.approx(weights[name], abs=2e-4)


@pytest.mark.parametrize("model", ["mlp", "cnn2", "cnn3"])
def test_evaluate_and_predict_count_over_chunks(model):
    data = examples(611)  # one whole chunk and a part
    b = backend(model, examples(20))
    net_input = data.images if model == "mlp" else data.images.reshape(-1, 28, 28, 1)
    logits = np.asarray(b.model(net_input), np.float64)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    before = b.weights()
    result = b.evaluate(data)
    classes = result.predicted
    assert result.loss == pytest.approx(
        (log_sum - logits[range(611), data.labels]).mean(), rel=1e-5
    )
    assert classes.dtype == np.int64
    assert np.array_equal(classes, logits.argmax(axis=1))
    assert result.accuracy == np.mean(classes == data.labels)
    assert all(np.array_equal(w, before[name]) for name, w in b.weights().items())


@pytest.mark.parametrize(
    ("model", "bias", "units"),
    [("mlp", "b1", 32), ("cnn2", "conv1/bias", 64), ("cnn3", "conv2/bias", 128)],
)
def test_dead_units_are_those_zero_for_every_image(model, bias, units):
    b = backend(model, examples(20))
    for dead in (0, 3):
        weights = b.weights()
        weights[bias][:] = 100
        weights[bias][:dead] = -100
        b.set_weights(weights)
        result = b.evaluate(examples(30))
        assert (result.dead_units, result.hidden_units) == (dead, units)


@pytest.mark.parametrize("model", ["mlp", "cnn3"])
def test_a_run_continues_from_its_weights_and_velocity(model):
    """The next epoch from a saved state has the bits of one that was never interrupted."""
    train = examples(40)
    order = np.arange(40)
    b = backend(model, train, momentum=0.9)
    b.train_epoch(order)
    weights, velocity = b.weights(), b.velocity()
    assert any(v.any() for v in velocity.values())
    b.train_epoch(order)

    other = backend(model, train, momentum=0.9, seed=5)
    other.set_weights(weights)
    other.set_velocity(velocity)
    other.train_epoch(order)
    for name, w in b.weights().items():
        assert np.array_equal(other.weights()[name], w)
        assert np.array_equal(other.velocity()[name], b.velocity()[name])


def test_an_epoch_in_parts_has_the_bits_of_one_whole(monkeypatch):
    """Between two parts a signal is heard; the last batch of 3 comes after them."""
    train, order = examples(43), epoch_order(4, 1, 43)
    whole = backend("cnn3", train, momentum=0.9)
    monkeypatch.setattr("fmnist_cli.engine.keras_models.backend.PART_IMAGES", 12)  # 2 batches of 5
    parts = backend("cnn3", train, momentum=0.9)
    heard = []
    steps = parts._steps
    parts._steps = lambda *args: (heard.append(int(args[2])), steps(*args))[1]
    assert whole.train_epoch(order) == parts.train_epoch(order)
    assert heard == [0, 10, 20, 30]
    for name, w in whole.weights().items():
        assert np.array_equal(parts.weights()[name], w)


def test_weights_are_copies_and_velocity_is_zero_without_momentum():
    b = backend("cnn2", examples(20))
    weights = b.weights()
    b.train_epoch(np.arange(20))
    assert not np.array_equal(weights["conv1/kernel"], b.weights()["conv1/kernel"])
    assert not any(v.any() for v in b.velocity().values())


def test_wrong_weights_are_refused_and_change_nothing():
    b = backend("cnn2", examples(20))
    before = b.weights()
    for change, message in (
        ({"conv1/kernel": np.ones((3, 3, 1, 64), np.float32)}, r"shape \(7, 7, 1, 64\)\. Received"),
        ({"output/bias": np.ones(10, np.int64)}, "must be floats"),
        ({"W1": np.ones(3)}, "Received: .*W1"),
    ):
        ones = {name: np.ones_like(w) for name, w in before.items()}
        with pytest.raises(ArtefactError, match=message):
            b.set_weights({**ones, **change})
    assert all(np.array_equal(w, before[name]) for name, w in b.weights().items())


SCRIPT = """
import hashlib
import numpy as np
from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.keras_models.backend import KerasBackend

rng = np.random.default_rng(0)
train = Split(rng.random((53, 784), np.float32), rng.integers(0, 10, 53))
for model in ("cnn3", "cnn2", "mlp"):
    config = TrainConfig(model=model, engine="keras", batch=5, momentum=0.5, train_size=53)
    backend = KerasBackend.from_config(config, train)
    bits = hashlib.sha256()
    for epoch in range(2):
        loss = backend.train_epoch(rng.permutation(53))
        bits.update(repr((loss, backend.evaluate(train))).encode())
    for w in backend.weights().values():
        assert w.dtype == np.float32
        bits.update(w.tobytes())
    print(model, bits.hexdigest())
"""


def test_same_bits_in_another_process_and_silence_whatever_the_users_keras_says():
    keras_home = Path("keras-home")
    keras_home.mkdir()
    (keras_home / "keras.json").write_text(
        '{"backend": "jax", "floatx": "float16", "image_data_format": "channels_first"}'
    )
    hostile = {"KERAS_BACKEND": "jax", "KERAS_HOME": str(keras_home), "TF_CPP_MIN_LOG_LEVEL": "0"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS_", "TF_"))}
    outputs = []
    for extra in ({}, hostile):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            env={**environment, **extra},
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert run.stderr == ""
        outputs.append(run.stdout)
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 3
