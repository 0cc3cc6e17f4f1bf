"""The Keras models against the closed form of their parameter counts and plain Keras calls."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_cli.engine.keras_models import runtime
from fmnist_cli.engine.keras_models.models import build, head_of, variables
from fmnist_cli.engine.numpy_cnn import layers as numpy_cnn
from fmnist_cli.engine.numpy_mlp import layers as numpy_mlp
from fmnist_cli.engine.parameters import count
from fmnist_cli.engine.seeding import weights_rng
from fmnist_cli.errors import UsageError

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(("model", "count"), [("mlp", 101_770), ("cnn2", 80_650), ("cnn3", 68_106)])
def test_parameter_counts(model, count):
    net = build(model, seed=1)
    assert net.count_params() == count
    assert sum(v.shape.num_elements() for v in variables(net).values()) == count


@pytest.mark.parametrize("head", ["flatten", "gap", "gmp"])
@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_every_head_has_the_closed_forms_count_and_names(model, head):
    net = build(model, head=head, seed=1)
    assert net.count_params() == count(model, head=head).total
    assert head_of(net) == head
    assert list(variables(net)) == list(variables(build(model, seed=1)))
    kernels = [variables(net)["conv1/kernel"], variables(build(model, seed=1))["conv1/kernel"]]
    assert np.array_equal(*kernels)  # the head changes no draw of the layers before it


def test_hidden_changes_the_mlp_only():
    assert build("mlp", hidden=7, seed=1).count_params() == 784 * 7 + 7 + 7 * 10 + 10
    assert build("cnn2", hidden=7, seed=1).count_params() == 80_650


def test_names_and_shapes():
    shapes = {name: tuple(v.shape) for name, v in variables(build("cnn3", seed=1)).items()}
    assert shapes == {
        "conv1/kernel": (7, 7, 1, 64),
        "conv1/bias": (64,),
        "conv2/kernel": (2, 2, 64, 128),
        "conv2/bias": (128,),
        "output/kernel": (3200, 10),
        "output/bias": (10,),
    }


@pytest.mark.parametrize("model", ["mlp", "cnn2", "cnn3"])
def test_a_model_starts_from_the_numpy_engines_numbers(model):
    if model == "mlp":
        expected = numpy_mlp.initial_weights(weights_rng(5), hidden=9)
    else:
        expected = numpy_cnn.initial_weights(weights_rng(5), model=model)
    found = variables(build(model, hidden=9, seed=5))
    assert list(found) == list(expected)
    for name, v in found.items():
        assert np.array_equal(v.numpy(), expected[name].astype(np.float32))


def test_without_tensorflow_the_keras_engine_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"must have TensorFlow.*Received: no module tensorflow\."):
        runtime.import_tensorflow.__wrapped__()  # past its cache
