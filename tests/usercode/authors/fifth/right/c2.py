"""Two-layer MLP in plain NumPy (typed version)."""
from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

Model = Dict[str, Any]
STD = 0.1


class linear_layer:
    """Affine map ``X @ W + b`` with its own parameter and gradient store."""

    def __init__(self, input_D: int, output_D: int) -> None:
        self.params: Dict[str, np.ndarray] = {
            "W": np.random.normal(loc=0.0, scale=STD, size=(input_D, output_D)),
            "b": np.random.normal(loc=0.0, scale=STD, size=output_D),
        }
        self.gradient: Dict[str, np.ndarray] = {
            name: np.zeros_like(value) for name, value in self.params.items()
        }

    def forward(self, X: np.ndarray) -> np.ndarray:
        """(N, input_D) -> (N, output_D)."""
        return X @ self.params["W"] + self.params["b"]

    def backward(self, X: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Store dL/dW and dL/db, return dL/dX."""
        self.gradient["W"] = X.T @ grad
        self.gradient["b"] = grad.sum(axis=0)
        return grad @ self.params["W"].T


class relu:
    """Rectifier that remembers which units were active."""

    def __init__(self) -> None:
        self._active: Optional[np.ndarray] = None

    def forward(self, X: np.ndarray) -> np.ndarray:
        self._active = (X > 0).astype(X.dtype)
        return X * self._active

    def backward(self, X: np.ndarray, grad: np.ndarray) -> np.ndarray:
        return grad * self._active


def miniBatchGradientDescent(model: Model, learning_rate: float) -> Model:
    """One SGD step on every layer that owns parameters."""
    for layer in model.values():
        if not isinstance(layer, linear_layer):
            continue
        for name in ("W", "b"):
            layer.params[name] -= learning_rate * layer.gradient[name]
    return model


def run_forward(model: Model, X: np.ndarray, y: np.ndarray) -> Dict[str, Any]:
    """Evaluate the network and keep all intermediate values."""
    cache: Dict[str, Any] = {"X": X}
    cache["pre"] = model["L1"].forward(X)
    cache["hidden"] = model["nonlinear1"].forward(cache["pre"])
    cache["logits"] = model["L2"].forward(cache["hidden"])
    cache["loss"] = model["loss"].forward(cache["logits"], y)
    return cache


def run_backward(model: Model, cache: Dict[str, Any], y: np.ndarray) -> None:
    """Fill the gradient dictionaries of both linear layers."""
    d_logits = model["loss"].backward(cache["logits"], y)
    d_hidden = model["L2"].backward(cache["hidden"], d_logits)
    d_pre = model["nonlinear1"].backward(cache["pre"], d_hidden)
    model["L1"].backward(cache["X"], d_pre)


def relative_error(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a) + abs(b), 1e-6)


def verify_gradients(model: Model, X: np.ndarray, y: np.ndarray,
                     step: float = 1e-5, tolerance: float = 1e-4) -> Dict[str, bool]:
    """Compare back-propagation with central differences, tensor by tensor."""
    run_backward(model, run_forward(model, X, y), y)
    report: Dict[str, bool] = {}
    for layer_name in ("L1", "L2"):
        layer = model[layer_name]
        for name, tensor in layer.params.items():
            backprop = layer.gradient[name].ravel()
            flat = tensor.reshape(-1)
            worst = 0.0
            for k in range(flat.size):
                value = flat[k]
                flat[k] = value + step
                up = run_forward(model, X, y)["loss"]
                flat[k] = value - step
                down = run_forward(model, X, y)["loss"]
                flat[k] = value
                numeric = (up - down) / (2 * step)
                worst = max(worst, relative_error(numeric, backprop[k]))
            report[f"{layer_name}.{name}"] = worst < tolerance
    return report


def train(X: np.ndarray, Y: np.ndarray, hidden: int = 128, lr: float = 0.05,
          epochs: int = 5, batch: int = 32) -> Model:
    model: Model = {
        "L1": linear_layer(X.shape[1], hidden),
        "nonlinear1": relu(),
        "L2": linear_layer(hidden, 10),
        "loss": softmax_cross_entropy(),
    }
    split = DataSplit(X, Y)
    for _ in range(epochs):
        order = np.random.permutation(X.shape[0])
        for start in range(0, X.shape[0] - batch + 1, batch):
            xb, yb = split.get_example(order[start:start + batch])
            run_backward(model, run_forward(model, xb, yb), yb)
            model = miniBatchGradientDescent(model, lr)
    return model
