"""The same epoch of SGD by every peer, each as a good engineer would write it for speed.

A peer is a function ``(data, batch, momentum) -> Trainer``; a trainer has ``epoch(order)``, which
trains one whole epoch in the given order and returns when it is done, and ``weights()``. All start
from the same weights, in float32 unless the name says otherwise, with the same arrays, batches and
learning rate. Imports are inside the functions: each peer runs in a process of its own.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

LR = 0.01


@dataclass(frozen=True)
class Data:
    images: np.ndarray  # (N, 784) float32
    labels: np.ndarray  # (N,) int64
    weights: dict[str, np.ndarray]  # W1 (784, H), b1 (H,), W2 (H, 10), b2 (10,), float64

    @property
    def float32_weights(self) -> list[np.ndarray]:
        return [self.weights[name].astype(np.float32) for name in ("W1", "b1", "W2", "b2")]


class Trainer(Protocol):
    def epoch(self, order: np.ndarray) -> None: ...

    def weights(self) -> list[np.ndarray]: ...


@dataclass
class Simple:
    """A trainer of two functions."""

    epoch: Callable[[np.ndarray], None]
    weights: Callable[[], list[np.ndarray]]


def set_blas_threads(threads: int) -> None:
    """For this process, which is one peer's own."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)


def fmnist(data: Data, batch: int, momentum: float) -> Trainer:
    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP

    mlp = NumPyMLP(
        Split(data.images, data.labels),
        weights=data.weights,
        batch=batch,
        lr=LR,
        momentum=momentum,
    )
    return Simple(mlp.train_epoch, lambda: list(mlp.weights().values()))


def fmnist_one_lane(data: Data, batch: int, momentum: float) -> Trainer:
    from fmnist_cli.engine.numpy_mlp.threads import use_single_thread

    use_single_thread()
    return fmnist(data, batch, momentum)


def numpy_textbook_float64(data: Data, batch: int, momentum: float, *, threads: int) -> Trainer:
    """The layers of ``layers.py``, step by step."""
    from fmnist_cli.engine.numpy_mlp.layers import MLP, sgd_step

    set_blas_threads(threads)
    weights = {name: w.copy() for name, w in data.weights.items()}
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    model, images = MLP(weights), data.images.astype(np.float64)

    def epoch(order: np.ndarray) -> None:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            model.forward(images[rows], data.labels[rows])
            sgd_step(weights, velocity, model.backward(), lr=LR, momentum=momentum)

    return Simple(epoch, lambda: list(weights.values()))


def numpy_preallocated(data: Data, batch: int, momentum: float, *, threads: int) -> Trainer:
    """The textbook's formulas in float32 with every buffer allocated once."""
    set_blas_threads(threads)
    W1, b1, W2, b2 = weights = data.float32_weights
    velocity = [np.zeros_like(w) for w in weights]
    grads = [np.empty_like(w) for w in weights]
    H, K, B = len(b1), len(b2), min(batch, len(data.labels))
    x, h, active = (
        np.empty((B, 784), np.float32),
        np.empty((B, H), np.float32),
        np.empty((B, H), bool),
    )
    z, dh, rows_of_batch = np.empty((B, K), np.float32), np.empty((B, H), np.float32), np.arange(B)

    def step(rows: np.ndarray) -> None:
        n = len(rows)
        X, A, mask, Z, dA = x[:n], h[:n], active[:n], z[:n], dh[:n]
        np.take(data.images, rows, axis=0, out=X, mode="clip")
        np.dot(X, W1, out=A)
        np.add(A, b1, out=A)
        np.greater(A, 0, out=mask)
        np.maximum(A, 0, out=A)
        np.dot(A, W2, out=Z)
        np.add(Z, b2, out=Z)
        Z -= Z.max(axis=1, keepdims=True)
        np.exp(Z, out=Z)
        Z /= Z.sum(axis=1, keepdims=True)
        Z[rows_of_batch[:n], data.labels[rows]] -= 1
        Z /= n
        np.dot(A.T, Z, out=grads[2])
        np.sum(Z, axis=0, out=grads[3])
        np.dot(Z, W2.T, out=dA)
        dA *= mask
        np.dot(X.T, dA, out=grads[0])
        np.sum(dA, axis=0, out=grads[1])
        for w, v, g in zip(weights, velocity, grads, strict=True):
            if momentum:
                v *= momentum
                v += g
                np.multiply(v, LR, out=g)
            else:
                g *= LR
            w -= g

    def epoch(order: np.ndarray) -> None:
        for start in range(0, len(order), batch):
            step(order[start : start + batch])

    return Simple(epoch, lambda: [w.copy() for w in weights])


def jax_scan(data: Data, batch: int, momentum: float) -> Trainer:
    """The epoch as one jitted ``lax.scan``, weights donated."""
    import jax
    import jax.numpy as jnp

    images, labels = jnp.asarray(data.images), jnp.asarray(data.labels)

    def loss(w: list[Any], x: Any, y: Any) -> Any:
        z = jax.nn.relu(x @ w[0] + w[1]) @ w[2] + w[3]
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()

    def step(state: Any, rows: Any) -> Any:
        w, v = state
        g = jax.grad(loss)(w, images[rows], labels[rows])
        if momentum:
            v = jax.tree.map(lambda v, g: momentum * v + g, v, g)
            return (jax.tree.map(lambda w, v: w - LR * v, w, v), v), None
        return (jax.tree.map(lambda w, g: w - LR * g, w, g), v), None

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state: Any, order: Any) -> Any:
        whole = len(order) // batch * batch
        state, _ = jax.lax.scan(step, state, order[:whole].reshape(-1, batch))
        if whole < len(order):
            state, _ = step(state, order[whole:])
        return state

    w = [jnp.asarray(w) for w in data.float32_weights]
    state = (w, [jnp.zeros_like(x) for x in w] if momentum else [])

    def epoch(order: np.ndarray) -> None:
        nonlocal state
        state = jax.block_until_ready(run(state, jnp.asarray(order)))

    return Simple(epoch, lambda: [np.array(w) for w in state[0]])


def tensorflow_xla(data: Data, batch: int, momentum: float) -> Trainer:
    """The epoch as one XLA while-loop; N must be a multiple of the batch size."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    images, labels = tf.constant(data.images), tf.constant(data.labels)
    n_batches = len(data.labels) // batch
    if n_batches * batch != len(data.labels):
        raise ValueError(f"batch must divide {len(data.labels)}. Received: {batch}.")

    @tf.function(jit_compile=True)
    def run(state: tuple[Any, ...], order: Any) -> tuple[Any, ...]:
        order = tf.reshape(order, (n_batches, batch))

        def body(i: Any, w: tuple[Any, ...], v: tuple[Any, ...]) -> Any:
            rows = order[i]
            x, y = tf.gather(images, rows), tf.gather(labels, rows)
            with tf.GradientTape() as tape:
                tape.watch(w)
                z = tf.nn.relu(x @ w[0] + w[1]) @ w[2] + w[3]
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z)
                )
            g = tape.gradient(loss, w)
            if momentum:
                v = tuple(momentum * b + a for a, b in zip(g, v, strict=True))
                g = v
            return i + 1, tuple(a - LR * b for a, b in zip(w, g, strict=True)), v

        w, v = state
        _, w, v = tf.while_loop(lambda i, w, v: i < n_batches, body, (tf.constant(0), w, v))
        return w, v

    w = tuple(tf.constant(w) for w in data.float32_weights)
    state: Any = (w, tuple(tf.zeros_like(x) for x in w) if momentum else ())

    def epoch(order: np.ndarray) -> None:
        nonlocal state
        state = run(state, tf.constant(order))
        state[0][0].numpy()

    return Simple(epoch, lambda: [w.numpy() for w in state[0]])


def pytorch(data: Data, batch: int, momentum: float, *, threads: int, fused: bool) -> Trainer:
    """Eager: ``functional.cross_entropy``, ``torch.optim.SGD``, rows by ``index_select``."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    images, labels = torch.tensor(data.images), torch.tensor(data.labels)
    W1, b1, W2, b2 = weights = [torch.tensor(w, requires_grad=True) for w in data.float32_weights]
    how = {"fused": True} if fused else {"foreach": False}
    optimizer = torch.optim.SGD(weights, lr=LR, momentum=momentum, **how)

    def epoch(order: np.ndarray) -> None:
        for rows in torch.from_numpy(order).split(batch):
            optimizer.zero_grad(set_to_none=True)
            h = functional.relu(torch.addmm(b1, images.index_select(0, rows), W1))
            functional.cross_entropy(
                torch.addmm(b2, h, W2), labels.index_select(0, rows)
            ).backward()
            optimizer.step()

    return Simple(epoch, lambda: [w.detach().numpy().copy() for w in weights])


def scikit_learn(data: Data, batch: int, momentum: float, *, threads: int) -> Trainer:
    """``MLPClassifier.partial_fit``, no shuffling of its own, one epoch a call."""
    from sklearn.neural_network import MLPClassifier

    set_blas_threads(threads)
    W1, b1, W2, b2 = data.float32_weights
    model = MLPClassifier(
        (len(b1),),
        solver="sgd",
        alpha=0.0,
        batch_size=batch,
        learning_rate_init=LR,
        momentum=momentum,
        nesterovs_momentum=False,
        shuffle=False,
    )
    classes = np.arange(10)
    model.partial_fit(data.images[:batch], data.labels[:batch], classes=classes)
    for ours, theirs in zip((W1, W2), model.coefs_, strict=True):
        theirs[...] = ours
    for ours, theirs in zip((b1, b2), model.intercepts_, strict=True):
        theirs[...] = ours
    for velocity in model._optimizer.velocities:
        velocity[...] = 0

    def epoch(order: np.ndarray) -> None:
        model.partial_fit(data.images[order], data.labels[order])

    def weights() -> list[np.ndarray]:
        (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
        return [W1, b1, W2, b2]

    return Simple(epoch, weights)


def keras_fit(
    data: Data, batch: int, momentum: float, *, steps_per_execution: int = 1, jit: bool = False
) -> Trainer:
    """``Model.fit`` on the arrays, in our order."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    W1, b1, W2, b2 = data.float32_weights
    model = keras.Sequential(
        [
            keras.layers.Input((784,)),
            keras.layers.Dense(len(b1), activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.SGD(LR, momentum=momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
        jit_compile=jit,
    )
    model.set_weights([W1, b1, W2, b2])

    def epoch(order: np.ndarray) -> None:
        model.fit(
            data.images[order], data.labels[order], batch_size=batch, shuffle=False, verbose=0
        )

    return Simple(epoch, model.get_weights)


PEERS: dict[str, Callable[[Data, int, float], Trainer]] = {
    "fmnist": fmnist,
    "fmnist, one lane": fmnist_one_lane,
    "JAX, epoch one lax.scan": jax_scan,
    "TensorFlow, epoch one XLA loop": tensorflow_xla,
    "NumPy, preallocated, 1 thread": functools.partial(numpy_preallocated, threads=1),
    "NumPy, preallocated, 2 threads": functools.partial(numpy_preallocated, threads=2),
    "NumPy, textbook float64, 1 thread": functools.partial(numpy_textbook_float64, threads=1),
    "NumPy, textbook float64, 2 threads": functools.partial(numpy_textbook_float64, threads=2),
    "PyTorch, 1 thread": functools.partial(pytorch, threads=1, fused=False),
    "PyTorch, 2 threads": functools.partial(pytorch, threads=2, fused=False),
    "PyTorch, fused, 1 thread": functools.partial(pytorch, threads=1, fused=True),
    "PyTorch, fused, 2 threads": functools.partial(pytorch, threads=2, fused=True),
    "scikit-learn, 1 thread": functools.partial(scikit_learn, threads=1),
    "scikit-learn, 2 threads": functools.partial(scikit_learn, threads=2),
    "Keras fit": keras_fit,
    "Keras fit, 50 steps a call": functools.partial(keras_fit, steps_per_execution=50),
    "Keras fit, 50 steps a call, jit": functools.partial(
        keras_fit, steps_per_execution=50, jit=True
    ),
}

# The module whose absence means that a peer is not installed.
NEEDS = {
    "JAX": "jax",
    "TensorFlow": "tensorflow",
    "PyTorch": "torch",
    "scikit-learn": "sklearn",
    "Keras": "keras",
}
