"""A student's layers in the shared training loop: the textbook's curve, to rounding."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from typer.testing import CliRunner

from fmnist_cli.analysis.comparison import agreement
from fmnist_cli.cli import app
from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import USER_ENGINE, TrainConfig
from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
from fmnist_cli.engine.numpy_mlp.layers import PARAMETERS, initial_weights
from fmnist_cli.engine.seeding import epoch_order, weights_rng
from fmnist_cli.errors import Terminated, UsageError
from fmnist_cli.usercode.backend import UserCodeError, UserNetwork, textbook_losses

from .base import SOLUTION
from .styles import STYLES
from .test_authors import RIGHT
from .test_own_names import MAIN

CONFIG = TrainConfig(train_size=1_000, hidden=16, batch=50, lr=0.1, engine=USER_ENGINE)


@pytest.mark.parametrize("style", [s for s in STYLES if s not in ("float32", "momentum")])
def test_an_epoch_is_the_numpy_engines_in_float64(
    style: str, tmp_path: Path, images: Split
) -> None:
    path = tmp_path / "neural_networks.py"
    path.write_text(STYLES[style])
    backend = UserNetwork(path, CONFIG, images)
    weights = initial_weights(weights_rng(CONFIG.seed), hidden=16)
    engine = NumPyMLP(images, weights=weights, batch=50, lr=0.1, momentum=0, dtype=np.float64)
    for epoch in (1, 2) if not style.startswith("loops") else ():
        order = epoch_order(CONFIG.seed, epoch, len(images))
        assert backend.train_epoch(order) == pytest.approx(engine.train_epoch(order), rel=1e-12)
    for name in PARAMETERS:
        np.testing.assert_allclose(backend.weights()[name], engine.weights()[name], atol=1e-12)
    few = Split(images.images[:100], images.labels[:100])
    mine, theirs = backend.evaluate(few), engine.evaluate(few)
    assert mine.loss == pytest.approx(theirs.loss, rel=1e-12)
    assert (mine.accuracy, mine.dead_units, mine.hidden_units) == (
        theirs.accuracy, theirs.dead_units, theirs.hidden_units,
    )  # fmt: skip
    for name, gradient in engine.gradient(few).items():
        np.testing.assert_allclose(backend.gradient(few)[name], gradient, atol=1e-12)


OWN_KEYS = (
    MAIN.replace("'L1'", "'first'").replace("'L2'", "'second'").replace("'nonlinear1'", "'act'")
    + """
def miniBatchGradientDescent(model, learning_rate):
    for layer in (model['first'], model['second']):
        for key in ('W', 'b'):
            layer.params[key] = layer.params[key] - learning_rate * layer.gradient[key]
    return model

def backward_pass(model, x, a1, h1, a2, y):
    g = model['second'].backward(h1, model['loss'].backward(a2, y))
    model['first'].backward(x, model['act'].backward(a1, g))
"""
)


@pytest.mark.parametrize("loss", ["'loss': softmax_cross_entropy()}", "}"])
def test_a_model_of_the_files_own_keys_trains(loss: str, tmp_path: Path, images: Split) -> None:
    (tmp_path / "usual.py").write_text(SOLUTION)
    usual = UserNetwork(tmp_path / "usual.py", CONFIG, images)
    text = OWN_KEYS.replace("'loss': softmax_cross_entropy()}", loss)
    if loss == "}":
        text = text.replace("model['loss']", "softmax_cross_entropy()")
    (tmp_path / "own.py").write_text(text)
    backend = UserNetwork(tmp_path / "own.py", CONFIG, images)
    for epoch in (1, 2):
        order = epoch_order(CONFIG.seed, epoch, len(images))
        assert backend.train_epoch(order) == usual.train_epoch(order)
    for name in PARAMETERS:
        np.testing.assert_array_equal(backend.weights()[name], usual.weights()[name])
    assert backend.evaluate(images).accuracy == usual.evaluate(images).accuracy


# their gradient descent wants a model of a class of the file's own
OWN_CLASS = [path for path in RIGHT if f"{path.parts[-3]}-{path.stem}" == "tenth-t03"]


@pytest.mark.slow
@pytest.mark.parametrize("path", RIGHT, ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_what_passes_the_check_trains(path: Path, images: Split) -> None:
    few = Split(images.images[:100], images.labels[:100])
    if path in OWN_CLASS:
        with pytest.raises(UserCodeError, match="'dict' object has no attribute"):
            UserNetwork(path, CONFIG, few).train_epoch(np.arange(100))
        return
    losses = [UserNetwork(path, CONFIG, few).train_epoch(np.arange(100))]
    assert agreement(losses, textbook_losses_in_order(few)).largest < 1e-4  # one is in float32


def textbook_losses_in_order(train: Split) -> Iterator[float]:
    weights = initial_weights(weights_rng(CONFIG.seed), hidden=CONFIG.hidden)
    engine = NumPyMLP(train, weights=weights, batch=50, lr=0.1, momentum=0, dtype=np.float64)
    yield engine.train_epoch(np.arange(len(train)))


def test_weights_are_set_and_given_back(tmp_path: Path, images: Split) -> None:
    path = tmp_path / "a.py"
    path.write_text(STYLES["row vectors"])
    backend = UserNetwork(path, CONFIG, images)
    weights = {name: w + 1 for name, w in backend.weights().items()}
    backend.set_weights(weights)
    for name in PARAMETERS:
        np.testing.assert_array_equal(backend.weights()[name], weights[name])
        assert backend.weights()[name].shape == weights[name].shape


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("def f(:\n", UserCodeError, "not valid Python"),
        ("x = 1\n", UsageError, "must define linear_layer, relu, miniBatchGradientDescent"),
        (SOLUTION.replace("np.matmul(X.T, grad)", "X @ grad"), UserCodeError, "ValueError in line"),
        (
            SOLUTION.replace("(0, 0.1, (input_D, output_D))", "(0, 0.1, (output_D, input_D))"),
            UsageError,
            "W1 must have the shape (784, 16). Received: (16, 784).",
        ),
    ],
)
def test_a_broken_file_is_one_line(
    text: str, error: type[Exception], message: str, tmp_path: Path, images: Split
) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    with pytest.raises(error, match="Try: fmnist check") as raised:
        UserNetwork(path, CONFIG, images).train_epoch(np.arange(100))
    assert message in str(raised.value)


def test_momentum_is_refused(tmp_path: Path, images: Split) -> None:
    path = tmp_path / "a.py"
    path.write_text(SOLUTION)
    with pytest.raises(UsageError, match=r"momentum must be 0.*Received: 0\.5"):
        UserNetwork(path, CONFIG.but(momentum=0.5), images)


def test_the_textbook_in_float64_has_the_same_losses(tmp_path: Path, images: Split) -> None:
    path = tmp_path / "a.py"
    path.write_text(SOLUTION)
    backend = UserNetwork(path, CONFIG, images)
    mine = [backend.train_epoch(epoch_order(CONFIG.seed, e, len(images))) for e in range(1, 9)]
    found = agreement(mine, textbook_losses(CONFIG, images))
    assert (found.epochs, found.parted_by) == (8, None)
    assert found.largest < 1e-12


def test_train_says_how_far_the_layers_follow_the_textbook(tiny_data: Path, isolated: Path) -> None:
    Path("mine.py").write_text(SOLUTION)
    options = ("--data-dir", str(tiny_data), "--allow-custom-data", "--train-size", "100",
               "--val-size", "20", "--epochs", "2", "--batch", "5")  # fmt: skip
    said = CliRunner().invoke(app, ["train", "--layers", "mine.py", *options])
    assert said.exit_code == 0, said.stderr
    assert "Running losses: epochs 1 to 2 agree to 1e-" in said.stdout
    CliRunner().invoke(app, ["train", *options])
    compared = CliRunner().invoke(app, ["runs", "compare", "1", "2"]).stdout
    assert "Running losses: epochs 1 to 2 agree to 1e-0" in compared
    other = CliRunner().invoke(app, ["runs", "show", "1"]).stdout
    assert "fmnist train --layers mine.py" in " ".join(other.split())
    Path("mine.py").write_text(SOLUTION.replace("np.matmul(X.T, grad)", "X.T @ grad / 2"))
    wrong = CliRunner().invoke(app, ["train", "--layers", "mine.py", *options]).stdout
    assert "they part in epoch 1" in wrong
    assert "Try: fmnist check mine.py" in " ".join(wrong.split())


@pytest.mark.parametrize("line", ["raise KeyboardInterrupt", "raise SystemExit(7)", "quit()"])
@pytest.mark.parametrize("where", ["top", "backward"])
def test_a_file_that_ends_the_program_itself_is_at_fault(
    line: str, where: str, tmp_path: Path, images: Split
) -> None:
    path = tmp_path / "a.py"
    head = "    def backward(self, X, grad):\n"
    planted = SOLUTION.replace(head, f"{head}        {line}\n")
    path.write_text(f"{line}\n{SOLUTION}" if where == "top" else planted)
    with pytest.raises(UserCodeError, match="in line"):
        UserNetwork(path, CONFIG, images).train_epoch(epoch_order(0, 1, len(images)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_in_its_code_is_a_signal(
    number: int, tmp_path: Path, images: Split
) -> None:
    def terminate(*_: object) -> None:
        raise Terminated

    path = tmp_path / "a.py"
    head = "    def backward(self, X, grad):\n"
    path.write_text(SOLUTION.replace(head, f"{head}        while True: pass\n"))
    backend = UserNetwork(path, CONFIG, images)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        Timer(0.2, os.kill, (os.getpid(), number)).start()
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Terminated):
            backend.train_epoch(epoch_order(0, 1, len(images)))
    finally:
        signal.signal(signal.SIGTERM, before)
