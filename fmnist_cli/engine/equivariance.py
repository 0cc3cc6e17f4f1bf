"""Where a network stops caring about position: layer by layer, and what that costs in accuracy.

A layer f is *equivariant* under a shift s if f(s x) = s f(x): the picture moves, and so do its
features. Convolution and pooling are, exactly, for shifts that are multiples of the product S of
the strides so far (1 after the first convolution, 2 after the first pooling, 4 after the second),
away from the border: the feature at i sees the inputs S i .. S i + R - 1, so that of a picture
moved by s it sees what the feature at i - s / S saw. A dense layer on flattened features has a
weight of its own for every place: there position becomes part of what is recognised. A global
pool before it forgets position, and moves only by what has crossed the border.

    equivariance error = |f(s x) - s f(x)| / |f(x)|,

over all images, and the features at the places that both have. Where S does not divide the shift,
s f(x) is the nearer of both whole moves: what remains is aliasing.

What a shift costs in accuracy has two causes: what has left the frame, and the position of what
has not. Moving the features back by s / S before the head (a dense network's image, by s) undoes
the second alone. A quarter turn loses nothing of the image, but no layer of a CNN is equivariant
under it: the filters keep their orientation. Turning the features back undoes their position; what
is not undone is that the features themselves are others.

Source: Azulay and Weiss, *Why do deep convolutional networks generalize so poorly to small image
transformations?* (JMLR 20, 2019) for aliasing by strides.

N images of h x w places and C channels: (N, h, w, C).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from fmnist_cli.engine.backend import Arrays, Split
from fmnist_cli.engine.config import IMAGE_SIDE, Head
from fmnist_cli.engine.numpy_cnn.inference import CNNInference
from fmnist_cli.engine.numpy_mlp.layers import Array
from fmnist_cli.engine.numpy_mlp.threads import blas_threads
from fmnist_cli.engine.shifts import overlap, rotate, shift
from fmnist_cli.errors import require

ERROR_IMAGES = 200  # say a layer's error to a per cent
_CHUNK = 50  # images: their features at stride 1 stay small


@dataclass(frozen=True)
class LayerError:
    """The equivariance error of one layer that has places.

    Attributes
    ----------
    layer : str
        ``conv1``, ``pool1``, ``conv2`` or ``pool2`` (after the ReLU).
    stride : int
        S.
    inside : float >= 0
        0 means to the last bit or to rounding.
    """

    layer: str
    stride: int
    inside: float


def equivariance(weights: Arrays, images: Array, dy: int, dx: int) -> tuple[LayerError, ...]:
    """The error under a shift of every layer with places: none of a dense network.

    Parameters
    ----------
    weights : arrays by name
        Of an ``mlp``, ``cnn2`` or ``cnn3``.
    images : (N, 784)
        1,000 of them say it to well below a per cent.
    dy, dx : int
        Pixels down and to the right, each below 14 in size.
    """
    require(max(abs(dy), abs(dx)) < IMAGE_SIDE // 2, "a shift must be below 14 pixels", (dy, dx))
    errors = []
    for (name, stride, fx), (_, _, fsx) in zip(
        _spatial(weights, images), _spatial(weights, shift(images, dy, dx)), strict=True
    ):
        steps = product(*({math.floor(d / stride), math.ceil(d / stride)} for d in (dy, dx)))
        parts = (_overlap(fx, *step) for step in steps)
        inside = min(_relative(fsx[to] - fx[source], fx[source]) for to, source in parts)
        errors.append(LayerError(name, stride, inside))
    return tuple(errors)


def shifted_back(
    weights: Arrays, split: Split, dy: int, dx: int, *, head: Head = "flatten"
) -> float:
    """The accuracy on shifted images whose features are moved back before the head.

    What it is above the accuracy on shifted images, position cost.

    Parameters
    ----------
    weights
        As in ``equivariance``.
    dy, dx : int
        Multiples of the model's stride: 2 for a cnn2, 4 for a cnn3.

    Raises
    ------
    UsageError
        When the features cannot be moved back by a whole number of places.
    """

    def back(features: Array, empty: Array, stride: int) -> Array:
        require(
            dy % stride == dx % stride == 0, f"the shift must be a multiple of {stride}", (dy, dx)
        )
        return _moved(features, empty, -dy // stride, -dx // stride)

    return _accuracy_back(weights, split, head, lambda x: shift(x, dy, dx), back)


def turned_back(
    weights: Arrays, split: Split, quarter_turns: int, *, head: Head = "flatten"
) -> float:
    """The same of images turned counter-clockwise by quarter turns, their features turned back."""
    return _accuracy_back(
        weights,
        split,
        head,
        lambda x: rotate(x, quarter_turns),
        lambda features, empty, stride: _turned(features, -quarter_turns),
    )


def _accuracy_back(
    weights: Arrays,
    split: Split,
    head: Head,
    move: Callable[[Array], Array],
    back: Callable[[Array, Array, int], Array],
) -> float:
    """The accuracy on images that went through ``move``, with ``back`` on their features.

    ``back`` takes the last features with places (a dense network's: the images), those of a blank
    image, and their stride.
    """
    features, stride = _squares, 1
    if "W1" not in weights:
        features = partial(CNNInference(weights, head).features, weights)
        stride = 4 if "conv2/kernel" in weights else 2
    empty = features(np.zeros((1, split.images.shape[1]), split.images.dtype))
    right = 0
    for start in range(0, len(split), _CHUNK):
        rows = slice(start, start + _CHUNK)
        read = _read(weights, back(features(move(split.images[rows])), empty, stride), head)
        right += int(np.sum(_logits(weights, read).argmax(axis=1) == split.labels[rows]))
    return right / len(split)


def turn_errors(weights: Arrays, images: Array, quarter_turns: int) -> tuple[LayerError, ...]:
    """``equivariance`` under quarter turns, which keep all places: a grid turns onto itself."""
    errors = []
    for (name, stride, fx), (_, _, of_turned) in zip(
        _spatial(weights, images), _spatial(weights, rotate(images, quarter_turns)), strict=True
    ):
        error = _relative(of_turned - _turned(fx, quarter_turns), fx)
        errors.append(LayerError(name, stride, error))
    return tuple(errors)


def other_images(weights: Arrays, images: Array) -> float:
    """The error between the last features of each image and the next one, an unrelated one."""
    features = _last_features(weights, images)
    return _relative(np.roll(features, 1, axis=0) - features, features)


def input_change(weights: Arrays, images: Array, moved: Array, head: Head = "flatten") -> float:
    """By how much what the output layer reads changes: |f(moved) - f(images)| / |f(images)|."""
    read, of_moved = (_read(weights, _last_features(weights, x), head) for x in (images, moved))
    return _relative(of_moved - read, read)


def _spatial(weights: Arrays, images: Array) -> list[tuple[str, int, Array]]:
    """Name, stride and output of the layers that have places: none of a dense network."""
    y = _squares(images)
    found, stride = [], 1
    with blas_threads():
        for i in (1, 2):
            if f"conv{i}/kernel" in weights:
                y = _convolve(y, weights[f"conv{i}/kernel"], weights[f"conv{i}/bias"])
                found.append((f"conv{i}", stride, y))
                stride *= 2
                y = _pool(y)
                found.append((f"pool{i}", stride, y))
    return found


def _last_features(weights: Arrays, images: Array) -> Array:
    spatial = _spatial(weights, images)
    return spatial[-1][2] if spatial else images


def _read(weights: Arrays, features: Array, head: Head) -> Array:
    """What the output layer reads: a CNN's last features as rows (N, h w C), or pooled (N, C); of a
    dense network's images the hidden units (N, H)."""
    if "W1" in weights:
        with blas_threads():
            x = features.reshape(len(features), -1)
            return np.asarray(np.maximum(x @ weights["W1"] + weights["b1"], 0))  # (N, D) -> (N, H)
    if head == "flatten":
        return features.reshape(len(features), -1)
    return np.asarray((np.mean if head == "gap" else np.max)(features, axis=(1, 2)))


def _logits(weights: Arrays, read: Array) -> Array:
    """(N, K) from what the output layer reads."""
    kernel, bias = ("W2", "b2") if "W1" in weights else ("output/kernel", "output/bias")
    with blas_threads():
        return read @ weights[kernel] + weights[bias]


def _squares(images: Array) -> Array:
    return images.reshape(-1, IMAGE_SIDE, IMAGE_SIDE, 1)  # (N, 784) -> (N, 28, 28, 1)


def _convolve(y: Array, kernel: Array, bias: Array) -> Array:
    """ReLU(valid convolution + bias).

    y (N, h, w, C), kernel (i, j, C, F) -> (N, h - i + 1, w - j + 1, F).
    """
    i, j, c, f = kernel.shape
    h, w = y.shape[1] - i + 1, y.shape[2] - j + 1
    taps = [y[:, a : a + h, b : b + w] for a in range(i) for b in range(j)]
    patches = np.concatenate(taps, axis=3)  # (N, h', w', i j C)
    return np.asarray(np.maximum(patches @ kernel.reshape(i * j * c, f) + bias, 0))


def _pool(y: Array) -> Array:
    """The maximum of each 2 x 2 places; an odd row or column at the end is left out."""
    h, w = y.shape[1] // 2 * 2, y.shape[2] // 2 * 2
    rows = np.maximum(y[:, 0:h:2, :w], y[:, 1:h:2, :w])
    return np.asarray(np.maximum(rows[:, :, ::2], rows[:, :, 1::2]))


def _moved(features: Array, empty: Array, dy: int, dx: int) -> Array:
    """The features moved down and right, continued by those of a blank image (1, h, w, C)."""
    moved = np.broadcast_to(empty, features.shape).copy()
    to, source = _overlap(features, dy, dx)
    moved[to] = features[source]
    return moved


def _turned(features: Array, quarter_turns: int) -> Array:
    """The features (N, h, w, C) turned counter-clockwise, contiguous."""
    return np.ascontiguousarray(np.rot90(features, quarter_turns, axes=(1, 2)))


def _overlap(features: Array, dy: int, dx: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where the places that stay go to, and where they come from."""
    (to_y, from_y), (to_x, from_x) = overlap(dy, features.shape[1]), overlap(dx, features.shape[2])
    return (slice(None), to_y, to_x), (slice(None), from_y, from_x)


def _relative(difference: Array, of: Array) -> float:
    size = float(np.linalg.norm(of))
    return float(np.linalg.norm(difference)) / size if size else 0.0
