"""The NumPy MLP as a backend: state, evaluation, determinism, divergence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
from fmnist_cli.engine.numpy_mlp.layers import MLP, PARAMETERS, initial_weights
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.engine.seeding import epoch_order, weights_rng
from fmnist_cli.errors import ArtefactError, UsageError

N, H = 700, 32
BATCHES = pytest.mark.parametrize("batch", [1, 5, 50, 128, 300])
MOMENTA = pytest.mark.parametrize("momentum", [0.0, 0.9])


@pytest.fixture(scope="module")
def split() -> Split:
    """Images whose brightest tenth of the pixels tells the class."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 10, N)
    images = 0.5 * rng.random((N, 784), dtype=np.float32)
    for image, label in zip(images, labels, strict=True):
        image[78 * label : 78 * (label + 1)] += 0.5
    images.flags.writeable = labels.flags.writeable = False
    return Split(images, labels)


def model(split: Split, **how) -> NumPyMLP:
    how = {"batch": 5, "lr": 0.01, "momentum": 0.0, "hidden": H} | how
    weights = initial_weights(weights_rng(1), hidden=how.pop("hidden"))
    return NumPyMLP(split, weights=weights, **how)


def state(mlp: NumPyMLP) -> list[np.ndarray]:
    return [*mlp.weights().values(), *mlp.velocity().values()]


def assert_same_bits(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    assert [a.tobytes() for a in one] == [a.tobytes() for a in other]


@BATCHES
def test_one_step_over_lr_is_the_textbooks_gradient(split, batch):
    some = Split(split.images[:batch], split.labels[:batch])
    mlp = model(some, batch=batch, dtype=np.float64)
    before = mlp.weights()
    textbook = MLP(before)
    loss = textbook.forward(some.images.astype(float), some.labels)
    gradient = textbook.backward()
    assert mlp.train_epoch(np.arange(batch)) == pytest.approx(loss, rel=1e-12)
    for name, after in mlp.weights().items():
        used = (before[name] - after) / 0.01
        np.testing.assert_allclose(used, gradient[name], rtol=0, atol=1e-12)


@BATCHES
@MOMENTA
def test_same_seed_same_bits_and_another_order_other_bits(split, batch, momentum):
    runs = [model(split, batch=batch, momentum=momentum) for _ in range(3)]
    losses = [
        [mlp.train_epoch(epoch_order(seed, epoch, N)) for epoch in (1, 2)]
        for mlp, seed in zip(runs, (1, 1, 2), strict=True)
    ]
    assert losses[0] == losses[1] != losses[2]
    assert_same_bits(state(runs[0]), state(runs[1]))
    assert runs[0].weights()["W1"].tobytes() != runs[2].weights()["W1"].tobytes()


@BATCHES
def test_the_ambient_blas_threads_change_no_bit(split, batch):
    runs = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            mlp = model(split, batch=batch)
            mlp.train_epoch(epoch_order(1, 1, N))
            runs.append([*state(mlp), np.array(mlp.evaluate(split).loss)])
    assert_same_bits(*runs)


@BATCHES
@MOMENTA
def test_resuming_from_the_state_is_the_uninterrupted_run(split, batch, momentum):
    straight = model(split, batch=batch, momentum=momentum, lr=0.03)
    first = model(split, batch=batch, momentum=momentum, lr=0.03)
    for epoch in (1, 2, 3):
        straight.train_epoch(epoch_order(1, epoch, N))
    first.train_epoch(epoch_order(1, 1, N))
    resumed = model(split, batch=batch, momentum=momentum, lr=0.03)
    resumed.set_weights(first.weights())
    resumed.set_velocity(first.velocity())
    assert_same_bits(state(resumed), state(first))
    for epoch in (2, 3):
        resumed.train_epoch(epoch_order(1, epoch, N))
    assert_same_bits(state(resumed), state(straight))


@pytest.mark.parametrize("batch", [1, 5, 128])
def test_the_velocity_of_a_dead_unit_goes_to_zero_by_no_denormal_numbers(split, batch):
    mlp = model(split, batch=batch, momentum=0.5)
    mlp.set_weights(mlp.weights() | {"b1": np.r_[-1e3, np.zeros(H - 1)].astype(np.float32)})
    mlp.set_velocity({name: np.full_like(v, 1e-3) for name, v in mlp.velocity().items()})
    for epoch in range(1, 40 if batch == 128 else 4):
        mlp.train_epoch(epoch_order(1, epoch, N))
        for v in mlp.velocity().values():
            assert not np.any((v != 0) & (np.abs(v) < np.finfo(v.dtype).tiny))
    assert not mlp.velocity()["W1"][:, 0].any()
    assert mlp.velocity()["W1"][:, 1:].any()


@BATCHES
def test_velocity_stays_zero_without_momentum_and_not_with_it(split, batch):
    for momentum, moved in ((0.0, False), (0.5, True)):
        mlp = model(split, batch=batch, momentum=momentum)
        mlp.train_epoch(epoch_order(1, 1, N))
        assert all(np.any(v) == moved for v in mlp.velocity().values())


def test_an_evaluation_between_epochs_changes_nothing(split):
    watched, alone = model(split), model(split)
    for epoch in (1, 2):
        watched.train_epoch(epoch_order(1, epoch, N))
        watched.evaluate(split)
        alone.train_epoch(epoch_order(1, epoch, N))
    assert_same_bits(state(watched), state(alone))


def test_weights_are_copies(split):
    mlp = model(split)
    for array in (*mlp.weights().values(), *mlp.velocity().values()):
        array[...] = 9
    assert not any(np.any(array == 9) for array in state(mlp))


@pytest.mark.parametrize("what", ["weights", "velocity"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W1": np.zeros((784, H + 1))}, r"W1 must be floats of shape \(784, 32\)"),
        ({"b2": np.zeros(10, int)}, "b2 must be floats of shape .* Received: int64"),
        ({"b3": np.zeros(10)}, "must be W1, b1, W2, b2. Received: W1, W2, b1, b2, b3"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(split, what, change, message):
    mlp = model(split)
    before = state(mlp)
    ones = {name: np.ones_like(w) for name, w in mlp.weights().items()}
    with pytest.raises(ArtefactError, match=message):
        getattr(mlp, f"set_{what}")(ones | change)
    assert_same_bits(state(mlp), before)


def test_a_missing_array_is_refused(split):
    mlp = model(split)
    weights = mlp.weights()
    del weights["b1"]
    with pytest.raises(ArtefactError, match="Received: W1, W2, b2"):
        mlp.set_weights(weights)


@pytest.mark.parametrize("n", [1, 2, 249, 250, 251, 500, 700])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evaluate_and_predict_are_the_textbooks(split, n, dtype):
    some = Split(split.images[:n], split.labels[:n])
    mlp = model(split, dtype=dtype)
    mlp.train_epoch(epoch_order(1, 1, N))
    textbook = MLP({name: w.astype(float) for name, w in mlp.weights().items()})
    loss = textbook.forward(some.images.astype(float), some.labels)
    classes = textbook.logits(some.images.astype(float)).argmax(axis=1)

    evaluation = mlp.evaluate(some)
    assert evaluation.loss == pytest.approx(loss, rel=1e-12 if dtype == np.float64 else 1e-5)
    assert evaluation.accuracy == np.mean(classes == some.labels)
    assert evaluation.hidden_units == H
    predicted = evaluation.predicted
    assert predicted.dtype == np.int64
    np.testing.assert_array_equal(predicted, classes)


@pytest.mark.parametrize("dead", [0, 1, 5, H])
def test_dead_units_are_counted(split, dead):
    mlp = model(split)
    weights = mlp.weights()
    weights["b1"][:] = 100
    weights["b1"][H - dead :] = -1e4
    mlp.set_weights(weights)
    assert mlp.evaluate(split).dead_units == dead


def test_a_unit_that_lives_for_one_image_is_not_dead(split):
    # Unit 0 sees only pixel 0, which is bright in the last image alone.
    images = split.images.copy()
    images[:, 0] = 0
    images[-1, 0] = 1
    mlp = model(split)
    weights = mlp.weights()
    weights["W1"][:, 0] = 0
    weights["W1"][0, 0], weights["b1"][0] = 1, -0.5
    weights["b1"][1:] = 100
    mlp.set_weights(weights)
    assert mlp.evaluate(Split(images, split.labels)).dead_units == 0
    assert mlp.evaluate(Split(images[:-1], split.labels[:-1])).dead_units == 1


@BATCHES
@MOMENTA
def test_it_learns(split, batch, momentum):
    lr = min(0.1, 0.004 * batch) * (1 - momentum)
    mlp = model(split, batch=batch, momentum=momentum, lr=lr)
    losses = [mlp.train_epoch(epoch_order(1, epoch, N)) for epoch in range(1, 9)]
    assert losses[-1] < 0.9 * losses[0]
    assert mlp.evaluate(split).loss < losses[0]


@BATCHES
def test_a_learning_rate_of_100_kills_units_without_a_nan(split, batch):
    mlp = model(split, batch=batch, lr=100.0)
    losses = [mlp.train_epoch(epoch_order(1, epoch, N)) for epoch in (1, 2, 3)]
    assert np.all(np.isfinite(losses))
    assert all(np.all(np.isfinite(array)) for array in state(mlp))
    evaluation = mlp.evaluate(split)
    assert np.isfinite(evaluation.loss)
    assert evaluation.dead_units > H / 2


@BATCHES
@MOMENTA
def test_an_absurd_learning_rate_ends_in_no_number_and_no_warning(split, batch, momentum):
    mlp = model(split, batch=batch, momentum=momentum, lr=1e30)
    losses = [mlp.train_epoch(epoch_order(1, epoch, N)) for epoch in (1, 2)]
    assert not np.isfinite(losses[-1])
    assert not np.isfinite(mlp.evaluate(split).loss)


@MOMENTA
@BATCHES
def test_the_smallest_learning_rate_changes_nothing(split, batch, momentum):
    mlp = model(split, batch=batch, lr=1e-30, momentum=momentum)
    before = mlp.weights()
    assert np.isfinite(mlp.train_epoch(epoch_order(1, 1, N)))
    assert_same_bits(list(mlp.weights().values()), list(before.values()))


def test_a_learning_rate_below_float32_is_refused(split):
    with pytest.raises(UsageError, match=r"lr must be at least 1e-30 .* Received: 1e-31"):
        model(split, lr=1e-31)


def test_from_config_draws_the_seeds_weights(split):
    mlp = NumPyMLP.from_config(TrainConfig(hidden=7, seed=5, train_size=N), split)
    drawn = initial_weights(weights_rng(5), hidden=7)
    for name in PARAMETERS:
        np.testing.assert_array_equal(mlp.weights()[name], drawn[name].astype(np.float32))


def test_the_order_may_visit_a_part_of_the_training_set(split):
    part = model(Split(split.images[:100], split.labels[:100]))
    whole = model(split)
    order = epoch_order(1, 1, 100)
    assert part.train_epoch(order) == whole.train_epoch(order)
    assert_same_bits(state(part), state(whole))


def test_blas_threads_are_set_and_restored():
    from threadpoolctl import ThreadpoolController

    # those that NumPy multiplies with: other packages may have brought their own meanwhile
    show = "import numpy, threadpoolctl; print(*(i['filepath'] for i in threadpoolctl."
    show += "threadpool_info() if i['user_api'] == 'blas'), sep='\\n')"
    run = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    of_numpy = run.stdout.splitlines()
    assert of_numpy

    def threads() -> set[int]:
        found = ThreadpoolController().select(user_api="blas").info()
        return {lib["num_threads"] for lib in found if lib["filepath"] in of_numpy}

    with threadpool_limits(2, user_api="blas"):
        before = threads()
        with blas_threads():
            assert threads() == {1}
        assert threads() == before


@pytest.mark.parametrize("batch", [50, 300])
def test_a_forked_child_trains_too(split, batch):
    mlp = model(split, batch=batch)
    mlp.train_epoch(epoch_order(1, 1, N))  # the second lane's thread is the parent's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
        child = os.fork()
    if not child:
        signal.alarm(20)  # rather than hang
        mlp.train_epoch(epoch_order(1, 2, N))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("batch", [5, 50])
def test_an_interrupted_epoch_leaves_the_state_before_it(split, monkeypatch, batch):
    mlp = model(split, batch=batch, momentum=0.9)
    mlp.train_epoch(epoch_order(1, 1, N))
    before = state(mlp)

    def interrupt(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("fmnist_cli.engine.numpy_mlp.delayed.loss_sum", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mlp.train_epoch(epoch_order(1, 2, N))
    assert_same_bits(state(mlp), before)


@BATCHES
@MOMENTA
def test_one_lane_has_the_bits_of_two(split, monkeypatch, batch, momentum):
    runs = []
    for single_thread in (True, False):
        monkeypatch.setattr("fmnist_cli.engine.numpy_mlp.threads._single_thread", single_thread)
        mlp = model(split, batch=batch, momentum=momentum, hidden=128)
        losses = [mlp.train_epoch(epoch_order(1, epoch, N)) for epoch in (1, 2)]
        runs.append([*state(mlp), np.array(losses)])
    assert_same_bits(*runs)


def test_numpy_is_all_it_needs():
    code = (
        "import sys, fmnist_cli.engine.numpy_mlp.backend;"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"scipy", "tensorflow", "keras", "torch", "jax", "typer", "rich", "sqlalchemy"} & {
        *loaded
    }
