"""The models' forward and backward passes in TensorFlow operations, arranged to be fast.

What differs from the layers of ``models.py``, and why the numbers are the same:

- The bias and the ReLU come after the max-pool, on a quarter of the numbers. Both are monotone,
  rounding included, so max(ReLU(z + b)) = ReLU(max(z) + b) bit for bit.
- The gradient of the max-pool is one fused loop. TensorFlow's own takes longer than both
  convolutions of cnn2 together (0.8 of 1.3 ms at batch 5, one core). As there, of equal values
  in a window the first in row-major order gets the gradient. The one difference: two different
  z that rounding makes equal after adding b are a tie there, and none here.
- The second convolution of a few images is a product with their patches, which the gradient by
  the kernel then uses again: TensorFlow's own takes half as long again for that gradient (282 and
  192 us for 3 images, one core), though not for many images.
- The convolutions take a batch in shards, side by side, whose gradients are added up in a fixed
  order (``runtime.import_tensorflow`` says why).

Notation as in ``backend.py``, and h, w, C for the rows, columns and channels of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from fmnist_cli.engine.config import IMAGE_SIDE, Head
from fmnist_cli.engine.keras_models.runtime import import_tensorflow

Tensor = Any


FEW_IMAGES = 8  # up to this batch size they are convolved by their patches


class Pass(NamedTuple):
    """What a forward pass computed.

    Attributes
    ----------
    logits : (N, K)
    hidden : (N, H) or (N, h, w, C)
        The last hidden layer, after ReLU (and pooling).
    pooled_from : list of (N, 2h, 2w, C)
        What each max-pool chose from.
    rectified_from : list of (N, ...)
        What each ReLU was given.
    peaks_from : (N, h, w, C) or None
        What a global maximum chose from.
    """

    logits: Tensor
    hidden: Tensor
    pooled_from: list[Tensor]
    rectified_from: list[Tensor]
    peaks_from: Tensor | None = None


def forward(
    weights: Mapping[str, Tensor], x: Tensor, *, head: Head = "flatten", shards: int = 1
) -> Pass:
    """The forward pass of the model that has these weights and head, on images x (N, D).

    ``shards`` is into how many parts, at most, the images are split for the convolutions.
    """
    tf = import_tensorflow()
    if "W1" in weights:
        a = tf.matmul(x, weights["W1"]) + weights["b1"]  # (N, D) @ (D, H) + (H,) -> (N, H)
        hidden = tf.nn.relu(a)
        logits = tf.matmul(hidden, weights["W2"]) + weights["b2"]  # (N, H) @ (H, K) -> (N, K)
        return Pass(logits, hidden, [], [a])

    n = int(x.shape[0])
    k = min(shards, n)
    sizes = [n // k + (i < n % k) for i in range(k)]
    images = tf.reshape(x, (n, IMAGE_SIDE, IMAGE_SIDE, 1))
    hidden, pooled_from, rectified_from = tf.nest.map_structure(
        lambda *parts: tf.concat(parts, axis=0),
        *(_convolutions(weights, part) for part in tf.split(images, sizes)),
    )
    if head == "flatten":
        flat = tf.reshape(hidden, (n, -1))  # (N, h, w, C) -> (N, h w C)
    else:
        flat = (tf.reduce_mean if head == "gap" else tf.reduce_max)(hidden, axis=(1, 2))  # (N, C)
    logits = tf.matmul(flat, weights["output/kernel"]) + weights["output/bias"]
    peaks_from = hidden if head == "gmp" else None
    return Pass(logits, hidden, pooled_from, rectified_from, peaks_from)


def _convolutions(
    weights: Mapping[str, Tensor], images: Tensor
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """(N, 28, 28, 1) -> hidden (N, h, w, C), and ``pooled_from`` and ``rectified_from``."""
    tf = import_tensorflow()
    y, pooled_from, rectified_from = images, [], []
    for layer in ("conv1", "conv2"):
        if f"{layer}/kernel" in weights:
            convolve = patch_convolution if y.shape[3] > 1 and y.shape[0] <= FEW_IMAGES else _conv2d
            z = convolve(y, weights[f"{layer}/kernel"])  # (N, 2h, 2w, C)
            a = tf.nn.bias_add(max_pool(z), weights[f"{layer}/bias"])  # (N, h, w, C)
            y = tf.nn.relu(a)
            pooled_from.append(z)
            rectified_from.append(a)
    return y, pooled_from, rectified_from


def _conv2d(y: Tensor, kernel: Tensor) -> Tensor:
    return import_tensorflow().nn.conv2d(y, kernel, 1, "VALID")


def patch_convolution(y: Tensor, kernel: Tensor) -> Tensor:
    """(N, h, w, C) and (i, j, C, F) -> (N, h - i + 1, w - j + 1, F), as ``_conv2d``."""
    tf = import_tensorflow()
    (n, h, w, c), (i, j, _, f) = y.shape, kernel.shape
    rows, columns = h - i + 1, w - j + 1

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(y: Tensor, kernel: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
        moved = [y[:, a : a + rows, b : b + columns] for a in range(i) for b in range(j)]
        patches = tf.reshape(tf.concat(moved, axis=3), (n * rows * columns, i * j * c))
        z = tf.matmul(patches, tf.reshape(kernel, (i * j * c, f)))

        def gradient(dz: Tensor) -> tuple[Tensor, Tensor]:
            dkernel = tf.matmul(patches, tf.reshape(dz, z.shape), transpose_a=True)
            dy = tf.nn.conv2d_transpose(dz, kernel, y.shape, 1, "VALID")
            return dy, tf.reshape(dkernel, kernel.shape)

        return tf.reshape(z, (n, rows, columns, f)), gradient

    return convolve(y, tf.convert_to_tensor(kernel))


def sides(passed: Pass) -> list[Tensor]:
    """On which side of every corner of the loss the pass was.

    Two passes with equal ``sides`` have the same slope formula: each ReLU is on in both or off
    in both, and each max-pool whose ReLU is on chose the same pixels (a global one: the same
    places).
    """
    tf = import_tensorflow()
    active = [tf.greater(a, 0) for a in passed.rectified_from]
    if not passed.pooled_from:
        return active
    chosen = []
    for z, on in zip(passed.pooled_from, active, strict=True):
        n, h, w, c = on.shape
        windows = tf.reshape(z, (n, h, 2, w, 2, c))
        is_max = tf.equal(windows, tf.reduce_max(windows, axis=(2, 4), keepdims=True))
        chosen.append(is_max & tf.reshape(on, (n, h, 1, w, 1, c)))
    if passed.peaks_from is not None:
        peak = tf.reduce_max(passed.peaks_from, axis=(1, 2), keepdims=True)
        chosen.append(tf.equal(passed.peaks_from, peak) & tf.greater(peak, 0))
    return active + chosen


def max_pool(z: Tensor) -> Tensor:
    """(N, 2h, 2w, C) -> (N, h, w, C): the maximum of each 2x2 window."""
    tf = import_tensorflow()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def pool(z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        m = tf.nn.max_pool2d(z, 2, 2, "VALID")
        return m, lambda dm: unpool()(z, m, dm)

    return pool(z)


@cache
def unpool() -> Any:
    """The compiled backward pass of ``max_pool``: (z, m, dL/dm) -> dL/dz."""
    tf = import_tensorflow()

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def backward(z: Tensor, m: Tensor, dm: Tensor) -> Tensor:
        n, h, w, c = m.shape
        windows = tf.reshape(z, (n, h, 2, w, 2, c))
        m = tf.reshape(m, (n, h, 1, w, 1, c))
        dm = tf.reshape(dm, (n, h, 1, w, 1, c))
        is_max = tf.equal(windows, m)
        first, second, third = (
            is_max[:, :, :1, :, :1],
            is_max[:, :, :1, :, 1:],
            is_max[:, :, 1:, :, :1],
        )
        none = tf.zeros_like(dm)
        top = tf.concat([tf.where(first, dm, none), tf.where(second & ~first, dm, none)], axis=4)
        taken = first | second
        bottom = tf.concat(
            [tf.where(third & ~taken, dm, none), tf.where(third | taken, none, dm)], axis=4
        )
        return tf.reshape(tf.concat([top, bottom], axis=2), z.shape)

    return backward


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,): each example's softmax cross-entropy, in nats."""
    tf = import_tensorflow()
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def loss_and_gradients(
    weights: Mapping[str, Tensor],
    x: Tensor,
    labels: Tensor,
    *,
    head: Head = "flatten",
    shards: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean loss of a batch, and its gradient by parameter name.

    Parameters
    ----------
    weights : mapping of tf.Variable or tf.Tensor
    x : (N, D)
    labels : (N,) int
    head, shards
        As in ``forward``.
    """
    tf = import_tensorflow()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(weights.values()))
        loss = tf.reduce_mean(losses(forward(weights, x, head=head, shards=shards).logits, labels))
    return loss, tape.gradient(loss, dict(weights))
