"""The textbook: convolution and max-pooling, forward and backward, and the two CNNs made of them.

Nothing here is tuned. What trains is in ``kernel.py``, and tests hold it to these lines. The
linear layer, the ReLU and the loss are the MLP's (``numpy_mlp/layers.py``).

Notation: N images of h rows, w columns and C channels, as arrays (N, h, w, C); F kernels of
k x k over the C channels, as one array (k, k, C, F). Every backward pass takes dL/d(output) and
returns dL/d(input), L being the mean loss of the batch; a layer with parameters leaves
dL/d(parameter) in ``grads``.

Source of the formulas: Goodfellow, Bengio and Courville, *Deep Learning* (2016), sections 9.1,
9.3 and 9.5. As everywhere in machine learning, "convolution" means cross-correlation: the
kernel is not flipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fmnist_cli.engine.config import N_CLASSES, Head, ModelName
from fmnist_cli.engine.numpy_mlp.layers import Array, Linear, ReLU, SoftmaxCrossEntropy

SHAPES: dict[ModelName, dict[str, tuple[int, ...]]] = {
    "cnn2": {
        "conv1/kernel": (7, 7, 1, 64),  # 28 x 28 -> 22 x 22, pooled 11 x 11
        "conv1/bias": (64,),
        "output/kernel": (11 * 11 * 64, N_CLASSES),
        "output/bias": (N_CLASSES,),
    },
    "cnn3": {
        "conv1/kernel": (7, 7, 1, 64),
        "conv1/bias": (64,),
        "conv2/kernel": (2, 2, 64, 128),  # 11 x 11 -> 10 x 10, pooled 5 x 5
        "conv2/bias": (128,),
        "output/kernel": (5 * 5 * 128, N_CLASSES),
        "output/bias": (N_CLASSES,),
    },
}
"""The parameters of each CNN, by the names that weights are saved under."""


def shapes(model: ModelName, head: Head = "flatten") -> dict[str, tuple[int, ...]]:
    """``SHAPES[model]``, with one input per channel to the linear layer after a global pool."""
    if head == "flatten":
        return SHAPES[model]
    *_, channels = [s for name, s in SHAPES[model].items() if name.startswith("conv")][-1]
    return SHAPES[model] | {"output/kernel": (channels, N_CLASSES)}


class Convolution:
    """y[n, r, s, f] = sum over i, j, c of x[n, r+i, s+j, c] kernel[i, j, c, f], plus bias[f].

    "Valid": only where the kernel lies within the image, so that h rows become h - k + 1.
    """

    def __init__(self, kernel: Array, bias: Array) -> None:
        self.kernel, self.bias = kernel, bias  # (k, k, C, F), (F,)
        self.grads: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        k = len(self.kernel)
        self.x_shape = x.shape  # (N, h, w, C)
        self.patches = sliding_window_view(x, (k, k), axis=(1, 2))  # (N, h-k+1, w-k+1, C, k, k)
        y = np.tensordot(self.patches, self.kernel, axes=([4, 5, 3], [0, 1, 2]))
        return y + self.bias  # (N, h-k+1, w-k+1, F) + (F,)

    def backward(self, dy: Array) -> Array:
        dkernel = np.tensordot(self.patches, dy, axes=([0, 1, 2], [0, 1, 2]))  # (C, k, k, F)
        self.grads["kernel"] = dkernel.transpose(1, 2, 0, 3)  # (k, k, C, F)
        self.grads["bias"] = dy.sum(axis=(0, 1, 2))  # (N, h-k+1, w-k+1, F) -> (F,)
        dx = np.zeros(self.x_shape, dy.dtype)
        (_, rows, columns, _), k = dy.shape, len(self.kernel)
        for i in range(k):
            for j in range(k):  # (N, h-k+1, w-k+1, F) @ (F, C) -> (N, h-k+1, w-k+1, C)
                dx[:, i : i + rows, j : j + columns] += dy @ self.kernel[i, j].T
        return dx


class MaxPool:
    """y[n, r, s, c] = the largest of x's 2 x 2 window at (2r, 2s); h and w must be even.

    Of equal values the first in row-major order is chosen, and alone gets the gradient.
    """

    def forward(self, x: Array) -> Array:
        n, h, w, c = x.shape
        windows = x.reshape(n, h // 2, 2, w // 2, 2, c).swapaxes(2, 3)
        windows = windows.reshape(n, h // 2, w // 2, 4, c)
        self.chosen = windows.real.argmax(axis=3, keepdims=True)  # (N, h/2, w/2, 1, C)
        return np.take_along_axis(windows, self.chosen, axis=3)[:, :, :, 0]  # (N, h/2, w/2, C)

    def backward(self, dy: Array) -> Array:
        n, h, w, c = dy.shape
        dwindows = np.zeros((n, h, w, 4, c), dy.dtype)
        np.put_along_axis(dwindows, self.chosen, dy[:, :, :, None], axis=3)
        return dwindows.reshape(n, h, w, 2, 2, c).swapaxes(2, 3).reshape(n, 2 * h, 2 * w, c)


class Flatten:
    """(N, h, w, C) -> (N, h w C)."""

    def forward(self, x: Array) -> Array:
        self.x_shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        return dy.reshape(self.x_shape)


class GlobalAveragePool:
    """(N, h, w, C) -> (N, C): the mean of each channel over its places."""

    def forward(self, x: Array) -> Array:
        self.x_shape = x.shape
        return np.asarray(x.mean(axis=(1, 2)))

    def backward(self, dy: Array) -> Array:
        _, h, w, _ = self.x_shape
        return np.broadcast_to(dy[:, None, None] / (h * w), self.x_shape)


class GlobalMaxPool:
    """(N, h, w, C) -> (N, C): the largest of each channel's places.

    Of m equal ones, as blank areas of an image make them, each gets 1/m of the gradient: the
    average of the choices, and what TensorFlow does.
    """

    def forward(self, x: Array) -> Array:
        largest = x.real.max(axis=(1, 2), keepdims=True)
        self.chosen = x.real == largest  # (N, h, w, C)
        self.n_chosen = self.chosen.sum(axis=(1, 2))  # (N, C)
        return np.asarray(np.where(self.chosen, x, 0).sum(axis=(1, 2)) / self.n_chosen)

    def backward(self, dy: Array) -> Array:
        return np.where(self.chosen, (dy / self.n_chosen)[:, None, None], 0).astype(dy.dtype)


class CNN:
    """One or two times (convolution, ReLU, max-pool), head, linear, softmax cross-entropy.

    Parameters
    ----------
    weights : arrays by the names of ``SHAPES["cnn2"]`` or ``SHAPES["cnn3"]``, of any size that
        fits
        Used as they are, not copied.
    head : {"flatten", "gap", "gmp"}
        What the last features become before the linear layer: a row, or each channel's average
        or maximum.
    """

    def __init__(self, weights: Mapping[str, Array], head: Head = "flatten") -> None:
        self.convolutions = {
            name: Convolution(weights[f"{name}/kernel"], weights[f"{name}/bias"])
            for name in ("conv1", "conv2")
            if f"{name}/kernel" in weights
        }
        self.relus = [ReLU() for _ in self.convolutions]
        self.pools = [MaxPool() for _ in self.convolutions]
        heads: dict[Head, type[Flatten | GlobalAveragePool | GlobalMaxPool]] = {
            "flatten": Flatten,
            "gap": GlobalAveragePool,
            "gmp": GlobalMaxPool,
        }
        self.head: Flatten | GlobalAveragePool | GlobalMaxPool = heads[head]()
        self.linear = Linear(weights["output/kernel"], weights["output/bias"])
        self.loss = SoftmaxCrossEntropy()

    def logits(self, x: Array) -> Array:
        """(N, D) -> (N, K), the images being squares of one channel."""
        side = math.isqrt(x.shape[1])
        y = x.reshape(len(x), side, side, 1)  # (N, h, w, C)
        for convolution, relu, pool in zip(
            self.convolutions.values(), self.relus, self.pools, strict=True
        ):
            y = pool.forward(relu.forward(convolution.forward(y)))
        self.hidden = y  # (N, h, w, C), the last hidden layer
        return self.linear.forward(self.head.forward(y))

    def forward(self, x: Array, labels: NDArray[np.integer]) -> float:
        """The mean loss of the batch."""
        return self.loss.forward(self.logits(x), labels)

    def backward(self) -> dict[str, Array]:
        """The gradient of the loss that ``forward`` last returned, by parameter name."""
        d = self.head.backward(self.linear.backward(self.loss.backward()))
        grads: dict[str, Array] = {}
        for (name, convolution), relu, pool in zip(
            reversed(self.convolutions.items()),
            reversed(self.relus),
            reversed(self.pools),
            strict=True,
        ):
            d = convolution.backward(relu.backward(pool.backward(d)))
            grads |= {f"{name}/{what}": grad for what, grad in convolution.grads.items()}
        grads |= {"output/kernel": self.linear.grads["W"], "output/bias": self.linear.grads["b"]}
        return grads


def initial_weights(
    rng: np.random.Generator, *, model: ModelName, head: Head = "flatten"
) -> dict[str, NDArray[np.float64]]:
    """A CNN's initial weights: kernels Glorot-uniform, biases 0; float64.

    A kernel's entries are uniform on [-a, a], a = sqrt(6 / (fan in + fan out)), the fans being
    the numbers that enter into an output and that an input enters into (Glorot and Bengio,
    "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010).
    """
    weights = {}
    for name, shape in shapes(model, head).items():
        if name.endswith("/bias"):
            weights[name] = np.zeros(shape)
        else:
            *field, n_in, n_out = shape
            limit = math.sqrt(6 / (math.prod(field) * (n_in + n_out)))
            weights[name] = rng.uniform(-limit, limit, shape)
    return weights
