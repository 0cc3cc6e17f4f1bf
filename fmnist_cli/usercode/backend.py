"""A student's layers as an engine: the shared training loop trains them batch by batch.

The initial weights and the order of the batches are those of the NumPy engine for the same seed,
so that the two curves can be laid over each other. The user's code runs in this process: it is
one's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Evaluation, Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
from fmnist_cli.engine.numpy_mlp.layers import PARAMETERS, initial_weights
from fmnist_cli.engine.seeding import epoch_order, weights_rng
from fmnist_cli.engine.shifts import augmented
from fmnist_cli.errors import ArtefactError, FmnistError, UsageError
from fmnist_cli.usercode.examine import main_layout, read_source
from fmnist_cli.usercode.models import LAYOUT, Model, backward, laid_out, layer_of, through, updated
from fmnist_cli.usercode.operations import Bench
from fmnist_cli.usercode.outcomes import error_outcome, is_from_outside
from fmnist_cli.usercode.parts import NAMES, Parts, UserLayer, is_usual, load_source
from fmnist_cli.usercode.shim import Array, DataSplit, softmax_cross_entropy, supplied
from fmnist_cli.usercode.subject import unanswered

EVALUATED_AT_ONCE = 1_000  # images in one forward pass


class UserCodeError(FmnistError):
    """The user's own file raised an error while it was loaded or trained."""


def textbook_losses(config: TrainConfig, train: Split) -> Iterator[float]:
    """The running loss of epoch 1, 2, ... of the NumPy engine in float64, on the same batches."""
    textbook = NumPyMLP(
        train,
        weights=initial_weights(weights_rng(config.weights_seed), hidden=config.hidden),
        batch=config.batch, lr=config.lr, momentum=0.0, dtype=np.float64,
    )  # fmt: skip
    for epoch in count(1):
        images = augmented(train.images, config.augment, seed=config.epochs_seed, epoch=epoch)
        yield textbook.train_epoch(epoch_order(config.epochs_seed, epoch, len(train)), images)


def load_parts(path: Path) -> Parts:
    """The parts of a file of one's own; UserCodeError where it cannot be loaded."""
    text = read_source(path)
    with supplied(), _reported(path):
        parts = load_source(text, path.name)
    missing = [NAMES[n][0] for n in ("linear", "relu", "update") if getattr(parts, n) is None]
    if missing:
        raise UsageError(f"{path} must define {', '.join(missing)}. Try: fmnist check {path}")
    return parts


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """In the body, what the file's own code raises becomes a UserCodeError."""
    try:
        yield
    except FmnistError:
        raise
    except BaseException as error:  # sys.exit is the file's own failure too
        if is_from_outside(error, path.name):
            raise
        sentence = unanswered(error_outcome(error, path.name), "").sentence
        raise UserCodeError(f"{path}: {sentence} Try: fmnist check {path}") from error


class UserNetwork:
    """A ``Backend``: linear, ReLU, linear and the supplied loss, of one file's layers.

    The model has the keys of the file's ``main``, else the assignment's.

    Parameters
    ----------
    path : Path
        The student's file.
    parts : Parts, optional
        What ``load_parts`` has read from it.
    config : TrainConfig
        ``momentum`` must be 0: the interface has none.

    Raises
    ------
    UsageError
        When the file lacks a part, or momentum is asked for.
    UserCodeError
        When the file's own code raises.
    """

    def __init__(
        self, path: Path, config: TrainConfig, train: Split, parts: Parts | None = None
    ) -> None:
        if config.momentum:
            raise UsageError(
                f"momentum must be 0 with layers of your own. Received: {config.momentum:g}."
            )
        self._path, self._parts = path, parts or load_parts(path)
        self._lr, self._batch, self._train = config.lr, config.batch, train
        self._layout = main_layout(path, train) if self._parts.main is not None else LAYOUT
        name = (self._parts.found_as or {}).get("backward_pass", "backward_pass")
        if self._layout != LAYOUT or not is_usual(name, "backward_pass"):
            self._parts = self._running(self._callable_parts)
        weights = initial_weights(weights_rng(config.weights_seed), hidden=config.hidden)
        self._model = self._running(lambda: self._build(weights))

    def _callable_parts(self) -> Parts:
        """The parts; without the backward pass where that cannot be called as it seems."""
        bench = Bench(self._parts, self._path.name)
        bench.describe()
        return bench.parts_for(self._layout)

    def _running(self, action: Callable[[], Any]) -> Any:
        with _reported(self._path), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return action()

    def _build(self, weights: Mapping[str, Array]) -> dict[str, Any]:
        linear, relu = self._parts.linear, self._parts.relu
        assert linear is not None
        assert relu is not None
        model = laid_out(self._layout, weights, lambda W, b: linear(*W.shape), relu)
        self._set(model, weights)
        return model

    def _set(self, model: Model, weights: Arrays) -> None:
        for name in PARAMETERS:
            layer = layer_of(model, name)
            own, shape = np.shape(layer.parameter(name[0])), weights[name].shape
            if np.prod(own) != np.prod(shape):
                raise ArtefactError(f"The layer's {name} has not the size of the weights.")
            if name[0] == "W" and own != shape:  # a bias may be (H,) or (1, H)
                raise UsageError(
                    f"{self._path}: {name} must have the shape {shape}. Received: {own}. "
                    f"Try: fmnist check {self._path}"
                )
            layer.set_parameter(name[0], np.asarray(weights[name], np.float64))

    def train_epoch(
        self, order: NDArray[np.int64], images: NDArray[np.float32] | None = None
    ) -> float:
        """Train on the rows in ``order``, batch by batch, by the file's own passes and update."""
        data = DataSplit(self._train.images if images is None else images, self._train.labels)
        return float(self._running(lambda: self._epoch(data, order)))

    def _epoch(self, data: DataSplit, order: NDArray[np.int64]) -> float:
        total = 0.0
        for start in range(0, len(order), self._batch):
            x, y = data.get_example(order[start : start + self._batch])
            total += len(x) * self._step(self._model, x, y)
            self._model = updated(self._parts, self._model, self._lr)
        return total / len(order)

    def _step(self, model: Model, x: Array, y: Array) -> float:
        """The mean loss of a batch; its gradients are in the layers afterwards."""
        values = through(model, x)
        loss = softmax_cross_entropy().forward(values[-1], y)
        backward(self._parts, model, values, y)
        return loss

    def _hidden_and_logits(self, images: Array) -> tuple[Array, Array]:
        hidden, logits = [], []
        for start in range(0, len(images), EVALUATED_AT_ONCE):
            _, _, h1, a2 = through(
                self._model, images[start : start + EVALUATED_AT_ONCE].astype(np.float64)
            )
            hidden.append(np.asarray(h1))
            logits.append(np.asarray(a2, np.float64))
        return np.concatenate(hidden), np.concatenate(logits)

    def evaluate(self, split: Split) -> Evaluation:
        """Mean loss, accuracy, dead units and predictions on a split."""
        hidden, logits = self._running(lambda: self._hidden_and_logits(split.images))
        loss = softmax_cross_entropy().forward(logits, split.labels)
        alive = ~(hidden <= 0).all(axis=0)  # a NaN is not a zero
        return Evaluation.of(loss, logits.argmax(axis=1), split.labels, alive)

    def gradient(self, split: Split) -> dict[str, NDArray[np.floating]]:
        """The gradient of the mean loss over a split, by the file's own backward pass."""
        x, y = DataSplit(split.images, split.labels).get_example(np.arange(len(split)))
        model = self._running(lambda: self._build(self.weights()))  # layers may add gradients up
        self._running(lambda: self._step(model, x, y))
        return _copies(model, UserLayer.gradient)

    def weights(self) -> dict[str, NDArray[np.floating]]:
        """Copies of W1, b1, W2 and b2, float64."""
        return _copies(self._model, UserLayer.parameter)

    def set_weights(self, weights: Arrays) -> None:
        """Replace W1, b1, W2 and b2."""
        self._set(self._model, weights)

    def velocity(self) -> dict[str, NDArray[np.floating]]:
        """Zeros: there is no momentum."""
        return {name: np.zeros_like(w) for name, w in self.weights().items()}

    def set_velocity(self, velocity: Arrays) -> None:
        """Nothing to set: there is no momentum."""


def _copies(model: Model, read: Callable[[UserLayer, str], Any]) -> dict[str, NDArray[np.floating]]:
    """What is read of every layer, as W1, b1, W2 and b2."""
    found: dict[str, NDArray[np.floating]] = {}
    for name in PARAMETERS:
        array = np.array(read(layer_of(model, name), name[0]), np.float64)
        found[name] = array.reshape(-1) if name[0] == "b" else array
    return found
