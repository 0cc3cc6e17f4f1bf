"""The Keras engine's backend: an epoch as one graph (of a CNN, as a few).

The mlp's epoch is compiled by XLA: a step is so little work that starting its operations one by
one would cost more than they do. The CNNs' is not: XLA's convolutions on the CPU are several
times slower than the ones TensorFlow runs by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays, Evaluation, Split
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.keras_models import graphs
from fmnist_cli.engine.keras_models.models import build, head_of, variables
from fmnist_cli.engine.keras_models.runtime import SHARDS, import_tensorflow
from fmnist_cli.engine.weights import replace_arrays

PART_IMAGES = 1_000  # of a CNN's epoch: a signal is heard only between two graphs
EVALUATION_CHUNK = 500  # images: their activations stay small


class KerasBackend:
    """One Keras model bound to one training set; see ``Backend`` for the methods' contract.

    Parameters
    ----------
    model : keras.Sequential
        From ``models.build``. It is trained in place.
    batch, lr, momentum
        As in ``TrainConfig``.
    shards : int
        Parts of a CNN's batch that run side by side. The sums of their gradients round
        differently for another number.
    """

    def __init__(
        self,
        model: Any,
        train: Split,
        *,
        batch: int,
        lr: float,
        momentum: float,
        shards: int = SHARDS,
    ) -> None:
        tf = import_tensorflow()
        self.model = model
        self._variables = variables(model)
        self._head = head_of(model)
        self._batch, self._lr, self._momentum = batch, lr, momentum
        self._dtype = np.dtype(next(iter(self._variables.values())).dtype.as_numpy_dtype)
        self._velocity = {
            name: tf.Variable(tf.zeros_like(v)) for name, v in self._variables.items()
        }
        self._images = tf.constant(train.images.astype(self._dtype, copy=False))
        self._labels = tf.constant(train.labels.astype(np.int32))
        self._shards = shards
        compiled = model.name == "mlp"
        self._part = len(train) if compiled else max(1, PART_IMAGES // batch) * batch
        self._steps, self._last, self._chunk, self._loss_and_gradients = (
            tf.function(graph, jit_compile=compiled, autograph=False)
            for graph in (
                self._steps_graph,
                self._last_graph,
                self._chunk_graph,
                self._gradients_graph,
            )
        )

    @classmethod
    def from_config(cls, config: TrainConfig, train: Split) -> KerasBackend:
        """The backend of a run: its model with the seed's initial weights."""
        model = build(
            config.model, hidden=config.hidden, head=config.head, seed=config.weights_seed
        )
        return cls(model, train, batch=config.batch, lr=config.lr, momentum=config.momentum)

    def train_epoch(
        self, order: NDArray[np.int64], images: NDArray[np.float32] | None = None
    ) -> float:
        tf = import_tensorflow()
        x = self._images
        if images is not None:
            x = tf.constant(images.astype(self._dtype, copy=False))
        rows, n = tf.constant(order.astype(np.int32)), len(order)
        whole = n - n % self._batch
        total = tf.constant(0.0, tf.float64)
        for start in range(0, whole, self._part):
            stop = min(start + self._part, whole)
            total = self._steps(rows, x, tf.constant(start), tf.constant(stop), total)
        if whole < n:
            total = self._last(rows[whole:], x, total)
        return float(total) / n

    def evaluate(self, split: Split) -> Evaluation:
        loss, alive, predicted = 0.0, np.zeros(1, bool), []
        for images, labels in self._chunks(split):
            chunk_loss, classes, chunk_alive = self._chunk(images, labels)
            loss += float(chunk_loss)
            predicted.append(classes.numpy().astype(np.int64))
            alive = alive | chunk_alive.numpy()
        return Evaluation.of(loss / len(split), np.concatenate(predicted), split.labels, alive)

    def gradient(self, split: Split) -> dict[str, NDArray[np.floating]]:
        total = {name: np.zeros(v.shape) for name, v in self._variables.items()}
        for images, labels in self._chunks(split):
            for name, mean in self._loss_and_gradients(images, labels)[1].items():
                total[name] += mean.numpy() * len(labels)
        return {name: array / len(split) for name, array in total.items()}

    def weights(self) -> dict[str, NDArray[np.floating]]:
        return {name: v.numpy().copy() for name, v in self._variables.items()}

    def set_weights(self, weights: Arrays) -> None:
        self._set(self._variables, weights, "weights")

    def velocity(self) -> dict[str, NDArray[np.floating]]:
        return {name: v.numpy().copy() for name, v in self._velocity.items()}

    def set_velocity(self, velocity: Arrays) -> None:
        self._set(self._velocity, velocity, "velocity")

    def _steps_graph(self, order: Any, images: Any, start: Any, stop: Any, total: Any) -> Any:
        """(N,) int32, (N, 784), and the summed loss up to ``start`` -> that up to ``stop``.

        Whole batches; updates the variables on the way.
        """
        tf = import_tensorflow()

        def body(start: Any, total: Any) -> tuple[Any, Any]:
            rows = tf.slice(order, [start], [self._batch])
            return start + self._batch, total + self._step(images, rows)

        _, total = tf.while_loop(
            lambda start, total: start < stop, body, (start, total), parallel_iterations=1
        )
        return total

    def _last_graph(self, rows: Any, images: Any, total: Any) -> Any:
        """The same for the last, smaller batch."""
        return total + self._step(images, rows)

    def _step(self, images: Any, rows: Any) -> Any:
        """(B,) int32 -> the batch's summed loss, float64; one update of the variables."""
        tf = import_tensorflow()
        x, labels = tf.gather(images, rows), tf.gather(self._labels, rows)
        loss, gradients = self._gradients_graph(x, labels)
        lr, momentum = (tf.constant(rate, self._dtype) for rate in (self._lr, self._momentum))
        for name, w in self._variables.items():  # one pass over the numbers each
            w, v, g = w.handle, self._velocity[name].handle, gradients[name]
            if self._momentum:  # v <- alpha v + g, w <- w - eta v
                tf.raw_ops.ResourceApplyMomentum(var=w, accum=v, lr=lr, grad=g, momentum=momentum)
            else:
                tf.raw_ops.ResourceApplyGradientDescent(var=w, alpha=lr, delta=g)
        return tf.cast(loss, tf.float64) * rows.shape[0]

    def _gradients_graph(self, images: Any, labels: Any) -> tuple[Any, dict[str, Any]]:
        """The mean loss of the images, and its gradient by parameter name."""
        return graphs.loss_and_gradients(
            self._variables, images, labels, head=self._head, shards=self._shards
        )

    def _chunk_graph(self, images: Any, labels: Any) -> tuple[Any, Any, Any]:
        """Summed loss (float64), classes (N,) int64, and which units are alive (H or C,) bool."""
        tf = import_tensorflow()
        passed = graphs.forward(self._variables, images, head=self._head, shards=self._shards)
        loss = tf.reduce_sum(tf.cast(graphs.losses(passed.logits, labels), tf.float64))
        units = tf.reshape(passed.hidden, (-1, passed.hidden.shape[-1]))  # (N h w, C)
        return loss, tf.argmax(passed.logits, axis=1), tf.reduce_max(units, axis=0) > 0

    def _chunks(self, split: Split) -> Iterator[tuple[Any, NDArray[np.int32]]]:
        for start in range(0, len(split), EVALUATION_CHUNK):
            part = slice(start, start + EVALUATION_CHUNK)
            yield split.images[part].astype(self._dtype), split.labels[part].astype(np.int32)

    def _set(self, target: dict[str, Any], arrays: Arrays, what: str) -> None:
        """Assign the arrays to the variables of the same names, all or none."""
        values = {name: variable.numpy() for name, variable in target.items()}
        replace_arrays(values, arrays, what)
        for name, variable in target.items():
            variable.assign(values[name])
