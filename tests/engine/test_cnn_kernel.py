"""The CNNs' fast kernel against the textbook layers, over whole epochs."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from threading import get_native_id
from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.config import Head
from fmnist_cli.engine.numpy_cnn import meeting
from fmnist_cli.engine.numpy_cnn.blocks import (
    BY_PARITY,
    IN_ORDER,
    Strips,
    by_columns,
    collect,
    collect_columns,
    cut,
    join,
    spread,
    spread_columns,
)
from fmnist_cli.engine.numpy_cnn.kernel import ConvolutionalKernel
from fmnist_cli.engine.numpy_cnn.layers import CNN
from fmnist_cli.engine.numpy_mlp.layers import sgd_step
from fmnist_cli.engine.numpy_mlp.negated import Sgd
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.errors import FmnistError

N, LR = 37, 0.05  # N is prime: the last batch is smaller
FEW = {"cnn2": (6, 0), "cnn3": (6, 8)}  # kernels of each layer


def problem(
    model: str, *, biases: bool = True, head: Head = "flatten"
) -> tuple[dict, np.ndarray, np.ndarray, list]:
    """Weights, images (black below and in half of the pixels above), labels, two orders."""
    rng = np.random.default_rng(7)
    first, second = FEW[model]
    shapes: dict[str, tuple[int, ...]] = {"conv1/kernel": (7, 7, 1, first), "conv1/bias": (first,)}
    n_in = 121 * first if head == "flatten" else first
    if second:
        shapes |= {"conv2/kernel": (2, 2, first, second), "conv2/bias": (second,)}
        n_in = 25 * second if head == "flatten" else second
    shapes |= {"output/kernel": (n_in, 10), "output/bias": (10,)}
    weights = {
        name: rng.normal(0, 0.1, shape) * (biases or len(shape) > 1)
        for name, shape in shapes.items()
    }
    images = rng.random((N, 784)) * (rng.random((N, 784)) < 0.5)
    images[:, 500:] = 0
    return weights, images, rng.integers(0, 10, N), [rng.permutation(N) for _ in range(2)]


def textbook(
    model: str, *, batch: int, momentum: float, head: Head = "flatten", **how: bool
) -> tuple[dict, dict, list]:
    weights, images, labels, orders = problem(model, head=head, **how)
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    network, losses = CNN(weights, head), []
    for order in orders:
        losses.append(0.0)
        for start in range(0, N, batch):
            rows = order[start : start + batch]
            losses[-1] += len(rows) * network.forward(images[rows], labels[rows])
            sgd_step(weights, velocity, network.backward(), lr=LR, momentum=momentum)
    return weights, velocity, losses


def fast(
    model: str,
    *,
    batch: int,
    momentum: float,
    head: Head = "flatten",
    dtype: Any = float,
    **how: bool,
) -> tuple[dict, dict, list]:
    weights, images, labels, orders = problem(model, head=head, **how)
    weights = {name: w.astype(dtype) for name, w in weights.items()}
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    kernel = ConvolutionalKernel(
        images.astype(dtype),
        labels,
        weights=weights,
        velocity=velocity,
        sgd=Sgd(batch, LR, momentum),
        head=head,
    )
    with blas_threads():
        losses = [kernel.epoch(order) for order in orders]
    return weights, velocity, losses


def same_bits(one: tuple[dict, dict, list], other: tuple[dict, dict, list]) -> bool:
    return one[2] == other[2] and all(
        a[name].tobytes() == b[name].tobytes()
        for a, b in zip(one[:2], other[:2], strict=True)
        for name in a
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch", [1, 5, 21, N])
@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_epochs_are_those_of_the_textbook(model, batch, momentum):
    weights, velocity, losses = textbook(model, batch=batch, momentum=momentum)
    fast_weights, fast_velocity, fast_losses = fast(model, batch=batch, momentum=momentum)
    np.testing.assert_allclose(fast_losses, losses, rtol=1e-10)
    for name, w in weights.items():
        np.testing.assert_allclose(fast_weights[name], w, rtol=1e-10, atol=1e-12, err_msg=name)
        if momentum:
            v, fast_v = velocity[name], fast_velocity[name]
            np.testing.assert_allclose(fast_v, v, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("head", ["gap", "gmp"])
@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_epochs_with_another_head_are_those_of_the_textbook(model, head):
    weights, velocity, losses = textbook(model, batch=5, momentum=0.9, head=head)
    fast_weights, fast_velocity, fast_losses = fast(model, batch=5, momentum=0.9, head=head)
    np.testing.assert_allclose(fast_losses, losses, rtol=1e-10)
    for name, w in weights.items():
        np.testing.assert_allclose(fast_weights[name], w, rtol=1e-10, atol=1e-12, err_msg=name)
        v, fast_v = velocity[name], fast_velocity[name]
        np.testing.assert_allclose(fast_v, v, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_black_windows_at_zero_biases_are_ties_and_corners_as_in_the_textbook(model):
    weights, _, losses = textbook(model, batch=5, momentum=0.0, biases=False)
    fast_weights, _, fast_losses = fast(model, batch=5, momentum=0.0, biases=False)
    np.testing.assert_allclose(fast_losses, losses, rtol=1e-10)
    for name, w in weights.items():
        np.testing.assert_allclose(fast_weights[name], w, rtol=1e-10, atol=1e-12, err_msg=name)


class Pays:
    """A second lane that always pays, or never, or from time to time (None)."""

    def __init__(self, *, always: bool | None) -> None:
        self.always, self.asked = always, 0

    def pays(self) -> bool:
        self.asked += 1
        return self.asked % 3 == 1 if self.always is None else self.always

    def judge(self, wall: float, cpu: float) -> bool:
        assert wall >= 0
        assert cpu >= 0
        return self.pays()


@pytest.fixture(autouse=True)
def judged_at_every_step(monkeypatch):
    monkeypatch.setattr(meeting, "WATCHED_SECONDS", -1.0)


@pytest.mark.parametrize("batch", [5, N])
@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_one_process_and_two_and_some_of_each_give_the_same_bits(model, batch, monkeypatch):
    monkeypatch.setattr(meeting, "FEWEST_STEPS", 1)
    lanes = [Pays(always=True), Pays(always=False), Pays(always=None)]
    results = []
    for lane in lanes:
        monkeypatch.setattr(meeting, "second_lane", lane)
        results.append(fast(model, batch=batch, momentum=0.9, dtype=np.float32))
    assert lanes[2].asked > 4
    assert same_bits(results[0], results[1])
    assert same_bits(results[0], results[2])


@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_float32_follows_float64(model):
    _, _, losses = textbook(model, batch=5, momentum=0.0)
    _, _, fast_losses = fast(model, batch=5, momentum=0.0, dtype=np.float32)
    np.testing.assert_allclose(fast_losses, losses, rtol=1e-4)


@pytest.mark.parametrize("forks", [True, False])
def test_an_error_in_one_worker_is_raised_and_the_other_does_not_wait_for_ever(forks, monkeypatch):
    monkeypatch.setattr(meeting, "FEWEST_STEPS", 1)
    monkeypatch.setattr(meeting, "second_lane", Pays(always=forks))
    weights, images, labels, orders = problem("cnn3")
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    kernel = ConvolutionalKernel(
        images, labels, weights=weights, velocity=velocity, sgd=Sgd(5, LR, 0.0)
    )

    before = children()

    def fail(*_: object) -> None:
        raise MemoryError("no room")

    for worker in kernel.workers:
        with monkeypatch.context() as patch:
            patch.setattr(worker, "_update", fail)
            with pytest.raises(MemoryError, match="no room"):
                kernel.epoch(orders[0])
            assert children() == before


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
def test_a_second_process_that_is_killed_is_an_error(monkeypatch):
    monkeypatch.setattr(meeting, "FEWEST_STEPS", 1)
    monkeypatch.setattr(meeting, "second_lane", Pays(always=True))
    weights, images, labels, orders = problem("cnn2")
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    kernel = ConvolutionalKernel(
        images, labels, weights=weights, velocity=velocity, sgd=Sgd(5, LR, 0.0)
    )
    kill = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    monkeypatch.setattr(kernel.workers[1], "_update", kill)
    with pytest.raises(FmnistError, match="Received: it was killed"):
        kernel.epoch(orders[0])


def children() -> str:
    """Of this thread; those that other tests started and the zombies too."""
    listed = Path(f"/proc/self/task/{get_native_id()}/children")
    return listed.read_text() if listed.exists() else ""


def a_kernel(monkeypatch):
    """A kernel that forks, and the order of an epoch."""
    monkeypatch.setattr(meeting, "FEWEST_STEPS", 1)
    monkeypatch.setattr(meeting, "second_lane", meeting.second_lane.__class__())
    weights, images, labels, orders = problem("cnn2")
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    kernel = ConvolutionalKernel(
        images, labels, weights=weights, velocity=velocity, sgd=Sgd(5, LR, 0.0)
    )
    return kernel, orders[0]


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
@pytest.mark.parametrize("name", ["fork", "socketpair"])
def test_where_no_second_process_can_be_had_both_work_in_turn(name, monkeypatch):
    kernel, order = a_kernel(monkeypatch)
    expected = kernel.epoch(order)
    kernel, order = a_kernel(monkeypatch)

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(*((os, name) if name == "fork" else (socket, name)), refuse)
    assert kernel.epoch(order) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_fork_is_handled_after_it(number, monkeypatch):
    kernel, order = a_kernel(monkeypatch)
    fork, caller, children_before = os.fork, os.getpid(), children()

    class Came(BaseException):
        pass

    def handle(*_: object) -> None:
        assert os.getpid() == caller
        raise Came

    def fork_and_signal() -> int:
        if pid := fork():
            os.kill(caller, number)
        return pid

    monkeypatch.setattr(os, "fork", fork_and_signal)
    before = signal.signal(number, handle)
    try:
        with pytest.raises(Came):
            kernel.epoch(order)
        assert signal.getsignal(number) is handle
    finally:
        signal.signal(number, before)
    assert children() == children_before


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
def test_ended_processes_that_nobody_waits_for_are_no_obstacle(monkeypatch):
    kernel, order = a_kernel(monkeypatch)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert np.isfinite(kernel.epoch(order))
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("order", [IN_ORDER, BY_PARITY])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strips_are_what_the_windows_see_of_pairs_of_columns(order, dtype):
    images = np.random.default_rng(0).random((4, 784)).astype(dtype)
    strips = Strips(3, order, dtype)
    strips.gather(images[[2, 0, 3]])
    columns = [i for part in order for i in range(11)[part]]
    assert len(set(columns)) == 11
    upper, lower, shared = (
        part.reshape(2, 11, 3, 11, 7, -1) for part in (strips.upper, strips.lower, strips.shared)
    )
    for parity, row, n, place in np.ndindex(upper.shape[:4]):
        top, left = 2 * row + parity, 2 * columns[place]
        image = images.reshape(4, 28, 28)[[2, 0, 3][n]]
        seen = image[top : top + 7, left : left + 8]  # by two windows side by side
        even, odd = seen[:, ::2], seen[:, 1::2]
        at = parity, row, n, place
        assert np.array_equal(upper[at], even - odd)
        assert np.array_equal(lower[at], even[:, 1:] - odd[:, :-1])
        assert np.array_equal(shared[at], odd)


def test_the_products_of_pairs_of_columns_make_both_windows_and_their_gradient_is_the_transpose():
    rng = np.random.default_rng(0)
    kernel, d = np.zeros((77, 2)), rng.normal(size=(7, 8))
    upper, lower, shared = by_columns(kernel)
    whole = rng.normal(size=(7, 7, 2))
    upper[...], lower[...] = whole[:, ::2], whole[:, 1::2]
    spread_columns(upper, lower, shared)
    even, odd = d[:, ::2], d[:, 1::2]
    both = np.tensordot(odd, shared)
    left = np.tensordot(even - odd, upper) + both
    right = np.tensordot(even[:, 1:] - odd[:, :-1], lower) + both
    np.testing.assert_allclose(left, np.tensordot(d[:, :7], whole))
    np.testing.assert_allclose(right, np.tensordot(d[:, 1:], whole))
    gradient = rng.normal(size=kernel.shape)
    at_products = (gradient * kernel).sum()
    collect_columns(*by_columns(gradient))
    assert at_products == pytest.approx((gradient[:49] * kernel[:49]).sum())


def test_spread_is_the_transpose_of_collect_and_join_of_cut():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 3, 4)), rng.normal(size=(3, 3, 4))
    collected, spread_out = x.copy(), y.copy()
    collect(collected)
    spread(spread_out)
    at_corners = (collected[::2, ::2] * y[::2, ::2]).sum()
    assert at_corners == pytest.approx((x * spread_out).sum())
    pooled, tiles = rng.normal(size=(2, 121, 4)), rng.normal(size=(3, 3, 2, 5, 5, 4))
    made, joined = np.empty_like(tiles), np.empty_like(pooled)
    rows = np.empty((3, 2, 5, 11, 4))
    cut(pooled, made, rows)
    product = (made * tiles).sum()
    join(tiles, joined, rows)
    assert product == pytest.approx((pooled * joined).sum())
