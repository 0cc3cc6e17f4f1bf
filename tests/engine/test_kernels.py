"""The fast kernels against the textbook layers, over whole epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.numpy_mlp.chunked import ChunkedGradients
from fmnist_cli.engine.numpy_mlp.delayed import (
    BLOCK_ROWS,
    LARGEST_BARE_LOGIT,
    PANEL_UNITS,
    DelayedUpdates,
    block_steps,
    split_work,
)
from fmnist_cli.engine.numpy_mlp.layers import MLP, PARAMETERS, initial_weights, sgd_step
from fmnist_cli.engine.numpy_mlp.negated import NegatedWeights, Sgd

N = 211  # prime: no batch size but 1 and N divides it
LR = 0.05


@dataclass
class Problem:
    images: np.ndarray
    labels: np.ndarray
    weights: dict[str, np.ndarray]
    orders: list[np.ndarray]

    @property
    def sizes(self) -> dict[str, int]:
        return {"hidden": len(self.weights["b1"]), "n_classes": len(self.weights["b2"])}


def problem(*, n: int = N, n_inputs: int = 37, hidden: int = 16, n_classes: int = 10) -> Problem:
    """Half of the pixels are 0, as in the real images; two epochs."""
    rng = np.random.default_rng(7)
    images = rng.random((n, n_inputs)) * (rng.random((n, n_inputs)) < 0.5)
    weights = initial_weights(rng, hidden=hidden, n_inputs=n_inputs, n_classes=n_classes)
    labels = rng.integers(0, n_classes, n)
    return Problem(images, labels, weights, [rng.permutation(n) for _ in range(2)])


def textbook(p: Problem, *, batch: int, momentum: float) -> tuple[dict, dict, list[float]]:
    """Weights, velocity and running losses from the layers, step by step, in float64."""
    weights = {name: w.copy() for name, w in p.weights.items()}
    velocity = {name: np.zeros_like(w) for name, w in p.weights.items()}
    model, losses = MLP(weights), []
    for order in p.orders:
        total = 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            total += len(rows) * model.forward(p.images[rows], p.labels[rows])
            sgd_step(weights, velocity, model.backward(), lr=LR, momentum=momentum)
        losses.append(total / len(order))
    if not momentum:  # without momentum the kernels keep none: V_{t+1} is g_t alone
        velocity = {name: np.zeros_like(v) for name, v in velocity.items()}
    return weights, velocity, losses


def fast(
    kernel: Callable[..., Any],
    p: Problem,
    *,
    batch: int,
    momentum: float,
    dtype: Any = float,
    **how: int,
) -> tuple[dict, dict, list[float]]:
    """The same from a kernel."""
    weights = {name: a.astype(dtype) for name, a in p.weights.items()}
    velocity = {name: np.zeros_like(a) for name, a in weights.items()}
    trainer = kernel(
        p.images.astype(dtype), p.labels, sgd=Sgd(batch, LR, momentum), **p.sizes, **how
    )
    D, K = p.images.shape[1], len(p.weights["b2"])
    w, v = (NegatedWeights.empty(D, trainer.panel_widths, K, dtype) for _ in range(2))
    losses = []
    for order in p.orders:
        w.load(weights)
        v.load(velocity, LR)
        losses.append(trainer.epoch(w, v if momentum else None, order) / len(order))
        w.store(weights)
        v.store(velocity, LR)
    return weights, velocity, losses


def assert_agree(got: tuple, want: tuple, *, rtol: float) -> None:
    """Every array within ``rtol`` of its largest entry, every loss within ``rtol``.

    What is below 1e-100 changes no weight: the kernels let it be zero.
    """
    for got_arrays, want_arrays in zip(got[:2], want[:2], strict=True):
        for name in PARAMETERS:
            scale = np.abs(want_arrays[name]).max()
            np.testing.assert_allclose(
                got_arrays[name],
                want_arrays[name],
                rtol=0,
                atol=rtol * scale + 1e-100,
                err_msg=name,
            )
    np.testing.assert_allclose(got[2], want[2], rtol=rtol)


KERNELS = pytest.mark.parametrize("kernel", [DelayedUpdates, ChunkedGradients])
MOMENTA = pytest.mark.parametrize("momentum", [0.0, 0.1, 0.5, 0.9])


@KERNELS
@MOMENTA
@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 50, 64, 150, N])
def test_two_epochs_are_the_textbooks(kernel, batch, momentum):
    p = problem()
    got = fast(kernel, p, batch=batch, momentum=momentum)
    assert_agree(got, textbook(p, batch=batch, momentum=momentum), rtol=1e-10)


@MOMENTA
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 42, 43, 1000])
def test_the_block_length_changes_nothing_but_rounding(steps, momentum):
    p = problem()
    got = fast(DelayedUpdates, p, batch=5, momentum=momentum, steps=steps)
    assert_agree(got, textbook(p, batch=5, momentum=momentum), rtol=1e-10)


@MOMENTA
@pytest.mark.parametrize("chunk", [1, 7, 105, 106, 1000])
def test_the_chunk_length_changes_nothing_but_rounding(chunk, momentum):
    p = problem()
    got = fast(ChunkedGradients, p, batch=N, momentum=momentum, chunk=chunk)
    assert_agree(got, textbook(p, batch=N, momentum=momentum), rtol=1e-10)


@KERNELS
@pytest.mark.parametrize("sizes", [{"hidden": 1}, {"hidden": 3, "n_inputs": 1}, {"n_classes": 2}])
def test_other_shapes_of_the_network(kernel, sizes):
    p = problem(**sizes)
    got = fast(kernel, p, batch=7, momentum=0.9)
    assert_agree(got, textbook(p, batch=7, momentum=0.9), rtol=1e-10)


@KERNELS
@MOMENTA
@pytest.mark.parametrize("batch", [1, 5, 150])
def test_float32_agrees_to_its_rounding(kernel, batch, momentum):
    # Sums of 37 products and 2 * 211 updates: a few hundred roundings of 6e-8, mostly cancelling.
    p = problem()
    got = fast(kernel, p, batch=batch, momentum=momentum, dtype=np.float32)
    assert_agree(got, textbook(p, batch=batch, momentum=momentum), rtol=5e-5)


@pytest.mark.parametrize("batch", [1, 5, 50])
def test_the_kernels_agree_at_the_size_of_the_real_images(batch):
    p = problem(n=500, n_inputs=784, hidden=128)
    delayed = fast(DelayedUpdates, p, batch=batch, momentum=0.9)
    chunked = fast(ChunkedGradients, p, batch=batch, momentum=0.9)
    assert_agree(delayed, chunked, rtol=1e-10)


@MOMENTA
@pytest.mark.parametrize("batch", [1, 20, 50])
@pytest.mark.parametrize("hidden", [15, 16, 17, 48, 100, 128])
def test_both_lanes_follow_in_panels_or_not(batch, hidden, momentum):
    p = problem(hidden=hidden)
    got = fast(DelayedUpdates, p, batch=batch, momentum=momentum)
    assert_agree(got, textbook(p, batch=batch, momentum=momentum), rtol=1e-10)


@pytest.mark.parametrize("batch", [1, 5, 17, 50, 127])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("hidden", [1, 10, 16, 100, 128, 1024])
def test_the_second_thread_takes_whole_panels_or_all(batch, momentum, hidden):
    sgd = Sgd(batch, LR, momentum)
    first, second = split_work(block_steps(sgd), sgd, hidden).widths
    assert first + second == hidden
    assert first >= 0
    assert second % PANEL_UNITS == 0 or first == 0


def test_logits_of_any_size_are_shifted():
    p = problem()
    p.weights["W2"] *= 3e4
    got = fast(ChunkedGradients, p, batch=20, momentum=0.9)
    assert_agree(got, textbook(p, batch=20, momentum=0.9), rtol=1e-10)


@MOMENTA
@pytest.mark.parametrize("batch", range(1, 400, 7))
def test_a_block_is_at_least_a_step_and_at_most_its_rows(batch, momentum):
    steps = block_steps(Sgd(batch, LR, momentum))
    assert steps == 1 or BLOCK_ROWS - batch < steps * batch <= BLOCK_ROWS


@MOMENTA
@pytest.mark.parametrize("batch", [1, 5, 50])
@pytest.mark.parametrize("scale", [3e2, 3e4])
def test_logits_too_large_for_a_bare_exp_are_shifted(scale, batch, momentum):
    p = problem()
    p.weights["W2"] *= scale
    logits = MLP(p.weights).logits(p.images[p.orders[0][:100]])
    assert np.abs(logits).max() > LARGEST_BARE_LOGIT
    want = textbook(p, batch=batch, momentum=momentum)
    with np.errstate(all="ignore"):  # as the backend does: the bare exp overflows, and is redone
        got = fast(DelayedUpdates, p, batch=batch, momentum=momentum)
    assert_agree(got, want, rtol=1e-10)


@pytest.mark.parametrize("batch", [1, 5, 20, 50])
@pytest.mark.parametrize("momentum", [0.001, 0.1, 0.3, 0.5])
def test_velocities_that_decay_never_become_denormal(batch, momentum):
    """Pixels that are 0 from some image on: processors take many times as long for such numbers."""
    p = problem(n=1500)
    images = np.rint(255 * p.images).astype(np.float32) / 255
    images[100:, :10] = 0
    kernel = DelayedUpdates(images, p.labels, sgd=Sgd(batch, LR, momentum), **p.sizes)
    w, v = (
        NegatedWeights.empty(images.shape[1], kernel.panel_widths, 10, np.float32) for _ in range(2)
    )
    w.load(p.weights)
    v.load({name: np.zeros_like(a) for name, a in p.weights.items()})
    order = np.arange(len(images))
    kernel.epoch(w, v, order)  # its buffers are made
    with np.errstate(under="raise"):
        kernel.epoch(w, v, order)


def test_mirroring_is_exact_both_ways():
    p = problem()
    negated = NegatedWeights.empty(37, [9, 7], 10, float)
    negated.load(p.weights)
    np.testing.assert_array_equal(negated.panels[0][-1], -p.weights["b1"][:9])
    np.testing.assert_array_equal(negated.panels[1][:-1], -p.weights["W1"][:, 9:])
    np.testing.assert_array_equal(negated.W2[:, -1], p.weights["b2"])
    back = {name: np.empty_like(w) for name, w in p.weights.items()}
    negated.store(back)
    for name in PARAMETERS:
        np.testing.assert_array_equal(back[name], p.weights[name])
